//! `slipway receive`: what a webhook would wake, judged by the code that answers webhooks, over objects in files.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use api::notification::{Receiver, ReceiverStatus};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use notification::{
    Hooks, Settings,
    controller::{Answer, Known, MAX_BODY_BYTES},
    receiver::readiness,
};
use reconcile::{Context, Directory, Http, Shutdown, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Exit,
    objects::{self, Placed},
    print, print_json,
};
use crate::args::{Output, notify::Receive};

/// Namespace of objects that name none.
const NAMESPACE: &str = "default";

/// A call in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Request {
    path: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
}

/// Runs the verb.
pub fn run(args: &Receive) -> anyhow::Result<Exit> {
    receive(args).map_err(|error| super::wrong(args.output, error))
}

fn receive(args: &Receive) -> anyhow::Result<Exit> {
    let objects = objects(&args.files)?;
    let mut receivers = receivers(&objects)?;
    let named = args.receiver.as_ref().map(|name| format!(" named {name}")).unwrap_or_default();
    if let Some(name) = &args.receiver {
        receivers.retain(|candidate| candidate.receiver.name_any() == *name);
    }
    let Some(file) = &args.request else {
        // A call without one is answered: by 404.
        ensure!(!receivers.is_empty(), "no Receiver{named} in {}", args.files.join(", "));
        return paths(args, &receivers);
    };
    let request: Request =
        serde_json::from_str(&super::read(file)?).with_context(|| format!("{file} is no request"))?;
    let answer = super::wait_for(answer(args, &objects, receivers, &request))?;
    show(args, &answer)?;
    Ok(if answer.status == StatusCode::OK { Exit::Done } else { Exit::No })
}

/// A Receiver and what its readiness would be, unless the file tells.
struct Candidate {
    receiver: Receiver,
    path: String,
    problem: Option<String>,
}

/// The objects of the files, each with a namespace.
pub fn objects(files: &[String]) -> anyhow::Result<Vec<Placed>> {
    let mut found = objects::read(files)?;
    for placed in &mut found {
        if placed.object.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
            return Err(placed.wrong("metadata: an object is expected"));
        }
        if placed.object["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
            placed.object["metadata"]["namespace"] = NAMESPACE.into();
        }
    }
    Ok(found)
}

fn receivers(objects: &[Placed]) -> anyhow::Result<Vec<Candidate>> {
    let of = |kind: &'static str| objects.iter().filter(move |placed| placed.is(kind));
    let secrets: Vec<Secret> = of("Secret").map(placed_secret).collect::<anyhow::Result<_>>()?;
    let read = |placed: &Placed| {
        let receiver: Receiver = placed.typed()?;
        let named = receiver.spec.secret_ref.as_ref();
        let secret = named.and_then(|named| {
            let is_it =
                |secret: &&Secret| secret.name_any() == named.name && secret.namespace() == receiver.namespace();
            secrets.iter().find(is_it).map(|secret| secret.data.clone().unwrap_or_default())
        });
        let token = secret.as_ref().and_then(|data| data.get("token")).map(|token| token.0.clone()).unwrap_or_default();
        let path = readiness::path(&token, &receiver.name_any(), &receiver.namespace().unwrap_or_default());
        let problem = readiness::check(&receiver, secret.as_ref()).err().map(|unready| unready.message);
        Ok(Candidate { receiver, path, problem })
    };
    // Without a spec it is an object to be woken, not one to be called.
    of("Receiver").filter(|placed| placed.object["spec"].is_object()).map(read).collect()
}

/// A Secret of a file, as [`secret`] reads it.
pub fn placed_secret(placed: &Placed) -> anyhow::Result<Secret> {
    secret(&placed.object).map_err(|problem| placed.wrong(&problem))
}

/// A Secret with its `stringData` merged in, as an API server does. The error names the field.
pub fn secret(object: &Value) -> Result<Secret, String> {
    let mut secret: Secret = api::manifest::typed(object)?;
    let texts = secret.string_data.take().unwrap_or_default().into_iter();
    let data = secret.data.get_or_insert_default();
    data.extend(texts.map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes()))));
    Ok(secret)
}

fn paths(args: &Receive, receivers: &[Candidate]) -> anyhow::Result<Exit> {
    let rows: Vec<Value> = receivers
        .iter()
        .map(|candidate| {
            json!({"namespace": candidate.receiver.namespace(), "name": candidate.receiver.name_any(),
                "path": candidate.path, "error": candidate.problem})
        })
        .collect();
    match args.output {
        Output::Json => print_json(&rows)?,
        Output::Table => {
            for candidate in receivers {
                let problem = candidate.problem.as_deref().map(|problem| format!("   {problem}")).unwrap_or_default();
                print(&format!("{}{problem}\n", candidate.path));
            }
        }
    }
    Ok(if receivers.iter().all(|candidate| candidate.problem.is_none()) { Exit::Done } else { Exit::No })
}

