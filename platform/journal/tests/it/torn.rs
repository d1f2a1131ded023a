use zizon_journal::format::watermark::{Mark, SLOT_BYTES};
use zizon_journal::{MemFs, OpenError, Seq};

use crate::support::{World, assert_readable, fill, payload, segment_path, watermark_path};

/// The disk before and after one more batch of `frames` frames of 200 bytes.
fn before_and_after(frames: u64) -> (World, MemFs, MemFs, Vec<(zizon_journal::Appended, Vec<u8>)>) {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 10, 3);
    let before = world.fs.snapshot();
    for n in 0..frames {
        journal.append(&payload(50 + n, 200)).unwrap();
    }
    journal.sync().unwrap();
    drop(journal);
    let after = world.fs.snapshot();
    (world, before, after, all)
}

#[test]
fn a_tail_torn_at_every_byte_of_the_last_frame_is_cut_off() {
    let (_, before, after, all) = before_and_after(1);
    let (old, new) = (before.content(&segment_path(1)).unwrap(), after.content(&segment_path(1)).unwrap());
    let start = old.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in 0..232 {
        let world = World::on(before.snapshot());
        let mut torn = old.clone();
        torn[start..start + cut].copy_from_slice(&new[start..start + cut]);
        world.fs.put(&segment_path(1), &torn);
        let (mut journal, recovery) = world.try_open().unwrap();
        assert_eq!(recovery.last, Seq(10), "cut at {cut}");
        assert_eq!(recovery.truncated_bytes > 0, cut > 0, "cut at {cut}");
        assert_readable(&journal, &all);
        // What was cut off leaves nothing behind.
        assert_eq!(world.fs.content(&segment_path(1)).unwrap(), old);
        let next = journal.append(b"next").unwrap();
        journal.sync().unwrap();
        assert_eq!(next.seq, Seq(11));
        drop(journal);
        assert_eq!(world.try_open().unwrap().1.last, Seq(11));
    }
}

#[test]
fn a_whole_frame_behind_the_watermark_is_kept_and_made_durable() {
    let (_, before, after, all) = before_and_after(1);
    let world = World::on(before);
    world.fs.put(&segment_path(1), &after.content(&segment_path(1)).unwrap());
    let (journal, recovery) = world.try_open().unwrap();
    assert_eq!((recovery.last, recovery.recovered_frames, recovery.truncated_bytes), (Seq(11), 1, 0));
    assert_readable(&journal, &all);
}

#[test]
fn a_batch_of_which_the_middle_is_missing_is_cut_off_there() {
    let (_, before, after, _) = before_and_after(5);
    let mut segment = after.content(&segment_path(1)).unwrap();
    let old = before.content(&segment_path(1)).unwrap();
    let start = old.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    segment[start + 2 * 232..start + 3 * 232].fill(0);
    let world = World::on(before);
    world.fs.put(&segment_path(1), &segment);
    let (_, recovery) = world.try_open().unwrap();
    assert_eq!((recovery.last, recovery.recovered_frames), (Seq(12), 2));
    assert!(recovery.truncated_bytes > 2 * 232);
}

#[test]
fn a_bad_frame_before_a_later_batch_is_corruption_even_behind_the_watermark() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 10, 3);
    let old_mark = world.fs.content(&watermark_path()).unwrap();
    let first = journal.append(&payload(1, 200)).unwrap();
    journal.sync().unwrap();
    journal.append(&payload(2, 200)).unwrap();
    journal.sync().unwrap();
    drop(journal);
    world.fs.put(&watermark_path(), &old_mark);
    world.fs.flip_bit(&segment_path(1), u64::from(first.location.frame + 40) * 8);
    let error = world.try_open().err().unwrap();
    assert!(matches!(error, OpenError::Corrupt { offset, .. } if offset == u64::from(first.location.frame)), "{error}");
}

