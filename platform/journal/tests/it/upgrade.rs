//! A journal that format version 1 wrote, kept as bytes: every later version opens it, reads all of it and goes on in it.
//!
//! `tests/written-by-1` holds a compressed, an uncompressed and an active segment with their watermark: frames 1 to 100 of
//! [`fill`], three to a batch. It is never made again, whatever the format becomes.

use std::path::Path;

use zizon_journal::Seq;

use crate::support::{DIR, World, fill, payload};

fn written_by_version_1() -> World {
    let world = World::new();
    // The owner's lock is taken in the real file system only; the directory is made by the first opening.
    drop(world.open());
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/written-by-1")).unwrap() {
        let entry = entry.unwrap();
        world.fs.put(&Path::new(DIR).join(entry.file_name()), &std::fs::read(entry.path()).unwrap());
    }
    world
}

#[test]
fn a_journal_of_version_1_is_read_and_goes_on() {
    let world = written_by_version_1();
    let (mut journal, recovery) = world.try_open().unwrap();
    assert_eq!((recovery.created, recovery.truncated_bytes), (false, 0));
    assert_eq!(journal.durable(), Seq(100));
    for again in [false, true] {
        let reader = journal.reader();
        let frames: Vec<_> = reader.scan(Seq(1)).map(Result::unwrap).collect();
        assert_eq!(frames.len(), if again { 110 } else { 100 });
        for frame in &frames {
            let n = frame.seq.0 - 1;
            let expected = payload(n, 100 + usize::try_from(n % 7).unwrap() * 90);
            assert_eq!(frame.payload, expected, "frame {}", frame.seq.0);
            assert_eq!(reader.read(frame.location).unwrap(), expected);
        }
        let report = reader.verify(&mut |_| {}).unwrap();
        assert_eq!(report.compressed, 1, "one segment is kept compressed, one is not");
        if !again {
            fill(&mut journal, 100, 110, 3);
        }
    }
}
