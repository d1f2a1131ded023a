//! What a check of a role's storage says, of a stopped platform and of a running one.

use serde::{Deserialize, Serialize};

/// What was found in one role's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFinding {
    /// Whose table.
    pub role: String,
    /// Whether everything that was checked agrees.
    pub ok: bool,
    /// Last plan the check is about; `None` where the journal does not tell.
    pub seq: Option<u64>,
    /// Plans read.
    pub plans: u64,
    /// Items by the journal.
    pub items: u64,
    /// Bytes of an unfinished write at the journal's end; never acknowledged.
    pub truncated_bytes: u64,
    /// The first thing that is wrong.
    pub first_difference: Option<String>,
    /// The stock equation; `None` where there is no stock, or where what it rests on could not be read whole.
    pub stock: Option<StockReport>,
}

/// What an audit of the stock found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReport {
    /// Whether everything agrees.
    pub ok: bool,
    /// Position of the feed the audit is about.
    pub seq: u64,
    /// Orders read.
    pub orders: u64,
    /// Facts read.
    pub facts: u64,
    /// Products with stock.
    pub products: u64,
    /// Shards not compared with their orders because an effect is still on its way.
    pub unsettled: u64,
    /// The first differences, at most 20.
    pub differences: Vec<String>,
}

/// Where a check of a running role is: the answer of `GET` and `POST /internal/v1/fsck`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CheckStatus {
    /// None was started since the role was.
    Idle,
    /// It runs.
    Running {
        /// What it is doing, in words.
        step: String,
        /// How much of it is done.
        done: u64,
        /// How much there is; 0 when unknown.
        of: u64,
    },
    /// It has ended.
    Done {
        /// What it found.
        finding: StoreFinding,
    },
    /// It could not be made.
    Failed {
        /// Why.
        reason: String,
    },
}