#[test]
fn a_bad_frame_before_the_watermark_is_corruption() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 10, 3);
    drop(journal);
    let last = all.last().unwrap().0.location;
    world.fs.flip_bit(&segment_path(1), u64::from(last.frame + 40) * 8);
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_watermark_that_lags_by_segments_only_makes_the_opening_scan_more() {
    let world = World::new();
    let mut journal = world.open();
    let mut all = fill(&mut journal, 0, 10, 3);
    let old_mark = world.fs.content(&watermark_path()).unwrap();
    all.extend(fill(&mut journal, 10, 200, 5));
    journal.maintenance().compress_one().unwrap();
    journal.maintenance().compress_one().unwrap();
    drop(journal);
    world.fs.put(&watermark_path(), &old_mark);
    let (journal, recovery) = world.try_open().unwrap();
    assert_eq!((recovery.last, recovery.recovered_frames), (Seq(200), 190));
    assert_readable(&journal, &all);
}

#[test]
fn a_missing_segment_is_corruption() {
    for missing in [1, 3] {
        let world = World::new();
        let mut journal = world.open();
        fill(&mut journal, 0, 200, 5);
        drop(journal);
        zizon_journal::Fs::remove(&world.fs, &segment_path(missing)).unwrap();
        let error = world.try_open().err().unwrap();
        assert!(error.to_string().contains("segment is missing"), "{error}");
    }
}

#[test]
fn a_missing_last_segment_is_corruption() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 200, 5);
    drop(journal);
    let last = all.last().unwrap().0.location.segment;
    for number in last..=last + 1 {
        zizon_journal::Fs::remove(&world.fs, &segment_path(number)).unwrap();
    }
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_missing_watermark_is_corruption() {
    let world = World::new();
    drop(world.open());
    zizon_journal::Fs::remove(&world.fs, &watermark_path()).unwrap();
    assert!(matches!(world.try_open(), Err(OpenError::Corrupt { .. })));
}

#[test]
fn one_unreadable_watermark_slot_is_repaired_and_reported() {
    for slot in 0..2 {
        let world = World::new();
        let mut journal = world.open();
        let all = fill(&mut journal, 0, 10, 3);
        drop(journal);
        world.fs.flip_bit(&watermark_path(), slot * SLOT_BYTES as u64 * 8 + 77);
        let (journal, recovery) = world.try_open().unwrap();
        assert_eq!((recovery.repaired_slots, recovery.last), (1, Seq(10)));
        assert_readable(&journal, &all);
        drop(journal);
        assert_eq!(world.try_open().unwrap().1.repaired_slots, 0);
    }
}

#[test]
fn a_segment_of_another_journal_is_refused() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 10, 3);
    drop(journal);
    let content = world.fs.content(&watermark_path()).unwrap();
    let mark = Mark::decode(&content).unwrap();
    let foreign = Mark { uuid: [3; 16], generation: mark.generation + 9, ..mark };
    world.fs.put(&watermark_path(), &[foreign.encode(), foreign.encode()].concat());
    let error = world.try_open().err().unwrap();
    assert!(error.to_string().contains("belongs to another journal"), "{error}");
}

#[test]
fn what_was_cut_off_does_not_come_back_after_another_loss_of_power() {
    // A batch crosses into the second segment; of it only the second segment's part arrived.
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 40, 4);
    let last = all.last().unwrap().0.location.segment;
    let before = world.fs.snapshot();
    while journal.append(&payload(1, 300)).unwrap().location.segment == last {}
    journal.append(&payload(1, 3000)).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let arrived = world.fs.content(&segment_path(last + 1)).unwrap();
    for seed in 0..20 {
        let world = World::on(before.snapshot());
        world.fs.put(&segment_path(last + 1), &arrived);
        let (mut journal, recovery) = world.try_open().unwrap();
        assert_eq!(recovery.last, Seq(40));
        assert!(recovery.truncated_bytes > 3000);
        journal.append(&payload(2, 300)).unwrap();
        journal.sync().unwrap();
        drop(journal);
        let world = World::on(world.fs.crash(&zizon_journal::SeededRng::new(seed)));
        let (journal, recovery) = world.try_open().unwrap();
        assert_eq!(recovery.last, Seq(41));
        assert_readable(&journal, &all);
    }
}

