//! Appends acknowledgements, fsynced in groups on a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::AckLine;
use crate::order_digest;

/// Acknowledgements waiting to be written; a full queue holds the connections back.
const QUEUE: usize = 65_536;
/// The most acknowledgements in one fsync.
const GROUP: usize = 8_192;
/// Fsyncs start at least this far apart, because the disk is often the measured platform's too.
const INTERVAL: Duration = Duration::from_millis(40);

/// A 201 as it came in. Its body is parsed on the writer's thread.
#[derive(Debug)]
pub struct Ack {
    /// The answer's body.
    pub body: Box<[u8]>,
    /// Idempotency key it was sent with.
    pub key: String,
    /// User it was sent for.
    pub user: String,
    /// When the request was sent, in ms since 1970.
    pub t_sent: u64,
    /// When the answer was complete, in ms since 1970.
    pub t_ack: u64,
}

/// Handle to the writing thread.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Ack>,
    thread: JoinHandle<io::Result<()>>,
    durable: Arc<AtomicU64>,
}

impl Writer {
    /// Opens `file` for appending. A torn last line, which was never counted, is cut off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn open(file: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(file)?;
        cut_torn_line(&mut file)?;
        let (queue, acks) = mpsc::channel(QUEUE);
        let durable = Arc::new(AtomicU64::new(0));
        let counted = durable.clone();
        let thread = std::thread::Builder::new().name("acks".into()).spawn(move || write_all(file, acks, &counted))?;
        Ok(Self { queue, thread, durable })
    }

    /// Where to send acknowledgements. A failing send means that the writer has stopped.
    #[must_use]
    pub fn queue(&self) -> mpsc::Sender<Ack> {
        self.queue.clone()
    }

    /// Acknowledgements whose line is on disk.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Writes what is queued, and returns how many acknowledgements are on disk. Every clone of the
    /// queue must be dropped by then.
    ///
    /// # Errors
    /// When a line could not be written or fsynced, or a 201 was no order.
    pub fn finish(self) -> io::Result<u64> {
        let Self { queue, thread, durable } = self;
        drop(queue);
        thread.join().map_err(|_| io::Error::other("the writer panicked"))??;
        Ok(durable.load(Ordering::Acquire))
    }
}

fn write_all(mut file: File, mut acks: mpsc::Receiver<Ack>, durable: &AtomicU64) -> io::Result<()> {
    let mut group = Vec::with_capacity(GROUP);
    let mut lines = Vec::new();
    loop {
        let started = Instant::now();
        if acks.blocking_recv_many(&mut group, GROUP) == 0 {
            return Ok(());
        }
        let count = group.len() as u64;
        lines.clear();
        for ack in group.drain(..) {
            serde_json::to_writer(&mut lines, &line(ack)?)?;
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        durable.fetch_add(count, Ordering::Release);
        if !acks.is_closed() && acks.len() < GROUP {
            std::thread::sleep(INTERVAL.saturating_sub(started.elapsed()));
        }
    }
}

/// The line of a 201.
fn line(ack: Ack) -> io::Result<AckLine> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, format!("a 201 {what}"));
    let order: Map<String, Value> = serde_json::from_slice(&ack.body).map_err(|_| bad("is not a JSON object"))?;
    let text = |name| order.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(AckLine {
        id: text("id").ok_or_else(|| bad("has no id"))?,
        token: text("access_token").ok_or_else(|| bad("has no access_token"))?,
        digest: order_digest(&order).ok_or_else(|| bad("lacks a part of an order"))?.to_hex().to_string(),
        key: ack.key,
        user: ack.user,
        t_sent: ack.t_sent,
        t_ack: ack.t_ack,
    })
}

/// Truncates after the last line end.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut end = size;
    let mut block = [0_u8; 4096];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - from).unwrap_or(0)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|&b| b == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    if end < size {
        file.set_len(end)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::Reader;

    fn ack(n: u32) -> Ack {
        let body = format!(
            r#"{{"id":"ord_{n}","number":"K{n}","user_id":"u","market":"KR","currency":"KRW","items":[],"totals":{{}},"created_at":"t","access_token":"secret{n}"}}"#
        );
        Ack { body: body.into_bytes().into(), key: format!("k{n}"), user: "u".into(), t_sent: 1, t_ack: 2 }
    }

    #[test]
    fn an_order_counts_as_acknowledged_only_once_its_line_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let writer = Writer::open(&path).unwrap();
        assert_eq!(writer.durable(), 0);
        for n in 0..100 {
            writer.queue().blocking_send(ack(n)).unwrap();
            let counted = writer.durable();
            let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
            assert!(counted <= lines, "{counted} counted, {lines} written");
        }
        assert_eq!(writer.finish().unwrap(), 100);
        let mut reader = Reader::open(&path).unwrap();
        let mut ids = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            ids.push(line.id);
        }
        assert_eq!(ids, (0..100).map(|n| format!("ord_{n}")).collect::<Vec<_>>());
    }

    #[test]
    fn appending_after_a_torn_line_cuts_it_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        for n in 0..2 {
            let writer = Writer::open(&path).unwrap();
            writer.queue().blocking_send(ack(n)).unwrap();
            writer.finish().unwrap();
            OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"id\":\"torn").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches('\n').count(), 2);
        assert_eq!(text.matches("torn").count(), 1);
    }

    #[test]
    fn a_201_that_is_no_order_stops_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("acks")).unwrap();
        let nonsense = Ack { body: b"{}".as_slice().into(), ..ack(1) };
        writer.queue().blocking_send(nonsense).unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("has no id"));
    }

    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        Writer::open(&path).unwrap().finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
