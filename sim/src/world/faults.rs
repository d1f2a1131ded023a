//! What goes wrong: the process, the power, the disk, the network, the clock, the callers.

use std::sync::Arc;

use zizon_journal::{Clock, MemFault};
use zizon_table::IndexStore;

use super::table::Flaky;
use super::task::Task;
use super::{DISK_BYTES, Verdict, World, env};
use crate::world::handle::Done;
use crate::world::profile::{MOST_ROOM, skus};
use crate::{Fault, Places, Point};

impl World {
    pub(super) fn something_goes_wrong(&mut self) -> Verdict {
        let faults = self.profile.faults;
        match self.rng.below(16) {
            0 if faults.kill => self.kill_now(),
            1 if faults.power => {
                self.trace.note("power", &[]);
                self.stats.bite(Fault::Power, 1);
                self.lose_power();
            }
            2 if faults.power => self.inject(MemFault::PowerOff, 8),
            3 if faults.disk_errors => {
                let kinds = [MemFault::SyncError, MemFault::WriteError, MemFault::ShortWrite];
                let kind = kinds[usize::try_from(self.rng.below(3)).unwrap_or(0)];
                self.inject(kind, 4);
            }
            4 if faults.read_errors => self.inject(MemFault::ReadError, 6),
            5 | 6 if faults.disk_full => self.fill_or_empty(),
            7 | 8 if faults.network => self.disturb_network(),
            9 if faults.partition => {
                let client = usize::try_from(self.rng.below(self.clients.len() as u64)).unwrap_or(0);
                let until = self.trace.step + 20 + self.rng.below(150);
                self.trace.note("cut off", &[client as u64, until]);
                self.net.cut(client, until);
            }
            10 if faults.pause => self.pause(),
            11 if faults.clock => self.clock_jumps(),
            12 if faults.flaky => self.way_to_the_table_changes(),
            13 if faults.callers => self.caller_goes_away(),
            14 if faults.reader => self.reader_crashes(),
            15 if faults.operator => self.operator_acts(),
            _ => {}
        }
        Ok(())
    }

    /// What makes runs that are struck worth it: requests that are dropped in the middle, and time in which the holds they
    /// left become old enough to sweep; stock that is set and split.
    pub(super) fn something_happens(&mut self) {
        match self.rng.below(4) {
            0 | 1 => self.caller_goes_away(),
            2 => self.pass(61_000),
            _ => self.operator_acts(),
        }
    }

    fn pause(&mut self) {
        self.paused_until = self.trace.step + 10 + self.rng.below(120);
        self.trace.note("pause", &[self.paused_until]);
        self.stats.bite(Fault::Pause, u64::from(self.process.is_some()));
    }

    /// Strikes where this run is to be struck.
    pub(super) fn strike(&mut self) {
        let now = self.trace.step;
        match self.point {
            Some(Point::Kill(step) | Point::Recovery { step, power: false, .. }) if step == now => {
                self.is_struck(self.places());
                self.kill();
            }
            Some(Point::Power(step) | Point::Recovery { step, power: true, .. }) if step == now => {
                self.is_struck(self.places());
                self.lose_power();
            }
            _ => {}
        }
    }

    /// This run was struck where it was to be struck, while its tasks stood at `places`.
    pub(super) fn is_struck(&mut self, places: Places) {
        self.trace.note("struck", &[]);
        self.stats.struck = true;
        self.stats.places = places;
    }

    /// Where the tasks of the process stand.
    pub(super) fn places(&self) -> Places {
        let mut places = Places::default();
        for at in self.process.iter().flat_map(|process| &process.tasks).filter_map(|task| task.at) {
            places.insert(at.step, at.waits);
        }
        places
    }

    /// Counts what has bitten since it was counted last, and notes it.
    pub(super) fn count_bites(&mut self) {
        let (unknown, refused) = {
            let recorder = self.ground.recorder.lock();
            (recorder.unknown, recorder.refused)
        };
        let disk = [
            (Fault::PowerInDisk, MemFault::PowerOff),
            (Fault::SyncError, MemFault::SyncError),
            (Fault::WriteError, MemFault::WriteError),
            (Fault::ShortWrite, MemFault::ShortWrite),
            (Fault::ReadError, MemFault::ReadError),
        ];
        let disk = disk.map(|(fault, kind)| (fault, self.fs.struck(kind)));
        let ways = [(Fault::CutOff, self.net.held_up), (Fault::Unknown, unknown), (Fault::Refused, refused)];
        for (fault, total) in disk.into_iter().chain(ways) {
            let new = total - self.stats.faults[fault as usize];
            if new > 0 {
                self.trace.note(fault.name(), &[new]);
                self.stats.bite(fault, new);
            }
        }
    }

    fn inject(&mut self, fault: MemFault, after: u64) {
        let after = self.rng.below(after);
        self.trace.note("disk fault", &[fault as u64, after]);
        self.fs.inject(fault, after);
    }

