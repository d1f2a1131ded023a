//! RFC 9457 problem details: one closed list of codes, each with its status and whether a retry may work.

mod titles;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::language::Language;

/// Base of `type` URIs; the edge serves a page for each code under `/problems/{code}`.
pub const TYPE_BASE: &str = "https://zizon.dev/problems/";

macro_rules! codes {
    ($($variant:ident = $status:literal, $slug:literal, $title:literal, $retryable:literal, $help:literal;)*) => {
        /// Every problem the platform answers. The slug never changes; clients branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $help] $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status,)* } }

            /// Stable name.
            #[must_use]
            pub const fn slug(self) -> &'static str { match self { $(Self::$variant => $slug,)* } }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn retryable(self) -> bool { match self { $(Self::$variant => $retryable,)* } }

            /// What it means and what to do, for the page of the code.
            #[must_use]
            pub const fn help(self) -> &'static str { match self { $(Self::$variant => $help,)* } }
        }
    };
}

codes! {
    MalformedRequest = 400, "malformed-request", "The request could not be read", false, "The body is not the JSON this route takes: a syntax error, a wrong type, a missing or repeated member, text after the document, or more than 32 levels. `errors[].pointer` names the place. Correct the request; the idempotency key is still free.";
    IdempotencyKeyRequired = 400, "idempotency-key-required", "An idempotency key is required", false, "Send `idempotency_key` in the body or the header `Idempotency-Key`: 1 to 255 printable ASCII characters, fresh for each order you mean, the same for each retry of it.";
    IdempotencyKeyInvalid = 400, "idempotency-key-invalid", "The idempotency key cannot be used", false, "A key has 1 to 255 printable ASCII characters. A guest's key needs at least 22, because whoever can repeat user, key and body can read the order. Use a random UUID.";
    IdempotencyKeyMismatch = 400, "idempotency-key-mismatch", "The header and the body have different idempotency keys", false, "`Idempotency-Key` and `idempotency_key` are the same thing. Send one, or the same value in both.";
    BadRequest = 400, "bad-request", "The request is not valid HTTP", false, "The request breaks a rule of HTTP/1.1 or HTTP/2 framing (RFC 9112, RFC 9113), or could be read in two ways. The connection is closed.";
    InvalidParameter = 400, "invalid-parameter", "A query parameter is not valid", false, "`errors[].pointer` names the parameter and `detail` says what it may be.";
    AuthenticationRequired = 401, "authentication-required", "Sign in to order", false, "This shop does not take orders from guests. Send the customer's bearer token, or switch guest checkout on (`orders.guest_checkout`).";
    Forbidden = 403, "forbidden", "This identity may not call this route", false, "The caller's SPIFFE identity is not named for this route in the authorisation policy. `policy` is the hash of the policy that decided.";
    UserMismatch = 403, "user-mismatch", "The credential belongs to another user", false, "`user_id` must be the subject of the bearer token.";
    NotFound = 404, "not-found", "Not found", false, "There is no such resource, or this credential may not know of it.";
    MethodNotAllowed = 405, "method-not-allowed", "Method not allowed", false, "The `Allow` header lists what it takes.";
    RequestTimeout = 408, "request-timeout", "The request did not arrive in time", true, "Headers must arrive within 5 seconds; a body at 1 KB/s or more and within 30 seconds.";
    PriceChanged = 409, "price-changed", "The price has changed", false, "`errors[]` gives the server's price as `expected` and yours as `actual`. Nothing was reserved and the idempotency key is still free: show the price, then send it again.";
    TotalChanged = 409, "total-changed", "The total has changed", false, "`expected_total` is not what these lines cost at present. Nothing was reserved; the key is still free.";
    InsufficientStock = 409, "insufficient-stock", "Not enough in stock", false, "All or nothing: no line was reserved and the key is still free. `errors[]` gives what was requested and, where it is less, what is available.";
    InvalidTransition = 409, "invalid-transition", "The order can no longer be changed in this way", false, "The order's state does not allow this any more. Read the order to see where it stands.";
    IdempotencyInProgress = 409, "idempotency-in-progress", "The first request with this key is still in progress", true, "Send the same request again after `Retry-After`.";
    PreconditionFailed = 412, "precondition-failed", "The resource has changed", false, "`If-Match` does not name the current version. Read it again and decide anew.";
    BodyTooLarge = 413, "body-too-large", "The body is too large", false, "An API request may have 64 KiB.";
    UriTooLong = 414, "uri-too-long", "The URI is too long", false, "A URI may have 8 KB.";
    UnsupportedMediaType = 415, "unsupported-media-type", "The body must be JSON", false, "Send `Content-Type: application/json`, without a content coding.";
    ExpectationFailed = 417, "expectation-failed", "The expectation cannot be met", false, "Only `Expect: 100-continue` is understood.";
    MisdirectedRequest = 421, "misdirected-request", "This host is not served here", false, "Open a connection to the host you mean.";
    IdempotencyKeyReused = 422, "idempotency-key-reused", "This key was already used for a different order", false, "The key was used with a different body. Use a fresh key for a different order.";
    UnknownProduct = 422, "unknown-product", "Unknown product", false, "The catalog has no product with this id. `errors[].pointer` names the line. Nothing was reserved; the key is still free.";
    ProductUnavailable = 422, "product-unavailable", "This product is not for sale here", false, "The product is not published, or has no price in this market.";
    InvalidQuantity = 422, "invalid-quantity", "The quantity must be at least 1", false, "Order at least one unit of every line, in whole numbers. `errors[].pointer` names the line.";
    QuantityLimit = 422, "quantity-limit", "Too many units in one order", false, "Quantities are summed per product before the limit is checked.";
    EmptyOrder = 422, "empty-order", "The order has no lines", false, "Put at least one line in `items`.";
    TooManyLines = 422, "too-many-lines", "The order has too many lines", false, "Split the order.";
    CurrencyMismatch = 422, "currency-mismatch", "The currency does not match the market", false, "Prices are in the market's currency. Leave `currency` out, or name that one.";
    AmountOutOfRange = 422, "amount-out-of-range", "The amount is out of range", false, "No amount may exceed 9,007,199,254,740,991 minor units.";
    InvalidAddress = 422, "invalid-address", "The address is not valid", false, "`errors[].pointer` names each member that is missing or cannot be used, and `detail` says what it may be.";
    InvalidProduct = 422, "invalid-product", "The product is not valid", false, "`errors[].pointer` names each member that is missing or cannot be used, and `detail` says what it may be.";
    NotSupportedYet = 422, "not-supported-yet", "This member is not supported yet", false, "Quotes, coupons, flash sales and stored addresses are not built. Leave the member out.";
    TooManyRequests = 429, "too-many-requests", "Too many requests", true, "Send the same request again after `Retry-After`.";
    HeadersTooLarge = 431, "headers-too-large", "The headers are too large", false, "A request may have 100 headers and 32 KB of them.";
    Internal = 500, "internal", "Something went wrong on our side", true, "The request was not understood to have failed or succeeded. Repeat it with the same idempotency key; quote `trace_id` when you write to us.";
    HttpVersion = 505, "http-version-not-supported", "HTTP version not supported", false, "HTTP/1.1 and HTTP/2 over TLS 1.3 are served.";
    NotImplemented = 501, "method-unknown", "Unknown method", false, "Use a method of RFC 9110.";
    Overloaded = 503, "overloaded", "The service is overloaded", true, "The request was refused before any work was done. Send it again after `Retry-After` with the same idempotency key.";
    Draining = 503, "draining", "This instance is shutting down", true, "The request was refused before any work was done. Send it again with the same idempotency key.";
    PricesStale = 503, "prices-stale", "Prices cannot be confirmed right now", true, "The catalog has not confirmed its prices for too long, and Zizon does not sell at a price that may be wrong. Send the same request again after `Retry-After`.";
    StorageFull = 503, "storage-full", "The disk is full", true, "Nothing was written. Orders resume by themselves when there is space.";
    OutcomeUnknown = 503, "outcome-unknown", "It is not known whether this was applied", true, "Repeat it with the same idempotency key: if the order was made you get it, otherwise it is made.";
    UpstreamUnavailable = 503, "upstream-unavailable", "A part of the platform is restarting", true, "Send the same request again after `Retry-After` with the same idempotency key.";
    UpstreamTimeout = 503, "upstream-timeout", "A part of the platform did not answer in time", true, "It is not known whether the request was applied. Repeat it with the same idempotency key.";
    StorageFailed = 503, "storage-failed", "The storage has stopped", true, "A write could not be made durable, so the storage refuses all further writes until it has been opened again.";
}

