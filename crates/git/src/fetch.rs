//! Fetches one commit with all its files and no history (depth 1), sending what we have so that only what is new comes.
//! Source: Git `Documentation/gitprotocol-v2.txt` section fetch, `gitprotocol-pack.txt`.

use std::io::{self, BufRead, BufReader, Read};

use crate::{
    Error, Id,
    connection::{Answer, Connection, Service},
    error::causes,
    listing::{self, AGENT, Offer},
    packet::{self, Bands, Packet},
    session::Session,
    store::{self, Store},
};

/// A pack larger than this is not taken.
const PACK_LIMIT_BYTES: u64 = 2 << 30;
/// Nor one that claims to have more objects than this.
const OBJECTS_LIMIT: u32 = 5_000_000;
/// So many of our commits are told to the server; more do not help.
const HAVES: usize = 16;

/// Brings `object` (a commit, or a tag of one) and all it holds into the store.
pub(crate) fn fetch(session: &Session, store: &Store, object: Id) -> Result<(), Error> {
    let connection = &session.connection;
    let offer = match session.fetching() {
        Some(offer) => offer,
        None => listing::Offer::ask(connection, Service::UploadPack)?,
    };
    session.remember_fetching(Some(offer.clone()));
    let body = match offer.version {
        2 => request_version_2(store, &offer, object),
        _ => request_version_0(store, &offer, object),
    };
    let answer = connection.request(Service::UploadPack, body)?;
    let mut input = BufReader::new(answer.take(PACK_LIMIT_BYTES));
    let shallow = match offer.version {
        2 => head_version_2(connection, &mut input)?,
        _ => head_version_0(connection, &mut input)?,
    };
    // Written before the pack: a boundary without its commit is harmless, a commit without its boundary is not.
    store.add_shallow(&shallow)?;
    if offer.version == 2 || offer.has("side-band-64k") {
        take(connection, store, &mut Bands::new(input))
    } else {
        take(connection, store, &mut input)
    }
}

fn request_version_2(store: &Store, offer: &Offer, object: Id) -> Vec<u8> {
    let mut body = Vec::new();
    listing::command(&mut body, "fetch", offer);
    packet::delimiter(&mut body);
    for line in ["thin-pack\n", "no-progress\n", "ofs-delta\n"] {
        packet::write(&mut body, line.as_bytes());
    }
    for id in store.shallow() {
        packet::write(&mut body, format!("shallow {id}\n").as_bytes());
    }
    packet::write(&mut body, b"deepen 1\n");
    packet::write(&mut body, format!("want {object}\n").as_bytes());
    for id in haves(store) {
        packet::write(&mut body, format!("have {id}\n").as_bytes());
    }
    packet::write(&mut body, b"done\n");
    packet::flush(&mut body);
    body
}

fn haves(store: &Store) -> Vec<Id> {
    let mut ids: Vec<Id> = store.references().into_values().filter(|id| store.contains(*id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(HAVES);
    ids
}

/// The old way, without telling what we have: its negotiation is not worth its rounds.
fn request_version_0(store: &Store, offer: &Offer, object: Id) -> Vec<u8> {
    // Azure DevOps refuses those who do not know multi_ack.
    let wished = ["multi_ack_detailed", "side-band-64k", "ofs-delta", "no-progress", "shallow"];
    let mut line = format!("want {object}");
    for name in wished.iter().filter(|name| offer.has(name)) {
        line.push(' ');
        line.push_str(name);
    }
    if offer.has("agent") {
        line.push(' ');
        line.push_str(AGENT);
    }
    line.push('\n');
    let mut body = Vec::new();
    packet::write(&mut body, line.as_bytes());
    if offer.has("shallow") {
        for id in store.shallow() {
            packet::write(&mut body, format!("shallow {id}\n").as_bytes());
        }
        packet::write(&mut body, b"deepen 1\n");
    }
    packet::flush(&mut body);
    packet::write(&mut body, b"done\n");
    body
}

/// Reads up to where the pack begins; returns the new shallow boundary.
fn head_version_2(connection: &Connection, input: &mut BufReader<io::Take<Answer>>) -> Result<Vec<Id>, Error> {
    let mut shallow = Vec::new();
    loop {
        let packet = packet::read(input).map_err(|error| connection.broken(&error))?;
        match (&packet, packet.line().as_deref()) {
            (_, Some("packfile")) => return Ok(shallow),
            (_, Some(line)) => boundary(connection, line, &mut shallow)?,
            (Packet::Delimiter, _) => {}
            _ => return Err(connection.protocol("no pack follows")),
        }
    }
}

/// As [`head_version_2`]: an optional section on the boundary, then one acknowledgement.
fn head_version_0(connection: &Connection, input: &mut BufReader<io::Take<Answer>>) -> Result<Vec<Id>, Error> {
    let mut shallow = Vec::new();
    loop {
        let packet = packet::read(input).map_err(|error| connection.broken(&error))?;
        match (&packet, packet.line().as_deref()) {
            (_, Some("NAK")) => return Ok(shallow),
            (_, Some(line)) => boundary(connection, line, &mut shallow)?,
            (Packet::Flush, _) => {}
            _ => return Err(connection.protocol("no pack follows")),
        }
    }
}

fn boundary(connection: &Connection, line: &str, shallow: &mut Vec<Id>) -> Result<(), Error> {
    if let Some(message) = line.strip_prefix("ERR ") {
        return Err(listing::reported(connection, message));
    }
    if let Some(id) = line.strip_prefix("shallow ") {
        shallow.push(id.parse().map_err(|_| connection.protocol("malformed shallow line"))?);
    }
    Ok(())
}

fn take(connection: &Connection, store: &Store, pack: &mut dyn BufRead) -> Result<(), Error> {
    let mut header = [0; 12];
    pack.read_exact(&mut header).map_err(|error| connection.broken(&error))?;
    let count = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if !header.starts_with(b"PACK") {
        return Err(connection.protocol("the pack is none"));
    }
    if count > OBJECTS_LIMIT {
        return Err(Error::TooLarge { what: format!("a pack of {count} objects"), limit: OBJECTS_LIMIT.into() });
    }
    let mut watched = Watched { pack: header.chain(&mut *pack), failed: None };
    let taken = store::ingest(store, &mut watched);
    let failed = watched.failed;
    match (taken, failed) {
        (Ok(()), _) => {
            // The rest is the server's goodbye; reading it keeps the connection fit for the next request.
            let _ = io::copy(&mut pack.take(1 << 20), &mut io::sink());
            store.refresh()
        }
        (Err(_), Some(cause)) => Err(Error::Request { url: connection.name.clone(), cause }),
        (Err(error), None) => Err(connection.protocol(format!("the pack is damaged: {}", causes(&error)))),
    }
}

/// Remembers whether it was the connection that failed, rather than the pack.
struct Watched<R> {
    pack: R,
    failed: Option<String>,
}

impl<R: BufRead> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pack.read(buffer).inspect_err(|error| self.failed = Some(causes(error)))
    }
}

impl<R: BufRead> BufRead for Watched<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.pack.fill_buf().inspect_err(|error| self.failed = Some(causes(error)))
    }

    fn consume(&mut self, amount: usize) {
        self.pack.consume(amount);
    }
}
