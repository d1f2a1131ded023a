//! A request's head as guards and routes see it, the same for both protocols.

use std::net::SocketAddr;

use http::HeaderMap;

use crate::h1::{Head, Span, list};

/// How the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// A metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// A request whose framing is checked: everything but the body.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// The path, undecoded; valid percent-encoding without dot segments. `*` for the server as a whole.
    pub path: &'a str,
    /// What follows the `?`, undecoded.
    pub query: Option<&'a str>,
    /// Host, or the `:authority` of HTTP/2.
    pub host: &'a str,
    /// How it came.
    pub protocol: Protocol,
    /// Who is connected.
    pub peer: SocketAddr,
    /// Bytes of the body; `None` while it is not known.
    pub body_len: Option<u64>,
    fields: Fields<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Fields<'a> {
    H1 { head: &'a Head, buffer: &'a [u8] },
    H2(&'a HeaderMap),
}

impl<'a> RequestView<'a> {
    /// The view of a head that [`crate::h1::HeadParser`] has read from `buffer`.
    #[must_use]
    pub fn of_head(head: &'a Head, buffer: &'a [u8], peer: SocketAddr) -> Self {
        let text = |span: Span| ascii(span.of(buffer));
        let path = text(head.path);
        Self {
            method: text(head.method),
            path: if path.is_empty() { "/" } else { path },
            query: head.query.map(text),
            host: text(head.host),
            protocol: Protocol::Http1,
            peer,
            body_len: head.framing.body_len(),
            fields: Fields::H1 { head, buffer },
        }
    }

    /// The view of an HTTP/2 request whose parts [`crate::h2`] has checked.
    #[must_use]
    pub fn of_parts(parts: &'a http::request::Parts, host: &'a str, peer: SocketAddr, body_len: Option<u64>) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            host,
            protocol: Protocol::Http2,
            peer,
            body_len,
            fields: Fields::H2(&parts.headers),
        }
    }

    /// Calls `visit` with the name, in the case it was sent, and the value of every field.
    pub fn each_field(&self, mut visit: impl FnMut(&'a [u8], &'a [u8])) {
        match self.fields {
            Fields::H1 { head, buffer } => {
                for field in &head.fields {
                    visit(field.name.of(buffer), field.value.of(buffer));
                }
            }
            Fields::H2(map) => {
                for (name, value) in map {
                    visit(name.as_str().as_bytes(), value.as_bytes());
                }
            }
        }
    }

    /// The first value of a field; `name` in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        match self.fields {
            Fields::H1 { head, buffer } => head
                .fields
                .iter()
                .find(|field| field.name.of(buffer).eq_ignore_ascii_case(name.as_bytes()))
                .map(|field| field.value.of(buffer)),
            Fields::H2(map) => map.get(name).map(http::HeaderValue::as_bytes),
        }
    }

    /// Whether Connection takes this field off at this hop (RFC 9110, 7.6.1). HTTP/2 has no Connection.
    #[must_use]
    pub fn is_hop_field(&self, name: &[u8]) -> bool {
        let Fields::H1 { head, buffer } = self.fields else { return false };
        head.names_hop_fields
            && head
                .fields
                .iter()
                .filter(|field| field.name.of(buffer).eq_ignore_ascii_case(b"connection"))
                .any(|field| list(field.value.of(buffer)).any(|option| option.eq_ignore_ascii_case(name)))
    }
}

/// The framing rules have let only ASCII through here.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
