//! One HTTP/1.1 connection: a request at a time, each head and body checked before anybody acts on them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::chunked::ChunkedDecoder;
use super::framing::Framing;
use super::head::HeadParser;
use super::limits::Limits;
use super::pace::Pace;
use super::reject::Reject;
use super::wire::{Read, Wire};
use super::write::{DateCache, INLINE_BODY_BYTES_MAX, write_head};
use crate::answer::{Answer, Hardening};
use crate::handler::{Begun, Handler};
use crate::view::{Protocol, RequestView};

/// What every connection shares.
#[derive(Debug)]
pub struct H1Options {
    /// Bounds.
    pub limits: Limits,
    /// Fields of every answer.
    pub hardening: Hardening,
    /// The clock of `Date`.
    pub date: DateCache,
}

/// Tells the listener whether a connection may be closed without harm.
pub trait Occupancy: Send {
    /// A request's head is whole. `false` when the listener has decided to close the connection instead.
    fn busy(&self) -> bool;
    /// The connection waits for a request, or for the rest of a head: what has not been asked for is not lost.
    fn idle(&self);
    /// The work is done and its answer is being written. A client that takes long to read it may be closed like an idle
    /// one: otherwise whoever does not read at all would hold a place for as long as a write may take.
    fn answering(&self);
}

impl Occupancy for () {
    fn busy(&self) -> bool {
        true
    }

    fn idle(&self) {}

    fn answering(&self) {}
}

/// A read buffer beyond this size is given back between requests.
const IDLE_BUFFER_BYTES_MAX: usize = 16 * 1024;
const READ_BYTES: usize = 4096;
/// A longer body that nobody wants is not waited for.
const UNWANTED_BODY_BYTES_MAX: usize = 64 * 1024;

/// Serves requests from `stream` until either side ends the connection.
pub async fn serve<S, H, O>(stream: S, peer: SocketAddr, handler: Arc<H>, options: Arc<H1Options>, occupancy: O)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Handler,
    O: Occupancy,
{
    let connection = Connection {
        wire: Wire::new(stream),
        buffer: BytesMut::with_capacity(READ_BYTES),
        out: Vec::with_capacity(1024),
        parser: HeadParser::default(),
        peer,
        handler,
        options,
        occupancy,
    };
    connection.run().await;
}

struct Connection<S, H, O> {
    wire: Wire<S>,
    /// Begins where the current head begins.
    buffer: BytesMut,
    /// The answer being written.
    out: Vec<u8>,
    parser: HeadParser,
    peer: SocketAddr,
    handler: Arc<H>,
    options: Arc<H1Options>,
    occupancy: O,
}

/// How the connection goes on after an answer.
enum Next {
    /// With another request.
    Request,
    /// It ends without an answer.
    Close,
    /// It ends with an answer, while the client may still be sending.
    Linger,
    /// It is broken.
    Drop,
}

/// How a head ended.
enum HeadRead {
    Complete,
    /// The client closed, or stayed idle too long.
    Ended,
    /// The listener closes the connection.
    Evicted,
    Refused(Reject),
}

