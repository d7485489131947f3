//! A Git server: git's own `git http-backend` behind HTTP with basic authentication, on loopback.
//!
//! Stands alone, so that tests of other crates can include it by its path.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    sync::mpsc,
};

/// Largest request taken, in bytes: a pack that somebody pushes.
const LIMIT: usize = 256 << 20;

#[derive(Debug)]
struct Settings {
    root: PathBuf,
    /// The program `git http-backend` leads to; started directly, it saves a process per request.
    backend: PathBuf,
    /// User name and password.
    login: Option<(String, String)>,
}

/// A Git server that serves until dropped.
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    root: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl GitServer {
    /// Serves the bare repositories below `root` on a free loopback port; with a login, to nobody else.
    pub async fn start(root: &Path, login: Option<(&str, &str)>) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let settings = Arc::new(Settings { root: root.to_owned(), backend: backend()?, login });
        let task = tokio::spawn(accept(listener, settings));
        Ok(Self { address, root: root.to_owned(), task })
    }

    /// Makes an empty bare repository that takes pushes, and gives its URL, without credentials.
    pub fn create_repository(&self, name: &str) -> io::Result<String> {
        let folder = self.folder(name);
        let made = std::process::Command::new("git")
            .args(["init", "--quiet", "--bare", "--initial-branch=main"])
            .arg(&folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
        }
        for setting in ["http.receivepack", "receive.advertisePushOptions"] {
            let set =
                std::process::Command::new("git").arg("-C").arg(&folder).args(["config", setting, "true"]).status()?;
            if !set.success() {
                return Err(io::Error::other(format!("git config {setting} failed")));
            }
        }
        Ok(self.url(&format!("{name}.git")))
    }

    /// The URL of what is served under this name, without credentials.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Where a repository lies.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.git"))
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn backend() -> io::Result<PathBuf> {
    let told = std::process::Command::new("git").arg("--exec-path").output()?;
    Ok(Path::new(String::from_utf8_lossy(&told.stdout).trim()).join("git-http-backend"))
}

async fn accept(listener: TcpListener, settings: Arc<Settings>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let settings = Arc::clone(&settings);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let settings = Arc::clone(&settings);
                async move { Ok::<_, Infallible>(answer(&settings, request).await) }
            });
            // A client that goes away is no concern of the server's.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(settings: &Settings, request: Request<Incoming>) -> Response<Output> {
    if !allowed(settings, &request) {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "a login is needed\n");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"git\""));
        return refused;
    }
    match cgi(settings, request).await {
        Ok(response) => response,
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn allowed(settings: &Settings, request: &Request<Incoming>) -> bool {
    let Some((user, password)) = &settings.login else { return true };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    given == Some(expected.as_str())
}

fn plain(status: StatusCode, text: &str) -> Response<Output> {
    let mut response = Response::new(Output::text(text));
    *response.status_mut() = status;
    response
}

/// Runs `git http-backend` on the request, as RFC 3875 says.
async fn cgi(settings: &Settings, request: Request<Incoming>) -> io::Result<Response<Output>> {
    let (parts, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, LIMIT).collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let protocol = parts.headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut child = Command::new(&settings.backend)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", &settings.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_PROTOCOL", protocol)
        .env("REMOTE_USER", "slipway")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to git"))?;
    // Written beside, as a full pipe would stop both sides.
    tokio::spawn(async move {
        // git may have read enough already.
        let _ = stdin.write_all(&body).await;
    });
    let mut stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe from git"))?;
    let (head, begun) = head(&mut stdout).await?;
    let mut response = Response::new(Output::of(child, stdout, begun));
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The header lines of a CGI program's answer, which end in an empty line, and what came of the body with them.
async fn head(stdout: &mut ChildStdout) -> io::Result<(String, Bytes)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = Bytes::copy_from_slice(&read[end + 4..]);
            return Ok((String::from_utf8_lossy(&read[..end]).into_owned(), body));
        }
        if stdout.read_buf(&mut read).await? == 0 {
            return Err(io::Error::other("git http-backend gave no answer"));
        }
    }
}

/// A body that is sent on as it comes: a report reaches the client before the program behind it has ended.
struct Output(mpsc::Receiver<io::Result<Bytes>>);

impl Output {
    fn text(text: &str) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        // There is room for one.
        let _ = sender.try_send(Ok(Bytes::from(text.to_owned())));
        Self(receiver)
    }

    /// What the program prints from here on.
    fn of(mut child: Child, mut stdout: ChildStdout, begun: Bytes) -> Self {
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            let mut next = Ok(begun);
            loop {
                let is_last = next.is_err();
                if sender.send(next).await.is_err() || is_last {
                    break;
                }
                let mut chunk = Vec::with_capacity(16 << 10);
                next = match stdout.read_buf(&mut chunk).await {
                    Ok(0) => break,
                    Ok(_) => Ok(chunk.into()),
                    Err(error) => Err(error),
                };
            }
            drop((sender, stdout));
            let _ = child.wait().await;
        });
        Self(receiver)
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
