//! Whether an image can be written as a reference at all: what its policy says is only text. Pure.

use api::image::ImageRef;

/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// Whether name, tag and digest hold what references may hold.
/// Source: Flux image-automation-controller `pkg/update/setters.go`, which has go-containerregistry parse what it writes.
/// `Differs:` how long name and digest are is left to the registry; nothing in a file breaks by it.
pub(super) fn is_valid(image: &ImageRef) -> bool {
    let ImageRef { name, tag, digest } = image;
    // What stands before the first slash is a registry only if it looks like a host.
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) => (host, path),
        _ => ("", name.as_str()),
    };
    let is_host = registry.chars().all(|c| c.is_alphanumeric() || "-._~:[]".contains(c));
    let is_path = path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b));
    let is_tag = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let is_digest = |(algorithm, hex): (&str, &str)| {
        let is_algorithm = algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        !algorithm.is_empty() && !hex.is_empty() && is_algorithm && hex.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    is_host
        && is_path
        && !path.is_empty()
        && is_tag
        && (1..=MAX_TAG).contains(&tag.len())
        && (digest.is_empty() || digest.split_once(':').is_some_and(is_digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_reference_may_hold_is_told_from_what_it_may() {
        let long = "a".repeat(MAX_TAG + 1);
        for (name, tag, digest, expected) in [
            ("ghcr.io/org/app", "1.2.4", "", true),
            ("app", "Latest_1", "sha256:ab", true),
            ("localhost:5000/a__b/c-d", "v1", "", true),
            ("[::1]:5000/app", "v1", "", true),
            ("GHCR.io/app", &long[1..], "", true),
            ("bücher.example/app", "1", "", true),
            ("UP PER", "1", "", false),
            ("ghcr.io/Org/app", "1", "", false),
            ("ghcr .io/app", "1", "", false),
            ("ghcr.io/", "1", "", false),
            ("", "1", "", false),
            ("app@sha256", "1", "", false),
            ("app", "", "", false),
            ("app", "x\ny: \"z", "", false),
            ("app", "1 2", "", false),
            ("app", "1:2", "", false),
            ("app", "é", "", false),
            ("app", &long, "", false),
            ("app", "1", "sha256", false),
            ("app", "1", "sha256:", false),
            ("app", "1", "sha256:a\nb", false),
        ] {
            let image = ImageRef { name: name.into(), tag: tag.into(), digest: digest.into() };
            assert_eq!(is_valid(&image), expected, "{image:?}");
        }
    }
}
