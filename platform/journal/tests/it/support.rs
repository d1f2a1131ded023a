//! Builders shared by the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zizon_journal::{Appended, Env, Journal, ManualClock, MemFs, OpenError, Options, Recovery, SeededRng};

pub const DIR: &str = "/journal";

/// Small segments, so that tests cross their ends.
pub fn small() -> Options {
    Options {
        segment_bytes: 16 << 10,
        max_frame_bytes: 4 << 10,
        max_batch_bytes: 64 << 10,
        free_reserve_bytes: 0,
        block_bytes: 2 << 10,
        ..Options::default()
    }
}

/// A journal on a file system in memory.
pub struct World {
    pub fs: MemFs,
    pub clock: Arc<ManualClock>,
    pub options: Options,
}

impl World {
    pub fn new() -> Self {
        Self::on(MemFs::default())
    }

    pub fn on(fs: MemFs) -> Self {
        Self { fs, clock: Arc::new(ManualClock::at(1_000_000)), options: small() }
    }

    pub fn env(&self) -> Env {
        Env { clock: self.clock.clone(), rng: Arc::new(SeededRng::new(7)), fs: Arc::new(self.fs.clone()) }
    }

    pub fn try_open(&self) -> Result<(Journal, Recovery), OpenError> {
        Journal::open(self.env(), DIR, self.options.clone())
    }

    pub fn open(&self) -> Journal {
        self.try_open().unwrap().0
    }
}

pub fn segment_path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:020}.seg"))
}

pub fn watermark_path() -> PathBuf {
    Path::new(DIR).join("watermark")
}

/// A payload that differs for every `n`, half of it compressible.
pub fn payload(n: u64, len: usize) -> Vec<u8> {
    let rng = SeededRng::new(n);
    (0..len).map(|i| if i % 32 < 16 { b'a' } else { rng.next_u64().to_le_bytes()[0] }).collect()
}

/// Appends payloads `from..to` of varying length, `per_batch` to a batch, all durable.
pub fn fill(journal: &mut Journal, from: u64, to: u64, per_batch: u64) -> Vec<(Appended, Vec<u8>)> {
    let mut all = Vec::new();
    for n in from..to {
        let bytes = payload(n, 100 + usize::try_from(n % 7).unwrap() * 90);
        all.push((journal.append(&bytes).unwrap(), bytes));
        if (n + 1 - from).is_multiple_of(per_batch) {
            journal.sync().unwrap();
        }
    }
    journal.sync().unwrap();
    all
}

/// Every frame is readable at its location, by slices of it, and by a scan.
pub fn assert_readable(journal: &Journal, all: &[(Appended, Vec<u8>)]) {
    let reader = journal.reader();
    for (appended, bytes) in all {
        assert_eq!(&reader.read(appended.location).unwrap()[..], &bytes[..]);
        let slice = appended.location.slice(10, 20).unwrap();
        assert_eq!(&reader.read(slice).unwrap()[..], &bytes[10..30]);
    }
    let first = all[0].0.seq;
    let scanned: Vec<_> = reader.scan(first).map(Result::unwrap).take(all.len()).collect();
    assert_eq!(scanned.len(), all.len());
    for (frame, (appended, bytes)) in scanned.iter().zip(all) {
        assert_eq!((frame.seq, frame.location, frame.at_ms), (appended.seq, appended.location, appended.at_ms));
        assert_eq!(&frame.payload[..], &bytes[..]);
    }
}
