use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zizon_journal::{Appended, Journal, MemFs, OpenError, ReadError, Recovery, SeededRng, Seq};

use crate::support::{World, assert_readable, fill};

/// A journal of several segments, of which the older ones are compressed.
fn pristine() -> (MemFs, Vec<(Appended, Vec<u8>)>) {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 400, 6);
    for _ in 0..5 {
        assert!(journal.maintenance().compress_one().unwrap());
    }
    assert!(journal.maintenance().raw_sealed() >= 3);
    assert_readable(&journal, &all);
    drop(journal);
    (world.fs.snapshot(), all)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Refused,
    Corrupt,
    Repaired,
}

/// Flips a bit and says how it was found; panics when it was not, or when it did harm.
fn flip(disk: &MemFs, all: &[(Appended, Vec<u8>)], path: &Path, bit: u64) -> Found {
    let world = World::on(disk.snapshot());
    assert!(world.fs.flip_bit(path, bit));
    match world.try_open() {
        Err(OpenError::Corrupt { .. } | OpenError::Version { .. }) => Found::Refused,
        Err(other) => panic!("bit {bit} of {}: {other}", path.display()),
        Ok((journal, recovery)) => {
            assert_eq!(recovery.last, all.last().unwrap().0.seq, "bit {bit} of {}: frames lost", path.display());
            check_served(&journal, &recovery, all, &format!("bit {bit} of {}", path.display()))
        }
    }
}

fn check_served(journal: &Journal, recovery: &Recovery, all: &[(Appended, Vec<u8>)], what: &str) -> Found {
    let reader = journal.reader();
    let mut refused = 0;
    for (appended, bytes) in all {
        match reader.read(appended.location) {
            Ok(payload) => assert_eq!(&payload[..], &bytes[..], "{what}: wrong payload served"),
            Err(ReadError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{what}: {other}"),
        }
    }
    let mut expected = all.iter();
    let mut scan = reader.scan(Seq(1));
    let scan_error = loop {
        match scan.next() {
            Some(Ok(frame)) => assert_eq!(&frame.payload[..], &expected.next().unwrap().1[..], "{what}"),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    if scan_error.is_none() {
        assert!(expected.next().is_none(), "{what}: scan lost frames");
    }
    assert_eq!(scan_error.is_some(), refused > 0, "{what}: scan and read disagree");
    if reader.verify(&mut |_| {}).is_err() {
        return Found::Corrupt;
    }
    assert_eq!(refused, 0, "{what}: verification passed over it");
    assert!(recovery.repaired_slots > 0 || recovery.truncated_bytes > 0, "{what}: nobody noticed");
    Found::Repaired
}

#[test]
fn two_hundred_random_bit_flips_are_all_found_and_none_is_served() {
    let (disk, all) = pristine();
    let rng = SeededRng::new(42);
    let paths: Vec<PathBuf> = disk.paths().into_iter().filter(|path| !path.ends_with("LOCK")).collect();
    let mut found: BTreeMap<Found, u32> = BTreeMap::new();
    let mut kinds = 0;
    for _ in 0..200 {
        let path = &paths[usize::try_from(rng.below(paths.len() as u64)).unwrap()];
        let bits = disk.content(path).unwrap().len() as u64 * 8;
        *found.entry(flip(&disk, &all, path, rng.below(bits))).or_default() += 1;
        kinds += 1;
    }
    println!("{kinds} flips: {found:?}");
    assert_eq!(found.len(), 3, "the flips should hit every kind of place: {found:?}");
}

#[test]
fn every_structure_of_the_files_is_covered() {
    let (disk, all) = pristine();
    for path in disk.paths() {
        let len = disk.content(&path).unwrap().len() as u64;
        if path.ends_with("LOCK") {
            continue;
        }
        // Magic, version, kind, uuid; around the first frame; directory, trailer and footer.
        let front = (0..56).step_by(3).chain(4090..4132);
        let back = (len.saturating_sub(200)..len).step_by(5);
        for byte in front.chain(back).filter(|byte| *byte < len) {
            flip(&disk, &all, &path, byte * 8 + byte % 8);
        }
    }
}

#[test]
fn a_flip_in_a_raw_segment_is_not_wrapped_in_a_valid_compressed_one() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 6);
    let location = all[5].0.location;
    world.fs.flip_bit(&crate::support::segment_path(1), u64::from(location.frame + 50) * 8);
    let error = journal.maintenance().compress_one().err().unwrap();
    assert!(error.to_string().contains("corrupt journal file"), "{error}");
    assert!(matches!(journal.reader().read(location), Err(ReadError::Corrupt { .. })));
}
