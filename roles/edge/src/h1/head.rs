//! The request head, read line by line out of a growing buffer.
//!
//! The tokenizer is our own. httparse accepts a bare LF as a line end and any number of empty lines before a request,
//! so it would need a second scan of the same bytes in front; and it starts over with every read, so a head that
//! arrives byte by byte costs its square. Reading each line once, when it is complete, refuses at the first wrong byte
//! and gives the same verdict however the stream is cut. `examples/head_cost.rs` measures both.

use super::framing::{self, Framing};
use super::limits::Limits;
use super::reject::Reject;
use super::target;
use super::token::{is_field_value, is_token, trim_ows};

/// A piece of the buffer a head was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        // A head has at most `Limits::head_bytes_max` bytes, far below 4 GiB.
        let clamp = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    /// Where `piece`, a part of `whole`, stands when `whole` begins at `start`.
    fn within(whole: &[u8], start: usize, piece: &[u8]) -> Self {
        let offset = start + piece.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
        Self::new(offset, offset + piece.len())
    }

    /// The bytes themselves; `buffer` is the one the head was read from.
    #[must_use]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// A token, in the case it was sent.
    pub name: Span,
    /// Without white space at its ends.
    pub value: Span,
}

/// A request head in pieces of its buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The method, a token.
    pub method: Span,
    /// The whole request target.
    pub target: Span,
    /// The host of an absolute-form target.
    pub authority: Option<Span>,
    /// The target's path, or `*`; empty in an absolute-form target that has none, which means the root.
    pub path: Span,
    /// What follows the target's `?`.
    pub query: Option<Span>,
    /// Whether the version is HTTP/1.1; HTTP/1.0 otherwise.
    pub is_http11: bool,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// The value of Host.
    pub host: Span,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client can send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether Connection names fields that belong to this hop only.
    pub names_hop_fields: bool,
    /// Bytes of the head, the final empty line included; the body begins here.
    pub len: usize,
}

/// Reads one head. Feed it the same buffer, grown, until it says that the head is complete.
#[derive(Debug, Clone, Default)]
pub struct HeadParser {
    head: Head,
    line_start: usize,
    scanned: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// One empty line before a request is forgiven (RFC 9112, 2.2): old clients send it after a body.
    #[default]
    Start,
    RequestLine,
    Fields,
    Done,
}

/// Bytes of a request line beside its target: a method of 24 and the version with spaces.
const REQUEST_LINE_OVERHEAD: usize = 24 + 10;

