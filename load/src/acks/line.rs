//! One line of the file.

use serde::{Deserialize, Serialize};

/// An acknowledged order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckLine {
    /// Order id.
    pub id: String,
    /// Idempotency key it was sent with.
    pub key: String,
    /// User it was sent for.
    pub user: String,
    /// [`crate::order_digest`] of the 201 body, in hex.
    pub digest: String,
    /// Access token of the order: whoever has it can read the order.
    pub token: String,
    /// When the request was sent, in ms since 1970.
    pub t_sent: u64,
    /// When the answer was complete, in ms since 1970.
    pub t_ack: u64,
}
