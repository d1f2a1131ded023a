//! The embedded table as its users see it: threads, futures, restarts, checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;
use zizon_journal::Env;
use zizon_table::{
    CheckState, Cond, Difference, Durability, EmbeddedTable, EngineOptions, EngineStatus, Fault, FaultTable, FsckError,
    FsckHooks, FsckOptions, FsckReport, Item, Key, MemTable, OnlineChecks, Op, OpenError, Patch, Path, ReadError, Seq,
    ShardId, SkRange, Table, WriteError, fsck,
};

fn small() -> EngineOptions {
    let mut options = EngineOptions { memtable_bytes: 32 << 10, ..EngineOptions::default() };
    options.journal.segment_bytes = 8 << 20;
    options.index.table_bytes = 64 << 10;
    options
}

fn open(dir: &TempDir) -> Arc<EmbeddedTable> {
    EmbeddedTable::open(dir.path(), small(), Env::real()).expect("the table opens")
}

fn key(n: usize) -> Key {
    Key::new(format!("u{}", n % 7), format!("o{n:06}"))
}

fn order(n: usize) -> Op {
    Op::Put { item: Item::new(key(n)).with("n", n as i64).with("b", vec![5; 200]), cond: Cond::NotExists }
}

fn take(n: i64) -> Op {
    Op::Patch {
        key: Key::new("stock", "S"),
        patches: vec![Patch::AddInt(Path::attr("q"), -n), Patch::AddInt(Path::attr("s"), n)],
        cond: Cond::AttrGe(Path::attr("q"), n),
    }
}

async fn stock(table: &EmbeddedTable, q: i64) {
    let item = Item::new(Key::new("stock", "S")).with("q", q).with("s", 0);
    table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable).await.expect("stock is put");
}

fn check(dir: &TempDir) -> Result<FsckReport, FsckError> {
    let options = FsckOptions { engine: small(), ..FsckOptions::default() };
    fsck(dir.path(), &options, &mut FsckHooks { progress: &mut |_| {}, visit: &mut |_| {} })
}

#[tokio::test]
async fn writers_on_many_threads_lose_nothing_over_a_close_and_an_opening() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    stock(&table, 1_500).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let table = table.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let orders = (0..250).map(|n| table.transact(vec![order(writer * 250 + n), take(1)], None));
                runtime.block_on(join_all(orders)).into_iter().filter(Result::is_ok).count()
            })
        })
        .collect();
    let placed: usize = writers.into_iter().map(|writer| writer.join().expect("no panic")).sum();
    assert_eq!(placed, 1_500);
    table.close().await;
    assert_eq!(table.get(&key(1)).await, Err(ReadError::Closed));
    drop(table);

    let table = open(&dir);
    assert_eq!(table.metrics().replayed_plans, 0, "a closed table has nothing to catch up with");
    let shelf = table.get(&Key::new("stock", "S")).await.expect("it reads").expect("it is there");
    assert_eq!((shelf.int("q"), shelf.int("s")), (Some(0), Some(1_500)));
    let mut found = 0;
    for n in 0..2_000 {
        found += usize::from(table.get(&key(n)).await.expect("it reads").is_some());
    }
    assert_eq!(found, 1_500);
    assert!(table.metrics().index.tables > 0, "the index was written to disk");
}

#[tokio::test]
async fn a_table_that_was_dropped_without_a_close_catches_up() {
    let dir = TempDir::new().expect("a temporary directory");
    // Nothing is written to disk before it is dropped.
    let options = EngineOptions { memtable_bytes: 1 << 20, ..small() };
    let table = EmbeddedTable::open(dir.path(), options, Env::real()).expect("the table opens");
    join_all((0..300).map(|n| table.transact(vec![order(n)], None))).await;
    drop(table);
    let table = open(&dir);
    assert!(table.metrics().replayed_plans > 0);
    let read = join_all((0..300).map(|n| {
        let table = table.clone();
        async move { table.get(&key(n)).await }
    }))
    .await;
    assert!(read.into_iter().all(|item| item.expect("it reads").is_some()));
}

