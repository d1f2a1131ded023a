//! Damage on the disk: noticed, never served.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use zizon_journal::{Env, MemFs, Rng, SeededRng};

use super::world::{open, small};
use crate::engine::{Engine, LsmStore, MemStore, OpenError, Submitted};
use crate::{Cond, Durability, EngineOptions, Item, Key, Op, Patch, ReadError};

/// Flips per kind of file; together more than 200.
const FLIPS: u64 = 130;

fn plan(n: i64) -> Vec<Op> {
    let order = Item::new(Key::new(format!("u{}", n % 17), format!("o{n:05}")))
        .with("b", vec![u8::try_from(n % 251).expect("below 256"); 200]);
    let stock = Op::Patch {
        key: Key::new(format!("s{}", n % 5), "S"),
        patches: vec![Patch::AddInt("q".into(), -1)],
        cond: Cond::Always,
    };
    vec![Op::Put { item: order, cond: Cond::NotExists }, stock]
}

fn fill(engine: &Engine, plans: i64) -> BTreeMap<Key, Item> {
    for n in 0..plans {
        assert!(matches!(engine.submit(plan(n), Durability::Durable, None), Submitted::Waiting(_)));
        if n % 10 == 9 {
            assert!(engine.sync_once());
        }
    }
    while engine.sync_once() {}
    let mut state = BTreeMap::new();
    for n in 0..plans {
        for op in plan(n) {
            let item = engine.get(op.key()).expect("it reads").expect("it is there");
            state.insert(op.key().clone(), item);
        }
    }
    state
}

/// Everything that is served is right; says whether all of it was served.
fn serves_only_truth(engine: &Engine, state: &BTreeMap<Key, Item>) -> bool {
    let mut whole = true;
    for (key, item) in state {
        match engine.get(key) {
            Ok(Some(read)) => assert_eq!(&read, item, "a damaged item is served"),
            Ok(None) => panic!("a damaged item reads as absent: {key}"),
            Err(ReadError::Corrupt(_) | ReadError::Unavailable(_)) => whole = false,
            Err(other) => panic!("unexpected {other}"),
        }
    }
    whole
}

#[test]
fn a_flipped_bit_in_the_journal_is_never_served() {
    let (fs, store) = (MemFs::new(64 << 20), MemStore::new());
    let engine = open(&fs, &store, &small()).expect("it opens");
    let state = fill(&engine, 300);
    engine.close();
    drop(engine);
    let rng = SeededRng::new(11);
    let (mut refused, mut detected, mut harmless) = (0, 0, 0);
    for _ in 0..FLIPS {
        let disk = fs.snapshot();
        let files: Vec<PathBuf> = disk.paths().into_iter().filter(|path| !path.ends_with("LOCK")).collect();
        let file = &files[usize::try_from(rng.below(files.len() as u64)).expect("few files")];
        let bits = disk.content(file).map_or(0, |content| content.len() as u64 * 8);
        if !disk.flip_bit(file, rng.below(bits)) {
            continue;
        }
        // Once with the index as it was, once with an index to rebuild from every frame.
        for store in [store.clone(), MemStore::new()] {
            match open(&disk, &store, &small()) {
                Err(OpenError::Journal(_) | OpenError::Replay { .. }) => refused += 1,
                Err(other) => panic!("unexpected {other}"),
                Ok(engine) => {
                    if serves_only_truth(&engine, &state) {
                        harmless += 1;
                    } else {
                        detected += 1;
                    }
                }
            }
        }
    }
    assert!(refused + detected > FLIPS / 4, "refused {refused}, detected {detected}, harmless {harmless}");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it copies");
        }
    }
}

fn files_under(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("it lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_under(&path, into) } else { into.push(path) }
    }
}

fn open_lsm(dir: &Path) -> Result<Engine, OpenError> {
    let options = lsm_options();
    let store = LsmStore::new(&dir.join("index"), options.index.clone());
    Engine::open(Env::real(), &dir.join("journal"), Arc::new(store), options, &mut |_| {})
}

fn lsm_options() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 16 << 10, hot_items: 0, ..EngineOptions::default() };
    options.journal.segment_bytes = 256 << 10;
    options.journal.max_frame_bytes = 64 << 10;
    options.journal.free_reserve_bytes = 0;
    options.index.table_bytes = 16 << 10;
    options
}

#[test]
fn a_flipped_bit_in_the_index_is_noticed_and_the_index_rebuilt() {
    let root = TempDir::new().expect("a temporary directory");
    let source = root.path().join("source");
    let engine = open_lsm(&source).expect("it opens");
    let mut state = BTreeMap::new();
    for round in 1..=6 {
        state = fill_more(&engine, round * 100);
        engine.seal();
        while engine.maintain().expect("it flushes") {}
    }
    engine.close();
    drop(engine);

    let rng = SeededRng::new(13);
    let mut seed = [0; 8];
    rng.fill(&mut seed);
    let (mut noticed, mut harmless) = (0, 0);
    for number in 0..FLIPS {
        let dir = root.path().join(number.to_string());
        copy_dir(&source, &dir);
        let mut files = Vec::new();
        files_under(&dir.join("index"), &mut files);
        files.sort();
        let file = &files[usize::try_from(rng.below(files.len() as u64)).expect("few files")];
        let mut content = fs::read(file).expect("it reads");
        let bit = rng.below(content.len() as u64 * 8);
        content[usize::try_from(bit / 8).expect("small")] ^= 1 << (bit % 8);
        fs::write(file, content).expect("it writes");

        let whole = match open_lsm(&dir) {
            Ok(engine) => {
                let whole = serves_only_truth(&engine, &state);
                let rebuilt = engine.metrics().replayed_plans > 0;
                noticed += u32::from(!whole || rebuilt);
                harmless += u32::from(whole && !rebuilt);
                whole
            }
            Err(OpenError::IndexForeign(_)) => panic!("damage passes for something foreign"),
            Err(other) => panic!("{} does not open: {other}", file.display()),
        };
        if !whole {
            // What was noticed while running is rebuilt at the next start.
            let engine = open_lsm(&dir).expect("it opens after damage");
            assert!(engine.metrics().replayed_plans > 0, "the index is rebuilt");
            assert!(serves_only_truth(&engine, &state), "after that everything is served");
        }
        fs::remove_dir_all(&dir).expect("it is removed");
    }
    assert!(noticed > harmless, "noticed {noticed}, harmless {harmless}");
}

