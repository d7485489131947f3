//! The outer form of OpenPGP: ASCII armour, packets, multiprecision integers.
//! Source: RFC 4880 sections 3.2, 4.2, 5.2.3.1, 6.2.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A packet: its kind and its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// The bytes within the armour.
pub(super) fn unarmor(armored: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(armored).ok()?;
    let begin = text.find("-----BEGIN PGP PRIVATE KEY BLOCK-----")?;
    let mut lines = text[begin..].lines().skip(1).map(str::trim);
    // Headers such as `Comment: …` end at an empty line.
    lines.find(|line| line.is_empty())?;
    let is_content = |line: &&str| !line.starts_with("-----END") && !line.starts_with('=');
    STANDARD.decode(lines.take_while(is_content).collect::<String>()).ok()
}

/// A binary signature packet within armour.
pub(super) fn armor(signature: &[u8]) -> String {
    let encoded = STANDARD.encode(signature);
    let check = crc24(signature).to_be_bytes();
    let mut text = String::from("-----BEGIN PGP SIGNATURE-----\n\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("={}\n-----END PGP SIGNATURE-----\n", STANDARD.encode(&check[1..])));
    text
}

/// The check sum of an armour. Source: RFC 4880 section 6.1.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0186_4cfb }
        }) & 0x00ff_ffff
    })
}

/// The packets of a key; none if they are malformed.
pub(super) fn packets(bytes: &[u8]) -> Option<Vec<Packet<'_>>> {
    let (mut found, mut input) = (Vec::new(), Input(bytes));
    while !input.0.is_empty() {
        let head = input.byte()?;
        let is_new = head & 0x40 != 0;
        if head & 0x80 == 0 {
            return None;
        }
        let tag = if is_new { head & 0x3f } else { head >> 2 & 0xf };
        let length = match (is_new, head & 3) {
            (true, _) => input.length()?,
            (false, 0) => input.byte()?.into(),
            (false, 1) => input.number::<2>()?,
            (false, 2) => input.number::<4>()?,
            _ => input.0.len(),
        };
        found.push(Packet { tag, body: input.take(length)? });
    }
    Some(found)
}

/// The subpackets of a signature: kind and content.
pub(super) fn subpackets(bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut found, mut input) = (Vec::new(), Input(bytes));
    while !input.0.is_empty() {
        let length = input.length()?;
        let (kind, content) = input.take(length)?.split_first()?;
        // The highest bit only says how important it is.
        found.push((kind & 0x7f, content));
    }
    Some(found)
}

/// Appends a packet in the new form. It is never longer than 8,383 bytes: an RSA signature of 16,384 bits has 2,048.
pub(super) fn append(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(0xc0 | tag);
    match body.len() {
        short @ ..192 => out.push(short as u8),
        long => {
            let rest = long - 192;
            out.extend([(rest >> 8) as u8 + 192, rest as u8]);
        }
    }
    out.extend_from_slice(body);
}

/// Appends a number: its length in bits, then its bytes without leading zeros.
pub(super) fn append_number(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let spare = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = bytes.len() * 8 - spare;
    out.extend([(bits >> 8) as u8, bits as u8]);
    out.extend_from_slice(bytes);
}

/// Bytes that are read from the front; `None` where there are too few.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number<const BYTES: usize>(&mut self) -> Option<usize> {
        Some(self.take(BYTES)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A multiprecision integer, without its length.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bits = self.number::<2>()?;
        self.take(bits.div_ceil(8))
    }

    /// A length in the new form. A body in pieces is not read: no key has one.
    fn length(&mut self) -> Option<usize> {
        match usize::from(self.byte()?) {
            short @ ..192 => Some(short),
            high @ 192..224 => Some(((high - 192) << 8) + usize::from(self.byte()?) + 192),
            255 => self.number::<4>(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_come_back_as_written() {
        for length in [0, 191, 192, 8_383] {
            let (mut out, body) = (Vec::new(), vec![7; length]);
            append(&mut out, 2, &body);
            assert_eq!(packets(&out), Some(vec![Packet { tag: 2, body: &body }]), "{length}");
        }
        let mut out = Vec::new();
        append_number(&mut out, &[0, 0, 1, 0xff]);
        assert_eq!(out, [0, 9, 1, 0xff]);
        assert_eq!(Input(&out).integer(), Some(&[1, 0xff][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = packets(&bytes);
            let _ = subpackets(&bytes);
            let _ = unarmor(&bytes);
        }
    }
}
