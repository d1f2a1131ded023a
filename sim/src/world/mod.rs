//! One deterministic world: a shop's process on a simulated disk, clients behind a simulated network, a reader of the
//! feed, and whatever a seed lets go wrong.

mod client;
mod faults;
mod handle;
mod net;
mod process;
mod profile;
mod reader;
mod record;
mod rest;
mod schedule;
mod table;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;
use zizon_base::ids::{IdKey, OrderId};
use zizon_journal::{Clock, Env, ManualClock, MemFault, MemFs, SeededRng};
use zizon_orders::keyring::Keyring;
use zizon_orders::simulation::{stock_keys, stock_of};
use zizon_table::{MemStore, OpenError};

use self::client::Client;
use self::handle::Memory;
use self::net::Net;
use self::process::{Ground, Process};
use self::profile::{Profile, skus};
use self::reader::Reader;
use self::task::finish;
use crate::flaw::Flaw;
use crate::trace::Trace;
use crate::{Options, Point, Stats};

/// Size of the simulated disk while nothing is wrong with it.
const DISK_BYTES: u64 = 64 << 20;
/// When the world begins, milliseconds.
const BEGINNING_MS: u64 = 1_800_000_000_000;
/// Most requests the process works on at once.
const MAX_TASKS: usize = 14;
/// Shards that a product may have in a world.
const MOST_SHARDS: u16 = 4;

/// What goes wrong is told as a text.
pub(crate) type Verdict = Result<(), String>;

pub(crate) struct World {
    profile: Profile,
    rng: Arc<SeededRng>,
    clock: Arc<ManualClock>,
    latest_ms: u64,
    fs: MemFs,
    ground: Ground,
    process: Option<Process>,
    paused_until: u64,
    /// The supervisor starts the process again at this step.
    start_at: u64,
    net: Net,
    clients: Vec<Client>,
    reader: Reader,
    /// Batches of the feed on their way to the reader.
    told: Vec<(u64, Vec<zizon_table::Change>)>,
    acknowledged: BTreeMap<OrderId, Vec<u8>>,
    /// Looks that a cache before the shop remembers, where there is one.
    memory: Option<Memory>,
    /// Where this run is struck, if that is all that goes wrong in it.
    point: Option<Point>,
    /// Whether the recovery that is to be struck has begun.
    recovered: bool,
    pub trace: Trace,
    pub stats: Stats,
}

impl World {
    pub fn new(options: &Options, keyring: Keyring, point: Option<Point>) -> Result<Self, String> {
        let rng = Arc::new(SeededRng::new(options.seed));
        let secret = [7; 32];
        let ids = IdKey::new(&Zeroizing::new(secret));
        let mut profile = Profile::drawn(options, &rng, &ids);
        if point.is_some() {
            profile.faults = profile::Faults::none();
        }
        let clock = Arc::new(ManualClock::at(BEGINNING_MS));
        let fs = MemFs::new(DISK_BYTES);
        let env = env(&fs, &clock, &rng);
        let ground = Ground {
            env,
            store: MemStore::new(),
            recorder: Arc::default(),
            flaky: Arc::default(),
            rng: Arc::clone(&rng),
            at: Arc::default(),
            keyring,
            secret,
        };
        let numbers = 0..profile.clients;
        let clients = numbers.map(|n| Client::drawn(n, profile.asks_per_client, profile.keys.len(), &rng)).collect();
        let memory = (profile.flaw == Some(Flaw::StaleLooks)).then(Memory::default);
        let reader = Reader::new(profile.flaw == Some(Flaw::NoHighWaterMark));
        let mut world = Self {
            profile,
            rng,
            clock,
            latest_ms: BEGINNING_MS,
            fs,
            ground,
            process: None,
            paused_until: 0,
            start_at: 0,
            net: Net::default(),
            clients,
            reader,
            told: Vec::new(),
            acknowledged: BTreeMap::new(),
            memory,
            point,
            recovered: false,
            trace: Trace::new(options.trace),
            stats: Stats::default(),
        };
        world.open(true)?;
        world.put_stock_in()?;
        Ok(world)
    }

    pub fn into_lines(self) -> Vec<String> {
        self.trace.into_lines()
    }

    fn put_stock_in(&mut self) -> Verdict {
        let Some(process) = &self.process else { return Err("the process does not start on an empty disk".to_owned()) };
        let (shop, engine) = (Arc::clone(&process.shop), Arc::clone(&process.engine));
        let (stock, shards) = (self.profile.stock, self.profile.shards);
        let put = async move {
            for (sku, units) in skus().iter().zip(stock) {
                shop.set_stock(sku, units).await?;
            }
            if shards > 1 { shop.split_stock(&skus()[0], 51).await } else { Ok(()) }
        };
        finish(put, || {
            engine.sync_once();
        })?
        .map_err(|error| format!("stock cannot be put in: {error}"))?;
        self.shown()
    }

    /// Starts the process; a disk that does not answer is tried again later.
    fn open(&mut self, background: bool) -> Verdict {
        let struck_before = self.strike_recovery();
        let started = Process::start(&self.ground, &self.profile, background);
        if let Some(before) = struck_before {
            self.recovery_was_struck(before);
        }
        match started {
            Ok(process) => {
                let visible = process.engine.visible();
                self.trace.note("start", &[visible]);
                process.shop.confirm_prices();
                self.process = Some(process);
                self.stats.starts += 1;
                self.shown()?;
                self.acknowledged_orders_stand()
            }
            Err(OpenError::Journal(zizon_journal::OpenError::Io { .. })) => {
                self.trace.note("start failed", &[]);
                self.start_at = self.trace.step + 5;
                Ok(())
            }
            Err(error) => Err(format!("the table does not open again: {error}")),
        }
    }

