//! Everything comes to rest: faults end, clients learn what they wanted to know, holds are decided on. Then the books
//! must close, nothing may be lost, and the histories must be those of one shop.

use std::collections::BTreeMap;
use std::sync::Arc;

use zizon_base::ids::OrderId;
use zizon_orders::execute::{ExecuteError, Settler};
use zizon_orders::order::state::{State, apply};
use zizon_orders::simulation::{Told, audit, stock_keys, stock_of, told};
use zizon_table::{Change, Engine, FsckHooks, FsckOptions, Item, Key, Seq, ShardId};

use super::process::sweep_one;
use super::profile::{PRODUCTS, skus};
use super::reader::Log;
use super::task::finish;
use super::{DISK_BYTES, MOST_SHARDS, Verdict, World};
use crate::Point;
use crate::linear::counter::StockShard;
use crate::linear::order::{Call, OrderKey};
use crate::linear::{self, End, Entry, Model};

/// Steps within which every client learns what it wants to know, once nothing goes wrong any more.
const PATIENCE: u64 = 60_000;
/// Longer than an attempt lives.
const ATTEMPT_OVER_MS: u64 = 61_000;
/// States of one history that are looked at.
const SEARCH: usize = 200_000;

impl World {
    /// Ends all faults and brings every client, hold and effect to its end.
    pub fn rest(&mut self) -> Verdict {
        self.fs.heal();
        self.fs.set_capacity(DISK_BYTES);
        *self.ground.flaky.lock() = super::table::Flaky::default();
        self.net.heal();
        self.paused_until = 0;
        match self.rng.below(3) {
            0 if !self.fs.is_off() => self.kill(),
            _ if matches!(self.point, Some(Point::KillInDisk(_))) && self.fs.is_off() => self.kill(),
            1 => self.lose_power(),
            _ if self.fs.is_off() => self.lose_power(),
            _ => {}
        }
        for _ in 0..PATIENCE * self.profile.longer {
            if self.clients.iter().all(super::client::Client::is_done) && self.net.len() == 0 {
                break;
            }
            self.trace.step += 1;
            self.step(false)?;
        }
        self.count_bites();
        if !self.clients.iter().all(super::client::Client::is_done) {
            return Err("a client never learns what it wants to know, although nothing goes wrong".to_owned());
        }
        self.close_the_day()
    }

    /// A last life without requests: settles and sweeps until nothing is left.
    fn close_the_day(&mut self) -> Verdict {
        self.kill();
        self.clock.set_wall_ms(self.latest_ms + ATTEMPT_OVER_MS);
        self.latest_ms += ATTEMPT_OVER_MS;
        self.open(false)?;
        let Some(process) = &self.process else { return Err("the process does not start at the end".to_owned()) };
        let (shop, engine) = (Arc::clone(&process.shop), Arc::clone(&process.engine));
        let day = async move {
            let sweeper = shop.sweeper();
            for _ in 0..4 {
                settle(&mut shop.settler().await?).await?;
                for sku in skus() {
                    sweep_one(&sweeper, &sku).await?;
                }
            }
            Ok::<u64, ExecuteError>(shop.executor().mismatches())
        };
        let mismatches = finish(day, || {
            engine.sync_once();
        })?
        .map_err(|error| format!("what was left over cannot be decided on: {error}"))?;
        while engine.sync_once() {}
        if mismatches > 0 {
            return Err(format!("stock did not hold what orders had reserved, {mismatches} times"));
        }
        self.shown()
    }

    /// What must hold at rest.
    pub fn check(&mut self) -> Verdict {
        self.acknowledged_orders_stand()?;
        let Some(process) = &self.process else { return Err("the process is not there at the end".to_owned()) };
        let engine = Arc::clone(&process.engine);
        let changes = feed(&engine)?;
        self.trace_of_feed(&changes);
        self.reader_saw_all(&engine, &changes)?;
        index_is_the_journal(&engine)?;
        books_close(&changes)?;
        nothing_is_oversold(&engine, &changes)?;
        self.orders_are_asked_for(&changes)?;
        self.histories()
    }

