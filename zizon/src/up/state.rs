//! What the supervisor knows of each role. Written by the tasks that look after roles, read by everybody.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use zizon_base::{role::Role, spiffe::TrustDomain};
use zizon_contracts::supervisor::{Readiness, RoleState, RoleStatus, StatusReport, WhoIsAnswer};

use super::words::Word;

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
    /// What its start is doing.
    doing: Option<String>,
    /// Its last words in this life.
    words: Option<String>,
    /// Why it ended last, until it answers again.
    failure: Option<String>,
    /// Lives that ended before the role answered, in a row.
    failed_starts: u32,
}

/// A role that ended so often before it answered once will not start by being started again.
const HOPELESS_STARTS: u32 = 5;

/// Name of the check by which orders says that its configuration lets nobody order.
const ORDERING: &str = "ordering";

/// All roles, shared.
#[derive(Debug)]
pub struct State {
    entries: Mutex<Vec<Entry>>,
    changed: Notify,
    trust_domain: TrustDomain,
    urls: Urls,
    ca_file: String,
    operator_uid: u32,
}

/// Where the public listener is.
#[derive(Debug, Clone, Default)]
pub struct Urls {
    /// For customers.
    pub public: String,
    /// For programs on this machine.
    pub local: String,
}

impl State {
    /// Nothing runs yet.
    pub fn new(trust_domain: TrustDomain, urls: Urls, ca_file: String) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(Vec::new()),
            changed: Notify::new(),
            trust_domain,
            urls,
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
            doing: None,
            words: None,
            failure: None,
            failed_starts: 0,
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
            entry.doing = None;
            entry.words = None;
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

    /// What the role's log said of its start or its end.
    pub fn said(&self, role: Role, word: Word) {
        self.update(role, |entry| match word {
            Word::Starting(doing) => entry.doing = Some(doing),
            Word::Failed(reason) => entry.words = Some(reason),
        });
    }

    /// A life of the role ended by itself with `status`, or could not begin. Returns why, in its own words where it left some.
    pub fn died(&self, role: Role, status: &str) -> String {
        let mut why = status.to_owned();
        self.update(role, |entry| {
            entry.failed_starts = entry.failed_starts.saturating_add(1);
            if let Some(words) = entry.words.take() {
                why = words;
            }
            entry.failure = Some(why.clone());
        });
        why
    }

    /// The role is finishing what it has.
    pub fn draining(&self, role: Role) {
        self.update(role, |entry| entry.state = RoleState::Draining);
    }

