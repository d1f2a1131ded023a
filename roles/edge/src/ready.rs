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

/// What a role last said.
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
    orders: ArcSwap<RoleState>,
    catalog: ArcSwap<RoleState>,
    shutdown: CancellationToken,
}

impl Watcher {
    /// Knows nothing yet, so nothing is ready.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { orders: ArcSwap::default(), catalog: ArcSwap::default(), shutdown })
    }

    /// The present answer.
    #[must_use]
    pub fn public(&self) -> PublicReadiness {
        let (orders, catalog) = (self.orders.load(), self.catalog.load());
        let draining = self.shutdown.is_cancelled();
        let mut detail = Vec::new();
        if draining {
            detail.push("edge: shutting down".to_owned());
        }
        for (role, state) in [("orders", &orders), ("catalog", &catalog)] {
            detail.extend(state.detail.iter().map(|text| format!("{role}: {text}")));
        }
        // Orders keeps prices of its own, so an order does not need catalog at this moment: orders says when it does.
        let ready = orders.ready && !draining;
        let roles = RolesReady { edge: !draining, orders: orders.ready, catalog: catalog.ready };
        PublicReadiness { ready, roles, detail }
    }

    /// Asks the roles until the edge shuts down.
    pub async fn follow(self: Arc<Self>, backend: Arc<impl Backend>) {
        // Each on its own: a role that hangs must not make the news of the other one old.
        tokio::join!(
            self.follow_role(backend.as_ref(), Role::Orders, &self.orders),
            self.follow_role(backend.as_ref(), Role::Catalog, &self.catalog),
        );
    }

    async fn follow_role(&self, backend: &impl Backend, role: Role, known: &ArcSwap<RoleState>) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(state) = self.shutdown.run_until_cancelled(ask(backend, role)).await else { return };
            if known.load().ready != state.ready {
                tracing::info!(role = role.name(), ready = state.ready, "readiness of a role changed");
            }
            known.store(Arc::new(state));
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
        Err(error) => not_ready(format!("does not answer: {error}")),
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
