//! A login in an address: `http://user:password@host/`.

use bytes::Bytes;
use http::{HeaderValue, Uri, header::AUTHORIZATION, uri::Authority};
use percent_encoding::percent_decode_str;

use super::basic;

/// Takes the login out of a request's address, into `Authorization` where the request has none. Source: Go's `net/http`,
/// which Flux and Flagger ask with.
pub(super) fn take(request: &mut http::Request<Bytes>) {
    let Some(whole) = request.uri().authority().cloned() else { return };
    let Some((login, host)) = whole.as_str().rsplit_once('@') else { return };
    let Ok(host) = host.parse::<Authority>() else { return };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let plain = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let login = HeaderValue::try_from(basic(plain(user), plain(password)));
    if let (Ok(mut login), false) = (login, request.headers().contains_key(AUTHORIZATION)) {
        login.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, login);
    }
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(host);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
