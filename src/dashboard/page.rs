//! The page: files written by hand, part of the binary. Every view is a path of its own, and all of them are the same page.
//!
//! Links are relative to the page's `base`, which the depth of the path gives; so it works behind any prefix.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

use super::Dashboard;

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type, content.
const FILES: [(&str, &str, &str); 12] = [
    ("style.css", STYLE, include_str!("page/style.css")),
    ("theme.js", SCRIPT, include_str!("page/theme.js")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("data.js", SCRIPT, include_str!("page/data.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("words.js", SCRIPT, include_str!("page/words.js")),
    ("overview.js", SCRIPT, include_str!("page/overview.js")),
    ("rollout.js", SCRIPT, include_str!("page/rollout.js")),
    ("actions.js", SCRIPT, include_str!("page/actions.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("images.js", SCRIPT, include_str!("page/images.js")),
    ("events.js", SCRIPT, include_str!("page/events.js")),
];
const ICON: &str = include_str!("page/icon.svg");

static BUILD: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    digest.update(INDEX);
    FILES.iter().for_each(|(_, _, content)| digest.update(content));
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// Tells this page from that of another version.
pub fn build() -> &'static str {
    &BUILD
}

/// The page's paths.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    let page = |base: &'static str| get(move |headers: HeaderMap| async move { index(&headers, base) });
    let mut router = Router::new()
        .route("/", page("./"))
        .route("/e", page("./"))
        .route("/i", page("./"))
        .route("/help", page("./"))
        .route("/r/{ns}/{name}", page("../../"))
        .route("/i/{ns}/{name}", page("../../"))
        .route("/r/{ns}/{name}/runs/{run}", page("../../../../"));
    let assets = FILES.into_iter().chain([("icon.svg", "image/svg+xml", ICON)]);
    for (name, media, content) in assets {
        let answer = move |headers: HeaderMap| async move { file(&headers, media, content.to_owned(), build()) };
        router = router.route(&format!("/page/{name}"), get(answer));
    }
    router
}

fn index(headers: &HeaderMap, base: &str) -> Response {
    let text = INDEX.replace("{base}", base).replace("{build}", build());
    file(headers, "text/html; charset=utf-8", text, &format!("{}-{}", build(), base.len()))
}

/// A file, or that the browser has it already.
fn file(headers: &HeaderMap, media: &'static str, content: String, version: &str) -> Response {
    let tag = format!("\"{version}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let common = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())];
    match known {
        true => (StatusCode::NOT_MODIFIED, common).into_response(),
        false => (common, [(header::CONTENT_TYPE, media)], content).into_response(),
    }
}
