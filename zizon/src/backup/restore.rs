//! Restoring a backup: into a directory beside the one wanted, which gets its name only when everything was found whole.

use std::{
    error::Error,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rustix::fs::{FlockOperation, flock};
use zizon_base::role::Role;
use zizon_contracts::{catalog::History, fsck::StoreFinding, paths::Paths, restored::Restored};
use zizon_journal::{Env, RealFs, backup::extend};
use zizon_table::{EmbeddedTable, EngineOptions, IndexError, OpenError, OpenProgress};

use super::{
    STORES, Say, apart, file_failure,
    ground::{make, sync_dir},
    interrupt::Interrupt,
    manifest::Manifest,
    now_ms,
    place::Place,
    random, resolved,
    room::enough_room,
};
use crate::{
    command::{fsck, local::block_on},
    exit::Failure,
    up::lock,
};

/// The configuration is a proposal: the operator starts with it, or not.
const CONFIG: (&str, &str) = ("config-in-use.toml", "zizon.toml");

/// A platform that was restored.
pub struct Done {
    /// What it was restored from.
    pub manifest: Manifest,
    /// What the check found, which is that all is well.
    pub findings: Vec<StoreFinding>,
    /// The configuration that was in it.
    pub config: Option<PathBuf>,
}

/// Compares every file of the backup in `dir` with its manifest.
pub fn check(dir: &Path, interrupt: &Interrupt, say: Say<'_>) -> Result<Manifest> {
    let (place, manifest) = Place::open(dir)?;
    let mut progress = Progress { done: 0, of: manifest.bytes(), what: "checking" };
    for entry in &manifest.files {
        place.read(entry, &mut |piece| {
            progress.add(piece.len(), say);
            interrupt.check()
        })?;
    }
    Ok(manifest)
}

/// Restores the backup in `dir` to `data`, which must not hold anything.
pub fn restore(dir: &Path, data: &Path, interrupt: &Interrupt, say: Say<'_>) -> Result<Done> {
    let data = std::path::absolute(data)?;
    let (place, manifest) = Place::open(dir)?;
    apart(&resolved(&data)?, &resolved(dir)?)?;
    refuse_used(&data)?;
    refuse_unmovable(&data)?;
    let beside = Beside::make(&data, interrupt)?;
    enough_room(&manifest, &beside.dir)?;
    copy_files(&place, &manifest, &beside.dir, interrupt, say)?;
    let marker =
        Restored { history: History::of_journal(random()?), backup: manifest.id.clone(), restored_at_ms: now_ms() };
    let paths = Paths::with_run(&beside.dir, &Paths::near(&beside.dir));
    write_new(&paths.restored_file(), &mut |out| {
        out.write_all(&serde_json::to_vec(&marker).map_err(io::Error::from)?)
    })?;
    let roles: Vec<Role> = STORES.into_iter().filter(|role| manifest.store(role.name()).is_some()).collect();
    for role in &roles {
        rebuild(*role, &paths, say)?;
    }
    say("");
    let findings = roles.iter().map(|role| fsck::check(*role, &paths)).collect::<Result<Vec<_>>>()?;
    as_backed_up(&manifest, &findings)?;
    beside.finish(&data)?;
    let config = Some(data.join(CONFIG.1)).filter(|file| file.exists());
    Ok(Done { manifest, findings, config })
}

fn refuse_used(data: &Path) -> Result<()> {
    let shown = data.display();
    let mut entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let message = format!("{shown} is not a directory");
            return Err(Failure::usage(message, "name a directory that does not exist yet").into());
        }
        Err(error) => return Err(file_failure("look into", data, &error).into()),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    if let Some(holder) = lock::holder(&data.join("up.lock"))? {
        let message = format!("a platform is running on {shown} {holder}");
        return Err(Failure::refused(message, "restore to a directory that does not exist yet").into());
    }
    let remedy = "restore to a directory that does not exist yet; nothing that is there is ever overwritten";
    Err(Failure::usage(format!("{shown} is not empty"), remedy).into())
}

