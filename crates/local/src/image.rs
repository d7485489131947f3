//! Images on disk: pulled by digest, verified, unpacked once, kept in a folder named by the digest.
//!
//! A folder appears by rename when it is complete, so that an image is there whole or not at all, however slipway ends.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures::StreamExt as _;
use oci::{
    Digest, Keychain, Reference, Repository,
    manifest::{Descriptor, Platform, Process},
};
use reconcile::{Endpoint, Http, HttpError, Site, clock, effect};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::{
    Error, Result,
    layers::{self, Budget},
};

/// Attempts to download a layer.
const DOWNLOADS: usize = 3;
/// Images that nobody uses and that are kept all the same: a rollback needs no registry.
const KEPT_UNUSED: usize = 10;
const CONFIG_LIMIT_BYTES: u64 = 8 << 20;

/// When the registry is asked although the image is here. Source: Kubernetes `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// What the tag points at now.
    Always,
    /// What the tag pointed at when the image was first pulled.
    IfNotPresent,
    /// Only what is here.
    Never,
}

impl PullPolicy {
    /// The policy of a container; by default `Always` for the tag `latest`, else `IfNotPresent`.
    pub fn of(policy: Option<&str>, image: &str) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("IfNotPresent") => Self::IfNotPresent,
            Some("Never") => Self::Never,
            _ => match Reference::parse(image) {
                Ok(reference) if reference.digest().is_none() && reference.tag().is_none_or(|tag| tag == "latest") => {
                    Self::Always
                }
                _ => Self::IfNotPresent,
            },
        }
    }
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest by which it was pulled.
    pub digest: Digest,
    /// The folder with its files.
    pub root: PathBuf,
    /// How its process is started.
    pub process: Process,
    /// Signal that asks its process to end, for example `SIGQUIT`; empty means SIGTERM.
    pub stop_signal: String,
    /// While somebody holds it, the files stay.
    pub lease: Arc<Digest>,
}

/// What is kept beside the files of an image.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    image: String,
    process: Process,
    stop_signal: String,
}

/// The images of this machine, below one folder.
#[derive(Clone, Debug)]
pub struct Images {
    folder: PathBuf,
    client: oci::Client,
    /// One pull of an image at a time.
    pulls: Arc<Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>>,
    leases: Arc<Mutex<HashMap<Digest, Weak<Digest>>>>,
}

