//! Whose is what on an object that we share with its user. Lists are written whole, so what others put into them has to be
//! written again; maps are merged by whoever applies them.

use api::meta::ObjectReference;
use serde_json::Value;

/// The object as it will be once `ours` is applied to `live`: maps are merged, everything else is replaced.
pub fn merged(live: Option<&Value>, ours: &Value) -> Value {
    let (Some(Value::Object(live)), Value::Object(ours)) = (live, ours) else { return ours.clone() };
    let mut merged = live.clone();
    for (key, value) in ours {
        let value = self::merged(live.get(key), value);
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

/// The current object that `wanted` names.
pub fn find<'a>(current: &'a [Value], wanted: &ObjectReference) -> Option<&'a Value> {
    current.iter().find(|object| is_named(object, wanted))
}

/// Whether the object is the one that `wanted` names; the version of its API does not matter.
pub fn is_named(object: &Value, wanted: &ObjectReference) -> bool {
    let metadata = &object["metadata"];
    // What tells most objects apart comes first.
    if metadata["name"] != *wanted.name || object["kind"] != *wanted.kind {
        return false;
    }
    let is_at_home = match metadata["namespace"].as_str().unwrap_or_default() {
        "" if !wanted.namespace.is_empty() => wanted.namespace == "default",
        namespace => namespace == wanted.namespace,
    };
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    is_at_home && group == wanted.group()
}

/// Whether applying `ours` to `live` would change nothing: what it says is there already.
pub fn keeps(live: &Value, ours: &Value) -> bool {
    match (live, ours) {
        (Value::Object(live), Value::Object(ours)) => {
            ours.iter().all(|(key, ours)| live.get(key).map_or_else(|| is_empty(ours), |live| keeps(live, ours)))
        }
        (live, ours) => same(live, ours),
    }
}

/// Whether two objects are equal but for empty members, which an API server leaves out.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| b.get(key).map_or_else(|| is_empty(value), |other| same(value, other)))
                && b.iter().all(|(key, value)| a.contains_key(key) || is_empty(value))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b || is_empty(a) && is_empty(b),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A list of weighted destinations: ours first, each with what others put on the live one of its name, then the live ones
/// that lead elsewhere. `name` gives the service that an item leads to; items of `names` are ours.
pub fn destinations(
    live: &[Value],
    ours: Vec<Value>,
    names: &[impl AsRef<str>],
    name: impl Fn(&Value) -> Option<String>,
) -> Vec<Value> {
    let of = |ours: &Value| {
        let wanted = name(ours)?;
        live.iter().find(|item| name(item).as_ref() == Some(&wanted))
    };
    let is_ours = |name: &String| names.iter().any(|ours| ours.as_ref() == name);
    let foreign = live.iter().filter(|item| name(item).is_some_and(|name| !is_ours(&name)));
    ours.iter().map(|ours| merged(of(ours), ours)).chain(foreign.cloned()).collect()
}

/// What a rule of a live list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Somebody else's: it leads elsewhere, or to one of our services on purpose.
    Foreign,
    /// It says which requests are ours.
    Base,
    /// Made from a base, for users with a cookie or for a test.
    Derived,
}

/// Which of several bases ours take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bases {
    /// All, each by rules of its own.
    Each,
    /// The last, and the others go: the Canary says itself which requests are meant.
    Last,
}

/// The live list with `ours`, which are made from a base, in the place of the bases; at the end if there is none.
pub fn place<E>(
    live: &[Value],
    kind: impl Fn(&Value) -> Rule,
    bases: Bases,
    ours: impl Fn(Option<&Value>) -> Result<Vec<Value>, E>,
) -> Result<Vec<Value>, E> {
    let last = live.iter().rposition(|rule| kind(rule) == Rule::Base);
    let mut placed = Vec::new();
    for (index, rule) in live.iter().enumerate() {
        match kind(rule) {
            Rule::Foreign => placed.push(rule.clone()),
            Rule::Base if bases == Bases::Each || last == Some(index) => placed.extend(ours(Some(rule))?),
            Rule::Base | Rule::Derived => {}
        }
    }
    if last.is_none() {
        placed.extend(ours(None)?);
    }
    Ok(placed)
}

