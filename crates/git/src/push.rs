//! Sends one commit to a server (send-pack). The pack holds exactly the new objects.
//!
//! Once the server's capabilities are known, a push is a single request: the server itself compares the branch with where we
//! believe it to be. Only when it refuses is it asked where the branch is. The push is over when the server has reported on
//! it: what it does and prints afterwards (hooks, tidying up) is not waited for.
//! Source: Git `Documentation/gitprotocol-pack.txt`, section "Pushing Data To a Server".

use std::{
    io::{BufReader, Read, Write as _},
    sync::Arc,
};

use gix_object::Kind;

use crate::{
    Error, Expected, Id, NewCommit, Pushed,
    connection::{Connection, Service},
    listing::{self, AGENT, Offer},
    object::NewObject,
    packet::{self, Bands},
    session::Session,
    store::Store,
};

/// The answer to a push is a few lines, and what hooks print.
const ANSWER_LIMIT_BYTES: u64 = 16 << 20;

/// So many objects are kept as the pack that was sent: a file for each takes longer.
const MANY: usize = 32;

/// Pushes `new` to `reference`. Repeating a push that was taken, but whose answer was lost, succeeds.
pub(crate) fn push(
    session: &Session,
    store: &Store,
    new: &NewCommit,
    reference: &str,
    expected: Expected,
    options: &[String],
) -> Result<Pushed, Error> {
    let connection = &session.connection;
    if !listing::is_valid_name(reference) {
        return Err(Error::ReferenceName { name: reference.to_owned() });
    }
    if let Some(option) = options.iter().find(|option| option.contains(['\n', '\0']) || option.len() > 65_000) {
        return Err(connection.protocol(format!("push option {option:?} cannot be sent")));
    }
    let wanted = match expected {
        Expected::At(id) => Some(Some(id)),
        Expected::Absent => Some(None),
        Expected::Anything => None,
    };
    let push = Push { session, store, new, reference, options };
    match (session.pushing(), wanted) {
        (Some(offer), Some(old)) => push.send(&offer, old),
        _ => push.ask_and_send(wanted),
    }
}

struct Push<'a> {
    session: &'a Session,
    store: &'a Store,
    new: &'a NewCommit,
    reference: &'a str,
    options: &'a [String],
}

impl Push<'_> {
    /// The first push in a process, and every forced one: asks what the server offers and where the reference is.
    fn ask_and_send(&self, wanted: Option<Option<Id>>) -> Result<Pushed, Error> {
        let connection = &self.session.connection;
        let offer = Offer::ask(connection, Service::ReceivePack)?;
        if !offer.has("report-status") {
            return Err(connection.protocol("the server does not report on pushes"));
        }
        let actual = offer.references.iter().find(|known| known.name == self.reference).map(|known| known.object);
        let known = Offer { references: Vec::new(), capabilities: offer.capabilities.clone(), version: offer.version };
        self.session.remember_pushing(Some(Arc::new(known)));
        if actual == Some(self.new.commit.id) {
            return Ok(self.done());
        }
        match wanted {
            Some(expected) if expected != actual => Err(self.rejected(expected, actual)),
            _ => self.send(&offer, actual),
        }
    }

    fn send(&self, offer: &Offer, old: Option<Id>) -> Result<Pushed, Error> {
        let connection = &self.session.connection;
        let mut body = self.head(offer, old);
        let head = body.len();
        self.append_pack(&mut body)?;
        let pack = (self.new.objects.len() >= MANY).then(|| body[head..].to_vec());
        let sent = connection.request(Service::ReceivePack, body);
        // The server is at work meanwhile. What cannot be kept is told of in the end.
        let _ = match pack {
            Some(pack) => self.store.add_pack(&pack),
            None => self.store.add(&self.new.objects),
        };
        let report =
            sent.and_then(|answer| Report::read(connection, answer, offer.has("side-band-64k"), self.reference));
        // Whatever went wrong, the next push asks again.
        let report = report.inspect_err(|_| self.session.remember_pushing(None))?;
        match report.refusal {
            None => Ok(self.done()),
            Some(reason) => self.refused(old, &reason, &report.messages),
        }
    }

    /// Tells a moved branch from a refusal by the server's rules.
    fn refused(&self, old: Option<Id>, reason: &str, messages: &str) -> Result<Pushed, Error> {
        self.session.remember_pushing(None);
        let references = listing::list(self.session, &[self.reference])?;
        let actual = references.iter().find(|known| known.name == self.reference).map(|known| known.object);
        if actual == Some(self.new.commit.id) {
            return Ok(self.done());
        }
        if actual != old {
            return Err(self.rejected(old, actual));
        }
        let cause = match messages {
            "" => reason.to_owned(),
            messages => format!("{reason}: {}", messages.replace('\n', "; ")),
        };
        let url = self.session.connection.name.clone();
        Err(Error::Declined { url, reference: self.reference.to_owned(), cause })
    }

    fn rejected(&self, expected: Option<Id>, actual: Option<Id>) -> Error {
        let url = self.session.connection.name.clone();
        Error::Rejected { url, reference: self.reference.to_owned(), expected, actual }
    }

    /// The server has the commit, so the push was good. Where the mirror cannot take it in, the next fetch brings it.
    fn done(&self) -> Pushed {
        let (commit, store) = (self.new.commit.id, self.store);
        let kept = store.add(&self.new.objects).and_then(|()| store.write_reference(self.reference, commit));
        if let Err(error) = kept {
            tracing::warn!(%error, reference = self.reference, "mirror cannot keep what was pushed");
        }
        Pushed { reference: self.reference.to_owned(), commit }
    }

    /// What comes before the pack.
    fn head(&self, offer: &Offer, old: Option<Id>) -> Vec<u8> {
        let mut wished = vec!["report-status"];
        wished.extend(["side-band-64k", "quiet"].iter().filter(|name| offer.has(name)));
        let options = self.options(offer);
        if !options.is_empty() {
            wished.push("push-options");
        }
        if offer.has("object-format") {
            wished.push("object-format=sha1");
        }
        if offer.has("agent") {
            wished.push(AGENT);
        }
        let old = old.unwrap_or(Id::ZERO);
        let line = format!("{old} {} {}\0 {}", self.new.commit.id, self.reference, wished.join(" "));
        let mut body = Vec::new();
        packet::write(&mut body, line.as_bytes());
        packet::flush(&mut body);
        if !options.is_empty() {
            for option in options {
                packet::write(&mut body, option.as_bytes());
            }
            packet::flush(&mut body);
        }
        body
    }

    /// The push options, unless the server takes none: go-git, and so Flux, pushes without them then.
    fn options(&self, offer: &Offer) -> &[String] {
        if self.options.is_empty() || offer.has("push-options") {
            return self.options;
        }
        let repository = &self.session.connection.name;
        tracing::warn!(%repository, options = ?self.options, "the server takes no push options; they are left out");
        &[]
    }

    /// Source: Git `Documentation/gitformat-pack.txt`. Whole objects only: at this size deltas save nothing.
    fn append_pack(&self, body: &mut Vec<u8>) -> Result<(), Error> {
        let start = body.len();
        let count = u32::try_from(self.new.objects.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(b"PACK\0\0\0\x02");
        body.extend_from_slice(&count.to_be_bytes());
        for NewObject { kind, content, .. } in &self.new.objects {
            append_head(body, *kind, content.len());
            let mut packed = flate2::write::ZlibEncoder::new(&mut *body, flate2::Compression::fast());
            let written = packed.write_all(content).and_then(|()| packed.finish().map(drop));
            written.map_err(|source| Error::Mirror { path: self.store.pack_folder(), source })?;
        }
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(&body[start..]);
        let digest = hasher.try_finalize().map_err(|error| Error::Damaged {
            id: self.new.commit.id,
            cause: format!("the pack looks like an attack on SHA-1: {error}"),
        })?;
        body.extend_from_slice(digest.as_slice());
        Ok(())
    }
}

