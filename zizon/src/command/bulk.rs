//! Many writes of an operator from a file, a JSON document on each line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::Result;
use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zizon_base::role::Role;

use super::operator::{Operator, OperatorRole};
use crate::{
    cli::Local,
    exit::Failure,
    output::{self, ProgressLine, grouped},
};

/// Writes under way at a time, each over a connection of its own.
const WIDTH: usize = 32;
/// Lines read before they are sent: reading may block, and nothing may wait for an answer meanwhile.
const PART: usize = 4_096;
/// Longest line, bytes.
const LINE_MAX: u64 = 1024 * 1024;

/// Where a document goes, and what is sent there.
pub struct Placed<T> {
    /// Path of the route.
    pub path: String,
    /// Body of the request.
    pub body: T,
}

/// Puts every line of `file` (`-`: standard input) where `place` says, and reports how many there were. Ends at the first
/// line that is refused; lines before it, and up to 31 after it, may have been written.
pub async fn put_lines<L: DeserializeOwned, T: Serialize + Sync>(
    local: &Local,
    role: Role,
    file: &Path,
    shape: &str,
    place: impl Fn(L) -> Placed<T>,
) -> Result<()> {
    let mut lines = Lines::open(file, shape)?;
    let operator = Operator::connect(&local.data).await?;
    let role = Arc::new(operator.role(role)?);
    let began = Instant::now();
    let mut written = 0;
    let mut progress = ProgressLine::default();
    loop {
        let mut part = Vec::with_capacity(PART);
        while part.len() < PART
            && let Some((number, line)) = lines.next()?
        {
            let Placed { path, body } = place(line);
            part.push((number, path, serde_json::to_vec(&body)?));
        }
        if part.is_empty() {
            break;
        }
        written += part.len();
        send_all(&role, part).await.map_err(|(number, error)| at_line(file, number, error))?;
        progress.show(&format!("{} written", grouped(&written.to_string())));
    }
    if written == 0 {
        return Err(Failure::usage(format!("{} has no lines", file.display()), shape).into());
    }
    drop(progress);
    let seconds = began.elapsed().as_secs_f64();
    if local.json {
        return output::json(&json!({ "written": written, "seconds": seconds }));
    }
    output::line(&format!("{} written in {seconds:.1} s", grouped(&written.to_string())));
    Ok(())
}

async fn send_all(role: &Arc<OperatorRole>, part: Vec<(u64, String, Vec<u8>)>) -> Result<(), (u64, anyhow::Error)> {
    let mut under_way = JoinSet::new();
    let mut rest = part.into_iter();
    loop {
        while under_way.len() < WIDTH
            && let Some((number, path, body)) = rest.next()
        {
            let role = Arc::clone(role);
            under_way.spawn(async move {
                role.call::<Value>(Method::PUT, &path, Some(body)).await.map_err(|error| (number, error))
            });
        }
        match under_way.join_next().await {
            Some(done) => drop(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?),
            None => return Ok(()),
        }
    }
}

fn at_line(file: &Path, number: u64, error: anyhow::Error) -> anyhow::Error {
    let place = format!("{}:{number}", file.display());
    match error.downcast::<Failure>() {
        Ok(failure) => Failure { message: format!("{place}: {}", failure.message), ..failure }.into(),
        Err(error) => error.context(place),
    }
}

/// The documents of a file with their line numbers; empty lines are skipped.
struct Lines<'a> {
    reader: Box<dyn BufRead>,
    file: &'a Path,
    shape: &'a str,
    number: u64,
}

impl<'a> Lines<'a> {
    fn open(file: &'a Path, shape: &'a str) -> Result<Self> {
        let reader: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let opened = File::open(file).map_err(|error| {
                Failure::usage(
                    format!("cannot read {}: {error}", file.display()),
                    "name a file with a JSON document on each line, or - for standard input",
                )
            })?;
            Box::new(BufReader::new(opened))
        };
        Ok(Self { reader, file, shape, number: 0 })
    }

    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<(u64, T)>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LINE_MAX + 1).read_until(b'\n', &mut line);
            let read = read.map_err(|error| self.wrong(&error.to_string()))?;
            self.number += 1;
            if read == 0 {
                return Ok(None);
            }
            if line.len() as u64 > LINE_MAX {
                return Err(self.wrong("longer than 1 MiB").into());
            }
            if !line.trim_ascii().is_empty() {
                let document = serde_json::from_slice(&line).map_err(|error| self.wrong(&error.to_string()))?;
                return Ok(Some((self.number, document)));
            }
        }
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::usage(format!("{}:{}: {why}", self.file.display(), self.number), self.shape)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop here")]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<(u64, Value)>> {
        let reader = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        let mut lines = Lines { reader, file: Path::new("f.jsonl"), shape: "write {}", number: 0 };
        let mut all = Vec::new();
        while let Some(line) = lines.next()? {
            all.push(line);
        }
        Ok(all)
    }

    #[test]
    fn lines_are_numbered_and_empty_ones_skipped() {
        let numbers: Vec<u64> = lines("{}\n\n  \n[1]").unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 4]);
    }

    #[test]
    fn a_line_that_is_no_document_is_named() {
        let error = lines("{}\n{\n").unwrap_err();
        assert!(error.to_string().starts_with("f.jsonl:2: "), "{error}");
        let long = format!("\"{}\"", "x".repeat(1024 * 1024));
        assert_eq!(lines(&long).unwrap_err().to_string(), "f.jsonl:1: longer than 1 MiB");
    }
}
