//! Small images made from files in memory. The same files give the same bytes, hence the same digests, on every machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

use crate::{
    Digest,
    manifest::{self, Config, Descriptor, Manifest, Process, RootFs},
};

/// A regular file of a layer.
#[derive(Clone, Debug)]
pub struct File {
    /// Relative to the root, with `/` between its parts.
    pub path: String,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
    /// The content.
    pub content: Bytes,
}

/// An image, ready to be pushed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The manifest's bytes; their digest is the image's digest.
    pub manifest: Bytes,
    /// The configuration's bytes.
    pub config: Bytes,
    /// The compressed layers, lowest first.
    pub layers: Vec<Bytes>,
}

impl Packed {
    /// The digest by which the image is pulled.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// Packs layers, lowest first, into a `linux/amd64` image that starts `process`.
pub fn pack(layers: &[Vec<File>], process: Process) -> io::Result<Packed> {
    let archives: Vec<Vec<u8>> = layers.iter().map(|files| archive(files)).collect::<io::Result<_>>()?;
    let diff_ids = archives.iter().map(|archive| Digest::of(archive)).collect();
    let config = Config {
        os: "linux".into(),
        architecture: "amd64".into(),
        variant: None,
        created: None,
        config: process,
        rootfs: RootFs { kind: "layers".into(), diff_ids },
    };
    let config = Bytes::from(serde_json::to_vec(&config)?);
    let layers: Vec<Bytes> = archives.iter().map(|archive| compress(archive)).collect::<io::Result<_>>()?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: manifest::MANIFEST.into(),
        config: descriptor(manifest::CONFIG, &config),
        layers: layers.iter().map(|layer| descriptor(manifest::LAYER, layer)).collect(),
        annotations: BTreeMap::new(),
    };
    Ok(Packed { manifest: serde_json::to_vec(&manifest)?.into(), config, layers })
}

fn descriptor(media_type: &str, content: &Bytes) -> Descriptor {
    Descriptor {
        media_type: media_type.into(),
        digest: Digest::of(content),
        size: content.len() as u64,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// A tar archive: the parent directories, then the files, in the order of their paths.
fn archive(files: &[File]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content)
    };
    let mut sorted: Vec<&File> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let parents = |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
    let directories: BTreeSet<String> = sorted.iter().flat_map(|file| parents(&file.path)).collect();
    for directory in &directories {
        append(&format!("{directory}/"), tar::EntryType::Directory, 0o755, &[])?;
    }
    for file in sorted {
        append(&file.path, tar::EntryType::Regular, file.mode, &file.content)?;
    }
    builder.into_inner()
}

fn compress(archive: &[u8]) -> io::Result<Bytes> {
    // The time of packing and the packer's system would make the bytes differ.
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    encoder.write_all(archive)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files() -> Vec<File> {
        let file = |path: &str, mode, content: &'static [u8]| File {
            path: path.into(),
            mode,
            content: Bytes::from_static(content),
        };
        vec![file("usr/bin/app", 0o755, b"binary"), file("etc/app.conf", 0o644, b"colour=blue")]
    }

    #[test]
    fn the_same_files_in_any_order_give_the_same_bytes() {
        let process = || Process { entrypoint: vec!["/usr/bin/app".into()], ..Process::default() };
        let reversed: Vec<File> = files().into_iter().rev().collect();
        let (one, other) = (pack(&[files()], process()).unwrap(), pack(&[reversed], process()).unwrap());
        assert_eq!(one.digest(), other.digest());
        assert_ne!(one.digest(), pack(&[files()], Process::default()).unwrap().digest());
    }

    #[test]
    fn a_layer_holds_directories_before_files_with_their_modes() {
        let packed = pack(&[files()], Process::default()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.layers[0].as_ref()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            found.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), content));
        }
        let row = |path: &str, mode, content: &str| (path.to_owned(), mode, content.to_owned());
        let expected = [
            row("etc/", 0o755, ""),
            row("usr/", 0o755, ""),
            row("usr/bin/", 0o755, ""),
            row("etc/app.conf", 0o644, "colour=blue"),
            row("usr/bin/app", 0o755, "binary"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn configurations_written_by_docker_are_read() {
        let config: Config = serde_json::from_str(r#"{"os":"linux","architecture":"amd64","config":{"Env":null,"Cmd":["sh"],"Labels":null,"ExposedPorts":{"80/tcp":{}}},"history":[]}"#).unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty() && config.rootfs.diff_ids.is_empty());
    }
}
