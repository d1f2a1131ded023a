//! The rules of a request's fields, as HTTP/1.1 has them, for what hyper has taken out of HTTP/2 frames.

use http::request::Parts;
use http::uri::Scheme;
use http::{Version, header};

use crate::h1::{Limits, Reject, check_host, content_length, parse_target, same_host};

/// What follows from the fields of a request that breaks no rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked<'a> {
    pub(super) host: &'a str,
    pub(super) body_len: Option<u64>,
}

/// Checks target, host, fields and length. Pseudo-fields, connection fields and characters that HTTP/2 itself forbids
/// have been refused by the frame layer, with a reset of the stream.
pub(super) fn check<'a>(parts: &'a Parts, body_has_ended: bool, limits: &Limits) -> Result<Checked<'a>, Reject> {
    if parts.version != Version::HTTP_2 {
        return Err(Reject::Version);
    }
    // A role behind could take another scheme for a request that came in plain text.
    if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTPS) {
        return Err(Reject::Scheme);
    }
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.target_bytes_max {
        return Err(Reject::TargetTooLong);
    }
    parse_target(target.as_bytes(), parts.method.as_str().as_bytes())?;
    if parts.headers.len() > limits.fields_max {
        return Err(Reject::HeadTooLarge);
    }
    let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        if edge(value.first()) || edge(value.last()) {
            return Err(Reject::FieldValue);
        }
        match *name {
            header::UPGRADE => return Err(Reject::Upgrade),
            header::CONNECTION => return Err(Reject::ConnectionField),
            header::TRANSFER_ENCODING => return Err(Reject::TransferEncoding),
            header::EXPECT if !value.eq_ignore_ascii_case(b"100-continue") => return Err(Reject::Expect),
            _ => {}
        }
    }
    Ok(Checked { host: host(parts)?, body_len: body_len(parts, body_has_ended)? })
}

/// `:authority`, or Host where it is missing; both must name the same place (RFC 9113, 8.3.1).
fn host(parts: &Parts) -> Result<&str, Reject> {
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let field = fields.next().map(|value| value.to_str().map_err(|_| Reject::HostInvalid)).transpose()?;
    if fields.next().is_some() {
        return Err(Reject::HostRepeated);
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = authority.or(field).ok_or(Reject::HostMissing)?;
    check_host(host.as_bytes())?;
    match field {
        Some(field) if !same_host(field.as_bytes(), host.as_bytes()) => Err(Reject::HostMismatch),
        _ => Ok(host),
    }
}

fn body_len(parts: &Parts, body_has_ended: bool) -> Result<Option<u64>, Reject> {
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next().map(|value| content_length(value.as_bytes())).transpose()?;
    if lengths.next().is_some() {
        return Err(Reject::ContentLengthRepeated);
    }
    if body_has_ended {
        return if length.unwrap_or(0) == 0 { Ok(Some(0)) } else { Err(Reject::BodyTruncated) };
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn verdict(edit: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Result<Option<u64>, Reject> {
        let request = edit(Request::builder().version(Version::HTTP_2).uri("https://a.example/x")).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        check(&parts, false, &Limits::default()).map(|checked| checked.body_len)
    }

    #[test]
    fn the_rules_of_http_1_hold_for_fields_of_http_2() {
        assert_eq!(verdict(|request| request), Ok(None));
        assert_eq!(verdict(|request| request.header("content-length", "5")), Ok(Some(5)));
        assert_eq!(verdict(|request| request.header("host", "A.example:443")), Ok(None));
        for (name, value, reject) in [
            ("host", "b.example", Reject::HostMismatch),
            ("content-length", "+5", Reject::ContentLength),
            ("upgrade", "websocket", Reject::Upgrade),
            ("connection", "close", Reject::ConnectionField),
            ("transfer-encoding", "chunked", Reject::TransferEncoding),
            ("expect", "miracles", Reject::Expect),
            ("x", " y", Reject::FieldValue),
        ] {
            assert_eq!(verdict(|request| request.header(name, value)), Err(reject), "{name}: {value}");
        }
        let twice = verdict(|request| request.header("content-length", "5").header("content-length", "5"));
        assert_eq!(twice, Err(Reject::ContentLengthRepeated));
        assert_eq!(verdict(|request| request.uri("https://a.example/../x")), Err(Reject::PathAmbiguous));
        assert_eq!(verdict(|request| request.uri("/x")), Err(Reject::HostMissing));
        for scheme in ["http", "ws"] {
            let uri = format!("{scheme}://a.example/x");
            assert_eq!(verdict(|request| request.uri(uri)), Err(Reject::Scheme), "{scheme}");
        }
        assert_eq!(verdict(|request| request.uri("HTTPS://a.example/x")), Ok(None));
        let many = verdict(|request| (0..101).fold(request, |request, n| request.header(format!("x-{n}"), "y")));
        assert_eq!(many, Err(Reject::HeadTooLarge));
    }
}
