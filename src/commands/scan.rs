//! `slipway scan`: the tags of an image as its registry lists them now, kept as a scan keeps them.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use http::StatusCode;
use oci::{Client, Keychain, Name, credential_program};
use reconcile::Http;
use scanner::result::{Exclusions, Listing};
use serde_json::{Value, json};

use super::{Exit, print, print_json};
use crate::{
    args::{Output, look::Scan},
    demo::transport,
};

/// Runs the verb.
pub fn run(args: &Scan) -> anyhow::Result<Exit> {
    let name = match Name::parse(&args.image) {
        Ok(name) => {
            if args.insecure {
                name.insecure()
            } else {
                name
            }
        }
        Err(error) => return Err(failed(args, None, error.into())),
    };
    let listed = super::wait_for(async { Ok(tokio::time::timeout(args.timeout.get(), list(args, &name)).await) });
    let Ok(listed) = listed? else {
        let slow = anyhow!("{} has not listed the tags of {name} within {}", name.registry(), args.timeout);
        eprintln!("{} {}", super::mark::error(), failed(args, Some(&name), slow));
        eprintln!("hint: to wait longer: --timeout 5m");
        return Ok(Exit::Unreachable);
    };
    match listed {
        Ok(listing) => {
            show(args, &name, &listing)?;
            Ok(Exit::Done)
        }
        Err(error) => match error.downcast_ref::<oci::Error>() {
            Some(oci::Error::Credentials(_)) | None => Err(failed(args, Some(&name), error)),
            // The registry answered no, or could not be asked.
            Some(refused) => {
                let exit = exit_of(refused.status());
                eprintln!("{} {}", super::mark::error(), super::told(&failed(args, Some(&name), error)).join(": "));
                if exit == Exit::Forbidden {
                    eprintln!(
                        "hint: log in with docker login {}, or name the folder with the login by --config",
                        name.registry()
                    );
                }
                Ok(exit)
            }
        },
    }
}

/// What the registry's answer means to who called us. One that is asked too often does not say no.
fn exit_of(status: Option<StatusCode>) -> Exit {
    match status {
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Exit::Forbidden,
        Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => Exit::Unreachable,
        Some(status) if status.is_client_error() => Exit::No,
        _ => Exit::Unreachable,
    }
}

async fn list(args: &Scan, name: &Name) -> anyhow::Result<Listing> {
    let keychain = keychain(args.config.clone())?;
    let credential = credential_program::resolve(&keychain, name).await?;
    let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
    let tags = Client::new(transport(&http)).repository(name, credential).tags().await?;
    let exclusions = Exclusions::new(&api::image::DEFAULT_EXCLUSION_LIST.map(str::to_owned))?;
    Ok(Listing::new(tags, &exclusions))
}

/// The logins of Docker's `config.json`. Only a folder that was named must have one.
fn keychain(folder: Option<PathBuf>) -> anyhow::Result<Keychain> {
    let is_named = folder.is_some();
    let usual = || {
        let from_variable = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        from_variable.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))
    };
    let Some(folder) = folder.or_else(usual) else { return Ok(Keychain::default()) };
    let path = folder.join("config.json");
    match std::fs::read(&path) {
        Ok(content) => Keychain::from_config_file(&content).with_context(|| format!("cannot use {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => Ok(Keychain::default()),
        Err(error) => bail!("cannot read {}: {}", path.display(), super::streams::said(&error)),
    }
}

fn show(args: &Scan, name: &Name, listing: &Listing) -> anyhow::Result<()> {
    match args.output {
        Output::Json => print_json(&json!({
            "image": args.image,
            "canonical": name.to_string(),
            "tagCount": listing.tags().len(),
            "revision": listing.revision(),
            "tags": listing.tags(),
        })),
        Output::Table => {
            let tags: String = listing.tags().iter().map(|tag| format!("{tag}\n")).collect();
            eprintln!("{name}: {} tags, checksum {}", listing.tags().len(), listing.revision());
            print(&tags);
            Ok(())
        }
    }
}

/// With `-o json`, says on standard output too what is wrong.
fn failed(args: &Scan, name: Option<&Name>, error: anyhow::Error) -> anyhow::Error {
    if args.output == Output::Json {
        let _ = print_json(&json!({
            "image": args.image,
            "canonical": name.map(Name::to_string),
            "tagCount": 0,
            "revision": Value::Null,
            "tags": [],
            "error": super::told(&error).join(": "),
        }));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_look_and_who_asks_too_often_are_told_apart_from_what_is_not_there() {
        for (status, exit) in [
            (Some(401), Exit::Forbidden),
            (Some(403), Exit::Forbidden),
            (Some(404), Exit::No),
            (Some(429), Exit::Unreachable),
            (Some(500), Exit::Unreachable),
            (None, Exit::Unreachable),
        ] {
            let code = status.and_then(|code| StatusCode::from_u16(code).ok());
            assert_eq!(exit_of(code), exit, "{status:?}");
        }
    }
}
