//! One unix socket for scrapers: every role's metrics, fetched over mTLS, with a `role` label.
//!
//! A unix socket, because a TCP port without authentication would be readable by every process of the machine.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::UnixListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_service::Upstream;
use zizon_telemetry::aggregate;

use super::health::get;

/// How long a role may take to answer a scrape.
const PATIENCE: Duration = Duration::from_secs(2);
/// The one metric of the supervisor's own.
const SCRAPE_UP: &str = "zizon_scrape_up";
const SCRAPE_UP_HELP: &str = "Whether the role answered this scrape";
/// Scrapers at a time.
const MAX_CONNECTIONS: usize = 16;

/// Serves `GET /metrics` until `stop`.
pub async fn serve(listener: UnixListener, roles: Vec<(Role, Arc<Upstream>)>, stop: CancellationToken) {
    let roles = Arc::new(roles);
    let mut scrapes = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = scrapes.join_next() => {}
            accepted = listener.accept(), if scrapes.len() < MAX_CONNECTIONS => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let roles = Arc::clone(&roles);
                scrapes.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&roles)));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(Duration::from_secs(5))
                        .serve_connection(TokioIo::new(stream), service);
                    // A scraper that goes away is its own affair.
                    let _ = tokio::time::timeout(Duration::from_secs(60), connection).await;
                });
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    roles: Arc<Vec<(Role, Arc<Upstream>)>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, scrape(&roles).await),
        "/catalogue" => (StatusCode::OK, catalogue(&roles).await),
        _ => (StatusCode::NOT_FOUND, "GET /metrics or /catalogue\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// What each role answers to `path`.
async fn ask_all(roles: &[(Role, Arc<Upstream>)], path: &str) -> Vec<(Role, Option<String>)> {
    let asked = roles.iter().map(|(role, upstream)| async move {
        let answer = get(upstream, path, PATIENCE).await.filter(|answer| answer.status == StatusCode::OK);
        (*role, answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()))
    });
    join_all(asked).await
}

/// Everything the roles could export, each metric once with the roles that have it, as a Markdown table.
async fn catalogue(roles: &[(Role, Arc<Upstream>)]) -> String {
    let mut rows: BTreeMap<String, Vec<Role>> = BTreeMap::new();
    for (role, text) in ask_all(roles, "/metrics?catalogue").await {
        for row in text.iter().flat_map(|text| text.lines()).filter(|row| row.starts_with("| `")) {
            rows.entry(row.to_owned()).or_default().push(role);
        }
    }
    let mut out = String::from("| name | type | unit | labels | meaning | roles |\n|---|---|---|---|---|---|\n");
    out.push_str(&format!("| `{SCRAPE_UP}` | gauge | | `role` | {SCRAPE_UP_HELP} | supervisor |\n"));
    for (row, roles) in rows {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let names = if roles.len() == Role::ALL.len() { "all".to_owned() } else { names.join(", ") };
        out.push_str(&format!("{} {names} |\n", row.trim_end()));
    }
    out
}

/// The metrics of all roles that answer.
async fn scrape(roles: &[(Role, Arc<Upstream>)]) -> String {
    let answers = ask_all(roles, "/metrics").await;
    let texts: Vec<(&str, &str)> =
        answers.iter().filter_map(|(role, text)| Some((role.name(), text.as_deref()?))).collect();
    let mut out = aggregate("role", &texts);
    out.push_str(&format!("# HELP {SCRAPE_UP} {SCRAPE_UP_HELP}.\n# TYPE {SCRAPE_UP} gauge\n"));
    for (role, text) in &answers {
        out.push_str(&format!("{SCRAPE_UP}{{role=\"{role}\"}} {}\n", u8::from(text.is_some())));
    }
    out
}
