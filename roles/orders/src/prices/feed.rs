//! Following catalog's feed: one long response of lines, opened again from where it ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use zizon_base::ids::Sku;
use zizon_contracts::catalog::FeedLine;
use zizon_journal::Clock;
use zizon_service::{Upstream, UpstreamError, UpstreamRequest};
use zizon_table::Table;

use super::store::Pending;
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
}

/// Keeps a view equal to the catalog.
pub struct Follower {
    view: Arc<PriceView>,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    upstream: Upstream,
    changes: Changes,
    saved: u64,
    last_save: Instant,
}

/// What the feed has told and is not saved yet.
#[derive(Debug, Default)]
struct Changes {
    pending: Pending,
    /// While catalog lists everything from its beginning: what it has named. What it does not name is gone.
    listing: Option<HashSet<Sku>>,
}

impl Follower {
    /// Follows `upstream` into `view` and `table`.
    #[must_use]
    pub fn new(view: Arc<PriceView>, table: Arc<dyn Table>, clock: Arc<dyn Clock>, upstream: Upstream) -> Self {
        let saved = view.seq();
        Self { view, table, clock, upstream, changes: Changes::default(), saved, last_save: Instant::now() }
    }

    /// Follows until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.follow() => ended,
            };
            let pause = match ended {
                // The connection was due to close.
                Ok(()) => PAUSE / 10,
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    tracing::warn!(%error, cause, "the price feed ended; opening it again");
                    PAUSE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One response, to its end.
    async fn follow(&mut self) -> Result<(), FeedError> {
        let from = self.view.seq();
        self.changes.listing = (from == 0).then(HashSet::new);
        let path = format!("/internal/v1/feed?from={from}");
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
                    caught_up = self.changes.take(&self.view, line);
                }
            }
            if let Some(seq) = caught_up {
                self.view.confirm(seq, self.clock.mono_ns());
            }
            self.save().await;
        }
        Ok(())
    }

    /// Saves now and then. What cannot be saved (a full disk) is saved later; prices are current all the same.
    async fn save(&mut self) {
        let seq = self.view.seq();
        let pending = &mut self.changes.pending;
        let due = pending.len() >= SAVE_CHANGES || self.last_save.elapsed() >= SAVE_EVERY;
        if !due || (seq == self.saved && pending.is_empty()) {
            return;
        }
        match pending.save(&self.table, seq).await {
            Ok(_) => self.saved = seq,
            Err(error) => tracing::warn!(%error, "the copy of the catalog was not saved"),
        }
        self.last_save = Instant::now();
    }
}

impl Changes {
    /// One line of the feed; the position if catalog has nothing further. Only that confirms the view: a product's line
    /// says nothing about the changes that may follow it, and a price from before them would be a wrong one.
    fn take(&mut self, view: &PriceView, line: FeedLine) -> Option<u64> {
        let seq = line.seq();
        if seq < view.seq() && self.listing.is_none() {
            // Catalog has begun a history of its own: it lists everything.
            self.listing = Some(HashSet::new());
        }
        view.resume_from(seq);
        match line {
            FeedLine::Product { product, .. } => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(product.sku.clone());
                }
                view.put(&product);
                self.pending.note(product.sku.clone(), Some(product));
                None
            }
            FeedLine::Removed { sku, .. } => {
                self.remove(view, sku);
                None
            }
            FeedLine::Heartbeat { .. } => {
                if let Some(listed) = self.listing.take() {
                    view.skus().into_iter().filter(|sku| !listed.contains(sku)).for_each(|sku| self.remove(view, sku));
                }
                Some(seq)
            }
        }
    }

    fn remove(&mut self, view: &PriceView, sku: Sku) {
        view.remove(&sku);
        self.pending.note(sku, None);
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
    use zizon_base::market::Market;

    use super::*;
    use crate::testing::{product, sku_of};

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

    fn told(seq: u64, sku: &str) -> FeedLine {
        FeedLine::Product { seq, product: product(sku, &[(Market::Kr, 1)], true) }
    }

    #[test]
    fn only_a_heartbeat_says_that_the_view_is_complete() {
        let view = PriceView::default();
        let mut changes = Changes::default();
        assert_eq!(changes.take(&view, told(2, "A")), None);
        assert_eq!(changes.take(&view, FeedLine::Removed { seq: 3, sku: sku_of("A") }), None);
        assert_eq!(changes.take(&view, FeedLine::Heartbeat { seq: 4 }), Some(4));
        assert_eq!((view.seq(), view.age_ns(5), view.len(), changes.pending.len()), (4, None, 0, 1));
    }

    #[test]
    fn what_a_whole_listing_does_not_name_is_gone() {
        let view = PriceView::default();
        let mut changes = Changes::default();
        for (seq, sku) in [(7, "A"), (8, "B")] {
            changes.take(&view, told(seq, sku));
        }
        changes.take(&view, FeedLine::Heartbeat { seq: 8 });
        assert_eq!(view.len(), 2);
        // Catalog was set up anew: its positions begin again.
        changes.take(&view, told(0, "B"));
        assert_eq!(view.len(), 2);
        changes.take(&view, FeedLine::Heartbeat { seq: 1 });
        assert_eq!((view.len(), view.seq()), (1, 1));
        assert!(view.get(&sku_of("A")).is_none());
    }
}
