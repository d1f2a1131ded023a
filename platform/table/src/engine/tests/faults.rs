//! Faults of the disk: what callers are told, and what comes after.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use zizon_journal::{ManualClock, MemFault, MemFs};

use super::world::{env, env_at, open, small};
use crate::engine::{Engine, EngineStatus, MemStore, OpenError, Submitted};
use crate::{Cond, Durability, EngineOptions, Item, Key, Op, Patch, Path as AttrPath, ReadError, WriteError};

fn put(n: i64) -> Vec<Op> {
    let item = Item::new(Key::new("p", format!("{n:04}"))).with("n", n).with("b", vec![7; 300]);
    vec![Op::Put { item, cond: Cond::Always }]
}

fn submit(engine: &Engine, ops: Vec<Op>) -> Submitted {
    engine.submit(ops, Durability::Durable, None)
}

fn refused(engine: &Engine, ops: Vec<Op>) -> WriteError {
    match submit(engine, ops) {
        Submitted::Done(Err(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn written(engine: &Engine, n: i64) {
    let Submitted::Waiting(mut ticket) = submit(engine, put(n)) else { panic!("the write is accepted") };
    assert!(engine.sync_once());
    assert!(matches!(engine.poll(&mut ticket, None), Poll::Ready(Ok(_))));
}

fn stops_after(fault: MemFault) {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    written(&engine, 1);
    fs.inject(fault, 0);
    let Submitted::Waiting(mut first) = submit(&engine, put(2)) else { panic!("the write is accepted") };
    let refusal = vec![Op::Put { item: Item::new(Key::new("p", "0002")), cond: Cond::NotExists }];
    let Submitted::Waiting(mut second) = submit(&engine, refusal) else { panic!("the refusal waits") };
    assert!(!engine.sync_once());
    assert_eq!(engine.poll(&mut first, None), Poll::Ready(Err(WriteError::Unknown)));
    assert_eq!(engine.poll(&mut second, None), Poll::Ready(Err(WriteError::Unknown)));
    assert_eq!(refused(&engine, put(3)), WriteError::Closed);
    assert_eq!(engine.get(&Key::new("p", "0001")), Err(ReadError::Closed));
    assert_eq!(engine.status(), EngineStatus::Failed);
    let metrics = engine.metrics();
    assert_eq!((metrics.status, metrics.unknown, metrics.refused_closed), (EngineStatus::Failed, 2, 1));
    assert!(!engine.sync_once(), "nothing is tried again on the same pages");

    // A process that starts again finds what was acknowledged, and goes on.
    drop(engine);
    let engine = open(&fs, &store, &small()).expect("it opens again");
    assert!(engine.get(&Key::new("p", "0001")).expect("it reads").is_some());
    written(&engine, 4);
}

#[test]
fn a_failed_sync_stops_the_engine_and_leaves_what_was_in_flight_unknown() {
    stops_after(MemFault::SyncError);
}

#[test]
fn a_failed_write_stops_the_engine_and_leaves_what_was_in_flight_unknown() {
    stops_after(MemFault::WriteError);
}

#[test]
fn a_short_write_stops_the_engine_and_leaves_what_was_in_flight_unknown() {
    stops_after(MemFault::ShortWrite);
}

#[test]
fn a_write_that_needs_an_item_which_the_disk_does_not_give_is_refused_for_the_moment() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    written(&engine, 1);
    let key = Key::new("p", "0001");
    let patch = |cond| vec![Op::Patch { key: key.clone(), patches: vec![Patch::AddInt(AttrPath::attr("n"), 1)], cond }];
    fs.inject(MemFault::ReadError, 0);
    assert_eq!(refused(&engine, patch(Cond::Always)), WriteError::Throttled);
    // The same where only the answer needs the item.
    fs.inject(MemFault::ReadError, 0);
    let exists = Op::Put { item: Item::new(key.clone()), cond: Cond::NotExists };
    assert_eq!(refused(&engine, vec![exists]), WriteError::Throttled);
    assert_eq!(engine.status(), EngineStatus::Open);
    let Submitted::Waiting(_) = submit(&engine, patch(Cond::Always)) else { panic!("the next one is accepted") };
}

#[test]
fn a_start_that_cannot_read_its_journal_says_so_and_calls_it_no_damage() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    for n in 0..20 {
        written(&engine, n);
    }
    drop(engine);
    for fault in [MemFault::ReadError, MemFault::NoDescriptor] {
        for after in 0.. {
            // From an index that has to be made anew, so that every plan is read.
            let disk = fs.snapshot();
            disk.inject(fault, after);
            match open(&disk, &MemStore::new(), &small()) {
                Err(OpenError::Journal(zizon_journal::OpenError::Io { .. })) => {}
                Err(error) => panic!("{fault:?} after {after}: {error}; {}", error.remedy()),
                // What is read ahead may have been read without it.
                Ok(_) if disk.struck(fault) > 0 => {}
                Ok(_) => {
                    assert!(after > 2, "{fault:?} never came");
                    break;
                }
            }
        }
        assert!(open(&fs.snapshot(), &MemStore::new(), &small()).is_ok(), "nothing was damaged");
    }
}

#[test]
fn a_full_disk_refuses_writes_before_anything_is_written_and_recovers_by_itself() {
    let (fs, clock) = (MemFs::new(300 << 10), Arc::new(ManualClock::at(1_790_000_000_000)));
    let (path, store) = (Path::new("/t/journal"), Arc::new(MemStore::new()));
    let engine = Engine::open(env_at(&fs, &clock), path, store, small(), &mut |_| {}).expect("it opens");
    let mut n = 0;
    let last = loop {
        match submit(&engine, put(n)) {
            Submitted::Waiting(_) => assert!(engine.sync_once()),
            Submitted::Done(Err(WriteError::Full)) => break n,
            other => panic!("unexpected {other:?}"),
        }
        n += 1;
    };
    assert!(last > 100, "{last} writes fit");
    assert!(engine.full());
    assert_eq!(engine.visible(), u64::try_from(last).expect("positive"));
    assert!(engine.get(&Key::new("p", "0005")).expect("reads go on").is_some());
    assert_eq!(engine.get(&Key::new("p", format!("{last:04}"))), Ok(None), "the refused write did not happen");
    assert_eq!(engine.metrics().refused_full, 1);

    fs.set_capacity(64 << 20);
    // The journal looks for space at most every 50 ms.
    clock.advance_ms(51);
    assert!(!engine.full(), "it notices by itself");
    written(&engine, last);
}

#[test]
fn more_in_flight_than_allowed_is_throttled_and_passes() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let options = EngineOptions { max_in_flight: 3, ..small() };
    let engine = open(&fs, &store, &options).expect("it opens");
    for n in 0..3 {
        assert!(matches!(submit(&engine, put(n)), Submitted::Waiting(_)));
    }
    assert_eq!(refused(&engine, put(3)), WriteError::Throttled);
    assert!(engine.sync_once());
    assert!(matches!(submit(&engine, put(3)), Submitted::Waiting(_)));
    assert_eq!(engine.metrics().throttled, 1);
}

#[test]
fn more_bytes_in_flight_than_allowed_are_throttled_and_pass() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let options = EngineOptions { max_pending_bytes: 1_000, ..small() };
    let engine = open(&fs, &store, &options).expect("it opens");
    let accepted = (0..10).take_while(|n| matches!(submit(&engine, put(*n)), Submitted::Waiting(_))).count();
    assert!((2..5).contains(&accepted), "{accepted} plans of 300 bytes");
    assert!(engine.sync_once());
    assert!(matches!(submit(&engine, put(9)), Submitted::Waiting(_)));
}

