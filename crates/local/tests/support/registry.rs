//! A real `docker-registry` on a free port, in a temporary folder.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The process ends with the value.
pub struct Registry {
    pub address: String,
    #[allow(dead_code, reason = "removed with the value")]
    folder: tempfile::TempDir,
    process: Child,
}

impl Registry {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test}}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts (apt-get install docker-registry)");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split("listening on ").nth(1)?.split(['"', ' ', ',']).next()?.to_owned()));
        std::thread::spawn(move || log.for_each(drop));
        Self { address: listening.expect("the registry says where it listens"), folder, process }
    }

    #[allow(dead_code, reason = "not every test that includes this file tampers with blobs")]
    /// The file in which the registry keeps a blob.
    pub fn blob(&self, digest: &oci::Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
