//! The roles of a platform under proof: killed, waited for, and what they say when they do not come back.

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
const WORDS: usize = 1_000;

impl Platform<'_> {
    /// The process of a role, which must run within a minute.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not.
    pub fn process_of(&mut self, role: &str) -> Result<u32, ProveError> {
        self.wait(&format!("{role} did not run"), Some(role), |platform| running(platform, role).map(|entry| entry.pid))
    }

    /// `kill -9` of a role, at once. Returns the process that is no more.
    ///
    /// # Errors
    /// [`ProveError::Down`] when the role does not run within a minute.
    pub fn kill_role(&mut self, role: &str) -> Result<u32, ProveError> {
        self.wait(&format!("{role} did not run"), Some(role), |platform| {
            running(platform, role).map(|entry| entry.pid).filter(|&pid| kill_now(pid))
        })
    }

    /// Waits until another process has taken the place of `before` and the platform is ready. Returns that process.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not come.
    pub fn await_role(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        self.wait(&format!("{role} did not come back after kill -9"), Some(role), |platform| {
            let status = platform.status().ok()?;
            let entry = status.roles.iter().find(|entry| entry.role == role)?;
            (status.ready && entry.pid != before && entry.state == RoleState::Ready).then_some(entry.pid)
        })
    }

    /// Waits until another process has taken the place of `before`, ready or not. Returns that process.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not come.
    pub fn await_successor(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        self.wait(&format!("{role} was not started again"), Some(role), |platform| {
            running(platform, role).map(|entry| entry.pid).filter(|&pid| pid != before)
        })
    }

    /// Waits until an order would be accepted.
    ///
    /// # Errors
    /// [`ProveError::Down`] when that does not come.
    pub fn await_ready(&mut self) -> Result<(), ProveError> {
        self.wait("the platform was not ready", None, |platform| {
            platform.status().is_ok_and(|status| status.ready).then_some(())
        })
    }

    /// How often roles were started again since the platform was started.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn restarts(&self) -> Result<u64, ProveError> {
        Ok(self.status()?.roles.iter().map(|entry| entry.restarts).sum())
    }

    /// Waits until `look` has found something: for a minute, or until a role was started so often that there is no hope.
    fn wait<T>(&mut self, what: &str, role: Option<&str>, look: impl Fn(&Self) -> Option<T>) -> Result<T, ProveError> {
        let (began, mut starts) = (Instant::now(), Vec::new());
        let why = loop {
            self.session.go_on()?;
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.ended() {
                break format!("its supervisor ended with {status}");
            }
            if let Some(why) = self.status().ok().and_then(|status| is_hopeless(&mut starts, &status.roles)) {
                break why;
            }
            if began.elapsed() > READY_PATIENCE {
                break format!("waited {} s", READY_PATIENCE.as_secs());
            }
            sleep(LOOK);
        };
        self.keep_evidence();
        Err(ProveError::Down { what: format!("{what}: {why}"), said: self.last_words(role) })
    }

    /// What the role that is not ready says last: it need not be the one that was waited for. Without one, the supervisor.
    fn last_words(&self, role: Option<&str>) -> String {
        let roles = self.status().map_or_else(|_| Vec::new(), |status| status.roles);
        let blamed = roles.iter().find(|entry| entry.state != RoleState::Ready).map(|entry| entry.role.as_str());
        if let Some(role) = blamed.or(role)
            && let Some(said) = tail(&self.data().join("log").join(format!("{role}.log")))
        {
            return format!("the log of {role} ends: {said}");
        }
        tail(&self.words()).map_or_else(|| "it said nothing".to_owned(), |said| format!("it said last: {said}"))
    }
}

/// Whether a role was started too often since the first look, whose counts are in `first`.
fn is_hopeless(first: &mut Vec<u64>, roles: &[RoleStatus]) -> Option<String> {
    if first.len() != roles.len() {
        *first = roles.iter().map(|entry| entry.restarts).collect();
    }
    let starts = |(entry, first): (&RoleStatus, &u64)| (entry.role.clone(), entry.restarts.saturating_sub(*first));
    let (role, starts) = roles.iter().zip(&*first).map(starts).find(|(_, starts)| *starts >= STARTS)?;
    Some(format!("{role} was started {starts} times in vain"))
}

/// A role that has a process.
fn running(platform: &Platform<'_>, role: &str) -> Option<RoleStatus> {
    let roles = platform.status().ok()?.roles;
    roles.into_iter().find(|entry| entry.role == role && entry.state != RoleState::Restarting && entry.pid != 0)
}

/// The last lines of a file, whole ones where they are short enough.
fn tail(file: &Path) -> Option<String> {
    let said = fs::read(file).ok()?;
    let end = &said[said.len().saturating_sub(WORDS)..];
    let cut = if end.len() == said.len() { None } else { end.iter().position(|&byte| byte == b'\n') };
    let lines = cut.map(|at| text(&end[at + 1..])).filter(|lines| !lines.is_empty());
    Some(lines.unwrap_or_else(|| text(end))).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_told_in_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        assert_eq!(tail(&file), None);
        fs::write(&file, "").unwrap();
        assert_eq!(tail(&file), None);
        fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(tail(&file).as_deref(), Some("one / two"));
        fs::write(&file, format!("{}\nlast\n", "x".repeat(WORDS))).unwrap();
        assert_eq!(tail(&file).as_deref(), Some("last"));
        fs::write(&file, "y".repeat(2 * WORDS)).unwrap();
        assert_eq!(tail(&file).map(|words| words.len()), Some(WORDS));
    }
}
