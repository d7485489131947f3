//! Signed commits, judged by `git verify-commit`. The keys are made here, by gpg and ssh-keygen.

use std::{path::Path, process::Command};

use git::{Author, Draft, Expected, InvalidKey, SigningKey};
use jiff::Timestamp;

use crate::world::{MAIN, MAIN_REFERENCE, World, edits};

/// A GnuPG home; its agent ends with it.
struct Gpg<'a>(&'a Path);

impl Gpg<'_> {
    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .env("GNUPGHOME", self.0)
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback"])
            .args(arguments)
            .output()
            .expect("apt-get install gnupg");
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// A new key in armour; its user's name is its algorithm's.
    fn key(&self, algorithm: &str, usage: &str, passphrase: &str) -> Vec<u8> {
        let user = format!("{algorithm}{passphrase} <{algorithm}{passphrase}@example.com>");
        self.run(&["--passphrase", passphrase, "--quick-generate-key", &user, algorithm, usage, "never"]);
        self.export(&user, passphrase)
    }

    fn fingerprint(&self, user: &str) -> String {
        let told = String::from_utf8(self.run(&["--with-colons", "--list-keys", user])).unwrap();
        told.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().replace(':', "")
    }

    fn export(&self, user: &str, passphrase: &str) -> Vec<u8> {
        self.run(&["--passphrase", passphrase, "--armor", "--export-secret-keys", user])
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.0).args(["--kill", "all"]).status();
    }
}

fn gpg_home(folder: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::DirBuilderExt as _;
    let home = folder.join("g");
    std::fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
    // Else the agent stretches passphrases for as long as the machine takes for a tenth of a second when it is idle.
    std::fs::write(home.join("gpg-agent.conf"), "s2k-count 65536\n").unwrap();
    home
}

fn now() -> Timestamp {
    // A little later than the keys, which gpg makes with the clock of the machine.
    let output = Command::new("date").arg("+%s").output().unwrap();
    Timestamp::from_second(String::from_utf8(output.stdout).unwrap().trim().parse::<i64>().unwrap() + 1).unwrap()
}

/// Pushes a commit that changes a file, signed by the key.
fn push_signed(world: &World, key: &SigningKey, content: &str) {
    let mirror = world.open();
    let parent = mirror.fetch(&MAIN).unwrap();
    let author = Author { name: "Slipway".into(), email: "slipway@example.com".into() };
    let draft = Draft { author: &author, message: "Signed\n\nwith a body", time: now(), signing: Some(key) };
    let new = mirror.commit(Some(&parent), &edits(&[("a.yaml", content)]), &draft).unwrap().unwrap();
    mirror.push(&new, MAIN_REFERENCE, Expected::At(parent.id), &[]).unwrap();
    assert_eq!(world.ask(&["log", "-1", "--format=%B", "main"]).trim(), "Signed\n\nwith a body");
    world.check();
}

