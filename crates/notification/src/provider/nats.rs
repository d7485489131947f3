//! `nats`: the event itself, published to a subject. The address names servers, the channel the subject.
//! Source: docs.nats.io, "Client protocol".

use reconcile::Event;
use serde_json::{Value, json};

use super::{Plan, Settings};
use crate::Error;

/// Port of servers that name none.
const PORT: u16 = 4222;

/// What is published, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Servers of one cluster; the first that answers takes it.
    pub servers: Vec<Server>,
    /// The subject.
    pub subject: String,
    /// The message.
    pub payload: Vec<u8>,
}

/// A server and the login to it. The debug form hides the login.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the address asks for TLS; the server may ask for it too.
    pub needs_tls: bool,
    login: Login,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    None,
    Token(String),
    User(String, String),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({}:{})", self.host, self.port)
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its first words; whether TLS must be spoken, and the largest message it takes.
    Info {
        /// Everything after these words is to be TLS.
        tls_required: bool,
        /// In bytes.
        max_payload: Option<u64>,
    },
    /// It wants a sign of life.
    Ping,
    /// It has taken all that was sent before our `PING`.
    Pong,
    /// It refuses.
    Refusal(String),
    /// Nothing that matters here.
    Other,
}

/// The publication. The Secret's login counts more than that in the address.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let payload = serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?;
    let subject = settings.channel.clone();
    if subject.is_empty() || subject.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>')) {
        return Err(Error::Invalid(format!("spec.channel: {subject:?} is no subject that can be published to")));
    }
    let servers = settings.address.split(',').map(|address| Server::parse(address.trim(), settings));
    let servers = servers.collect::<Result<_, _>>()?;
    Ok(Plan { publish: Some(Publication { servers, subject, payload }), ..Plan::default() })
}

impl Server {
    fn parse(address: &str, settings: &Settings) -> Result<Self, Error> {
        let invalid = || Error::Invalid("the address is not nats://HOST[:PORT], or several with commas between".into());
        let long = if address.contains("://") { address.to_owned() } else { format!("nats://{address}") };
        let url = url::Url::parse(&long).map_err(|_| invalid())?;
        let needs_tls = match url.scheme() {
            "nats" => false,
            "tls" => true,
            _ => return Err(invalid()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
        let login = match (settings.username.as_str(), settings.password.as_str(), settings.token.as_str()) {
            (user, password, _) if !user.is_empty() && !password.is_empty() => {
                Login::User(user.into(), password.into())
            }
            (_, _, token) if !token.is_empty() => Login::Token(token.into()),
            _ => match (url.username(), url.password()) {
                ("", _) => Login::None,
                (user, Some(password)) => Login::User(plain(user), plain(password)),
                (token, None) => Login::Token(plain(token)),
            },
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(PORT), needs_tls, login })
    }

    /// All that is said to the server after its first words.
    pub fn words(&self, publication: &Publication) -> Vec<u8> {
        let mut connect = json!({"verbose": false, "pedantic": false, "tls_required": self.needs_tls, "lang": "rust",
            "name": "slipway", "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": false});
        match &self.login {
            Login::None => {}
            Login::Token(token) => connect["auth_token"] = token.clone().into(),
            Login::User(user, password) => {
                connect["user"] = user.clone().into();
                connect["pass"] = password.clone().into();
            }
        }
        let Publication { subject, payload, .. } = publication;
        let mut words = format!("CONNECT {connect}\r\nPUB {subject} {}\r\n", payload.len()).into_bytes();
        words.extend_from_slice(payload);
        words.extend_from_slice(b"\r\nPING\r\n");
        words
    }
}

impl Line {
    /// Reads a line without its end.
    pub fn parse(line: &str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word.to_ascii_uppercase().as_str() {
            "INFO" => {
                let info: Value = serde_json::from_str(rest).unwrap_or_default();
                Self::Info { tls_required: info["tls_required"] == true, max_payload: info["max_payload"].as_u64() }
            }
            "PING" => Self::Ping,
            "PONG" => Self::Pong,
            "-ERR" => Self::Refusal(rest.trim().trim_matches('\'').chars().take(200).collect()),
            _ => Self::Other,
        }
    }
}

/// A part of a URL without its percent signs.
fn plain(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_what_they_want() {
        let info = |tls_required, max_payload| Line::Info { tls_required, max_payload };
        for (line, expected) in [
            (r#"INFO {"server_id":"x","max_payload":1048576}"#, info(false, Some(1_048_576))),
            (r#"INFO {"tls_required":true} "#, info(true, None)),
            ("info broken", info(false, None)),
            ("PING", Line::Ping),
            ("PONG\r", Line::Pong),
            ("+OK", Line::Other),
            ("-ERR 'Authorization Violation'", Line::Refusal("Authorization Violation".into())),
            ("", Line::Other),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }
}
