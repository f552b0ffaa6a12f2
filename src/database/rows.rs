//! A table's rows over the wire, as fast as the server gives them, in the shape the archive needs.
//!
//! `docker exec` copies and re-frames every byte three times: a dump through it takes two to three times as long as pg_dump itself.
//! So the rows come by TCP. And because the header of a CopyData message (`d`, length as 4 bytes big-endian, which count
//! themselves) is as long as the header of a chunk in pg_dump's custom format (a sign byte, length as 4 bytes little-endian), the
//! stream is turned into archive blocks in place, without copying, and each message is one row: exact counts come free.
//! The `postgres` crate hands out rows one by one and takes three times the CPU time for it; this speaks the protocol itself,
//! with the `postgres-protocol` crate for messages and authentication.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::{backend, frontend};
use xxhash_rust::xxh3::Xxh3Default;

use crate::checksum::Sum;
use crate::database::session::{CONNECT_TIMEOUT, FROM_THE_START, PLAIN_SETTINGS, PORT, SET_LATER_TIMEOUTS};
use crate::database::{APPLICATION, literal};
use crate::interrupt;
use crate::service::{Address, RunningService};

/// Large enough that system calls don't count, small enough to stay in the cache.
const BUFFER: usize = 256 * 1024;
/// How often a silent server lets us look for Ctrl-C.
const POLL: Duration = Duration::from_millis(500);
/// A server that sends nothing for this long while rows are due is gone (a paused container, a dead disk).
const SILENCE: Duration = Duration::from_mins(10);
/// Every message begins with a type and a length that counts itself but not the type.
const MESSAGE_HEADER: usize = 5;

/// The wire: to a service's address, or to the socket of a throw-away container that has none.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Network(address) => {
                let stream = TcpStream::connect_timeout(&SocketAddr::new(*address, PORT), CONNECT_TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(POLL))?;
                Ok(Self::Tcp(stream))
            }
            Address::Socket(folder) => {
                let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{PORT}")))?;
                stream.set_read_timeout(Some(POLL))?;
                Ok(Self::Unix(stream))
            }
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

