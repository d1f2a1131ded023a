//! Following catalog's feed: one long response of lines, opened again from where it ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use zizon_contracts::catalog::FeedLine;
use zizon_journal::Clock;
use zizon_service::{Upstream, UpstreamError, UpstreamRequest};
use zizon_table::Table;

use super::store::{Pending, StoreError};
use super::view::PriceView;

/// Longest line of the feed, bytes. A product is far smaller.
const MAX_LINE: usize = 256 * 1024;
/// A feed that says nothing for so long is dead: catalog sends a line each second.
const SILENCE: Duration = Duration::from_secs(5);
/// Time for the response to begin.
const OPEN: Duration = Duration::from_secs(5);
/// Pause before the feed is opened again after it failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Changes and time after which they are saved.
const SAVE_CHANGES: usize = 256;
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Why the feed ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Catalog could not be asked.
    #[error("catalog cannot be asked")]
    Upstream(#[from] UpstreamError),
    /// Catalog refused.
    #[error("catalog answered {0}")]
    Refused(StatusCode),
    /// Nothing came for too long.
    #[error("the feed fell silent")]
    Silent,
    /// A line that is none.
    #[error("a line of the feed cannot be read")]
    Malformed,
    /// What came could not be saved.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps a view equal to the catalog.
pub struct Follower {
    view: Arc<PriceView>,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    upstream: Upstream,
    pending: Pending,
    saved: u64,
    last_save: Instant,
}

impl Follower {
    /// Follows `upstream` into `view` and `table`.
    #[must_use]
    pub fn new(view: Arc<PriceView>, table: Arc<dyn Table>, clock: Arc<dyn Clock>, upstream: Upstream) -> Self {
        let saved = view.seq();
        Self { view, table, clock, upstream, pending: Pending::default(), saved, last_save: Instant::now() }
    }

    /// Follows until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.follow() => ended,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, cause = std::error::Error::source(&error), "the price feed ended; opening it again");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// One response, to its end.
    async fn follow(&mut self) -> Result<(), FeedError> {
        let path = format!("/internal/v1/feed?from={}", self.view.seq());
        let request = UpstreamRequest::new(Method::GET, &path, Instant::now() + OPEN)?;
        let response = self.upstream.stream(request).await?;
        if response.status != StatusCode::OK {
            return Err(FeedError::Refused(response.status));
        }
        let mut body = response.body;
        let mut lines = Lines::default();
        while let Some(piece) = timeout(SILENCE, body.next()).await.map_err(|_| FeedError::Silent)? {
            lines.push(&piece?)?;
            let mut caught_up = None;
            while let Some(line) = lines.next() {
                if !line.is_empty() {
                    let line = serde_json::from_slice(line).map_err(|_| FeedError::Malformed)?;
                    caught_up = take(&self.view, &mut self.pending, line);
                }
            }
            if let Some(seq) = caught_up {
                self.view.confirm(seq, self.clock.mono_ns());
            }
            self.save().await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), FeedError> {
        let seq = self.view.seq();
        let due = self.pending.len() >= SAVE_CHANGES || self.last_save.elapsed() >= SAVE_EVERY;
        if due && (seq != self.saved || !self.pending.is_empty()) {
            self.pending.save(&self.table, seq).await?;
            self.saved = seq;
            self.last_save = Instant::now();
        }
        Ok(())
    }
}

/// One line of the feed; the position if catalog has nothing further. Only that confirms the view: a product's line says
/// nothing about the changes that may follow it, and a price from before them would be a wrong one.
fn take(view: &PriceView, pending: &mut Pending, line: FeedLine) -> Option<u64> {
    let seq = line.seq();
    view.resume_from(seq);
    match line {
        FeedLine::Product { product, .. } => {
            view.put(&product);
            pending.note(product.sku.clone(), Some(product));
            None
        }
        FeedLine::Removed { sku, .. } => {
            view.remove(&sku);
            pending.note(sku, None);
            None
        }
        FeedLine::Heartbeat { .. } => Some(seq),
    }
}

/// Cuts pieces of a body into lines.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    from: usize,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) -> Result<(), FeedError> {
        self.buffer.drain(..self.from);
        self.from = 0;
        if self.buffer.len() > MAX_LINE {
            return Err(FeedError::Malformed);
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    fn next(&mut self) -> Option<&[u8]> {
        let rest = &self.buffer[self.from..];
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.from..self.from + length;
        self.from += length + 1;
        Some(&self.buffer[line])
    }
}

#[cfg(test)]
mod tests {
    use zizon_base::ids::Sku;

    use super::*;

    #[test]
    fn lines_are_found_however_the_pieces_are_cut() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["{\"a\"", ":1}\n{\"b\":2}\n", "", "{\"c\":3}", "\n"] {
            lines.push(piece.as_bytes()).unwrap();
            while let Some(line) = lines.next() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE + 1]).unwrap();
        assert!(lines.next().is_none());
        assert!(lines.push(b"x").is_err());
    }

    #[test]
    fn only_a_heartbeat_says_that_the_view_is_complete() {
        let view = PriceView::default();
        let mut pending = Pending::default();
        let sku: Sku = "PROD001".parse().unwrap();
        assert_eq!(take(&view, &mut pending, FeedLine::Removed { seq: 2, sku }), None);
        assert_eq!(take(&view, &mut pending, FeedLine::Heartbeat { seq: 3 }), Some(3));
        assert_eq!((view.seq(), view.age_ns(5), pending.len()), (3, None, 1));
    }
}
