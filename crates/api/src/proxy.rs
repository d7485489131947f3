//! The proxy that the Secret of a `proxySecretRef` names.
//! Source: reference image-automation.md section 4.3, which holds for Git too.

use url::Url;

/// Longest address.
const MAX_ADDRESS_BYTES: usize = 2048;

/// Why there is no such proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// More than 2048 bytes.
    #[error("the address is longer than {MAX_ADDRESS_BYTES} characters")]
    TooLong,
    /// Whoever tells it says so in words of their own.
    #[error("the address is no URL: {0}")]
    NoUrl(#[from] url::ParseError),
    /// None that is spoken.
    #[error("the address must begin with http, https or socks5")]
    Scheme,
    /// There is no host to log in to.
    #[error("the address cannot carry credentials")]
    NoLogin,
}

/// The URL of a proxy with its login in it.
///
/// # Errors
/// When the address is too long, or no URL of a proxy that is known.
pub fn url(address: &str, username: Option<&str>, password: Option<&str>) -> Result<String, InvalidProxy> {
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(InvalidProxy::TooLong);
    }
    let mut url = Url::parse(address)?;
    if !matches!(url.scheme(), "http" | "https" | "socks5") {
        return Err(InvalidProxy::Scheme);
    }
    // The URL escapes what would end the name or the password, but takes what looks escaped as it is.
    let escaped = |text: &str| text.replace('%', "%25");
    let user = username.map_or(Ok(()), |user| url.set_username(&escaped(user)));
    let password = password.map_or(Ok(()), |password| url.set_password(Some(&escaped(password))));
    user.and(password).map_err(|()| InvalidProxy::NoLogin)?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_may_hold_any_character() {
        let read =
            |address, user, password| url(address, Some(user), Some(password)).map(|url| Url::parse(&url).unwrap());
        let proxy = read("http://proxy:3128", "u@x", "p/w#1:@%41").unwrap();
        assert_eq!((proxy.host_str(), proxy.port()), (Some("proxy"), Some(3128)));
        assert_eq!((proxy.username(), proxy.password()), ("u%40x", Some("p%2Fw%231%3A%40%2541")));
        assert_eq!(url("socks5://own:x@proxy", None, None).unwrap(), "socks5://own:x@proxy");
    }

    #[test]
    fn an_address_is_refused_unless_it_is_a_proxys() {
        let refused = |address: &str| url(address, Some("u"), None).unwrap_err();
        assert_eq!(refused(""), InvalidProxy::NoUrl(url::ParseError::RelativeUrlWithoutBase));
        for scheme in ["proxy:3128", "ftp://proxy"] {
            assert_eq!(refused(scheme), InvalidProxy::Scheme);
        }
        assert_eq!(refused("socks5:proxy"), InvalidProxy::NoLogin);
        let long = |length: usize| url(&format!("http://{}", "x".repeat(length - 7)), None, None);
        assert!(long(2048).is_ok());
        assert_eq!(long(2049).unwrap_err().to_string(), "the address is longer than 2048 characters");
    }
}