impl<S, H, O> Connection<S, H, O>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Handler,
    O: Occupancy,
{
    async fn run(mut self) {
        let limits = self.options.limits.clone();
        loop {
            let next = match self.read_head(&limits).await {
                HeadRead::Complete => self.serve_request(&limits).await,
                HeadRead::Ended => Next::Close,
                HeadRead::Evicted => Next::Drop,
                HeadRead::Refused(reject) => {
                    let answer = self.handler.refuse(reject, Protocol::Http1, None);
                    self.write_answer(&answer, true, &limits).await.map_or(Next::Drop, |()| Next::Linger)
                }
            };
            match next {
                Next::Request => {}
                Next::Close => return self.wire.close().await,
                Next::Linger => {
                    // Answered: what comes from here on is thrown away.
                    self.occupancy.idle();
                    return self.wire.linger(self.buffer, limits.linger_bytes_max, limits.linger_time_max).await;
                }
                Next::Drop => return,
            }
        }
    }

    async fn read_head(&mut self, limits: &Limits) -> HeadRead {
        self.parser.reset();
        let mut head_due = None;
        let mut is_idle = false;
        loop {
            // Bytes may be there already: pipelined requests are served one after the other.
            match self.parser.advance(&self.buffer, limits) {
                Ok(true) if self.occupancy.busy() => return HeadRead::Complete,
                Ok(true) => return HeadRead::Evicted,
                Ok(false) => {}
                Err(reject) => return HeadRead::Refused(reject),
            }
            if head_due.is_none() && !self.buffer.is_empty() {
                head_due = Some(Instant::now() + limits.head_time_max);
            }
            let waits_idle = head_due.is_none();
            if waits_idle && self.buffer.capacity() > IDLE_BUFFER_BYTES_MAX {
                self.buffer = BytesMut::with_capacity(READ_BYTES);
            }
            // Once, so that bytes that trickle in do not make the connection any younger.
            if !is_idle {
                self.occupancy.idle();
                is_idle = true;
            }
            self.buffer.reserve(READ_BYTES / 2);
            let due = head_due.unwrap_or_else(|| Instant::now() + limits.idle_time_max);
            match self.wire.read(&mut self.buffer, due).await {
                Read::Data => {}
                Read::End => return HeadRead::Ended,
                Read::Late if waits_idle => return HeadRead::Ended,
                Read::Late => return HeadRead::Refused(Reject::HeadTimeout),
            }
        }
    }

    async fn serve_request(&mut self, limits: &Limits) -> Next {
        let head_len = self.parser.head().len;
        let view = RequestView::of_head(self.parser.head(), &self.buffer, self.peer);
        let (ticket, body_bytes_max) = match self.handler.begin(&view) {
            Begun::Proceed { ticket, body_bytes_max } => (ticket, body_bytes_max),
            Begun::Answer(answer) => return self.answer_early(answer, head_len, limits).await,
        };
        let (body, body_len) = match self.read_body(body_bytes_max, limits).await {
            Ok(read) => read,
            Err(reject) => {
                let answer = self.handler.refuse(reject, Protocol::Http1, Some(ticket));
                return self.write_answer(&answer, true, limits).await.map_or(Next::Drop, |()| Next::Linger);
            }
        };
        let view = RequestView::of_head(self.parser.head(), &self.buffer, self.peer);
        let answer = self.handler.finish(&view, ticket, body).await;
        let close = answer.close || !self.parser.head().keep_alive || self.handler.is_draining();
        if self.write_answer(&answer, close, limits).await.is_err() {
            return Next::Drop;
        }
        self.consume(head_len + body_len);
        if close { Next::Linger } else { Next::Request }
    }

    /// Answers a head whose body nobody wants. The connection lives on when the body is here, or is short and surely comes:
    /// many clients send it on its own, and under overload each refusal would cost them, and us, another handshake.
    async fn answer_early(&mut self, answer: Answer, head_len: usize, limits: &Limits) -> Next {
        let head = self.parser.head();
        let received = self.buffer.len() - head_len;
        let body_len = match head.framing {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::Chunked => None,
        };
        // A client that waits for `100 Continue` may take the answer for all there is and send no body.
        let comes = |len: &usize| *len <= received || (*len <= UNWANTED_BODY_BYTES_MAX && !head.expects_continue);
        let body_len = body_len.filter(comes);
        let close = answer.close || body_len.is_none() || !head.keep_alive || self.handler.is_draining();
        if self.write_answer(&answer, close, limits).await.is_err() {
            return Next::Drop;
        }
        match body_len {
            Some(body_len) if !close => self.skip(head_len + body_len, limits).await,
            _ => Next::Linger,
        }
    }

    /// Reads and drops what is left of a request that was answered.
    async fn skip(&mut self, len: usize, limits: &Limits) -> Next {
        let mut left = len;
        let due = Instant::now() + limits.linger_time_max;
        // Nothing is lost when the listener closes the connection meanwhile.
        self.occupancy.idle();
        loop {
            let here = left.min(self.buffer.len());
            self.consume(here);
            left -= here;
            if left == 0 {
                return Next::Request;
            }
            self.buffer.reserve(READ_BYTES);
            if self.wire.read(&mut self.buffer, due).await != Read::Data {
                return Next::Drop;
            }
        }
    }

    /// The body, and how many bytes it takes in the buffer behind the head.
    async fn read_body(&mut self, bytes_max: usize, limits: &Limits) -> Result<(Bytes, usize), Reject> {
        let head_len = self.parser.head().len;
        match self.parser.head().framing {
            Framing::None => Ok((Bytes::new(), 0)),
            Framing::Length(length) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max);
                let length = length.ok_or(Reject::BodyTooLarge)?;
                let pace = Pace::new(limits);
                if self.buffer.len() < head_len + length {
                    self.buffer.reserve(head_len + length - self.buffer.len());
                    self.send_continue(limits).await?;
                }
                while self.buffer.len() < head_len + length {
                    let due = pace.due(self.buffer.len() - head_len);
                    self.read_body_piece(due).await?;
                }
                Ok((Bytes::copy_from_slice(&self.buffer[head_len..head_len + length]), length))
            }
            Framing::Chunked => self.read_chunked(head_len, bytes_max, limits).await,
        }
    }

    async fn read_chunked(
        &mut self,
        head_len: usize,
        bytes_max: usize,
        limits: &Limits,
    ) -> Result<(Bytes, usize), Reject> {
        let mut decoder = ChunkedDecoder::default();
        let mut body = Vec::new();
        let pace = Pace::new(limits);
        if self.buffer.len() == head_len {
            self.send_continue(limits).await?;
        }
        loop {
            let fed = decoder.feed(&self.buffer[head_len..], &mut body, bytes_max, limits)?;
            if fed.done {
                return Ok((body.into(), fed.used));
            }
            // All of it was used; the head stays, because the request is still looked at.
            self.buffer.truncate(head_len);
            self.buffer.reserve(READ_BYTES);
            let due = pace.due(body.len());
            self.read_body_piece(due).await?;
        }
    }

    async fn read_body_piece(&mut self, due: Instant) -> Result<(), Reject> {
        match self.wire.read(&mut self.buffer, due).await {
            Read::Data => Ok(()),
            Read::End => Err(Reject::BodyTruncated),
            Read::Late => Err(Reject::BodyTimeout),
        }
    }

    /// `100 Continue`, where the client waits for it and has not begun to send (RFC 9110, 10.1.1).
    async fn send_continue(&mut self, limits: &Limits) -> Result<(), Reject> {
        let head = self.parser.head();
        if !head.expects_continue || self.buffer.len() > head.len {
            return Ok(());
        }
        let due = Instant::now() + limits.write_time_max;
        self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n", due).await.map_err(|_| Reject::BodyTruncated)
    }

    async fn write_answer(&mut self, answer: &Answer, close: bool, limits: &Limits) -> std::io::Result<()> {
        self.occupancy.answering();
        self.out.clear();
        write_head(&mut self.out, answer, close, &self.options.hardening, &self.options.date);
        let body = if answer.head_only || answer.is_bodiless() { Bytes::new() } else { answer.body.clone() };
        let due = Instant::now() + limits.write_time_max;
        if body.len() <= INLINE_BODY_BYTES_MAX {
            self.out.extend_from_slice(&body);
            return self.wire.write(&self.out, due).await;
        }
        self.wire.write(&self.out, due).await?;
        self.wire.write(&body, due).await
    }

    /// Drops a served request from the front of the buffer.
    fn consume(&mut self, len: usize) {
        if len >= self.buffer.len() {
            self.buffer.clear();
        } else {
            bytes::Buf::advance(&mut self.buffer, len);
        }
    }
}
