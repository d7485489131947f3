//! `ssh://` against a real `sshd`.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use git::{Checkout, Credentials, Error, Mirrors, Remote};

use crate::world::{MAIN, World, bump};

/// Whether the server lets clients ask for protocol version 2.
#[derive(Clone, Copy)]
enum Protocol {
    Newest,
    Oldest,
}

/// An `sshd` on loopback, started anew for each connection, that lets one key in.
struct Server {
    folder: PathBuf,
    port: u16,
    user: String,
}

impl Server {
    fn start(folder: &Path, protocol: Protocol) -> Self {
        for (name, passphrase) in
            [("host", ""), ("other-host", ""), ("key", ""), ("other-key", ""), ("locked", "s3cret")]
        {
            keygen(&["-q", "-t", "ed25519", "-N", passphrase, "-f", name], folder);
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        std::fs::write(folder.join("authorized"), read("key.pub") + &read("locked.pub")).unwrap();
        let config = format!(
            "HostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\n{1}",
            folder.display(),
            match protocol {
                Protocol::Newest => "AcceptEnv GIT_PROTOCOL\n",
                Protocol::Oldest => "",
            }
        );
        std::fs::write(folder.join("config"), config).unwrap();
        // sshd wants this folder when it is root.
        let _ = std::fs::create_dir_all("/run/sshd");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = folder.join("config");
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let (input, output) = (OwnedFd::from(client.try_clone().unwrap()), OwnedFd::from(client));
                let mut sshd = Command::new("/usr/sbin/sshd");
                sshd.arg("-i").arg("-f").arg(&config).stdin(Stdio::from(input)).stdout(Stdio::from(output));
                let mut sshd = sshd.stderr(Stdio::null()).spawn().expect("apt-get install openssh-server");
                std::thread::spawn(move || sshd.wait());
            }
        });
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
        Self { folder: folder.to_owned(), port, user }
    }

    /// A remote with that key, for a host said to have that key.
    fn remote(&self, repository: &Path, key: &str, host: &str) -> Remote {
        let host = std::fs::read_to_string(self.folder.join(host).with_extension("pub")).unwrap();
        let known_hosts = format!("[127.0.0.1]:{} {host}", self.port).into_bytes();
        // A Secret often lacks the last line end, which ssh itself does not forgive.
        let identity = std::fs::read_to_string(self.folder.join(key)).unwrap().trim_end().as_bytes().to_vec();
        let mut remote = Remote::new(format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, repository.display()));
        remote.credentials = Credentials::Ssh { identity, known_hosts, passphrase: None };
        remote
    }
}

fn keygen(arguments: &[&str], folder: &Path) {
    let made = Command::new("ssh-keygen").args(arguments).current_dir(folder).status();
    assert!(made.expect("apt-get install openssh-client").success());
}

fn open_server(world: &World, protocol: Protocol) -> Server {
    let folder = world.folder.path().join("ssh");
    std::fs::create_dir(&folder).unwrap();
    Server::start(&folder, protocol)
}

#[test]
fn a_key_opens_a_known_host_in_both_protocols() {
    for protocol in [Protocol::Newest, Protocol::Oldest] {
        let world = World::with(&[("a.yaml", "1"), ("b/c.yaml", "1")]);
        let server = open_server(&world, protocol);
        let remote = server.remote(&world.repository, "key", "host");
        for round in ["2", "3"] {
            let mirror = world.mirrors.open(&remote).unwrap();
            bump(&mirror, &[("a.yaml", round)]);
            world.publish_file("b/c.yaml", round);
            assert_eq!(mirror.fetch(&MAIN).unwrap().id.to_string(), world.ask(&["rev-parse", "main"]).trim());
        }
        let mirror = world.mirrors.open(&remote).unwrap();
        let error = mirror.fetch(&Checkout::Branch("absent")).unwrap_err();
        assert!(matches!(error, Error::ReferenceNotFound { .. }), "{error}");
        assert_eq!(world.ask(&["show", "main:a.yaml"]), "3");
        world.check();
    }
}

#[test]
fn only_a_known_host_and_an_accepted_key_will_do() {
    let world = World::with(&[("a.yaml", "1")]);
    let server = open_server(&world, Protocol::Newest);
    let fetch = |remote: &Remote| world.mirrors.open(remote).and_then(|mirror| mirror.fetch(&MAIN));

    let error = fetch(&server.remote(&world.repository, "key", "other-host")).unwrap_err();
    assert!(matches!(error, Error::HostKey { .. }), "{error}");
    assert_eq!(error.reason(), "AuthenticationFailed");

    let mut unknown = server.remote(&world.repository, "key", "host");
    if let Credentials::Ssh { known_hosts, .. } = &mut unknown.credentials {
        *known_hosts = b"example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJWI0Z9Q4\n".to_vec();
    }
    let error = fetch(&unknown).unwrap_err();
    assert!(matches!(error, Error::HostKey { .. }), "{error}");

    let error = fetch(&server.remote(&world.repository, "other-key", "host")).unwrap_err();
    assert!(matches!(error, Error::SshRefused { .. }), "{error}");

    let error = fetch(&server.remote(Path::new("/absent.git"), "key", "host")).unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
}

#[test]
fn a_passphrase_opens_an_encrypted_key() {
    let world = World::with(&[("a.yaml", "1")]);
    let server = open_server(&world, Protocol::Newest);
    let mut remote = server.remote(&world.repository, "locked", "host");
    let error = world.mirrors.open(&remote).unwrap_err().to_string();
    assert!(error.contains("encrypted") && error.contains("'password'"), "{error}");
    for (given, opens) in [("wrong", false), ("s3cret", true)] {
        if let Credentials::Ssh { passphrase, .. } = &mut remote.credentials {
            *passphrase = Some(given.to_owned());
        }
        let outcome =
            Mirrors::new(world.folder.path().join(given)).open(&remote).and_then(|mirror| mirror.fetch(&MAIN));
        assert_eq!(outcome.is_ok(), opens, "{given}: {outcome:?}");
    }
}