    /// Every order that was ever answered with 201 answers with the same bytes.
    pub(super) fn acknowledged_orders_stand(&self) -> Verdict {
        self.fs.hold_faults(true);
        let all = self.each_acknowledged_order_stands();
        self.fs.hold_faults(false);
        all
    }

    fn each_acknowledged_order_stands(&self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        let (shop, engine) = (Arc::clone(&process.shop), Arc::clone(&process.engine));
        for (id, body) in &self.acknowledged {
            // Past the port: this look is not a call of any history.
            match engine.get(&zizon_orders::simulation::order_key(id)) {
                Ok(Some(item)) => match told(&item.key, &item) {
                    Ok(Told::Placed(_, document)) if shop.first_answer(id, &document) == *body => {}
                    Ok(Told::Placed(..)) => {
                        return Err(format!("acknowledged order {id} is not what was acknowledged"));
                    }
                    _ => return Err(format!("{id} was acknowledged and is void")),
                },
                Ok(None) => return Err(format!("{id} was acknowledged and is not there")),
                Err(zizon_table::ReadError::Unavailable(_) | zizon_table::ReadError::Closed) => {}
                Err(error) => return Err(format!("acknowledged order {id} cannot be read: {error}")),
            }
        }
        Ok(())
    }

    fn trace_of_feed(&mut self, changes: &[Change]) {
        for change in changes {
            self.trace.say("feed", &format!("{} {} {:?}", change.seq, change.key, change.new));
        }
    }

    /// The reader of the feed counted every order and every fact once, in the order of the feed.
    fn reader_saw_all(&mut self, engine: &Engine, changes: &[Change]) -> Verdict {
        self.reader.crash();
        loop {
            let from = self.reader.next();
            let more = engine.changes(ShardId::ONLY, Seq(from), 64).map_err(|error| error.to_string())?;
            if more.is_empty() {
                break;
            }
            self.reader.take(from, &more)?;
        }
        let mut should = Log::new();
        for change in changes {
            let Some(item) = &change.new else { continue };
            match told(&change.key, item).map_err(|error| error.to_string())? {
                Told::Placed(id, _) => should.push((change.seq.0, id, 0)),
                Told::Fact(id, fact) => should.push((change.seq.0, id, fact.version)),
                Told::Void(_) | Told::Other => {}
            }
        }
        if self.reader.log == should {
            return Ok(());
        }
        let at = self.reader.log.iter().zip(&should).take_while(|(is, should)| is == should).count();
        let shown = |entry: Option<&(u64, OrderId, u32)>| match entry {
            Some((seq, id, 0)) => format!("order {id} at {seq}"),
            Some((seq, id, version)) => format!("fact {version} of order {id} at {seq}"),
            None => "nothing".to_owned(),
        };
        let (is, should) = (shown(self.reader.log.get(at)), shown(should.get(at)));
        Err(format!("the reader of the feed counted {is} where the feed has {should}"))
    }

    /// Every order that stands is one that was asked for, under the key it was asked for with.
    fn orders_are_asked_for(&self, changes: &[Change]) -> Verdict {
        let mut placed = BTreeMap::new();
        for change in changes {
            let Some(item) = &change.new else { continue };
            let Ok(Told::Placed(id, document)) = told(&change.key, item) else { continue };
            if placed.insert(id, ()).is_some() {
                return Err(format!("order {id} was placed twice"));
            }
            let Some(key) = self.profile.keys.iter().find(|key| key.id == id) else {
                return Err(format!("nobody asked for order {id}"));
            };
            let units = PRODUCTS.map(|product| {
                let of_product = document.lines.iter().filter(|line| line.sku.as_str() == product);
                of_product.map(|line| line.quantity).sum::<u32>()
            });
            if !key.units.contains(&units) {
                return Err(format!("order {id} has {units:?} units, which nobody asked for"));
            }
        }
        Ok(())
    }

    fn histories(&mut self) -> Verdict {
        let recorder = Arc::clone(&self.ground.recorder);
        let mut recorder = recorder.lock();
        for (id, history) in &mut recorder.orders {
            history.push(Entry { call: Call::MaybeExpired, begin: 0, end: End::Unknown(u64::MAX) });
            self.linearizable(&OrderKey, history, &|| format!("order {id}"))?;
        }
        for (key, history) in &recorder.shards {
            self.linearizable(&StockShard, history, &|| format!("stock {key}"))?;
        }
        Ok(())
    }

