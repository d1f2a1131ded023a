//! Asking every role how it is, as the supervisor, over the same mTLS as everybody else.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_contracts::supervisor::Readiness;
use zizon_service::{Upstream, UpstreamRequest, UpstreamResponse};

use super::{notice, state::State};

/// Between questions while a role is coming up.
const EAGER: Duration = Duration::from_millis(50);
/// Between questions once it is ready.
const CALM: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Polls one role until `stop`.
pub async fn poll(role: Role, upstream: Arc<Upstream>, state: Arc<State>, stop: CancellationToken) {
    loop {
        let readiness = ask(&upstream).await;
        let pause = if readiness.as_ref().is_some_and(|said| said.ready) { CALM } else { EAGER };
        if state.heard(role, readiness) {
            notice::back(role);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// The answer to a `GET` over mTLS as the supervisor, if there is one in time.
pub async fn get(upstream: &Upstream, path: &str, patience: Duration) -> Option<UpstreamResponse> {
    let request = UpstreamRequest::new(Method::GET, path, Instant::now() + patience).ok()?;
    upstream.send(request).await.ok()
}

async fn ask(upstream: &Upstream) -> Option<Readiness> {
    let answer = get(upstream, "/readyz", PATIENCE).await?;
    let answered = answer.status == StatusCode::OK || answer.status == StatusCode::SERVICE_UNAVAILABLE;
    if answered { serde_json::from_slice(&answer.body).ok() } else { None }
}
