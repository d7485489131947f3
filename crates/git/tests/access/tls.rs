//! HTTPS with certificates that nobody else trusts, and GitHub Apps, whose server is spoken for by a few lines here.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use git::{Credentials, Error, LocalPaths, Remote, Secrets};
use jiff::Timestamp;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};

use crate::world::{MAIN, World, bump};

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("apt-get install openssl");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate for the server and for the client that it signed.
fn certificates(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let make = |rest: &[&str]| openssl(folder, &[&["req"][..], &curve, rest].concat());
    make(&["-x509", "-days", "30", "-subj", "/CN=private authority", "-keyout", "ca.key", "-out", "ca.crt"]);
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for name in ["server", "client"] {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        make(&["-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &request]);
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(folder, &[&sign[..], &["-days", "30", "-extfile", "san", "-out", &certificate]].concat());
    }
}

/// TLS in front of the world's server, for clients with a certificate only. Gives its URL.
fn secured(world: &World, folder: &Path) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate("ca.crt")).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(authorities)).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(clients);
    let config = Arc::new(config.with_single_cert(vec![certificate("server.crt")], key).unwrap());
    let backend = world.server.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    world.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, backend) = (acceptor.clone(), backend.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = tokio::net::TcpStream::connect(backend).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("https://127.0.0.1:{port}/fleet.git")
}

#[test]
fn a_private_authority_and_a_client_certificate_are_used() {
    let world = World::with(&[("a.yaml", "1")]);
    let folder = world.folder.path().join("tls");
    certificates(&folder);
    let url = secured(&world, &folder);
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let login = [("username", b"bot".to_vec()), ("password", b"s3cret".to_vec())];
    let certificate = [("tls.crt", file("client.crt")), ("tls.key", file("client.key"))];
    let authority = [("ca.crt", file("ca.crt"))];
    let remote = |parts: &[&[(&str, Vec<u8>)]]| {
        let data = parts.concat().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Remote::new(&url).with_secret(&data).unwrap()
    };
    let mirror = world.mirrors.open(&remote(&[&login, &certificate, &authority])).unwrap();
    bump(&mirror, &[("a.yaml", "2")]);
    assert_eq!(world.ask(&["show", "main:a.yaml"]), "2");
    drop(mirror);
    for parts in [&[&login[..], &certificate][..], &[&login[..], &authority]] {
        let error = world.mirrors.open(&remote(parts)).unwrap().fetch(&MAIN).unwrap_err();
        assert!(matches!(error, Error::Request { .. }), "{error}");
    }
}

#[test]
fn a_server_that_vouches_for_itself_is_trusted_by_its_certificate() {
    let world = World::with(&[("a.yaml", "1")]);
    let folder = world.folder.path().join("tls");
    certificates(&folder);
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
    let own =
        ["-subj", "/CN=git", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "server.key", "-out", "server.crt"];
    openssl(&folder, &[&make[..], &own].concat());
    let url = secured(&world, &folder);
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let trusting = |authority: &str| {
        let parts = [("username", b"bot".to_vec()), ("password", b"s3cret".to_vec()), ("ca.crt", file(authority))];
        let own = [("tls.crt", file("client.crt")), ("tls.key", file("client.key"))];
        let data = parts.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value)).collect();
        world.mirrors.open(&Remote::new(&url).with_secret(&data).unwrap()).unwrap().fetch(&MAIN)
    };
    trusting("server.crt").unwrap();
    let error = trusting("ca.crt").unwrap_err();
    assert!(matches!(error, Error::Request { .. }), "{error}");
}

/// Answers as GitHub does for one app, and keeps what it was asked.
fn github(public: rsa::RsaPublicKey, expires: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/api/v3", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut input = BufReader::new(client.try_clone().unwrap());
            let mut head = String::new();
            while input.read_line(&mut head).unwrap() > 2 {}
            let mut body = vec![0; header(&head, "content-length").parse().unwrap_or(0)];
            input.read_exact(&mut body).unwrap();
            let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            log.lock().unwrap().push(line.clone());
            let (status, answer) = match line.as_str() {
                _ if !is_proof(&public, &header(&head, "authorization")) => {
                    (401, json!({"message": "Bad credentials"}))
                }
                "GET /api/v3/orgs/team/installation" => (404, json!({"message": "Not Found"})),
                "GET /api/v3/users/team/installation" => (200, json!({"id": 42})),
                "POST /api/v3/app/installations/42/access_tokens" => {
                    (201, json!({"token": "t0ken", "expires_at": expires}))
                }
                _ => (404, json!({})),
            };
            let text = answer.to_string();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            client.write_all((head + &text).as_bytes()).unwrap();
        }
    });
    (base, asked)
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
    line.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// Whether the token is signed by the app's key, names the app, and is good for less than ten minutes.
fn is_proof(public: &rsa::RsaPublicKey, authorization: &str) -> bool {
    use rsa::signature::Verifier as _;
    let Some((signed, signature)) = authorization.trim_start_matches("Bearer ").rsplit_once('.') else { return false };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = rsa::pkcs1v15::VerifyingKey::<sha2::Sha256>::new(public.clone());
    let is_signed = key.verify(signed.as_bytes(), &signature.as_slice().try_into().unwrap()).is_ok();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    is_signed && claims["iss"] == "7" && life <= 600
}

#[test]
fn a_github_app_logs_in_with_a_token_of_its_installation() {
    use rsa::pkcs1::DecodeRsaPrivateKey as _;
    let world = World::with_login(&[("a.yaml", "1")], "x-access-token", "t0ken");
    let folder = world.folder.path();
    openssl(folder, &["genrsa", "-traditional", "-out", "app.pem", "2048"]);
    let pem = std::fs::read_to_string(folder.join("app.pem")).unwrap();
    let public = rsa::RsaPrivateKey::from_pkcs1_pem(&pem).unwrap().to_public_key();
    let (base, asked) = github(public, "2026-01-01T01:00:00Z");
    let remote = |installation: (&str, &str)| {
        let secret = [("githubAppID", "7"), ("githubAppPrivateKey", &pem), ("githubAppBaseURL", &base), installation];
        let login = secret.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into();
        let spec = json!({"url": world.server.url("fleet.git"), "interval": "1m", "provider": "github",
            "secretRef": {"name": "app"}});
        let repository = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "apps"}, "spec": spec});
        let repository = serde_json::from_value(repository).unwrap();
        Remote::of(&repository, &Secrets { login: Some(login), proxy: None, cloud: None }, LocalPaths::Refuse).unwrap()
    };
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let by_id = remote(("githubAppInstallationID", "42"));
    for time in ["2026-01-01T00:00:00Z", "2026-01-01T00:54:00Z"] {
        let remote = world.mirrors.login(&by_id, at(time)).unwrap();
        bump(&world.mirrors.open(&remote).unwrap(), &[("a.yaml", time)]);
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "the token is kept while it is good");
    let by_owner = remote(("githubAppInstallationOwner", "team"));
    let login = world.mirrors.login(&by_owner, at("2026-01-01T00:56:00Z")).unwrap();
    assert_eq!(login.credentials, Credentials::Basic { username: "x-access-token".into(), password: "t0ken".into() });
    assert_eq!(asked.lock().unwrap().len(), 4, "organisation, user, token");
    assert!(!format!("{by_id:?}").contains("PRIVATE"));
}
