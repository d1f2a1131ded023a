//! Answers as HTTP/1.1, a head and a small body in one buffer and so in one TLS record.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::answer::{Answer, Hardening, goes_to_client};

/// A body up to this size is copied behind its head, so that both leave in one write.
pub(super) const INLINE_BODY_BYTES_MAX: usize = 16 * 1024;

/// Writes one field line.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of `answer`, ended by its empty line.
pub(super) fn write_head(out: &mut Vec<u8>, answer: &Answer, close: bool, hardening: &Hardening, date: &DateCache) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(answer.status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
    if !answer.is_bodiless() {
        write_field(out, b"content-length", digits.format(answer.body.len()).as_bytes());
    }
    write_field(out, b"date", &date.get());
    write_field(out, b"x-request-id", answer.request_id.as_str().as_bytes());
    for (name, value) in &answer.headers {
        if goes_to_client(name) {
            write_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.extend_from_slice(hardening.lines());
    if close {
        write_field(out, b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

/// The `Date` field, formatted once a second (RFC 9110, 6.6.1).
#[derive(Debug, Default)]
pub struct DateCache(Mutex<(u64, [u8; 29])>);

impl DateCache {
    /// The present second as an IMF-fixdate.
    #[must_use]
    pub fn get(&self) -> [u8; 29] {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut cached = self.0.lock();
        if cached.0 != seconds || seconds == 0 {
            *cached = (seconds, format_date(seconds));
        }
        cached.1
    }
}

fn format_date(seconds: u64) -> [u8; 29] {
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap_or(0)) else { return out };
    let name = |text: String| -> [u8; 3] { text.as_bytes()[..3].try_into().unwrap_or(*b"   ") };
    out[0..3].copy_from_slice(&name(at.weekday().to_string()));
    two_digits(&mut out[5..7], at.day());
    out[8..11].copy_from_slice(&name(at.month().to_string()));
    let year = u16::try_from(at.year()).unwrap_or(0);
    two_digits(&mut out[12..14], u8::try_from(year / 100 % 100).unwrap_or(0));
    two_digits(&mut out[14..16], u8::try_from(year % 100).unwrap_or(0));
    two_digits(&mut out[17..19], at.hour());
    two_digits(&mut out[20..22], at.minute());
    two_digits(&mut out[23..25], at.second());
    out
}

fn two_digits(out: &mut [u8], value: u8) {
    out[0] = b'0' + value / 10 % 10;
    out[1] = b'0' + value % 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_date_of_the_standard_is_written_as_it_stands_there() {
        assert_eq!(&format_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
