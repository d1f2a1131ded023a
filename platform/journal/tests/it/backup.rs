//! Copies of a journal that is being written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zizon_journal::backup::{BackupError, Copied, Original, SegmentCopy, Sink, extend};
use zizon_journal::{
    Env, File, Fs, Journal, LockError, LockGuard, MemFault, MemFs, OpenError, Options, RealFs, SeededRng, Seq,
};

use crate::support::{DIR, World, assert_readable, fill, payload, segment_path, small, watermark_path};

/// Copies made so far, by number, and how many were put by the last one.
#[derive(Default)]
struct Shelf {
    kept: BTreeMap<u64, (SegmentCopy, Vec<u8>)>,
    put: Vec<u64>,
}

impl Sink for Shelf {
    fn has(&mut self, segment: &SegmentCopy) -> bool {
        self.kept.get(&segment.number).is_some_and(|(kept, _)| kept == segment)
    }

    fn put(&mut self, segment: &SegmentCopy, bytes: &[u8]) -> io::Result<()> {
        self.put.push(segment.number);
        self.kept.insert(segment.number, (*segment, bytes.to_vec()));
        Ok(())
    }
}

impl Shelf {
    /// Copies, and puts back what was copied into a file system of its own.
    fn copy(&mut self, env: Env) -> Result<(Copied, World), BackupError> {
        let original = Original::open(env, Path::new(DIR), small())?.expect("a journal");
        self.put.clear();
        let copied = original.copy(self)?;
        assert!(copied.last >= original.durable());
        let fs = MemFs::default();
        for segment in &copied.segments {
            let (kept, bytes) = &self.kept[&segment.number];
            assert_eq!(kept, segment);
            fs.put(&Path::new(DIR).join(segment.file_name()), bytes);
            extend(&fs, Path::new(DIR), segment).unwrap();
        }
        fs.put(&watermark_path(), &copied.watermark);
        Ok((copied, World::on(fs)))
    }
}

/// Opens a copy: its end is the end its watermark says, and every frame is the one that was appended.
fn check(copied: &Copied, copy: &World, appended: &BTreeMap<u64, Vec<u8>>, context: &str) {
    let (journal, recovery) = copy.try_open().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!((recovery.truncated_bytes, recovery.recovered_frames), (0, 0), "{context}");
    assert_eq!((recovery.first, recovery.last, journal.uuid()), (copied.first, copied.last, copied.uuid), "{context}");
    let mut seq = recovery.first.0;
    for frame in journal.reader().scan(recovery.first) {
        let frame = frame.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!((frame.seq.0, Some(&frame.payload[..])), (seq, appended.get(&seq).map(Vec::as_slice)), "{context}");
        seq += 1;
    }
    assert_eq!(seq, copied.last.0 + 1, "{context}");
    journal.reader().verify(&mut |_| {}).unwrap_or_else(|error| panic!("{context}: {error}"));
}

/// A writer that takes a random step whenever the copy touches the disk.
struct Writer {
    journal: Journal,
    rng: SeededRng,
    appended: BTreeMap<u64, Vec<u8>>,
    durable: u64,
    /// Sequence below which frames may have been given up.
    given_up: u64,
    counter: u64,
}

impl Writer {
    fn new(world: &World, seed: u64) -> Self {
        let (journal, _) = world.try_open().unwrap();
        let rng = SeededRng::new(seed);
        Self { journal, rng, appended: BTreeMap::new(), durable: 0, given_up: 1, counter: 0 }
    }

    fn step(&mut self) {
        match self.rng.below(16) {
            0..9 => {
                let len = if self.rng.below(8) == 0 { 3000 } else { 20 + self.rng.below(500) };
                let bytes = payload(self.counter, usize::try_from(len).unwrap());
                self.counter += 1;
                if let Ok(appended) = self.journal.append(&bytes) {
                    self.appended.insert(appended.seq.0, bytes);
                }
            }
            9..13 => self.durable = self.journal.sync().unwrap().0,
            13..15 => {
                let _ = self.journal.maintenance().compress_one().unwrap();
            }
            _ => {
                if self.rng.below(60) == 0 {
                    self.given_up = self.given_up.max(self.durable.saturating_sub(self.rng.below(300)));
                    let _ = self.journal.maintenance().retain_from(Seq(self.given_up)).unwrap();
                }
            }
        }
    }
}

type Step = Arc<dyn Fn() + Send + Sync>;

/// A file system on which somebody else is at work: a step before every look at it.
struct Busy {
    fs: MemFs,
    step: Step,
}

struct BusyFile {
    file: Arc<dyn File>,
    step: Step,
}

impl File for BusyFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.step)();
        self.file.read_at(into, offset)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::Error::other("a copy writes nothing to its original"))
    }
    fn sync_data(&self) -> io::Result<()> {
        Err(io::Error::other("a copy writes nothing to its original"))
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::Error::other("a copy writes nothing to its original"))
    }
    fn len(&self) -> io::Result<u64> {
        (self.step)();
        self.file.len()
    }
}

