//! Ways into a registry: a private authority, a client certificate, a proxy.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output();
    let output = output.expect("openssl runs (apt-get install openssl)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and certificates of it for a server on loopback and for a client.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let path = folder.path();
    let authority =
        ["req", "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=test authority"];
    openssl(path, &[&authority[..], &key].concat());
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        let (private, request, extensions) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.ext"));
        let text = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(path.join(&extensions), text).expect("written");
        let subject = format!("/CN={name}");
        openssl(path, &[&["req", "-keyout", &private, "-out", &request, "-subj", &subject][..], &key].concat());
        let signed = format!("{name}.crt");
        openssl(
            path,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.crt",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "30",
                "-extfile",
                &extensions,
                "-out",
                &signed,
            ],
        );
    }
    folder
}

async fn secret(world: &World, name: &str, data: Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "apps", "name": name},
        "type": "Opaque", "stringData": data});
    world.store.apply("test", &secret).await.expect("applied");
}

#[tokio::test]
async fn a_private_authority_and_a_client_certificate_open_the_registry() {
    let folder = certificates();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
    let tls = format!(
        "tls: {{certificate: '{}', key: '{}', clientcas: ['{}']}}",
        path("server.crt"),
        path("server.key"),
        path("ca.crt")
    );
    let registry = Registry::start_with("", &tls);
    registry.plant("team/app", 1);
    let world = World::new().await;
    secret(&world, "authority", json!({"ca.crt": read("ca.crt")})).await;
    let all = json!({"ca.crt": read("ca.crt"), "tls.crt": read("client.crt"), "tls.key": read("client.key")});
    secret(&world, "client", all).await;
    world.repository(&registry.image(), json!({})).await;
    let refused = |object: &Value| failed(object, "ReadOperationFailed");
    world.until::<ImageRepository>("apps/app", refused).await;
    let of_generation = |generation: i64| {
        move |object: &Value| {
            object["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|one| one["observedGeneration"] == generation && one["type"] == "Ready")
            })
        }
    };
    world.repository(&registry.image(), json!({"certSecretRef": {"name": "authority"}})).await;
    let settled = |object: &Value| of_generation(2)(object) && refused(object);
    world.until::<ImageRepository>("apps/app", settled).await;
    world.repository(&registry.image(), json!({"certSecretRef": {"name": "client"}})).await;
    let object = world.until::<ImageRepository>("apps/app", is_ready).await;
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 1);
    world.finish().await;
}

/// A proxy for plain HTTP that wants a login; it ends with the test.
async fn proxy(asked: Arc<AtomicUsize>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 8192];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let login = format!("proxy-authorization: Basic {}", STANDARD.encode("ada:open-sesame"));
                let target = head.split(' ').nth(1).and_then(|address| url::Url::parse(address).ok());
                let Some(target) = target.filter(|_| head.contains(&login)) else {
                    let refusal =
                        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let _ = client.write_all(refusal.as_bytes()).await;
                    return;
                };
                asked.fetch_add(1, Ordering::SeqCst);
                let host = format!("{}:{}", target.host_str().unwrap_or_default(), target.port().unwrap_or(80));
                let origin = target.origin().ascii_serialization();
                let Ok(mut server) = tokio::net::TcpStream::connect(host).await else { return };
                let _ = server.write_all(head.replacen(&origin, "", 1).as_bytes()).await;
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_is_used_where_a_secret_names_one() {
    let registry = Registry::start("");
    registry.plant("team/app", 2);
    let asked = Arc::<AtomicUsize>::default();
    let address = proxy(asked.clone()).await;
    let world = World::new().await;
    let data = json!({"address": format!("http://{address}"), "username": "ada", "password": "open-sesame"});
    secret(&world, "proxy", data).await;
    world.repository(&registry.image(), json!({"proxySecretRef": {"name": "proxy"}})).await;
    let object = world.until::<ImageRepository>("apps/app", is_ready).await;
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 2);
    assert!(asked.load(Ordering::SeqCst) > 0);
    world.finish().await;
}

#[tokio::test]
async fn a_service_accounts_identity_needs_the_gate_and_a_cluster() {
    let spec = json!({"provider": "aws", "serviceAccountName": "reader"});
    let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app";
    let world = World::new().await;
    world.repository(image, spec.clone()).await;
    let closed = world.until::<ImageRepository>("apps/app", |object| condition(object, STALLED).is_some()).await;
    let text = "to use spec.serviceAccountName for provider authentication please enable the \
        ObjectLevelWorkloadIdentity feature gate in the controller";
    assert_eq!(condition(&closed, STALLED), Some(("True".into(), "FeatureGateDisabled".into(), text.into())));
    world.finish().await;

    let world = World::with(Options { object_level_workload_identity: true, ..Options::default() }).await;
    world.repository(image, spec).await;
    let refused = world.until::<ImageRepository>("apps/app", |object| failed(object, "AuthenticationFailed")).await;
    let message = condition(&refused, READY).map(|(.., message)| message).unwrap_or_default();
    let start = "failed to configure authentication options: login with provider 'aws' for 123456789012.dkr.ecr.";
    assert!(message.starts_with(start) && message.contains("needs a cluster"), "{message}");
    world.finish().await;
}
