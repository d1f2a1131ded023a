//! What shoppers read, by way of the edge.

use std::sync::Arc;

use http::{HeaderValue, header};
use zizon_contracts::catalog::{Product, ProductPage};
use zizon_service::{Request, Response, problem};

use super::query::PageQuery;
use super::{Catalog, document, not_found};

/// Caches may keep a product but must ask whether it is still the same: a price is never shown stale.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Lists products in the order of their ids.
///
/// A page may be shorter than `limit`, even empty, while `next_cursor` is given: go on until it is null.
#[utoipa::path(
    get,
    path = "/api/v1/products",
    tag = "catalog",
    operation_id = "listProducts",
    params(
        ("market" = Option<String>, Query, description = "Only products sold in this market: `KR`, `JP` or `US`"),
        ("category" = Option<String>, Query, description = "Only products of this category, by slug"),
        ("limit" = Option<u32>, Query, description = "Products per page, 1 to 100; 20 when left out", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before, with the same filters"),
    ),
    responses(
        (status = 200, description = "A page of products", body = ProductPage),
        (status = 400, description = "`invalid-parameter`: a query parameter is not valid", content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_products(catalog: Arc<Catalog>, request: Request) -> Response {
    match PageQuery::read("products", &request) {
        Ok(query) => with_caching(query.answer(&catalog.shelf, false)),
        Err(refusal) => problem(&refusal, &request),
    }
}

/// Shows a product: texts in every language, prices in every market that sells it.
#[utoipa::path(
    get,
    path = "/api/v1/products/{id}",
    tag = "catalog",
    operation_id = "getProduct",
    params(
        ("id" = String, Path, description = "The product's id"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tag of the copy the caller has"),
    ),
    responses(
        (status = 200, description = "The product", body = Product, headers(("ETag" = String, description = "Changes with the document"))),
        (status = 304, description = "The caller's copy is current"),
        (status = 404, description = "`not-found`: there is no such product, or it is not published", content_type = "application/problem+json"),
    )
)]
pub(super) async fn show_product(catalog: Arc<Catalog>, request: Request) -> Response {
    let sku = request.params.get("id").and_then(|id| id.parse().ok());
    match sku.and_then(|sku| catalog.shelf.get(&sku)) {
        Some(entry) if entry.published => with_caching(document(&entry, &request)),
        _ => not_found(&request),
    }
}

fn with_caching(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, ASK_AGAIN);
    response
}
