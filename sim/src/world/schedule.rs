//! The steps of the schedule that are not faults: tasks run, messages arrive, batches go to the disk.

use std::sync::Arc;
use std::task::Poll;

use zizon_base::problem::Code;
use zizon_table::{Seq, ShardId};

use super::handle::{self, Answered, Claim, Done, Reply};
use super::net::{Ask, Message};
use super::process::Batch;
use super::profile::PRODUCTS;
use super::record::Asking;
use super::task::Task;
use super::{MAX_TASKS, Verdict, World};
use crate::Fault;

impl World {
    /// Polls a task that is ready, once or a few times.
    pub(super) fn work(&mut self) -> Verdict {
        let step = self.trace.step;
        let (rng, stall) = (Arc::clone(&self.rng), self.profile.faults.stall);
        let (here, one_call) = (Arc::clone(&self.ground.at), self.point.is_some());
        let Some(process) = self.alive() else { return Ok(()) };
        let ready: Vec<usize> = (0..process.tasks.len()).filter(|&at| process.tasks[at].is_ready(step)).collect();
        if ready.is_empty() {
            return Ok(());
        }
        let at = ready[usize::try_from(rng.below(ready.len() as u64)).unwrap_or(0)];
        let task = &mut process.tasks[at];
        if stall && rng.below(40) == 0 {
            task.stalled_until = step + 20 + rng.below(300);
            self.trace.note("stall", &[at as u64]);
            self.stats.bite(Fault::Stall, 1);
            return Ok(());
        }
        // Where every step is to be struck, a step is one call of the table.
        let more = if one_call { 0 } else { rng.below(4) };
        for _ in 0..=more {
            *here.lock() = task.at.take();
            let polled = task.poll();
            task.at = here.lock().take();
            if let Poll::Ready(done) = polled {
                drop(process.tasks.swap_remove(at));
                return self.done(done);
            }
            if !task.is_ready(step) {
                break;
            }
        }
        Ok(())
    }

    fn done(&mut self, done: Done) -> Verdict {
        let Done::Answered(answered) = done else { return Ok(()) };
        let Answered { client, question, ask, asking, reply } = *answered;
        let learned = reply.learned();
        self.check_reply(ask, asking, &reply)?;
        self.net.send(Message::Answer { client, question, learned });
        Ok(())
    }

    /// Checks what can be checked of an answer at once, and notes it in the history.
    fn check_reply(&mut self, ask: Ask, asking: Asking, reply: &Reply) -> Verdict {
        let key = &self.profile.keys[ask.key()];
        let mut recorder = self.ground.recorder.lock();
        self.stats.answers += 1;
        match reply.claim(ask) {
            Claim::That(call) => recorder.answered(asking, Some(call)),
            Claim::Nothing => {
                let full = matches!(reply, Reply::Refused(problem) if problem.code == Code::StorageFull);
                self.stats.bite(Fault::DiskFull, u64::from(full));
                recorder.answered(asking, None);
            }
            Claim::Unknown => self.stats.unknown += 1,
            Claim::Never => {
                let Reply::Refused(problem) = reply else {
                    return Err(format!("{ask:?} was answered with an order that cannot be"));
                };
                let detail = problem.detail.as_deref().unwrap_or_default();
                return Err(format!("{ask:?} was answered {} ({detail})", problem.code.slug()));
            }
        }
        if let Ask::Place(_, body) = ask {
            for (product, available) in reply.shorts(key.units[usize::from(body)])? {
                self.stats.refused += 1;
                if !recorder.was_level(product, available, recorder.began(asking)) {
                    let product = PRODUCTS[product];
                    return Err(format!(
                        "a refusal says {available} of {product} are left; there never were while it was asked"
                    ));
                }
            }
        }
        drop(recorder);
        if let (Reply::Stands { order: Some(order), .. }, Some(first)) = (reply, self.acknowledged.get(&key.id))
            && handle::standing(first).is_none_or(|first| first.fixed != order.fixed)
        {
            return Err(format!("order {} shows something else than was acknowledged", key.id));
        }
        self.trace_answer(ask, reply);
        if let Reply::Placed { body, replayed } = reply {
            self.trace.note(if *replayed { "replayed" } else { "created" }, &[ask.key() as u64]);
            self.stats.placed += u64::from(!replayed);
            self.stats.replayed += u64::from(*replayed);
            let id = self.profile.keys[ask.key()].id;
            let first = self.acknowledged.entry(id).or_insert_with(|| body.clone());
            if first != body {
                return Err(format!("order {id} was answered with other bytes than the first time"));
            }
        }
        Ok(())
    }