impl HeadParser {
    /// Ready for the next head; keeps its memory.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.head.fields);
        fields.clear();
        *self = Self { head: Head { fields, ..Head::default() }, ..Self::default() };
    }

    /// The head, whole once [`Self::advance`] has returned `true`.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether any line has been read, or bytes beyond it seen.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.scanned > 0
    }

    /// Reads what has been added to `buffer`, which begins where the head begins. `true` when the head is complete.
    ///
    /// # Errors
    /// The first rule that is broken, in the order of the stream.
    pub fn advance(&mut self, buffer: &[u8], limits: &Limits) -> Result<bool, Reject> {
        while self.phase != Phase::Done {
            let Some(end) = self.find_line_end(buffer, limits)? else { return Ok(false) };
            let start = self.line_start;
            self.line_start = end + 2;
            self.scanned = self.line_start;
            self.take_line(buffer, start, end, limits)?;
        }
        Ok(true)
    }

    /// The position of the next CRLF. Looks no further than the line may be long, so that the answer does not depend
    /// on how much happens to be in the buffer.
    fn find_line_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        let (bound, too_long) = match self.phase {
            Phase::Start | Phase::RequestLine => {
                (self.line_start + limits.target_bytes_max + REQUEST_LINE_OVERHEAD, Reject::TargetTooLong)
            }
            Phase::Fields | Phase::Done => (limits.head_bytes_max, Reject::HeadTooLarge),
        };
        let window = &buffer[..buffer.len().min(bound)];
        let found = memchr::memchr2(b'\r', b'\n', window.get(self.scanned..).unwrap_or_default());
        let Some(at) = found.map(|offset| self.scanned + offset) else {
            self.scanned = window.len();
            return if buffer.len() >= bound { Err(too_long) } else { Ok(None) };
        };
        self.scanned = at;
        match (buffer[at], buffer.get(at + 1)) {
            (b'\n', _) => Err(Reject::BareLf),
            (_, Some(b'\n')) if at + 2 <= limits.head_bytes_max => Ok(Some(at)),
            (_, Some(b'\n')) => Err(Reject::HeadTooLarge),
            (_, Some(_)) => Err(Reject::BareCr),
            (_, None) => Ok(None),
        }
    }

    fn take_line(&mut self, buffer: &[u8], start: usize, end: usize, limits: &Limits) -> Result<(), Reject> {
        match self.phase {
            Phase::Start if start == end => self.phase = Phase::RequestLine,
            Phase::Start | Phase::RequestLine => {
                self.take_request_line(buffer, start, end, limits)?;
                self.phase = Phase::Fields;
            }
            Phase::Fields if start == end => {
                self.head.len = end + 2;
                framing::conclude(&mut self.head, buffer)?;
                self.phase = Phase::Done;
            }
            Phase::Fields => {
                if self.head.fields.len() >= limits.fields_max {
                    return Err(Reject::HeadTooLarge);
                }
                let line = &buffer[start..end];
                let (name, value) = parse_field(line)?;
                let span = |piece| Span::within(line, start, piece);
                self.head.fields.push(Field { name: span(name), value: span(value) });
            }
            Phase::Done => {}
        }
        Ok(())
    }

    fn take_request_line(&mut self, buffer: &[u8], start: usize, end: usize, limits: &Limits) -> Result<(), Reject> {
        let line = &buffer[start..end];
        let method_end = memchr::memchr(b' ', line).ok_or(Reject::RequestLine)?;
        let method = &line[..method_end];
        if !is_token(method) {
            return Err(Reject::Method);
        }
        let target_start = method_end + 1;
        let target_len = memchr::memchr(b' ', &line[target_start..]).ok_or(Reject::RequestLine)?;
        let target_end = target_start + target_len;
        if target_len > limits.target_bytes_max {
            return Err(Reject::TargetTooLong);
        }
        self.head.is_http11 = match &line[target_end + 1..] {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Reject::Version);
            }
            _ => return Err(Reject::RequestLine),
        };
        let target = target::parse_target(&line[target_start..target_end], method)?;
        let span = |piece| Span::within(line, start, piece);
        self.head.method = span(method);
        self.head.target = span(&line[target_start..target_end]);
        self.head.authority = target.authority.map(span);
        self.head.path = span(target.path);
        self.head.query = target.query.map(span);
        Ok(())
    }
}

/// One field line without its CRLF, as name and trimmed value.
pub(super) fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Reject::ObsFold);
    }
    let colon = memchr::memchr(b':', line).ok_or(Reject::FieldName)?;
    let name = &line[..colon];
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(Reject::SpaceBeforeColon);
    }
    if !is_token(name) {
        return Err(Reject::FieldName);
    }
    let value = trim_ows(&line[colon + 1..]);
    if !is_field_value(value) {
        return Err(Reject::FieldValue);
    }
    Ok((name, value))
}

/// Reads a head that is wholly in `bytes`; `None` when it goes on beyond them.
///
/// # Errors
/// The first rule of framing that is broken.
///
/// ```
/// use zizon_edge::h1::{Limits, parse_head};
/// let bytes = b"GET /readyz HTTP/1.1\r\nHost: shop.example\r\n\r\n";
/// let head = parse_head(bytes, &Limits::default())?.expect("the head is complete");
/// assert_eq!(head.host.of(bytes), b"shop.example");
/// # Ok::<(), zizon_edge::h1::Reject>(())
/// ```
pub fn parse_head(bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Reject> {
    let mut parser = HeadParser::default();
    Ok(parser.advance(bytes, limits)?.then_some(parser.head))
}