/// A directory cannot be put in the place of a link, nor of another file system: said before anything is copied.
fn refuse_unmovable(data: &Path) -> Result<()> {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let (what, remedy) = match fs::symlink_metadata(data) {
        Ok(found) if found.is_symlink() => {
            ("a link", "name where it leads, or a directory that does not exist yet".into())
        }
        Ok(_) if data.parent().is_some_and(|parent| device(parent) != device(data)) => {
            ("where a file system is mounted", format!("name a directory in it: {}", data.join("zizon").display()))
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("{} is {what}", data.display()), remedy).into())
}

/// The unfinished directory; removed when dropped before it is finished.
struct Beside<'a> {
    dir: PathBuf,
    interrupt: &'a Interrupt,
    /// Locked, so that two restores to one place do not meet.
    _lock: File,
    finished: bool,
}

impl<'a> Beside<'a> {
    fn make(data: &Path, interrupt: &'a Interrupt) -> Result<Self> {
        let unnamed = || Failure::usage(format!("{} has no name", data.display()), "name a new directory with --data");
        let (parent, name) = (data.parent().ok_or_else(unnamed)?, data.file_name().ok_or_else(unnamed)?);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".restoring");
        let dir = parent.join(hidden);
        let failed = |error: io::Error| file_failure("make", &dir, &error);
        make(parent, 0o777).map_err(failed)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let lock = File::open(&dir).map_err(failed)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let message = format!("another restore to {} is under way", data.display());
            return Err(Failure::refused(message, "wait until it has ended, or restore to another directory").into());
        }
        let beside = Self { dir, interrupt, _lock: lock, finished: false };
        interrupt.unfinished(Some(&beside.dir));
        beside.empty().map_err(|error| file_failure("empty", &beside.dir, &error))?;
        Ok(beside)
    }

    /// Removes what a restore that was killed has left.
    fn empty(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
        }
        Ok(())
    }

    fn finish(mut self, data: &Path) -> Result<()> {
        let failed = |error: io::Error| file_failure("finish", data, &error);
        sync_all(&self.dir).map_err(failed)?;
        let interrupt = self.interrupt;
        interrupt.commit(|| {
            // Over nothing, or over an empty directory: the kernel refuses any other.
            fs::rename(&self.dir, data).map_err(failed)?;
            self.finished = true;
            data.parent().map_or(Ok(()), sync_dir).map_err(failed)?;
            Ok(())
        })
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            crate::output::error_line(&format!("{} was not removed: {error}", self.dir.display()));
        }
        self.interrupt.unfinished(None);
    }
}

fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync_dir(dir)
}

struct Progress {
    done: u64,
    of: u64,
    what: &'static str,
}

impl Progress {
    fn add(&mut self, bytes: usize, say: Say<'_>) {
        self.done += bytes as u64;
        let percent = (self.done * 100).checked_div(self.of).unwrap_or(100);
        say(&format!("{} {percent} %", self.what));
    }
}

fn copy_files(place: &Place, manifest: &Manifest, to: &Path, interrupt: &Interrupt, say: Say<'_>) -> Result<()> {
    let mut progress = Progress { done: 0, of: manifest.bytes(), what: "copying" };
    for entry in &manifest.files {
        let path = if entry.path == CONFIG.0 { CONFIG.1 } else { &entry.path };
        let file = to.join(path);
        let mut failed = None;
        write_new(&file, &mut |out| {
            let copied = place.read(entry, &mut |piece| {
                out.write_all(piece).map_err(|error| file_failure("write", &file, &error))?;
                progress.add(piece.len(), say);
                interrupt.check()
            });
            copied.map_err(|error| {
                failed = Some(error);
                io::Error::other("not copied")
            })
        })
        .map_err(|error| failed.take().unwrap_or(error))?;
        if let (Some(segment), Some(directory)) = (entry.segment, file.parent()) {
            extend(&RealFs, directory, &segment.into()).map_err(|error| file_failure("allocate", &file, &error))?;
        }
    }
    let authority = to.join("ca.pem");
    if authority.exists() {
        // Everybody may know whom to trust.
        fs::set_permissions(&authority, fs::Permissions::from_mode(0o644))
            .map_err(|error| file_failure("open to all", &authority, &error))?;
    }
    Ok(())
}

