//! Names of headers with a meaning between edge and roles, lower case as HTTP/2 writes them.

/// The key that makes a retry safe; the same as the body's `idempotency_key`.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `true` on an answer that repeats an earlier one.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// The request's id, made by the edge.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C Trace Context, level 1.
pub const TRACEPARENT: &str = "traceparent";
/// The only request headers the edge hands on, besides the two it makes itself.
pub const FORWARDED_TO_ROLES: &[&str] =
    &["accept", "accept-language", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match"];
