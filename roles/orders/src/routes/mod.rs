//! What the role answers.

mod fsck;
mod list;
mod operator;
mod public;

use std::sync::Arc;

use http::StatusCode;
use utoipa::OpenApi;
use zizon_base::problem::Problem;
use zizon_contracts::orders::{
    CreateOrder, CreateOrderItem, OrderBody, OrderItem, OrderLinks, OrderTotals, Reservation, ShippingAddress,
};
use zizon_service::{Request, Response, Router, json, problem};

use crate::background::fsck::StoreCheck;
use crate::service::OrdersService;

/// Every route of the role.
#[must_use]
pub fn router(service: Arc<OrdersService>, check: StoreCheck) -> Router<OrdersService> {
    let check = Arc::new(check);
    let checking = Arc::clone(&check);
    Router::new(service)
        .route("POST", "/api/v1/orders", public::create_order)
        .route("GET", "/api/v1/orders/{id}", public::show_order)
        .route("POST", "/api/v1/orders/{id}/cancel", public::cancel_order)
        .route("GET", "/internal/v1/stock/{sku}", operator::show_stock)
        .route("PUT", "/internal/v1/stock/{sku}", operator::set_stock)
        .route("POST", "/internal/v1/stock/{sku}/shards", operator::shard_stock)
        .route("GET", "/internal/v1/orders", list::list_orders)
        .route("GET", "/internal/v1/orders/{id}", operator::show_order)
        .route("POST", "/internal/v1/orders/{id}/cancel", operator::cancel_order)
        .route("POST", "/internal/v1/fsck", move |_, request| std::future::ready(fsck::start(&checking, &request)))
        .route("GET", "/internal/v1/fsck", move |_, _| std::future::ready(fsck::status(&check)))
}

#[derive(OpenApi)]
#[openapi(
    paths(public::create_order, public::show_order, public::cancel_order),
    components(schemas(
        CreateOrder,
        CreateOrderItem,
        OrderBody,
        OrderItem,
        OrderLinks,
        OrderTotals,
        Reservation,
        ShippingAddress
    ))
)]
struct Document;

/// The public routes, described from their handlers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// `value` as JSON, or the problem.
fn answer<T: serde::Serialize>(result: Result<T, Box<Problem>>, request: &Request) -> Response {
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refusal) => problem(&refusal, request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_the_public_routes_and_no_others() {
        let paths: Vec<_> = openapi().paths.paths.keys().cloned().collect();
        assert_eq!(paths, ["/api/v1/orders", "/api/v1/orders/{id}", "/api/v1/orders/{id}/cancel"]);
    }
}
