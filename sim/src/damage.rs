//! Damage: bits that flip and files that are cut off, in every region of the journal and of the index. Each must be
//! noticed, and nothing damaged may ever be served.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zizon_journal::{Env, Journal, ManualClock, MemFs, SeededRng};
use zizon_table::{
    Cond, Durability, Engine, EngineOptions, FsckHooks, FsckOptions, Item, Key, LsmStore, MemStore, Op, OpenError,
    Patch, Path as Attr, ReadError,
};

/// Plans in the table that is damaged.
const PLANS: i64 = 400;
/// Plans it takes afterwards.
const MORE: i64 = 120;
const JOURNAL: &str = "/sim/journal";

/// How a piece of damage was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// The table does not open.
    Refused,
    /// A read or the check says so.
    Reported,
    /// It was put right at the start: a copy of a watermark, an unfinished end, an index rebuilt from the journal.
    Repaired,
    /// It hit bytes that hold nothing: everything that was written is served, the check finds it whole, and the table
    /// goes on. In the journal that is the file of a segment that has not been begun.
    NoEffect,
}

/// What became of all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Damage to the journal, by how it was noticed.
    pub journal: BTreeMap<Noticed, u64>,
    /// Damage to the index.
    pub index: BTreeMap<Noticed, u64>,
    /// The first that was served, or that took something away unnoticed.
    pub harmed: Option<String>,
}

/// One piece of damage to a file of so many bytes.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(u64),
    Cut(usize),
}

impl Harm {
    fn drawn(rng: &SeededRng, len: usize) -> Self {
        // One in eight is a file that ends early.
        if rng.below(8) == 0 {
            return Self::Cut(usize::try_from(rng.below(len as u64)).unwrap_or(0));
        }
        Self::Flip(rng.below(len as u64 * 8))
    }

    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Cut(len) => content.truncate(len),
            Self::Flip(bit) => {
                if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| content.get_mut(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }
}

/// A table that was filled and closed.
struct Whole {
    items: BTreeMap<Key, Item>,
    last: u64,
}

fn options() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 16 << 10, hot_items: 0, ..EngineOptions::default() };
    options.journal.segment_bytes = 32 << 10;
    options.journal.max_frame_bytes = 8 << 10;
    options.journal.free_reserve_bytes = 0;
    options.journal.block_bytes = 2 << 10;
    options.index.table_bytes = 16 << 10;
    options
}

fn env(fs: &MemFs) -> Env {
    let clock = Arc::new(ManualClock::at(1_800_000_000_000));
    Env { clock, rng: Arc::new(SeededRng::new(5)), fs: Arc::new(fs.clone()) }
}

/// An order and the stock it takes.
fn plan(n: i64) -> Vec<Op> {
    let document = vec![u8::try_from(n % 251).unwrap_or(0); 200];
    let order = Item::new(Key::new(format!("U#{}", n % 17), format!("O#{n:05}"))).with("b", document);
    let stock = Key::new(format!("S#{}", n % 5), "S");
    let take = Op::Patch { key: stock, patches: vec![Patch::AddInt(Attr::attr("q"), -1)], cond: Cond::Always };
    vec![Op::Put { item: order, cond: Cond::NotExists }, take]
}

/// Fills a table, writes its index and compresses half of its journal.
fn fill(engine: &Engine) -> Result<Whole, String> {
    for n in 0..PLANS {
        engine.submit(plan(n), Durability::Durable, None);
        if n % 10 == 9 {
            engine.sync_once();
        }
        if n % 100 == 99 {
            while engine.maintain().map_err(|error| error.to_string())? {}
        }
    }
    while engine.sync_once() {}
    for _ in 0..2 {
        engine.compress_segment();
    }
    let mut items = BTreeMap::new();
    for op in (0..PLANS).flat_map(plan) {
        let item = engine.get(op.key()).map_err(|error| error.to_string())?;
        items.insert(op.key().clone(), item.ok_or("what was written is not there")?);
    }
    let last = engine.visible();
    engine.close();
    Ok(Whole { items, last })
}

impl Whole {
    /// Whether all of it is served; an error where anything else is.
    fn is_served_by(&self, engine: &Engine) -> Result<bool, String> {
        let mut all = true;
        for (key, item) in &self.items {
            match engine.get(key) {
                Ok(Some(read)) if read == *item => {}
                Ok(Some(_)) => return Err(format!("{key} is served damaged")),
                Ok(None) => return Err(format!("{key} is served as absent")),
                Err(ReadError::Corrupt(_) | ReadError::Unavailable(_)) => all = false,
                Err(error) => return Err(format!("{key}: {error}")),
            }
        }
        Ok(all)
    }

