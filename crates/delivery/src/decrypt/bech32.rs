//! Bech32, the form in which age writes keys. Source: BIP 173.

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Characters at the end that check the others.
const CHECKSUM: usize = 6;

/// The bytes after a prefix, both in upper or both in lower case.
pub fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let lower = text.to_ascii_lowercase();
    if lower != text && text.to_ascii_uppercase() != text {
        return None;
    }
    let (found, data) = lower.rsplit_once('1')?;
    if found != prefix || data.len() < CHECKSUM {
        return None;
    }
    let value = |byte: u8| u8::try_from(ALPHABET.iter().position(|known| *known == byte)?).ok();
    let values: Vec<u8> = data.bytes().map(value).collect::<Option<_>>()?;
    let expanded = prefix.bytes().map(|byte| byte >> 5).chain([0]).chain(prefix.bytes().map(|byte| byte & 31));
    if polymod(expanded.chain(values.iter().copied())) != 1 {
        return None;
    }
    let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for value in &values[..values.len() - CHECKSUM] {
        buffer = (buffer << 5) | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
        }
        buffer &= (1 << bits) - 1;
    }
    (bits < 5 && buffer == 0).then_some(bytes)
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |check, value| {
        let top = check >> 25;
        let next = ((check & 0x01ff_ffff) << 5) ^ u32::from(value);
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_a_wrong_letter_are_refused() {
        // From BIP 173.
        assert_eq!(decode("a", "A12UEL5L"), Some(vec![]));
        assert_eq!(decode("a", "A12UEL5M"), None);
        assert_eq!(decode("a", "a12UEL5L"), None);
        let split = "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w";
        assert_eq!(decode("split", split).map(|bytes| bytes.len()), Some(30));
        assert_eq!((decode("other", split), decode("split", "")), (None, None));
    }
}