async fn answer(
    args: &Receive,
    objects: &[Placed],
    mut receivers: Vec<Candidate>,
    request: &Request,
) -> anyhow::Result<Answer> {
    let folder = tempfile::tempdir()?;
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await?;
    let store = Store::Directory(directory);
    for object in objects {
        store.apply("slipway", &object.object).await.map_err(|problem| object.wrong(&problem.to_string()))?;
    }
    let context = Context::new(store, Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION"))), "slipway");
    let settings = Settings {
        no_cross_namespace_refs: args.no_cross_namespace_refs,
        google_keys: args.google_keys.clone(),
        ..Settings::default()
    };
    if let Some(path) = &request.path {
        receivers.retain(|candidate| candidate.path == *path);
    }
    ensure!(receivers.len() < 2, "several Receivers could be meant; name one with --receiver or the request's path");
    let not_found = Answer {
        status: StatusCode::NOT_FOUND,
        woken: Vec::new(),
        problems: vec!["no receiver listens on this path".into()],
    };
    let Some(candidate) = receivers.pop() else { return Ok(not_found) };
    let problem = candidate.problem.clone();
    let known = Known::new(with_status(candidate));
    if let Err(mut refused) = known.is_open(None) {
        // Who calls is told no more than that; whoever tries it out may know why.
        refused.problems.extend(problem);
        return Ok(refused);
    }
    let body = body(request)?;
    if body.len() > MAX_BODY_BYTES {
        let problem = format!("the body is larger than {MAX_BODY_BYTES} bytes");
        return Ok(Answer { status: StatusCode::PAYLOAD_TOO_LARGE, woken: Vec::new(), problems: vec![problem] });
    }
    let headers = headers(request)?;
    let (hooks, shutdown) = (Hooks::new(context, &settings), Shutdown::new());
    let running = tokio::spawn(hooks.clone().run(shutdown.clone()));
    let answer = hooks.answer(&known, &headers, &body).await;
    shutdown.cancel();
    running.await?;
    Ok(answer)
}

/// The Receiver with the status that its file gives, or that it would have.
fn with_status(candidate: Candidate) -> Receiver {
    let Candidate { mut receiver, path, problem } = candidate;
    let is_told = receiver.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    if !is_told {
        let mut status = ReceiverStatus { webhook_path: path, ..ReceiverStatus::default() };
        let (holds, reason) = match problem {
            None => (api::conditions::Status::True, "Succeeded"),
            Some(_) => (api::conditions::Status::False, "Failed"),
        };
        let message = problem.unwrap_or_default();
        let ready = api::conditions::New {
            kind: api::conditions::READY,
            status: holds,
            reason,
            message: &message,
            generation: 1,
        };
        api::conditions::set(&mut status.conditions, ready, reconcile::clock::now());
        receiver.status = Some(status);
    }
    receiver
}

fn body(request: &Request) -> anyhow::Result<Vec<u8>> {
    match (&request.body, &request.body_base64) {
        (Some(_), Some(_)) => bail!("the request has both body and bodyBase64; give one"),
        (Some(text), None) => Ok(text.clone().into_bytes()),
        (None, Some(text)) => BASE64_STANDARD.decode(text).context("bodyBase64 is not base64"),
        (None, None) => Ok(Vec::new()),
    }
}

fn headers(request: &Request) -> anyhow::Result<HeaderMap> {
    let entry = |(name, value): (&String, &String)| {
        let name: HeaderName = name.parse().with_context(|| format!("{name:?} is no header"))?;
        Ok((name, HeaderValue::from_bytes(value.as_bytes()).context("a header's value cannot be sent")?))
    };
    request.headers.iter().map(entry).collect()
}

fn show(args: &Receive, answer: &Answer) -> anyhow::Result<()> {
    match args.output {
        Output::Json => {
            let woken: Vec<Value> =
                answer.woken.iter().map(|id| serde_json::to_value(id).unwrap_or_default()).collect();
            print_json(&json!({"status": answer.status.as_u16(), "annotated": woken, "errors": answer.problems}))?;
        }
        Output::Table => {
            print(&format!("status   {}\n", answer.status));
            answer.woken.iter().for_each(|id| print(&format!("wakes    {id}\n")));
            answer.problems.iter().for_each(|problem| print(&format!("because  {problem}\n")));
        }
    }
    Ok(())
}
