//! Single requests, for a caller that judges each answer by itself.

use std::path::Path;
use std::time::Duration;

use crate::LoadError;
use crate::connection::Connection;
use crate::product::Offer;
use crate::target::Target;

/// One connection to a platform, made again when it was lost.
pub struct Client {
    target: Target,
    connection: Option<Connection>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Idempotent-Replayed: true`.
    pub replayed: bool,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Nothing was sent: no connection.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have been applied.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

impl Client {
    /// A client of the platform at `url`, which trusts the authority in `ca_file` and nobody else. Connects with its first request.
    ///
    /// # Errors
    /// When the address or the file cannot be used.
    pub fn new(url: &str, ca_file: &Path) -> Result<Self, LoadError> {
        Ok(Self { target: Target::new(url, ca_file)?, connection: None })
    }

    /// A client of the same platform with a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { target: self.target.clone(), connection: None }
    }

    /// What `product` costs by the catalog; the demo's product when none is named.
    ///
    /// # Errors
    /// When the platform cannot be reached or does not sell it.
    pub async fn offer(&self, product: Option<&str>) -> Result<Offer, LoadError> {
        Offer::find(product, &self.target).await
    }

    /// Opens the connection, unless it is open.
    ///
    /// # Errors
    /// [`Silence::NotSent`] when there is none.
    pub async fn connect(&mut self) -> Result<(), Silence> {
        if self.connection.is_none() {
            let opened = Connection::open(&self.target).await;
            self.connection = Some(opened.map_err(|error| Silence::NotSent(error.to_string()))?);
        }
        Ok(())
    }

    /// Posts a JSON document and waits for the whole answer, at most `patience`.
    ///
    /// # Errors
    /// When there is no whole answer. The next call connects again.
    pub async fn post(&mut self, path: &str, body: &[u8], patience: Duration) -> Result<Reply, Silence> {
        let Target { prefix, host, .. } = &self.target;
        let mut request = format!(
            "POST {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.connect().await?;
        let Some(mut connection) = self.connection.take() else { return Err(Silence::NotSent("no connection".into())) };
        let answer = tokio::time::timeout(patience, connection.exchange(&request)).await;
        let answer = answer.map_err(|_| Silence::Unknown(format!("no answer within {} s", patience.as_secs())))?;
        let answer = answer.map_err(|error| Silence::Unknown(error.to_string()))?;
        let reply = Reply { status: answer.status, replayed: answer.replayed, body: answer.body.to_vec() };
        if !answer.close {
            self.connection = Some(connection);
        }
        Ok(reply)
    }
}