/// What `git verify-commit` says about main.
fn verify(world: &World, arguments: &[&str], home: Option<&Path>) -> (bool, String) {
    let mut command = Command::new("git");
    if let Some(home) = home {
        command.env("GNUPGHOME", home);
    }
    let output = command.arg("-C").arg(&world.repository).args(arguments).args(["verify-commit", "main"]).output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn gpg_verifies_what_an_openpgp_key_signed() {
    let world = World::with(&[("a.yaml", "0")]);
    let home = gpg_home(world.folder.path());
    let gpg = Gpg(&home);
    let plain = gpg.key("ed25519", "sign", "");
    let locked = gpg.key("ed25519", "sign", "s3cret");
    let rsa = gpg.key("rsa2048", "sign", "s3cret");
    let fingerprint = gpg.fingerprint("ed25519 <ed25519@example.com>");
    gpg.run(&["--passphrase", "", "--quick-add-key", &fingerprint, "rsa2048", "sign", "never"]);
    let subkey = gpg.export(&fingerprint, "");

    let [p256, p384, p521] = ["nistp256", "nistp384", "nistp521"].map(|curve| gpg.key(curve, "sign", "s3cret"));
    let bare = gpg.key("nistp384", "sign", "");

    let cases = [
        ("plain", &plain, None),
        ("locked", &locked, Some("s3cret")),
        ("rsa", &rsa, Some("s3cret")),
        ("subkey", &subkey, None),
        ("p256", &p256, Some("s3cret")),
        ("p384", &p384, Some("s3cret")),
        ("p521", &p521, Some("s3cret")),
        ("bare", &bare, None),
    ];
    for (name, armored, passphrase) in cases {
        let key = SigningKey::openpgp(armored, passphrase.map(str::as_bytes), now()).unwrap();
        assert!(!format!("{key:?}").contains("Keypair"));
        push_signed(&world, &key, name);
        let (good, told) = verify(&world, &[], Some(&home));
        assert!(good && told.contains("Good signature"), "{name}: {told}");
        let is_rsa = told.contains("RSA key");
        assert_eq!(is_rsa, matches!(name, "rsa" | "subkey"), "{name}: the newest subkey signs: {told}");
    }
}

#[test]
fn an_openpgp_key_that_cannot_sign_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let home = gpg_home(folder.path());
    let gpg = Gpg(&home);
    let locked = gpg.key("ed25519", "sign", "s3cret");
    let read = |armored: &[u8], passphrase: Option<&str>| {
        SigningKey::openpgp(armored, passphrase.map(str::as_bytes), now()).unwrap_err()
    };
    assert_eq!(read(&locked, None), InvalidKey::PassphraseMissing);
    assert!(matches!(read(&locked, Some("wrong")), InvalidKey::PassphraseWrong(_)));
    gpg.run(&["--passphrase", "", "--quick-generate-key", "two@example.com", "ed25519", "sign", "never"]);
    let foreign = gpg.key("brainpoolP256r1", "sign", "");
    assert!(matches!(read(&foreign, None), InvalidKey::Unreadable(problem) if problem.contains("P-521 are supported")));
    let both = gpg.run(&["--passphrase", "s3cret", "--armor", "--export-secret-keys"]);
    assert_eq!(read(&both, None), InvalidKey::SeveralEntities);
    let public = gpg.run(&["--armor", "--export", "two@example.com"]);
    for garbage in [&public[..], b"", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END"] {
        assert!(matches!(read(garbage, None), InvalidKey::Unreadable(_)));
    }
}

#[test]
fn ssh_keygen_verifies_what_an_ssh_key_signed() {
    let world = World::with(&[("a.yaml", "0")]);
    let folder = world.folder.path();
    let kinds = [
        ("ed25519", "256", "", "OPENSSH"),
        ("ed25519", "256", "s3cret", "OPENSSH"),
        ("ecdsa", "256", "", "OPENSSH"),
        ("ecdsa", "384", "", "OPENSSH"),
        ("ecdsa", "521", "", "OPENSSH"),
        ("ecdsa", "521", "s3cret", "OPENSSH"),
        ("ecdsa", "256", "", "PEM"),
        ("ecdsa", "384", "", "PKCS8"),
        ("rsa", "2048", "", "OPENSSH"),
        ("rsa", "2048", "", "PEM"),
        ("rsa", "2048", "", "PKCS8"),
    ];
    for (algorithm, bits, passphrase, form) in kinds {
        let name = format!("{algorithm}{bits}{passphrase}{form}");
        let mut arguments = vec!["-q", "-t", algorithm, "-b", bits, "-N", passphrase, "-f", &name];
        if form != "OPENSSH" {
            arguments.extend(["-m", form]);
        }
        assert!(Command::new("ssh-keygen").args(arguments).current_dir(folder).status().unwrap().success());
        let identity = std::fs::read(folder.join(&name)).unwrap();
        let key = SigningKey::ssh(&identity, (!passphrase.is_empty()).then_some(passphrase.as_bytes()));
        let key = key.unwrap();
        let public = std::fs::read_to_string(folder.join(&name).with_extension("pub")).unwrap();
        std::fs::write(folder.join("allowed"), format!("slipway@example.com namespaces=\"git\" {public}")).unwrap();
        push_signed(&world, &key, &name);
        let allowed = format!("gpg.ssh.allowedSignersFile={}", folder.join("allowed").display());
        let (good, told) = verify(&world, &["-c", &allowed], None);
        assert!(good && told.contains("Good \"git\" signature"), "{name}: {told}");
        if !passphrase.is_empty() {
            assert_eq!(SigningKey::ssh(&identity, None).unwrap_err(), InvalidKey::PassphraseMissing);
            let wrong = SigningKey::ssh(&identity, Some(b"wrong")).unwrap_err();
            assert!(matches!(wrong, InvalidKey::PassphraseWrong(_)), "{wrong}");
        }
    }
    assert!(matches!(SigningKey::ssh(b"nonsense", None), Err(InvalidKey::Unreadable(_))));
}