    fn kill_now(&mut self) {
        if self.process.is_none() {
            return;
        }
        if self.rng.below(4) == 0 {
            // Told to end: it answers nobody any more, but syncs and closes its table.
            self.trace.note("stop", &[]);
            self.stats.bite(Fault::Stop, 1);
            if let Some(process) = &mut self.process {
                process.tasks.clear();
                if let Some(super::process::Batch::Taken(mut batch)) = process.batch.take() {
                    process.engine.finish(batch.run());
                }
                process.engine.close();
            }
        } else {
            self.trace.note("kill", &[]);
            self.stats.bite(Fault::Kill, 1);
        }
        self.kill();
    }

    /// The process is gone, without a chance to clean up. What it had written is in the page cache.
    pub(super) fn kill(&mut self) {
        // Where the point is a kill in an operation of the disk, the machine goes on.
        let off = self.fs.is_off() && !matches!(self.point, Some(Point::KillInDisk(_)));
        self.fs.cut();
        self.process = None;
        if !off {
            self.fs.resume();
        }
        self.after_the_end();
    }

    /// The machine is gone: what was not synced may be lost, in any part.
    pub(super) fn lose_power(&mut self) {
        self.fs.cut();
        self.process = None;
        self.fs = self.fs.crash(&self.rng);
        self.ground.env = env(&self.fs, &self.clock, &self.rng);
        if self.rng.below(4) == 0 {
            // The index is a view: it may be gone as well.
            let _ = self.ground.store.reset();
        }
        self.stats.power_losses += 1;
        self.after_the_end();
    }

    fn after_the_end(&mut self) {
        self.stats.crashes += 1;
        self.ground.recorder.lock().crashed();
        self.paused_until = 0;
        self.start_at = self.trace.step + self.rng.below(30);
    }

    fn fill_or_empty(&mut self) {
        let room = if self.rng.below(2) == 0 { DISK_BYTES } else { self.rng.below(MOST_ROOM) };
        self.trace.note("disk room", &[room]);
        let capacity = if room == DISK_BYTES { room } else { self.fs.used_bytes() + room };
        self.fs.set_capacity(capacity);
    }

    fn disturb_network(&mut self) {
        let (fault, came) = if self.rng.below(2) == 0 {
            (Fault::Lost, self.net.lose(&self.rng))
        } else {
            (Fault::Doubled, self.net.double(&self.rng))
        };
        self.trace.note(fault.name(), &[u64::from(came)]);
        self.stats.bite(fault, u64::from(came));
    }

    fn clock_jumps(&mut self) {
        let now = self.clock.wall_ms();
        let by = self.rng.below(7_200_000);
        let to = if self.rng.below(2) == 0 { now + by } else { now - by };
        self.trace.note("clock", &[to]);
        self.stats.bite(Fault::Clock, 1);
        self.clock.set_wall_ms(to);
        self.latest_ms = self.latest_ms.max(to);
    }

    fn way_to_the_table_changes(&mut self) {
        let one_in = |most: u64, often: bool| if often { 4 + self.rng.below(most) } else { 0 };
        let (unknown, refused) = (self.rng.below(2) == 0, self.rng.below(2) == 0);
        let flaky = Flaky { unknown: one_in(20, unknown), refused: one_in(20, refused) };
        self.trace.note("way to the table", &[flaky.unknown, flaky.refused]);
        *self.ground.flaky.lock() = flaky;
    }

    pub(super) fn caller_goes_away(&mut self) {
        let rng = Arc::clone(&self.rng);
        let Some(process) = self.alive() else { return };
        // The first two go on beside requests and belong to the process.
        let handlers = process.tasks.len().saturating_sub(2) as u64;
        if handlers > 0 {
            let at = 2 + usize::try_from(rng.below(handlers)).unwrap_or(0);
            drop(process.tasks.swap_remove(at));
            self.trace.note("caller gone", &[at as u64]);
            self.stats.bite(Fault::CallerGone, 1);
        }
    }

    fn reader_crashes(&mut self) {
        let behind = self.reader.crash();
        self.trace.note("reader crashes", &[behind]);
        self.stats.bite(Fault::ReaderCrash, u64::from(behind > 0));
    }

    fn operator_acts(&mut self) {
        let rng = Arc::clone(&self.rng);
        let Some(process) = self.alive() else { return };
        let shop = Arc::clone(&process.shop);
        let sku = skus()[usize::try_from(rng.below(2)).unwrap_or(0)].clone();
        let split = rng.below(3) == 0;
        let units = i64::try_from(rng.below(9)).unwrap_or(0);
        process.tasks.push(Task::new(async move {
            // Refused or not: the equation must hold either way.
            let _ = if split { shop.split_stock(&sku, 51).await } else { shop.set_stock(&sku, units).await };
            Done::Background
        }));
        self.trace.note("operator", &[u64::from(split), units.unsigned_abs()]);
        self.stats.bite(Fault::Operator, 1);
    }
}
