//! The feed's route.

use std::sync::Arc;

use zizon_base::problem::{Code, Problem};
use zizon_contracts::catalog::History;
use zizon_service::{Request, Response, ndjson, problem};

use super::{Catalog, bad_parameter};

/// Seconds after which a reader that found no place asks again.
const PATIENCE_SECONDS: u32 = 2;

pub(super) async fn read(catalog: Arc<Catalog>, request: Request) -> Response {
    let from = match request.query("from").map(str::parse::<u64>) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return problem(&bad_parameter("from", "must be a position, 0 or more"), &request),
    };
    // A position without its history says nothing.
    let history = match request.query("history").map(str::parse::<History>) {
        None => None,
        Some(Ok(history)) => Some(history),
        Some(Err(_)) => return problem(&bad_parameter("history", "must be 32 hexadecimal digits"), &request),
    };
    match catalog.feed.read(history.map(|history| (history, from))) {
        Some(lines) => ndjson(lines),
        None => {
            let full = Problem::new(Code::Overloaded).detail("the feed has as many readers as it may have");
            problem(&full.retry_after(PATIENCE_SECONDS), &request)
        }
    }
}
