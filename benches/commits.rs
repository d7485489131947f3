//! The updater over a large repository on a real Git server: a thousand files in one commit, a thousand policies that
//! choose at once, and the memory it takes.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use api::image::{ImagePolicy, ImageUpdateAutomation};
use reconcile::{Directory, Store, clock, object};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ROUNDS, SLIPWAY,
    demo::{
        ci,
        git_server::GitServer,
        parts::{self, Part},
        world::{LOGIN, with_login},
    },
    row,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// A running slipway that updates a repository of many files, and the policies that the files follow.
struct Fleet {
    store: Store,
    slipway: Part,
    policies: usize,
    git: GitServer,
    _folder: TempDir,
}

impl Fleet {
    /// So many files, of which the first so many have a marker; they follow the policies by turns.
    async fn start(files: usize, marked: usize, policies: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let git = GitServer::start(&folder.path().join("git"), Some(LOGIN)).await?;
        let url = git.create_repository("fleet")?;
        let (address, clone) = (with_login(&url), folder.path().join("clone"));
        let files: Vec<_> = (0..files).map(|n| (path(n), manifest(n, (n < marked).then_some(n % policies)))).collect();
        // Git's own programs block; the server that answers them runs on this runtime.
        tokio::task::spawn_blocking(move || ci::Clone { folder: &clone }.create(&address, &files)).await??;
        let manifests = folder.path().join("manifests.yaml");
        std::fs::write(&manifests, objects(&url, policies))?;
        let (state, listen) = (folder.path().join("state.db"), parts::free_address()?);
        let [manifests, state_path, listens] =
            [manifests.display().to_string(), state.display().to_string(), listen.to_string()];
        let command = [SLIPWAY, "run", "--manifests", &manifests, "--state", &state_path, "--listen", &listens];
        let command = [&command[..], &["--controllers", "image"]].concat();
        let mut slipway = Part::start(Path::new(SLIPWAY), folder.path(), "slipway", &command)?;
        parts::listening(&mut slipway, listen).await?;
        let store = Store::Directory(Directory::attach(&state)?);
        let fleet = Self { store, slipway, policies, git, _folder: folder };
        while fleet.store.list::<ImagePolicy>(None).await?.len() < policies {
            clock::sleep(Duration::from_millis(20)).await;
        }
        Ok(fleet)
    }

    /// All policies choose the tag; how long it takes until Git has it, in seconds.
    async fn release(&self, tag: usize) -> anyhow::Result<f64> {
        self.release_some(self.policies, tag).await
    }

    /// The same of so many of the policies.
    async fn release_some(&self, some: usize, tag: usize) -> anyhow::Result<f64> {
        let (start, tag) = (clock::instant(), tag.to_string());
        for number in 0..some {
            let id = object::named::<ImagePolicy>("apps", &format!("app{number}"));
            let status = json!({"latestRef": {"name": format!("example.com/app{number}"), "tag": tag}});
            self.store.write_status(&id, "bench", &status).await?;
        }
        loop {
            let bot = self.store.get::<ImageUpdateAutomation>("apps", "bot").await?;
            let observed = bot.and_then(|bot| bot.status).unwrap_or_default().observed_policies;
            let follow = observed.values().filter(|image| image.tag == tag).count();
            if observed.len() == self.policies && follow == some {
                return Ok(start.elapsed().as_secs_f64());
            }
            ensure!(start.elapsed() < PATIENCE, "tag {tag} does not reach Git");
            clock::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many commits the branch has.
    fn commits(&self) -> anyhow::Result<f64> {
        let folder = self.git.folder("fleet").display().to_string();
        let counted =
            std::process::Command::new("git").args(["-C", &folder, "rev-list", "--count", "main"]).output()?;
        Ok(String::from_utf8(counted.stdout)?.trim().parse()?)
    }
}

/// One policy that every file follows: all of them in one commit.
pub async fn files(count: usize, goal: &str) -> anyhow::Result<()> {
    let fleet = Fleet::start(count, count, 1).await?;
    fleet.release(1).await?;
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        samples.push(fleet.release(round + 2).await?);
    }
    row(&format!("choice → one commit of {count} of {count} files"), samples, "s", goal);
    Ok(())
}

/// As many policies as files, all of which choose at once.
pub async fn policies(count: usize, goal: &str) -> anyhow::Result<()> {
    let fleet = Fleet::start(count, count, count).await?;
    fleet.release(1).await?;
    let before = fleet.commits()?;
    let took = fleet.release(2).await?;
    row(&format!("{count} policies choose at once → all in Git"), vec![took], "s", goal);
    row("  in so many commits", vec![fleet.commits()? - before], "", "few");
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        samples.push(fleet.release_some(1, round + 3).await? * 1e3);
    }
    row(&format!("one of {count} policies chooses → in Git, {count} files with markers"), samples, "ms", "printed");
    Ok(())
}

/// The most memory that a repository of many files ever takes; one in ten has a marker.
pub async fn memory(count: usize, goal: &str) -> anyhow::Result<()> {
    let fleet = Fleet::start(count, count / 10, 1).await?;
    for tag in 1..=3 {
        fleet.release(tag).await?;
    }
    let peak = parts::peak_bytes(fleet.slipway.id()).unwrap_or_default();
    row(&format!("peak memory with a repository of {count} files"), vec![peak as f64 / 1e6], "MB", goal);
    Ok(())
}

fn path(number: usize) -> String {
    format!("apps/team{}/app{number:05}.yaml", number % 10)
}

/// A Deployment, whose image may follow a policy.
fn manifest(number: usize, policy: Option<usize>) -> String {
    let marker = policy.map(|policy| format!(" # {{\"$imagepolicy\": \"apps:app{policy}\"}}")).unwrap_or_default();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app{number}, namespace: apps}}\nspec:\n  replicas: 2\n  \
         template:\n    spec:\n      containers:\n      - name: app\n        image: example.com/app:0{marker}\n        \
         ports: [{{containerPort: 8080}}]\n"
    )
}

/// The automation over the repository, and policies that only the bench moves.
fn objects(url: &str, policies: usize) -> String {
    let object = |api_version: &str, kind: &str, name: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "apps"}, "spec": spec});
    let image = "image.toolkit.fluxcd.io/v1";
    let commit = json!({"author": {"name": "bot", "email": "bot@example.com"}});
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "apps"},
            "stringData": {"username": LOGIN.0, "password": LOGIN.1}}),
        object(
            "source.toolkit.fluxcd.io/v1",
            "GitRepository",
            "fleet",
            json!({"url": url, "interval": "1h", "ref": {"branch": "main"}, "secretRef": {"name": "login"}}),
        ),
        object(
            image,
            "ImageUpdateAutomation",
            "bot",
            json!({"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "fleet"}, "git": {"commit": commit}}),
        ),
    ];
    let policy = json!({"imageRepositoryRef": {"name": "none"}, "policy": {"alphabetical": {}}, "suspend": true});
    all.extend((0..policies).map(|number| object(image, "ImagePolicy", &format!("app{number}"), policy.clone())));
    all.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}
