//! Proves an object while it streams in: no byte is handed on before it is known to be the one that was saved.
//!
//! One digest at the end comes too late: by then a dump has been loaded, and a dump is SQL that runs as super user. So the digest is noted
//! every [`STEP`] bytes while the object is written. That costs nothing: it is the same running SHA-256, looked at on its way. A reader that has
//! those marks from a source it trusts (a signed manifest) holds back each stretch until the digest up to its end is the noted one.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes between two marks: what a reader holds in memory at once. An object of 100 GB has 6,000 marks, 400 kB in its manifest.
pub const STEP: u64 = 16 << 20;
/// A manifest that asks for longer stretches is not one of ours.
const LONGEST_STEP: u64 = 256 << 20;

/// Takes the digest of what is written, and notes it every [`STEP`] bytes.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    sha256: Sha256,
    bytes: u64,
    marks: Vec<[u8; 32]>,
}

impl Ledger {
    /// Takes in what comes next.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(STEP - self.bytes % STEP).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.sha256.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(STEP) {
                self.marks.push(self.sha256.clone().finalize().into());
            }
            bytes = later;
        }
    }

    /// How many bytes it has taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all, and the marks.
    pub fn finish(self) -> ([u8; 32], Vec<[u8; 32]>) {
        (self.sha256.finalize().into(), self.marks)
    }
}

/// The SHA-256 of a short text.
pub fn sha256(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What an object has to be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its length.
    pub bytes: u64,
    /// Length of its head, which the marks don't cover.
    pub head_bytes: u64,
    /// The head's SHA-256.
    pub head: [u8; 32],
    /// Bytes between two marks.
    pub step: u64,
    /// SHA-256 of everything from behind the head to each mark.
    pub marks: Vec<[u8; 32]>,
    /// SHA-256 of everything behind the head.
    pub behind_head: [u8; 32],
}

/// An object is not the one that it has to be.
#[derive(Debug, thiserror::Error)]
#[error("the object is not the one that was signed: it was changed or replaced ({0})")]
pub struct Unproven(String);

