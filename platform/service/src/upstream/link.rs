//! One connection to another role and the exchange of a request for a response on it.
//!
//! The connection has no task of its own: whoever uses it drives it, so an exchange costs no wake-up of
//! another task. An idle connection is looked at when it is taken out.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use zizon_mtls::{ConnGuard, Connector, HandshakeError, Side};

use super::dial::Target;

type Io = TokioIo<TlsStream<TcpStream>>;

/// What the pool remembers of a connection, also while somebody uses it.
#[derive(Debug)]
pub(super) struct Age {
    /// When a replacement is to be opened.
    pub(super) replace_at: Instant,
    /// When it is not used for another request.
    pub(super) retire_at: Instant,
    /// A replacement is being opened.
    pub(super) replacing: AtomicBool,
    /// A replacement is there.
    pub(super) retired: AtomicBool,
}

impl Age {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.retire_at || self.retired.load(Relaxed)
    }
}

/// An open connection.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<Io, Full<Bytes>>>>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    guard: ConnGuard,
    pub(super) age: Arc<Age>,
    pub(super) idle_since: Instant,
}

/// How an exchange failed.
pub(super) enum ExchangeError {
    /// Nothing was sent; the request comes back.
    NotSent(Box<http::Request<Full<Bytes>>>, Arc<str>),
    /// It may have been applied.
    Unknown(Arc<str>),
}

impl Link {
    /// Opens a connection.
    pub(super) async fn open(connector: &Connector, target: &Target) -> Result<Box<Self>, HandshakeError> {
        let (tls, peer) = connector.connect(&target.address, &target.expect, &[b"http/1.1"]).await?;
        let guard = target.registry.register(&peer, Side::Client);
        let broken = |error: hyper::Error| HandshakeError::Io(std::io::Error::other(error));
        let (sender, driver) = http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
        let now = Instant::now();
        let age = Arc::new(target.age(now, guard.deadline().graceful));
        let cancelled = Box::pin(guard.token().cancelled_owned());
        let driver = Box::pin(driver);
        Ok(Box::new(Self { sender, driver, cancelled, guard, age, idle_since: now }))
    }

    /// Whether another request can be sent: neither closed by the other side, nor denied, nor too old.
    pub(super) async fn is_usable(&mut self) -> bool {
        if self.guard.is_cancelled() || self.age.is_over(Instant::now()) {
            return false;
        }
        let open = poll_fn(|cx| Poll::Ready(self.driver.as_mut().poll(cx).is_pending())).await;
        open && self.sender.is_ready()
    }

    /// When it is dropped, whatever is in flight.
    pub(super) fn hard_at(&self) -> Instant {
        self.guard.hard_at()
    }

    /// Whether it must not be used again, as far as is known without looking at the socket.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.guard.is_cancelled() || self.age.is_over(now)
    }

    /// Sends a request and reads the whole response, of at most `body_limit` bytes.
    pub(super) async fn exchange(
        &mut self,
        request: http::Request<Full<Bytes>>,
        body_limit: usize,
    ) -> Result<http::Response<Bytes>, ExchangeError> {
        let (head, mut body) = self.head(request).await?.into_parts();
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx, &mut body)).await {
            let data = data.map_err(ExchangeError::Unknown)?;
            if first.len() + joined.len() + data.len() > body_limit {
                return Err(ExchangeError::Unknown("the response is too large".into()));
            }
            // A body in one piece, the usual case, is not copied.
            if first.is_empty() && joined.is_empty() {
                first = data;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut first));
                joined.extend_from_slice(&data);
            }
        }
        let whole = if joined.is_empty() { first } else { joined.freeze() };
        Ok(http::Response::from_parts(head, whole))
    }

    /// Sends a request and reads the head of the response.
    pub(super) async fn head(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, ExchangeError> {
        let Self { sender, driver, cancelled, .. } = self;
        let mut response = pin!(sender.try_send_request(request));
        let mut driver_ended = false;
        let result = poll_fn(|cx| {
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(ExchangeError::Unknown("the peer's identity was denied".into())));
            }
            driver_ended = driver_ended || driver.as_mut().poll(cx).is_ready();
            match response.as_mut().poll(cx) {
                Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
                Poll::Ready(Err(mut failed)) => {
                    let reason: Arc<str> = failed.error().to_string().into();
                    Poll::Ready(Err(match failed.take_message() {
                        Some(request) => ExchangeError::NotSent(Box::new(request), reason),
                        None => ExchangeError::Unknown(reason),
                    }))
                }
                Poll::Pending if driver_ended => {
                    Poll::Ready(Err(ExchangeError::Unknown("the connection ended".into())))
                }
                Poll::Pending => Poll::Pending,
            }
        });
        result.await
    }

    /// The next piece of a response body; drives the connection when there is none yet.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Bytes, Arc<str>>>> {
        let mut driver_ended = false;
        loop {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.to_string().into()))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => continue,
                },
                Poll::Pending => {}
            }
            if driver_ended {
                return Poll::Ready(Some(Err("the connection ended".into())));
            }
            if self.cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err("the peer's identity was denied".into())));
            }
            driver_ended = self.driver.as_mut().poll(cx).is_ready();
            if !driver_ended {
                // What the driver has read, if anything, is in the body by now.
                return match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) if frame.is_data() => Poll::Ready(frame.into_data().ok().map(Ok)),
                    Poll::Ready(Some(Ok(_trailers))) => continue,
                    Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.to_string().into()))),
                    Poll::Ready(None) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }
}
