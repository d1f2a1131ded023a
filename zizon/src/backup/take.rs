//! Taking a backup.
//!
//! The order is what makes it consistent. First the ends of all journals are read: whatever was acknowledged before the backup began
//! is at or before them. Then the journals are copied, each at least up to its end. The users' keys come after the orders' journal: a
//! user's key is durable before the first order that needs it. The other files are replaced as a whole by those who write them.

use std::{collections::HashMap, fs, io, path::Path};

use anyhow::Result;
use serde::Serialize;
use zizon_base::role::Role;
use zizon_contracts::{catalog::History, paths::Paths, restored::Restored};
use zizon_journal::{
    Env,
    backup::{BackupError, Original, SegmentCopy, Sink},
};
use zizon_table::EngineOptions;

use super::{
    Say, apart, file_failure,
    interrupt::Interrupt,
    layout::{FILES, NEEDED, STORES, USERS_KEYS},
    manifest::{Entry, Manifest, Segment, Store},
    now_ms,
    place::{Place, Put},
    random, resolved,
};
use crate::exit::Failure;

/// How much less of a processor than others a backup asks for.
const NICE: i32 = 10;
/// What was copied, and what was there already.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    /// Files copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that were there.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

impl Tally {
    fn add(&mut self, put: &Put) {
        if put.new {
            self.copied += 1;
            self.copied_bytes += put.entry.bytes;
        } else {
            self.kept += 1;
            self.kept_bytes += put.entry.bytes;
        }
    }
}

/// A backup that was taken.
pub struct Taken {
    /// What it consists of.
    pub manifest: Manifest,
    /// By name of the store, `keys` last.
    pub tallies: Vec<(String, Tally)>,
    /// Whether there was one before.
    pub first: bool,
}

/// Backs up the data directory of `paths` into `dir`.
pub fn take(paths: &Paths, dir: &Path, interrupt: &Interrupt, say: Say<'_>) -> Result<Taken> {
    let dir = resolved(dir)?;
    apart(&resolved(paths.data())?, &dir)?;
    // Orders come first; where this is not permitted, it is only less polite.
    let _ = rustix::process::nice(NICE);
    let began_at_ms = now_ms();
    let originals = originals(paths)?;
    let place = Place::begin(&dir)?;
    let restored = restored(paths)?;
    if let Some(previous) = &place.previous {
        same_platform(previous, &originals, restored.as_ref(), paths)?;
    }
    let mut taking = Taking { place: &place, interrupt, say, files: Vec::new(), tallies: Vec::new() };
    let mut stores = Vec::new();
    for (role, original) in &originals {
        stores.push(taking.journal(*role, original)?);
    }
    taking.keys(paths, &stores)?;
    let Taking { files, tallies, .. } = taking;
    let manifest = Manifest {
        version: Manifest::VERSION,
        id: History::of_journal(random()?).to_string(),
        zizon: env!("CARGO_PKG_VERSION").to_owned(),
        began_at_ms,
        ended_at_ms: now_ms(),
        history: restored.map(|restored| restored.history),
        stores,
        files,
    };
    place.publish(&manifest, interrupt)?;
    place.sweep(Some(&manifest))?;
    Ok(Taken { manifest, tallies, first: place.previous.is_none() })
}

/// The journals that are there, as they end at this moment.
fn originals(paths: &Paths) -> Result<Vec<(Role, Original)>> {
    let mut originals = Vec::new();
    for role in STORES {
        let dir = paths.role(role.name()).join("journal");
        let found = Original::open(Env::real(), &dir, EngineOptions::default().journal)
            .map_err(|error| journal_failure(role, &error))?;
        originals.extend(found.map(|original| (role, original)));
    }
    if originals.is_empty() {
        let message = format!("no platform has kept anything in {}", paths.data().display());
        return Err(Failure::unknown(message, "name the data directory of a platform with --data").into());
    }
    Ok(originals)
}

fn restored(paths: &Paths) -> Result<Option<Restored>> {
    let file = paths.restored_file();
    match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            let message = format!("{} is damaged: {error}", file.display());
            Failure::refused(message, "put it back as the restore made it").into()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_failure("read", &file, &error).into()),
    }
}

/// The backup that is there must be an earlier state of this platform, or it would be lost.
fn same_platform(
    previous: &Manifest,
    originals: &[(Role, Original)],
    restored: Option<&Restored>,
    paths: &Paths,
) -> Result<()> {
    let data = paths.data().display();
    let refused = |what: String| Failure::refused(what, "use another directory for this platform's backups");
    for store in &previous.stores {
        let Some((role, original)) = originals.iter().find(|(role, _)| role.name() == store.role) else {
            return Err(refused(format!("{data} has no {} journal, and the backup there has one", store.role)).into());
        };
        if History::of_journal(original.uuid()) != store.journal {
            return Err(refused(format!("the backup there is of another platform ({role} has another journal)")).into());
        }
    }
    let goes_on = restored.is_some_and(|restored| restored.backup == previous.id);
    if restored.map(|restored| restored.history) != previous.history && !goes_on {
        let what = "the backup there and this platform have gone different ways since a restore".to_owned();
        return Err(refused(what).into());
    }
    Ok(())
}

struct Taking<'a> {
    place: &'a Place,
    interrupt: &'a Interrupt,
    say: Say<'a>,
    files: Vec<Entry>,
    tallies: Vec<(String, Tally)>,
}

