//! Backups of a data directory, and restoring them.
//!
//! A backup is a directory ([`place`]): files that never change once they are there, and one manifest ([`manifest`]) that names those
//! that count, with their checksums. Taking one ([`take`]) reads the data directory as it is on the disk, whether the platform runs or
//! not; restoring one ([`restore`]) makes a data directory and checks it before anybody can use it.

mod ground;
pub mod interrupt;
mod layout;
pub mod manifest;
pub mod place;
pub mod restore;
mod room;
pub mod take;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use crate::exit::Failure;

pub use layout::STORES;

/// What goes on, for a progress line.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// A file that could not be used.
pub fn file_failure(what: &str, file: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there, and run the command again",
        io::ErrorKind::PermissionDenied => "run the command as the user that started the platform",
        _ => "check the disk, and run the command again",
    };
    Failure::unknown(format!("cannot {what} {}: {error}", file.display()), remedy)
}

/// Milliseconds since the epoch.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// 16 random bytes.
fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}

/// The path without links, also where its end is not there yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for there in path.ancestors() {
        match fs::canonicalize(there) {
            Ok(found) => {
                let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
                return Ok(if rest.as_os_str().is_empty() { found } else { found.join(rest) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_failure("look at", there, &error).into()),
        }
    }
    Ok(path)
}

/// Refuses one directory inside the other: a copy would hold copies of itself. Both without links: see [`resolved`].
fn apart(data: &Path, dir: &Path) -> Result<()> {
    if data.starts_with(dir) || dir.starts_with(data) {
        let message = format!("{} and {} are in one another", dir.display(), data.display());
        return Err(Failure::usage(message, "keep backups beside the data directory, best on another disk").into());
    }
    Ok(())
}
