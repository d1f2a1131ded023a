//! One supervisor per data directory, by an advisory lock that dies with its holder.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::fs::{FlockOperation, flock};

use crate::exit::Failure;

/// How long a lock is waited for: commands that look whether it is held take it for a moment.
const GLANCES: Duration = Duration::from_millis(200);

/// Held while the supervisor runs.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `file` and writes this process's id into it.
    pub fn acquire(file: &Path, data: &Path) -> Result<Self> {
        let mut held =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file).map_err(
                |error| {
                    let remedy = "run this as the directory's owner, or choose a directory of yours with --data";
                    Failure::usage(format!("cannot open {}: {error}", file.display()), remedy)
                },
            )?;
        // Others who could open it could hold it, and nobody could start.
        held.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let deadline = Instant::now() + GLANCES;
        while flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() > deadline {
                return Err(running(&mut held, data).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        held.set_len(0)?;
        held.rewind()?;
        // The lock is what counts; on a full disk it is held without saying by whom.
        match write!(held, "{}", std::process::id()) {
            Err(error)
                if !matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
            {
                Err(error.into())
            }
            _ => Ok(Self { file: held }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says "nobody" to people who look; the lock itself ends with the descriptor.
        let _ = self.file.set_len(0);
    }
}

fn running(held: &mut File, data: &Path) -> Failure {
    let mut pid = String::new();
    // Without a readable pid the message still says what is wrong.
    let _ = held.read_to_string(&mut pid);
    let (data, pid) = (data.display(), pid.trim());
    if pid.is_empty() {
        let message = format!("another process holds the lock of {data}");
        return Failure::refused(message, format!("see which (fuser {data}/up.lock), or choose another --data"));
    }
    Failure::refused(
        format!("a platform is already running on {data} as pid {pid}"),
        format!("use it (zizon status --data {data}), stop it (kill {pid}), or choose another --data"),
    )
}

/// Whether a supervisor holds `file`, and its pid where it could write that down.
///
/// # Errors
/// This user may not look.
pub fn holder(file: &Path) -> Result<Option<Holder>> {
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("cannot open {}: {error}", file.display());
            return Err(Failure::unknown(message, "run the command as the user that started the platform").into());
        }
    };
    if flock(&opened, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut pid = String::new();
    opened.read_to_string(&mut pid)?;
    Ok(Some(Holder { pid: pid.trim().parse().ok() }))
}

/// Who runs on a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if it is known.
    pub pid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "as pid {pid}"),
            None => f.write_str("(its pid is not known)"),
        }
    }
}

/// The absolute form of a data directory, created when `create` is set.
pub fn data_dir(given: &Path, create: bool) -> Result<PathBuf> {
    if create {
        std::fs::create_dir_all(given).map_err(|error| {
            Failure::usage(
                format!("cannot create {}: {error}", given.display()),
                "choose a directory you may write to with --data",
            )
        })?;
    }
    std::fs::canonicalize(given).map_err(|error| {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            let message = format!("cannot look into {}: {error}", given.display());
            return Failure::unknown(message, "run the command as the user that started the platform").into();
        }
        let remedy = "name the data directory of a platform with --data, or start one with zizon up";
        Failure::unknown(format!("no platform at {}: {error}", given.display()), remedy).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_supervisor_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("up.lock");
        let first = Lock::acquire(&file, dir.path()).unwrap();
        assert_eq!(holder(&file).unwrap(), Some(Holder { pid: Some(std::process::id()) }));
        let refused = Lock::acquire(&file, dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("as pid {}", std::process::id())), "{refused}");
        drop(first);
        assert_eq!(holder(&file).unwrap(), None);
        assert!(Lock::acquire(&file, dir.path()).is_ok());
    }
}
