//! The roles of a platform under proof: killed, waited for, and what they say when they do not come back.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use zizon_contracts::supervisor::{RoleState, RoleStatus};

use super::{LOOK, Platform, READY_PATIENCE, kill_now, text};
use crate::ProveError;

/// A role that was started this often and is not ready does not come back.
const STARTS: u64 = 8;
/// Of a log, this much of its end is told, in bytes.
const WORDS: usize = 600;

impl Platform<'_> {
    /// The process of a role, which must run within a minute.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not.
    pub fn process_of(&mut self, role: &str) -> Result<u32, ProveError> {
        self.wait(&format!("{role} did not run"), Some(role), |platform| {
            running(platform, role).map(|entry| Ok(entry.pid))
        })
    }

    /// `kill -9` of a role, at once. Returns the process that is no more.
    ///
    /// # Errors
    /// [`ProveError::Down`] when the role does not run within a minute.
    pub fn kill_role(&mut self, role: &str) -> Result<u32, ProveError> {
        self.wait(&format!("{role} did not run"), Some(role), |platform| {
            running(platform, role).map(|entry| entry.pid).filter(|&pid| kill_now(pid)).map(Ok)
        })
    }

    /// Waits until another process has taken the place of `before` and the platform is ready. Returns that process.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not come.
    pub fn await_role(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        let first = Cell::new(None);
        self.wait(&format!("{role} did not come back after kill -9"), Some(role), |platform| {
            let status = platform.status().ok()?;
            let entry = status.roles.iter().find(|entry| entry.role == role)?;
            let since = first.get().unwrap_or(entry.restarts);
            first.set(Some(since));
            if status.ready && entry.pid != before && entry.state == RoleState::Ready {
                return Some(Ok(entry.pid));
            }
            let starts = entry.restarts - since.min(entry.restarts);
            (starts >= STARTS).then(|| Err(format!("started {starts} times and never ready")))
        })
    }

    /// Waits until another process has taken the place of `before`, ready or not. Returns that process.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not come.
    pub fn await_successor(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        self.wait(&format!("{role} was not started again"), Some(role), |platform| {
            running(platform, role).map(|entry| entry.pid).filter(|&pid| pid != before).map(Ok)
        })
    }

    /// Waits until an order would be accepted.
    ///
    /// # Errors
    /// [`ProveError::Down`] when that does not come.
    pub fn await_ready(&mut self) -> Result<(), ProveError> {
        self.wait("the platform was not ready", None, |platform| {
            platform.status().is_ok_and(|status| status.ready).then_some(Ok(()))
        })
    }

    /// How often roles were started again since the platform was started.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn restarts(&self) -> Result<u64, ProveError> {
        Ok(self.status()?.roles.iter().map(|entry| entry.restarts).sum())
    }

    /// Waits until `look` has found something, for a minute. `Err` ends it before: there is no hope.
    fn wait<T>(
        &mut self,
        what: &str,
        role: Option<&str>,
        look: impl Fn(&Self) -> Option<Result<T, String>>,
    ) -> Result<T, ProveError> {
        let began = Instant::now();
        let why = loop {
            self.session.go_on()?;
            match look(self) {
                Some(Ok(found)) => return Ok(found),
                Some(Err(why)) => break why,
                None => {}
            }
            if let Some(status) = self.ended() {
                break format!("its supervisor ended with {status}");
            }
            if began.elapsed() > READY_PATIENCE {
                break format!("waited {} s", READY_PATIENCE.as_secs());
            }
            sleep(LOOK);
        };
        self.keep_evidence();
        Err(ProveError::Down { what: format!("{what}: {why}"), said: self.last_words(role) })
    }

    /// What the role, or else the supervisor, says last.
    fn last_words(&self, role: Option<&str>) -> String {
        let log = role.map(|role| self.data().join("log").join(format!("{role}.log")));
        let said = log.as_deref().and_then(tail).map(|said| format!("its log ends: {said}"));
        said.or_else(|| tail(&self.words()).map(|said| format!("it said last: {said}")))
            .unwrap_or_else(|| "it said nothing".to_owned())
    }
}

/// A role that has a process.
fn running(platform: &Platform<'_>, role: &str) -> Option<RoleStatus> {
    let roles = platform.status().ok()?.roles;
    roles.into_iter().find(|entry| entry.role == role && entry.state != RoleState::Restarting && entry.pid != 0)
}

fn tail(file: &Path) -> Option<String> {
    let said = fs::read(file).ok()?;
    let words = text(&said[said.len().saturating_sub(WORDS)..]);
    (!words.is_empty()).then_some(words)
}