/// A session that only copies rows out.
pub struct RowSession {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl RowSession {
    /// Joins a snapshot.
    ///
    /// # Errors
    /// In the server's words.
    pub fn join(service: &RunningService, database: &str, encoding: &str, snapshot: &str) -> Result<Self> {
        let mut session = Self::open(service, database, encoding)?;
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        session.execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(snapshot)))?;
        Ok(session)
    }

    /// Opens a session that sees what is there.
    ///
    /// # Errors
    /// In the server's words.
    pub fn open(service: &RunningService, database: &str, encoding: &str) -> Result<Self> {
        let stream = Stream::open(&service.address)
            .with_context(|| format!("Can't connect to PostgreSQL at {}", service.address))?;
        let mut session = Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0 };
        session.log_in(service.service.password.reveal(), database)?;
        session.execute(PLAIN_SETTINGS)?;
        session.execute(SET_LATER_TIMEOUTS)?;
        // The bytes must be those that pg_dump would have written: the database's own encoding, not ours.
        session.execute(&format!("SET client_encoding = {}", literal(encoding)))?;
        Ok(session)
    }

    /// Runs `COPY … TO STDOUT` and writes each row as a chunk of pg_dump's custom format. Returns the number of rows. Where a
    /// sum is given, each row (its line, with the end) is added to it.
    ///
    /// # Errors
    /// In the server's words, or the sink's own error.
    pub fn copy_as_chunks(&mut self, statement: &str, sink: &mut dyn Write, mut sum: Option<&mut Sum>) -> Result<u64> {
        self.send(statement)?;
        let mut rows = 0;
        let mut told = None;
        loop {
            // A run of whole CopyData messages is rewritten in place and handed on in one piece.
            let mut at = self.start;
            let mut large = 0;
            while let Some((b'd', length)) = message(&self.buffer, at, self.end) {
                as_chunk(&mut self.buffer, at, length)?;
                rows += 1;
                let next = at + MESSAGE_HEADER + length;
                if next > self.end {
                    large = next - self.end;
                    break;
                }
                if let Some(sum) = sum.as_deref_mut() {
                    sum.add(self.buffer.get(at + MESSAGE_HEADER..next).unwrap_or_default());
                }
                at = next;
            }
            if large > 0 {
                let mut hash = sum.is_some().then(Xxh3Default::new);
                if let Some(hash) = &mut hash {
                    hash.update(self.buffer.get(at + MESSAGE_HEADER..self.end).unwrap_or_default());
                }
                sink.write_all(self.buffer.get(self.start..self.end).unwrap_or_default())?;
                self.pass_on(large, sink, hash.as_mut())?;
                if let (Some(sum), Some(hash)) = (sum.as_deref_mut(), hash) {
                    sum.add_hash(hash.digest128());
                }
                continue;
            }
            if at > self.start {
                sink.write_all(self.buffer.get(self.start..at).unwrap_or_default())?;
                self.start = at;
            }
            match self.next_kind()? {
                b'd' => {}
                b'H' | b'c' => drop(self.take()?),
                b'C' => told = copied(&self.take()?),
                b'Z' => {
                    drop(self.take()?);
                    break;
                }
                _ => self.other()?,
            }
        }
        if told == Some(rows) {
            Ok(rows)
        } else {
            bail!("The server says that it sent {told:?} rows, but {rows} arrived")
        }
    }

    /// The rest of a message that is larger than the buffer.
    fn pass_on(&mut self, mut left: usize, sink: &mut dyn Write, mut hash: Option<&mut Xxh3Default>) -> Result<()> {
        while left > 0 {
            self.start = 0;
            self.end = 0;
            self.fill()?;
            let now = left.min(self.end);
            let piece = self.buffer.get(..now).unwrap_or_default();
            if let Some(hash) = hash.as_deref_mut() {
                hash.update(piece);
            }
            sink.write_all(piece)?;
            self.start = now;
            left -= now;
        }
        Ok(())
    }

    fn log_in(&mut self, password: &str, database: &str) -> Result<()> {
        let parameters = [
            ("user", "postgres"),
            ("database", database),
            ("application_name", APPLICATION),
            ("options", FROM_THE_START),
        ];
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message)?;
        self.stream.writer().write_all(&message)?;
        let mut scram = None;
        loop {
            let mut answer = BytesMut::new();
            match self.parsed()? {
                backend::Message::AuthenticationOk
                | backend::Message::AuthenticationSaslFinal(_)
                | backend::Message::ParameterStatus(_)
                | backend::Message::BackendKeyData(_)
                | backend::Message::NoticeResponse(_) => {}
                backend::Message::ReadyForQuery(_) => return Ok(()),
                backend::Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password.as_bytes(), &mut answer)?;
                }
                backend::Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(b"postgres", password.as_bytes(), body.salt());
                    frontend::password_message(hash.as_bytes(), &mut answer)?;
                }
                backend::Message::AuthenticationSasl(body) => {
                    if !body.mechanisms().any(|name| Ok(name == sasl::SCRAM_SHA_256))? {
                        bail!("The server asks for a way of authentication that is not known here");
                    }
                    let exchange = sasl::ScramSha256::new(password.as_bytes(), sasl::ChannelBinding::unsupported());
                    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, exchange.message(), &mut answer)?;
                    scram = Some(exchange);
                }
                backend::Message::AuthenticationSaslContinue(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| anyhow!("The server's authentication is out of order"))?;
                    exchange.update(body.data())?;
                    frontend::sasl_response(exchange.message(), &mut answer)?;
                }
                backend::Message::ErrorResponse(body) => return Err(server_error(&body)),
                _ => bail!("The server answers the login with something unknown"),
            }
            self.stream.writer().write_all(&answer)?;
        }
    }

    /// Runs a statement whose result doesn't matter.
    ///
    /// # Errors
    /// In the server's words.
    pub fn execute(&mut self, statement: &str) -> Result<()> {
        self.send(statement)?;
        loop {
            match self.parsed()? {
                backend::Message::ReadyForQuery(_) => return Ok(()),
                backend::Message::ErrorResponse(body) => return Err(server_error(&body)),
                _ => {}
            }
        }
    }

    fn send(&mut self, statement: &str) -> Result<()> {
        let mut message = BytesMut::new();
        frontend::query(statement, &mut message)?;
        self.stream.writer().write_all(&message).context("sending to PostgreSQL")
    }

    /// The kind of the next message, once its header is there.
    fn next_kind(&mut self) -> Result<u8> {
        loop {
            if let Some((kind, _)) = message(&self.buffer, self.start, self.end) {
                return Ok(kind);
            }
            self.make_room();
            self.fill()?;
        }
    }

    /// The next message, whole. It must fit into the buffer: rows are not read this way.
    fn take(&mut self) -> Result<BytesMut> {
        loop {
            if let Some((_, length)) = message(&self.buffer, self.start, self.end) {
                let end = self.start + MESSAGE_HEADER + length;
                if end <= self.end {
                    let whole = BytesMut::from(self.buffer.get(self.start..end).unwrap_or_default());
                    self.start = end;
                    return Ok(whole);
                }
                if MESSAGE_HEADER + length > self.buffer.len() {
                    bail!("The server sent a message of {length} bytes that makes no sense here");
                }
            }
            self.make_room();
            self.fill()?;
        }
    }

    fn parsed(&mut self) -> Result<backend::Message> {
        backend::Message::parse(&mut self.take()?)?.ok_or_else(|| anyhow!("The server's message is cut off"))
    }

    /// Anything that is not part of a COPY: an error ends it, notices and settings don't matter.
    fn other(&mut self) -> Result<()> {
        match self.parsed()? {
            backend::Message::ErrorResponse(body) => Err(server_error(&body)),
            _ => Ok(()),
        }
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let since = Instant::now();
        loop {
            // Here and not only when nothing comes: a large table keeps coming for hours.
            interrupt::check()?;
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.stream.reader().read(free) {
                Ok(0) => bail!("PostgreSQL closed the connection (the server was stopped, or the session was ended)"),
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) =>
                {
                    if since.elapsed() > SILENCE {
                        bail!("PostgreSQL has sent nothing for {} minutes", SILENCE.as_secs() / 60);
                    }
                }
                Err(error) => return Err(error).context("reading from PostgreSQL"),
            }
        }
    }
}