/// Writes a file that is not there yet, durably, for its owner only.
fn write_new(file: &Path, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> Result<()> {
    let made = file.parent().map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o700).create(parent));
    let written = made.and_then(|()| {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        write(&mut out)?;
        out.sync_all()
    });
    written.map_err(|error| file_failure("write", file, &error).into())
}

/// Opens the table as its role would, which rebuilds the index, and sees that the keys are the ones the journal was begun with.
fn rebuild(role: Role, paths: &Paths, say: Say<'_>) -> Result<()> {
    let mut progress = |at: OpenProgress| {
        let percent = (at.seq * 100).checked_div(at.last).unwrap_or(100);
        say(&format!("{role}: rebuilding the index {percent} %"));
    };
    let dir = paths.role(role.name());
    let table = EmbeddedTable::open_with(&dir, EngineOptions::default(), Env::real(), &mut progress);
    let table = table.map_err(|error| unusable(role, &error))?;
    block_on(async {
        let confirmed = match role {
            Role::Orders => zizon_orders::confirm_keys(paths.data(), &table).await,
            _ => Ok(()),
        };
        table.close().await;
        Ok(confirmed.map_err(|error| unusable(role, &error))?)
    })
}

/// What was restored could not be opened: because of the disk it is on, or because of what is in it.
fn unusable(role: Role, error: &(dyn Error + 'static)) -> Failure {
    let mut said = format!("what was restored of {role} cannot be used: {error}");
    let (mut causes, mut next) = (vec![error], error.source());
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    for cause in causes.iter().skip(1).map(ToString::to_string) {
        if !said.ends_with(&cause) {
            said.push_str(&format!(": {cause}"));
        }
    }
    let file = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let index = |error: &IndexError| matches!(error, IndexError::Full | IndexError::Io(_));
    let disk = causes.iter().any(|cause| match cause.downcast_ref::<OpenError>() {
        Some(OpenError::Index(error)) => index(error),
        _ => cause.downcast_ref::<IndexError>().is_some_and(index),
    });
    match file {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => {}
        None if !disk => {}
        _ => return Failure::unknown(said, "free some space there or restore to another disk, and look at the disk"),
    }
    Failure::refused(said, "nothing was restored; use another backup, and look at the platform this one was taken of")
}

/// Everything was found whole, up to where the backup says it ends.
fn as_backed_up(manifest: &Manifest, findings: &[StoreFinding]) -> Result<()> {
    let remedy =
        "nothing was restored; use another backup, and look at the platform this one was taken of (zizon fsck)";
    for finding in findings {
        let last = manifest.store(&finding.role).map_or(0, |store| store.last_seq);
        if let Some(difference) = finding.first_difference.as_ref().filter(|_| !finding.ok) {
            let message = format!("what was restored of {} is not sound: {difference}", finding.role);
            return Err(Failure::refused(message, remedy).into());
        }
        if !finding.ok || finding.seq.is_none_or(|seq| seq < last) {
            let message = format!("what was restored of {} does not reach {last}", finding.role);
            return Err(Failure::refused(message, remedy).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn the_disk_is_told_from_what_is_on_it() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let allocate = || io::Error::from(io::ErrorKind::StorageFull);
        let journal = zizon_journal::OpenError::Io { what: "allocating", file: "/x/1.seg".into(), source: allocate() };
        for (error, named) in [
            (OpenError::Journal(journal), "/x/1.seg"),
            (OpenError::Index(IndexError::from(full)), "disk full"),
            (OpenError::Index(IndexError::Io(io::Error::other("a bad sector"))), "a bad sector"),
        ] {
            let failure = unusable(Role::Orders, &error);
            assert_eq!(failure.code, exit::UNKNOWN, "{failure}");
            assert!(failure.message.contains(named) && failure.remedy.contains("disk"), "{failure}");
        }
        let corrupt =
            zizon_journal::OpenError::Corrupt { file: "/x/1.seg".into(), offset: 5, reason: "a frame".into() };
        let replay = OpenError::Replay { seq: 5, reason: "no such item".into() };
        for error in [OpenError::Journal(corrupt), replay] {
            let failure = unusable(Role::Catalog, &error);
            assert_eq!(failure.code, exit::NO, "{failure}");
            assert!(failure.remedy.contains("another backup"), "{failure}");
        }
    }
}
