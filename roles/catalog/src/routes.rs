//! What the role answers.

mod feed;
mod fsck;
mod operator;
mod public;
mod query;

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use utoipa::OpenApi;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::catalog::{Product, ProductPage};
use zizon_service::{Request, Response, Router, json_bytes, problem};
use zizon_table::{ReadError, Table, WriteError};

use crate::feed::Feed;
use crate::fsck::StoreCheck;
use crate::shelf::{Entry, Shelf};

/// What handlers work with.
pub(crate) struct Catalog {
    pub(crate) table: Arc<dyn Table>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) feed: Feed,
    pub(crate) check: StoreCheck,
    /// The most products kept.
    pub(crate) max_products: u32,
}

/// Every route of the role.
pub(crate) fn router(catalog: Catalog) -> Router<Catalog> {
    Router::new(catalog)
        .route("GET", "/api/v1/products", public::list_products)
        .route("GET", "/api/v1/products/{id}", public::show_product)
        .route("GET", "/internal/v1/products", operator::list)
        .route("GET", "/internal/v1/products/{id}", operator::show)
        .route("PUT", "/internal/v1/products/{id}", operator::put)
        .route("GET", "/internal/v1/feed", feed::read)
        .route("POST", "/internal/v1/fsck", fsck::start)
        .route("GET", "/internal/v1/fsck", fsck::status)
}

#[derive(OpenApi)]
#[openapi(paths(public::list_products, public::show_product), components(schemas(Product, ProductPage)))]
struct Document;

/// The public routes, described from their handlers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The rendered document of a product; 304 when the caller has it.
fn document(entry: &Entry, request: &Request) -> Response {
    let known = request.header("if-none-match").is_some_and(|tags| names(tags, &entry.etag));
    let mut response = if known {
        zizon_service::empty(StatusCode::NOT_MODIFIED)
    } else {
        json_bytes(StatusCode::OK, entry.body.clone())
    };
    response.headers_mut().insert(header::ETAG, entry.etag.clone());
    response
}

/// Whether a list of entity tags names this one (RFC 9110, section 13.1.2: compared weakly).
fn names(tags: &str, etag: &HeaderValue) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

fn not_found(request: &Request) -> Response {
    problem(&Problem::new(Code::NotFound).detail("the catalog has no such product"), request)
}

/// A query parameter that is not as it should be.
fn bad_parameter(name: &'static str, rule: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidParameter).field(FieldError::new(name, "invalid").detail(rule))
}

fn read_failed(error: &ReadError) -> Problem {
    tracing::error!(%error, "table read failed");
    match error {
        ReadError::Throttled | ReadError::Unavailable(_) => Code::Overloaded.into(),
        ReadError::Closed => Code::StorageFailed.into(),
        ReadError::Invalid(_) | ReadError::Corrupt(_) | ReadError::Trimmed { .. } => Code::Internal.into(),
    }
}

fn write_failed(error: &WriteError) -> Problem {
    match error {
        WriteError::Full => Code::StorageFull.into(),
        WriteError::Conflict | WriteError::Throttled | WriteError::CondFailed { .. } => Code::Overloaded.into(),
        WriteError::Unknown => Code::OutcomeUnknown.into(),
        WriteError::Closed | WriteError::Fenced { .. } => Code::StorageFailed.into(),
        WriteError::TooLarge => Code::BodyTooLarge.into(),
        WriteError::Invalid(reason) => {
            tracing::error!(%reason, "table refused a write");
            Code::Internal.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_found_in_a_list_and_compared_weakly() {
        let etag = HeaderValue::from_static("\"abc\"");
        for tags in ["\"abc\"", "\"x\", \"abc\"", "W/\"abc\"", "*"] {
            assert!(names(tags, &etag), "{tags}");
        }
        for tags in ["\"ab\"", "abc", "", "\"x\""] {
            assert!(!names(tags, &etag), "{tags}");
        }
    }

    #[test]
    fn the_description_has_the_public_routes_and_no_others() {
        let document = openapi();
        let paths: Vec<_> = document.paths.paths.keys().cloned().collect();
        assert_eq!(paths, ["/api/v1/products", "/api/v1/products/{id}"]);
    }
}