impl Images {
    /// Images below a folder, which is made. What a killed run left half done is removed.
    pub fn open(folder: &Path, http: &Http) -> Result<Self> {
        let images = Self {
            folder: folder.to_owned(),
            client: oci::Client::new(transport(http)),
            pulls: Arc::default(),
            leases: Arc::default(),
        };
        let unfinished = images.unfinished();
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::file(&unfinished))?;
        }
        for folder in [unfinished, images.tags()] {
            fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        }
        Ok(images)
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished")
    }

    fn tags(&self) -> PathBuf {
        self.folder.join("tags")
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("sha256-{}", digest.hex()))
    }

    /// The image, pulled if it is not here.
    pub async fn get(&self, image: &str, policy: PullPolicy, keychain: &Keychain) -> Result<Unpacked> {
        let failed = |source: oci::Error| Error::Pull { image: image.to_owned(), source: Box::new(source) };
        let reference = Reference::parse(image).map_err(|error| failed(error.into()))?;
        let noted = self.tags().join(hex::encode(sha2::Sha256::digest(image.as_bytes())));
        let known = match reference.digest() {
            Some(digest) => Some(digest.clone()),
            None if policy == PullPolicy::Always => None,
            None => fs::read_to_string(&noted).ok().and_then(|digest| Digest::parse(digest.trim())),
        };
        if let Some(unpacked) = known.as_ref().and_then(|digest| self.here(digest)) {
            return Ok(unpacked);
        }
        if policy == PullPolicy::Never {
            return Err(Error::NotPresent { image: image.to_owned() });
        }
        let credential = oci::credential_program::resolve(keychain, reference.name()).await.map_err(failed)?;
        let repository = self.client.repository(reference.name(), credential);
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => repository.digest(reference.identifier()).await.map_err(failed)?,
        };
        let unpacked = self.pull(image, &repository, &digest).await?;
        if reference.digest().is_none() {
            self.note(&noted, &digest).await?;
        }
        Ok(unpacked)
    }

    /// The image of that digest, if it is here.
    fn here(&self, digest: &Digest) -> Option<Unpacked> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.place(digest);
        let record: Record = serde_json::from_slice(&fs::read(place.join("image.json")).ok()?).ok()?;
        let known = leases.get(digest).and_then(Weak::upgrade);
        let lease = known.unwrap_or_else(|| Arc::new(digest.clone()));
        leases.insert(digest.clone(), Arc::downgrade(&lease));
        Some(Unpacked {
            digest: digest.clone(),
            root: place.join("root"),
            process: record.process,
            stop_signal: record.stop_signal,
            lease,
        })
    }

    /// Removes all but the newest of the images that nobody uses.
    fn prune(&self) -> Result<()> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, lease| lease.strong_count() > 0);
        let entries = fs::read_dir(&self.folder).map_err(Error::file(&self.folder))?.flatten();
        let digest = |name: &str| Digest::parse(&name.replacen("sha256-", "sha256:", 1));
        let mut unused: Vec<_> = entries
            .filter(|entry| {
                entry.file_name().to_str().and_then(digest).is_some_and(|digest| !leases.contains_key(&digest))
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        unused.sort();
        for (_, path) in unused.iter().rev().skip(KEPT_UNUSED) {
            // It is gone at once, and what is left of it with the next start at the latest.
            let aside = tempfile::tempdir_in(self.unfinished()).map_err(Error::file(path))?;
            fs::rename(path, aside.path().join("image")).map_err(Error::file(path))?;
        }
        Ok(())
    }

    async fn note(&self, noted: &Path, digest: &Digest) -> Result<()> {
        effect(Site::File, &noted.display(), async {
            let temporary = tempfile::NamedTempFile::new_in(self.unfinished()).map_err(Error::file(noted))?;
            fs::write(temporary.path(), digest.as_str()).map_err(Error::file(noted))?;
            temporary.persist(noted).map_err(|error| error.error).map_err(Error::file(noted))?;
            Ok(())
        })
        .await
    }

    async fn pull(&self, image: &str, repository: &Repository, digest: &Digest) -> Result<Unpacked> {
        let pulls =
            self.pulls.lock().unwrap_or_else(PoisonError::into_inner).entry(digest.clone()).or_default().clone();
        let _one_at_a_time = pulls.lock().await;
        if let Some(unpacked) = self.here(digest) {
            return Ok(unpacked);
        }
        let failed = |source: oci::Error| Error::Pull { image: image.to_owned(), source: Box::new(source) };
        let found = repository.image(digest.as_str(), &platform()).await.map_err(failed)?;
        let config = repository.blob_bytes(&found.manifest.config, CONFIG_LIMIT_BYTES).await.map_err(failed)?;
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        let stop_signal = config.pointer("/config/StopSignal").and_then(|signal| signal.as_str()).unwrap_or_default();
        let record =
            Record { image: image.to_owned(), process: found.config.config, stop_signal: stop_signal.to_owned() };
        let folder = tempfile::tempdir_in(self.unfinished()).map_err(Error::file(&self.unfinished()))?;
        let root = folder.path().join("root");
        fs::create_dir(&root).map_err(Error::file(&root))?;
        let mut budget = Budget::default();
        let diff_ids = found.config.rootfs.diff_ids;
        for (index, layer) in found.manifest.layers.iter().enumerate() {
            let file = download(image, repository, layer, &self.unfinished()).await?;
            budget = unpack(image, layer, diff_ids.get(index), file, root.clone(), budget).await?;
        }
        self.keep(folder, &record, digest).await?;
        tracing::info!(image, %digest, layers = found.manifest.layers.len(), "pulled image");
        let unpacked = self.here(digest).ok_or_else(|| Error::NotPresent { image: image.to_owned() })?;
        if let Err(error) = self.prune() {
            tracing::warn!(%error, "images that nobody uses cannot be removed");
        }
        Ok(unpacked)
    }

    /// Gives a complete folder its name.
    async fn keep(&self, folder: tempfile::TempDir, record: &Record, digest: &Digest) -> Result<()> {
        let place = self.place(digest);
        effect(Site::File, &place.display(), async {
            let path = folder.path().join("image.json");
            fs::write(&path, serde_json::to_vec_pretty(record).unwrap_or_default()).map_err(Error::file(&path))?;
            // A folder of that name whose record cannot be read is of no use.
            if place.exists() {
                fs::remove_dir_all(&place).map_err(Error::file(&place))?;
            }
            fs::rename(folder.path(), &place).map_err(Error::file(&place))
        })
        .await
    }
}

