//! A `docker-registry` process on a free port in a temporary folder, and a transport over `reqwest`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use futures::{FutureExt as _, StreamExt as _};
use oci::{Transport, TransportError};

use super::tokens;

/// The process ends with the value.
pub struct Registry {
    pub address: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub fn anonymous() -> Self {
        Self::start("")
    }

    /// The user is `ada`, the password `open-sesame`.
    pub fn with_htpasswd() -> Self {
        Self::start("auth: {htpasswd: {realm: test, path: FOLDER/htpasswd}}")
    }

    pub fn with_tokens(tokens: &tokens::Server) -> Self {
        let (realm, certificate) = (tokens.realm(), tokens.certificate());
        Self::start(&format!(
            "auth: {{token: {{realm: '{realm}', service: slipway-test, issuer: slipway-test, rootcertbundle: '{certificate}'}}}}"
        ))
    }

    fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().display().to_string();
        // bcrypt of `open-sesame`.
        std::fs::write(
            folder.path().join("htpasswd"),
            "ada:$2b$04$7cqjd.cGo.srSDSHFBy.1eubAuxHwWzmT7.NntyGV6.F/hG8xUXMW\n",
        )
        .expect("the file is written");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test}}\n{}\n",
            auth.replace("FOLDER", &root)
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).expect("the file is written");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker-registry starts (apt-get install docker-registry)");
        let mut log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split("listening on ").nth(1)?.split(['"', ' ', ',']).next()?.to_owned()));
        // The pipe must stay empty, or the registry blocks on its log.
        std::thread::spawn(move || log.for_each(drop));
        Self { address: address.expect("the registry says where it listens"), process, _folder: folder }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The real thing over `reqwest`, as thin as possible.
pub fn transport() -> Transport {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    Transport::new(
        move |request| {
            let client = client.clone();
            async move {
                let failed = |error: reqwest::Error| TransportError::permanent(error.to_string());
                let request = reqwest::Request::try_from(request).map_err(failed)?;
                let response = client.execute(request).await.map_err(failed)?;
                let (status, headers) = (response.status(), response.headers().clone());
                let mut answer =
                    http::Response::new(response.bytes_stream().map(move |chunk| chunk.map_err(failed)).boxed());
                *answer.status_mut() = status;
                *answer.headers_mut() = headers;
                Ok(answer)
            }
            .boxed()
        },
        // An honest registry on this machine needs no second try.
        |_| futures::future::ready(()).boxed(),
    )
}
