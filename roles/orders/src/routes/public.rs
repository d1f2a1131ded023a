//! What shoppers do, by way of the edge.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zizon_base::problem::{Code, Problem};
use zizon_contracts::headers::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
use zizon_contracts::orders::{CreateOrder, OrderBody};
use zizon_service::{Request, Response, json_bytes, problem};

use crate::order::render::ORDERS_PATH;
use crate::service::{Answer, OrdersService};

/// Places an order.
///
/// The order is durable and its stock reserved when the answer is 201. Repeating the request with the same key and
/// meaning answers the same bytes, at any time. 4xx and 5xx do not bind the key.
#[utoipa::path(
    post,
    path = "/api/v1/orders",
    tag = "orders",
    operation_id = "createOrder",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same as `idempotency_key` in the body")),
    request_body = CreateOrder,
    responses(
        (status = 201, description = "The order stands", body = OrderBody, headers(
            ("Location" = String, description = "Path of the order"),
            ("Idempotent-Replayed" = String, description = "`true` when it stood already"),
        )),
        (status = 400, description = "`malformed-request`, `idempotency-key-required`, `idempotency-key-invalid`, `idempotency-key-mismatch`", content_type = "application/problem+json"),
        (status = 401, description = "`authentication-required`: guest checkout is off", content_type = "application/problem+json"),
        (status = 409, description = "`price-changed`, `total-changed`, `insufficient-stock`: nothing was reserved", content_type = "application/problem+json"),
        (status = 413, description = "`body-too-large`", content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", content_type = "application/problem+json"),
        (status = 422, description = "`idempotency-key-reused`, `unknown-product`, `product-unavailable`, `invalid-quantity`, `quantity-limit`, `empty-order`, `too-many-lines`, `currency-mismatch`, `amount-out-of-range`, `invalid-address`, `not-supported-yet`", content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `prices-stale`, `upstream-unavailable`, `storage-full`, `outcome-unknown`: repeat it with the same key", content_type = "application/problem+json"),
    )
)]
pub(super) async fn create_order(service: Arc<OrdersService>, request: Request) -> Response {
    match place(&service, &request.parts.headers, &request.body).await {
        Ok(answer) => {
            service.metrics.placed(answer.replayed);
            if !answer.replayed {
                service.recent.note(answer.id);
            }
            created(answer)
        }
        Err(refusal) => {
            service.metrics.refused(refusal.code);
            problem(&refusal, &request)
        }
    }
}

async fn place(service: &OrdersService, headers: &HeaderMap, body: &Bytes) -> Result<Answer, Box<Problem>> {
    if !is_json(headers.get(CONTENT_TYPE)) {
        let detail = "the `Content-Type` of an order is `application/json`, in UTF-8";
        return Err(Box::new(Problem::new(Code::UnsupportedMediaType).detail(detail)));
    }
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = keys.next().map(HeaderValue::as_bytes);
    if keys.any(|other| Some(other.as_bytes()) != key) {
        let detail = "the header `Idempotency-Key` is there more than once, with different values";
        return Err(Box::new(Problem::new(Code::IdempotencyKeyMismatch).detail(detail)));
    }
    service.place(body, key).await
}

fn created(answer: Answer) -> Response {
    const REPLAYED: HeaderName = HeaderName::from_static(IDEMPOTENT_REPLAYED);
    let mut response = json_bytes(StatusCode::CREATED, answer.body);
    let location = [ORDERS_PATH, answer.id.as_str()].concat();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    if answer.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Shows an order to whoever has its token: the 201's shape with the statuses of the moment.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{id}",
    tag = "orders",
    operation_id = "getOrder",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("Authorization" = String, Header, description = "`Bearer` and the order's `access_token`"),
    ),
    responses(
        (status = 200, description = "The order", body = OrderBody),
        (status = 404, description = "`not-found`: no such order, or not with this token", content_type = "application/problem+json"),
    )
)]
pub(super) async fn show_order(service: Arc<OrdersService>, request: Request) -> Response {
    let id = request.params.get("id").unwrap_or_default();
    shown(service.show(id, bearer(&request.parts.headers)).await, &request)
}

/// Calls an order off; asking again answers the same. The body may be empty.
#[utoipa::path(
    post,
    path = "/api/v1/orders/{id}/cancel",
    tag = "orders",
    operation_id = "cancelOrder",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("Authorization" = String, Header, description = "`Bearer` and the order's `access_token`"),
    ),
    responses(
        (status = 200, description = "The order, called off", body = OrderBody),
        (status = 404, description = "`not-found`: no such order, or not with this token", content_type = "application/problem+json"),
        (status = 409, description = "`invalid-transition`: the order can no longer be cancelled", content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `outcome-unknown`: ask again", content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_order(service: Arc<OrdersService>, request: Request) -> Response {
    let id = request.params.get("id").unwrap_or_default();
    shown(service.cancel(id, bearer(&request.parts.headers)).await, &request)
}

fn shown(result: Result<Vec<u8>, Box<Problem>>, request: &Request) -> Response {
    match result {
        Ok(body) => json_bytes(StatusCode::OK, body.into()),
        Err(refusal) => problem(&refusal, request),
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `application/json`, in UTF-8 if it says anything about that.
fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/json")
        && parts.filter(|part| !part.is_empty()).all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf_8_is_json() {
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json; charset=\"utf-8\""] {
            assert!(is_json(Some(&HeaderValue::from_static(good))), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=latin1", "application/jsonp", "", "application/xml"] {
            assert!(!is_json(Some(&HeaderValue::from_static(bad))), "{bad}");
        }
        assert!(!is_json(None));
    }

    #[test]
    fn a_bearer_token_is_taken_from_its_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer abc"));
        assert_eq!(bearer(&headers), Some("abc"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer(&headers), None);
    }
}
