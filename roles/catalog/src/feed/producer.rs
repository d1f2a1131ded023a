//! Produces one reader's lines, at the reader's speed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use zizon_contracts::catalog::{FeedLine, History};
use zizon_table::{ReadError, Seq, ShardId, Table};

use super::lines::{Pieces, of_changes, product};
use super::seats::Seat;
use crate::record::Damaged;
use crate::shelf::Shelf;

/// Longest silence while there is nothing to tell.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Changes or products per read.
const BATCH: u32 = 256;

pub(super) struct Producer {
    pub(super) table: Arc<dyn Table>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) seat: Seat,
    pub(super) sender: mpsc::Sender<Bytes>,
    /// The history of the table.
    pub(super) history: History,
    /// How long a full buffer is waited for.
    pub(super) patience: Duration,
}

/// Why a reader gets no more. It resumes where it was.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the reader went away")]
    Gone,
    #[error("the reader did not keep up")]
    Slow,
    #[error("the table cannot be read: {0}")]
    Table(#[from] ReadError),
    #[error("a stored product is damaged: {0}")]
    Damaged(#[from] Damaged),
}

impl Producer {
    /// Tells a reader that has everything up to `from` of a history.
    pub(super) async fn run(self, from: Option<(History, u64)>) {
        match self.follow(from).await {
            Ended::Gone => {}
            Ended::Slow => {
                self.seat.too_slow();
                tracing::warn!("reader of the product feed dropped: it did not keep up");
            }
            ended => tracing::error!(reason = %ended, "product feed ended"),
        }
    }

    async fn follow(&self, from: Option<(History, u64)>) -> Ended {
        let known = from.filter(|&(history, at)| history == self.history && at > 0 && at <= self.shelf.position());
        let start = match known {
            Some((_, at)) => Ok(at),
            None => self.everything().await,
        };
        let mut position = match start {
            Ok(position) => position,
            Err(ended) => return ended,
        };
        loop {
            position = match self.step(position).await {
                Ok(position) => position,
                Err(ended) => return ended,
            };
            self.seat.moved_to(position);
        }
    }

    /// Tells what comes after `position`, or waits for it; returns how far that is.
    async fn step(&self, position: u64) -> Result<u64, Ended> {
        let after = Seq(position);
        match self.table.changes(ShardId::ONLY, after.next(), BATCH).await {
            Ok(changes) if changes.is_empty() => {
                self.send(line(&FeedLine::Heartbeat { seq: position, history: self.history })?).await?;
                // Cancel-safe: waiting again misses nothing.
                let _ = tokio::time::timeout(HEARTBEAT, self.table.wait_change(after)).await;
                Ok(position)
            }
            Ok(changes) => {
                self.send(of_changes(&changes, position)?).await?;
                Ok(changes.last().map_or(position, |last| last.seq.0))
            }
            Err(ReadError::Trimmed { .. }) => self.everything().await,
            Err(error) => Err(error.into()),
        }
    }

    /// Sends every product. A product that changes meanwhile is told again by its change, so the end of the listing is
    /// no heartbeat: that comes when no change is left to tell.
    async fn everything(&self) -> Result<u64, Ended> {
        let end = self.shelf.position();
        self.send(line(&FeedLine::Listing { history: self.history })?).await?;
        let mut after = None;
        loop {
            let some = self.shelf.rendered_after(after.as_ref(), BATCH as usize);
            let mut pieces = Pieces::default();
            for (_, body) in &some {
                pieces.push(&product(0, body)?)?;
            }
            let Some((last, _)) = some.into_iter().next_back() else { break };
            after = Some(last);
            self.send(pieces.finish()).await?;
        }
        self.send(line(&FeedLine::Progress { seq: end })?).await?;
        Ok(end)
    }

    async fn send(&self, pieces: Vec<Bytes>) -> Result<(), Ended> {
        for piece in pieces {
            match tokio::time::timeout(self.patience, self.sender.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Ended::Gone),
                Err(_) => return Err(Ended::Slow),
            }
        }
        Ok(())
    }
}

fn line(line: &FeedLine) -> Result<Vec<Bytes>, Damaged> {
    let mut pieces = Pieces::default();
    pieces.push(line)?;
    Ok(pieces.finish())
}
