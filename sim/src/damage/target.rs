//! What is damaged: a journal on a simulated disk, an index on the real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zizon_journal::{Env, Journal, MemFs, SeededRng};
use zizon_table::{Engine, Item, Key, LsmStore, MemStore, Op, OpenError};

use super::whole::{PLANS, Whole, env, fill, options, plan};
use super::{Harm, Noticed, Region};

const JOURNAL: &str = "/sim/journal";

/// What was hit, how it was noticed, and where it was.
pub(super) type Hit = (Region, Noticed, String);

/// A journal on a simulated disk, with the index that belongs to it.
pub(super) struct JournalTarget {
    fs: MemFs,
    store: MemStore,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl JournalTarget {
    pub fn made(plans: impl Fn(i64) -> Vec<Op>) -> Result<Self, String> {
        let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
        let engine = Engine::open(env(&fs), Path::new(JOURNAL), Arc::new(store.clone()), options(), &mut |_| {});
        let engine = engine.map_err(|error| error.to_string())?;
        let whole = fill(&engine, plans)?;
        drop(engine);
        let mut files = fs.paths();
        files.retain(|path| !path.ends_with("LOCK") && fs.content(path).is_some_and(|content| !content.is_empty()));
        Ok(Self { fs, store, whole, files })
    }

    pub fn harm(&self, rng: &SeededRng) -> Result<Hit, String> {
        let disk = self.fs.snapshot();
        let path = &self.files[usize::try_from(rng.below(self.files.len() as u64)).unwrap_or(0)];
        let mut content = disk.content(path).unwrap_or_default();
        let harm = Harm::drawn(rng, content.len());
        harm.apply(&mut content);
        disk.put(path, &content);
        // Half of the time the index has to be made anew from what is damaged.
        let store = if rng.below(2) == 0 { self.store.clone() } else { MemStore::new() };
        let empty = self.fs.content(path).is_none_or(|content| content.iter().all(|byte| *byte == 0));
        let noticed = self.open(&disk, store).and_then(|noticed| match noticed {
            Noticed::Harmless if !empty => Err("nobody notices".to_owned()),
            noticed => Ok(noticed),
        });
        let place = format!("{harm:?} in {}", path.display());
        let region = match path.extension() {
            None => Region::Watermark,
            Some(_) if empty => Region::Spare,
            // The header says which kind it is.
            Some(_) if self.fs.content(path).and_then(|content| content.get(12).copied()) == Some(2) => {
                Region::Compressed
            }
            Some(_) => Region::Raw,
        };
        noticed.map(|noticed| (region, noticed, place.clone())).map_err(|why| format!("{place}: {why}"))
    }

    fn open(&self, disk: &MemFs, store: MemStore) -> Result<Noticed, String> {
        let repaired = match Journal::open(env(&disk.snapshot()), JOURNAL, options().journal) {
            Ok((_, recovery)) => recovery.repaired_slots > 0 || recovery.truncated_bytes > 0,
            Err(_) => false,
        };
        match Engine::open(env(disk), Path::new(JOURNAL), Arc::new(store), options(), &mut |_| {}) {
            Ok(engine) => self.whole.noticed(&engine, repaired),
            Err(OpenError::Journal(_) | OpenError::Replay { .. } | OpenError::IndexAhead { .. }) => {
                Ok(Noticed::Refused)
            }
            Err(error) => Err(format!("refused for the wrong reason: {error}")),
        }
    }
}

/// Controls: files in which nothing is damaged and which tell something else than was written. No checksum can notice it,
/// so the comparison has to: what it says of each, or that it said nothing.
///
/// # Errors
/// A table cannot be made.
pub fn controls() -> Result<Vec<(&'static str, Option<String>)>, String> {
    const ODD: i64 = 100;
    let with_order = |n: i64, change: &dyn Fn(Item) -> Item| {
        let mut ops = plan(n);
        if n == ODD
            && let Some(Op::Put { item, .. }) = ops.first_mut()
        {
            *item = change(item.clone());
        }
        ops
    };
    let whole = JournalTarget::made(plan)?;
    let other_bytes = JournalTarget::made(|n| with_order(n, &|item| item.with("b", vec![255; 200])))?;
    let elsewhere = |item: Item| Item::new(Key::new(item.key.pk, "O#99999")).with("b", vec![7; 200]);
    let other_key = JournalTarget::made(|n| with_order(n, &elsewhere))?;
    let short = JournalTarget::made(|n| if n == PLANS - 1 { Vec::new() } else { plan(n) })?;
    let said = |disk: &JournalTarget, index: MemStore| whole.open(&disk.fs.snapshot(), index).err();
    Ok(vec![
        ("a journal with another order", said(&other_bytes, MemStore::new())),
        ("an index with an order under another key", said(&whole, other_key.store)),
        ("a journal without its last plan", said(&short, MemStore::new())),
    ])
}

/// An index on the real disk, with its journal.
pub(super) struct IndexTarget {
    root: PathBuf,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl IndexTarget {
    pub fn made(root: &Path) -> Result<Self, String> {
        let source = root.join("source");
        let engine = open_lsm(&source).map_err(|error| error.to_string())?;
        let whole = fill(&engine, plan)?;
        drop(engine);
        let mut files = Vec::new();
        files_under(&source.join("index"), &mut files).map_err(|error| error.to_string())?;
        files.retain(|path| fs::metadata(path).is_ok_and(|data| data.len() > 0));
        files.sort();
        Ok(Self { root: root.to_owned(), whole, files })
    }

    pub fn harm(&self, rng: &SeededRng) -> Result<Hit, String> {
        let copy = self.root.join("copy");
        let source = self.root.join("source");
        let path = &self.files[usize::try_from(rng.below(self.files.len() as u64)).unwrap_or(0)];
        let io = |error: std::io::Error| format!("the temporary directory: {error}");
        copy_dir(&source, &copy).map_err(io)?;
        let target = copy.join(path.strip_prefix(&source).unwrap_or(path));
        let mut content = fs::read(&target).map_err(io)?;
        let harm = Harm::drawn(rng, content.len());
        let len = content.len();
        harm.apply(&mut content);
        fs::write(&target, content).map_err(io)?;
        let noticed = self.open(&copy);
        fs::remove_dir_all(&copy).map_err(io)?;
        let name = path.strip_prefix(source.join("index")).unwrap_or(path);
        let place = format!("{harm:?} in {}, {len} bytes", name.display());
        let region = if name.starts_with("tree/tables") { Region::Table } else { Region::Version };
        noticed.map(|noticed| (region, noticed, place.clone())).map_err(|why| format!("{place}: {why}"))
    }

    fn open(&self, dir: &Path) -> Result<Noticed, String> {
        let engine =
            open_lsm(dir).map_err(|error| format!("an index that can be rebuilt keeps the table closed: {error}"))?;
        let noticed = self.whole.noticed(&engine, engine.metrics().replayed_plans > 0)?;
        drop(engine);
        if noticed == Noticed::Reported {
            // What was noticed while running is rebuilt at the next start.
            let engine =
                open_lsm(dir).map_err(|error| format!("it does not open after damage was noticed: {error}"))?;
            if !self.whole.is_served_by(&engine)? {
                return Err("it is not rebuilt after damage was noticed".to_owned());
            }
        }
        Ok(noticed)
    }
}

fn open_lsm(dir: &Path) -> Result<Engine, OpenError> {
    let options = options();
    let store = LsmStore::new(&dir.join("index"), options.index.clone());
    Engine::open(Env::real(), &dir.join("journal"), Arc::new(store), options, &mut |_| {})
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn files_under(dir: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files_under(&path, into)? } else { into.push(path) }
    }
    Ok(())
}
