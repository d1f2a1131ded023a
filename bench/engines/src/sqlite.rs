//! SQLite in WAL mode with `synchronous = FULL`: every transaction syncs the log before it is answered. One thread
//! takes all plans that wait into one transaction of prepared statements.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Statement, params};
use tokio::sync::oneshot;

use crate::gather::Gather;
use crate::plan::{DOCUMENT, Order, SHARDS, TAKEN, UNITS, counter_key};
use crate::{Engine, Failure};

const DATABASE: &str = "bench.sqlite";
/// Pages of 4 KiB in the log before it is copied into the database: 64 MB, as the others gather in memory.
const CHECKPOINT_PAGES: u32 = 16_384;
const SETUP: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -131072;
PRAGMA temp_store = MEMORY;
CREATE TABLE IF NOT EXISTS orders (
  key BLOB NOT NULL UNIQUE, st TEXT NOT NULL, g INTEGER NOT NULL, n INTEGER NOT NULL, dg BLOB NOT NULL,
  b BLOB NOT NULL, ts INTEGER NOT NULL, ttl TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (
  key BLOB PRIMARY KEY, q INTEGER NOT NULL, r INTEGER NOT NULL, s INTEGER NOT NULL) WITHOUT ROWID;
";
const INSERT: &str = "INSERT INTO orders VALUES (?1, 'PLACED', 0, ?2, ?3, ?4, 1790000000000, 'standard')
  ON CONFLICT DO NOTHING";
const TAKE: &str = "UPDATE counters SET q = q - ?2, r = r + ?2 WHERE key = ?1 AND q >= ?2";
const GIVE_BACK: &str = "UPDATE counters SET q = q + ?2, r = r - ?2 WHERE key = ?1";
const FORGET: &str = "DELETE FROM orders WHERE key = ?1";

type Answer = Result<bool, String>;

pub struct Sqlite {
    shared: Arc<Shared>,
    /// Another connection to the same file would need the lock: reading is done by the thread that writes, too.
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    gathered: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Order, oneshot::Sender<Answer>)>,
    questions: Vec<(Question, oneshot::Sender<Result<i64, String>>)>,
    groups: u64,
    closed: bool,
}

/// What is asked outside the measurement.
enum Question {
    Seed(u64),
    Has(Order),
    Available(u64),
}

impl Engine for Sqlite {
    fn open(directory: &Path, gather: Gather) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(directory.join(DATABASE), flags)?;
        connection.execute_batch(SETUP)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("writer".into()).spawn(move || serve(&writing, &connection, gather))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    async fn seed(&self, products: u64) -> Result<(), Failure> {
        self.ask(Question::Seed(products)).await.map(drop)
    }

    async fn place(&self, order: Order) -> Result<bool, Failure> {
        let (done, answer) = oneshot::channel();
        self.shared.queue.lock().waiting.push((order, done));
        self.shared.gathered.notify_one();
        Ok(answer.await??)
    }

    fn groups(&self) -> u64 {
        self.shared.queue.lock().groups
    }

    async fn has(&self, order: Order) -> Result<bool, Failure> {
        Ok(self.ask(Question::Has(order)).await? == 1)
    }

    async fn available(&self, product: u64) -> Result<i64, Failure> {
        self.ask(Question::Available(product)).await
    }

    async fn close(mut self) -> Result<(), Failure> {
        self.end();
        Ok(())
    }
}

impl Sqlite {
    async fn ask(&self, question: Question) -> Result<i64, Failure> {
        let (done, answer) = oneshot::channel();
        self.shared.queue.lock().questions.push((question, done));
        self.shared.gathered.notify_one();
        Ok(answer.await??)
    }

    fn end(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.gathered.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ended = writer.join();
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.end();
    }
}