/// Downloads a layer into a file without a name; its digest is verified on the way.
async fn download(image: &str, repository: &Repository, layer: &Descriptor, folder: &Path) -> Result<fs::File> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut file = tempfile::tempfile_in(folder).map_err(Error::file(folder))?;
        let outcome = async {
            let mut chunks = repository.blob(layer).await?;
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                if let Err(error) = file.write_all(&chunk) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        };
        match outcome.await {
            Ok(Ok(())) => return Ok(file),
            Ok(Err(error)) => return Err(Error::file(folder)(error)),
            Err(error) if attempt < DOWNLOADS => tracing::debug!(%error, attempt, "downloading the layer again"),
            Err(error) => return Err(Error::Pull { image: image.to_owned(), source: Box::new(error) }),
        }
    }
}

/// Unpacks a downloaded layer and verifies the digest of the archive inside. Returns what is left of the budget.
async fn unpack(
    image: &str,
    layer: &Descriptor,
    diff_id: Option<&Digest>,
    file: fs::File,
    root: PathBuf,
    budget: Budget,
) -> Result<Budget> {
    let refused = |problem: String| Error::Layer { image: image.to_owned(), layer: layer.digest.to_string(), problem };
    let unpacked = tokio::task::spawn_blocking(move || unpack_file(file, &root, budget)).await;
    let (budget, digest) = match unpacked {
        Ok(outcome) => outcome.map_err(|error| refused(error.to_string()))?,
        Err(error) => return Err(refused(error.to_string())),
    };
    match diff_id {
        Some(promised) if *promised != digest => {
            Err(refused(format!("the archive is {digest}, the configuration promises {promised}")))
        }
        _ => Ok(budget),
    }
}

fn unpack_file(mut file: fs::File, root: &Path, mut budget: Budget) -> Result<(Budget, Digest), layers::LayerError> {
    use std::io::Seek as _;
    file.rewind()?;
    let mut start = [0; 4];
    let known = file.read(&mut start)?;
    file.rewind()?;
    let file = io::BufReader::with_capacity(1 << 16, file);
    let plain: Box<dyn Read> = match start.get(..known).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            return Err(io::Error::other("layers compressed with zstd are not supported").into());
        }
        _ => Box::new(file),
    };
    let mut hashed = Hashed { inner: plain, hasher: sha2::Sha256::new() };
    layers::apply(&mut hashed, root, &mut budget)?;
    // The archive may go on after its end mark; its digest covers all of it.
    let rest = io::copy(&mut (&mut hashed).take(budget.bytes.saturating_add(1)), &mut io::sink())?;
    if rest > budget.bytes {
        return Err(layers::LayerError::TooLarge("the bytes allowed".into()));
    }
    let digest = format!("sha256:{}", hex::encode(hashed.hasher.finalize()));
    let digest = Digest::parse(&digest).expect("a hash in hexadecimal is a digest");
    Ok((budget, digest))
}

/// A reader that hashes what passes.
struct Hashed {
    inner: Box<dyn Read>,
    hasher: sha2::Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The platform of this machine.
fn platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    };
    Platform { os: "linux".into(), architecture: architecture.into(), variant: None }
}

/// The registry client's way out: the one HTTP client.
pub fn transport(http: &Http) -> oci::Transport {
    oci::Transport::over(http.streaming(Endpoint::default()), HttpError::is_transient, clock::sleep)
}
