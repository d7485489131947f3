//! What an ImagePolicy asks of signatures. All of it stands in one annotation, so that Flux's schema stays untouched.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::meta::LocalReference;

/// Annotation that holds a [`Verification`], in YAML. The fields are those of `spec.verify` of Flux's OCIRepository.
pub const SIGNATURE: &str = "slipway.dev/signature";

/// Whose signature an image must carry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// Who signs: only `cosign` is known.
    #[serde(default)]
    pub provider: SignatureProvider,
    /// Secret with public keys in PEM, under names that end in `.pub`. One of them must have signed.
    #[serde(default)]
    pub secret_ref: Option<LocalReference>,
    /// Who may have signed without a key: one of these must fit the certificate.
    #[serde(default, rename = "matchOIDCIdentity")]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// Secret with `trusted_root.json`: authorities and logs that certificates are checked against.
    #[serde(default)]
    pub trusted_root_secret_ref: Option<LocalReference>,
}

/// Who signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureProvider {
    /// Cosign.
    #[default]
    Cosign,
}

/// An identity that a certificate may be issued to. Both are regular expressions, unanchored as in Flux.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcIdentity {
    /// Who vouches for the identity.
    pub issuer: String,
    /// The identity: an address, a URI.
    pub subject: String,
}

impl Verification {
    /// Reads the annotation; none if it is not there. Every mistake is an error: what is misread would let images in.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let Some(text) = annotations.get(SIGNATURE) else { return Ok(None) };
        let value = crate::manifest::parse(text).map_err(|(line, text)| format!("line {line}: {text}"))?;
        let verification: Self = crate::manifest::typed(&value)?;
        let is_keyless = !verification.match_oidc_identity.is_empty();
        match (&verification.secret_ref, &verification.trusted_root_secret_ref) {
            (Some(_), None) if !is_keyless => Ok(Some(verification)),
            (Some(_), _) => {
                Err("secretRef names keys, so neither matchOIDCIdentity nor trustedRootSecretRef counts".into())
            }
            (None, _) if !is_keyless => Err("either secretRef or matchOIDCIdentity is needed".into()),
            (None, None) => Err("matchOIDCIdentity needs trustedRootSecretRef, a Secret with trusted_root.json".into()),
            (None, Some(_)) => Ok(Some(verification)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Verification>, String> {
        Verification::read(&[(SIGNATURE.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn keys_and_identities_are_read_in_fluxs_words() {
        assert_eq!(Verification::read(&BTreeMap::new()), Ok(None));
        let keys = read("{provider: cosign, secretRef: {name: pub}}").expect("readable").expect("something");
        assert_eq!(keys.secret_ref.map(|reference| reference.name).as_deref(), Some("pub"));
        let keyless =
            read("matchOIDCIdentity:\n- {issuer: ^https://a$, subject: me}\ntrustedRootSecretRef: {name: root}\n");
        let keyless = keyless.expect("readable").expect("something");
        assert_eq!(keyless.match_oidc_identity[0].subject, "me");
    }

    #[test]
    fn what_is_misread_is_refused() {
        for (text, problem) in [
            ("", ""),
            ("true", ""),
            ("{}", "either secretRef or matchOIDCIdentity is needed"),
            ("{secretRef: {name: a}, trustedRootSecretRef: {name: b}}", "secretRef names keys"),
            ("{matchOIDCIdentity: [{issuer: a, subject: b}]}", "needs trustedRootSecretRef"),
            ("{secretRef: {name: a}, matchOidcIdentity: []}", "matchOidcIdentity"),
            ("{secretRef: {name: a}, provider: notation}", "notation"),
            ("{matchOIDCIdentity: [{subject: b}], trustedRootSecretRef: {name: b}}", "issuer"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(problem), "{text}: {told}");
        }
    }
}