/// Answers until closed and nothing waits.
fn serve(shared: &Shared, connection: &Connection, gather: Gather) {
    loop {
        let (group, questions) = {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() && queue.questions.is_empty() {
                if queue.closed {
                    return;
                }
                shared.gathered.wait(&mut queue);
            }
            queue.groups += u64::from(!queue.waiting.is_empty());
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.questions))
        };
        let plans = group.len();
        let wrote = if plans > 0 { write_group(connection, group) } else { Duration::ZERO };
        for (question, done) in questions {
            // A caller that has gone away needs no answer.
            let _ = done.send(answer(connection, &question).map_err(|error| error.to_string()));
        }
        gather.pause(wrote, plans);
    }
}

/// One transaction for all that wait; nobody is answered before it is synced. Returns how long it took to end it, which
/// writes and syncs the log.
fn write_group(connection: &Connection, group: Vec<(Order, oneshot::Sender<Answer>)>) -> Duration {
    let orders: Vec<Order> = group.iter().map(|(order, _)| *order).collect();
    let mut wrote = Duration::ZERO;
    let written = transaction(connection, &orders, &mut wrote).map_err(|error| error.to_string());
    for (at, (_, done)) in group.into_iter().enumerate() {
        let _ = done.send(written.as_ref().map(|taken| taken[at]).map_err(Clone::clone));
    }
    wrote
}

/// Which of the orders were taken.
fn transaction(connection: &Connection, orders: &[Order], wrote: &mut Duration) -> rusqlite::Result<Vec<bool>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let taken = place_all(connection, orders);
    let end = if taken.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let began = Instant::now();
    connection.prepare_cached(end)?.execute([])?;
    *wrote = began.elapsed();
    taken
}

fn place_all(connection: &Connection, orders: &[Order]) -> rusqlite::Result<Vec<bool>> {
    let mut insert = connection.prepare_cached(INSERT)?;
    let mut take = connection.prepare_cached(TAKE)?;
    orders.iter().map(|order| place(connection, &mut insert, &mut take, *order)).collect()
}

fn place(
    connection: &Connection,
    insert: &mut Statement<'_>,
    take: &mut Statement<'_>,
    order: Order,
) -> rusqlite::Result<bool> {
    let key = order.key();
    if insert.execute(params![key, 0x1234_5678_9abc_i64, [7_u8; 32], [0x5a_u8; DOCUMENT]])? == 0 {
        return Ok(false);
    }
    for shard in 0..SHARDS {
        if take.execute(params![counter_key(order.product, shard), TAKEN])? == 0 {
            undo(connection, &key, order.product, shard)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// A savepoint for each plan would cost all of them; only a refused one pays here.
fn undo(connection: &Connection, key: &[u8], product: u64, taken: u64) -> rusqlite::Result<()> {
    for shard in 0..taken {
        connection.prepare_cached(GIVE_BACK)?.execute(params![counter_key(product, shard), TAKEN])?;
    }
    connection.prepare_cached(FORGET)?.execute(params![key]).map(drop)
}

fn answer(connection: &Connection, question: &Question) -> rusqlite::Result<i64> {
    match question {
        Question::Seed(products) => {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let mut insert = connection.prepare_cached("INSERT INTO counters VALUES (?1, ?2, 0, 0)")?;
            for product in 0..*products {
                for shard in 0..SHARDS {
                    insert.execute(params![counter_key(product, shard), UNITS])?;
                }
            }
            connection.execute_batch("COMMIT")?;
            Ok(0)
        }
        Question::Has(order) => {
            let mut find = connection.prepare_cached("SELECT 1 FROM orders WHERE key = ?1")?;
            Ok(find.query_row(params![order.key()], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0))
        }
        Question::Available(product) => {
            let mut find = connection.prepare_cached("SELECT q FROM counters WHERE key = ?1")?;
            let mut sum = 0;
            for shard in 0..SHARDS {
                let key = counter_key(*product, shard);
                sum += find.query_row(params![key], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0);
            }
            Ok(sum)
        }
    }
}
