//! Git's packet lines: four hexadecimal digits of length, then the content; and the side bands within them.
//! Source: Git `Documentation/gitprotocol-common.txt`, `gitprotocol-pack.txt`.

use std::io::{self, BufRead, BufReader, Read};

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Content, with its line break if it has one.
    Data(Vec<u8>),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// The end of the stream.
    End,
}

impl Packet {
    /// The content as a line of text; `None` at the end of a section, message or stream.
    pub fn line(&self) -> Option<String> {
        match self {
            Self::Data(content) => Some(String::from_utf8_lossy(content).trim_end_matches('\n').to_owned()),
            _ => None,
        }
    }
}

/// Reads the next packet. The end of the stream is only fine between packets.
pub(crate) fn read(input: &mut dyn Read) -> io::Result<Packet> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match input.read(&mut head[filled..])? {
            0 if filled == 0 => return Ok(Packet::End),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    let text = std::str::from_utf8(&head).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let length = text.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length {
        Some(0) => Ok(Packet::Flush),
        Some(1) => Ok(Packet::Delimiter),
        // An empty packet is odd, yet harmless.
        Some(length @ 4..) => {
            let mut content = vec![0; length - 4];
            input.read_exact(&mut content)?;
            Ok(Packet::Data(content))
        }
        _ => Err(invalid("malformed packet length")),
    }
}

/// Appends `content` as one packet. Content is never longer than the format can hold: 65,516 bytes.
pub(crate) fn write(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(format!("{:04x}", content.len() + 4).as_bytes());
    out.extend_from_slice(content);
}

/// Appends `0000`.
pub(crate) fn flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Appends `0001`.
pub(crate) fn delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// The first side band of a stream of packets, as a stream of its own; what the server prints on the second is kept.
pub(crate) struct Bands<R> {
    input: BufReader<R>,
    content: Vec<u8>,
    position: usize,
    ended: bool,
    messages: Vec<u8>,
}

/// More than this the server need not tell us.
const MESSAGES_LIMIT_BYTES: usize = 16 << 10;

impl<R: Read> Bands<R> {
    pub fn new(input: BufReader<R>) -> Self {
        Self { input, content: Vec::new(), position: 0, ended: false, messages: Vec::new() }
    }

    /// What the server printed so far, without control characters.
    pub fn messages(&self) -> String {
        let text = String::from_utf8_lossy(&self.messages).replace('\r', "\n");
        let lines = text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

impl<R: Read> BufRead for Bands<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.content.len() && !self.ended {
            let Packet::Data(mut content) = read(&mut self.input)? else {
                self.ended = true;
                break;
            };
            match content.first() {
                Some(1) => {
                    self.content = content;
                    self.position = 1;
                }
                Some(2) => {
                    let room = MESSAGES_LIMIT_BYTES.saturating_sub(self.messages.len());
                    self.messages.extend(content.drain(1..).take(room));
                }
                Some(3) => return Err(io::Error::other(String::from_utf8_lossy(&content[1..]).trim().to_owned())),
                None => {}
                Some(_) => return Err(invalid("unknown side band")),
            }
        }
        Ok(&self.content[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.content.len());
    }
}

impl<R: Read> Read for Bands<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

/// An error that says that the other side does not keep to the protocol.
pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_come_back_as_written() {
        let mut out = Vec::new();
        write(&mut out, b"command=ls-refs\n");
        delimiter(&mut out);
        write(&mut out, b"");
        flush(&mut out);
        let input = &mut out.as_slice();
        assert_eq!(read(input).unwrap().line().as_deref(), Some("command=ls-refs"));
        assert_eq!(read(input).unwrap(), Packet::Delimiter);
        assert_eq!(read(input).unwrap(), Packet::Data(Vec::new()));
        assert_eq!(read(input).unwrap(), Packet::Flush);
        assert_eq!(read(input).unwrap(), Packet::End);
    }

    #[test]
    fn malformed_packets_are_errors() {
        for bad in [&b"00"[..], b"zzzz", b"0002", b"0003", b"+00a", b"0010short"] {
            assert!(read(&mut &*bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bands_part_content_from_messages() {
        let mut out = Vec::new();
        for packet in [&b"\x01pa"[..], b"\x02hello\rwor\x1bld\n", b"", b"\x01ck"] {
            write(&mut out, packet);
        }
        flush(&mut out);
        let mut bands = Bands::new(BufReader::new(out.as_slice()));
        let mut content = String::new();
        bands.read_to_string(&mut content).unwrap();
        assert_eq!(content, "pack");
        assert_eq!(bands.messages(), "hello\nworld");
        let mut fatal = Vec::new();
        write(&mut fatal, b"\x03out of memory\n");
        let error = Bands::new(BufReader::new(fatal.as_slice())).read_to_string(&mut content).unwrap_err();
        assert_eq!(error.to_string(), "out of memory");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut sink = Vec::new();
            let _ = Bands::new(BufReader::new(bytes.as_slice())).read_to_end(&mut sink);
        }
    }
}
