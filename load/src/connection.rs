//! One HTTP/1.1 connection over TLS 1.3 with at most one request in flight.
//!
//! No general client: it speaks what the platform's edge answers (a length on every body) and refuses
//! the rest, so that a generator on the machine it measures costs a few microseconds per request.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::LoadError;
use crate::target::Target;

/// Longest wait for TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one address of a name while another is left to try.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Largest response head.
const HEAD_MAX: usize = 16 * 1024;
/// Largest response body.
const BODY_MAX: usize = 1024 * 1024;
const HEADERS_MAX: usize = 48;
const BUFFER_START: usize = 8 * 1024;

/// An open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    /// Holds one response at a time.
    buffer: Vec<u8>,
}

/// A complete answer; the body lives in the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// `Idempotent-Replayed: true`.
    pub(crate) replayed: bool,
    /// The server closes after this answer.
    pub(crate) close: bool,
    pub(crate) body: &'a [u8],
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name does not resolve: {0}")]
    Resolve(io::Error),
    #[error("no TCP connection: {}", .0.join(", "))]
    Tcp(Vec<String>),
    #[error("no TLS session: {0}")]
    Tls(io::Error),
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

impl ConnectError {
    /// Error kind in reports.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Resolve(_) | Self::Tcp(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "connect-timeout",
        }
    }

    /// Whether somebody answers there who is not trusted.
    pub(crate) fn is_distrust(&self) -> bool {
        let Self::Tls(error) = self else { return false };
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
    }

    /// The error for a run that cannot start without a connection.
    pub(crate) fn at(&self, target: &Target) -> LoadError {
        LoadError::Connect { address: target.address.clone(), reason: self.to_string() }
    }
}

/// Why a request has no answer. Whether it was applied is unknown in every case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("the connection was closed before a whole answer")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(io::Error),
    #[error("the answer is not HTTP/1.1 with a length: {0}")]
    Malformed(&'static str),
}

impl ExchangeError {
    /// Error kind in reports.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Malformed(_) => "malformed-response",
        }
    }
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self, ConnectError> {
        tokio::time::timeout(CONNECT_TIMEOUT, Self::handshake(target)).await.unwrap_or(Err(ConnectError::Timeout))
    }

    async fn handshake(target: &Target) -> Result<Self, ConnectError> {
        let addresses = tokio::net::lookup_host(&target.address).await.map_err(ConnectError::Resolve)?;
        let tcp = first_reachable(addresses.collect()).await?;
        // Requests are written whole; waiting to fill a segment would only delay them.
        let _ = tcp.set_nodelay(true);
        let connector = TlsConnector::from(target.tls.clone());
        let stream = connector.connect(target.server_name.clone(), tcp).await.map_err(ConnectError::Tls)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_START] })
    }

    /// Sends a whole request and waits for the whole answer. After an error, or when cancelled, the
    /// connection is of no more use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, ExchangeError> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        let head = loop {
            filled += self.read_some(filled).await?;
            if let Some(head) = parse_head(&self.buffer[..filled])? {
                break head;
            }
            if filled >= HEAD_MAX {
                return Err(ExchangeError::Malformed("head too large"));
            }
        };
        let end = head.len + head.body;
        while filled < end {
            filled += self.read_some(filled).await?;
        }
        if filled > end {
            return Err(ExchangeError::Malformed("bytes after the body"));
        }
        Ok(Answer {
            status: head.status,
            replayed: head.replayed,
            close: head.close,
            body: &self.buffer[head.len..end],
        })
    }

    /// Completes when an idle connection is closed, or says something nobody asked for. Cancel-safe.
    pub(crate) async fn unusable(&mut self) {
        // Session tickets are handled below this call and do not complete it.
        let _either_way = self.stream.read(&mut self.buffer).await;
    }

    async fn read_some(&mut self, filled: usize) -> Result<usize, ExchangeError> {
        if filled == self.buffer.len() {
            let grown = (self.buffer.len() * 2).min(HEAD_MAX + BODY_MAX);
            self.buffer.resize(grown, 0);
        }
        match self.stream.read(&mut self.buffer[filled..]).await? {
            0 => Err(ExchangeError::Closed),
            n => Ok(n),
        }
    }
}

/// Connects to the first of a name's addresses that takes the connection: `localhost` is often `::1` first, where a
/// platform that listens on 127.0.0.1 is not.
async fn first_reachable(mut addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
    addresses.truncate(ADDRESSES_MAX);
    let mut failures = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let is_last = at + 1 == addresses.len();
        let patience = if is_last { CONNECT_TIMEOUT } else { ADDRESS_TIMEOUT };
        match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer within {} s", patience.as_secs())),
        }
    }
    if failures.is_empty() {
        failures.push("the name has no address".into());
    }
    Err(ConnectError::Tcp(failures))
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    len: usize,
    body: usize,
    replayed: bool,
    close: bool,
}

/// The response head, or `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ExchangeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ExchangeError::Malformed("bad head")),
    };
    let status = response.code.unwrap_or(0);
    let mut head = Head { status, len, body: 0, replayed: false, close: response.version != Some(1) };
    let mut length = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|v| v.parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("idempotent-replayed") {
            head.replayed = header.value.eq_ignore_ascii_case(b"true");
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.close |= header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(ExchangeError::Malformed("transfer-encoding"));
        }
    }
    head.body = match (status, length) {
        (204 | 304, _) => 0,
        (_, Some(length)) if length <= BODY_MAX => length,
        (_, Some(_)) => return Err(ExchangeError::Malformed("body too large")),
        (_, None) => return Err(ExchangeError::Malformed("no content-length")),
    };
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text =
            b"HTTP/1.1 201 Created\r\ncontent-length: 12\r\nIdempotent-Replayed: true\r\nConnection: close\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(parse_head(&text[..cut]).unwrap(), None, "cut at {cut}");
        }
        let head = parse_head(text).unwrap().unwrap();
        assert_eq!(head, Head { status: 201, len: text.len(), body: 12, replayed: true, close: true });
    }

    fn listener(backlog: u32) -> tokio::net::TcpListener {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(backlog).unwrap()
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried_and_failures_name_them() {
        let open = listener(16);
        let closed = {
            let gone = listener(16);
            gone.local_addr().unwrap()
        };
        let reached = first_reachable(vec![closed, open.local_addr().unwrap()]).await.unwrap();
        assert_eq!(reached.peer_addr().unwrap(), open.local_addr().unwrap());
        let error = first_reachable(vec![closed, closed]).await.unwrap_err().to_string();
        assert_eq!(error.matches(&closed.to_string()).count(), 2, "{error}");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let full = listener(1);
        let address = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        // Nobody accepts: once the queue is full, the kernel leaves further connections without an answer.
        while let Ok(tcp) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            waiting.push(tcp.unwrap());
            assert!(waiting.len() < 64, "the queue does not fill");
        }
        let open = listener(16);
        let began = std::time::Instant::now();
        let reached = first_reachable(vec![address, open.local_addr().unwrap()]).await.unwrap();
        assert_eq!(reached.peer_addr().unwrap(), open.local_addr().unwrap());
        assert!(began.elapsed() < CONNECT_TIMEOUT, "{:?}", began.elapsed());
    }

    #[test]
    fn a_body_without_a_length_is_refused() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().is_some());
    }
}