/// Of a batch the second frame arrived and the first did not. The frame that takes the first one's place ends exactly where
/// the second one stands, which then has the right sequence, offset and checksum.
#[test]
fn a_frame_that_was_cut_off_never_follows_its_successor() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 10, 3);
    let first = journal.append(&payload(1, 200)).unwrap().location;
    journal.sync().unwrap();
    let start = usize::try_from(first.frame).unwrap() + 232;
    let first_len = 512 - start % 512 + 512 - 32;
    let before = world.fs.snapshot();
    journal.append(&payload(2, first_len)).unwrap();
    journal.append(&payload(3, 600)).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let mut torn = world.fs.content(&segment_path(1)).unwrap();
    torn[start..start + first_len + 32].fill(0);
    for seed in 0..100 {
        let world = World::on(before.snapshot());
        world.fs.put(&segment_path(1), &torn);
        let (mut journal, recovery) = world.try_open().unwrap();
        assert_eq!(recovery.last, Seq(11));
        journal.append(&payload(4, first_len)).unwrap();
        world.fs.inject(zizon_journal::MemFault::PowerOff, 1);
        assert!(journal.sync().is_err());
        drop(journal);
        let world = World::on(world.fs.crash(&zizon_journal::SeededRng::new(seed)));
        assert!(world.try_open().unwrap().1.last <= Seq(12), "seed {seed}");
    }
}

/// A journal in whose directory the watermark still names the first segment, although three are written.
fn lagging() -> (World, Vec<(zizon_journal::Appended, Vec<u8>)>) {
    let world = World::new();
    let mut journal = world.open();
    let mut all = fill(&mut journal, 0, 4, 1);
    let old_mark = world.fs.content(&watermark_path()).unwrap();
    all.extend(fill(&mut journal, 4, 100, 1));
    drop(journal);
    world.fs.put(&watermark_path(), &old_mark);
    (world, all)
}

#[test]
fn a_bad_header_before_later_batches_is_corruption_even_behind_the_watermark() {
    let (world, _) = lagging();
    world.fs.flip_bit(&segment_path(2), 40 * 8);
    let error = world.try_open().err().unwrap();
    assert!(matches!(&error, OpenError::Corrupt { file, .. } if *file == segment_path(2)), "{error}");
}

#[test]
fn a_frame_missing_before_the_batch_that_completed_its_segment_is_corruption() {
    let (world, all) = lagging();
    let last = all.iter().rfind(|(appended, _)| appended.location.segment == 1).unwrap().0.location;
    world.fs.flip_bit(&segment_path(1), u64::from(last.frame + 40) * 8);
    // No later frame is left to prove it: only the footer does.
    for path in world.fs.paths().into_iter().filter(|path| *path > segment_path(1) && path.extension().is_some()) {
        let len = world.fs.content(&path).unwrap().len();
        world.fs.put(&path, &vec![0; len]);
    }
    let error = world.try_open().err().unwrap();
    assert!(matches!(error, OpenError::Corrupt { offset, .. } if offset == u64::from(last.frame)), "{error}");
}

#[test]
fn after_a_loss_of_power_the_watermark_lags_by_no_more_than_a_segment() {
    let world = World::new();
    let mut journal = world.open();
    let last = fill(&mut journal, 0, 200, 3).last().unwrap().0.location.segment;
    for seed in 0..20 {
        let after = world.fs.crash(&zizon_journal::SeededRng::new(seed));
        let (mark, _) =
            zizon_journal::format::watermark::decode_file(&after.content(&watermark_path()).unwrap()).unwrap();
        assert!(mark.segment + 1 >= last, "{} of {last}", mark.segment);
    }
}

#[test]
fn leftovers_far_behind_the_end_are_cleared_on_the_real_file_system() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let options = zizon_journal::Options { segment_bytes: 4 << 20, ..crate::support::small() };
    let open = || zizon_journal::Journal::open(zizon_journal::Env::real(), dir.path(), options.clone()).unwrap();
    let (mut journal, _) = open();
    let all = fill(&mut journal, 0, 50, 5);
    drop(journal);
    let segment = |number: u64| dir.path().join(format!("{number:020}.seg"));
    let write = |number: u64, at: u64| {
        std::fs::OpenOptions::new().write(true).open(segment(number)).unwrap().write_all_at(b"leftover", at).unwrap();
    };
    write(1, 3 << 20);
    write(2, 1 << 20);
    let (journal, recovery) = open();
    assert!(recovery.truncated_bytes > 3 << 20, "{}", recovery.truncated_bytes);
    assert_readable(&journal, &all);
    drop(journal);
    assert_eq!(open().1.truncated_bytes, 0);
}
