use zizon_journal::{AppendError, Env, Journal, Location, ReadError, Seq};

use crate::support::{World, assert_readable, fill, payload, small};

#[test]
fn an_empty_journal_begins_at_sequence_one() {
    let world = World::new();
    let (mut journal, recovery) = world.try_open().unwrap();
    assert!(recovery.created);
    assert_eq!((recovery.first, recovery.last), (Seq(1), Seq(0)));
    assert_eq!(journal.append(b"a").unwrap().seq, Seq(1));
}

#[test]
fn frames_over_many_segments_are_read_back_after_reopening() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 300, 7);
    assert!(all.last().unwrap().0.location.segment > 5);
    assert_readable(&journal, &all);
    drop(journal);
    let (journal, recovery) = world.try_open().unwrap();
    assert!(!recovery.created);
    assert_eq!((recovery.last, recovery.truncated_bytes, recovery.recovered_frames), (Seq(300), 0, 0));
    assert_readable(&journal, &all);
}

#[test]
fn one_batch_may_cross_several_segments() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 100);
    assert!(all.last().unwrap().0.location.segment >= 3);
    assert_readable(&journal, &all);
    drop(journal);
    assert_readable(&world.open(), &all);
}

#[test]
fn a_journal_on_the_real_file_system_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(Env::real(), dir.path(), small()).unwrap();
    let all = fill(&mut journal, 0, 200, 9);
    drop(journal);
    let (journal, recovery) = Journal::open(Env::real(), dir.path(), small()).unwrap();
    assert_eq!(recovery.last, Seq(200));
    assert_readable(&journal, &all);
}

#[test]
fn a_frame_is_not_readable_before_it_is_durable() {
    let world = World::new();
    let mut journal = world.open();
    let appended = journal.append(b"payload").unwrap();
    let reader = journal.reader();
    assert!(matches!(reader.read(appended.location), Err(ReadError::NotDurable)));
    assert!(reader.scan(Seq(1)).next().is_none());
    let mut batch = journal.begin_sync().unwrap();
    let outcome = batch.run();
    assert!(matches!(reader.read(appended.location), Err(ReadError::NotDurable)));
    journal.finish_sync(outcome).unwrap();
    assert_eq!(&reader.read(appended.location).unwrap()[..], b"payload");
}

#[test]
fn the_next_batch_is_buffered_while_the_previous_one_syncs_on_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(Env::real(), dir.path(), small()).unwrap();
    let mut all = Vec::new();
    let mut next = 0;
    for _ in 0..40 {
        for _ in 0..5 {
            let bytes = payload(next, 300);
            all.push((journal.append(&bytes).unwrap(), bytes));
            next += 1;
        }
        let mut batch = journal.begin_sync().unwrap();
        let outcome = std::thread::scope(|scope| {
            let sync = scope.spawn(move || batch.run());
            for _ in 0..5 {
                let bytes = payload(next, 300);
                all.push((journal.append(&bytes).unwrap(), bytes));
                next += 1;
            }
            assert!(journal.begin_sync().is_none(), "one batch at a time");
            sync.join().unwrap()
        });
        journal.finish_sync(outcome).unwrap();
    }
    journal.sync().unwrap();
    assert_readable(&journal, &all);
}

#[test]
fn a_scan_goes_on_when_more_becomes_durable() {
    let world = World::new();
    let mut journal = world.open();
    let mut scan = journal.reader().scan(Seq(1));
    for n in 0..200 {
        assert!(scan.next().is_none());
        journal.append(&payload(n, 400)).unwrap();
        journal.sync().unwrap();
        assert_eq!(scan.next().unwrap().unwrap().seq, Seq(n + 1));
    }
}

#[test]
fn a_scan_may_begin_at_any_sequence() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 150, 10);
    for from in 1..=151 {
        let seqs: Vec<u64> = journal.reader().scan(Seq(from)).map(|frame| frame.unwrap().seq.0).collect();
        assert_eq!(seqs, (from..=150).collect::<Vec<_>>());
    }
}

#[test]
fn a_payload_over_the_limit_is_refused_and_changes_nothing() {
    let world = World::new();
    let mut journal = world.open();
    let error = journal.append(&vec![0; (4 << 10) + 1]).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { len: 4097, max: 4096 }));
    assert_eq!(journal.append(&vec![0; 4 << 10]).unwrap().seq, Seq(1));
}

#[test]
fn an_empty_payload_is_a_frame() {
    let world = World::new();
    let mut journal = world.open();
    let appended = journal.append(b"").unwrap();
    journal.sync().unwrap();
    assert!(journal.reader().read(appended.location).unwrap().is_empty());
    assert_eq!(journal.reader().scan(Seq(1)).count(), 1);
}

