//! What operators read and write.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use zizon_base::ids::Sku;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::catalog::Product;
use zizon_service::{Request, Response, json_bytes, problem};
use zizon_table::{Cond, Durability, Item, Op, Path, WriteError};

use super::query::PageQuery;
use super::{Catalog, document, names, not_found, read_failed, write_failed};
use crate::draft;
use crate::record::{Record, key};

/// Times a write is tried again when another one was in the way.
const TRIES: usize = 5;
/// How long a write waits to be seen on the shelf.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn list(catalog: Arc<Catalog>, request: Request) -> Response {
    match PageQuery::read("operator", &request) {
        Ok(query) => query.answer(&catalog.shelf, true),
        Err(refusal) => problem(&refusal, &request),
    }
}

pub(super) async fn show(catalog: Arc<Catalog>, request: Request) -> Response {
    let sku = request.params.get("id").and_then(|id| id.parse().ok());
    match sku.and_then(|sku| catalog.shelf.get(&sku)) {
        Some(entry) => document(&entry, &request),
        None => not_found(&request),
    }
}

/// Writes a whole product: 201 when it is a first one, 200 otherwise; with `If-Match` only over that version.
pub(super) async fn put(catalog: Arc<Catalog>, request: Request) -> Response {
    let written = async {
        let id = path_id(&request)?;
        let product = draft::read(&request.body, &id)?;
        write(&catalog, product, request.header("if-match")).await
    };
    match written.await {
        Ok((record, first)) => {
            let status = if first { StatusCode::CREATED } else { StatusCode::OK };
            let mut response = json_bytes(status, record.body);
            if let Ok(etag) = HeaderValue::from_str(&record.etag) {
                response.headers_mut().insert(header::ETAG, etag);
            }
            response
        }
        Err(refusal) => problem(&refusal, &request),
    }
}

fn path_id(request: &Request) -> Result<Sku, Problem> {
    let id = request.params.get("id").unwrap_or_default();
    id.parse().map_err(|error: zizon_base::ids::InvalidId| {
        Problem::new(Code::InvalidProduct).field(FieldError::new("#/id", "invalid").detail(error.to_string()))
    })
}

/// The record as written, and whether it is the product's first.
async fn write(catalog: &Catalog, product: Product, if_match: Option<&str>) -> Result<(Record, bool), Problem> {
    let mut last = WriteError::Conflict;
    for _ in 0..TRIES {
        let existing = catalog.table.get(&key(&product.id)).await.map_err(|error| read_failed(&error))?;
        if let Some(tags) = if_match {
            precondition(tags, existing.as_ref())?;
        }
        if existing.is_none() && catalog.shelf.len() >= usize::try_from(catalog.max_products).unwrap_or(usize::MAX) {
            let detail = format!("the catalog has its {} products (catalog.max_products)", catalog.max_products);
            return Err(Problem::new(Code::InvalidProduct).detail(detail));
        }
        let version = existing.as_ref().and_then(|item| item.int("v"));
        let cond = version.map_or(Cond::NotExists, |seen| Cond::AttrEq(Path::attr("v"), seen.into()));
        let record =
            Record::new(product.clone(), version.unwrap_or(0) + 1).map_err(|_| Problem::new(Code::Internal))?;
        let op = Op::Put { item: record.to_item(), cond };
        match catalog.table.write(op, Durability::Durable).await {
            Ok(applied) => {
                // It is durable either way; the wait is so that the writer reads what it wrote.
                catalog.shelf.reaches(applied.seq.0, SEEN_WITHIN).await;
                return Ok((record, version.is_none()));
            }
            Err(error @ (WriteError::CondFailed { .. } | WriteError::Conflict)) => last = error,
            Err(error) => return Err(write_failed(&error)),
        }
    }
    Err(write_failed(&last))
}

/// RFC 9110, section 13.1.1: the current version must be one of those named.
fn precondition(tags: &str, existing: Option<&Item>) -> Result<(), Problem> {
    let current = existing.and_then(|item| HeaderValue::from_str(item.str("e")?).ok());
    if current.is_some_and(|etag| names(tags, &etag)) {
        return Ok(());
    }
    Err(Code::PreconditionFailed.into())
}