impl Taking<'_> {
    fn journal(&mut self, role: Role, original: &Original) -> Result<Store> {
        let previous = self.place.previous.as_ref();
        let known = previous.into_iter().flat_map(|previous| previous.segments(role.name()));
        let mut shelf = Shelf {
            role,
            known: known.map(|(entry, segment)| (segment.number, (entry, segment))).collect(),
            place: self.place,
            interrupt: self.interrupt,
            say: &mut *self.say,
            expected: original.segments(),
            puts: Vec::new(),
            refused: None,
        };
        let copied = original.copy(&mut shelf);
        let Shelf { puts, refused, .. } = shelf;
        if let Some(refused) = refused {
            return Err(refused);
        }
        let copied = copied.map_err(|error| match error {
            BackupError::Journal(error) => anyhow::Error::from(journal_failure(role, &error)),
            error @ BackupError::Put { .. } => error.into(),
        })?;
        if let Some(store) = previous.and_then(|previous| previous.store(role.name()))
            && copied.last.0 < store.last_seq
        {
            let message =
                format!("the {role} journal ends at {}, before the backup there ({})", copied.last.0, store.last_seq);
            let remedy = "it seems to have been put back by other means than zizon restore: use another directory";
            return Err(Failure::refused(message, remedy).into());
        }
        let mut tally = Tally::default();
        for put in puts {
            // Others were given up by retention while they were copied.
            if put.entry.segment.is_some_and(|segment| copied.segments.iter().any(|used| used.number == segment.number))
            {
                tally.add(&put);
                self.files.push(put.entry);
            }
        }
        let watermark = self.place.put_bytes(&format!("{role}/journal/watermark"), &copied.watermark)?;
        tally.add(&watermark);
        self.files.push(watermark.entry);
        self.tallies.push((role.name().to_owned(), tally));
        Ok(Store {
            role: role.name().to_owned(),
            journal: History::of_journal(copied.uuid),
            first_seq: copied.first.0,
            last_seq: copied.last.0,
            durable_at_begin: original.durable().0,
        })
    }

    /// The secrets, the users' keys and what else is no journal.
    fn keys(&mut self, paths: &Paths, stores: &[Store]) -> Result<()> {
        self.interrupt.check()?;
        (self.say)("keys");
        let mut tally = Tally::default();
        let users = paths.data().join(USERS_KEYS);
        if users.exists() {
            let put = self.place.put(USERS_KEYS, &mut |out| {
                zizon_orders::keyring::copy(&users, out)
                    .map(drop)
                    .map_err(|error| io::Error::new(error.kind(), format!("from {}: {error}", users.display())))
            })?;
            tally.add(&put);
            self.files.push(put.entry);
        }
        let orders = stores.iter().any(|store| store.role == Role::Orders.name() && store.last_seq > 0);
        for path in FILES {
            let file = paths.data().join(path);
            match fs::read(&file) {
                Ok(bytes) => {
                    let put = self.place.put_bytes(path, &bytes)?;
                    tally.add(&put);
                    self.files.push(put.entry);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if orders && NEEDED.contains(&path) {
                        let message = format!("{} is missing: without it no order could be used", file.display());
                        return Err(Failure::refused(message, "put the file back, then take the backup").into());
                    }
                }
                Err(error) => return Err(file_failure("read", &file, &error).into()),
            }
        }
        self.tallies.push(("keys".to_owned(), tally));
        Ok(())
    }
}

fn journal_failure(role: Role, error: &zizon_journal::OpenError) -> Failure {
    use zizon_journal::OpenError;
    let remedy = match error {
        OpenError::Corrupt { .. } => {
            "the backup there is whole and stays; zizon fsck tells more, zizon restore makes a sound copy"
        }
        OpenError::Version { .. } => "use the zizon that runs the platform",
        OpenError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "run the command as the user that started the platform"
        }
        _ => "check the disk, and run the command again",
    };
    Failure::unknown(format!("{role}: {error}"), remedy)
}

/// Where the segments of one journal go.
struct Shelf<'a> {
    role: Role,
    /// Segments of the backup that is there, by number.
    known: HashMap<u64, (&'a Entry, Segment)>,
    place: &'a Place,
    interrupt: &'a Interrupt,
    say: Say<'a>,
    expected: u64,
    puts: Vec<Put>,
    /// Why the copy was ended, where that was not the journal's doing.
    refused: Option<anyhow::Error>,
}

impl Shelf<'_> {
    fn path(&self, segment: &SegmentCopy) -> String {
        format!("{}/journal/{}", self.role, segment.file_name())
    }

    fn keep(&mut self, mut put: Put, segment: &SegmentCopy) {
        put.entry.segment = Some(Segment::from(*segment));
        self.puts.push(put);
    }
}

impl Sink for Shelf<'_> {
    fn has(&mut self, segment: &SegmentCopy) -> bool {
        let known = self.known.get(&segment.number).copied();
        let known = known.filter(|(_, known)| SegmentCopy::from(*known) == *segment);
        let Some((entry, _)) = known.filter(|(entry, _)| self.place.holds(entry)) else { return false };
        let put = Put { entry: entry.clone(), new: false };
        self.keep(put, segment);
        true
    }

    fn put(&mut self, segment: &SegmentCopy, bytes: &[u8]) -> io::Result<()> {
        let done = self.puts.len() as u64 + 1;
        (self.say)(&format!("{}: segment {done} of {}", self.role, self.expected.max(done)));
        let put = self.interrupt.check().and_then(|()| self.place.put_bytes(&self.path(segment), bytes));
        match put {
            Ok(put) => {
                self.keep(put, segment);
                Ok(())
            }
            Err(error) => {
                self.refused = Some(error);
                Err(io::Error::other("the copy was ended"))
            }
        }
    }
}
