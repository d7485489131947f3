//! `file://`: the `git` program of this machine answers as a server would, one process for each request.

use std::{
    io::{self, Read, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{Error, connection::Service};

/// The references and capabilities that `service` offers for the repository at `path`.
pub(crate) fn advertisement(path: &str, service: Service) -> Result<Answer, Error> {
    check(path)?;
    let child = command(path, service, "--http-backend-info-refs").stdin(Stdio::null()).spawn();
    child.map_err(failed).map(Answer::new)
}

/// The answer of `service` to one request.
pub(crate) fn request(path: &str, service: Service, body: &[u8]) -> Result<Answer, Error> {
    check(path)?;
    let mut child = command(path, service, "").stdin(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // The program reads everything before it answers. If it ends early, its answer says why, so a broken pipe is no error.
        match input.write_all(body) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(Answer::new(child))
}

fn failed(source: io::Error) -> Error {
    Error::Program { program: "git", source }
}

fn check(path: &str) -> Result<(), Error> {
    let path = std::path::Path::new(path);
    match path.join("objects").is_dir() || path.join(".git/objects").is_dir() {
        true => Ok(()),
        false => Err(Error::RepositoryNotFound { url: format!("file://{}", path.display()) }),
    }
}

/// No configuration of the user or the machine has a say.
fn command(path: &str, service: Service, flag: &str) -> Command {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    if service == Service::UploadPack {
        command.env("GIT_PROTOCOL", "version=2");
    }
    command.args(["-c", "safe.directory=*", service.verb(), "--stateless-rpc"]);
    command.args((!flag.is_empty()).then_some(flag)).arg(path);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// What the program prints. It is waited for when this is dropped.
pub(crate) struct Answer {
    child: Child,
    output: Option<ChildStdout>,
}

impl Answer {
    fn new(mut child: Child) -> Self {
        let output = child.stdout.take();
        Self { child, output }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.as_mut().map_or(Ok(0), |output| output.read(buffer))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Closing the pipe first lets a program that still writes come to its end.
        self.output = None;
        let _ = self.child.wait();
    }
}
