//! Queues, traces, and the logins that have to be asked for.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{super::settings::Login, *};

/// Settings with these entries in the Secret.
fn read(kind: &str, address: &str, channel: &str, entries: &[(&str, &str)]) -> Result<Settings, Error> {
    let spec =
        ProviderSpec { kind: kind.into(), address: address.into(), channel: channel.into(), ..ProviderSpec::default() };
    Settings::read(&spec, Secrets { main: Some(&secret(entries)), ..Secrets::default() })
}

#[test]
fn a_topic_gets_the_event_in_base64() {
    let settings = read("googlepubsub", "my-project", "flux", &[("headers", "team: ops")]).unwrap();
    assert_eq!(settings.login(), Some(Login::Google(None)));
    let (method, url, login, body) = told(&settings.logged_in("ya29".into()), &failure());
    assert_eq!(url, "https://pubsub.googleapis.com/v1/projects/my-project/topics/flux:publish");
    assert_eq!((method.as_str(), login.as_str()), ("POST", "Bearer ya29"));
    let message = &body["messages"][0];
    assert_eq!(message["attributes"], json!({"team": "ops"}));
    let data = BASE64_STANDARD.decode(message["data"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&data).unwrap()["reason"], "HealthCheckFailed");
    let keyed = read("googlepubsub", "my-project", "flux", &[("token", "{}")]).unwrap();
    assert_eq!(keyed.login(), Some(Login::Google(Some("{}"))));
    for (address, channel) in [("", "flux"), ("https://x/y", "flux"), ("p", "")] {
        assert!(read("googlepubsub", address, channel, &[]).is_err(), "{address} {channel}");
    }
}

#[test]
fn an_event_hub_gets_the_event_with_a_signature_or_a_token() {
    let key =
        "Endpoint=sb://team.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=k+/=;EntityPath=flux";
    let settings = read("azureeventhub", key, "", &[]).unwrap();
    assert_eq!(settings.login(), None);
    let (method, url, login, body) = told(&settings, &failure());
    assert_eq!((method.as_str(), url.as_str()), ("POST", "https://team.servicebus.windows.net/flux/messages"));
    assert_eq!(body["reason"], "HealthCheckFailed");
    // printf '%s\n%s' https%3A%2F%2Fteam.servicebus.windows.net%2Fflux 1767323400 \
    //   | openssl dgst -sha256 -hmac 'k+/=' -binary | base64
    assert_eq!(
        login,
        "SharedAccessSignature sr=https%3A%2F%2Fteam.servicebus.windows.net%2Fflux\
         &sig=Z70DFp4K0GmmjfnXsFCAMHd2mtaRIfCwm9VafMATIeM%3D&se=1767323400&skn=send"
    );
    let own = read("azureeventhub", "flux", "team", &[]).unwrap();
    assert_eq!(own.login(), Some(Login::Azure("https://eventhubs.azure.net/")));
    let (_, url, login, _) = told(&own.logged_in("jwt".into()), &failure());
    assert_eq!((url.as_str(), login.as_str()), ("https://team.servicebus.windows.net/flux/messages", "Bearer jwt"));
    let given = read("azureeventhub", "flux", "team", &[("token", "given")]).unwrap();
    assert_eq!((given.login(), told(&given, &failure()).2.as_str()), (None, "Bearer given"));
    let half = read("azureeventhub", "Endpoint=sb://x/;SharedAccessKey=k", "", &[]).unwrap();
    let error = plan(&half, &failure(), None, now()).map(drop).expect_err("no hub").to_string();
    assert_eq!(error, "the connection string has no EntityPath");
    assert!(read("azureeventhub", "flux", "", &[]).is_err());
}

