//! Crash points: one quiet run is repeated with one crash at every place where there can be one: before every step of
//! the schedule, at every operation of the disk, and at every operation of the disk in the recovery from a crash.
//!
//! A step is one call of the table at most, so that there is a place between any two steps of an order. What is counted
//! are runs in which the crash came.

use std::ops::Range;

use zizon_journal::MemFault;
use zizon_orders::execute::Mode;
use zizon_orders::simulation::Step;

use crate::{Flaw, Options, Outcome, Places, run_at};

/// Steps of a run: long enough for orders, replays, refusals, commands and the sweeping of what a caller left behind.
const STEPS: u64 = 500;
/// Steps of a run of which every operation of the disk is struck: long enough for segments to roll.
const DISK_STEPS: u64 = 1_800;
/// Recoveries are struck after a crash at every so manyth step, from half of that on.
const RECOVERY_EVERY: usize = 100;

/// Where a run is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The process is killed before this step.
    Kill(u64),
    /// The machine loses power before this step.
    Power(u64),
    /// The disk fails in this way, after so many operations that can.
    Disk(MemFault, u64),
    /// The process is killed in an operation of the disk, after so many.
    KillInDisk(u64),
    /// After a crash before this step the disk fails in this way while the process starts, after so many operations
    /// that can.
    Recovery {
        /// The step.
        step: u64,
        /// Whether the crash takes the machine with it.
        power: bool,
        /// How the disk fails.
        fault: MemFault,
        /// Operations of its kind before.
        after: u64,
    },
}

/// One kind of crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// In a few words.
    pub kind: &'static str,
    /// In one word, for the head of a column.
    pub short: &'static str,
    /// Runs in which it came.
    pub runs: u64,
    /// Runs in which a task stood before each step, and in which one waited for it to be on the disk.
    pub places: [[u64; 2]; Step::ALL.len()],
}

/// What became of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Kinds of crashes.
    pub struck: Vec<Struck>,
    /// The first that violated something: seed, how orders are written, where, what.
    pub violated: Option<(u64, Mode, Point, String)>,
    /// What happened in that run, step by step.
    pub lines: Vec<String>,
}

impl Report {
    /// Runs that were struck.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.struck.iter().map(|struck| struck.runs).sum()
    }

    fn note(&mut self, (kind, short): (&'static str, &'static str), places: Places) {
        let at = self.struck.iter().position(|struck| struck.kind == kind).unwrap_or_else(|| {
            self.struck.push(Struck { kind, short, runs: 0, places: [[0; 2]; Step::ALL.len()] });
            self.struck.len() - 1
        });
        let struck = &mut self.struck[at];
        struck.runs += 1;
        for (step, counts) in Step::ALL.into_iter().zip(&mut struck.places) {
            for (waits, count) in [false, true].into_iter().zip(counts) {
                *count += u64::from(places.has(step, waits));
            }
        }
    }
}

/// One seed with one executor.
struct Run<'a> {
    options: Options,
    mode: Mode,
    report: &'a mut Report,
    progress: &'a mut dyn FnMut(u64),
}

impl Run<'_> {
    /// Strikes it at `point`; whether the crash came.
    fn strike(&mut self, kind: (&'static str, &'static str), point: Point) -> bool {
        let Outcome { violated, stats, .. } = run_at(&self.options, point);
        if let (Some(why), None) = (violated, &self.report.violated) {
            self.report.violated = Some((self.options.seed, self.mode, point, why));
            self.report.lines = run_at(&Options { trace: true, ..self.options }, point).lines;
        }
        if stats.struck {
            self.report.note(kind, stats.places);
            (self.progress)(self.report.runs());
        }
        stats.struck
    }

    /// Strikes it at one place after the other until there is none any more, or something was violated.
    fn strike_each(&mut self, kind: (&'static str, &'static str), point: impl Fn(u64) -> Point) {
        for after in 0.. {
            if !self.strike(kind, point(after)) || self.report.violated.is_some() {
                return;
            }
        }
    }

    fn strike_everywhere(&mut self) {
        for step in 1..=STEPS {
            self.strike(("process killed", "kill"), Point::Kill(step));
            self.strike(("power lost", "power"), Point::Power(step));
        }
        self.options.steps = DISK_STEPS;
        self.strike_each(("process killed in a disk operation", "kill/disk"), Point::KillInDisk);
        let disk = [
            (("power lost in a disk operation", "power/disk"), MemFault::PowerOff),
            (("sync failed", "sync"), MemFault::SyncError),
            (("write failed", "write"), MemFault::WriteError),
            (("write cut short", "short"), MemFault::ShortWrite),
            (("file not opened for want of a descriptor", "fd"), MemFault::NoDescriptor),
        ];
        for (kind, fault) in disk {
            self.strike_each(kind, |after| Point::Disk(fault, after));
        }
        self.options.steps = STEPS;
        let recovery = [
            (("recovery: power lost in a disk operation", "r/power"), MemFault::PowerOff),
            (("recovery: sync failed", "r/sync"), MemFault::SyncError),
            (("recovery: write failed", "r/write"), MemFault::WriteError),
            (("recovery: write cut short", "r/short"), MemFault::ShortWrite),
            (("recovery: read failed", "r/read"), MemFault::ReadError),
            (("recovery: file not opened", "r/fd"), MemFault::NoDescriptor),
        ];
        for step in (RECOVERY_EVERY as u64 / 2..STEPS).step_by(RECOVERY_EVERY) {
            for (kind, fault) in recovery {
                for power in [false, true] {
                    self.strike_each(kind, |after| Point::Recovery { step, power, fault, after });
                }
            }
        }
    }
}

/// Strikes the runs of `seeds` at every place, with both executors, until something is violated. `flaw` breaks the shop
/// on purpose. `progress` is told after every run that was struck.
pub fn crashpoints(seeds: Range<u64>, flaw: Option<Flaw>, progress: &mut dyn FnMut(u64)) -> Report {
    let mut report = Report::default();
    for seed in seeds {
        for mode in [Mode::Atomic, Mode::Stepwise] {
            let options = Options { mode: Some(mode), steps: STEPS, flaw, ..Options::seed(seed) };
            Run { options, mode, report: &mut report, progress }.strike_everywhere();
            if report.violated.is_some() {
                return report;
            }
        }
    }
    report
}
