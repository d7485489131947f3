//! `ssh://`: the `ssh` program of this machine carries the conversation, one process for each request.
//!
//! The key and the known hosts never touch the disk: they lie in memory files that only `ssh` is told of. Nothing of the
//! user's configuration has a say, no agent is asked, and a host that is not known is refused.
//! Source: Git `Documentation/gitprotocol-pack.txt`, section "SSH Transport"; OpenSSH `ssh_config(5)`.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write as _},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use ssh_key::{LineEnding, PrivateKey};

use crate::{
    Error,
    connection::Service,
    packet::{self, Packet},
    sign::{self, InvalidKey},
};

/// User where the URL names none.
const DEFAULT_USER: &str = "git";
/// What is kept of the words of `ssh`.
const COMPLAINT_LIMIT_BYTES: u64 = 4 << 10;
/// An offer longer than this is not read to its end.
const OFFER_LIMIT_BYTES: usize = 128 << 20;

/// Where the repository is, as a URL says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    user: String,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Place {
    /// Reads an `ssh://` URL. A host or user that `ssh` could take for an option is none.
    pub fn parse(url: &reqwest::Url, decode: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let user = decode(url.username())?;
        let user = if user.is_empty() { DEFAULT_USER.to_owned() } else { user };
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let path = decode(url.path())?;
        // `/~ann/x` is in the home of Ann, as with Git.
        let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
        let plain = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control);
        let fits = plain(&user) && plain(&host) && plain(&path) && !user.contains(['@', ' ']);
        fits.then_some(Self { user, host, port: url.port(), path })
    }

    /// The address without the user, as messages show it.
    pub fn address(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("ssh://{}{port}{slash}{}", self.host, self.path.trim_end_matches('/'))
    }
}

/// The way to a repository.
pub(crate) struct Ssh {
    place: Place,
    name: String,
    key: File,
    known_hosts: File,
    timeout: Duration,
    /// The process that made the last offer; it takes the request that follows.
    offered: Mutex<Option<(Service, Process)>>,
}

impl Ssh {
    /// Prepares the way; nothing is started yet. An encrypted key is opened here.
    pub fn new(
        place: Place,
        identity: &[u8],
        known_hosts: &[u8],
        passphrase: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let name = place.address();
        let client = |cause: String| Error::Client { url: name.clone(), cause };
        let identity = opened(identity, passphrase).map_err(client)?;
        let client = |error: io::Error| Error::Client { url: name.clone(), cause: error.to_string() };
        let key = in_memory("slipway-ssh-key", &identity).map_err(client)?;
        let known_hosts = in_memory("slipway-known-hosts", known_hosts).map_err(client)?;
        Ok(Self { place, name, key, known_hosts, timeout, offered: Mutex::new(None) })
    }

    /// What `service` offers.
    pub fn advertisement(&self, service: Service) -> Result<impl Read + use<>, Error> {
        let mut process = self.start(service)?;
        let offer = self.offer(&mut process)?;
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some((service, process));
        Ok(io::Cursor::new(offer))
    }

    /// The answer of `service` to one request.
    pub fn request(&self, service: Service, body: &[u8]) -> Result<impl Read + use<>, Error> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut process = match offered {
            Some((offered, process)) if offered == service => process,
            _ => {
                let mut process = self.start(service)?;
                self.offer(&mut process)?;
                process
            }
        };
        if let Some(mut input) = process.input.take() {
            // A server that ends early says why in its answer, so a broken pipe is no error.
            match input.write_all(body) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(Error::Request { url: self.name.clone(), cause: error.to_string() });
                }
                _ => {}
            }
        }
        Ok(process)
    }

    /// Ends the process that waits for a request, if there is one.
    pub fn rest(&self) {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn start(&self, service: Service) -> Result<Process, Error> {
        let path = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let mut command = Command::new("ssh");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.args(["-F", "none", "-T"]);
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.arg("-o").arg(format!("IdentityFile={}", path(&self.key)));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", path(&self.known_hosts)));
        command.arg("-o").arg(format!("ConnectTimeout={}", self.timeout.as_secs().clamp(1, 30)));
        if service == Service::UploadPack {
            command.env("GIT_PROTOCOL", "version=2").args(["-o", "SendEnv=GIT_PROTOCOL"]);
        }
        if let Some(port) = self.place.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["-l", &self.place.user, "--", &self.place.host]);
        command.arg(format!("git-{} {}", service.verb(), quoted(&self.place.path)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| Error::Program { program: "ssh", source })?;
        Ok(Process::new(child, self.timeout))
    }

    /// Reads an offer to its end, as it stands.
    fn offer(&self, process: &mut Process) -> Result<Vec<u8>, Error> {
        let mut offer = Vec::new();
        loop {
            match packet::read(process) {
                Ok(Packet::Data(content)) => packet::write(&mut offer, &content),
                Ok(Packet::Flush) => {
                    packet::flush(&mut offer);
                    return Ok(offer);
                }
                Ok(Packet::Delimiter | Packet::End) | Err(_) => return Err(self.failure(process)),
            }
            if offer.len() > OFFER_LIMIT_BYTES {
                return Err(Error::TooLarge { what: "the list of references".into(), limit: OFFER_LIMIT_BYTES as u64 });
            }
        }
    }

    /// Why there is no offer: what `ssh` or the server printed.
    fn failure(&self, process: &mut Process) -> Error {
        let url = self.name.clone();
        if process.deadline.passed.load(Ordering::Relaxed) {
            return Error::Request { url, cause: format!("no answer within {:?}", self.timeout) };
        }
        let complaint = process.complaint();
        let has = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let cause = complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        match () {
            () if has(&["Host key verification failed", "host key is known", "HOST IDENTIFICATION HAS CHANGED"]) => {
                Error::HostKey { url }
            }
            () if has(&["Permission denied", "Too many authentication failures"]) => Error::SshRefused { url },
            () if has(&["does not appear to be a git repository", "epository not found", "does not exist"]) => {
                Error::RepositoryNotFound { url }
            }
            () if cause.is_empty() => Error::Request { url, cause: "the connection ended".into() },
            () => Error::Request { url, cause },
        }
    }
}