#[test]
fn a_subject_of_nats_gets_the_event() {
    let servers = "nats://one,tls://u:p%40@two:1,three:7";
    let settings = read("nats", servers, "events.apps", &[]).unwrap();
    let publication = plan(&settings, &failure(), None, now()).unwrap().publish.unwrap();
    let found: Vec<_> =
        publication.servers.iter().map(|server| (server.host.as_str(), server.port, server.needs_tls)).collect();
    assert_eq!(found, [("one", 4222, false), ("two", 1, true), ("three", 7, false)]);
    assert_eq!(format!("{:?}", publication.servers[1]), "Server(two:1)");
    let words = String::from_utf8(publication.servers[1].words(&publication)).unwrap();
    let (connect, rest) = words.split_once("\r\n").unwrap();
    let connect: Value = serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap();
    assert_eq!(
        (&connect["user"], &connect["pass"], &connect["tls_required"]),
        (&json!("u"), &json!("p@"), &json!(true))
    );
    let length = publication.payload.len();
    assert!(rest.starts_with(&format!("PUB events.apps {length}\r\n{{")) && rest.ends_with("}\r\nPING\r\n"), "{rest}");
    for subject in ["", "a b", "a.*", "a.>", "a\r\nPUB"] {
        let settings = read("nats", "nats://one", subject, &[]);
        let wrong = settings.and_then(|settings| plan(&settings, &failure(), None, now()).map(drop));
        assert!(wrong.is_err(), "{subject:?}");
    }
    assert!(plan(&read("nats", "http://one", "s", &[]).unwrap(), &failure(), None, now()).is_err());
}

#[test]
fn all_that_comes_of_one_revision_is_one_trace() {
    let settings = |path: &str, source_uid: &str| {
        let address = format!("https://otlp.example{path}");
        let read = read("otel", &address, "", &[("headers", "X-Team: ops"), ("token", "t")]).unwrap();
        let source_uid = source_uid.to_owned();
        let origin = Origin { alert: "apps/all".into(), alert_uid: "a".into(), source_uid, ..Origin::default() };
        Settings { origin, ..read }
    };
    let (method, url, login, body) = told(&settings("", "g"), &failure());
    assert_eq!((method.as_str(), url.as_str(), login.as_str()), ("POST", "https://otlp.example/v1/traces", "Bearer t"));
    assert_eq!(told(&settings("/otlp/x", ""), &failure()).1, "https://otlp.example/otlp/x");
    let resource = &body["resourceSpans"][0];
    let name = json!({"key": "service.name", "value": {"stringValue": "apps/all"}});
    assert_eq!(resource["resource"]["attributes"][0], name);
    let span = &resource["scopeSpans"][0]["spans"][0];
    let identity = |uid: &str, bytes: usize| {
        use sha2::Digest as _;
        hex::encode(&sha2::Sha256::digest(format!("{uid}:main@sha1:0123456789abcdef"))[..bytes])
    };
    assert_eq!(
        (&span["traceId"], &span["spanId"], &span["parentSpanId"]),
        (&json!(identity("a", 16)), &json!(identity("u", 8)), &json!(identity("g", 8)))
    );
    assert_eq!((&span["name"], &span["status"]["code"]), (&json!("Canary: apps/podinfo"), &json!(2)));
    assert_eq!(span["startTimeUnixNano"], "1767323045000000000");
}

#[test]
fn our_own_identity_sets_statuses_at_azure_devops_without_a_token() {
    let settings = read("azuredevops", "https://dev.azure.com/org/proj/_git/repo", "", &[]).unwrap();
    assert!(matches!(settings.login(), Some(login @ Login::Azure(_)) if login.is_ours()));
    assert_eq!(told(&settings.logged_in("jwt".into()), &failure()).2, "Bearer jwt");
    let given = read("azuredevops", "https://dev.azure.com/org/proj/_git/repo", "", &[("token", "t")]).unwrap();
    assert_eq!(given.login(), None);
}

#[test]
fn an_app_logs_in_where_no_token_is_given() {
    let app = [("githubAppID", "1"), ("githubAppPrivateKey", "pem"), ("githubAppInstallationID", "2")];
    let settings = read("github", "https://github.com/o/r", "", &app).unwrap();
    assert!(matches!(settings.login(), Some(Login::App(_))));
    assert_eq!(told(&settings.logged_in("ghs".into()), &failure()).2, "Bearer ghs");
    let error = read("github", "https://github.com/o/r", "", &app[..1]).map(drop).expect_err("half an app").to_string();
    assert_eq!(error, "github app data lacks 'githubAppInstallationID' or 'githubAppInstallationOwner'");
}