impl Drop for RowSession {
    /// Says goodbye, so that the server's log has no word of a lost client.
    fn drop(&mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = self.stream.writer().write_all(&message);
    }
}

/// Kind of the message at `at` and the length of its body, when its header is there.
fn message(buffer: &[u8], at: usize, end: usize) -> Option<(u8, usize)> {
    let header: &[u8; MESSAGE_HEADER] = buffer.get(at..end)?.first_chunk()?;
    let [kind, length @ ..] = *header;
    Some((kind, (u32::from_be_bytes(length) as usize).checked_sub(4)?))
}

/// Turns the header of a CopyData message into the header of a chunk.
fn as_chunk(buffer: &mut [u8], at: usize, length: usize) -> Result<()> {
    let header =
        buffer.get_mut(at..at + MESSAGE_HEADER).ok_or_else(|| anyhow!("a row begins outside of the buffer"))?;
    let length = u32::try_from(length).context("a row is too long")?;
    header.copy_from_slice(&crate::custom_format::chunk_header(length));
    Ok(())
}

/// The number in the tag `COPY 562`.
fn copied(message: &[u8]) -> Option<u64> {
    let tag = message.get(MESSAGE_HEADER..)?.strip_suffix(&[0])?;
    std::str::from_utf8(tag).ok()?.strip_prefix("COPY ")?.parse().ok()
}

/// What the server refused with.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// SQLSTATE: "55P03" when a lock could not be had in time.
    pub code: String,
    text: String,
}

fn server_error(body: &backend::ErrorResponseBody) -> anyhow::Error {
    let mut fields = body.fields();
    let mut refused = Refused { code: String::new(), text: String::from("PostgreSQL refuses") };
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes());
        match field.type_() {
            b'C' => refused.code = value.into_owned(),
            b'M' => refused.text = value.into_owned(),
            b'D' | b'H' => refused.text = format!("{}; {value}", refused.text),
            _ => {}
        }
    }
    refused.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_header_becomes_a_chunk_header_in_place() {
        let mut buffer = vec![b'd', 0, 0, 1, 4 + 3, b'x'];
        assert_eq!(message(&buffer, 0, 6), Some((b'd', 259)));
        as_chunk(&mut buffer, 0, 259).unwrap();
        assert_eq!(buffer, [0, 3, 1, 0, 0, b'x']);
    }

    #[test]
    fn reads_the_tag() {
        assert_eq!(copied(b"C\0\0\0\x0dCOPY 562\0"), Some(562));
        assert_eq!(copied(b"C\0\0\0\x0bSELECT\0"), None);
    }
}