/// How `ssh` is told to trust nothing but what it is given.
const OPTIONS: [&str; 19] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=none",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "PermitLocalCommand=no",
    "ProxyCommand=none",
    "ServerAliveInterval=15",
    "LogLevel=ERROR",
];

/// The key as `ssh` can read it without a passphrase.
fn opened(identity: &[u8], passphrase: Option<&str>) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(identity);
    let text = text.trim_end();
    let is_encrypted = PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted());
    if !is_encrypted {
        // `ssh` does not read a key whose last line does not end.
        return Ok(format!("{text}\n").into_bytes());
    }
    let pair = sign::decrypted(identity, passphrase.map(str::as_bytes)).map_err(|error| match error {
        InvalidKey::PassphraseMissing => "the ssh key is encrypted and the Secret has no 'password'".to_owned(),
        other => format!("cannot open the ssh key: {other}"),
    })?;
    let key = PrivateKey::new(pair, "").and_then(|key| key.to_openssh(LineEnding::LF));
    key.map(|text| text.as_bytes().to_vec()).map_err(|error| format!("cannot open the ssh key: {error}"))
}

/// A file that is only in memory, and ends with the process.
fn in_memory(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// For the shell at the server.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// One `ssh`. It ends when this is dropped.
struct Process {
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    complaint: Option<JoinHandle<String>>,
    deadline: Deadline,
}

impl Process {
    fn new(mut child: Child, timeout: Duration) -> Self {
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let complaint = child.stderr.take().map(|errors| std::thread::spawn(move || complaint(errors)));
        let child = Arc::new(Mutex::new(child));
        let deadline = Deadline::new(Arc::clone(&child), timeout);
        Self { child, input, output, complaint, deadline }
    }

    /// What it printed for people, when it has come to its end.
    fn complaint(&mut self) -> String {
        self.input = None;
        self.complaint.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Read for Process {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.output.as_mut().map_or(Ok(0), |output| output.read(buffer))? {
            0 if !buffer.is_empty() && self.deadline.passed.load(Ordering::Relaxed) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within the time allowed"))
            }
            read => Ok(read),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        (self.input, self.output) = (None, None);
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever was asked has been answered, or nobody wants the answer any more.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Reads everything, so that nobody waits for room in the pipe, and keeps the beginning.
fn complaint(mut errors: ChildStderr) -> String {
    let mut kept = Vec::new();
    let _ = errors.by_ref().take(COMPLAINT_LIMIT_BYTES).read_to_end(&mut kept);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(&kept).chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

/// Ends a process that takes too long.
struct Deadline {
    passed: Arc<AtomicBool>,
    /// Closing it calls the watch off.
    _called_off: mpsc::Sender<()>,
}

impl Deadline {
    fn new(child: Arc<Mutex<Child>>, timeout: Duration) -> Self {
        let (called_off, watch) = mpsc::channel::<()>();
        let passed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&passed);
        std::thread::spawn(move || {
            if watch.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Relaxed);
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
        });
        Self { passed, _called_off: called_off }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Option<Place> {
        Place::parse(&reqwest::Url::parse(url).unwrap(), |text| Some(text.to_owned()))
    }

    #[test]
    fn urls_name_user_host_port_and_path() {
        let found = place("ssh://example.com/team/fleet.git").unwrap();
        assert_eq!((found.user.as_str(), found.path.as_str(), found.port), ("git", "/team/fleet.git", None));
        let found = place("ssh://bot@[::1]:2222/~ann/fleet.git").unwrap();
        assert_eq!((found.user.as_str(), found.host.as_str(), found.path.as_str()), ("bot", "::1", "~ann/fleet.git"));
        assert_eq!(place("ssh://bot@example.com:2222/a/").unwrap().address(), "ssh://example.com:2222/a");
        for hostile in ["ssh://-oProxyCommand=x/a", "ssh://-x@example.com/a", "ssh://example.com"] {
            assert_eq!(place(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn paths_cannot_leave_their_quotes() {
        assert_eq!(quoted("/a'; rm -rf '/"), r"'/a'\''; rm -rf '\''/'");
    }
}
