//! Matches and filters as an HTTPRoute writes them, in the form in which they are applied. Pure.

use api::gateway::{
    FilterType, HttpHeaderFilter, HttpPathModifier, HttpRequestMirrorFilter, HttpRequestRedirectFilter,
    HttpRouteFilter, HttpRouteMatch, HttpUrlRewriteFilter, HttpValueMatch, PathMatchType, ValueMatchType,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{
    compile::Refusal,
    filters::{Filters, HeaderChange, Mirror, PathChange, Redirect, Rewrite},
    matching::{Matcher, PathMatch, TextMatch, whole},
    table::ServicePort,
};

/// The matches of a rule; none means every request. `at` is the rule's place in the object, for messages.
pub fn matchers(matches: &[HttpRouteMatch], at: &str) -> Result<Vec<Matcher>, Refusal> {
    if matches.is_empty() {
        return Ok(vec![Matcher::default()]);
    }
    matches.iter().enumerate().map(|(index, given)| matcher(given, &format!("{at}.matches[{index}]"))).collect()
}

fn matcher(given: &HttpRouteMatch, at: &str) -> Result<Matcher, Refusal> {
    let mut matcher = Matcher::default();
    if let Some(path) = &given.path {
        matcher.path = match &path.kind {
            PathMatchType::Exact => PathMatch::Exact(path.value.clone()),
            PathMatchType::PathPrefix => PathMatch::prefix(&path.value),
            PathMatchType::RegularExpression => PathMatch::Regex(expression(&path.value, &format!("{at}.path"))?),
            PathMatchType::Other(kind) => return Err(unknown(&format!("{at}.path.type"), kind)),
        };
    }
    if let Some(method) = &given.method {
        matcher.method = Some(method.parse::<Method>().map_err(|_| unknown(&format!("{at}.method"), method))?);
    }
    for (index, header) in given.headers.iter().enumerate() {
        let at = format!("{at}.headers[{index}]");
        let name: HeaderName = header.name.parse().map_err(|_| unknown(&format!("{at}.name"), &header.name))?;
        // Of several with one name only the first counts.
        if !matcher.headers.iter().any(|(known, _)| *known == name) {
            matcher.headers.push((name, value(header, &at)?));
        }
    }
    for (index, parameter) in given.query_params.iter().enumerate() {
        if !matcher.query.iter().any(|(known, _)| *known == parameter.name) {
            let value = value(parameter, &format!("{at}.queryParams[{index}]"))?;
            matcher.query.push((parameter.name.clone(), value));
        }
    }
    Ok(matcher)
}

fn value(given: &HttpValueMatch, at: &str) -> Result<TextMatch, Refusal> {
    match &given.kind {
        ValueMatchType::Exact => Ok(TextMatch::Exact(given.value.clone())),
        ValueMatchType::RegularExpression => expression(&given.value, at).map(TextMatch::Regex),
        ValueMatchType::Other(kind) => Err(unknown(&format!("{at}.type"), kind)),
    }
}

fn expression(text: &str, at: &str) -> Result<regex::Regex, Refusal> {
    whole(text).map_err(|_| Refusal::unsupported(format!("{at}.value: {text:?} is no regular expression")))
}

fn unknown(at: &str, value: &str) -> Refusal {
    Refusal::unsupported(format!("{at}: {value:?} is not supported"))
}

/// The filters of a rule or a backend. `at` is their owner's place in the object, for messages.
pub fn filters(given: &[HttpRouteFilter], namespace: &str, at: &str) -> Result<Filters, Refusal> {
    let mut filters = Filters::default();
    for (index, filter) in given.iter().enumerate() {
        let at = format!("{at}.filters[{index}]");
        match &filter.kind {
            FilterType::RequestHeaderModifier => {
                filters.request = header_change(filter.request_header_modifier.as_ref(), &at)?;
            }
            FilterType::ResponseHeaderModifier => {
                filters.response = header_change(filter.response_header_modifier.as_ref(), &at)?;
            }
            FilterType::UrlRewrite => filters.rewrite = rewrite(&needed(&filter.url_rewrite, &at)?, &at)?,
            FilterType::RequestRedirect => {
                filters.redirect = Some(redirect(&needed(&filter.request_redirect, &at)?, &at)?);
            }
            FilterType::RequestMirror => {
                filters.mirrors.push(mirror(&needed(&filter.request_mirror, &at)?, namespace, &at)?);
            }
            FilterType::Cors => return Err(unknown(&format!("{at}.type"), "CORS")),
            FilterType::Other(kind) => return Err(unknown(&format!("{at}.type"), kind)),
        }
    }
    Ok(filters)
}

fn needed<T: Clone>(given: &Option<T>, at: &str) -> Result<T, Refusal> {
    given.clone().ok_or_else(|| Refusal::unsupported(format!("{at}: the filter has no settings")))
}

fn header_change(given: Option<&HttpHeaderFilter>, at: &str) -> Result<HeaderChange, Refusal> {
    let given = needed(&given.cloned(), at)?;
    let name = |name: &str| name.parse::<HeaderName>().map_err(|_| unknown(at, name));
    let field = |header: &api::gateway::HttpHeader| {
        let value = HeaderValue::from_str(&header.value).map_err(|_| unknown(at, &header.value))?;
        Ok((name(&header.name)?, value))
    };
    Ok(HeaderChange {
        set: given.set.iter().map(field).collect::<Result<_, _>>()?,
        add: given.add.iter().map(field).collect::<Result<_, _>>()?,
        remove: given.remove.iter().map(|header| name(header)).collect::<Result<_, _>>()?,
    })
}

fn path_change(given: &HttpPathModifier, at: &str) -> Result<PathChange, Refusal> {
    let absent = || Refusal::unsupported(format!("{at}.path: {} needs its value", given.kind));
    match given.kind.as_str() {
        "ReplaceFullPath" => given.replace_full_path.clone().map(PathChange::Full).ok_or_else(absent),
        "ReplacePrefixMatch" => given.replace_prefix_match.clone().map(PathChange::Prefix).ok_or_else(absent),
        kind => Err(unknown(&format!("{at}.path.type"), kind)),
    }
}

fn rewrite(given: &HttpUrlRewriteFilter, at: &str) -> Result<Rewrite, Refusal> {
    let hostname = given.hostname.as_ref().map(|host| HeaderValue::from_str(host).map_err(|_| unknown(at, host)));
    let path = given.path.as_ref().map(|path| path_change(path, at));
    Ok(Rewrite { hostname: hostname.transpose()?, path: path.transpose()? })
}

fn redirect(given: &HttpRequestRedirectFilter, at: &str) -> Result<Redirect, Refusal> {
    let code = given.status_code.unwrap_or(302);
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(StatusCode::is_redirection)
        .ok_or_else(|| unknown(&format!("{at}.statusCode"), &code.to_string()))?;
    let path = given.path.as_ref().map(|path| path_change(path, at)).transpose()?;
    Ok(Redirect { scheme: given.scheme.clone(), hostname: given.hostname.clone(), path, port: given.port, status })
}

fn mirror(given: &HttpRequestMirrorFilter, namespace: &str, at: &str) -> Result<Mirror, Refusal> {
    let reference = &given.backend_ref;
    let port = reference.port.ok_or_else(|| Refusal::unsupported(format!("{at}.backendRef.port is missing")))?;
    let service = ServicePort {
        namespace: reference.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
        service: reference.name.clone(),
        port,
    };
    let share = |value: &serde_json::Value, name: &str| {
        value.get(name).and_then(|number| number.as_u64()).and_then(|number| u32::try_from(number).ok())
    };
    let (numerator, denominator) = match (given.percent, given.extra.get("fraction")) {
        (Some(percent), _) => (u32::try_from(percent.clamp(0, 100)).unwrap_or_default(), 100),
        (None, Some(fraction)) => {
            let denominator = share(fraction, "denominator").unwrap_or(100).max(1);
            (share(fraction, "numerator").unwrap_or_default().min(denominator), denominator)
        }
        (None, None) => (1, 1),
    };
    Ok(Mirror { service, numerator, denominator })
}