    fn linearizable<M: Model>(&mut self, model: &M, history: &[Entry<M::Call>], what: &dyn Fn() -> String) -> Verdict
    where
        M::Call: std::fmt::Debug,
    {
        self.stats.histories += 1;
        self.stats.calls += history.len() as u64;
        match linear::check(model, history, SEARCH) {
            linear::Verdict::Linearizable => Ok(()),
            linear::Verdict::Undecided => {
                self.stats.undecided += 1;
                Err(format!("the history of {} was not decided within {SEARCH} states", what()))
            }
            linear::Verdict::Impossible { explained } => {
                for entry in history {
                    self.trace.say("call", &format!("{entry:?}"));
                }
                Err(format!(
                    "{} is not linearizable: no order of its {} calls explains more than {explained} answers",
                    what(),
                    history.len()
                ))
            }
        }
    }
}

async fn settle(settler: &mut Settler) -> Result<(), ExecuteError> {
    if settler.is_active() {
        while settler.step().await? > 0 {}
        settler.save().await?;
    }
    Ok(())
}

fn feed(engine: &Engine) -> Result<Vec<Change>, String> {
    let mut all = Vec::new();
    loop {
        let from = all.last().map_or(Seq(1), |change: &Change| change.seq.next());
        let more = engine.changes(ShardId::ONLY, from, 1_000).map_err(|error| format!("the feed: {error}"))?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

fn index_is_the_journal(engine: &Engine) -> Verdict {
    let mut hooks = FsckHooks { progress: &mut |_| {}, visit: &mut |_| {} };
    let report = engine.check_in_memory(&FsckOptions::default(), &mut hooks).map_err(|error| error.to_string())?;
    report.first_difference().map_or(Ok(()), |difference| Err(format!("fsck: {difference}")))
}

/// The role's own audit, over the state that the feed adds up to.
fn books_close(changes: &[Change]) -> Verdict {
    let mut items: BTreeMap<&Key, &Item> = BTreeMap::new();
    for change in changes {
        match &change.new {
            Some(item) => items.insert(&change.key, item),
            None => items.remove(&change.key),
        };
    }
    let report = audit(items.into_values().cloned()).map_err(|error| format!("the audit: {error}"))?;
    if !report.ok {
        return Err(format!("the books do not close: {}", report.differences.join("; ")));
    }
    if report.unsettled > 0 { Err(format!("{} shards are not settled at rest", report.unsettled)) } else { Ok(()) }
}

/// Counted anew from the orders alone: units of orders that stand, and what is available, are what was put in.
fn nothing_is_oversold(engine: &Engine, changes: &[Change]) -> Verdict {
    let mut orders = BTreeMap::new();
    for change in changes {
        let Some(item) = &change.new else { continue };
        match told(&change.key, item) {
            Ok(Told::Placed(id, document)) => {
                orders.insert(id, (document, State::CREATED));
            }
            Ok(Told::Fact(id, fact)) => {
                let Some((_, state)) = orders.get_mut(&id) else { return Err(format!("a fact before its order {id}")) };
                *state = apply(*state, fact.event).map_err(|error| format!("order {id}: {error}"))?;
            }
            _ => {}
        }
    }
    for sku in skus() {
        let items = engine.get_many(&stock_keys(&sku, MOST_SHARDS)).map_err(|error| error.to_string())?;
        let Some((issued, shards)) = stock_of(&items) else { continue };
        let standing = orders.values().filter(|(_, state)| !state.is_terminal());
        let lines = standing.flat_map(|(document, _)| &document.lines).filter(|line| line.sku == sku);
        let ordered: i64 = lines.map(|line| i64::from(line.quantity)).sum();
        let available: i64 = shards.iter().map(|shard| shard.available).sum();
        if ordered + available != issued {
            let sku = sku.as_str();
            return Err(format!("of {issued} units of {sku}, {ordered} are ordered and {available} available"));
        }
    }
    Ok(())
}