impl Code {
    /// The code with this slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }
}

/// One place in the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body as a URI fragment (`#/items/0/price`), or the name of a parameter.
    pub pointer: String,
    /// Stable name of what is wrong there.
    pub code: &'static str,
    /// For people.
    pub detail: Option<String>,
    /// What the server holds to be true.
    pub expected: Option<Value>,
    /// What the caller said.
    pub actual: Option<Value>,
    /// Further members (`requested`, `available`).
    pub extensions: Vec<(&'static str, Value)>,
}

impl FieldError {
    /// An error at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: &'static str) -> Self {
        Self { pointer: pointer.into(), code, detail: None, expected: None, actual: None, extensions: Vec::new() }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds both sides of a difference.
    #[must_use]
    pub fn differs(mut self, expected: impl Into<Value>, actual: impl Into<Value>) -> Self {
        self.expected = Some(expected.into());
        self.actual = Some(actual.into());
        self
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }
}

impl Serialize for FieldError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("pointer", &self.pointer)?;
        out.serialize_entry("code", self.code)?;
        if let Some(detail) = &self.detail {
            out.serialize_entry("detail", detail)?;
        }
        for (name, value) in [("expected", &self.expected), ("actual", &self.actual)] {
            if let Some(value) = value {
                out.serialize_entry(name, value)?;
            }
        }
        self.extensions.iter().try_for_each(|(name, value)| out.serialize_entry(name, value))?;
        out.end()
    }
}

