//! The routes every role has.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio_util::sync::CancellationToken;
use zizon_contracts::supervisor;
use zizon_mtls::SvidSource;
use zizon_telemetry::{PROMETHEUS_CONTENT_TYPE, catalogue_markdown};

use crate::context::RoleContext;
use crate::readiness::{Check, Readiness};
use crate::response::{full, json, json_bytes};
use crate::router::Router;

/// Remaining validity below which a role is not ready: callers leave before its certificate ends.
const SVID_SECONDS_MIN: u64 = 3;

const METRICS_TYPE: HeaderValue = HeaderValue::from_static(PROMETHEUS_CONTENT_TYPE);

/// Adds `/healthz` (the process answers), `/readyz` (it can do its work), `/metrics`, and `/metrics?catalogue` (what
/// could be exported, as the rows of a Markdown table).
pub(super) fn add_routes<S: Send + Sync + 'static>(router: Router<S>, ctx: &RoleContext) -> Router<S> {
    let metrics = Arc::clone(&ctx.metrics);
    let ready = ReadyProbe {
        role: Arc::clone(&router.readiness),
        source: Arc::clone(&ctx.source),
        shutdown: ctx.shutdown.clone(),
    };
    router
        .route("GET", "/healthz", |_, _| async {
            json_bytes(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}"))
        })
        .route("GET", "/readyz", move |_, _| {
            let report = ready.report();
            let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            async move { json(status, &report) }
        })
        .route("GET", "/metrics", move |_, request| {
            let wants_catalogue = request.parts.uri.query() == Some("catalogue");
            let text = if wants_catalogue { catalogue_markdown(&metrics.catalogue()) } else { metrics.encode() };
            async move { full(StatusCode::OK, METRICS_TYPE, text.into()) }
        })
}

struct ReadyProbe {
    role: Arc<OnceLock<Arc<dyn Readiness>>>,
    source: Arc<SvidSource>,
    shutdown: CancellationToken,
}

impl ReadyProbe {
    fn report(&self) -> supervisor::Readiness {
        let mut checks = self.role.get().map(|role| role.check()).unwrap_or_default();
        let svid_seconds_left = self.source.seconds_left();
        let left = svid_seconds_left.unwrap_or(0);
        checks.push(Check::new("identity", left >= SVID_SECONDS_MIN, format!("{left} s left")));
        if self.shutdown.is_cancelled() {
            checks.push(Check::failed("drain", "shutting down"));
        }
        let ready = checks.iter().all(|check| check.ok);
        let checks = checks.into_iter().map(|check| supervisor::Check {
            name: check.name.to_owned(),
            ok: check.ok,
            detail: check.detail,
        });
        supervisor::Readiness { ready, svid_seconds_left, checks: checks.collect() }
    }
}