/// Kind and length of an object in a pack: four bits of length in the first byte, then seven in each.
fn append_head(body: &mut Vec<u8>, kind: Kind, length: usize) {
    let kind: u8 = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut byte = kind << 4 | (length & 0xf) as u8;
    let mut rest = length >> 4;
    while rest > 0 {
        body.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    body.push(byte);
}

struct Report {
    /// Why the reference was not changed; `None`: it was.
    refusal: Option<String>,
    /// What hooks printed before.
    messages: String,
}

impl Report {
    fn read(
        connection: &Connection,
        answer: crate::connection::Answer,
        banded: bool,
        reference: &str,
    ) -> Result<Self, Error> {
        let mut input = BufReader::new(answer.take(ANSWER_LIMIT_BYTES));
        if !banded {
            let refusal = Self::lines(connection, &mut input, reference)?;
            connection.leave(input);
            return Ok(Self { refusal, messages: String::new() });
        }
        let mut bands = Bands::new(input);
        let refusal = Self::lines(connection, &mut bands, reference)?;
        let messages = bands.messages();
        connection.leave(bands);
        Ok(Self { refusal, messages })
    }

    fn lines(connection: &Connection, input: &mut dyn Read, reference: &str) -> Result<Option<String>, Error> {
        let mut unpacked = false;
        let mut verdict = None;
        while let Some(line) = packet::read(input).map_err(|error| connection.broken(&error))?.line() {
            if let Some(message) = line.strip_prefix("ERR ") {
                return Err(listing::reported(connection, message));
            }
            let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(500).collect::<String>();
            match line.split_once(' ') {
                Some(("unpack", "ok")) => unpacked = true,
                Some(("unpack", reason)) => return Ok(Some(format!("unpack failed: {}", clean(reason)))),
                Some(("ok", name)) if name == reference => verdict = Some(None),
                Some(("ng", rest)) => {
                    let reason = rest.strip_prefix(reference).unwrap_or(rest).trim();
                    verdict = Some(Some(clean(reason)));
                }
                _ => {}
            }
        }
        match verdict {
            Some(verdict) if unpacked => Ok(verdict),
            _ => Err(connection.protocol("the server does not say whether it took the push")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_heads_follow_the_pack_format() {
        let cases: [(Kind, usize, &[u8]); 4] = [
            (Kind::Commit, 0, &[0x10]),
            (Kind::Blob, 15, &[0x3f]),
            (Kind::Blob, 16, &[0xb0, 0x01]),
            (Kind::Tree, 0x1234, &[0xa4, 0xa3, 0x02]),
        ];
        for (kind, length, expected) in cases {
            let mut head = Vec::new();
            append_head(&mut head, kind, length);
            assert_eq!(head, expected, "{kind} of {length}");
        }
    }
}
