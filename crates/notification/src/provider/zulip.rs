//! `zulip`: a message to a topic of a channel, written `channel/topic`.

use bytes::Bytes;
use http::{HeaderValue, header};
use reconcile::Event;

use super::{Settings, authorized, basic, post, words};
use crate::Error;

/// The request: a form.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let parts = settings.channel.split_once('/').filter(|(channel, topic)| !channel.is_empty() && !topic.is_empty());
    let (channel, topic) =
        parts.ok_or_else(|| Error::Invalid("spec.channel is not of the form channel/topic".into()))?;
    let mut url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    url.set_path("/api/v1/messages");
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("content", &words::markdown(event))
        .append_pair("to", channel)
        .append_pair("topic", topic)
        .append_pair("type", "stream")
        .finish();
    let login = basic(&settings.username, &settings.password);
    let mut request = post(url.as_str(), body.into_bytes(), &authorized(Some(&login)))?;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    Ok(request)
}
