//! A byte stream with one timer, and reads and writes that end by a deadline.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes were appended.
    Data,
    /// The other side has finished, or failed.
    End,
    /// The deadline passed first.
    Late,
}

/// A connection's stream.
pub(super) struct Wire<S> {
    stream: S,
    timer: Timer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, timer: Timer::new() }
    }

    /// Appends what comes, waiting until `due`.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut, due: Instant) -> Read {
        self.timer.set(due);
        poll_fn(|cx| match poll_read_buf(Pin::new(&mut self.stream), cx, buffer) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Read::End),
            Poll::Ready(Ok(_)) => Poll::Ready(Read::Data),
            Poll::Pending => self.timer.poll(cx).map(|()| Read::Late),
        })
        .await
    }

    /// Writes and flushes all of `bytes` by `due`.
    pub(super) async fn write(&mut self, bytes: &[u8], due: Instant) -> io::Result<()> {
        self.timer.set(due);
        let mut written = 0;
        poll_fn(|cx| {
            let progress = loop {
                if written == bytes.len() {
                    break Pin::new(&mut self.stream).poll_flush(cx);
                }
                match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                }
            };
            if progress.is_pending() && self.timer.poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            progress
        })
        .await
    }

    /// Says that nothing more will be written, then reads and drops what the client is still sending, so that closing
    /// does not reset the connection before the client has read its answer (RFC 9112, 9.6).
    pub(super) async fn linger(mut self, mut buffer: BytesMut, bytes_max: usize, time_max: Duration) {
        let due = Instant::now() + time_max;
        self.timer.set(due);
        let half_closed = poll_fn(|cx| match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => self.timer.poll(cx).map(|()| false),
        })
        .await;
        let mut dropped = 0;
        while half_closed && dropped < bytes_max {
            buffer.clear();
            buffer.reserve(16 * 1024);
            if self.read(&mut buffer, due).await != Read::Data {
                return;
            }
            dropped += buffer.len();
        }
    }

    /// Ends the connection in order, without waiting long for the client.
    pub(super) async fn close(mut self) {
        self.timer.set(Instant::now() + Duration::from_millis(500));
        poll_fn(|cx| match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.timer.poll(cx),
        })
        .await;
    }
}

/// One sleep for all the deadlines of a connection. A later deadline does not touch the runtime's timer: when the
/// sleep ends early it is set again, so a busy keep-alive connection costs one timer operation a minute.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl Timer {
    fn new() -> Self {
        let due = Instant::now() + Duration::from_secs(3600);
        Self { sleep: Box::pin(tokio::time::sleep_until(due)), due }
    }

    fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.due);
        }
    }
}