/// How rules that match requests and split them among services are told apart.
#[derive(Clone, Debug)]
pub struct Sorting<'a> {
    /// Apex, primary and canary service.
    pub names: (String, String, String),
    /// Member with the matches of a rule.
    pub matches: &'static str,
    /// Members of a match that every test may add.
    pub conditions: &'static [&'static str],
    /// The matches of the Canary's test; none without one.
    pub tested: Value,
    /// The match that a rule without any has.
    pub everything: Value,
    /// The services that a rule leads to.
    pub services: fn(&Value) -> Vec<&str>,
    /// The live rules.
    pub live: &'a [Value],
    /// The patterns of session cookies.
    pub cookies: Vec<String>,
}

impl Sorting<'_> {
    /// What a live rule is.
    pub fn kind(&self, rule: &Value) -> Rule {
        let (apex, primary, canary) = &self.names;
        let services = (self.services)(rule);
        let leads_to = |name: &String| services.contains(&name.as_str());
        let matches = self.matches(rule);
        if leads_to(primary) && leads_to(canary) {
            let is_sticky = self.is_sticky(&matches);
            let is_tested = self.live.iter().any(|other| self.is_rest(other) && self.extends(&matches, other));
            return if is_sticky || is_tested { Rule::Derived } else { Rule::Base };
        }
        let is_rest = |both: &Value| {
            let services = (self.services)(both);
            let has_both = services.contains(&primary.as_str()) && services.contains(&canary.as_str());
            has_both && self.extends(&self.matches(both), rule)
        };
        match leads_to(apex) || self.is_rest(rule) && self.live.iter().any(is_rest) {
            true => Rule::Base,
            false => Rule::Foreign,
        }
    }

    /// Whether these matches are for users with a cookie.
    fn is_sticky(&self, matches: &[Value]) -> bool {
        let texts: Vec<String> = matches.iter().filter(|_| !self.cookies.is_empty()).map(Value::to_string).collect();
        self.cookies.iter().any(|pattern| texts.iter().any(|text| text.contains(pattern.as_str())))
    }

    /// Whether a rule leads to the primary and not to the canary, as that for the requests outside a test does.
    fn is_rest(&self, rule: &Value) -> bool {
        let services = (self.services)(rule);
        services.contains(&self.names.1.as_str()) && !services.contains(&self.names.2.as_str())
    }

    /// Whether the matches are those of `rest` with conditions of a test.
    fn extends(&self, matches: &[Value], rest: &Value) -> bool {
        let rest = self.matches(rest);
        let plain: Vec<Value> = rest.iter().map(|request| self.plain(request)).collect();
        // A test may ask for nothing that the router can tell apart.
        let differs = !self.tests().is_empty() || *matches != *rest;
        differs && matches.iter().all(|request| plain.contains(&self.plain(request)))
    }

    fn tests(&self) -> &[Value] {
        self.tested.as_array().map_or(&[], Vec::as_slice)
    }

    fn matches(&self, rule: &Value) -> Vec<Value> {
        match rule.get(self.matches).and_then(Value::as_array) {
            Some(matches) if !matches.is_empty() => matches.clone(),
            _ => vec![self.everything.clone()],
        }
    }

    fn plain(&self, request: &Value) -> Value {
        let members = request.as_object().into_iter().flatten();
        let is_tested = |member: &String| self.tests().iter().any(|test| test.get(member).is_some());
        let kept = members.filter(|(member, _)| !self.conditions.contains(&member.as_str()) && !is_tested(member));
        kept.map(|(member, value)| (member.clone(), value.clone())).collect()
    }
}
