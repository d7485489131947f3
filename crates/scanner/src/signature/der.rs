//! Values of DER one after another, as far as time stamps need them. What is signed is compared byte for byte, so that
//! nothing hangs on whether a length is written in its shortest form.
//!
//! Source: X.690 sections 8.1 and 10.1.

/// Tags.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The first two tags that a structure numbers itself.
pub(super) const FIELD_0: u8 = 0xa0;
pub(super) const FIELD_1: u8 = 0xa1;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Values one after another; it ends where they are malformed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// What is inside, if it has that tag.
    pub(super) fn within(self, tag: u8) -> Option<Values<'a>> {
        self.of(tag).map(Values)
    }

    /// The content, if it has that tag.
    pub(super) fn of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let whole = self.0;
        let (tag, rest) = whole.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Value { tag: *tag, content, whole: &whole[..whole.len() - rest.len()] })
    }
}
