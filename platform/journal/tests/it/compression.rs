use std::sync::atomic::{AtomicBool, Ordering};

use zizon_journal::{Env, Journal, Options, ReadError, Seq};

use crate::support::{World, assert_readable, fill, payload, segment_path, small};

#[test]
fn compressed_segments_keep_every_location_and_sequence() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 300, 7);
    let maintenance = journal.maintenance();
    let raw_bytes = world.fs.content(&segment_path(1)).unwrap().len();
    let mut compressed = 0;
    while maintenance.compress_one().unwrap() {
        compressed += 1;
        assert_readable(&journal, &all);
    }
    assert!(compressed > 5);
    assert_eq!(maintenance.raw_sealed(), 0);
    assert!(world.fs.content(&segment_path(1)).unwrap().len() < raw_bytes * 9 / 10);
    for from in (1..=300).step_by(13) {
        assert_eq!(journal.reader().scan(Seq(from)).map(|f| f.unwrap().seq.0).sum::<u64>(), (from..=300).sum());
    }
    let report = journal.reader().verify(&mut |_| {}).unwrap();
    assert_eq!((report.frames, report.compressed), (300, compressed));
    drop(journal);
    let journal = world.open();
    assert_readable(&journal, &all);
    assert_eq!(journal.reader().verify(&mut |_| {}).unwrap(), report);
}

#[test]
fn compression_can_be_switched_off() {
    let mut world = World::new();
    world.options.compress_sealed = false;
    let mut journal = world.open();
    fill(&mut journal, 0, 100, 10);
    assert!(!journal.maintenance().compress_one().unwrap());
}

#[test]
fn bytes_that_do_not_compress_are_stored_as_they_are() {
    let world = World::new();
    let mut journal = world.open();
    let mut all = Vec::new();
    for n in 0..60 {
        let rng = zizon_journal::SeededRng::new(n);
        let bytes: Vec<u8> = (0..900).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        all.push((journal.append(&bytes).unwrap(), bytes));
        journal.sync().unwrap();
    }
    assert!(journal.maintenance().compress_one().unwrap());
    assert_readable(&journal, &all);
}

#[test]
fn readers_and_writers_go_on_while_segments_are_compressed() {
    let dir = tempfile::tempdir().unwrap();
    // Few open files, so that handles are closed and opened again all the time.
    let options = Options { open_files: 2, block_cache_bytes: 16 << 10, ..small() };
    let (mut journal, _) = Journal::open(Env::real(), dir.path(), options).unwrap();
    let all = fill(&mut journal, 0, 400, 8);
    let (reader, maintenance) = (journal.reader(), journal.maintenance());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for start in 0..2_usize {
            let (reader, all, done) = (reader.clone(), &all, &done);
            scope.spawn(move || {
                let mut at = start;
                while !done.load(Ordering::Relaxed) {
                    let (appended, bytes) = &all[at % all.len()];
                    assert_eq!(&reader.read(appended.location).unwrap()[..], &bytes[..]);
                    if at % 97 == 0 {
                        assert_eq!(reader.scan(Seq(1)).take(400).filter(Result::is_ok).count(), 400);
                    }
                    at += 31;
                }
            });
        }
        let writer = scope.spawn(move || {
            for n in 0..100 {
                journal.append(&payload(n, 400)).unwrap();
                journal.sync().unwrap();
            }
            journal
        });
        while maintenance.compress_one().unwrap() {}
        let journal = writer.join().unwrap();
        while maintenance.compress_one().unwrap() {}
        done.store(true, Ordering::Relaxed);
        assert_eq!(journal.reader().scan(Seq(1)).filter(Result::is_ok).count(), 500);
    });
    assert_eq!(maintenance.raw_sealed(), 0);
}

#[test]
fn a_scan_in_the_middle_of_a_segment_goes_on_after_its_compression() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 200, 10);
    let mut scan = journal.reader().scan(Seq(1));
    for seq in 1..=5 {
        assert_eq!(scan.next().unwrap().unwrap().seq, Seq(seq));
    }
    while journal.maintenance().compress_one().unwrap() {}
    for seq in 6..=200 {
        assert_eq!(scan.next().unwrap().unwrap().seq, Seq(seq));
    }
}

#[test]
fn retention_removes_whole_segments_and_only_when_told() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 300, 7);
    let maintenance = journal.maintenance();
    maintenance.compress_one().unwrap();
    let kept = all.iter().position(|(appended, _)| appended.location.segment == 4).unwrap();
    let retained = maintenance.retain_from(Seq(all[kept].0.seq.0 + 1)).unwrap();
    assert_eq!((retained.segments, retained.first), (3, all[kept].0.seq));
    let reader = journal.reader();
    assert_eq!(reader.first(), retained.first);
    assert!(matches!(reader.read(all[0].0.location), Err(ReadError::Gone { first }) if first == retained.first));
    assert!(matches!(reader.scan(Seq(1)).next(), Some(Err(ReadError::Gone { .. }))));
    assert_readable(&journal, &all[kept..]);
    drop(journal);
    let (journal, recovery) = world.try_open().unwrap();
    assert_eq!(recovery.first, retained.first);
    assert_readable(&journal, &all[kept..]);
}

#[test]
fn retention_never_removes_the_segment_being_written() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 7);
    let retained = journal.maintenance().retain_from(Seq(1000)).unwrap();
    let last = all.last().unwrap().0;
    assert!(retained.first <= last.seq);
    assert!(journal.reader().read(last.location).is_ok());
}
