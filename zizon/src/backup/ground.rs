//! The ground a backup stands on: directories that are made durably and are ours alone, files that are nobody else's, one user at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use zizon_journal::{Fs, LockError, LockGuard, RealFs};

use super::file_failure;
use super::place::{LOCK, MANIFEST};
use crate::exit::Failure;

/// Makes a file for its owner only, in place of one that was left: never through a link, never with another's mode.
pub fn create(file: &Path) -> io::Result<File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

/// Makes `dir` and those above it that are missing, with `mode`, each durably in the one above it.
pub fn make(dir: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(sync_dir)
}

/// All keys are to be in `dir`: it must be ours, and nobody else may look into it.
pub fn make_private(dir: &Path) -> anyhow::Result<()> {
    let look = || fs::metadata(dir).map_err(|error| file_failure("look at", dir, &error));
    let (found, shown) = (look()?, dir.display());
    if found.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("{shown} belongs to another user ({}), who could take the keys", found.uid());
        return Err(Failure::usage(message, "name a directory of your own, or give yourself this one (chown)").into());
    }
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    // Where modes mean nothing (FAT), this may fail: then what is found counts.
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    let mode = look()?.mode() & 0o777;
    if mode & 0o022 != 0 {
        let message = format!("others can write to {shown} (mode {mode:o}), and that cannot be changed");
        return Err(Failure::usage(message, "use a file system that knows owners, or mount it with umask=077").into());
    }
    Ok(())
}

pub fn sync_dir(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A backup within another would be mistaken for a part of it.
pub fn refuse_nested(dir: &Path) -> anyhow::Result<()> {
    let is_backup = |outer: &&Path| outer.join(LOCK).exists() && outer.join(MANIFEST).exists();
    let Some(outer) = dir.ancestors().skip(1).find(is_backup) else { return Ok(()) };
    let message = format!("{} is within the backup {}", dir.display(), outer.display());
    Err(Failure::usage(message, "name a directory beside it").into())
}

pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Why a directory was not locked.
pub enum Busy {
    Held(Failure),
    Io(PathBuf, io::Error),
}

impl From<Busy> for anyhow::Error {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Held(failure) => failure.into(),
            Busy::Io(file, error) => file_failure("lock", &file, &error).into(),
        }
    }
}

pub fn lock(dir: &Path) -> Result<Arc<dyn LockGuard>, Busy> {
    let file = dir.join(LOCK);
    RealFs.lock(&file).map_err(|error| match error {
        LockError::Held { pid } => {
            let message = format!("{} is in use by process {pid}, another backup or restore", dir.display());
            Busy::Held(Failure::refused(message, "wait until it has ended, or use another directory"))
        }
        LockError::Io(error) => Busy::Io(file.clone(), error),
    })
}