    /// What the role said of itself; `None` when it did not answer. True when this is its first word since it ended.
    pub fn heard(&self, role: Role, readiness: Option<Readiness>) -> bool {
        let mut back = false;
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
            if readiness.is_some() {
                back = entry.failure.is_some();
                (entry.failure, entry.doing, entry.failed_starts) = (None, None, 0);
            }
            entry.readiness = readiness;
        });
        back
    }

    /// A role that keeps ending before it answers, and why.
    pub fn hopeless(&self) -> Option<(Role, String)> {
        let entries = self.entries.lock();
        let entry = entries.iter().find(|entry| entry.failed_starts >= HOPELESS_STARTS)?;
        Some((entry.role, entry.failure.clone().unwrap_or_default()))
    }

    /// Whether every role has a process, or had one.
    pub fn all_started(&self) -> bool {
        self.entries.lock().iter().all(|entry| entry.pid != 0)
    }

    /// Whether every role runs and has said how it is, ready or not.
    pub fn all_answer(&self) -> bool {
        let answers = |state| matches!(state, RoleState::Ready | RoleState::NotReady);
        self.entries.lock().iter().all(|entry| entry.readiness.is_some() && answers(entry.state))
    }

    /// Whether all that is missing is that somebody lets people order: waiting would not change it.
    pub fn nobody_may_order(&self) -> bool {
        let entries = self.entries.lock();
        let failing = || {
            let said = entries.iter().filter_map(|entry| entry.readiness.as_ref().map(|said| (entry.role, said)));
            said.flat_map(|(role, said)| {
                said.checks.iter().filter(|check| !check.ok).map(move |check| (role, &check.name))
            })
        };
        let all_known = entries.iter().all(|entry| entry.state == RoleState::Ready || entry.readiness.is_some());
        all_known
            && failing().any(|(_, check)| check == ORDERING)
            && failing().all(|(role, check)| check == ORDERING || is_repeated(role, check))
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
            url: self.urls.public.clone(),
            local_url: self.urls.local.clone(),
            ca_file: self.ca_file.clone(),
            detail,
            supervisor_pid: std::process::id(),
            operator_uid: self.operator_uid,
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

    /// Waits until `enough` holds.
    pub async fn wait_until(&self, enough: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if enough(self) {
                return;
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
        (RoleState::Starting, _) => vec![starting(entry)],
        (RoleState::Restarting, _) => vec![match &entry.failure {
            Some(failure) => format!("{}: is started again; it ended with: {failure}", entry.role),
            None => format!("{}: restarting", entry.role),
        }],
        (RoleState::Draining, _) => vec![format!("{}: draining", entry.role)],
        (RoleState::Stopped, _) => vec![format!("{}: stopped", entry.role)],
    }
}

fn starting(entry: &Entry) -> String {
    match (&entry.doing, &entry.failure) {
        (Some(doing), _) => format!("{}: starting: {doing}", entry.role),
        (None, Some(failure)) => format!("{}: starting again; it ended with: {failure}", entry.role),
        (None, None) => format!("{}: starting", entry.role),
    }
}

/// The edge is not ready when a role behind it is not.
fn is_repeated(role: Role, check: &str) -> bool {
    role == Role::Edge && check.parse::<Role>().is_ok()
}

#[cfg(test)]
mod tests {
    use zizon_contracts::supervisor::Check;

    use super::*;

    fn state() -> Arc<State> {
        let state = State::new("zizon.local".parse().unwrap(), Urls::default(), String::new());
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

    fn answer(ready: bool, check: &str) -> Option<Readiness> {
        let check = Check { name: check.to_owned(), ok: ready, detail: String::new() };
        Some(Readiness { ready, svid_seconds_left: None, checks: vec![check] })
    }

    #[test]
    fn why_a_role_ended_is_said_until_it_answers() {
        let state = state();
        state.started(Role::Orders, 7);
        state.said(Role::Orders, Word::Failed("ids.key is missing".into()));
        state.ended(Role::Orders, RoleState::Restarting);
        assert_eq!(state.died(Role::Orders, "exit status: 1"), "ids.key is missing");
        assert!(state.report().detail[0].contains("ids.key is missing"));
        state.started(Role::Orders, 8);
        assert!(state.report().detail[0].contains("ids.key is missing"));
        state.heard(Role::Orders, answer(false, "prices"));
        assert!(!state.report().detail[0].contains("ids.key is missing"));
        state.ended(Role::Orders, RoleState::Restarting);
        assert_eq!(state.died(Role::Orders, "signal: 9"), "signal: 9", "words are those of one life");
        state.started(Role::Orders, 9);
        assert_eq!(state.died(Role::Orders, "exit status: 2"), "exit status: 2");
    }

    #[test]
    fn a_role_that_keeps_ending_before_it_answers_is_given_up() {
        let state = state();
        for _ in 0..HOPELESS_STARTS {
            assert_eq!(state.hopeless(), None);
            state.started(Role::Orders, 7);
            state.ended(Role::Orders, RoleState::Restarting);
            state.died(Role::Orders, "exit status: 1");
        }
        assert_eq!(state.hopeless(), Some((Role::Orders, "exit status: 1".into())));
        state.started(Role::Orders, 8);
        state.heard(Role::Orders, answer(true, "table"));
        assert_eq!(state.hopeless(), None);
    }

    #[test]
    fn only_a_decision_is_missing_when_nothing_else_is() {
        let state = state();
        state.add(Role::Edge, "127.0.0.1:2".into(), "127.0.0.1:2".into());
        state.started(Role::Orders, 7);
        state.started(Role::Edge, 8);
        assert!(!state.nobody_may_order());
        state.heard(Role::Edge, answer(false, "orders"));
        state.heard(Role::Orders, answer(false, "prices"));
        assert!(!state.nobody_may_order());
        state.heard(Role::Orders, answer(false, "ordering"));
        assert!(state.nobody_may_order());
        state.heard(Role::Orders, answer(true, "ordering"));
        assert!(!state.nobody_may_order(), "the edge has not heard of it yet");
    }
}
