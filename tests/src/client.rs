//! A small HTTP/1.1 client over TLS 1.3 that sends exactly the bytes it is given. Blocking; threads are concurrency.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A TLS connection to the edge.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} with no JSON ({error}): {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }

    /// The problem's code.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Talks to one platform's public listener.
#[derive(Debug, Clone)]
pub struct Client {
    port: u16,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Trusts the authority in `ca_file`.
    ///
    /// # Panics
    /// When the file holds no certificate.
    #[must_use]
    pub fn new(port: u16, ca_file: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca_file).expect("the authority's file can be read") {
            roots.add(certificate.expect("a certificate")).expect("a usable authority");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { port, config: Arc::new(config) }
    }

    /// Opens a connection and finishes the handshake.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn connect(&self) -> io::Result<Connection> {
        self.connect_within(PATIENCE)
    }

    /// Opens a connection, and waits for each part of its handshake only so long.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn connect_within(&self, patience: Duration) -> io::Result<Connection> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(patience))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends raw bytes on a connection of their own and reads one answer.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn try_raw(&self, bytes: &[u8]) -> io::Result<Answer> {
        let mut connection = self.connect()?;
        connection.write_all(bytes)?;
        connection.flush()?;
        read_answer(&mut connection)
    }

    /// Sends raw bytes and reads one answer.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        self.try_raw(bytes).expect("an answer")
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.try_raw(&request(method, path, headers, body))
    }

    /// `GET`.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn try_get(&self, path: &str) -> io::Result<Answer> {
        self.try_send("GET", path, &[], b"")
    }

    /// `GET`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("an answer")
    }

    /// `GET` with a bearer token.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get_with_token(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.try_send("GET", path, &[("Authorization", &bearer)], b"").expect("an answer")
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// Whatever the network or TLS says.
    pub fn try_post(&self, path: &str, body: &str) -> io::Result<Answer> {
        self.try_send("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// `POST` of JSON.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.try_post(path, body).expect("an answer")
    }

    /// Orders `quantity` of `product` at `price`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn order(&self, key: &str, product: &str, quantity: u32, price: i64) -> Answer {
        self.post("/api/v1/orders", &order_body(key, product, quantity, price))
    }
}

/// The body every description of the shop shows.
#[must_use]
pub fn order_body(key: &str, product: &str, quantity: u32, price: i64) -> String {
    format!(
        r#"{{"user_id":"user_42","items":[{{"product_id":"{product}","quantity":{quantity},"price":{price}}}],"idempotency_key":"{key}"}}"#
    )
}

/// A request's bytes, with `Host` and `Content-Length`.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        out.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    let mut bytes = out.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one answer with a `Content-Length`.
///
/// # Errors
/// Whatever the network says, or an answer that cannot be read.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before an answer"));
        }
        head.push(byte[0]);
        if head.len() > 64 * 1024 {
            return Err(io::Error::other("an answer's head is too long"));
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Answer { status, headers, body })
}
