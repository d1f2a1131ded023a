//! How a role serves and how it calls others.
//!
//! A role builds a [`Router`] over its state, gives it to a [`Server`] with its [`RoleContext`], and runs it:
//! mTLS accept, authorisation of every request, limits, metrics, health, drain. It calls another role by an
//! [`Upstream`]: a pool of mTLS connections to exactly one identity, replaced before they age out.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use http::StatusCode;
//! use zizon_service::{Check, Request, Response, RoleContext, Router, Server, ServerError, empty};
//!
//! struct Shop;
//!
//! async fn place_order(_shop: Arc<Shop>, _request: Request) -> Response {
//!     empty(StatusCode::CREATED)
//! }
//!
//! async fn run(ctx: RoleContext) -> Result<(), ServerError> {
//!     let router = Router::new(Shop).route("POST", "/api/v1/orders", place_order);
//!     Server::new(&ctx, router).with_health(Arc::new(|| vec![Check::ok("table")])).run().await
//! }
//! ```
//!
//! Architecture invariants: no listener without mTLS; every request passes the policy on the same path the
//! router sees; no connection outlives the identities it was made with; every task is owned.

mod context;
mod metrics;
mod readiness;
mod request;
mod response;
mod router;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod upstream;

pub use context::{
    ContextError, ENDPOINT_VARIABLE, PeerSyntaxError, Peers, RoleArgs, RoleContext, RoleSetup, descriptor_limit,
    terminated,
};
pub use metrics::register_metrics;
pub use readiness::{Check, Readiness};
pub use request::{Params, Request, RequestId, TraceContext};
pub use response::{Body, Response, empty, full, json, json_bytes, language_of, ndjson, problem, problem_at};
pub use router::{RouteLimits, Router};
pub use server::{Server, ServerError, ServerOptions};
pub use upstream::{
    BodyStream, NotSent, Upstream, UpstreamError, UpstreamOptions, UpstreamRequest, UpstreamResponse, UpstreamStream,
};
pub use zizon_mtls::Peer;
