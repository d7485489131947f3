//! The tags of a repository, page by page: whole or not at all.
//! Source: `reference/image-automation.md`, section 4.4, item 4.

use std::{collections::HashSet, fmt};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use url::Url;

use crate::{Error, Repository, Result, client::Call, link, repository::Actions};

/// Tags asked for at once; registries may give fewer, and some give all.
const PAGE_TAGS: usize = 1000;
/// A registry that never ends its list must not fill our memory.
const MAX_PAGES: usize = 10_000;
const MAX_TAGS: usize = 1_000_000;
const PAGE_LIMIT_BYTES: usize = 32 << 20;

/// What a listing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The tags are those of the listing whose `ETag` was given.
    Unchanged,
    /// All tags, in the registry's order.
    Tags {
        /// The tags.
        tags: Vec<String>,
        /// By which the registry tells whether they changed; only for a list of one page.
        etag: Option<String>,
    },
}

/// Where the next page is.
enum Next {
    First,
    /// The registry says so.
    Linked(Url),
    /// A full page without a link: there may be more after this tag.
    After(Url, String),
}

/// One answer.
struct Page {
    request: String,
    url: Url,
    headers: HeaderMap,
    /// `None` if nothing changed.
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags in the registry's order. A page that fails discards the listing: half a list would choose a wrong tag.
    pub async fn tags(&self) -> Result<Vec<String>> {
        match self.tags_unless(None).await? {
            Listed::Tags { tags, .. } => Ok(tags),
            Listed::Unchanged => Err(Error::protocol(self.label(), "304 Not Modified, which was not asked for")),
        }
    }

    /// All tags, unless the registry says that they are those of the listing with this `ETag`.
    pub async fn tags_unless(&self, etag: Option<&str>) -> Result<Listed> {
        let mut tags: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Next::First;
        let mut etag = etag;
        for _ in 0..MAX_PAGES {
            let page = self.client.retrying(|| self.page(&next, etag)).await;
            let page = match (page, &next) {
                // A registry that does not know `last` may refuse it; what came before is then all there is.
                (Err(error), Next::After(..)) if refuses(&error) => break,
                (page, _) => page?,
            };
            let Some(mut more) = page.tags else { return Ok(Listed::Unchanged) };
            if let Next::After(_, last) = &next {
                // Differs: Flux takes a full page without a link for the whole list. Who ignores `last` sends the list again.
                if more.is_empty() || more.first() == tags.first() {
                    break;
                }
                more.retain(|tag| tag != last);
            }
            let (is_only, is_full) = (tags.is_empty(), more.len() == PAGE_TAGS);
            tags.append(&mut more);
            if tags.len() > MAX_TAGS {
                return Err(Error::protocol(&page.request, format!("more than {MAX_TAGS} tags")));
            }
            let link = page.headers.get(header::LINK).map(|value| value.to_str().unwrap_or("?")).unwrap_or_default();
            let following =
                link::next(link, &page.url).map_err(|error| Error::protocol(&page.request, error.to_string()))?;
            next = match (following, tags.last()) {
                (Some(following), _) if seen.contains(&following) || following == page.url => {
                    return Err(Error::protocol(&page.request, "the tag list's pages go round in a circle"));
                }
                (Some(following), _) => Next::Linked(following),
                (None, Some(last)) if is_full => Next::After(page.url.clone(), last.clone()),
                (None, _) => {
                    let etag = page.headers.get(header::ETAG).filter(|_| is_only);
                    let etag = etag.and_then(|value| value.to_str().ok()).map(str::to_owned);
                    return Ok(Listed::Tags { tags, etag });
                }
            };
            seen.insert(page.url);
            etag = None;
        }
        match seen.len() {
            MAX_PAGES.. => Err(Error::protocol(self.label(), format!("more than {MAX_PAGES} pages"))),
            _ => Ok(Listed::Tags { tags, etag: None }),
        }
    }

    async fn page(&self, next: &Next, etag: Option<&str>) -> Result<Page> {
        let url = match next {
            Next::First => self.url(&format!("tags/list?n={PAGE_TAGS}")).await?,
            Next::Linked(url) => url.clone(),
            Next::After(page, last) => {
                let mut url = page.clone();
                url.query_pairs_mut().clear().append_pair("n", &PAGE_TAGS.to_string()).append_pair("last", last);
                url
            }
        };
        let mut call = Call::get(url);
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            call.headers.insert(header::IF_NONE_MATCH, etag);
        }
        let was_asked = call.headers.contains_key(header::IF_NONE_MATCH);
        let answer = self.send(Actions::Pull, call).await?;
        let (request, url) = (answer.request.clone(), answer.url.clone());
        if was_asked && answer.response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Page { request, url, headers: HeaderMap::new(), tags: None });
        }
        let (headers, body) = answer.expect(&[StatusCode::OK]).await?.collect(PAGE_LIMIT_BYTES).await?;
        let tags = tags_of(&body).map_err(|problem| Error::protocol(&request, problem))?;
        Ok(Page { request, url, headers, tags: Some(tags) })
    }

    fn label(&self) -> String {
        format!("tags of {}", self.name)
    }
}

/// Whether the registry refused the request itself, and not us or this moment.
fn refuses(error: &Error) -> bool {
    error.status().is_some_and(|status| matches!(status.as_u16(), 400 | 404 | 405 | 414 | 422))
}

/// The tags in an answer. An empty repository may say `null`; an answer that says nothing of tags is no tag list.
pub fn tags_of(body: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Answer {
        tags: Option<Tags>,
    }
    let unreadable = |error: serde_json::Error| format!("the tag list is not readable JSON: {error}");
    let answer: Answer = serde_json::from_slice(body).map_err(unreadable)?;
    match answer.tags {
        Some(Tags(tags)) => Ok(tags),
        None => match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body) {
            Ok(answer) if answer.contains_key("tags") => Ok(Vec::new()),
            Ok(_) => Err("the answer holds no tags".into()),
            Err(error) => Err(unreadable(error)),
        },
    }
}

/// Tags, of which no more are read than anybody has.
struct Tags(Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Tags(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Tags {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(tag) = items.next_element()? {
            if self.0.len() == MAX_TAGS {
                return Err(serde::de::Error::custom(format_args!("more than {MAX_TAGS} tags")));
            }
            self.0.push(tag);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        tags_of(text.as_bytes())
    }

    #[test]
    fn only_a_tag_list_is_taken_for_one() {
        assert_eq!(read(r#"{"name": "a", "tags": ["1", "2"], "manifest": {}}"#), Ok(vec!["1".into(), "2".into()]));
        assert_eq!(read(r#"{"name": "a", "tags": null}"#), Ok(Vec::new()));
        assert_eq!(read(r#"{"message": "come back later"}"#), Err("the answer holds no tags".into()));
        for text in ["", "[]", "{\"tags\": [1]}", "{\"tags\": \"1\"}", "<html>", "{\"tags\": [\"1\""] {
            assert!(
                read(text).is_err_and(|problem| problem.starts_with("the tag list is not readable JSON")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let many = format!("{{\"tags\": [{}\"a\"]}}", "\"a\",".repeat(MAX_TAGS));
        assert!(read(&many).is_err_and(|problem| problem.contains("more than 1000000 tags")));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(text in "\\PC{0,60}|[\\[\\]{}:,\"tags0-9]{0,60}") {
            let _ = read(&text);
        }
    }
}
