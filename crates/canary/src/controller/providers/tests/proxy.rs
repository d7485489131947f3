//! A reverse proxy that checks, counts and breaks requests, with or without TLS.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// What happens to a request.
pub(in crate::controller) enum Action {
    /// The server behind answers.
    Forward,
    /// Status line and body of the answer.
    Answer(&'static str, String),
    /// The connection ends without an answer.
    HangUp,
    /// It stays open without one.
    Silence,
}

type Rule = Arc<dyn Fn(&str, usize) -> Action + Send + Sync>;

/// The proxy, for as long as the process runs.
pub(in crate::controller) struct Proxy {
    pub address: String,
    /// Requests so far.
    pub count: Arc<AtomicUsize>,
}

impl Proxy {
    /// `rule` sees the head of each request and how many came before it.
    pub(in crate::controller) fn start(
        tls: Option<Arc<ServerConfig>>,
        server: &str,
        rule: impl Fn(&str, usize) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let count = Arc::new(AtomicUsize::new(0));
        let (counter, rule, server) = (count.clone(), Arc::new(rule) as Rule, server.replace("http://", ""));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, server, rule, count) = (tls.clone(), server.clone(), rule.clone(), counter.clone());
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a connection");
                        serve(StreamOwned::new(connection, stream), &server, &rule, &count);
                    }
                    None => serve(stream, &server, &rule, &count),
                });
            }
        });
        Self { address: format!("{scheme}://localhost:{port}"), count }
    }
}

/// One request; its body does not matter.
fn serve(mut stream: impl Read + Write, server: &str, rule: &Rule, count: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).expect("text");
    let answer = match rule(&head, count.fetch_add(1, Ordering::SeqCst)) {
        Action::HangUp => return,
        Action::Silence => loop {
            std::thread::park();
        },
        Action::Answer(status, body) => {
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
        }
        Action::Forward => {
            let mut upstream = TcpStream::connect(server).expect("the server behind");
            let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            upstream.write_all(head.as_bytes()).expect("sent");
            let mut answer = Vec::new();
            upstream.read_to_end(&mut answer).expect("an answer");
            answer
        }
    };
    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
}

/// A private authority in PEM, and a server that it vouches for as `localhost`.
pub(in crate::controller) fn certificate() -> (String, Arc<ServerConfig>) {
    let folder = tempfile::tempdir().expect("a folder");
    let openssl = |arguments: &str| {
        let run = Command::new("openssl").args(arguments.split(' ')).current_dir(folder.path()).output();
        let run = run.expect("openssl starts (apt-get install openssl)");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 1 -subj /CN=ca"));
    openssl(&format!(
        "req -x509 {key} -keyout tls.key -out tls.crt -days 1 -subj /CN=localhost -CA ca.crt -CAkey ca.key \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
    ));
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
    let certificate = CertificateDer::from_pem_slice(&read("tls.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("tls.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    (String::from_utf8(read("ca.crt")).expect("text"), Arc::new(config))
}
