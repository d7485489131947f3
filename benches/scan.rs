//! The scanner on a real registry: from the request to the status, and a thousand objects from cold to Ready.

use std::{collections::HashSet, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use api::{
    conditions::{self, READY},
    image::{ImagePolicy, ImageRepository},
    meta::REQUESTED_AT,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use reconcile::{Directory, Http, Shutdown, Store, clock, object, watcher::Event};
use scanner::{
    Listing, Tags,
    result::Exclusions,
    tags::{Origin, Stored},
};
use serde_json::{Value, json};

use super::{ROUNDS, SLIPWAY, demo::parts, row};

/// The scanner over a state file of its own, and a registry with planted tags.
struct Scanner {
    store: Store,
    registry: String,
    shutdown: Shutdown,
    loops: tokio::task::JoinHandle<()>,
    _part: parts::Part,
    _folder: tempfile::TempDir,
}

impl Scanner {
    async fn start(lists: &[(String, usize)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (part, address) = registry(folder.path(), lists).await?;
        let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await?);
        let context = reconcile::Context::new(store.clone(), Http::new("bench"), "bench");
        let shutdown = Shutdown::new();
        let loops = tokio::spawn(scanner::controllers(context, scanner::Options::default(), shutdown.clone()));
        Ok(Self { store, registry: address.to_string(), shutdown, loops, _part: part, _folder: folder })
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) -> anyhow::Result<()> {
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": {"namespace": "apps", "name": name}, "spec": spec});
        self.store.apply("bench", &object).await?;
        Ok(())
    }

    async fn finish(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        Ok(self.loops.await?)
    }
}

/// A registry with planted tags, by repository.
pub async fn registry(folder: &Path, lists: &[(String, usize)]) -> anyhow::Result<(parts::Part, SocketAddr)> {
    let (mut part, address) = parts::registry(Path::new(SLIPWAY), folder)?;
    parts::listening(&mut part, address).await?;
    for (path, tags) in lists {
        // The registry lists what lies in its folder.
        let tags_folder = folder.join(format!("registry/docker/registry/v2/repositories/{path}/_manifests/tags"));
        std::fs::create_dir_all(&tags_folder)?;
        for number in 0..*tags {
            std::fs::create_dir(tags_folder.join(format!("1.{number}.0")))?;
        }
    }
    Ok((part, address))
}

/// From a request to scan to the status that says it was handled.
pub async fn request(tags: usize, goal: &str) -> anyhow::Result<()> {
    let scanner = Scanner::start(&[("team/app".to_owned(), tags)]).await?;
    let image = format!("{}/team/app", scanner.registry);
    let url = format!("http://{}/v2/team/app/tags/list?n=1000", scanner.registry);
    scanner.apply("ImageRepository", "app", json!({"image": image, "interval": "1h"})).await?;
    let mut watch = scanner.store.watch::<ImageRepository>();
    let (mut samples, mut fetches) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (start, at) = (clock::instant(), format!("round {round}"));
        let id = object::named::<ImageRepository>("apps", "app");
        scanner.store.patch(&id, "bench", &json!({"metadata": {"annotations": {REQUESTED_AT: at}}})).await?;
        while let Some(event) = watch.next().await {
            let (Event::Apply(one) | Event::InitApply(one)) = event? else { continue };
            if one.status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some(&at) {
                break;
            }
        }
        // The first one also finds the way into the registry.
        if round > 0 {
            samples.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let start = clock::instant();
        reqwest::get(&url).await?.bytes().await?;
        fetches.push(start.elapsed().as_secs_f64() * 1e3);
    }
    row(&format!("request → status of a scan of {tags} tags"), samples, "ms", goal);
    row(&format!("  of which the registry's answer of {tags} tags"), fetches, "ms", "");
    scanner.finish().await
}

/// Repositories of ten tags each and as many policies, from nothing to Ready.
pub async fn cold(count: usize, goal: &str) -> anyhow::Result<()> {
    let lists: Vec<_> = (0..count).map(|number| (format!("team/app{number}"), 10)).collect();
    let scanner = Scanner::start(&lists).await?;
    let cpu = parts::cpu_seconds(std::process::id()).unwrap_or_default();
    let start = clock::instant();
    let watch = scanner.store.watch::<ImagePolicy>();
    for number in 0..count {
        let name = format!("app{number}");
        let image = format!("{}/team/{name}", scanner.registry);
        scanner.apply("ImageRepository", &name, json!({"image": image, "interval": "10m"})).await?;
        let spec = json!({"imageRepositoryRef": {"name": name}, "policy": {"semver": {"range": "1.x"}}});
        scanner.apply("ImagePolicy", &name, spec).await?;
    }
    tokio::time::timeout(Duration::from_secs(300), ready(watch, count))
        .await
        .with_context(|| format!("{count} policies are not Ready after five minutes"))??;
    let took = start.elapsed().as_secs_f64();
    row(&format!("{count} repositories and policies, cold to Ready"), vec![took], "s", goal);
    let used = parts::cpu_seconds(std::process::id()).unwrap_or_default() - cpu;
    row("  processor time, making and watching the objects included", vec![used], "s", "3 s");
    scanner.finish().await
}

/// Waits until so many policies are Ready.
async fn ready(
    mut watch: impl Stream<Item = reconcile::Result<Event<ImagePolicy>>> + Unpin,
    count: usize,
) -> anyhow::Result<()> {
    let mut found = HashSet::new();
    while found.len() < count {
        let Some(event) = watch.next().await else { bail!("the watch ended") };
        let (Event::Apply(policy) | Event::InitApply(policy)) = event? else { continue };
        let status = policy.status.as_ref();
        let ready = status.and_then(|status| conditions::find(&status.conditions, READY));
        if ready.is_some_and(|ready| ready.status == "True") {
            found.insert(policy.metadata.name);
        }
    }
    Ok(())
}

/// What the tags of many repositories take on disk.
pub async fn kept(repositories: usize, count: usize, goal: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await?);
    let tags = Tags::new(store.database().clone());
    let all = (0..count).map(|number| format!("1.{number}.0-20260102T030405")).collect();
    let (listing, none) = (Listing::new(all, &Exclusions::new(&[])?), Stored::default());
    let puts = stream::iter(0..repositories).map(async |number| {
        let name = format!("app{number}");
        let image = format!("registry.example.com/team/{name}");
        tags.put("apps", &name, &none, &listing, Origin { image: &image, etag: None }).await
    });
    puts.buffer_unordered(64).try_for_each(async |_| Ok(())).await?;
    let files = std::fs::read_dir(folder.path())?.flatten().filter_map(|file| file.metadata().ok());
    let bytes: u64 = files.map(|file| file.len()).sum();
    row(&format!("{repositories} repositories × {count} tags on disk"), vec![bytes as f64 / 1e6], "MB", goal);
    Ok(())
}
