//! Operators check the storage while it is in use.

use std::sync::Arc;

use http::StatusCode;
use zizon_base::problem::{Code, Problem};
use zizon_service::{Request, Response, json, problem};

use super::Catalog;

/// Starts a check, or joins the one that runs.
pub(super) async fn start(catalog: Arc<Catalog>, request: Request) -> Response {
    match catalog.check.start() {
        Ok(status) => json(StatusCode::ACCEPTED, &status),
        Err(error) => {
            tracing::warn!(%error, "a check could not be started");
            problem(&Problem::new(Code::Overloaded).detail("there is no thread for the check"), &request)
        }
    }
}

/// Where the check is.
pub(super) async fn status(catalog: Arc<Catalog>, _: Request) -> Response {
    json(StatusCode::OK, &catalog.check.status())
}