    /// Runs `steps` steps of the schedule.
    pub fn run(&mut self, steps: u64) -> Verdict {
        let in_disk = match self.point {
            Some(Point::Disk(fault, after)) => Some((fault, after)),
            Some(Point::KillInDisk(after)) => Some((MemFault::PowerOff, after)),
            _ => None,
        };
        if let Some((fault, after)) = in_disk {
            self.fs.inject(fault, after);
        }
        for _ in 0..steps {
            self.trace.step += 1;
            self.strike();
            let places = self.places();
            self.step(self.point.is_none())?;
            if in_disk.is_some_and(|(fault, _)| self.fs.struck(fault) > 0) && !self.stats.struck {
                self.is_struck(places);
            }
        }
        Ok(())
    }

    /// Where the point lies in the recovery after a strike, lets the disk fail in it; the times it failed before.
    fn strike_recovery(&mut self) -> Option<u64> {
        let Some(Point::Recovery { step, fault, after, .. }) = self.point else { return None };
        // The first start has nothing to recover, and only the first recovery is struck.
        if self.trace.step < step || std::mem::replace(&mut self.recovered, true) {
            return None;
        }
        self.stats.struck = false;
        self.fs.inject(fault, after);
        Some(self.fs.struck(fault))
    }

    fn recovery_was_struck(&mut self, before: u64) {
        let Some(Point::Recovery { fault, .. }) = self.point else { return };
        self.stats.struck = self.fs.struck(fault) > before;
        self.fs.heal();
    }

    fn step(&mut self, faults: bool) -> Verdict {
        let tasks = self.profile.task_weight;
        let rng = Arc::clone(&self.rng);
        match rng.below(tasks + 60) {
            0..14 => self.sync(),
            14..26 => self.deliver(),
            26..38 => self.clients_ask(),
            38..42 => self.reader_reads(),
            42..47 => {
                self.pass(1 + rng.below(80));
                Ok(())
            }
            47 => {
                self.pass(if rng.below(3) == 0 { 61_000 } else { 5_000 });
                Ok(())
            }
            48..50 => self.maintain(),
            50..52 => {
                // Catalog says that its prices hold.
                if let Some(process) = self.alive() {
                    process.shop.confirm_prices();
                }
                Ok(())
            }
            52..56 if faults => self.something_goes_wrong(),
            52..56 if self.point.is_some() => {
                self.something_happens();
                Ok(())
            }
            _ => self.work(),
        }?;
        self.count_bites();
        self.supervise()
    }

    /// Time goes on.
    fn pass(&mut self, ms: u64) {
        self.clock.advance_ms(ms);
        self.latest_ms = self.latest_ms.max(self.clock.wall_ms());
    }

    /// The process, unless it is down or stands still.
    fn alive(&mut self) -> Option<&mut Process> {
        if self.trace.step < self.paused_until { None } else { self.process.as_mut() }
    }

    /// What readers see has changed: the stock equation must hold of it.
    fn shown(&mut self) -> Verdict {
        self.fs.hold_faults(true);
        let holds = self.stock_equation_holds();
        self.fs.hold_faults(false);
        holds
    }

    fn stock_equation_holds(&self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        let engine = Arc::clone(&process.engine);
        let mut recorder = self.ground.recorder.lock();
        recorder.visible(engine.visible());
        for (product, sku) in skus().iter().enumerate() {
            let items = match engine.get_many(&stock_keys(sku, MOST_SHARDS)) {
                Ok(items) => items,
                Err(zizon_table::ReadError::Unavailable(_) | zizon_table::ReadError::Closed) => return Ok(()),
                Err(error) => return Err(format!("stock of {sku} cannot be read: {error}", sku = sku.as_str())),
            };
            let Some((issued, shards)) = stock_of(&items) else { continue };
            let on_hand: i64 = shards.iter().map(zizon_orders::stock::shard::Shard::on_hand).sum();
            if let Some(shard) = shards.iter().find(|shard| !shard.is_sound()) {
                return Err(format!("a count of {} is negative: {shard:?}", sku.as_str()));
            }
            if on_hand != issued {
                return Err(format!("{issued} units of {} were put in, {on_hand} are accounted for", sku.as_str()));
            }
            recorder.level(product, shards.iter().map(|shard| shard.available).sum());
        }
        Ok(())
    }

    /// Starts the process again where it is down or has to end.
    fn supervise(&mut self) -> Verdict {
        if self.process.as_ref().is_some_and(Process::has_failed) {
            self.trace.note("failed", &[]);
            self.kill();
        }
        if self.process.is_none() && self.trace.step >= self.start_at {
            if self.fs.is_off() && !matches!(self.point, Some(Point::KillInDisk(_))) {
                self.lose_power();
            }
            return self.open(true);
        }
        Ok(())
    }
}

fn env(fs: &MemFs, clock: &Arc<ManualClock>, rng: &Arc<SeededRng>) -> Env {
    Env { clock: Arc::clone(clock) as Arc<dyn Clock>, rng: rng.clone(), fs: Arc::new(fs.clone()) }
}
