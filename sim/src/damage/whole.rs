//! A table that is filled, and everything it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zizon_journal::{Env, ManualClock, MemFs, SeededRng};
use zizon_table::{
    Change, Cond, Durability, Engine, EngineOptions, FsckHooks, FsckOptions, Item, Key, Op, Patch, Path as Attr,
    ReadError, Seq, ShardId, SkRange,
};

use super::Noticed;

/// Plans in the table that is damaged.
pub(super) const PLANS: i64 = 400;
/// More items than a partition has.
const MOST: u32 = 1_000;
/// Plans it takes afterwards.
const MORE: i64 = 120;

/// A table that was filled and closed, and everything it answered.
pub(super) struct Whole {
    items: BTreeMap<Key, Item>,
    changes: Vec<Change>,
    last: u64,
}

pub(super) fn options() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 16 << 10, hot_items: 0, ..EngineOptions::default() };
    options.journal.segment_bytes = 32 << 10;
    options.journal.max_frame_bytes = 8 << 10;
    options.journal.free_reserve_bytes = 0;
    options.journal.block_bytes = 2 << 10;
    options.index.table_bytes = 16 << 10;
    options
}

pub(super) fn env(fs: &MemFs) -> Env {
    let clock = Arc::new(ManualClock::at(1_800_000_000_000));
    Env { clock, rng: Arc::new(SeededRng::new(5)), fs: Arc::new(fs.clone()) }
}

/// An order and the stock it takes.
pub(super) fn plan(n: i64) -> Vec<Op> {
    let document = vec![u8::try_from(n % 251).unwrap_or(0); 200];
    let order = Item::new(Key::new(format!("U#{}", n % 17), format!("O#{n:05}"))).with("b", document);
    let stock = Key::new(format!("S#{}", n % 5), "S");
    let take = Op::Patch { key: stock, patches: vec![Patch::AddInt(Attr::attr("q"), -1)], cond: Cond::Always };
    vec![Op::Put { item: order, cond: Cond::NotExists }, take]
}

/// Fills a table, writes its index and compresses half of its journal.
pub(super) fn fill(engine: &Engine, plans: impl Fn(i64) -> Vec<Op>) -> Result<Whole, String> {
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
    pub fn is_served_by(&self, engine: &Engine) -> Result<bool, String> {
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
    pub fn noticed(&self, engine: &Engine, repaired: bool) -> Result<Noticed, String> {
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