#[tokio::test]
async fn many_plans_share_one_sync() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    join_all((0..2_000).map(|n| table.transact(vec![order(n)], None))).await;
    let metrics = table.metrics();
    assert_eq!(metrics.batch_plans, 2_000);
    assert!(metrics.batches <= 20, "{} batches", metrics.batches);
    assert_eq!(metrics.sync.count, metrics.batches);
    assert_eq!((metrics.batch_size.count, metrics.batch_size.sum), (metrics.batches, 2_000.0));
    assert_eq!((metrics.batch_bytes.count, metrics.fsync.count), (metrics.batches, metrics.batches));
    assert!(metrics.batch_bytes.sum > metrics.plan_bytes as f64, "frames are larger than what is in them");
    assert_eq!((metrics.pending_plans, metrics.waiting, metrics.durable_seq), (0, 0, 2_000));
}

#[tokio::test]
async fn a_second_table_on_one_directory_is_refused_until_the_first_is_closed() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    let second = EmbeddedTable::open(dir.path(), small(), Env::real());
    let Err(OpenError::Journal(error)) = second else { panic!("the second is refused") };
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    table.close().await;
    assert!(EmbeddedTable::open(dir.path(), small(), Env::real()).is_ok());
}

#[tokio::test]
async fn writes_after_a_close_are_refused_and_waiting_ends() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    let waiter = {
        let table = table.clone();
        tokio::spawn(async move { table.wait_change(Seq(10)).await })
    };
    table.close().await;
    tokio::time::timeout(Duration::from_secs(10), waiter).await.expect("waiting ends").expect("no panic");
    let refused = table.write(order(1), Durability::Durable).await;
    assert_eq!(refused, Err(WriteError::Closed));
    assert_eq!(table.metrics().status, EngineStatus::Closed);
}

#[tokio::test]
async fn a_future_that_is_dropped_leaves_a_write_that_may_have_happened() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    assert!(table.write(order(1), Durability::Durable).now_or_never().is_none(), "it waits for the disk");
    table.write(order(2), Durability::Durable).await.expect("others go on");
    assert!(table.get(&key(1)).await.expect("it reads").is_some(), "it was in the batch of the other, or before");
}

#[tokio::test]
async fn a_follower_sees_every_change_in_order_while_writes_go_on() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    let follower = {
        let table = table.clone();
        tokio::spawn(async move {
            let (mut seen, mut from) = (Vec::new(), Seq(0));
            while seen.len() < 500 {
                let changes = table.changes(ShardId::ONLY, from, 64).await.expect("the feed answers");
                match changes.last() {
                    Some(last) => from = last.seq.next(),
                    None => table.wait_change(Seq(from.0.saturating_sub(1))).await,
                }
                seen.extend(changes.into_iter().map(|change| change.key));
            }
            seen
        })
    };
    for n in 0..500 {
        table.write(order(n), Durability::Durable).await.expect("it is written");
    }
    let seen = tokio::time::timeout(Duration::from_secs(60), follower).await.expect("it ends").expect("no panic");
    assert_eq!(seen, (0..500).map(key).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_idle_table_uses_no_processor_time() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    table.write(order(1), Durability::Durable).await.expect("it is written");
    let before = table.metrics();
    // Threads that poll would have gone through many rounds by then.
    let end = Instant::now() + Duration::from_millis(300);
    tokio::time::sleep_until(end.into()).await;
    assert_eq!(table.metrics(), before);
}

