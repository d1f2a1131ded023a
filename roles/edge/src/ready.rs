//! Whether an order would be accepted: asked of the roles in the background, answered from memory.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Method;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_contracts::supervisor::Readiness as Report;
use zizon_service::{Check, Readiness, UpstreamRequest};

use crate::forward::Backend;

/// How often each role is asked.
const PERIOD: Duration = Duration::from_millis(250);
/// How long a role may take to say so. Longer than the period: a busy role is not a broken one.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the roles.
#[derive(Debug, Clone, Default)]
struct Known {
    orders: RoleState,
    catalog: RoleState,
}

#[derive(Debug, Clone, Default)]
struct RoleState {
    ready: bool,
    detail: Vec<String>,
}

/// The answer of the public `/readyz`.
#[derive(Debug, Serialize)]
pub struct PublicReadiness {
    /// Whether an order would be accepted.
    pub ready: bool,
    /// Each role that a shopper's request can reach.
    pub roles: RolesReady,
    /// What is missing, for people.
    pub detail: Vec<String>,
}

/// Readiness by role.
#[derive(Debug, Serialize)]
pub struct RolesReady {
    /// This edge.
    pub edge: bool,
    /// Stock and orders.
    pub orders: bool,
    /// Products and prices.
    pub catalog: bool,
}

/// Follows the readiness of the roles.
#[derive(Debug)]
pub struct Watcher {
    known: ArcSwap<Known>,
    shutdown: CancellationToken,
}

impl Watcher {
    /// Knows nothing yet, so nothing is ready.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { known: ArcSwap::default(), shutdown })
    }

    /// The present answer.
    #[must_use]
    pub fn public(&self) -> PublicReadiness {
        let known = self.known.load();
        let draining = self.shutdown.is_cancelled();
        let mut detail = Vec::new();
        if draining {
            detail.push("edge: shutting down".to_owned());
        }
        for (role, state) in [("orders", &known.orders), ("catalog", &known.catalog)] {
            detail.extend(state.detail.iter().map(|text| format!("{role}: {text}")));
        }
        // Orders keeps prices of its own, so an order does not need catalog at this moment: orders says when it does.
        let ready = known.orders.ready && !draining;
        let roles = RolesReady { edge: !draining, orders: known.orders.ready, catalog: known.catalog.ready };
        PublicReadiness { ready, roles, detail }
    }

    /// Asks the roles until the edge shuts down.
    pub async fn follow(self: Arc<Self>, backend: Arc<impl Backend>) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let asked =
                async { tokio::join!(ask(backend.as_ref(), Role::Orders), ask(backend.as_ref(), Role::Catalog)) };
            let Some((orders, catalog)) = self.shutdown.run_until_cancelled(asked).await else { return };
            let before = self.known.load();
            if before.orders.ready != orders.ready || before.catalog.ready != catalog.ready {
                tracing::info!(orders = orders.ready, catalog = catalog.ready, "readiness of the roles changed");
            }
            self.known.store(Arc::new(Known { orders, catalog }));
        }
    }
}

async fn ask(backend: &impl Backend, role: Role) -> RoleState {
    let not_ready = |detail: String| RoleState { ready: false, detail: vec![detail] };
    let request = match UpstreamRequest::new(Method::GET, "/readyz", Instant::now() + PATIENCE) {
        Ok(request) => request,
        Err(error) => return not_ready(error.to_string()),
    };
    match backend.call(role, request).await {
        Ok(answer) => match serde_json::from_slice::<Report>(&answer.body) {
            Ok(report) => RoleState { ready: report.ready && answer.status.is_success(), detail: failed(&report) },
            Err(_) => not_ready(format!("answers {} without a report", answer.status.as_u16())),
        },
        Err(error) => not_ready(error.to_string()),
    }
}

fn failed(report: &Report) -> Vec<String> {
    let checks = report.checks.iter().filter(|check| !check.ok).take(16);
    checks.map(|check| format!("{}: {}", check.name, check.detail)).collect()
}

/// What the edge says of itself to the supervisor: the same as to the public, each role a check.
impl Readiness for Watcher {
    fn check(&self) -> Vec<Check> {
        let public = self.public();
        let detail = public.detail.join("; ");
        vec![Check::new("orders", public.roles.orders, detail)]
    }
}
