//! Operators check the storage while it is in use.

use http::StatusCode;
use zizon_base::problem::{Code, Problem};
use zizon_service::{Request, Response, json, problem};

use crate::background::fsck::StoreCheck;

/// Starts a check, or joins the one that runs.
pub(super) fn start(check: &StoreCheck, request: &Request) -> Response {
    match check.start() {
        Ok(status) => json(StatusCode::ACCEPTED, &status),
        Err(error) => {
            tracing::warn!(%error, "a check could not be started");
            problem(&Problem::new(Code::Overloaded).detail("there is no thread for the check"), request)
        }
    }
}

/// Where the check is.
pub(super) fn status(check: &StoreCheck) -> Response {
    json(StatusCode::OK, &check.status())
}
