//! The scanner on a real registry: from the request to the status, and a thousand objects from cold to Ready.

use std::{collections::HashMap, net::SocketAddr, path::Path, time::Duration};

use api::{
    conditions::{self, READY},
    image::{ImagePolicy, ImageRepository},
    meta::REQUESTED_AT,
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reconcile::{
    Directory, Http, Shutdown, Store, clock, object,
    simulation::{self, Verdict},
    watcher::Event,
};
use scanner::{
    Listing, Tags,
    result::Exclusions,
    tags::{Origin, Stored},
};
use serde_json::{Value, json};

use super::{ROUNDS, SLIPWAY, demo::parts, row};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

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

/// Repositories of ten tags each and as many policies, from the start of slipway until all are Ready.
pub async fn cold(count: usize, goal: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let lists: Vec<_> = (0..count).map(|number| (format!("team/app{number}"), 10)).collect();
    let (_registry, registry) = registry(folder.path(), &lists).await?;
    let object = |kind: &str, number: usize, spec: Value| {
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": {"namespace": "apps", "name": format!("app{number}")}, "spec": spec})
        .to_string()
    };
    let objects = (0..count).flat_map(|number| {
        let repository = json!({"image": format!("{registry}/team/app{number}"), "interval": "10m"});
        let policy =
            json!({"imageRepositoryRef": {"name": format!("app{number}")}, "policy": {"semver": {"range": "1.x"}}});
        [object("ImageRepository", number, repository), object("ImagePolicy", number, policy)]
    });
    let [file, state] = ["manifests.yaml", "state.db"].map(|name| folder.path().join(name));
    std::fs::write(&file, objects.collect::<Vec<_>>().join("\n---\n"))?;
    let listen = parts::free_address()?;
    let texts = [file.display().to_string(), state.display().to_string(), listen.to_string()];
    let command = [SLIPWAY, "run", "--manifests", &texts[0], "--state", &texts[1], "--listen", &texts[2]];
    let command = [&command[..], &["--receiver-listen", "127.0.0.1:0", "--controllers", "image"]].concat();
    let start = clock::instant();
    let mut slipway = parts::Part::start(Path::new(SLIPWAY), folder.path(), "slipway", &command)?;
    parts::listening(&mut slipway, listen).await?;
    let store = Store::Directory(Directory::attach(&state)?);
    while ready(&store).await? < count {
        anyhow::ensure!(start.elapsed() < PATIENCE, "{count} policies are not Ready after five minutes");
        // To ask takes time from slipway.
        clock::sleep(Duration::from_millis(200)).await;
    }
    row(&format!("{count} repositories and policies, cold to Ready"), vec![start.elapsed().as_secs_f64()], "s", goal);
    let used = parts::cpu_seconds(slipway.id()).unwrap_or_default();
    row("  processor time of slipway", vec![used], "s", "3 s");
    let peak = parts::peak_bytes(slipway.id()).unwrap_or_default();
    row("  its memory at most", vec![peak as f64 / 1e6], "MB", "50 MB");
    Ok(())
}

/// How many policies are Ready.
async fn ready(store: &Store) -> anyhow::Result<usize> {
    let policies = store.list::<ImagePolicy>(None).await?;
    let is_ready = |policy: &ImagePolicy| {
        let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        conditions::find(conditions, READY).is_some_and(|ready| ready.status == "True")
    };
    Ok(policies.iter().filter(|policy| is_ready(policy)).count())
}

/// How evenly many repositories with intervals of ten minutes are scanned in the hour after they were made together. Time
/// is virtual, the loops and the store are the real ones.
pub fn steady(count: usize) -> anyhow::Result<()> {
    const INTERVAL: Duration = Duration::from_secs(600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    let listings: Vec<Duration> = runtime.block_on(async {
        let _plan = simulation::plan("2026-01-02T03:04:05Z".parse()?, |_| Verdict::Pass);
        let (heard, mut listings) = tokio::sync::mpsc::unbounded_channel();
        let http = Http::to_handler(move |request| {
            if request.uri().path().ends_with("/tags/list") {
                // Nobody listens any more when the bench is over.
                let _ = heard.send(clock::instant());
            }
            std::future::ready(Ok(http::Response::new(Bytes::from_static(b"{\"tags\": [\"1.0.0\"]}"))))
        });
        let folder = tempfile::tempdir()?;
        let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await?);
        let context = reconcile::Context::new(store.clone(), http, "bench");
        let shutdown = Shutdown::new();
        let loops = tokio::spawn(scanner::controllers(context, scanner::Options::default(), shutdown.clone()));
        let begin = clock::instant();
        for number in 0..count {
            let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
                "metadata": {"namespace": "apps", "name": format!("app{number}")},
                "spec": {"image": format!("registry.example.com/team/app{number}"), "interval": "10m"}});
            store.apply("bench", &object).await?;
        }
        clock::sleep(INTERVAL * 7).await;
        shutdown.cancel();
        loops.await?;
        let all = std::iter::from_fn(|| listings.try_recv().ok());
        anyhow::Ok(all.map(|at| at.duration_since(begin)).filter(|since| *since >= INTERVAL).collect())
    })?;
    let mut seconds: HashMap<u64, usize> = HashMap::new();
    listings.iter().for_each(|since| *seconds.entry(since.as_secs()).or_default() += 1);
    let most = seconds.values().max().copied().unwrap_or_default();
    let mean = listings.len() as f64 / (INTERVAL * 6).as_secs_f64();
    row(&format!("{count} repositories every 10 min: most scans in a second"), vec![most as f64], "", "3 × the mean");
    row("  in a mean second", vec![mean], "", "");
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
