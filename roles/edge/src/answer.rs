//! An answer on its way to a client, and the fields every answer carries.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use zizon_base::language::Language;
use zizon_base::problem::Problem;
use zizon_service::RequestId;

use crate::view::RequestView;

/// A complete answer. Framing, `Date` and the protective fields are added when it is written.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Fields of this answer alone.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Names the request in every log.
    pub request_id: RequestId,
    /// Whether the connection ends with it.
    pub close: bool,
    /// Whether the body is left out while its length is told: the answer to HEAD.
    pub head_only: bool,
}

impl Answer {
    /// An answer with a body of the given type.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: Bytes, request_id: RequestId) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body, request_id, close: false, head_only: false }
    }

    /// A problem document about `request`, in the language it asks for.
    #[must_use]
    pub fn problem(problem: &Problem, request: &RequestView<'_>, request_id: RequestId) -> Self {
        let accept = request.field("accept-language").and_then(|value| str::from_utf8(value).ok());
        let language = accept.map_or(Language::English, Language::of_accept);
        Self::problem_in(language, problem, request.path, request_id)
    }

    /// A problem document about a request that could not be read.
    #[must_use]
    pub fn unread(problem: &Problem, request_id: RequestId) -> Self {
        Self::problem_in(Language::English, problem, "", request_id)
    }

    fn problem_in(language: Language, problem: &Problem, instance: &str, request_id: RequestId) -> Self {
        let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = problem.to_json(instance, request_id.as_str(), language).into();
        let mut answer = Self::new(status, Problem::MEDIA_TYPE, body, request_id);
        answer.headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        if let Some(seconds) = problem.retry_after_seconds {
            answer.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    /// Ends the connection after it.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// Whether the status has neither body nor Content-Length (RFC 9110, 8.6).
    #[must_use]
    pub fn is_bodiless(&self) -> bool {
        self.status.is_informational()
            || self.status == StatusCode::NO_CONTENT
            || self.status == StatusCode::NOT_MODIFIED
    }
}

/// Whether a field of a role's answer goes on to the client: not what belongs to one hop, to this edge, or to the
/// platform's inside.
#[must_use]
pub fn goes_to_client(name: &HeaderName) -> bool {
    const HERE: [HeaderName; 11] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::DATE,
        header::PROXY_AUTHENTICATE,
        header::SERVER,
        header::STRICT_TRANSPORT_SECURITY,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::X_CONTENT_TYPE_OPTIONS,
    ];
    let text = name.as_str();
    let inside = matches!(text, "keep-alive" | "proxy-connection" | "traceparent" | "tracestate" | "x-request-id")
        || text.starts_with("x-zizon-")
        || text.starts_with("x-spiffe-");
    !inside && !HERE.contains(name)
}

/// Fields every answer carries, so that a browser treats it as what it is and nothing else.
#[derive(Debug, Clone)]
pub struct Hardening {
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The same as lines of HTTP/1.1.
    lines: Vec<u8>,
}

impl Hardening {
    /// With `Strict-Transport-Security` when `hsts_max_age_seconds` is not 0.
    #[must_use]
    pub fn new(hsts_max_age_seconds: u32) -> Self {
        let fixed =
            |name: &'static str, value: &'static str| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut fields = vec![
            fixed("x-content-type-options", "nosniff"),
            fixed("x-frame-options", "DENY"),
            fixed("referrer-policy", "no-referrer"),
            fixed("cross-origin-resource-policy", "same-origin"),
            fixed("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ];
        if hsts_max_age_seconds > 0 {
            let text = format!("max-age={hsts_max_age_seconds}; includeSubDomains");
            if let Ok(value) = HeaderValue::from_str(&text) {
                fields.push((header::STRICT_TRANSPORT_SECURITY, value));
            }
        }
        let mut lines = Vec::new();
        for (name, value) in &fields {
            crate::h1::write_field(&mut lines, name.as_str().as_bytes(), value.as_bytes());
        }
        Self { fields, lines }
    }

    /// Name and value of each.
    pub fn fields(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.fields.iter()
    }

    /// All of them as HTTP/1.1 field lines.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}
