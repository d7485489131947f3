//! Base 64, base 32, check sums.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::{digest, text};
use crate::functions::Entry;

pub(super) const TABLE: &[Entry] = &[
    ("b64enc", "s", |args| Ok(STANDARD.encode(text(&args[0])).into())),
    ("b64dec", "s", |args| {
        let encoded: String = text(&args[0]).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        Ok(match STANDARD.decode(&encoded) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            Err(base64::DecodeError::InvalidByte(at, _)) => format!("illegal base64 data at input byte {at}").into(),
            Err(_) => format!("illegal base64 data at input byte {}", encoded.len() / 4 * 4).into(),
        })
    }),
    ("b32enc", "s", |args| Ok(digest::base32(text(&args[0]).as_bytes()).into())),
    ("b32dec", "s", |args| {
        Ok(match digest::from_base32(&text(&args[0])) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            Err(at) => format!("illegal base32 data at input byte {at}").into(),
        })
    }),
    ("sha1sum", "s", |args| Ok(digest::hex(&digest::sha1(text(&args[0]).as_bytes())).into())),
    ("sha256sum", "s", |args| Ok(digest::hex(&Sha256::digest(text(&args[0]))).into())),
    ("sha512sum", "s", |args| Ok(digest::hex(&Sha512::digest(text(&args[0]))).into())),
    ("adler32sum", "s", |args| Ok(digest::adler32(text(&args[0]).as_bytes()).to_string().into())),
];
