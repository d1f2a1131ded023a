//! A platform of the proof's own: real processes in a temporary directory, ended and removed on every path.

mod command;
mod roles;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zizon_contracts::paths::Paths;
use zizon_contracts::supervisor::{MAX_LINE_BYTES, Request, StatusReport};

use crate::ProveError;
use crate::session::Session;

/// How long a platform or a role may take to be ready on a busy machine.
pub(crate) const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long its processes may take to vanish when killed.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);
/// How long the supervisor may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The roles of a platform; each may be killed.
pub const ROLES: [&str; 4] = ["orders", "edge", "catalog", "identity"];

/// Its configuration: no hold runs out while it is looked at.
pub const CONFIG: &str = "[orders]\nreservation_ttl_seconds = 86400\n";

/// A platform under proof. Dropped, its processes are ended and its directory is removed, unless it is evidence.
pub struct Platform<'a> {
    session: &'a Session<'a>,
    child: Option<Child>,
    home: Option<TempDir>,
    root: PathBuf,
    /// Whether its files tell what went wrong.
    is_evidence: AtomicBool,
}

impl<'a> Platform<'a> {
    /// Starts one with `config` as its configuration file and waits until an order would be accepted.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in time.
    pub fn start(session: &'a Session<'a>, config: &str) -> Result<Self, ProveError> {
        let home = tempfile::Builder::new().prefix("zizon-prove-").tempdir();
        let home = home.map_err(ProveError::system("make a temporary directory"))?;
        let root = home.path().to_owned();
        let mut platform = Self { session, child: None, home: Some(home), root, is_evidence: AtomicBool::new(false) };
        fs::write(platform.config(), config).map_err(ProveError::system("write a configuration"))?;
        match platform.up() {
            Err(ProveError::Down { what, said }) => Err(ProveError::Start { reason: format!("{what}; {said}") }),
            started => started.map(|()| platform),
        }
    }

    /// Keeps its directory: what a proof has found, or could not be made of, is in it.
    pub fn keep_evidence(&self) {
        self.is_evidence.store(true, Ordering::Relaxed);
    }

    fn config(&self) -> PathBuf {
        self.root.join("zizon.toml")
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// A place for the proof's own files beside it.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The authority to trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.paths().ca_file()
    }

    fn paths(&self) -> Paths {
        let near = Paths::near(&self.data());
        // Where the temporary directory's path is too long for sockets, they are elsewhere and `run` is a link.
        let run = fs::read_link(&near).unwrap_or(near);
        Paths::with_run(&self.data(), &run)
    }

    /// Starts it on the data it has and waits until it is ready.
    ///
    /// # Errors
    /// [`ProveError::Down`] when it does not become ready.
    pub fn up(&mut self) -> Result<(), ProveError> {
        let out = File::create(self.words()).map_err(ProveError::system("make a file"))?;
        let errors = out.try_clone().map_err(ProveError::system("make a file"))?;
        let child = Command::new(&self.session.program)
            .args(["up", "--demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            // A group of its own: Ctrl-C is for the proof, which then ends this in order.
            .process_group(0)
            .env(crate::PROVER_PID_ENV, std::process::id().to_string())
            .spawn()
            .map_err(ProveError::system(format!("start {}", self.session.program.display())))?;
        self.child = Some(child);
        self.await_ready()
    }

    /// What the supervisor says to a terminal.
    fn words(&self) -> PathBuf {
        self.root.join("up.out")
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// How every role is, by its supervisor.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn status(&self) -> Result<StatusReport, ProveError> {
        let failed = || ProveError::system("ask the supervisor");
        let mut stream = UnixStream::connect(self.paths().supervisor_socket()).map_err(failed())?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(failed())?;
        let mut question = serde_json::to_vec(&Request::Status).map_err(std::io::Error::from).map_err(failed())?;
        question.push(b'\n');
        stream.write_all(&question).map_err(failed())?;
        let mut answer = Vec::new();
        BufReader::new(stream).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut answer).map_err(failed())?;
        serde_json::from_slice(&answer).map_err(std::io::Error::from).map_err(failed())
    }

    /// Where its shop is.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn url(&self) -> Result<String, ProveError> {
        Ok(self.status()?.local_url)
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// When it does not stop in time, or says that it could not.
    pub fn stop(&mut self) -> Result<(), ProveError> {
        let Some(child) = &self.child else { return Ok(()) };
        if let Some(pid) = pid(child.id()) {
            // One that has ended already has stopped.
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.ended() {
                self.child = None;
                if status.success() {
                    return Ok(());
                }
                self.keep_evidence();
                return Err(ProveError::Stop { status: status.to_string() });
            }
            sleep(LOOK);
        }
        self.keep_evidence();
        Err(ProveError::Late { what: "the platform did not stop".into(), patience_s: STOP_PATIENCE.as_secs() })
    }

    /// `kill -9` of the supervisor, which takes every role with it; waits until all are gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let roles: Vec<u32> = self.status().map_or_else(|_| Vec::new(), |status| pids(&status));
        // Nothing is left to do about a process that cannot be killed; its roles notice that it is gone.
        let _ = child.kill();
        let _ = child.wait();
        let began = Instant::now();
        let lives = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
        while let Some(pid) = roles.iter().find(lives) {
            if began.elapsed() > DEATH_PATIENCE {
                self.session.say.note(&format!("process {pid} of the platform under proof does not end"));
                return;
            }
            sleep(LOOK);
        }
    }
}

impl Drop for Platform<'_> {
    fn drop(&mut self) {
        self.kill();
        let elsewhere = fs::read_link(Paths::near(&self.data()));
        let Some(home) = self.home.take() else { return };
        let was_stopped = self.session.go_on().is_err();
        if self.session.keep || (self.is_evidence.load(Ordering::Relaxed) && !was_stopped) {
            self.session.say.note(&format!("kept {}", home.keep().display()));
            return;
        }
        if let Err(error) = home.close() {
            self.session.say.note(&format!("{} was not removed: {error}", self.root.display()));
        }
        if let Ok(elsewhere) = elsewhere {
            let _ = fs::remove_dir_all(elsewhere);
        }
    }
}

fn pids(status: &StatusReport) -> Vec<u32> {
    status.roles.iter().map(|role| role.pid).filter(|&pid| pid != 0).collect()
}

fn pid(raw: u32) -> Option<Pid> {
    i32::try_from(raw).ok().and_then(Pid::from_raw)
}

/// `kill -9`; whether there was such a process, and it had not ended by itself.
pub fn kill_now(raw: u32) -> bool {
    !is_zombie(raw) && pid(raw).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Whether it has ended and nobody has noticed yet: a signal would reach it all the same (proc(5), the letter after the name).
fn is_zombie(raw: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{raw}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().replace('\n', " / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended_by_itself_is_not_killed() {
        let mut child = Command::new("true").spawn().unwrap();
        let began = Instant::now();
        while !is_zombie(child.id()) && began.elapsed() < READY_PATIENCE {
            sleep(LOOK);
        }
        assert!(!kill_now(child.id()));
        child.wait().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(kill_now(child.id()));
        assert!(!child.wait().unwrap().success());
    }
}
