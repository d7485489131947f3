//! What a server offers, and where its references are. Speaks protocol version 2, and 0 with those who know no better.
//! Source: Git `Documentation/gitprotocol-v2.txt`, `gitprotocol-pack.txt`.

use std::{
    io::{BufReader, Read},
    sync::Arc,
};

use crate::{
    Error, Id,
    connection::{Connection, Service},
    packet::{self, Packet},
    session::Session,
};

/// What a server answers when asked for its capabilities.
#[derive(Debug)]
pub(crate) struct Offer {
    /// 0 or 2.
    pub version: u8,
    /// Such as `report-status`, `object-format=sha1`; in version 2 such as `fetch=shallow`.
    pub capabilities: Vec<String>,
    /// All references; only version 0 lists them here.
    pub references: Vec<Reference>,
}

/// A reference at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub name: String,
    pub object: Id,
    /// What an annotated tag points to in the end.
    pub peeled: Option<Id>,
}

/// A listing longer than this is not read to its end.
const LISTING_LIMIT_BYTES: u64 = 128 << 20;

impl Offer {
    /// Whether the server has this capability, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.capabilities.iter().any(|capability| capability.split('=').next() == Some(name))
    }

    /// Asks the server.
    pub fn ask(connection: &Connection, service: Service) -> Result<Arc<Self>, Error> {
        let answer = connection.advertisement(service)?;
        let offer = Self::read(connection, BufReader::new(answer.take(LISTING_LIMIT_BYTES)))?;
        let format = offer.capabilities.iter().find_map(|capability| capability.strip_prefix("object-format="));
        match format {
            None | Some("sha1") => Ok(Arc::new(offer)),
            Some(other) => Err(connection.protocol(format!("object format {other} is not supported"))),
        }
    }

    fn read(connection: &Connection, mut input: impl Read) -> Result<Self, Error> {
        let mut offer = Self { version: 0, capabilities: Vec::new(), references: Vec::new() };
        let mut first = true;
        loop {
            let packet = packet::read(&mut input).map_err(|error| connection.broken(&error))?;
            let line = match packet {
                Packet::Data(_) => packet.line().unwrap_or_default(),
                // After the service line comes a flush, and then the offer itself.
                Packet::Flush if first => continue,
                Packet::End if first => return Err(connection.protocol("it is empty")),
                _ => return Ok(offer),
            };
            if line.starts_with("# service=") || line == "version 1" {
                continue;
            }
            if let Some(message) = line.strip_prefix("ERR ") {
                return Err(reported(connection, message));
            }
            if first && line == "version 2" {
                offer.version = 2;
            } else if offer.version == 2 {
                offer.capabilities.push(line);
            } else {
                let (line, capabilities) = line.split_once('\0').unwrap_or((&line, ""));
                offer.capabilities.extend(capabilities.split_whitespace().map(str::to_owned));
                offer.add(connection, line)?;
            }
            first = false;
        }
    }

    fn add(&mut self, connection: &Connection, line: &str) -> Result<(), Error> {
        if line.starts_with("shallow ") {
            return Ok(());
        }
        let (id, name) = line.split_once(' ').ok_or_else(|| connection.protocol("malformed reference"))?;
        let object: Id = id.parse().map_err(|_| connection.protocol("malformed reference"))?;
        match (name.strip_suffix("^{}"), self.references.last_mut()) {
            // An empty repository has this line only, for the capabilities' sake.
            (Some("capabilities"), _) => {}
            (Some(tag), Some(last)) if last.name == tag => last.peeled = Some(object),
            (Some(_), _) => return Err(connection.protocol("malformed reference")),
            (None, _) => self.references.push(Reference { name: name.to_owned(), object, peeled: None }),
        }
        Ok(())
    }
}

/// The references that start with one of the prefixes. Names that Git does not allow are left out.
pub(crate) fn list(session: &Session, prefixes: &[&str]) -> Result<Vec<Reference>, Error> {
    let connection = &session.connection;
    let offer = match session.fetching() {
        Some(offer) if offer.version == 2 => offer,
        _ => Offer::ask(connection, Service::UploadPack)?,
    };
    session.remember_fetching(Some(offer.clone()));
    let references = match offer.version {
        2 => list_version_2(connection, &offer, prefixes).inspect_err(|_| session.remember_fetching(None))?,
        _ => offer.references.clone(),
    };
    let wanted = |reference: &Reference| {
        prefixes.iter().any(|prefix| reference.name.starts_with(prefix)) && is_valid_name(&reference.name)
    };
    Ok(references.into_iter().filter(wanted).collect())
}

/// Whether Git allows the name, for a reference that is not a pseudo-reference like `HEAD`.
pub(crate) fn is_valid_name(name: &str) -> bool {
    name.starts_with("refs/") && gix_validate::reference::name(name.into()).is_ok()
}

fn list_version_2(connection: &Connection, offer: &Offer, prefixes: &[&str]) -> Result<Vec<Reference>, Error> {
    let mut body = Vec::new();
    command(&mut body, "ls-refs", offer);
    packet::delimiter(&mut body);
    packet::write(&mut body, b"peel\n");
    for prefix in prefixes {
        packet::write(&mut body, format!("ref-prefix {prefix}\n").as_bytes());
    }
    packet::flush(&mut body);
    let answer = connection.request(Service::UploadPack, body)?;
    let mut input = BufReader::new(answer.take(LISTING_LIMIT_BYTES));
    let mut references = Vec::new();
    loop {
        let packet = packet::read(&mut input).map_err(|error| connection.broken(&error))?;
        let Some(line) = packet.line() else {
            return match packet {
                Packet::Flush => Ok(references),
                _ => Err(connection.protocol("the list of references ends too early")),
            };
        };
        if let Some(message) = line.strip_prefix("ERR ") {
            return Err(reported(connection, message));
        }
        let mut words = line.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else {
            return Err(connection.protocol("malformed reference"));
        };
        // A branch without a commit yet is listed as "unborn".
        let Ok(object) = id.parse() else { continue };
        let peeled = words.find_map(|word| word.strip_prefix("peeled:")).and_then(|id| id.parse().ok());
        references.push(Reference { name: name.to_owned(), object, peeled });
    }
}

/// Begins a command of version 2.
pub(crate) fn command(body: &mut Vec<u8>, name: &str, offer: &Offer) {
    packet::write(body, format!("command={name}\n").as_bytes());
    if offer.has("agent") {
        packet::write(body, format!("{AGENT}\n").as_bytes());
    }
    if offer.has("object-format") {
        packet::write(body, b"object-format=sha1\n");
    }
}

/// How we introduce ourselves.
pub(crate) const AGENT: &str = concat!("agent=slipway/", env!("CARGO_PKG_VERSION"));

/// An error in the server's words.
pub(crate) fn reported(connection: &Connection, message: &str) -> Error {
    let url = connection.name.clone();
    // GitHub and Gitea say it this way over some transports.
    match message.to_ascii_lowercase().contains("repository not found") {
        true => Error::RepositoryNotFound { url },
        false => Error::Reported { url, message: message.chars().filter(|c| !c.is_control()).take(500).collect() },
    }
}