    /// How an engine over something damaged notices; `repaired`: it put something right at its start.
    fn noticed(&self, engine: &Engine, repaired: bool) -> Result<Noticed, String> {
        if engine.visible() < self.last {
            return Err(format!("{} plans are gone without a word", self.last - engine.visible()));
        }
        let all = self.is_served_by(engine)?;
        let mut hooks = FsckHooks { progress: &mut |_| {}, visit: &mut |_| {} };
        let options = FsckOptions { engine: options(), ..FsckOptions::default() };
        let whole = engine.check_in_memory(&options, &mut hooks).is_ok_and(|report| report.ok());
        if all && whole {
            goes_on(engine)?;
        }
        Ok(match (all && whole, repaired) {
            (false, _) => Noticed::Reported,
            (true, true) => Noticed::Repaired,
            (true, false) => Noticed::NoEffect,
        })
    }
}

/// Writes as much as a segment holds, and reads it.
fn goes_on(engine: &Engine) -> Result<(), String> {
    for n in PLANS..PLANS + MORE {
        engine.submit(plan(n), Durability::Durable, None);
        if n % 10 == 9 && !engine.sync_once() {
            return Err("it takes no more writes".to_owned());
        }
    }
    for n in PLANS..PLANS + MORE {
        for op in plan(n) {
            match engine.get(op.key()) {
                Ok(Some(_)) => {}
                other => return Err(format!("{} was written afterwards and reads {other:?}", op.key())),
            }
        }
    }
    Ok(())
}

/// Damages copies of one table `count` times, three of four times its journal. `progress` is told after each.
///
/// # Errors
/// The table cannot be made, or the temporary directory cannot be used.
pub fn damage(seed: u64, count: u64, progress: &mut dyn FnMut(u64)) -> Result<Report, String> {
    let rng = SeededRng::new(seed);
    let root = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let journal = JournalTarget::made()?;
    let index = IndexTarget::made(root.path())?;
    let mut report = Report::default();
    for number in 0..count {
        let on_index = number % 4 == 3;
        let noticed = if on_index { index.harm(&rng) } else { journal.harm(&rng) };
        match noticed {
            Ok(noticed) => {
                let figures = if on_index { &mut report.index } else { &mut report.journal };
                *figures.entry(noticed).or_default() += 1;
            }
            Err(why) => report.harmed = report.harmed.or(Some(why)),
        }
        progress(number + 1);
    }
    Ok(report)
}

/// A journal on a simulated disk, with the index that belongs to it.
struct JournalTarget {
    fs: MemFs,
    store: MemStore,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl JournalTarget {
    fn made() -> Result<Self, String> {
        let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
        let engine = Engine::open(env(&fs), Path::new(JOURNAL), Arc::new(store.clone()), options(), &mut |_| {});
        let engine = engine.map_err(|error| error.to_string())?;
        let whole = fill(&engine)?;
        drop(engine);
        let mut files = fs.paths();
        files.retain(|path| !path.ends_with("LOCK") && fs.content(path).is_some_and(|content| !content.is_empty()));
        Ok(Self { fs, store, whole, files })
    }

    fn harm(&self, rng: &SeededRng) -> Result<Noticed, String> {
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
            Noticed::NoEffect if !empty => Err("nobody notices".to_owned()),
            noticed => Ok(noticed),
        });
        noticed.map_err(|why| format!("{harm:?} in {}: {why}", path.display()))
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

/// An index on the real disk, with its journal.
struct IndexTarget {
    root: PathBuf,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl IndexTarget {
    fn made(root: &Path) -> Result<Self, String> {
        let source = root.join("source");
        let engine = open_lsm(&source).map_err(|error| error.to_string())?;
        let whole = fill(&engine)?;
        drop(engine);
        let mut files = Vec::new();
        files_under(&source.join("index"), &mut files).map_err(|error| error.to_string())?;
        files.retain(|path| fs::metadata(path).is_ok_and(|data| data.len() > 0));
        files.sort();
        Ok(Self { root: root.to_owned(), whole, files })
    }

    fn harm(&self, rng: &SeededRng) -> Result<Noticed, String> {
        let copy = self.root.join("copy");
        let source = self.root.join("source");
        let path = &self.files[usize::try_from(rng.below(self.files.len() as u64)).unwrap_or(0)];
        let io = |error: std::io::Error| format!("the temporary directory: {error}");
        copy_dir(&source, &copy).map_err(io)?;
        let target = copy.join(path.strip_prefix(&source).unwrap_or(path));
        let mut content = fs::read(&target).map_err(io)?;
        let harm = Harm::drawn(rng, content.len());
        harm.apply(&mut content);
        fs::write(&target, content).map_err(io)?;
        let noticed = self.open(&copy);
        fs::remove_dir_all(&copy).map_err(io)?;
        noticed.map_err(|why| format!("{harm:?} in {}: {why}", path.display()))
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