    fn trace_answer(&mut self, ask: Ask, reply: &Reply) {
        match reply {
            Reply::Placed { .. } => {}
            Reply::Stands { order, called_off } => {
                let life = order.as_ref().map(|order| order.life);
                self.trace.say(if *called_off { "called off" } else { "shown" }, &format!("{} {life:?}", ask.key()));
            }
            Reply::Refused(problem) => self.trace.say("refused", &format!("{ask:?} {}", problem.code.slug())),
        }
    }

    pub(super) fn deliver(&mut self) -> Verdict {
        let Some(message) = self.net.take(&self.rng, self.trace.step) else { return Ok(()) };
        match message {
            Message::Answer { client, question, learned } => self.clients[client].hear(question, learned),
            Message::Request { client, question, ask } => {
                let key = self.profile.keys[ask.key()].clone();
                let recorder = Arc::clone(&self.ground.recorder);
                let Some(process) = self.process.as_mut().filter(|process| process.tasks.len() < MAX_TASKS) else {
                    return Ok(());
                };
                let asking = recorder.lock().asked(key.id, handle::unanswered(ask));
                let (shop, memory) = (Arc::clone(&process.shop), self.memory.clone());
                process.tasks.push(Task::new(async move {
                    let reply = handle::handle(shop, ask, key, memory).await;
                    Done::Answered(Box::new(Answered { client, question, ask, asking, reply }))
                }));
                self.trace.note("request", &[client as u64, question, ask.key() as u64]);
            }
        }
        Ok(())
    }

    pub(super) fn clients_ask(&mut self) -> Verdict {
        let at = usize::try_from(self.rng.below(self.clients.len() as u64)).unwrap_or(0);
        if let Some(message) = self.clients[at].ask(&self.rng, self.trace.step) {
            self.net.send(message);
        }
        Ok(())
    }

    /// Takes a batch, or runs the one that was taken, or publishes the one that ran.
    pub(super) fn sync(&mut self) -> Verdict {
        let Some(process) = self.alive() else { return Ok(()) };
        match process.batch.take() {
            None => {
                process.batch = process.engine.begin_sync().map(Batch::Taken);
                Ok(())
            }
            Some(Batch::Taken(mut batch)) => {
                process.batch = Some(Batch::Ran(batch.run()));
                Ok(())
            }
            Some(Batch::Ran(outcome)) => {
                let finished = process.engine.finish(outcome);
                let visible = process.engine.visible();
                self.trace.note("durable", &[visible, u64::from(finished.durable)]);
                if finished.durable { self.shown() } else { Ok(()) }
            }
        }
    }

    pub(super) fn maintain(&mut self) -> Verdict {
        let compress = self.rng.below(2) == 0;
        let Some(process) = self.alive() else { return Ok(()) };
        if compress {
            process.engine.compress_segment();
        } else {
            // What fails is tried again later, as the engine's own thread does.
            let _ = process.engine.maintain();
        }
        Ok(())
    }

    pub(super) fn reader_reads(&mut self) -> Verdict {
        if self.told.len() < 4 && self.rng.below(2) == 0 {
            let (from, limit) = (self.reader.next(), 1 + u32::try_from(self.rng.below(20)).unwrap_or(0));
            let Some(process) = self.alive() else { return Ok(()) };
            if let Ok(changes) = process.engine.changes(ShardId::ONLY, Seq(from), limit) {
                self.told.push((from, changes));
            }
            return Ok(());
        }
        if self.told.is_empty() {
            return Ok(());
        }
        let at = usize::try_from(self.rng.below(self.told.len() as u64)).unwrap_or(0);
        // Now and then it arrives and stays on its way: it comes a second time.
        let twice = self.rng.below(4) == 0;
        let (from, changes) = if twice { self.told[at].clone() } else { self.told.swap_remove(at) };
        self.reader.take(from, &changes)?;
        if self.rng.below(3) == 0 {
            self.reader.save();
        }
        Ok(())
    }
}
