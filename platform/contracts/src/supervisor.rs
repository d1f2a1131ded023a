//! The supervisor's local socket: one line of JSON asked, one line answered.
//!
//! Only the uid that started the platform (and root) may ask, by the socket's peer credentials.

use serde::{Deserialize, Serialize};

/// Environment variable that names the supervisor's socket to its children.
pub const SOCKET_ENV: &str = "ZIZON_SUPERVISOR";
/// Environment variable that names the supervisor's process to its children, so that an orphan notices.
pub const SUPERVISOR_PID_ENV: &str = "ZIZON_SUPERVISOR_PID";
/// The longest line either side sends, in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// How every role is.
    Status,
    /// Which role the process `pid` was started as.
    WhoIs {
        /// Process id in the supervisor's pid namespace.
        pid: u32,
    },
}

/// Answer to [`Request::WhoIs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoIsAnswer {
    /// A role's name, `supervisor` for the supervisor itself, nothing for a process it did not start.
    pub role: Option<String>,
    /// The uid that started the platform: its processes are the operator.
    pub operator_uid: u32,
}

/// Answer to [`Request::Status`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Whether an order would be accepted.
    pub ready: bool,
    /// Every role, in the order in which they start.
    pub roles: Vec<RoleStatus>,
    /// Base URL of the public listener, by the name customers use.
    pub url: String,
    /// Base URL of the public listener for programs on this machine, whatever DNS knows.
    pub local_url: String,
    /// File of the authority to trust for it; empty when the certificate is the operator's own.
    pub ca_file: String,
    /// Why it is not ready, for people; empty when it is.
    #[serde(default)]
    pub detail: Vec<String>,
    /// The supervisor's own pid.
    pub supervisor_pid: u32,
    /// The uid that started the platform: only its processes are the operator.
    pub operator_uid: u32,
}

/// How one role is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// The role's name.
    pub role: String,
    /// The last known process id.
    pub pid: u32,
    /// The role's identity.
    pub spiffe_id: String,
    /// Where it listens.
    pub address: String,
    /// Where the edge's internal mTLS listener is; the same as `address` for the others.
    pub internal_address: String,
    /// What it is doing.
    pub state: RoleState,
    /// Times it was started again.
    pub restarts: u64,
    /// Seconds since its last start, 0 while it is down.
    pub uptime_s: u64,
    /// Seconds until its certificate expires, if it is known.
    pub svid_seconds_left: Option<u64>,
}

/// What a role is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleState {
    /// Started, not yet ready.
    Starting,
    /// Takes requests.
    Ready,
    /// Runs, but would refuse.
    NotReady,
    /// Ended; will be started again.
    Restarting,
    /// Finishing what it has.
    Draining,
    /// Ended for good.
    Stopped,
}

/// A role's `GET /readyz` over mTLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether every check passes.
    pub ready: bool,
    /// Seconds until the role's own certificate expires.
    pub svid_seconds_left: Option<u64>,
    /// The checks.
    pub checks: Vec<Check>,
}

/// One condition of being ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// For people: why not, or what was found.
    #[serde(default)]
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_a_stable_shape() {
        assert_eq!(serde_json::to_string(&Request::Status).unwrap(), r#"{"op":"status"}"#);
        assert_eq!(serde_json::to_string(&Request::WhoIs { pid: 7 }).unwrap(), r#"{"op":"who-is","pid":7}"#);
    }
}
