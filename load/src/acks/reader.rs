//! Reads acknowledgements back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::AckLine;
use crate::VerifyError;

/// Longest line accepted.
const LINE_MAX: u64 = 16 * 1024;

/// Reads the file line by line.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    size: u64,
    at: u64,
    line: u64,
    torn: bool,
}

impl Reader {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, VerifyError> {
        let failed = |source| VerifyError::Read { file: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(256 * 1024, file),
            size,
            at: 0,
            line: 0,
            torn: false,
        })
    }

    /// The next acknowledgement; `None` at the end. A last line without its line end may be half
    /// written: when it does not parse it was never counted and is passed over.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no acknowledgement. After the latter
    /// ([`VerifyError::Line`]) the next call goes on with the line behind it.
    pub fn next_line(&mut self) -> Result<Option<AckLine>, VerifyError> {
        let mut text = Vec::new();
        if self.read_part(&mut text)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let whole = text.pop_if(|last| *last == b'\n').is_some();
        if !whole && text.len() as u64 >= LINE_MAX {
            self.skip_line()?;
            return Err(self.bad_line(format!("longer than {LINE_MAX} bytes")));
        }
        match parse(&text) {
            Ok(ack) => Ok(Some(ack)),
            Err(_) if !whole && self.at >= self.size => {
                self.torn = true;
                Ok(None)
            }
            Err(reason) => Err(self.bad_line(reason)),
        }
    }

    /// Reads up to the end of the line, or [`LINE_MAX`] bytes of it.
    fn read_part(&mut self, text: &mut Vec<u8>) -> Result<usize, VerifyError> {
        let read = (&mut self.file).take(LINE_MAX).read_until(b'\n', text);
        let read = read.map_err(|source: io::Error| VerifyError::Read { file: self.path.clone(), source })?;
        self.at += read as u64;
        Ok(read)
    }

    fn skip_line(&mut self) -> Result<(), VerifyError> {
        let mut part = Vec::new();
        while self.read_part(&mut part)? > 0 && part.last() != Some(&b'\n') {
            part.clear();
        }
        Ok(())
    }

    fn bad_line(&self, reason: String) -> VerifyError {
        VerifyError::Line { file: self.path.clone(), line: self.line, reason }
    }

    /// How much of the file has been read, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown as a percentage")]
    pub fn fraction(&self) -> f64 {
        if self.size == 0 { 1.0 } else { self.at as f64 / self.size as f64 }
    }

    /// Whether a torn last line was passed over.
    #[must_use]
    pub const fn torn(&self) -> bool {
        self.torn
    }
}

/// What a line says. Its id and token go into a request, so only characters that end neither a path nor a field pass.
fn parse(text: &[u8]) -> Result<AckLine, String> {
    if text.trim_ascii().is_empty() {
        return Err("an empty line".into());
    }
    let ack: AckLine = serde_json::from_slice(text).map_err(|error| format!("no acknowledgement: {error}"))?;
    let plain = |text: &str, others: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    if !plain(&ack.id, b"_-") {
        return Err("`id` is no order id".into());
    }
    if !plain(&ack.token, b"_-.~+/=") {
        return Err("`token` is no access token".into());
    }
    Ok(ack)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"id":"ord_1","key":"k","user":"u","digest":"d","token":"t","t_sent":1,"t_ack":2}"#;

    fn read(text: &str) -> Result<(usize, bool), VerifyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        std::fs::write(&path, text).unwrap();
        let mut reader = Reader::open(&path)?;
        let mut lines = 0;
        while reader.next_line()?.is_some() {
            lines += 1;
        }
        Ok((lines, reader.torn()))
    }

    #[test]
    fn a_torn_last_line_is_passed_over() {
        let torn = &LINE[..30];
        assert_eq!(read(&format!("{LINE}\n{torn}")).unwrap(), (1, true));
        assert_eq!(read(&format!("{LINE}\n{LINE}")).unwrap(), (2, false));
    }

    #[test]
    fn a_bad_line_elsewhere_is_named() {
        let torn = &LINE[..30];
        let error = read(&format!("{LINE}\n{torn}\n{LINE}\n")).unwrap_err().to_string();
        assert!(error.contains("acks:2:"), "{error}");
        let error = read(&format!("{LINE}\n{torn}\n")).unwrap_err().to_string();
        assert!(error.contains("acks:2:"), "a whole last line is no torn one: {error}");
    }

    #[test]
    fn a_line_without_end_is_refused_rather_than_held_in_memory() {
        let endless = "x".repeat(100_000);
        assert!(read(&endless).unwrap_err().to_string().contains("acks:1:"));
    }

    #[test]
    fn reading_goes_on_behind_bad_lines_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let injected = LINE.replace("\"t\"", "\"t\\r\\nX: y\"");
        std::fs::write(&path, format!("{}\n{LINE}\n\n{injected}\n{LINE}\n", "x".repeat(100_000))).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let (mut good, mut bad) = (0, Vec::new());
        loop {
            match reader.next_line() {
                Ok(Some(_)) => good += 1,
                Ok(None) => break,
                Err(VerifyError::Line { line, .. }) => bad.push(line),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((good, bad), (2, vec![1, 3, 4]));
    }
}