impl Fs for Busy {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir_all(dir)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        (self.step)();
        Ok(Arc::new(BusyFile { file: self.fs.open(path)?, step: Arc::clone(&self.step) }))
    }
    fn create(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        Err(io::Error::other("a copy makes nothing beside its original"))
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::Error::other("a copy renames nothing of its original"))
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::Error::other("a copy removes nothing of its original"))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        (self.step)();
        self.fs.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.fs.free_bytes(dir)
    }
    fn lock(&self, path: &Path) -> Result<Arc<dyn LockGuard>, LockError> {
        self.fs.lock(path)
    }
}

#[test]
fn at_any_moment_of_any_schedule_a_copy_is_a_prefix_that_contains_what_was_durable_before() {
    let (mut grown, mut trimmed, mut again) = (0, 0, 0);
    for seed in 0..300 {
        let world = World::new();
        let writer = Arc::new(parking_lot::Mutex::new(Writer::new(&world, seed)));
        let mut shelf = Shelf::default();
        for round in 0..4 {
            for _ in 0..40 + seed % 200 {
                writer.lock().step();
            }
            let (before, first) = {
                let writer = writer.lock();
                (writer.durable, writer.journal.reader().first().0)
            };
            let busy = {
                let writer = Arc::clone(&writer);
                // Some writers are slow, some write a whole segment between two reads.
                let pace = 1 + seed % 40;
                Busy { fs: world.fs.clone(), step: Arc::new(move || (0..pace).for_each(|_| writer.lock().step())) }
            };
            let env = Env { fs: Arc::new(busy), ..world.env() };
            let context = format!("seed {seed}, round {round}");
            let (copied, copy) = shelf.copy(env).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            assert!(copied.last.0 >= before, "{context}: {} of {before}", copied.last.0);
            let writer = writer.lock();
            assert!(copied.first.0 <= writer.given_up.max(first), "{context}");
            check(&copied, &copy, &writer.appended, &context);
            grown += u64::from(copied.last.0 > before);
            trimmed += u64::from(copied.first.0 > first);
            again += copied.segments.len() as u64 - shelf.put.len().min(copied.segments.len()) as u64;
        }
    }
    // What this test is about did happen.
    assert!(grown > 300 && trimmed > 10 && again > 100, "grown {grown}, trimmed {trimmed}, kept {again}");
}

#[test]
fn a_second_copy_reads_only_what_is_new_or_was_compressed_meanwhile() {
    let world = World::new();
    let mut journal = world.open();
    let mut all = fill(&mut journal, 0, 300, 7);
    let mut shelf = Shelf::default();
    let (first, _) = shelf.copy(world.env()).unwrap();
    assert_eq!(shelf.put, (1..=first.segments.len() as u64).collect::<Vec<_>>());
    assert!(journal.maintenance().compress_one().unwrap());
    all.extend(fill(&mut journal, 300, 310, 7));
    let (second, copy) = shelf.copy(world.env()).unwrap();
    let last = first.segments.len() as u64;
    assert_eq!(shelf.put, [vec![1], (last..=second.segments.len() as u64).collect()].concat());
    assert_readable(&copy.open(), &all);
    let put_again = shelf.copy(world.env()).map(|_| shelf.put.clone()).unwrap();
    assert_eq!(put_again, [second.segments.len() as u64], "only the one being written");
}

#[test]
fn a_copy_of_a_journal_that_nobody_owns_has_what_followed_a_watermark_that_lags() {
    let world = World::new();
    let mut journal = world.open();
    let old = world.fs.content(&watermark_path()).unwrap();
    let all = fill(&mut journal, 0, 120, 7);
    drop(journal);
    world.fs.put(&watermark_path(), &old);
    let (copied, copy) = Shelf::default().copy(world.env()).unwrap();
    assert_eq!(copied.last, Seq(120));
    assert_readable(&copy.open(), &all);
}

#[test]
fn an_empty_journal_and_none_at_all() {
    let world = World::new();
    assert!(Original::open(world.env(), Path::new(DIR), small()).unwrap().is_none());
    let journal = world.open();
    for owned in [true, false] {
        let (copied, copy) = Shelf::default().copy(world.env()).unwrap();
        assert_eq!((copied.first, copied.last, copied.segments.len()), (Seq(1), Seq(0), 0), "{owned}");
        let (mut again, recovery) = copy.try_open().unwrap();
        assert!(!recovery.created);
        assert_eq!(again.append(b"a").unwrap().seq, Seq(1));
        if !owned {
            assert_eq!(again.uuid(), copied.uuid);
        }
    }
    drop(journal);
}

