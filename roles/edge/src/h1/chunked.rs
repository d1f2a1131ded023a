//! Chunked bodies (RFC 9112, 7.1), decoded as they arrive.

use super::head::parse_field;
use super::limits::Limits;
use super::reject::Reject;
use super::token::is_field_value;

/// Decodes one chunked body; fed with pieces of any size.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder {
    state: State,
    /// A size or trailer line that has not ended yet.
    line: Vec<u8>,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    Done,
}

/// What came of feeding a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the piece that belong to the body's framing or content; the rest is the next request.
    pub used: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// More hexadecimal digits than any body within its limit needs.
const SIZE_DIGITS_MAX: usize = 8;

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Size, line: Vec::new(), extension_bytes: 0, trailer_bytes: 0 }
    }
}

impl ChunkedDecoder {
    /// Decodes from `piece` and appends content to `body`, of at most `body_max` bytes.
    ///
    /// # Errors
    /// The first rule that is broken, or [`Reject::BodyTooLarge`] as soon as a chunk announces it.
    pub fn feed(&mut self, piece: &[u8], body: &mut Vec<u8>, body_max: usize, limits: &Limits) -> Result<Fed, Reject> {
        let mut used = 0;
        while used < piece.len() && self.state != State::Done {
            let rest = &piece[used..];
            match self.state {
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    body.extend_from_slice(&rest[..take]);
                    used += take;
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                }
                State::DataCr | State::DataLf => {
                    let (expected, next) =
                        if self.state == State::DataCr { (b'\r', State::DataLf) } else { (b'\n', State::Size) };
                    if rest[0] != expected {
                        return Err(Reject::ChunkData);
                    }
                    used += 1;
                    self.state = next;
                }
                State::Size | State::Trailer => {
                    used += 1;
                    if self.take_line_byte(rest[0], limits)? {
                        self.take_line(body.len(), body_max, limits)?;
                        self.line.clear();
                    }
                }
                State::Done => {}
            }
        }
        Ok(Fed { used, done: self.state == State::Done })
    }

    /// Whether the line is complete, without its CRLF.
    fn take_line_byte(&mut self, byte: u8, limits: &Limits) -> Result<bool, Reject> {
        let after_cr = self.line.last() == Some(&b'\r');
        match (after_cr, byte) {
            (true, b'\n') => {
                self.line.pop();
                return Ok(true);
            }
            (true, _) => return Err(Reject::BareCr),
            (false, b'\n') => return Err(Reject::BareLf),
            (false, _) => {}
        }
        let (bound, reject) = if self.state == State::Trailer {
            (limits.trailer_bytes_max, Reject::Trailer)
        } else {
            (SIZE_DIGITS_MAX + limits.chunk_extension_bytes_max + 1, Reject::ChunkExtension)
        };
        if self.line.len() >= bound {
            return Err(reject);
        }
        self.line.push(byte);
        Ok(false)
    }

    fn take_line(&mut self, body_len: usize, body_max: usize, limits: &Limits) -> Result<(), Reject> {
        if self.state == State::Trailer {
            self.trailer_bytes += self.line.len() + 2;
            if self.trailer_bytes > limits.trailer_bytes_max {
                return Err(Reject::Trailer);
            }
            if self.line.is_empty() {
                self.state = State::Done;
                return Ok(());
            }
            // Checked like any field, then dropped: no role reads trailers.
            return parse_field(&self.line).map(drop).map_err(|_| Reject::Trailer);
        }
        let digits_end = self.line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(self.line.len());
        let (digits, extension) = self.line.split_at(digits_end);
        check_extension(extension)?;
        self.extension_bytes += extension.len();
        let too_long = extension.len() > limits.chunk_extension_bytes_max
            || self.extension_bytes > limits.chunk_extensions_bytes_max;
        if too_long {
            return Err(Reject::ChunkExtension);
        }
        let size = chunk_size(digits)?;
        if size > body_max.saturating_sub(body_len) as u64 {
            return Err(Reject::BodyTooLarge);
        }
        self.state = if size == 0 { State::Trailer } else { State::Data(size) };
        Ok(())
    }
}

fn chunk_size(digits: &[u8]) -> Result<u64, Reject> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return Err(Reject::ChunkSize);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Reject::ChunkSize)?;
    u64::from_str_radix(text, 16).map_err(|_| Reject::ChunkSize)
}

/// Nothing, or `*( BWS ";" ...)` of visible text. White space that no `;` follows is not an extension.
fn check_extension(extension: &[u8]) -> Result<(), Reject> {
    match super::token::trim_ows(extension) {
        [] if extension.is_empty() => Ok(()),
        [b';', rest @ ..] if is_field_value(rest) => Ok(()),
        [b';', ..] => Err(Reject::ChunkExtension),
        _ => Err(Reject::ChunkSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<(Vec<u8>, Fed), Reject> {
        let mut body = Vec::new();
        let fed = ChunkedDecoder::default().feed(bytes, &mut body, 1000, &Limits::default())?;
        Ok((body, fed))
    }

    #[test]
    fn chunks_are_joined_and_the_next_request_is_left_alone() {
        let (body, fed) = decode(b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET").unwrap();
        assert_eq!(body, b"abc0123456789");
        assert_eq!(fed, Fed { used: 39, done: true });
    }

    #[test]
    fn sizes_that_readers_read_differently_are_refused() {
        for bad in ["0x3", "+3", "-3", " 3", "3 ", "", "3g", "123456789", "\t3", "3_0", "3,3"] {
            let bytes = format!("{bad}\r\nabc\r\n0\r\n\r\n");
            assert_eq!(decode(bytes.as_bytes()).unwrap_err(), Reject::ChunkSize, "{bad:?}");
        }
    }

    #[test]
    fn line_ends_inside_a_chunked_body_are_exactly_crlf() {
        assert_eq!(decode(b"3\nabc\r\n0\r\n\r\n").unwrap_err(), Reject::BareLf);
        assert_eq!(decode(b"3\r\rabc\r\n0\r\n\r\n").unwrap_err(), Reject::BareCr);
        assert_eq!(decode(b"3\r\nabc\n0\r\n\r\n").unwrap_err(), Reject::ChunkData);
        assert_eq!(decode(b"3\r\nabcd\r\n0\r\n\r\n").unwrap_err(), Reject::ChunkData);
        assert_eq!(decode(b"0\r\n\n").unwrap_err(), Reject::BareLf);
        assert_eq!(decode(b"0\r\nX : y\r\n\r\n").unwrap_err(), Reject::Trailer);
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused_before_its_data_arrive() {
        assert_eq!(decode(b"3e9\r\n").unwrap_err(), Reject::BodyTooLarge);
        assert_eq!(decode(b"3e7\r\na").unwrap().1, Fed { used: 6, done: false });
    }

    #[test]
    fn extensions_are_bounded_in_one_line_and_in_a_body() {
        let long = format!("1;{}\r\n", "x".repeat(300));
        assert_eq!(decode(long.as_bytes()).unwrap_err(), Reject::ChunkExtension);
        let many = format!("1;{}\r\nx\r\n", "y".repeat(200)).repeat(30);
        assert_eq!(decode(many.as_bytes()).unwrap_err(), Reject::ChunkExtension);
        assert_eq!(decode(b"1;\x00\r\n").unwrap_err(), Reject::ChunkExtension);
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000));
        assert_eq!(decode(trailers.as_bytes()).unwrap_err(), Reject::Trailer);
    }
}
