//! What a CI system and a developer do: push an image to the registry, push manifests to Git.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use oci::{Client, Name, image};

/// A version of the demo's web application.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// The tag.
    pub version: &'static str,
    /// Share of requests that it answers with 500, in percent.
    pub fail_percent: u8,
}

/// What the image starts.
#[derive(Clone, Debug)]
pub enum Program {
    /// The bytes of the slipway binary, which has the application built in.
    Binary(Bytes),
    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// A script that starts the slipway binary where it lies.
    Script(String),
}

impl Program {
    /// The slipway binary itself.
    pub fn binary(slipway: &Path) -> anyhow::Result<Self> {
        Ok(Self::Binary(fs::read(slipway).with_context(|| format!("cannot read {}", slipway.display()))?.into()))
    }

    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// A script of a few bytes, where the image's size does not matter.
    pub fn script(slipway: &Path) -> Self {
        Self::Script(format!("#!/bin/sh\nexec {:?} \"$@\"\n", slipway.display().to_string()))
    }

    fn content(&self) -> Bytes {
        match self {
            Self::Binary(content) => content.clone(),
            Self::Script(text) => Bytes::from(text.clone()),
        }
    }
}

/// Packs a release as an OCI image and pushes it, as CI would.
pub async fn push_image(registry: SocketAddr, release: Release, program: &Program) -> anyhow::Result<()> {
    let files = vec![image::File { path: "app/slipway".into(), mode: 0o755, content: program.content() }];
    let process = oci::manifest::Process {
        entrypoint: vec!["/app/slipway".into(), "demo-app".into()],
        env: vec![format!("VERSION={}", release.version), format!("FAIL_PERCENT={}", release.fail_percent)],
        ..Default::default()
    };
    let packed = image::pack(&[files], process).context("cannot pack the image")?;
    let name = Name::parse(&format!("{registry}/demo/app"))?.insecure();
    let client = Client::new(super::transport(&reconcile::Http::new("slipway-demo")));
    client.repository(&name, None).push_image(release.version, &packed).await.context("cannot push the image")?;
    Ok(())
}

/// A developer's working copy of the demo's repository.
#[derive(Debug)]
pub struct Clone<'a> {
    /// The working copy.
    pub folder: &'a Path,
}

impl Clone<'_> {
    /// Makes the working copy, writes the files, and pushes them to `url` as the first commit on `main`.
    pub fn create(&self, url: &str, files: &[(String, String)]) -> anyhow::Result<()> {
        fs::create_dir_all(self.folder)?;
        self.git(&["init", "--quiet", "--initial-branch=main"])?;
        self.git(&["remote", "add", "origin", url])?;
        self.write(files)?;
        self.commit_and_push("Deploy the application")
    }

    /// Writes files into the working copy.
    pub fn write(&self, files: &[(String, String)]) -> anyhow::Result<()> {
        for (name, text) in files {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(self.folder))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Commits everything and pushes it.
    pub fn commit_and_push(&self, message: &str) -> anyhow::Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        self.git(&["push", "--quiet", "origin", "HEAD:main"]).map(drop)
    }

    /// The subjects of the remote's `main`, newest first, with author and short hash.
    pub fn log(&self) -> anyhow::Result<Vec<String>> {
        self.git(&["fetch", "--quiet", "origin", "main"])?;
        let log = self.git(&["log", "--format=%h %an: %s", "FETCH_HEAD"])?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// Runs git in the working copy, apart from the user's own settings.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .current_dir(self.folder)
            .args(["-c", "user.name=A developer", "-c", "user.email=dev@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .context("cannot run git")?;
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
