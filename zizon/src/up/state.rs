//! What the supervisor knows of each role. Written by the tasks that look after roles, read by everybody.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use zizon_base::{role::Role, spiffe::TrustDomain};
use zizon_contracts::supervisor::{Readiness, RoleState, RoleStatus, StatusReport, WhoIsAnswer};

/// One role.
#[derive(Debug, Clone)]
struct Entry {
    role: Role,
    address: String,
    internal_address: String,
    pid: u32,
    running: bool,
    started: Instant,
    state: RoleState,
    starts: u64,
    readiness: Option<Readiness>,
}

/// All roles, shared.
#[derive(Debug)]
pub struct State {
    entries: Mutex<Vec<Entry>>,
    changed: Notify,
    trust_domain: TrustDomain,
    url: String,
    ca_file: String,
    operator_uid: u32,
}

impl State {
    /// Nothing runs yet.
    pub fn new(trust_domain: TrustDomain, url: String, ca_file: String) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(Vec::new()),
            changed: Notify::new(),
            trust_domain,
            url,
            ca_file,
            operator_uid: rustix::process::getuid().as_raw(),
        })
    }

    /// The uid that started the platform.
    pub const fn operator_uid(&self) -> u32 {
        self.operator_uid
    }

    /// Announces a role before its first start.
    pub fn add(&self, role: Role, address: String, internal_address: String) {
        self.entries.lock().push(Entry {
            role,
            address,
            internal_address,
            pid: 0,
            running: false,
            started: Instant::now(),
            state: RoleState::Starting,
            starts: 0,
            readiness: None,
        });
    }

    fn update(&self, role: Role, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.lock().iter_mut().find(|entry| entry.role == role) {
            change(entry);
        }
        self.changed.notify_waiters();
    }

    /// A process of the role has been started.
    pub fn started(&self, role: Role, pid: u32) {
        self.update(role, |entry| {
            entry.pid = pid;
            entry.running = true;
            entry.started = Instant::now();
            entry.state = RoleState::Starting;
            entry.starts += 1;
            entry.readiness = None;
        });
    }

    /// The role's process has ended.
    pub fn ended(&self, role: Role, state: RoleState) {
        self.update(role, |entry| {
            entry.running = false;
            entry.state = state;
            entry.readiness = None;
        });
    }

    /// The role is finishing what it has.
    pub fn draining(&self, role: Role) {
        self.update(role, |entry| entry.state = RoleState::Draining);
    }

    /// What the role said of itself; `None` when it did not answer.
    pub fn heard(&self, role: Role, readiness: Option<Readiness>) {
        self.update(role, |entry| {
            if !entry.running || entry.state == RoleState::Draining {
                return;
            }
            entry.state = match &readiness {
                Some(said) if said.ready => RoleState::Ready,
                Some(_) => RoleState::NotReady,
                None if entry.state == RoleState::Starting => RoleState::Starting,
                None => RoleState::NotReady,
            };
            entry.readiness = readiness;
        });
    }

    /// Which role `pid` was started as.
    pub fn who_is(&self, pid: u32) -> WhoIsAnswer {
        let role = if pid == std::process::id() {
            Some("supervisor".to_owned())
        } else {
            let entries = self.entries.lock();
            let entry = entries.iter().find(|entry| entry.running && entry.pid == pid);
            entry.map(|entry| entry.role.name().to_owned())
        };
        WhoIsAnswer { role, operator_uid: self.operator_uid }
    }

    /// Everything, for people and scripts.
    pub fn report(&self) -> StatusReport {
        let entries = self.entries.lock().clone();
        let detail = entries.iter().flat_map(complaints).collect();
        StatusReport {
            ready: !entries.is_empty() && entries.iter().all(|entry| entry.state == RoleState::Ready),
            roles: entries.iter().map(|entry| self.status(entry)).collect(),
            url: self.url.clone(),
            ca_file: self.ca_file.clone(),
            detail,
            supervisor_pid: std::process::id(),
        }
    }

    fn status(&self, entry: &Entry) -> RoleStatus {
        RoleStatus {
            role: entry.role.name().to_owned(),
            pid: entry.pid,
            spiffe_id: entry.role.spiffe_id(&self.trust_domain).to_string(),
            address: entry.address.clone(),
            internal_address: entry.internal_address.clone(),
            state: entry.state,
            restarts: entry.starts.saturating_sub(1),
            uptime_s: if entry.running { entry.started.elapsed().as_secs() } else { 0 },
            svid_seconds_left: entry.readiness.as_ref().and_then(|said| said.svid_seconds_left),
        }
    }

    /// Waits until `enough` holds of the report.
    pub async fn wait_until(&self, enough: impl Fn(&StatusReport) -> bool) -> StatusReport {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let report = self.report();
            if enough(&report) {
                return report;
            }
            changed.await;
        }
    }
}

/// Why a role is not ready, for people. What the edge repeats of others is said once, by them.
fn complaints(entry: &Entry) -> Vec<String> {
    match (&entry.state, &entry.readiness) {
        (RoleState::Ready, _) => Vec::new(),
        (RoleState::NotReady, Some(said)) => said
            .checks
            .iter()
            .filter(|check| !check.ok && !is_repeated(entry.role, &check.name))
            .map(|check| format!("{}: {}: {}", entry.role, check.name, check.detail))
            .collect(),
        (RoleState::NotReady, None) => vec![format!("{}: does not answer", entry.role)],
        (RoleState::Starting, _) => vec![format!("{}: starting", entry.role)],
        (RoleState::Restarting, _) => vec![format!("{}: restarting", entry.role)],
        (RoleState::Draining, _) => vec![format!("{}: draining", entry.role)],
        (RoleState::Stopped, _) => vec![format!("{}: stopped", entry.role)],
    }
}

/// The edge is not ready when a role behind it is not.
fn is_repeated(role: Role, check: &str) -> bool {
    role == Role::Edge && check.parse::<Role>().is_ok()
}

/// Whether every role runs and has said how it is, ready or not.
pub fn all_answer(report: &StatusReport) -> bool {
    !report.roles.is_empty()
        && report.roles.iter().all(|role| matches!(role.state, RoleState::Ready | RoleState::NotReady))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<State> {
        let state = State::new("zizon.local".parse().unwrap(), String::new(), String::new());
        state.add(Role::Orders, "127.0.0.1:1".into(), "127.0.0.1:1".into());
        state
    }

    #[test]
    fn only_a_running_process_is_its_role() {
        let state = state();
        state.started(Role::Orders, 4_000_000);
        assert_eq!(state.who_is(4_000_000).role.as_deref(), Some("orders"));
        state.ended(Role::Orders, RoleState::Restarting);
        assert_eq!(state.who_is(4_000_000).role, None);
        assert_eq!(state.who_is(std::process::id()).role.as_deref(), Some("supervisor"));
    }

    #[test]
    fn the_last_pid_stays_visible_while_a_role_is_down() {
        let state = state();
        state.started(Role::Orders, 77);
        state.ended(Role::Orders, RoleState::Restarting);
        let report = state.report();
        assert_eq!((report.ready, report.roles[0].pid, report.roles[0].restarts), (false, 77, 0));
        state.started(Role::Orders, 78);
        assert_eq!(state.report().roles[0].restarts, 1);
    }
}
