//! Where in an SQL text a byte stands: in a string, a name, a function's body, a comment, or where psql looks for its commands.
//!
//! The rules are psql's own (`psqlscan.l`): `'…'` with doubled quotes, `E'…'` with backslashes too (all of them while
//! `standard_conforming_strings` is off), `"…"`, `$tag$…$tag$`, `--` to the line's end, `/* … */` nested.

/// What a byte has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing that matters.
    Within,
    /// A backslash where psql takes one for a command of its own.
    Command,
    /// The `;` that ends a statement.
    StatementEnd,
    /// A line's end outside of strings, names, bodies and `/* */`.
    LineEnd,
}

/// Where we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    #[default]
    Plain,
    /// `'…'`; whether a backslash escapes the next byte, and whether it just did.
    Text {
        escapes: bool,
        escaped: bool,
    },
    /// `"…"`.
    Name,
    /// A dollar and what may become a tag.
    Tag,
    /// `$tag$…$tag$`: how much of the closing tag has come.
    Body {
        matched: usize,
    },
    LineComment,
    /// `/* … */`, and how deep.
    Comment {
        depth: u32,
    },
    /// psql's command, to the end of its line.
    Command,
}

/// How much has been seen of the first word of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum First {
    /// Nothing yet.
    #[default]
    Blank,
    /// So many bytes of [`COPY`], and nothing else.
    Copy(usize),
    /// It is another one, or it is over.
    Past,
}

const COPY: &[u8; 4] = b"copy";

/// Walks over the text byte by byte.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    state: State,
    /// The last two bytes of plain text.
    before: [u8; 2],
    /// The tag of the body at hand, with both dollars.
    tag: Vec<u8>,
    old_strings: bool,
    first: First,
    copies: bool,
}

/// Whether a byte can be part of a name that is not quoted.
fn of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Lexer {
    /// Whether nothing is open.
    pub(super) fn is_plain(&self) -> bool {
        self.state == State::Plain
    }

    /// Whether a command of psql is being read.
    pub(super) fn in_command(&self) -> bool {
        self.state == State::Command
    }

    /// Whether one of the statements since the last [`next_statement`](Self::next_statement) begins with the word COPY, however it is written.
    pub(super) fn copies(&self) -> bool {
        self.copies
    }

    /// A statement has ended with its line.
    pub(super) fn next_statement(&mut self) {
        self.before = [0; 2];
        self.first = First::Blank;
        self.copies = false;
    }

    /// What `SET standard_conforming_strings` says.
    pub(super) fn set_standard_conforming_strings(&mut self, on: bool) {
        self.old_strings = !on;
    }

    /// Takes the next byte.
    pub(super) fn step(&mut self, byte: u8) -> Step {
        match &mut self.state {
            State::Plain => return self.plain(byte),
            State::Text { escapes, escaped } => {
                if *escaped {
                    *escaped = false;
                } else if *escapes && byte == b'\\' {
                    *escaped = true;
                } else if byte == b'\'' {
                    // A doubled quote opens at once what this has closed.
                    let old = self.before;
                    let again = *escapes;
                    self.state = State::Plain;
                    self.before = if again { [b'E', b'\''] } else { [old[1], b'\''] };
                }
            }
            State::Name => {
                if byte == b'"' {
                    self.state = State::Plain;
                    self.before = [0, b'"'];
                }
            }
            State::Tag => return self.tag(byte),
            State::Body { matched } => {
                let expected = self.tag.get(*matched).copied();
                if Some(byte) == expected {
                    *matched += 1;
                    if *matched == self.tag.len() {
                        self.state = State::Plain;
                        self.before = [0, b' '];
                    }
                } else {
                    // A tag has its dollar at both ends only, so a new beginning can only be this very byte.
                    *matched = usize::from(byte == b'$');
                }
            }
            State::Comment { depth } => {
                match [self.before[1], byte] {
                    [b'/', b'*'] => {
                        *depth += 1;
                        self.before = [0; 2];
                        return Step::Within;
                    }
                    [b'*', b'/'] => {
                        *depth -= 1;
                        let over = *depth == 0;
                        self.before = [0, b' '];
                        if over {
                            self.state = State::Plain;
                        }
                        return Step::Within;
                    }
                    _ => {}
                }
                self.before = [self.before[1], byte];
            }
            State::LineComment | State::Command => {
                if byte == b'\n' {
                    self.state = State::Plain;
                    return self.plain(byte);
                }
            }
        }
        Step::Within
    }

    fn plain(&mut self, byte: u8) -> Step {
        let before = self.before;
        self.before = [before[1], byte];
        self.first_word(byte);
        match byte {
            b'\'' => {
                // `E'` with nothing of a name before it; a quote right behind a closed `E'…'` goes on with it.
                let reopened = before == [b'E', b'\''];
                let marked = before[1].eq_ignore_ascii_case(&b'e') && !of_name(before[0]);
                self.state = State::Text { escapes: self.old_strings || reopened || marked, escaped: false };
            }
            b'"' => self.state = State::Name,
            b'$' if !of_name(before[1]) => {
                self.tag.clear();
                self.tag.push(byte);
                self.state = State::Tag;
            }
            b'-' if before[1] == b'-' => self.state = State::LineComment,
            b'*' if before[1] == b'/' => {
                self.state = State::Comment { depth: 1 };
                self.before = [0; 2];
            }
            b'\\' => {
                self.state = State::Command;
                return Step::Command;
            }
            b';' => return Step::StatementEnd,
            b'\n' => return Step::LineEnd,
            _ => {}
        }
        Step::Within
    }

    /// Follows the first word of a statement. What isn't ASCII begins none (a byte order mark is passed over by psql).
    fn first_word(&mut self, byte: u8) {
        self.first = match self.first {
            _ if byte == b';' => {
                self.copies |= self.first == First::Copy(COPY.len());
                First::Blank
            }
            First::Blank if matches!(byte, b'\'' | b'"') => First::Past,
            First::Blank if !byte.is_ascii() || !of_name(byte) => First::Blank,
            First::Blank if byte.eq_ignore_ascii_case(&b'c') => First::Copy(1),
            First::Copy(seen) if COPY.get(seen).is_some_and(|letter| byte.eq_ignore_ascii_case(letter)) => {
                First::Copy(seen + 1)
            }
            First::Copy(seen) => {
                self.copies |= seen == COPY.len() && !of_name(byte);
                First::Past
            }
            First::Blank | First::Past => First::Past,
        };
    }

    /// A byte behind a dollar.
    fn tag(&mut self, byte: u8) -> Step {
        let first = self.tag.len() == 1;
        let fits = byte == b'_' || byte >= 0x80 || byte.is_ascii_alphabetic() || (!first && byte.is_ascii_digit());
        if byte == b'$' {
            self.tag.push(byte);
            self.state = State::Body { matched: 0 };
            return Step::Within;
        }
        if fits && self.tag.len() < 256 {
            self.tag.push(byte);
            return Step::Within;
        }
        // It was no tag: `$1`.
        self.state = State::Plain;
        self.before = [b'$', self.tag.last().copied().unwrap_or(b'$')];
        self.plain(byte)
    }
}
