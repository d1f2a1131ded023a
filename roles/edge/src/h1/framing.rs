//! What the fields of a head mean together: whose host it is, where the body ends, whether the connection stays.

use super::head::Head;
use super::reject::Reject;
use super::target;
use super::token::{is_token, list};

/// Where a request's body ends (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

impl Framing {
    /// Bytes of the body, where they are known before it has been read.
    #[must_use]
    pub const fn body_len(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(length) => Some(length),
            Self::Chunked => None,
        }
    }
}

/// Digits of the longest Content-Length that is read.
const LENGTH_DIGITS_MAX: usize = 18;

/// Checks a head whose lines are all well formed, and fills in what follows from its fields.
pub(super) fn conclude(head: &mut Head, buffer: &[u8]) -> Result<(), Reject> {
    let mut host = None;
    let mut length = None;
    let mut chunked = false;
    let mut close = false;
    for field in &head.fields {
        let name = field.name.of(buffer);
        let value = field.value.of(buffer);
        // Few names matter here; their lengths tell most fields apart without a comparison.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let repeated = host.replace(field.value).is_some();
                if repeated {
                    return Err(Reject::HostRepeated);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                head.expects_continue = head.is_http11;
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reject::Expect);
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => return Err(Reject::Upgrade),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let named = connection_options(value)?;
                close |= named.close;
                head.names_hop_fields |= named.others;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let repeated = length.replace(content_length(value)?).is_some();
                if repeated {
                    return Err(Reject::ContentLengthRepeated);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !head.is_http11 {
                    return Err(Reject::TransferEncodingVersion);
                }
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reject::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err(Reject::LengthAndEncoding),
        (None, true) => Framing::Chunked,
        (None | Some(0), false) => Framing::None,
        (Some(length), false) => Framing::Length(length),
    };
    head.keep_alive = head.is_http11 && !close;
    head.host = host.ok_or(Reject::HostMissing)?;
    check_hosts(head, buffer)
}

fn check_hosts(head: &Head, buffer: &[u8]) -> Result<(), Reject> {
    let host = head.host.of(buffer);
    target::check_host(host)?;
    match head.authority {
        Some(authority) if !target::same_host(authority.of(buffer), host) => Err(Reject::HostMismatch),
        _ => Ok(()),
    }
}

struct ConnectionOptions {
    close: bool,
    others: bool,
}

fn connection_options(value: &[u8]) -> Result<ConnectionOptions, Reject> {
    let mut named = ConnectionOptions { close: false, others: false };
    for option in list(value) {
        if !is_token(option) || FRAMING_FIELDS.iter().any(|name| option.eq_ignore_ascii_case(name)) {
            return Err(Reject::ConnectionField);
        }
        if option.eq_ignore_ascii_case(b"close") {
            named.close = true;
        } else if !option.eq_ignore_ascii_case(b"keep-alive") {
            named.others = true;
        }
    }
    Ok(named)
}

/// Fields without which the message would be another one; Connection may not take them away.
const FRAMING_FIELDS: [&[u8]; 4] = [b"host", b"content-length", b"transfer-encoding", b"expect"];

/// `1*DIGIT` without a leading zero, sign, list or white space inside: what every reader reads alike.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Reject> {
    let plain = match value {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain || value.len() > LENGTH_DIGITS_MAX {
        return Err(Reject::ContentLength);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
