//! What happened, as a hash and, if asked for, as lines.

use std::fmt::Write;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a over everything that is noted: two runs of one seed give the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher(u64);

impl Default for Hasher {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Hasher {
    pub fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }

    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub const fn value(self) -> u64 {
        self.0
    }
}

/// Most lines that are kept: the last ones, which say what led to the end.
const MAX_LINES: usize = 20_000;

/// The trace of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Hasher,
    lines: Option<Vec<String>>,
    pub step: u64,
}

impl Trace {
    pub fn new(lines: bool) -> Self {
        Self { lines: lines.then(Vec::new), ..Self::default() }
    }

    /// Notes an event: its name and its numbers.
    pub fn note(&mut self, what: &'static str, numbers: &[u64]) {
        self.hash.bytes(what.as_bytes());
        for number in numbers {
            self.hash.number(*number);
        }
        if self.lines.is_some() {
            let mut line = what.to_owned();
            for number in numbers {
                let _ = write!(line, " {number}");
            }
            self.line(&line);
        }
    }

    /// Notes an event with a text; `text` is called in any case, because it is part of the hash.
    pub fn say(&mut self, what: &'static str, text: &str) {
        self.hash.bytes(what.as_bytes());
        self.hash.bytes(text.as_bytes());
        if self.lines.is_some() {
            self.line(&format!("{what} {text}"));
        }
    }

    fn line(&mut self, line: &str) {
        let step = self.step;
        if let Some(lines) = &mut self.lines {
            if lines.len() >= MAX_LINES {
                lines.drain(..MAX_LINES / 2);
            }
            lines.push(format!("{step:>6}  {line}"));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.value()
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
