//! The feed by which other roles keep their own view of products.
//!
//! `from=SEQ` is the last position the reader has (0: nothing). From 0, from a position that the journal no
//! longer reaches back to, or from one of another history, all products are sent first. Then changes as they
//! become durable, and at least one line a second: silence means that the catalog cannot be trusted to be
//! current. Each line says how far the reader has come; see `zizon_contracts::catalog`.

mod lines;
mod producer;
mod seats;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use zizon_table::Table;

use crate::config::Config;
use crate::shelf::Shelf;
use producer::Producer;
use seats::Seats;

/// Pieces that wait for a reader, each of at most about 64 KiB.
const BUFFERED_PIECES: usize = 8;

/// The feed of one table.
#[derive(Clone)]
pub(crate) struct Feed {
    table: Arc<dyn Table>,
    shelf: Arc<Shelf>,
    seats: Arc<Seats>,
    slow_reader: Duration,
}

impl Feed {
    pub(crate) fn new(table: Arc<dyn Table>, shelf: Arc<Shelf>, config: &Config) -> Self {
        let seats = Seats::new(usize::from(config.feed_subscribers_max));
        Self { table, shelf, seats, slow_reader: Duration::from_millis(config.feed_slow_reader_ms.into()) }
    }

    /// Lines for a reader that has everything up to `from`; `None` when there are too many readers.
    pub(crate) fn read(&self, from: u64) -> Option<BoxStream<'static, Bytes>> {
        let seat = self.seats.take(from)?;
        let (sender, receiver) = mpsc::channel(BUFFERED_PIECES);
        let producer =
            Producer { table: self.table.clone(), shelf: self.shelf.clone(), seat, sender, patience: self.slow_reader };
        // The task ends with the stream: a reader that goes away takes it along.
        let task = AbortOnDropHandle::new(tokio::spawn(producer.run(from)));
        let pieces = unfold((receiver, task), |(mut receiver, task)| async {
            let piece = receiver.recv().await?;
            Some((piece, (receiver, task)))
        });
        Some(pieces.boxed())
    }

    /// Readers at the moment.
    pub(crate) fn subscribers(&self) -> usize {
        self.seats.positions().len()
    }

    /// Positions between the last change and the slowest reader.
    pub(crate) fn lag(&self) -> u64 {
        let end = self.shelf.position();
        self.seats.positions().into_iter().map(|at| end.saturating_sub(at)).max().unwrap_or(0)
    }

    /// Readers dropped because they did not keep up.
    pub(crate) fn dropped(&self) -> u64 {
        self.seats.dropped()
    }
}

#[cfg(test)]
mod tests {
    use zizon_contracts::catalog::FeedLine;
    use zizon_table::{Cond, Durability, Item, Key, MemTable, Op, Seq, ShardId};

    use super::*;
    use crate::demo;
    use crate::record::Record;

    async fn feed(products: usize, config: &Config) -> (Feed, Arc<MemTable>) {
        let table = Arc::new(MemTable::new());
        let some = demo::products().unwrap().into_iter().cycle().take(products);
        let records = some.enumerate().map(|(n, mut product)| {
            product.id = format!("F{n:05}").parse().unwrap();
            Record::new(product, 1).unwrap()
        });
        let ops: Vec<Op> = records.map(|record| Op::Put { item: record.to_item(), cond: Cond::Always }).collect();
        let mut position = 0;
        for plan in ops.chunks(50) {
            position = table.transact(plan.to_vec(), None).await.unwrap().seq.0;
        }
        let shelf = Arc::new(Shelf::load(&*table, position).await.unwrap());
        (Feed::new(table.clone(), shelf, config), table)
    }

    async fn eventually(what: impl Fn() -> bool) {
        let bound = tokio::time::Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(tokio::time::Instant::now() < bound, "not within the bound");
            tokio::task::yield_now().await;
        }
    }

    fn read_lines(piece: &Bytes) -> Vec<FeedLine> {
        piece
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_reader_that_does_not_keep_up_is_dropped() {
        let config = Config { feed_slow_reader_ms: 100, ..Config::default() };
        let (feed, _table) = feed(4_000, &config).await;
        let mut stream = feed.read(0).unwrap();
        eventually(|| feed.dropped() == 1 && feed.subscribers() == 0).await;
        let mut pieces = 0;
        while stream.next().await.is_some() {
            pieces += 1;
        }
        assert!(pieces <= BUFFERED_PIECES, "what waited for it was bounded: {pieces}");
    }

    #[tokio::test]
    async fn readers_are_bounded_and_free_their_place() {
        let config = Config { feed_subscribers_max: 2, ..Config::default() };
        let (feed, _table) = feed(1, &config).await;
        let (_one, two) = (feed.read(0).unwrap(), feed.read(0).unwrap());
        assert!(feed.read(0).is_none());
        drop(two);
        eventually(|| feed.subscribers() == 1).await;
        assert!(feed.read(0).is_some());
    }

    #[tokio::test]
    async fn only_the_last_line_of_a_plan_carries_its_position() {
        let (_feed, table) = feed(3, &Config::default()).await;
        let marker = Item::new(Key::new("M#other", "M"));
        let end = table.write(Op::Put { item: marker, cond: Cond::Always }, Durability::Durable).await.unwrap().seq.0;
        let plan = end - 1;
        let changes = table.changes(ShardId::ONLY, Seq(plan), 100).await.unwrap();
        let told: Vec<FeedLine> = lines::of_changes(&changes, plan - 1).unwrap().iter().flat_map(read_lines).collect();
        assert_eq!(told.iter().map(FeedLine::seq).collect::<Vec<_>>(), [plan - 1, plan - 1, plan, end]);
        assert_eq!(told[3], FeedLine::Heartbeat { seq: end });
    }
}