/// A problem on its way to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// What went wrong this time, for people; never personal data or secrets. The document says what the code means
    /// where this is missing.
    pub detail: Option<String>,
    /// Where.
    pub errors: Vec<FieldError>,
    /// Seconds for a `Retry-After` header.
    pub retry_after_seconds: Option<u32>,
    /// Further members (`requested`, `policy`, ...).
    pub extensions: Vec<(&'static str, Value)>,
}

impl Problem {
    /// The media type of a problem document.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem without particulars; retryable ones ask for one second of patience.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        let retry_after_seconds = if code.retryable() { Some(1) } else { None };
        Self { code, detail: None, errors: Vec::new(), retry_after_seconds, extensions: Vec::new() }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a place.
    #[must_use]
    pub fn field(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// Adds several places.
    #[must_use]
    pub fn fields(mut self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        self.errors.extend(errors);
        self
    }

    /// Sets the `Retry-After` header.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }

    /// The document, its title in `language`. `instance` is the request's path, `trace_id` its trace.
    #[must_use]
    pub fn to_json(&self, instance: &str, trace_id: &str, language: Language) -> Vec<u8> {
        // Text and numbers only: nothing in it can fail to be written.
        let mut out = Vec::with_capacity(512);
        let _ = serde_json::to_writer(&mut out, &Document { problem: self, instance, trace_id, language });
        out
    }
}

/// A problem as it is sent, its members in the order in which people read them.
struct Document<'a> {
    problem: &'a Problem,
    instance: &'a str,
    trace_id: &'a str,
    language: Language,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { problem: Problem { code, detail, errors, extensions, .. }, instance, trace_id, language } = self;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("type", &format!("{TYPE_BASE}{}", code.slug()))?;
        out.serialize_entry("title", code.title_in(*language))?;
        out.serialize_entry("status", &code.status())?;
        // Where nothing was said about this time, what the code means and what to do is still better than nothing.
        out.serialize_entry("detail", detail.as_deref().unwrap_or_else(|| code.help()))?;
        out.serialize_entry("code", code.slug())?;
        out.serialize_entry("retryable", &code.retryable())?;
        if !errors.is_empty() {
            out.serialize_entry("errors", errors)?;
        }
        extensions.iter().try_for_each(|(name, value)| out.serialize_entry(name, value))?;
        out.serialize_entry("instance", instance)?;
        out.serialize_entry("trace_id", trace_id)?;
        out.end()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slugs_are_unique_and_found_again() {
        let slugs: HashSet<_> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert_eq!(slugs.len(), Code::ALL.len());
        for &code in Code::ALL {
            assert_eq!(Code::from_slug(code.slug()), Some(code));
        }
    }

    #[test]
    fn only_answers_that_may_change_by_themselves_are_retryable() {
        for &code in Code::ALL {
            let may_be = matches!(code.status(), 408 | 409 | 429 | 500 | 503);
            assert!(may_be || !code.retryable(), "{}", code.slug());
        }
    }

    #[test]
    fn a_document_has_the_members_of_rfc_9457_and_ours() {
        let problem = Problem::new(Code::PriceChanged)
            .field(FieldError::new("#/items/0/price", "price-changed").differs(2_690_000, 1));
        let document: Value =
            serde_json::from_slice(&problem.to_json("/api/v1/orders", "abc", Language::English)).unwrap();
        assert_eq!(document["type"], "https://zizon.dev/problems/price-changed");
        assert_eq!(document["status"], 409);
        assert_eq!(document["errors"][0]["expected"], 2_690_000);
        assert_eq!(document["trace_id"], "abc");
        assert_eq!(document["retryable"], false);
        assert_eq!(document["detail"], Code::PriceChanged.help());
        let said: Value =
            serde_json::from_slice(&problem.detail("this time").to_json("/", "", Language::English)).unwrap();
        assert_eq!(said["detail"], "this time");
    }

    #[test]
    fn titles_are_short_and_helps_are_sentences() {
        for &code in Code::ALL {
            assert!(code.title().len() <= 60 && !code.title().ends_with('.'), "{}", code.slug());
            assert!(code.help().ends_with('.') && code.help() != code.title(), "{}", code.slug());
        }
    }
}
