//! A platform of the proof's own: real processes in a temporary directory, ended and removed on every path.

mod command;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zizon_contracts::paths::Paths;
use zizon_contracts::supervisor::{MAX_LINE_BYTES, Request, RoleState, StatusReport};

use crate::ProveError;
use crate::session::Session;

/// How long a platform or a role may take to be ready on a busy machine.
const READY_PATIENCE: Duration = Duration::from_secs(60);
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

/// A platform under proof. Dropped, its processes are ended and its directory is removed.
pub struct Platform<'a> {
    session: &'a Session<'a>,
    child: Option<Child>,
    home: Option<TempDir>,
    root: PathBuf,
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
        let mut platform = Self { session, child: None, home: Some(home), root };
        fs::write(platform.config(), config).map_err(ProveError::system("write a configuration"))?;
        platform.up()?;
        Ok(platform)
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
    /// When it does not start.
    pub fn up(&mut self) -> Result<(), ProveError> {
        let words = self.root.join("up.out");
        let out = File::create(&words).map_err(ProveError::system("make a file"))?;
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
        let ready = self.wait("the platform is ready", |platform| platform.status().is_ok_and(|status| status.ready));
        match (ready, self.ended()) {
            (Ok(()), _) => Ok(()),
            (Err(ProveError::Late { .. }), _) | (Err(_), Some(_)) => {
                Err(ProveError::Start { reason: last_words(&words) })
            }
            (Err(error), None) => Err(error),
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Waits until `holds`, the platform ends, or the proof is stopped.
    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), ProveError> {
        let began = Instant::now();
        loop {
            self.session.go_on()?;
            if holds(self) {
                return Ok(());
            }
            if began.elapsed() > READY_PATIENCE || self.ended().is_some() {
                return Err(ProveError::Late { what: what.to_owned(), patience_s: began.elapsed().as_secs() });
            }
            sleep(LOOK);
        }
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

    /// The process of a role; `None` while it is down.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub fn pid_of(&self, role: &str) -> Result<Option<u32>, ProveError> {
        let status = self.status()?;
        let running = status.roles.iter().find(|entry| entry.role == role && entry.state != RoleState::Restarting);
        Ok(running.map(|entry| entry.pid).filter(|&pid| pid != 0))
    }

    /// The process of a role that is expected to run.
    ///
    /// # Errors
    /// When it is down.
    pub fn process_of(&self, role: &str) -> Result<u32, ProveError> {
        let down = || ProveError::Late { what: format!("{role} does not run"), patience_s: 0 };
        self.pid_of(role)?.ok_or_else(down)
    }

    /// `kill -9` of a role, at once. Returns the process that is no more.
    ///
    /// # Errors
    /// When the role does not run within a minute.
    pub fn kill_role(&mut self, role: &str) -> Result<u32, ProveError> {
        let began = Instant::now();
        while began.elapsed() < READY_PATIENCE {
            self.session.go_on()?;
            if let Some(pid) = self.pid_of(role)?
                && kill_now(pid)
            {
                return Ok(pid);
            }
            sleep(LOOK);
        }
        Err(ProveError::Late { what: format!("{role} does not run"), patience_s: READY_PATIENCE.as_secs() })
    }

    /// Waits until another process has taken the place of `before` and the platform is ready. Returns that process.
    ///
    /// # Errors
    /// When it does not come.
    pub fn await_role(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        let replaced = |platform: &Self| {
            let Ok(status) = platform.status() else { return false };
            let back = |entry: &zizon_contracts::supervisor::RoleStatus| {
                entry.role == role && entry.pid != before && entry.state == RoleState::Ready
            };
            status.ready && status.roles.iter().any(back)
        };
        self.wait(&format!("{role} is ready again after kill -9"), replaced)?;
        Ok(self.pid_of(role)?.unwrap_or(0))
    }

    /// Waits until another process has taken the place of `before`, ready or not. Returns that process.
    ///
    /// # Errors
    /// When it does not come.
    pub fn await_successor(&mut self, role: &str, before: u32) -> Result<u32, ProveError> {
        let other = |pid: Option<u32>| pid.is_some_and(|pid| pid != before);
        self.wait(&format!("{role} is started again"), |platform| platform.pid_of(role).is_ok_and(other))?;
        Ok(self.pid_of(role)?.unwrap_or(0))
    }

    /// Waits until an order would be accepted.
    ///
    /// # Errors
    /// When that does not come.
    pub fn await_ready(&mut self) -> Result<(), ProveError> {
        self.wait("the platform is ready", |platform| platform.status().is_ok_and(|status| status.ready))
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
                let said = || ProveError::Start { reason: format!("it ended with {status} when asked to stop") };
                return if status.success() { Ok(()) } else { Err(said()) };
            }
            sleep(LOOK);
        }
        Err(ProveError::Late { what: "the platform has stopped".into(), patience_s: STOP_PATIENCE.as_secs() })
    }

    /// `kill -9` of the supervisor, which takes every role with it; waits until all are gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let roles: Vec<u32> = self.status().map_or_else(|_| Vec::new(), |status| pids(&status));
        // Nothing is left to do about a process that cannot be killed; its roles notice that it is gone.
        let _ = child.kill();
        let _ = child.wait();
        let began = Instant::now();
        while began.elapsed() < DEATH_PATIENCE && roles.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            sleep(LOOK);
        }
    }
}

impl Drop for Platform<'_> {
    fn drop(&mut self) {
        self.kill();
        let elsewhere = fs::read_link(Paths::near(&self.data()));
        if let Some(home) = self.home.take() {
            if self.session.keep {
                let kept = home.keep();
                self.session.say.note(&format!("kept {}", kept.display()));
                return;
            }
            // What cannot be removed is the system's temporary directory's to clean.
            let _ = home.close();
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

/// `kill -9`; whether there was such a process.
pub fn kill_now(raw: u32) -> bool {
    pid(raw).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().replace('\n', " / ")
}

fn last_words(file: &Path) -> String {
    let said = fs::read(file).unwrap_or_default();
    let from = said.len().saturating_sub(600);
    let words = text(&said[from..]);
    if words.is_empty() { "it said nothing".to_owned() } else { words }
}
