//! A login in an address: `http://user:password@host/`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Uri, header::AUTHORIZATION, uri::Authority};
use percent_encoding::percent_decode_str;

/// Takes the login out of a request's address, into `Authorization` where the request has none. Source: Go's `net/http`,
/// which Flux and Flagger ask with.
pub(super) fn take(request: &mut http::Request<Bytes>) {
    let whole = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let Some((login, host)) = whole.as_deref().and_then(|whole| whole.rsplit_once('@')) else { return };
    let Ok(host) = host.parse::<Authority>() else { return };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let pair = [percent_decode_str(user).collect(), b":".to_vec(), percent_decode_str(password).collect()].concat();
    let basic = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    if let (Ok(mut basic), false) = (basic, request.headers().contains_key(AUTHORIZATION)) {
        basic.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, basic);
    }
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(host);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