/// A reader that hands on what is proven, and nothing else.
#[derive(Debug)]
pub struct Proven<R> {
    reader: R,
    expected: Expected,
    sha256: Sha256,
    /// Bytes of the object that were proven.
    passed: u64,
    stretch: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Proven<R> {
    /// Reads an object that has to be the expected one.
    ///
    /// # Errors
    /// When what is expected contradicts itself.
    pub fn new(reader: R, expected: Expected) -> Result<Self, Unproven> {
        let behind_head = expected.bytes.checked_sub(expected.head_bytes);
        let marks = behind_head.and_then(|bytes| bytes.checked_div(expected.step));
        if expected.step > LONGEST_STEP || marks != Some(expected.marks.len() as u64) {
            return Err(Unproven("its description contradicts itself".to_owned()));
        }
        let sha256 = Sha256::new();
        Ok(Self { reader, expected, sha256, passed: 0, stretch: Vec::new(), at: 0, ended: false })
    }

    /// Reads and proves the next stretch: the head, as far as the next mark, or the rest.
    fn advance(&mut self) -> io::Result<()> {
        let expected = &self.expected;
        let in_head = self.passed < expected.head_bytes;
        let behind_head = self.passed.saturating_sub(expected.head_bytes);
        let left = expected.bytes - self.passed;
        let length = if in_head { expected.head_bytes } else { left.min(expected.step) };
        self.stretch.clear();
        self.at = 0;
        let read = self.reader.by_ref().take(length).read_to_end(&mut self.stretch)? as u64;
        if read < length {
            return Err(unproven(&format!("it ends after {} of {} bytes", self.passed + read, expected.bytes)));
        }
        let (found, wanted) = if in_head {
            (sha256(&self.stretch), Some(&expected.head))
        } else {
            self.sha256.update(&self.stretch);
            let mark = usize::try_from(behind_head / expected.step).ok().and_then(|index| expected.marks.get(index));
            let whole = read == left && read < expected.step;
            let wanted = if whole { Some(&expected.behind_head) } else { mark };
            (self.sha256.clone().finalize().into(), wanted)
        };
        if wanted != Some(&found) {
            let (from, to) = (self.passed, self.passed + read);
            return Err(unproven(&format!("between the bytes {from} and {to}")));
        }
        self.passed += read;
        if self.passed == self.expected.bytes {
            let mut more = [0];
            if self.reader.read(&mut more)? > 0 {
                return Err(unproven("something follows behind its end"));
            }
            // Where the last stretch ended at a mark, the digest of all has not been asked for.
            if <[u8; 32]>::from(self.sha256.clone().finalize()) != self.expected.behind_head {
                return Err(unproven("its description contradicts itself"));
            }
            self.ended = true;
        }
        Ok(())
    }
}

fn unproven(what: &str) -> io::Error {
    io::Error::other(Unproven(what.to_owned()))
}

impl<R: Read> Read for Proven<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.stretch.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            if let Err(error) = self.advance() {
                // What could not be proven is not there for whoever asks again.
                self.stretch.clear();
                return Err(error);
            }
        }
        let ready = self.stretch.get(self.at..).unwrap_or_default();
        let length = ready.len().min(buffer.len());
        let (target, source) = (buffer.get_mut(..length), ready.get(..length));
        if let (Some(target), Some(source)) = (target, source) {
            target.copy_from_slice(source);
        }
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: usize = 535;

    fn object(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    /// With a step of its own, as 16 MiB would be slow here.
    fn expected(object: &[u8], head: usize, step: usize) -> Expected {
        let (head, rest) = object.split_at(head);
        Expected {
            bytes: object.len() as u64,
            head_bytes: head.len() as u64,
            head: sha256(head),
            step: step as u64,
            marks: (1..=rest.len() / step).map(|mark| sha256(&rest[..mark * step])).collect(),
            behind_head: sha256(rest),
        }
    }

    fn read(object: &[u8], expected: &Expected) -> (Vec<u8>, io::Result<usize>) {
        let mut got = Vec::new();
        let result = Proven::new(object, expected.clone()).unwrap().read_to_end(&mut got);
        (got, result)
    }

    #[test]
    fn hands_on_what_was_saved() {
        for (length, head) in [(0, 0), (1, 0), (100, 0), (200, 0), (HEAD, HEAD), (HEAD + 100, HEAD), (HEAD + 250, HEAD)]
        {
            let object = object(length);
            let (got, result) = read(&object, &expected(&object, head, 100));
            result.unwrap();
            assert_eq!(got, object, "{length} {head}");
        }
    }

    #[test]
    fn no_changed_byte_comes_through() {
        let object = object(HEAD + 250);
        let expected = expected(&object, HEAD, 100);
        for at in 0..object.len() {
            let mut changed = object.clone();
            changed[at] ^= 1;
            let (got, result) = read(&changed, &expected);
            assert!(result.unwrap_err().to_string().contains("changed or replaced"), "{at}");
            assert!(got.len() <= at && object.starts_with(&got), "{at}: {} bytes came through", got.len());
        }
        for cut in 0..object.len() {
            let (got, result) = read(&object[..cut], &expected);
            assert!(result.is_err() && got.len() <= cut, "{cut}");
        }
        let longer = [object.clone(), vec![0]].concat();
        assert!(read(&longer, &expected).1.is_err());
    }

    #[test]
    fn a_description_that_contradicts_itself_is_refused() {
        let object = object(300);
        let good = expected(&object, 0, 100);
        for bad in [
            Expected { marks: Vec::new(), ..good.clone() },
            Expected { step: 0, ..good.clone() },
            Expected { step: u64::MAX, marks: Vec::new(), ..good.clone() },
            Expected { head_bytes: 301, ..good.clone() },
        ] {
            assert!(Proven::new(object.as_slice(), bad).is_err());
        }
        let other_end = Expected { behind_head: [0; 32], ..good };
        assert!(read(&object, &other_end).1.is_err());
    }

    #[test]
    fn the_ledger_notes_what_the_reader_asks_for() {
        let object = object(usize::try_from(STEP).unwrap() * 2 + 1000);
        let mut ledger = Ledger::default();
        for piece in object[HEAD..].chunks(700_001) {
            ledger.update(piece);
        }
        assert_eq!(ledger.bytes(), (object.len() - HEAD) as u64);
        let (behind_head, marks) = ledger.finish();
        assert_eq!(marks.len(), 2);
        let expected = Expected { behind_head, marks, step: STEP, ..expected(&object, HEAD, object.len()) };
        let (got, result) = read(&object, &expected);
        result.unwrap();
        assert_eq!(got, object);
    }
}
