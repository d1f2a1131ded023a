use zizon_journal::format::watermark::{Mark, decode_file};
use zizon_journal::{AppendError, MemFault, OpenError, Seq};

use crate::support::{World, assert_readable, fill, payload, segment_path, watermark_path};

fn a_failed_batch_stops_the_journal(fault: MemFault, reason: &str) {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 10, 3);
    world.fs.inject(fault, 0);
    let lost = journal.append(&payload(1, 200)).unwrap();
    let error = journal.sync().err().unwrap();
    assert!(error.reason.contains(reason), "{error}");
    // For good: the file system works again, the journal does not.
    let changes = world.fs.changes();
    assert_eq!(journal.append(b"x"), Err(AppendError::Poisoned(error.clone())));
    assert!(journal.begin_sync().is_none());
    assert_eq!(journal.sync(), Err(error));
    assert_eq!(world.fs.changes(), changes, "nothing may be written or synced again");
    assert_eq!(journal.durable(), Seq(10));
    assert!(journal.reader().read(lost.location).is_err());
    assert_readable(&journal, &all);
}

#[test]
fn a_failed_sync_stops_the_journal_for_good_and_reading_goes_on() {
    a_failed_batch_stops_the_journal(MemFault::SyncError, "injected sync error");
}

#[test]
fn a_failed_write_stops_the_journal_for_good() {
    a_failed_batch_stops_the_journal(MemFault::WriteError, "injected write error");
}

#[test]
fn a_short_write_stops_the_journal_for_good() {
    a_failed_batch_stops_the_journal(MemFault::ShortWrite, "short write");
}

#[test]
fn a_failed_sync_of_the_second_file_of_a_batch_stops_the_journal() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 10, 3);
    world.fs.inject(MemFault::SyncError, 1);
    for n in 0..40 {
        journal.append(&payload(n, 500)).unwrap();
    }
    assert!(journal.sync().is_err());
    assert_eq!(journal.durable(), Seq(10));
}

#[test]
fn a_frame_buffered_before_a_failure_is_not_written_after_it() {
    let world = World::new();
    let mut journal = world.open();
    journal.append(b"first").unwrap();
    let mut batch = journal.begin_sync().unwrap();
    journal.append(b"second").unwrap();
    world.fs.inject(MemFault::SyncError, 0);
    let outcome = batch.run();
    assert!(!outcome.is_ok());
    assert!(journal.finish_sync(outcome).is_err());
    assert!(journal.begin_sync().is_none());
}

#[test]
fn after_a_failed_sync_the_next_opening_trusts_only_what_it_has_written_again() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 10, 3);
    world.fs.inject(MemFault::SyncError, 0);
    journal.append(&payload(1, 200)).unwrap();
    assert!(journal.sync().is_err());
    drop(journal);
    // The page cache still shows the frame, and calls it clean.
    let (journal, recovery) = world.try_open().unwrap();
    assert_eq!((recovery.last, recovery.recovered_frames), (Seq(11), 1));
    drop(journal);
    let after = World::on(world.fs.crash(&zizon_journal::SeededRng::new(1)));
    let (journal, recovery) = after.try_open().unwrap();
    assert_eq!(recovery.last, Seq(11), "a frame that was served must survive a loss of power");
    assert_readable(&journal, &all);
}

#[test]
fn a_batch_that_is_dropped_without_running_stops_the_journal() {
    let world = World::new();
    let mut journal = world.open();
    journal.append(b"a").unwrap();
    drop(journal.begin_sync().unwrap());
    assert!(matches!(journal.append(b"b"), Err(AppendError::Poisoned(_))));
}

#[test]
fn a_read_error_is_an_error_and_not_a_payload() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 10, 3);
    world.fs.inject(MemFault::ReadError, 0);
    assert!(journal.reader().read(all[2].0.location).is_err());
    assert_readable(&journal, &all);
}

#[test]
fn a_segment_of_a_newer_version_is_refused_by_name() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 10, 3);
    drop(journal);
    let mut bytes = world.fs.content(&segment_path(1)).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    world.fs.put(&segment_path(1), &bytes);
    let error = world.try_open().err().unwrap();
    assert!(matches!(error, OpenError::Version { found: 2, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("journal format version 2, this program reads up to 1"), "{error}");
}

#[test]
fn a_watermark_of_a_newer_version_is_refused() {
    let world = World::new();
    drop(world.open());
    let bytes = world.fs.content(&watermark_path()).unwrap();
    let (mark, _) = decode_file(&bytes).unwrap();
    let mut slot = Mark { generation: mark.generation + 1, ..mark }.encode();
    slot[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..508]);
    slot[508..].copy_from_slice(&crc.to_le_bytes());
    world.fs.put(&watermark_path(), &[mark.encode(), slot].concat());
    assert!(matches!(world.try_open(), Err(OpenError::Version { found: 9, supported: 1, .. })));
}

#[test]
fn a_batch_taken_before_the_journal_stopped_is_not_written() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 100, 10);
    journal.append(b"late").unwrap();
    let mut batch = journal.begin_sync().unwrap();
    world.fs.inject(MemFault::WriteError, 0);
    assert!(journal.maintenance().retain_from(Seq(90)).is_err());
    let changes = world.fs.changes();
    assert!(!batch.run().is_ok());
    assert_eq!(world.fs.changes(), changes);
}