#[test]
fn a_second_engine_on_one_journal_is_refused_with_the_first_ones_process() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    let second = open(&fs, &MemStore::new(), &small());
    assert!(matches!(second, Err(OpenError::Journal(zizon_journal::OpenError::Locked { .. }))));
    engine.close();
    assert!(open(&fs, &store, &small()).is_ok(), "a closed engine lets go of the journal");
}

#[test]
fn an_index_ahead_of_the_journal_is_refused() {
    let store = MemStore::new();
    let engine = open(&MemFs::new(64 << 20), &store, &small()).expect("it opens");
    for n in 0..10 {
        written(&engine, n);
    }
    engine.close();
    // The journal is lost, the index is not.
    let ahead = open(&MemFs::new(64 << 20), &store, &small());
    assert!(matches!(ahead, Err(OpenError::IndexAhead { index: 10, journal: 0 })), "{ahead:?}");
}

#[test]
fn a_lost_index_is_rebuilt_from_the_journal_and_says_how_far_it_is() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    for n in 0..50 {
        written(&engine, n);
    }
    engine.close();
    let mut told = Vec::new();
    let (path, store) = (Path::new("/t/journal"), Arc::new(MemStore::new()));
    let engine = Engine::open(env(&fs), path, store, small(), &mut |progress| told.push(progress)).expect("it opens");
    assert_eq!(told.last().map(|progress| (progress.seq, progress.last)), Some((50, 50)));
    assert_eq!(engine.metrics().replayed_plans, 50);
    for n in 0..50 {
        assert!(engine.get(&Key::new("p", format!("{n:04}"))).expect("it reads").is_some());
    }
}

#[test]
fn a_closed_engine_refuses_reads_and_writes() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    let Submitted::Waiting(mut ticket) = submit(&engine, put(1)) else { panic!("the write is accepted") };
    engine.close();
    assert!(matches!(engine.poll(&mut ticket, None), Poll::Ready(Ok(_))), "what was buffered is synced");
    assert_eq!(refused(&engine, put(2)), WriteError::Closed);
    assert_eq!(engine.get(&Key::new("p", "0001")), Err(ReadError::Closed));
    assert_eq!(engine.status(), EngineStatus::Closed);
}

#[test]
fn an_orderly_close_leaves_nothing_to_replay() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    written(&engine, 1);
    engine.close();
    drop(engine);
    let engine = open(&fs, &store, &small()).expect("it opens");
    assert_eq!(engine.metrics().replayed_plans, 0);
    assert!(engine.get(&Key::new("p", "0001")).expect("it reads").is_some());
}
