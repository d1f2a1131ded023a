//! Following catalog's feed: one long response of lines, opened again from where it ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use zizon_journal::Clock;
use zizon_service::{Upstream, UpstreamError, UpstreamRequest};
use zizon_table::Table;

use super::store::Position;
use super::told::{Told, Unexpected};
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
    /// A line that cannot follow what came before it.
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
}

/// Keeps a view equal to the catalog.
pub struct Follower {
    view: Arc<PriceView>,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    upstream: Upstream,
    told: Told,
    saved: Option<Position>,
    last_save: Instant,
}

impl Follower {
    /// Follows `upstream` into `view` and `table`, from the position the copy in `table` has.
    #[must_use]
    pub fn new(
        view: Arc<PriceView>,
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        upstream: Upstream,
        from: Option<Position>,
    ) -> Self {
        Self { view, table, clock, upstream, told: Told::new(from), saved: from, last_save: Instant::now() }
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
        let path = match self.told.begin() {
            Some(Position { seq, history }) => format!("/internal/v1/feed?from={seq}&history={history}"),
            None => "/internal/v1/feed".to_owned(),
        };
        let request = UpstreamRequest::new(Method::GET, &path, Instant::now() + OPEN)?;
        let response = self.upstream.stream(request).await?;
        if response.status != StatusCode::OK {
            return Err(FeedError::Refused(response.status));
        }
        let mut body = response.body;
        let mut lines = Lines::default();
        while let Some(piece) = timeout(SILENCE, body.next()).await.map_err(|_| FeedError::Silent)? {
            lines.push(&piece?)?;
            let mut complete = false;
            while let Some(line) = lines.next() {
                if !line.is_empty() {
                    let line = serde_json::from_slice(line).map_err(|_| FeedError::Malformed)?;
                    complete = self.told.take(&self.view, line)?;
                }
            }
            if complete {
                self.view.confirm(self.clock.mono_ns());
            }
            self.save().await;
        }
        Ok(())
    }

    /// Saves now and then. What cannot be saved (a full disk) is saved later; prices are current all the same.
    async fn save(&mut self) {
        let position = self.told.position();
        let pending = self.told.pending();
        let due = pending.len() >= SAVE_CHANGES || self.last_save.elapsed() >= SAVE_EVERY;
        if !due || (position == self.saved && pending.is_empty()) {
            return;
        }
        match pending.save(&self.table, position).await {
            Ok(_) => self.saved = position,
            Err(error) => tracing::warn!(%error, "the copy of the catalog was not saved"),
        }
        self.last_save = Instant::now();
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
}
