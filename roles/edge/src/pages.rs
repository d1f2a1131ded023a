//! The pages the edge answers itself.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use zizon_base::problem::{Code, Problem, TYPE_BASE};
use zizon_service::RequestId;

use crate::answer::Answer;
use crate::view::RequestView;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a}\
code{background:#f2f2f2;padding:.1rem .3rem}dt{font-weight:600}dd{margin:0 0 .6rem}";

/// Whether the client would rather have HTML.
fn prefers_html(request: &RequestView<'_>) -> bool {
    let accept = request.field("accept").unwrap_or_default();
    memchr::memmem::find(accept, b"text/html").is_some()
}

fn page(title: &str, body: &str) -> Bytes {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
    .into()
}

/// `/`: where things are.
pub(crate) fn landing(request: &RequestView<'_>, id: RequestId) -> Answer {
    if prefers_html(request) {
        let body = "<h1>Zizon</h1><p>A commerce platform. This is its public edge.</p><ul>\
            <li><a href=\"/api/v1/products\">Products</a></li>\
            <li><code>POST /api/v1/orders</code> makes an order</li>\
            <li><a href=\"/openapi.json\">API description</a></li>\
            <li><a href=\"/readyz\">Readiness</a></li></ul>";
        return Answer::new(StatusCode::OK, HTML, page("Zizon", body), id);
    }
    let document = json!({
        "name": "zizon",
        "links": {
            "products": "/api/v1/products", "orders": "/api/v1/orders", "openapi": "/openapi.json",
            "ready": "/readyz", "health": "/healthz",
        },
    });
    Answer::new(StatusCode::OK, JSON, document.to_string().into(), id)
}

/// `/problems/{code}`: what a problem means and what to do; HTML unless JSON is asked for.
pub(crate) fn problem_page(slug: &str, request: &RequestView<'_>, id: RequestId) -> Answer {
    let Some(code) = Code::from_slug(slug) else {
        return Answer::problem(&Problem::new(Code::NotFound), request, id);
    };
    let accept = request.field("accept").unwrap_or_default();
    if memchr::memmem::find(accept, b"json").is_some() && !prefers_html(request) {
        let document = json!({
            "type": format!("{TYPE_BASE}{}", code.slug()), "code": code.slug(), "title": code.title(),
            "status": code.status(), "retryable": code.retryable(), "help": code.help(),
        });
        return Answer::new(StatusCode::OK, JSON, document.to_string().into(), id);
    }
    let mut body = String::with_capacity(1024);
    // Writing to a String cannot fail.
    let _ = write!(
        body,
        "<h1>{title}</h1><p>{help}</p><dl><dt>Code</dt><dd><code>{slug}</code></dd><dt>Status</dt><dd>{status}</dd>\
         <dt>Send it again unchanged?</dt><dd>{again}</dd></dl>",
        title = escape(code.title()),
        help = with_code(&escape(code.help())),
        slug = code.slug(),
        status = code.status(),
        again = if code.retryable() { "Yes, after a moment" } else { "No" },
    );
    Answer::new(StatusCode::OK, HTML, page(code.title(), &body), id)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text between back quotes as code.
fn with_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(out, "<code>{part}</code>");
        } else {
            out.push_str(part);
        }
    }
    out
}