#[tokio::test]
async fn readers_see_whole_moments_while_the_index_is_flushed_and_compacted_under_them() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut options = small();
    options.memtable_bytes = 4 << 10;
    options.index.table_bytes = 4 << 10;
    let table = EmbeddedTable::open(dir.path(), options, Env::real()).expect("the table opens");
    let keys: Vec<Key> = (0..20).map(|n| Key::new("p", format!("{n:02}"))).collect();
    let write = |n: i64| {
        let put = |key: &Key| Op::Put { item: Item::new(key.clone()).with("n", n), cond: Cond::Always };
        table.transact(keys.iter().map(put).collect(), None)
    };
    write(0).await.expect("it is written");
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (table, keys, done) = (table.clone(), keys.clone(), done.clone());
            std::thread::spawn(move || {
                let (engine, mut last, mut reads) = (table.engine(), 0, 0_u64);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let page = engine.query(b"p", SkRange::All, 100, false, None).expect("it reads").items;
                    let many = engine.get_many(&keys).expect("it reads").into_iter().flatten().collect::<Vec<_>>();
                    for items in [page, many] {
                        assert_eq!(items.len(), 20, "no item is missing");
                        let n = items[0].int("n").expect("a number");
                        assert!(items.iter().all(|item| item.int("n") == Some(n)), "one moment");
                        assert!(n >= last, "time does not go back");
                        last = n;
                    }
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for n in 1..1_500 {
        loop {
            match write(n).await {
                Err(WriteError::Throttled) => tokio::time::sleep(Duration::from_millis(1)).await,
                answer => break assert!(answer.is_ok(), "it is written"),
            }
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().expect("no panic") > 0);
    }
    let metrics = table.metrics();
    assert!(metrics.seals > 10 && metrics.maintenance_runs > 20, "{metrics:?}");
}

#[tokio::test]
async fn the_check_of_a_whole_table_finds_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    stock(&table, 1_000).await;
    join_all((0..500).map(|n| table.transact(vec![order(n), take(1)], None))).await;
    for n in (0..500).step_by(5) {
        let delete = Op::Delete { key: key(n), cond: Cond::Exists };
        table.write(delete, Durability::Durable).await.expect("it is deleted");
    }
    assert!(matches!(check(&dir), Err(FsckError::Locked { pid }) if pid == std::process::id()));

    let options = FsckOptions { engine: small(), ..FsckOptions::default() };
    let mut visited = 0;
    let mut hooks = FsckHooks { progress: &mut |_| {}, visit: &mut |_| visited += 1 };
    let online = table.check_online(&options, &mut hooks).expect("the check runs");
    assert!(online.ok(), "{online:?}");
    assert_eq!((online.items, online.index_items, visited), (401, 401, 401));

    table.close().await;
    drop(table);
    let report = check(&dir).expect("the check runs");
    assert!(report.ok(), "{report:?}");
    assert_eq!((report.items, report.last_seq, report.plans), (401, 601, 601));
}

#[tokio::test]
async fn the_check_of_a_table_that_was_not_closed_finds_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    join_all((0..200).map(|n| table.transact(vec![order(n)], None))).await;
    drop(table);
    let report = check(&dir).expect("the check runs");
    assert!(report.ok(), "{report:?}");
    assert_eq!(report.index_items, 200);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).expect("it lists").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "the scratch index is removed: {left:?}");
}

#[tokio::test]
async fn the_check_names_what_the_index_lacks_and_what_it_has_too_much() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    stock(&table, 10).await;
    join_all((0..20).map(|n| table.transact(vec![order(n)], None))).await;
    table.close().await;
    drop(table);
    tamper(&dir);
    let report = check(&dir).expect("the check runs");
    assert!(!report.ok());
    assert_eq!(report.difference_count, 3);
    let named: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert!(named.contains(&"item u3/o000003 is in the journal but not in the index".to_owned()), "{named:?}");
    assert!(named.contains(&"item u9/extra is in the index but not in the journal".to_owned()), "{named:?}");
    let differs = "item stock/S differs in q (10 by the journal, 11 by the index)".to_owned();
    assert!(named.contains(&differs), "{named:?}");
    assert!(matches!(
        report.differences[0],
        Difference::Differs { .. } | Difference::OnlyInJournal { .. } | Difference::OnlyInIndex { .. }
    ));
}

/// Writes into the index behind the journal's back: an item lost, one made up, one changed.
fn tamper(dir: &TempDir) {
    use zizon_table::{Index, LsmIndex, codec};
    let index = LsmIndex::open(&dir.path().join("index/tree"), &small().index).expect("it opens");
    let at = index.persisted();
    let bytes =
        |pk: &str, sk: &str| [&[0, u8::try_from(pk.len()).expect("short")][..], pk.as_bytes(), sk.as_bytes()].concat();
    let slot = |item: &Item| {
        let mut slot = vec![1];
        codec::encode_image(item, &mut slot);
        slot
    };
    index.apply(&bytes("u3", "o000003"), None, at);
    index.apply(&bytes("u9", "extra"), Some(&slot(&Item::new(Key::new("u9", "extra")))), at);
    let shelf = Item::new(Key::new("stock", "S")).with("q", 11).with("s", 0);
    index.apply(&bytes("stock", "S"), Some(&slot(&shelf)), at);
    index.seal();
    while index.maintain(at).expect("it flushes") {}
}

/// Waits until a check in the background has come to an end.
fn concluded<R: Clone + Send + 'static>(checks: &OnlineChecks<R>) -> CheckState<R> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match checks.state() {
            CheckState::Running(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            state => return state,
        }
    }
}

