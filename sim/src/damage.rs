//! Damage: bits that flip and files that are cut off, in every region of the journal and of the index. Each must be
//! noticed, and nothing damaged may ever be served.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zizon_journal::{Env, Journal, ManualClock, MemFs, SeededRng};
use zizon_table::{
    Change, Cond, Durability, Engine, EngineOptions, FsckHooks, FsckOptions, Item, Key, LsmStore, MemStore, Op,
    OpenError, Patch, Path as Attr, ReadError, Seq, ShardId, SkRange,
};

/// Plans in the table that is damaged.
const PLANS: i64 = 400;
/// More items than a partition has.
const MOST: u32 = 1_000;
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
    /// It hit bytes that nothing rests on, which was verified: every item, every range and the whole feed are as they
    /// were, nothing is there that was never written, the check finds it whole, and the table goes on. In the journal
    /// that is the file of a segment that has not been begun, and nothing else may be.
    Harmless,
}

/// What became of all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Damage by region and by how it was noticed.
    pub regions: BTreeMap<Region, BTreeMap<Noticed, u64>>,
    /// Where the index was hit without harm.
    pub harmless: Vec<String>,
    /// The first that was served, or that took something away unnoticed.
    pub harmed: Option<String>,
}

/// A part of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// Segments of the journal as they were written.
    Raw,
    /// Segments that were compressed.
    Compressed,
    /// Segments that have not been begun.
    Spare,
    /// The copies of the watermark.
    Watermark,
    /// Tables of the index.
    Table,
    /// Everything else of the index: its versions, and which is the newest.
    Version,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Compressed, Self::Spare, Self::Watermark, Self::Table, Self::Version];

    /// In a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "journal: segments",
            Self::Compressed => "journal: compressed segments",
            Self::Spare => "journal: segments not begun",
            Self::Watermark => "journal: watermark",
            Self::Table => "index: tables",
            Self::Version => "index: versions",
        }
    }

    /// Whether it belongs to the index.
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::Table | Self::Version)
    }
}

impl Report {
    /// Pieces of damage in regions for which `of` holds, by how they were noticed.
    pub fn count(&self, of: impl Fn(Region) -> bool, noticed: Noticed) -> u64 {
        let figures = self.regions.iter().filter(|(region, _)| of(**region));
        figures.filter_map(|(_, figures)| figures.get(&noticed)).sum()
    }
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

/// A table that was filled and closed, and everything it answered.
struct Whole {
    items: BTreeMap<Key, Item>,
    changes: Vec<Change>,
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
fn fill(engine: &Engine, plans: impl Fn(i64) -> Vec<Op>) -> Result<Whole, String> {
    for n in 0..PLANS {
        engine.submit(plans(n), Durability::Durable, None);
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
    for op in (0..PLANS).flat_map(plans) {
        let item = engine.get(op.key()).map_err(|error| error.to_string())?;
        items.insert(op.key().clone(), item.ok_or("what was written is not there")?);
    }
    let last = engine.visible();
    let changes = changes(engine).map_err(|error| error.to_string())?;
    engine.close();
    Ok(Whole { items, changes, last })
}

/// The whole feed.
fn changes(engine: &Engine) -> Result<Vec<Change>, ReadError> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let from = all.last().map_or(Seq(1), |change| change.seq.next());
        let more = engine.changes(ShardId::ONLY, from, 1_000)?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
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
        Ok(self.ranges_are_served_by(engine)? && self.feed_is_served_by(engine)? && all)
    }

    /// Every partition as a range, in both directions, and keys that nothing was ever written under.
    fn ranges_are_served_by(&self, engine: &Engine) -> Result<bool, String> {
        let mut all = true;
        let partitions: BTreeSet<&[u8]> = self.items.keys().map(|key| key.pk.as_ref()).collect();
        for &pk in &partitions {
            let should: Vec<&Item> = self.items.iter().filter(|(key, _)| key.pk == pk).map(|(_, item)| item).collect();
            for reverse in [false, true] {
                match engine.query(pk, SkRange::All, MOST, reverse, None) {
                    Ok(page) => {
                        let mut read: Vec<&Item> = page.items.iter().collect();
                        if reverse {
                            read.reverse();
                        }
                        if read != should {
                            let pk = pk.escape_ascii();
                            return Err(format!("the range {pk} is served with {} items damaged", read.len()));
                        }
                    }
                    Err(ReadError::Corrupt(_) | ReadError::Unavailable(_)) => all = false,
                    Err(error) => return Err(format!("a range: {error}")),
                }
            }
        }
        for n in PLANS..PLANS + MORE {
            let absent = plan(n).swap_remove(0);
            match engine.get(absent.key()) {
                Ok(None) => {}
                Ok(Some(_)) => return Err(format!("{} is served and was never written", absent.key())),
                Err(ReadError::Corrupt(_) | ReadError::Unavailable(_)) => all = false,
                Err(error) => return Err(format!("{}: {error}", absent.key())),
            }
        }
        Ok(all)
    }

    fn feed_is_served_by(&self, engine: &Engine) -> Result<bool, String> {
        match changes(engine) {
            Ok(changes) if changes == self.changes => Ok(true),
            Ok(_) => Err("the feed is served damaged".to_owned()),
            Err(ReadError::Corrupt(_) | ReadError::Unavailable(_)) => Ok(false),
            Err(error) => Err(format!("the feed: {error}")),
        }
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
            (true, false) => Noticed::Harmless,
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
    let journal = JournalTarget::made(plan)?;
    let index = IndexTarget::made(root.path())?;
    let mut report = Report::default();
    for number in 0..count {
        let on_index = number % 4 == 3;
        let noticed = if on_index { index.harm(&rng) } else { journal.harm(&rng) };
        match noticed {
            Ok((region, noticed, place)) => {
                *report.regions.entry(region).or_default().entry(noticed).or_default() += 1;
                if region.is_index() && noticed == Noticed::Harmless {
                    report.harmless.push(place);
                }
            }
            Err(why) => report.harmed = report.harmed.or(Some(why)),
        }
        progress(number + 1);
    }
    Ok(report)
}

/// What was hit, how it was noticed, and where it was.
type Hit = (Region, Noticed, String);

/// A journal on a simulated disk, with the index that belongs to it.
struct JournalTarget {
    fs: MemFs,
    store: MemStore,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl JournalTarget {
    fn made(plans: impl Fn(i64) -> Vec<Op>) -> Result<Self, String> {
        let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
        let engine = Engine::open(env(&fs), Path::new(JOURNAL), Arc::new(store.clone()), options(), &mut |_| {});
        let engine = engine.map_err(|error| error.to_string())?;
        let whole = fill(&engine, plans)?;
        drop(engine);
        let mut files = fs.paths();
        files.retain(|path| !path.ends_with("LOCK") && fs.content(path).is_some_and(|content| !content.is_empty()));
        Ok(Self { fs, store, whole, files })
    }

    fn harm(&self, rng: &SeededRng) -> Result<Hit, String> {
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
struct IndexTarget {
    root: PathBuf,
    whole: Whole,
    files: Vec<PathBuf>,
}

impl IndexTarget {
    fn made(root: &Path) -> Result<Self, String> {
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

    fn harm(&self, rng: &SeededRng) -> Result<Hit, String> {
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