#[test]
fn a_batch_has_a_bound() {
    let world = World::new();
    let mut journal = world.open();
    let mut accepted = 0;
    let error = loop {
        match journal.append(&[1; 1000]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::BatchFull);
    assert_eq!(accepted, (64 << 10) / 1032);
    journal.sync().unwrap();
    journal.append(&[1; 1000]).unwrap();
}

#[test]
fn a_location_outside_of_its_frame_is_refused() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 10);
    let location = all[3].0.location;
    let reader = journal.reader();
    assert!(location.slice(0, location.len + 1).is_none());
    assert!(matches!(reader.read(Location { len: location.len + 1, ..location }), Err(ReadError::BadLocation)));
    assert!(matches!(reader.read(Location { start: u32::MAX, ..location }), Err(ReadError::BadLocation)));
    assert!(matches!(reader.read(Location { frame: u32::MAX, ..location }), Err(ReadError::BadLocation)));
    assert!(matches!(reader.read(Location { segment: 999, ..location }), Err(ReadError::NotDurable)));
    assert!(matches!(reader.read(Location { frame: location.frame + 1, ..location }), Err(ReadError::Corrupt { .. })));
}

#[test]
fn a_location_survives_its_fixed_encoding() {
    let location = Location { segment: 7, frame: 4096, start: 5, len: 9 };
    assert_eq!(Location::from_bytes(&location.to_bytes()), Some(location));
    assert_eq!(Location::from_bytes(&location.to_bytes()[1..]), None);
}

#[test]
fn a_clock_that_steps_back_does_not_make_time_run_backwards() {
    let world = World::new();
    let mut journal = world.open();
    assert_eq!(journal.append(b"a").unwrap().at_ms, 1_000_000);
    world.clock.set_wall_ms(500);
    assert_eq!(journal.append(b"b").unwrap().at_ms, 1_000_000);
    journal.sync().unwrap();
    drop(journal);
    let mut journal = world.open();
    assert_eq!(journal.append(b"c").unwrap().at_ms, 1_000_000);
    world.clock.set_wall_ms(2_000_000);
    assert_eq!(journal.append(b"d").unwrap().at_ms, 2_000_000);
    journal.sync().unwrap();
    let times: Vec<u64> = journal.reader().scan(Seq(1)).map(|frame| frame.unwrap().at_ms).collect();
    assert_eq!(times, [1_000_000, 1_000_000, 1_000_000, 2_000_000]);
}

#[test]
fn the_epoch_only_rises_and_is_remembered() {
    let world = World::new();
    let mut journal = world.open();
    assert_eq!(journal.raise_epoch(3), 3);
    assert_eq!(journal.raise_epoch(2), 3);
    journal.append(b"a").unwrap();
    journal.sync().unwrap();
    drop(journal);
    let mut journal = world.open();
    assert_eq!(journal.epoch(), 3);
    journal.append(b"b").unwrap();
    journal.sync().unwrap();
    assert!(journal.reader().scan(Seq(1)).all(|frame| frame.unwrap().epoch == 3));
}

#[test]
fn options_that_cannot_work_are_refused() {
    let mut world = World::new();
    world.options.max_frame_bytes = world.options.segment_bytes;
    let error = world.try_open().err().unwrap();
    assert_eq!(error.to_string(), "journal options: max_frame_bytes must fit into a segment");
}

#[test]
fn another_segment_size_applies_to_the_next_segment() {
    let mut world = World::new();
    let mut journal = world.open();
    let mut all = fill(&mut journal, 0, 30, 10);
    drop(journal);
    world.options.segment_bytes = 32 << 10;
    let mut journal = world.open();
    all.extend(fill(&mut journal, 30, 120, 10));
    assert_readable(&journal, &all);
    drop(journal);
    assert_readable(&world.open(), &all);
}

#[test]
fn verification_reports_how_far_it_is() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 4000, 50);
    journal.maintenance().compress_one().unwrap();
    let mut seen = Vec::new();
    let report = journal.reader().verify(&mut |progress| seen.push(progress)).unwrap();
    assert_eq!((report.frames, report.compressed), (4000, 1));
    assert!(seen.len() > 1);
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
    let last = seen.last().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (report.bytes, report.bytes));
}

#[test]
fn handles_may_go_to_other_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Send + Sync + Clone>() {}
    sendable::<Journal>();
    sendable::<zizon_journal::SyncBatch>();
    sendable::<zizon_journal::SyncOutcome>();
    sendable::<zizon_journal::Scan>();
    shareable::<zizon_journal::Reader>();
    shareable::<zizon_journal::Maintenance>();
}

#[test]
fn the_next_segment_is_allocated_before_it_is_needed() {
    let world = World::new();
    let mut journal = world.open();
    for n in 0..60 {
        let segment = journal.append(&payload(n, 800)).unwrap().location.segment;
        let mut batch = journal.begin_sync().unwrap();
        let outcome = batch.run();
        journal.finish_sync(outcome).unwrap();
        batch.allocate_ahead();
        let next = world.fs.content(&crate::support::segment_path(segment + 1)).expect("allocated");
        assert!(next.len() == 16 << 10 && next.iter().all(|byte| *byte == 0));
    }
}
