//! The index on disk against the one in memory: whatever is applied, sealed, flushed and compacted in between, both say
//! the same of every key and every range.

use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Index, IndexError, Keys, LsmIndex, LsmOptions, MemDisk, MemIndex, index_key};
use crate::model::key::Key;

const PARTITIONS: [&str; 3] = ["a", "ab", "b"];

#[derive(Debug, Clone)]
enum Step {
    /// A batch: keys by partition and number, with a value or none.
    Apply(Vec<(usize, u16, Option<u8>)>),
    Seal,
    Maintain,
    /// The index is closed, as by a crash, and brought up to date again.
    Reopen,
    Range {
        partition: usize,
        from: u16,
        len: u16,
        reverse: bool,
    },
    All,
    Get(usize, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys that change often, and enough of them for more than one chunk.
    let number = prop_oneof![0..6_u16, 0..400_u16];
    let key = (0..PARTITIONS.len(), number.clone());
    let write = (key.clone(), prop::option::weighted(0.8, any::<u8>())).prop_map(|((p, n), value)| (p, n, value));
    let range = (0..PARTITIONS.len(), number, 1..500_u16, any::<bool>());
    let step = prop_oneof![
        6 => prop::collection::vec(write, 1..200).prop_map(Step::Apply),
        2 => Just(Step::Seal),
        3 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        3 => range.prop_map(|(partition, from, len, reverse)| Step::Range { partition, from, len, reverse }),
        1 => Just(Step::All),
        3 => key.prop_map(|(p, n)| Step::Get(p, n)),
    ];
    prop::collection::vec(step, 1..60)
}

fn bytes_of(partition: usize, number: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    index_key(&Key::new(PARTITIONS[partition], format!("{number:05}")), &mut bytes);
    bytes
}

struct Pair {
    dir: tempfile::TempDir,
    real: Option<LsmIndex>,
    model: MemIndex,
    applied: Vec<(Vec<u8>, Option<Vec<u8>>, u64)>,
    seq: u64,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = Some(LsmIndex::open(dir.path(), &LsmOptions::default()).unwrap());
        Self { dir, real, model: MemIndex::open(MemDisk::default()), applied: Vec::new(), seq: 0 }
    }

    fn real(&self) -> &LsmIndex {
        self.real.as_ref().unwrap()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Apply(writes) => self.apply(writes),
            Step::Seal => self.real().seal(),
            Step::Maintain => assert!(self.real().maintain(self.seq).is_ok()),
            Step::Reopen => self.reopen(),
            Step::Get(partition, number) => {
                let key = bytes_of(partition, number);
                assert_eq!(self.real().get(&key, self.seq).unwrap(), self.model.get(&key, self.seq).unwrap());
            }
            Step::Range { partition, from, len, reverse } => {
                let bound = |n: u16| Bytes::from(format!("{n:05}"));
                let (lower, upper) = (Bound::Included(bound(from)), Bound::Excluded(bound(from + len)));
                let pk = PARTITIONS[partition].as_bytes();
                self.compare(Keys::Partition { pk, lower: &lower, upper: &upper, reverse });
                let whole = (Bound::Unbounded, Bound::Unbounded);
                self.compare(Keys::Partition { pk, lower: &whole.0, upper: &whole.1, reverse });
            }
            Step::All => self.compare(Keys::All),
        }
    }

    fn apply(&mut self, writes: Vec<(usize, u16, Option<u8>)>) {
        let before = self.seq;
        self.seq += 1;
        let mut seen = std::collections::HashSet::new();
        for (partition, number, value) in writes {
            let key = bytes_of(partition, number);
            // The engine applies each key of a batch once.
            if !seen.insert(key.clone()) {
                continue;
            }
            let value = value.map(|byte| vec![byte; 40]);
            self.real().apply(&key, value.as_deref(), self.seq);
            self.model.apply(&key, value.as_deref(), self.seq);
            // Who reads at the moment before sees nothing of it.
            assert_eq!(self.real().get(&key, before).unwrap(), self.model.get(&key, before).unwrap());
            self.applied.push((key, value, self.seq));
        }
    }

    fn reopen(&mut self) {
        drop(self.real.take());
        let real = LsmIndex::open(self.dir.path(), &LsmOptions::default()).unwrap();
        let persisted = real.persisted();
        for (key, value, seq) in self.applied.iter().filter(|(.., seq)| *seq > persisted) {
            real.apply(key, value.as_deref(), *seq);
        }
        self.real = Some(real);
    }

    fn compare(&self, keys: Keys<'_>) {
        let read = |index: &dyn Index| index.range(keys, self.seq).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(read(self.real()), read(&self.model));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_on_disk_says_what_the_one_in_memory_says(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.run(step);
        }
        pair.run(Step::All);
    }
}

/// One thread writes batches in which every key gets the same value, seals and flushes; readers at what is visible must
/// see one value, in a single read and in a range, forwards and backwards.
#[test]
fn readers_see_one_moment_while_it_is_written_sealed_and_flushed() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    let dir = tempfile::tempdir().unwrap();
    let index = LsmIndex::open(dir.path(), &LsmOptions::default()).unwrap();
    let keys: Vec<Vec<u8>> = (0..300).map(|n| bytes_of(0, n)).collect();
    let (visible, floor, done) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    keys.iter().for_each(|key| index.apply(key, Some(&1_u64.to_be_bytes()), 1));
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reverse in [false, true] {
            let (index, keys, visible, floor, done, seen) = (&index, &keys, &visible, &floor, &done, &seen);
            scope.spawn(move || {
                let unbounded = Bound::Unbounded;
                let range = Keys::Partition { pk: b"a", lower: &unbounded, upper: &unbounded, reverse };
                while !done.load(SeqCst) {
                    let at = visible.load(SeqCst);
                    let page = index.range(range, at).unwrap().collect::<Result<Vec<_>, _>>();
                    let one = index.get(&keys[7], at);
                    if floor.load(SeqCst) > at {
                        continue;
                    }
                    match (page, one) {
                        (Ok(page), Ok(one)) => {
                            assert_eq!(page.len(), keys.len());
                            assert!(page.iter().all(|(_, value)| *value == at.to_be_bytes()), "of one moment");
                            assert_eq!(one.as_deref(), Some(&at.to_be_bytes()[..]));
                            seen.fetch_add(1, SeqCst);
                        }
                        (Err(IndexError::Moved), _) | (_, Err(IndexError::Moved)) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let moment = visible.load(SeqCst);
                floor.store(moment, SeqCst);
                index.maintain(moment).unwrap();
            }
        });
        for seq in 2..1_500_u64 {
            keys.iter().for_each(|key| index.apply(key, Some(&seq.to_be_bytes()), seq));
            visible.store(seq, SeqCst);
            if seq % 20 == 0 {
                index.seal();
            }
            // Gives readers a chance against a writer that does nothing else.
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        done.store(true, SeqCst);
    });
    assert!(seen.load(SeqCst) > 0, "somebody read");
}
