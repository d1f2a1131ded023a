//! The feed by which other roles keep their own view of products.
//!
//! `from=SEQ&history=HISTORY` is the last position the reader has, and the history it belongs to. Without one, from a
//! position that the journal no longer reaches back to, or from one of another history, all products are sent first.
//! Then changes as they become durable, and at least one line a second: silence means that the catalog cannot be
//! trusted to be current. Each line says how far the reader has come; see `zizon_contracts::catalog`.

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
use zizon_contracts::catalog::History;
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
    history: History,
}

impl Feed {
    /// The feed of `table`, whose positions belong to `history`.
    pub(crate) fn new(table: Arc<dyn Table>, history: History, shelf: Arc<Shelf>, config: &Config) -> Self {
        let seats = Seats::new(usize::from(config.feed_subscribers_max));
        let slow_reader = Duration::from_millis(config.feed_slow_reader_ms.into());
        Self { table, shelf, seats, slow_reader, history }
    }

    /// Lines for a reader that has everything up to `from`; `None` when there are too many readers.
    pub(crate) fn read(&self, from: Option<(History, u64)>) -> Option<BoxStream<'static, Bytes>> {
        let seat = self.seats.take(from.map_or(0, |(_, at)| at))?;
        let (sender, receiver) = mpsc::channel(BUFFERED_PIECES);
        let producer = Producer {
            table: self.table.clone(),
            shelf: self.shelf.clone(),
            seat,
            sender,
            patience: self.slow_reader,
            history: self.history,
        };
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

    const HISTORY: History = History::of_journal([1; 16]);

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
        (Feed::new(table.clone(), HISTORY, shelf, config), table)
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
        let mut stream = feed.read(None).unwrap();
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
        let (_one, two) = (feed.read(None).unwrap(), feed.read(None).unwrap());
        assert!(feed.read(None).is_none());
        drop(two);
        eventually(|| feed.subscribers() == 1).await;
        assert!(feed.read(None).is_some());
    }

    async fn marker(table: &MemTable) -> u64 {
        let marker = Item::new(Key::new("M#other", "M"));
        table.write(Op::Put { item: marker, cond: Cond::Always }, Durability::Durable).await.unwrap().seq.0
    }

    #[tokio::test]
    async fn only_the_last_line_of_a_plan_carries_its_position() {
        let (_feed, table) = feed(3, &Config::default()).await;
        let end = marker(&table).await;
        let plan = end - 1;
        let changes = table.changes(ShardId::ONLY, Seq(plan), 100).await.unwrap();
        let told: Vec<FeedLine> = lines::of_changes(&changes, plan - 1).unwrap().iter().flat_map(read_lines).collect();
        let positions: Vec<u64> = told[..3]
            .iter()
            .map(|line| match line {
                FeedLine::Product { seq, .. } => *seq,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(positions, [plan - 1, plan - 1, plan]);
        assert_eq!(told[3..], [FeedLine::Progress { seq: end }]);
    }

    /// Lines up to and with the first heartbeat.
    async fn until_heartbeat(stream: &mut BoxStream<'static, Bytes>) -> Vec<FeedLine> {
        let mut lines = Vec::new();
        while !matches!(lines.last(), Some(FeedLine::Heartbeat { .. })) {
            let piece = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap();
            lines.extend(read_lines(&piece));
        }
        lines
    }

    #[tokio::test]
    async fn a_heartbeat_comes_after_everything_that_is_durable() {
        // The shelf is behind: what it lists is followed by a plan without a product and by a price.
        let (feed, table) = feed(2, &Config::default()).await;
        let listed = feed.shelf.position();
        let passed = marker(&table).await;
        let mut product = demo::products().unwrap().remove(0);
        product.id = "F00000".parse().unwrap();
        let item = Record::new(product, 2).unwrap().to_item();
        let end = table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable).await.unwrap().seq.0;
        let told = until_heartbeat(&mut feed.read(None).unwrap()).await;
        assert_eq!(told[0], FeedLine::Listing { history: HISTORY });
        assert_eq!(told[3..5], [FeedLine::Progress { seq: listed }, FeedLine::Progress { seq: passed }]);
        assert!(matches!(&told[5], FeedLine::Product { seq, .. } if *seq == end), "{told:?}");
        assert_eq!(told[6..], [FeedLine::Heartbeat { seq: end, history: HISTORY }]);
    }

    #[tokio::test]
    async fn a_position_of_another_history_starts_over() {
        let (feed, _table) = feed(2, &Config::default()).await;
        let end = feed.shelf.position();
        let known = until_heartbeat(&mut feed.read(Some((HISTORY, end))).unwrap()).await;
        assert_eq!(known, [FeedLine::Heartbeat { seq: end, history: HISTORY }]);
        let other = History::of_journal([2; 16]);
        for from in [(other, end), (HISTORY, end + 1), (HISTORY, 0)] {
            let told = until_heartbeat(&mut feed.read(Some(from)).unwrap()).await;
            assert_eq!(told[0], FeedLine::Listing { history: HISTORY }, "{from:?}");
            assert_eq!(told.len(), 5, "{from:?}");
        }
    }
}