#[test]
fn an_index_file_that_ends_early_is_noticed_and_the_index_rebuilt() {
    let root = TempDir::new().expect("a temporary directory");
    let source = root.path().join("source");
    let engine = open_lsm(&source).expect("it opens");
    let state = fill_more(&engine, 100);
    engine.close();
    drop(engine);
    let mut files = Vec::new();
    files_under(&source.join("index"), &mut files);
    for file in files {
        let content = fs::read(&file).expect("it reads");
        let name = file.strip_prefix(&source).expect("it is inside");
        for len in [0, 1, 9, content.len() / 2, content.len().saturating_sub(1)] {
            let dir = root.path().join("copy");
            copy_dir(&source, &dir);
            fs::write(dir.join(name), &content[..len.min(content.len())]).expect("it writes");
            let engine = open_lsm(&dir).unwrap_or_else(|error| panic!("{} of {len} bytes: {error}", name.display()));
            if !serves_only_truth(&engine, &state) {
                drop(engine);
                let engine = open_lsm(&dir).expect("it opens after damage");
                assert!(serves_only_truth(&engine, &state), "{} of {len} bytes is not rebuilt", name.display());
            }
            fs::remove_dir_all(&dir).expect("it is removed");
        }
    }
}

fn fill_more(engine: &Engine, plans: i64) -> BTreeMap<Key, Item> {
    for n in plans - 100..plans {
        assert!(matches!(engine.submit(plan(n), Durability::Durable, None), Submitted::Waiting(_)));
    }
    while engine.sync_once() {}
    let keys = (0..plans).flat_map(plan).map(|op| op.key().clone());
    keys.map(|key| (key.clone(), engine.get(&key).expect("it reads").expect("it is there"))).collect()
}

#[test]
fn a_deleted_index_is_rebuilt() {
    let root = TempDir::new().expect("a temporary directory");
    let engine = open_lsm(root.path()).expect("it opens");
    let state = fill(&engine, 200);
    engine.close();
    drop(engine);
    for gone in ["index", "index/tree", "index/FORMAT", "index/tree/current", "index/tree/tables"] {
        let path = root.path().join(gone);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("it is removed");
        let engine = open_lsm(root.path()).expect("it opens");
        assert_eq!(engine.metrics().replayed_plans, 200, "without {gone} the index is rebuilt");
        assert!(serves_only_truth(&engine, &state));
        engine.close();
    }
}

#[test]
fn an_index_of_an_older_format_is_rebuilt_and_one_of_a_newer_format_refused() {
    let root = TempDir::new().expect("a temporary directory");
    let engine = open_lsm(root.path()).expect("it opens");
    let state = fill(&engine, 50);
    engine.close();
    drop(engine);
    let format = root.path().join("index/FORMAT");
    let text = fs::read_to_string(&format).expect("it reads");
    let line = text.trim_end().rsplit_once(' ').expect("a checksum").0.to_owned();
    let with_version = |version: u32| {
        let line = line.replacen(" 1 ", &format!(" {version} "), 1);
        format!("{line} {:08x}\n", crc32c::crc32c(line.as_bytes()))
    };

    fs::write(&format, with_version(2)).expect("it writes");
    let newer = open_lsm(root.path());
    assert!(matches!(&newer, Err(OpenError::IndexForeign(what)) if what.contains("version 2")), "{newer:?}");

    fs::write(&format, with_version(0)).expect("it writes");
    let engine = open_lsm(root.path()).expect("an older index is rebuilt");
    assert_eq!(engine.metrics().replayed_plans, 50);
    assert!(serves_only_truth(&engine, &state));
    assert_eq!(fs::read_to_string(&format).expect("it reads"), text, "in the format of this version");
}

#[test]
fn an_index_of_another_journal_is_refused() {
    let root = TempDir::new().expect("a temporary directory");
    for name in ["a", "b"] {
        let engine = open_lsm(&root.path().join(name)).expect("it opens");
        fill(&engine, 20);
        engine.close();
    }
    fs::remove_dir_all(root.path().join("a/index")).expect("it is removed");
    copy_dir(&root.path().join("b/index"), &root.path().join("a/index"));
    let foreign = open_lsm(&root.path().join("a"));
    assert!(matches!(&foreign, Err(OpenError::IndexForeign(what)) if what.contains("another journal")), "{foreign:?}");
}

#[test]
fn a_plan_of_a_newer_format_is_refused_by_sequence() {
    let fs = MemFs::new(64 << 20);
    let path = Path::new("/t/journal");
    let (mut journal, _) =
        zizon_journal::Journal::open(super::world::env(&fs), path, small().journal).expect("it opens");
    journal.append(&[crate::codec::PLAN_VERSION + 1, 0]).expect("it appends");
    journal.sync().expect("it syncs");
    drop(journal);
    let newer = open(&fs, &MemStore::new(), &small());
    assert!(matches!(&newer, Err(OpenError::Replay { seq: 1, reason }) if reason.contains("version 2")), "{newer:?}");
}
