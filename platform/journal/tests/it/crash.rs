use std::collections::BTreeMap;

use zizon_journal::{Journal, MemFault, MemFs, SeededRng, Seq};

use crate::support::{World, payload};

/// What the outside knows about a journal.
#[derive(Default)]
struct Known {
    /// Every payload that was ever appended under a sequence since the last crash, or is durable.
    appended: BTreeMap<u64, Vec<u8>>,
    durable: u64,
    first: u64,
    counter: u64,
}

/// Runs a random schedule until the power fails or `steps` are done.
fn run(journal: &mut Journal, known: &mut Known, rng: &SeededRng, steps: u64) {
    for _ in 0..steps {
        match rng.below(20) {
            0..12 => {
                let len = if rng.below(10) == 0 { 3000 } else { 20 + rng.below(400) };
                let bytes = payload(known.counter, usize::try_from(len).unwrap());
                known.counter += 1;
                if let Ok(appended) = journal.append(&bytes) {
                    known.appended.insert(appended.seq.0, bytes);
                }
            }
            12..18 => {
                let Some(mut batch) = journal.begin_sync() else { continue };
                let outcome = batch.run();
                match journal.finish_sync(outcome) {
                    Ok(durable) => known.durable = durable.0,
                    Err(_) => return,
                }
            }
            18 => {
                let _ = journal.maintenance().compress_one();
            }
            _ => {
                if rng.below(8) == 0 {
                    let from = known.durable.saturating_sub(rng.below(100));
                    known.first = known.first.max(from);
                    let _ = journal.maintenance().retain_from(Seq(from));
                }
            }
        }
    }
}

/// Opens what is left and checks it against what is known; forgets what turned out not to have become durable.
fn check(world: &World, known: &mut Known, context: &str) -> Journal {
    let (journal, recovery) = world.try_open().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(recovery.last.0 >= known.durable, "{context}: lost {} of {}", recovery.last.0, known.durable);
    let first = recovery.first.0;
    assert!(first <= known.first.max(1), "{context}: {first} is kept although {} was asked for", known.first);
    let mut seq = first;
    for frame in journal.reader().scan(Seq(first)) {
        let frame = frame.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(frame.seq.0, seq, "{context}");
        assert_eq!(known.appended.get(&seq).map(Vec::as_slice), Some(&frame.payload[..]), "{context}: frame {seq}");
        seq += 1;
    }
    assert_eq!(seq, recovery.last.0 + 1, "{context}");
    journal.reader().verify(&mut |_| {}).unwrap_or_else(|error| panic!("{context}: {error}"));
    known.durable = recovery.last.0;
    known.appended.retain(|seq, _| *seq <= recovery.last.0);
    journal
}

fn life(seed: u64, next: impl Fn(&MemFs, &SeededRng) -> MemFs) {
    let rng = SeededRng::new(seed);
    let mut known = Known::default();
    let mut world = World::new();
    for generation in 0..5 {
        let context = format!("seed {seed}, generation {generation}");
        // Sometimes the power fails while the journal is being opened and repaired.
        if rng.below(3) == 0 {
            world.fs.inject(MemFault::PowerOff, rng.below(12));
            if let Ok((journal, _)) = world.try_open() {
                drop(journal);
            }
            world = World::on(world.fs.crash(&rng));
        }
        let mut journal = check(&world, &mut known, &context);
        world.fs.inject(MemFault::PowerOff, rng.below(400));
        run(&mut journal, &mut known, &rng, 300);
        drop(journal);
        world = World::on(next(&world.fs, &rng));
    }
    check(&world, &mut known, &format!("seed {seed}, end"));
}

#[test]
fn whatever_was_durable_survives_losses_of_power_at_random_points_of_random_schedules() {
    for seed in 0..400 {
        life(seed, MemFs::crash);
    }
}

#[test]
fn whatever_was_written_survives_a_kill_of_the_process() {
    for seed in 1000..1100 {
        life(seed, |fs, _| fs.snapshot());
    }
}

#[test]
fn a_loss_of_power_at_every_single_operation_of_one_schedule_loses_nothing_durable() {
    let seed = 77;
    for point in 0..260 {
        let rng = SeededRng::new(seed);
        let mut known = Known::default();
        let world = World::new();
        world.fs.inject(MemFault::PowerOff, point);
        if let Ok((mut journal, _)) = world.try_open() {
            run(&mut journal, &mut known, &rng, 200);
        }
        for arrival in 0..3 {
            let after = World::on(world.fs.crash(&SeededRng::new(arrival * 1000 + point)));
            let mut left = Known { appended: known.appended.clone(), ..Known::default() };
            (left.durable, left.first) = (known.durable, known.first);
            check(&after, &mut left, &format!("operation {point}, arrival {arrival}"));
        }
    }
}

/// The checker must be able to see a loss: a journal that acknowledged before syncing fails it.
#[test]
#[should_panic(expected = "lost")]
fn a_journal_that_acknowledges_before_it_syncs_is_caught() {
    for seed in 0..200 {
        let rng = SeededRng::new(seed);
        let mut known = Known::default();
        let world = World::new();
        let mut journal = world.open();
        for n in 0..30 {
            let bytes = payload(n, 300);
            let appended = journal.append(&bytes).unwrap();
            known.appended.insert(appended.seq.0, bytes);
            // The fault under test: durable is claimed before the batch has run.
            known.durable = appended.seq.0;
            if n % 4 == 0 {
                journal.sync().unwrap();
            }
        }
        drop(journal);
        check(&World::on(world.fs.crash(&rng)), &mut known, "known-bad");
    }
}
