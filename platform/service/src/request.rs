//! A request as a handler sees it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use zizon_contracts::headers;
use zizon_mtls::Peer;

/// A request with its body read, from a peer whose identity and right to call the route are checked.
#[derive(Debug)]
pub struct Request {
    /// Method, URI and headers as they arrived.
    pub parts: http::request::Parts,
    /// The values of the route template's parameters, decoded.
    pub params: Params,
    /// The whole body, within the route's limit.
    pub body: Bytes,
    /// Who calls.
    pub peer: Arc<Peer>,
    /// The id the edge gave the request, or one made here.
    pub request_id: RequestId,
    /// The trace this request belongs to.
    pub trace: TraceContext,
}

impl Request {
    /// The value of a parameter in the query string, undecoded; the first one if it is repeated.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.parts.uri.query()?.split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find_map(|(n, value)| (n == name).then_some(value))
    }

    /// The value of a header, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }
}

/// The values of a route template's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub(crate) Vec<(&'static str, String)>);

impl Params {
    /// The value of `{name}` in the template.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(n, value)| (*n == name).then_some(value.as_str()))
    }
}

/// 32 lower-case hexadecimal digits that name one request in every log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// A random id.
    #[must_use]
    pub fn random() -> Self {
        let mut digits = [0; 32];
        write_hex(&mut digits[..16], next_random());
        write_hex(&mut digits[16..], next_random());
        Self(digits)
    }

    /// The caller's id if it is well formed, otherwise a random one.
    #[must_use]
    pub fn from_headers(found: &HeaderMap) -> Self {
        let given = found.get(headers::REQUEST_ID).map(HeaderValue::as_bytes);
        given.and_then(lower_hex).map_or_else(Self::random, Self)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        as_text(&self.0)
    }

    /// The digits as a header value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        header_value(&self.0)
    }
}

/// W3C Trace Context (level 1): the trace and the caller's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    parent_id: [u8; 16],
    sampled: bool,
}

impl TraceContext {
    /// A trace that begins here; its id is the request's.
    #[must_use]
    pub fn begin(request_id: &RequestId) -> Self {
        let mut parent_id = [0; 16];
        write_hex(&mut parent_id, next_random());
        Self { trace_id: request_id.0, parent_id, sampled: false }
    }

    /// The caller's trace if `traceparent` is well formed, otherwise a trace that begins here.
    #[must_use]
    pub fn from_headers(found: &HeaderMap, request_id: &RequestId) -> Self {
        let given = found.get(headers::TRACEPARENT).map(HeaderValue::as_bytes);
        given.and_then(Self::parse).unwrap_or_else(|| Self::begin(request_id))
    }

    /// Reads `00-<trace id>-<parent id>-<flags>`; all-zero ids are invalid (section 3.2.2.3).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [b'0', b'0', b'-', rest @ ..] = text else { return None };
        let separators_ok = rest.len() == 52 && rest[32] == b'-' && rest[49] == b'-';
        if !separators_ok {
            return None;
        }
        let trace_id = lower_hex::<32>(&rest[..32])?;
        let parent_id = lower_hex::<16>(&rest[33..49])?;
        let flags = lower_hex::<2>(&rest[50..])?;
        let all_zero = trace_id == [b'0'; 32] || parent_id == [b'0'; 16];
        (!all_zero).then_some(Self { trace_id, parent_id, sampled: hex_digit(flags[1]) & 1 == 1 })
    }

    /// The same trace with a span id of its own: what to send onwards.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut child = *self;
        write_hex(&mut child.parent_id, next_random());
        child
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        as_text(&self.trace_id)
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.sampled
    }

    /// The `traceparent` header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.trace_id);
        text[36..52].copy_from_slice(&self.parent_id);
        text[54] = if self.sampled { b'1' } else { b'0' };
        header_value(&text)
    }
}

fn lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digits: [u8; N] = text.try_into().ok()?;
    digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(digits)
}

fn hex_digit(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
}

fn write_hex(out: &mut [u8], mut value: u64) {
    for slot in out.iter_mut().rev() {
        *slot = b"0123456789abcdef"[usize::from(value.to_le_bytes()[0] & 15)];
        value >>= 4;
    }
}

fn as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("hexadecimal digits are ASCII")
}

fn header_value(digits: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(digits).expect("hexadecimal digits are valid in a header")
}

thread_local! {
    static RANDOM: Cell<u64> = Cell::new(seed());
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    // Ids have to differ, not to be secret: the clock will do where the kernel gives nothing.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32) ^ u64::from(std::process::id()) << 16
}

/// SplitMix64 (Steele, Lea, Flood 2014): unique and well spread, not secret.
pub(crate) fn next_random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_survives_a_round_trip() {
        let trace = TraceContext::parse(EXAMPLE).expect("the example of the specification");
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(trace.sampled());
        assert_eq!(trace.to_header().as_bytes(), EXAMPLE);
        assert_ne!(trace.child().to_header().as_bytes(), EXAMPLE);
    }

    #[test]
    fn a_malformed_traceparent_begins_a_trace_of_its_own() {
        for bad in [
            &b"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"[..],
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            b"",
        ] {
            assert_eq!(TraceContext::parse(bad), None);
        }
        let id = RequestId::random();
        assert_eq!(TraceContext::begin(&id).trace_id(), id.as_str());
    }

    #[test]
    fn request_ids_are_taken_from_the_caller_or_made() {
        let mut found = HeaderMap::new();
        assert_ne!(RequestId::from_headers(&found), RequestId::from_headers(&found));
        let given = "0123456789abcdef0123456789abcdef";
        found.insert(headers::REQUEST_ID, HeaderValue::from_static(given));
        assert_eq!(RequestId::from_headers(&found).as_str(), given);
        found.insert(headers::REQUEST_ID, HeaderValue::from_static("' or 1=1"));
        assert_eq!(RequestId::from_headers(&found).as_str().len(), 32);
    }
}