#[test]
fn a_copy_goes_on_where_it_ends() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 100, 7);
    let (_, copy) = Shelf::default().copy(world.env()).unwrap();
    let mut goes_on = copy.open();
    let more = fill(&mut goes_on, 1000, 1100, 9);
    drop(goes_on);
    assert_readable(&copy.open(), &[all, more].concat());
}

#[test]
fn no_flipped_bit_of_an_original_gets_into_a_copy_unseen() {
    let world = World::new();
    let mut journal = world.open();
    let all = fill(&mut journal, 0, 200, 7);
    assert!(journal.maintenance().compress_one().unwrap());
    let appended: BTreeMap<u64, Vec<u8>> = all.iter().map(|(a, bytes)| (a.seq.0, bytes.clone())).collect();
    let last = all.last().unwrap().0.location.segment;
    let (mut seen, mut harmless) = (0, 0);
    for number in 1..=last {
        let path = segment_path(number);
        let bits = world.fs.content(&path).unwrap().len() as u64 * 8;
        let rng = SeededRng::new(number);
        for _ in 0..60 {
            let bit = rng.below(bits);
            let damaged = world.fs.snapshot();
            assert!(damaged.flip_bit(&path, bit));
            let env = World::on(damaged).env();
            // As if somebody owned it, so that nothing is repaired on the way.
            let _owner = env.fs.lock(&Path::new(DIR).join("LOCK")).unwrap();
            match Shelf::default().copy(env) {
                Err(BackupError::Journal(OpenError::Corrupt { file, .. })) => {
                    assert!(file == path || file == segment_path(number + 1), "{}", file.display());
                    seen += 1;
                }
                Err(error) => panic!("{error:?}"),
                // Behind the frames, where nothing was written.
                Ok((copied, copy)) => {
                    check(&copied, &copy, &appended, &format!("segment {number}, bit {bit}"));
                    assert_eq!(copied.last, Seq(200));
                    harmless += 1;
                }
            }
        }
    }
    assert!(seen > 100, "seen {seen}, harmless {harmless}");
}

#[test]
fn a_missing_segment_and_a_sink_that_fails_are_said() {
    let world = World::new();
    let mut journal = world.open();
    fill(&mut journal, 0, 200, 7);
    struct Full;
    impl Sink for Full {
        fn has(&mut self, _: &SegmentCopy) -> bool {
            false
        }
        fn put(&mut self, _: &SegmentCopy, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let original = Original::open(world.env(), Path::new(DIR), small()).unwrap().unwrap();
    assert!(matches!(original.copy(&mut Full), Err(BackupError::Put { segment: 1, .. })));
    world.fs.inject(MemFault::ReadError, 3);
    assert!(matches!(original.copy(&mut Shelf::default()), Err(BackupError::Journal(OpenError::Io { .. }))));
    world.fs.remove(&segment_path(2)).unwrap();
    match original.copy(&mut Shelf::default()) {
        Err(BackupError::Journal(OpenError::Corrupt { file, reason, .. })) => {
            assert_eq!((file, reason.as_str()), (segment_path(2), "segment is missing"));
        }
        other => panic!("{:?}", other.map(|copied| copied.last)),
    }
}

/// Copies into a directory of the real file system.
struct Into(PathBuf);

impl Sink for Into {
    fn has(&mut self, _: &SegmentCopy) -> bool {
        false
    }
    fn put(&mut self, segment: &SegmentCopy, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(self.0.join(segment.file_name()), bytes)
    }
}

#[test]
fn copies_made_on_another_thread_while_the_journal_is_written_and_compressed_contain_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 64 << 10, ..small() };
    let (mut journal, _) = Journal::open(Env::real(), dir.path(), options.clone()).unwrap();
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let maintenance = journal.maintenance();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..u64::MAX {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                journal.append(&n.to_le_bytes().repeat(1 + usize::try_from(n % 60).unwrap())).unwrap();
                if n % 16 == 15 {
                    acknowledged.store(journal.sync().unwrap().0, Ordering::Release);
                }
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = maintenance.compress_one().unwrap();
            }
        });
        for round in 0..20 {
            let before = acknowledged.load(Ordering::Acquire);
            let to = tempfile::tempdir().unwrap();
            let original = Original::open(Env::real(), dir.path(), options.clone()).unwrap().unwrap();
            let copied = original.copy(&mut Into(to.path().to_owned())).unwrap();
            assert!(copied.last.0 >= before, "round {round}: {} of {before}", copied.last.0);
            std::fs::write(to.path().join("watermark"), &copied.watermark).unwrap();
            copied.segments.iter().for_each(|segment| extend(&RealFs, to.path(), segment).unwrap());
            let (copy, recovery) = Journal::open(Env::real(), to.path(), options.clone()).unwrap();
            assert_eq!((recovery.last, recovery.truncated_bytes), (copied.last, 0), "round {round}");
            for (n, frame) in copy.reader().scan(Seq(1)).enumerate() {
                assert_eq!(&frame.unwrap().payload[..8], (n as u64).to_le_bytes(), "round {round}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
