//! A token server for docker-registry's token login: it signs real tokens with a key made by openssl.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub scope: String,
    pub authorization: String,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    refuses_post: bool,
}

pub struct Server {
    address: String,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        openssl(
            folder.path(),
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
                "-days",
                "30",
                "-subj",
                "/CN=slipway-test",
            ],
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::<Mutex<State>>::default();
        let server = Self { address, state: state.clone(), folder };
        let path = server.folder.path().to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, path.clone(), state.clone()));
            }
        });
        server
    }

    pub fn realm(&self) -> String {
        format!("http://{}/token?kept=yes", self.address)
    }

    pub fn certificate(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().expect("no test panicked").seen.clone()
    }

    pub fn refuse_post(&self) {
        self.state.lock().expect("no test panicked").refuses_post = true;
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl runs (apt-get install openssl)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

async fn serve(mut stream: TcpStream, folder: PathBuf, state: Arc<Mutex<State>>) {
    let mut text = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let Ok(length @ 1..) = stream.read(&mut chunk).await else { return };
        text.extend_from_slice(&chunk[..length]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        if body.len() >= header(head, "content-length").parse().unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
    let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let form: BTreeMap<String, String> =
        url::form_urlencoded::parse(if method == "POST" { body.as_bytes() } else { query.as_bytes() })
            .into_owned()
            .collect();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let authorization = header(&head, "authorization");
    let knows = match method.as_str() {
        "POST" => field("grant_type") == "refresh_token" && field("refresh_token") == "refresh",
        _ => authorization == format!("Basic {}", STANDARD.encode("ada:open-sesame")) && field("kept") == "yes",
    };
    let refused = {
        let mut state = state.lock().expect("no test panicked");
        state.seen.push(Seen { method: method.clone(), scope: field("scope"), authorization });
        state.refuses_post && method == "POST"
    };
    let (status, answer) = match (refused, knows && field("service") == "slipway-test") {
        (true, _) => ("404 Not Found", String::new()),
        (_, false) => ("401 Unauthorized", String::new()),
        (_, true) => ("200 OK", json!({"access_token": token(&folder, &field("scope"))}).to_string()),
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)));
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// A token as docker-registry's `token` login wants it. Source: distribution 2.8, `docs/spec/auth/jwt.md`.
fn token(folder: &Path, scope: &str) -> String {
    let certificate = openssl(folder, &["x509", "-in", "cert.pem", "-outform", "DER"]);
    let mut parts = scope.split(':');
    let (kind, name, actions) =
        (parts.next(), parts.next(), parts.next().unwrap_or_default().split(',').collect::<Vec<_>>());
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(certificate)]});
    let claims = json!({"iss": "slipway-test", "aud": "slipway-test", "sub": "ada", "nbf": 1, "exp": 4_000_000_000_u64, "iat": 1, "jti": "1",
        "access": [{"type": kind, "name": name, "actions": actions}]});
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &signed).expect("the file is written");
    let signature = openssl(folder, &["dgst", "-sha256", "-sign", "key.pem", &file.path().display().to_string()]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