#[tokio::test]
async fn one_check_runs_at_a_time_beside_the_work_and_one_that_panics_has_failed() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    stock(&table, 10).await;
    let checks = OnlineChecks::default();
    assert!(matches!(checks.state(), CheckState::Idle));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    checks
        .start(table.clone(), move |report, _| {
            wait.recv().expect("the test goes on");
            report.items
        })
        .expect("a thread starts");
    checks.start(table.clone(), |_, _| 77).expect("the one that runs is joined");
    take_one(&table).await;
    assert!(matches!(checks.state(), CheckState::Running(_)));
    go.send(()).expect("the check waits");
    assert!(matches!(concluded(&checks), CheckState::Done(1)), "{:?}", checks.state());

    checks.start(table.clone(), |_, _| panic!("a conclusion that fails")).expect("a thread starts");
    assert!(matches!(concluded(&checks), CheckState::Failed(_)), "{:?}", checks.state());
}

async fn take_one(table: &EmbeddedTable) {
    table.write(take(1), Durability::Durable).await.expect("writes go on");
}

#[tokio::test]
async fn what_a_killed_check_left_is_removed_by_the_next_opening() {
    let dir = TempDir::new().expect("a temporary directory");
    open(&dir).close().await;
    let left = dir.path().join("fsck-1-0.tmp");
    std::fs::create_dir(&left).expect("a scratch directory");
    let table = open(&dir);
    assert!(!left.exists());
    table.close().await;
}

#[tokio::test]
async fn the_check_reports_a_damaged_journal_and_a_missing_index() {
    let dir = TempDir::new().expect("a temporary directory");
    let table = open(&dir);
    join_all((0..20).map(|n| table.transact(vec![order(n)], None))).await;
    table.close().await;
    drop(table);
    std::fs::rename(dir.path().join("index"), dir.path().join("gone")).expect("it moves");
    let report = check(&dir).expect("the check runs");
    assert_eq!((report.ok(), report.index_damage.as_deref()), (false, Some("index is missing")));
    assert_eq!((report.items, report.all_read()), (20, true), "what the journal has is still read");
    std::fs::rename(dir.path().join("gone"), dir.path().join("index")).expect("it moves");

    let segment = dir.path().join("journal/00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).expect("it reads");
    bytes[5_000] ^= 4;
    std::fs::write(&segment, bytes).expect("it writes");
    let report = check(&dir).expect("the check runs");
    assert!(!report.ok() && report.journal_damage.is_some() && !report.all_read(), "{report:?}");
    assert!(matches!(check(&TempDir::new().expect("a directory")), Err(FsckError::NoTable(_))));
}

#[tokio::test]
async fn injected_faults_hit_the_chosen_writes_only() {
    let table = FaultTable::new(Arc::new(MemTable::new()));
    table.on_write(1, Fault::UnknownBefore);
    table.on_write(2, Fault::UnknownAfter);
    table.on_write(3, Fault::Throttled);
    let write = |n| table.write(order(n), Durability::Durable);
    assert_eq!(write(1).await, Err(WriteError::Unknown));
    assert_eq!(write(2).await, Err(WriteError::Unknown));
    assert_eq!(write(3).await, Err(WriteError::Throttled));
    assert!(write(4).await.is_ok());
    let there: Vec<bool> = join_all((1..5).map(|n| {
        let table = &table;
        async move { table.get(&key(n)).await.expect("it reads").is_some() }
    }))
    .await;
    assert_eq!(there, [false, true, false, true]);
    assert_eq!((table.writes(), table.calls()), (4, 8));
}

#[tokio::test]
async fn an_injected_crash_refuses_everything_until_revived() {
    let table = FaultTable::new(Arc::new(MemTable::new()));
    table.on_write(2, Fault::CrashAfter);
    assert!(table.write(order(1), Durability::Durable).await.is_ok());
    assert_eq!(table.write(order(2), Durability::Durable).await, Err(WriteError::Unknown));
    assert!(table.crashed());
    assert_eq!(table.write(order(3), Durability::Durable).await, Err(WriteError::Closed));
    assert_eq!(table.get(&key(2)).await, Err(ReadError::Closed));
    table.revive();
    assert!(table.get(&key(2)).await.expect("it reads").is_some(), "the write before the crash happened");
    assert_eq!(table.get(&key(3)).await, Ok(None));
    table.crash_on_call(table.calls() + 2);
    assert!(table.get(&key(1)).await.is_ok());
    assert_eq!(table.get(&key(1)).await, Err(ReadError::Closed));
}
