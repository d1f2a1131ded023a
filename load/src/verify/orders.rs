//! Takes acknowledgements from the file once each, and asks about one order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::findings::{Finding, VerifyReport};
use crate::VerifyError;
use crate::acks::{AckLine, Reader};
use crate::connection::Connection;
use crate::order_digest;
use crate::target::Target;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before asking again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// 128 bits of BLAKE3 stand for an id, a key or a digest, to keep a large file in memory.
type Short = u128;

fn short(parts: [&str; 2]) -> Short {
    let mut hasher = blake3::Hasher::new();
    hasher.update(parts[0].as_bytes()).update(b"\n").update(parts[1].as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Short::from_le_bytes(bytes)
}

/// The acknowledgements, with what was seen of them.
pub(super) struct Source {
    reader: Reader,
    /// Order to (user and key, digest).
    orders: HashMap<Short, (Short, Short)>,
    /// User and key to order.
    keys: HashMap<Short, Short>,
}

impl Source {
    pub(super) fn open(acks: &Path) -> Result<Self, VerifyError> {
        Ok(Self { reader: Reader::open(acks)?, orders: HashMap::new(), keys: HashMap::new() })
    }

    pub(super) fn fraction(&self) -> f64 {
        self.reader.fraction()
    }

    pub(super) const fn torn(&self) -> bool {
        self.reader.torn()
    }

    /// The next order not yet seen. Lines that are none, or contradict an earlier one, are noted.
    pub(super) fn next_order(&mut self, report: &mut VerifyReport) -> Result<Option<AckLine>, VerifyError> {
        loop {
            let ack = match self.reader.next_line() {
                Ok(Some(ack)) => ack,
                Ok(None) => return Ok(None),
                Err(line @ VerifyError::Line { .. }) => {
                    report.note(Finding::BadLine, line.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (order, key, digest) = (short([&ack.id, ""]), short([&ack.user, &ack.key]), short([&ack.digest, ""]));
            if *self.keys.entry(key).or_insert(order) != order {
                report.note(
                    Finding::Duplicate,
                    format!("{}: another order has the same key {} of {}", ack.id, ack.key, ack.user),
                );
            }
            let Some(&(first_key, first_digest)) = self.orders.get(&order) else {
                self.orders.insert(order, (key, digest));
                return Ok(Some(ack));
            };
            report.repeated += 1;
            if first_key != key {
                report.note(
                    Finding::Duplicate,
                    format!("{}: acknowledged for a second key {} of {}", ack.id, ack.key, ack.user),
                );
            }
            if first_digest != digest {
                report.note(Finding::Different, format!("{}: acknowledged twice with different content", ack.id));
            }
        }
    }
}

/// What the platform says about an acknowledged order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Missing,
    Different,
    Unreadable(u16),
}

/// Asks over a connection of its own.
pub(super) struct Checker {
    target: Target,
    patience: Duration,
    connection: Option<Connection>,
    trouble: Trouble,
}

/// Why the last order that was asked for again was; shared by all who ask.
pub(super) type Trouble = Arc<Mutex<Option<String>>>;

enum Asked {
    Verdict(Verdict),
    Again(String),
}

impl Checker {
    pub(super) const fn new(target: Target, patience: Duration, trouble: Trouble) -> Self {
        Self { target, patience, connection: None, trouble }
    }

    /// Asks until there is a clear answer or the patience ends: a platform that is restarting has
    /// not lost anything.
    pub(super) async fn check(&mut self, ack: &AckLine) -> Result<Verdict, VerifyError> {
        let start = Instant::now();
        let mut retried = false;
        loop {
            let reason = match self.ask(ack).await {
                Asked::Verdict(verdict) => {
                    if retried {
                        *self.trouble.lock() = None;
                    }
                    return Ok(verdict);
                }
                Asked::Again(reason) => reason,
            };
            if start.elapsed() >= self.patience {
                return Err(VerifyError::Unavailable {
                    id: ack.id.clone(),
                    patience_s: self.patience.as_secs(),
                    reason,
                });
            }
            // The first failure is most often a kept connection that the server has closed.
            if retried {
                *self.trouble.lock() = Some(reason);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            retried = true;
        }
    }

    async fn ask(&mut self, ack: &AckLine) -> Asked {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.target).await {
                Ok(connection) => connection,
                Err(error) => return Asked::Again(error.to_string()),
            },
        };
        let Target { prefix, host, .. } = &self.target;
        let request = format!(
            "GET {prefix}/api/v1/orders/{} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
            ack.id, ack.token
        );
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, connection.exchange(request.as_bytes())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Asked::Again(error.to_string()),
            Err(_) => return Asked::Again(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        };
        let asked = judge(answer.status, answer.body, &ack.digest);
        if !answer.close {
            self.connection = Some(connection);
        }
        asked
    }
}

fn judge(status: u16, body: &[u8], acknowledged: &str) -> Asked {
    match status {
        200 => {
            let order: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
            let equal = order
                .and_then(|order| order_digest(&order))
                .is_some_and(|digest| digest.to_hex().as_str() == acknowledged);
            Asked::Verdict(if equal { Verdict::Equal } else { Verdict::Different })
        }
        404 => Asked::Verdict(Verdict::Missing),
        408 | 429 | 500..=599 => Asked::Again(format!("status {status}")),
        other => Asked::Verdict(Verdict::Unreadable(other)),
    }
}
