//! One role's process: started, watched, started again.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use zizon_base::role::Role;
use zizon_contracts::{
    paths::Paths,
    supervisor::{RoleState, SOCKET_ENV, SUPERVISOR_PID_ENV},
};

use super::{listeners::Listeners, logfile::LogFile, notice::Notices, state::State, words};

/// The longest pause before another start.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// A life this long clears the memory of earlier deaths.
const HEALTHY_LIFE: Duration = Duration::from_secs(10);
/// How long the end of a log may take to be copied.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest log line that is kept whole.
const MAX_LOG_LINE: u64 = 64 * 1024;

/// Descriptor under which a role finds the configuration; behind those of the listeners.
const CONFIG_FD: i32 = 9;
/// Name of the file at that descriptor.
pub const CONFIG_FILE: &str = "/proc/self/fd/9";

/// What it takes to start one role.
#[derive(Debug)]
pub struct Recipe {
    /// The sockets it gets.
    pub listeners: Listeners,
    /// Arguments after `zizon run ROLE`.
    pub arguments: Vec<OsString>,
    /// The configuration as it was read and checked at the start, found by the role as [`CONFIG_FILE`].
    pub config: Option<Arc<OwnedFd>>,
    /// Where things are.
    pub paths: Paths,
}

/// Pauses between starts: none after the first death, then doubling.
#[derive(Debug, Default)]
struct Backoff {
    deaths: u32,
}

impl Backoff {
    fn pause_after(&mut self, life: Duration) -> Duration {
        if life >= HEALTHY_LIFE {
            self.deaths = 0;
        }
        self.deaths += 1;
        match self.deaths {
            1 => Duration::ZERO,
            deaths => MAX_PAUSE.min(Duration::from_millis(100) * 2u32.saturating_pow(deaths - 2)),
        }
    }
}

/// When a role ends.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The platform stops: a role that ends is not started again.
    pub platform: CancellationToken,
    /// This role's turn has come: it is asked to finish.
    pub role: CancellationToken,
    /// How long it may take to finish.
    pub grace: Duration,
}

/// Keeps the role running until it is stopped.
pub async fn keep(recipe: Recipe, state: Arc<State>, stop: Stop) {
    let role = recipe.listeners.role;
    let mut backoff = Backoff::default();
    let mut notices = Notices::new(role);
    while !stop.platform.is_cancelled() {
        let began = Instant::now();
        match start(&recipe) {
            Ok(child) => {
                let Some(status) = watch(role, child, &recipe, &state, &stop).await else { return };
                notices.ended(&state.died(role, &status));
            }
            Err(error) => notices.ended(&state.died(role, &format!("{error:#}"))),
        }
        let pause = backoff.pause_after(began.elapsed());
        tokio::select! {
            () = stop.platform.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    state.ended(role, RoleState::Stopped);
}

/// Watches one life. Returns how it ended when the role should be started again.
async fn watch(role: Role, mut child: Child, recipe: &Recipe, state: &State, stop: &Stop) -> Option<String> {
    let pid = child.id().unwrap_or(0);
    state.started(role, pid);
    let log = recipe.paths.log_file(role.name());
    let output = child.stderr.take();
    let copying = async {
        if let Some(output) = output {
            copy_log(output, log, |word| state.said(role, word)).await;
        }
    };
    let life = async {
        let ended = tokio::select! {
            ended = child.wait() => ended.map(|status| (status, true)),
            () = stop.role.cancelled() => {
                state.draining(role);
                signal(pid, Signal::TERM);
                match tokio::time::timeout(stop.grace, child.wait()).await {
                    Ok(ended) => ended.map(|status| (status, false)),
                    Err(_) => {
                        tracing::warn!(role = role.name(), pid, "killed a role that did not finish in time");
                        kill_and_wait(&mut child).await.map(|status| (status, false))
                    }
                }
            }
        };
        // At once, before the rest of the log is copied: the kernel may give the pid to somebody else from here on.
        let again = ended.as_ref().is_ok_and(|(_, again)| *again) && !stop.platform.is_cancelled();
        state.ended(role, if again { RoleState::Restarting } else { RoleState::Stopped });
        (ended, again)
    };
    let (ended, again) = with_log(life, copying).await;
    again.then(|| ended.map_or_else(|error| error.to_string(), |(status, _)| status.to_string()))
}

async fn kill_and_wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.kill().await?;
    child.wait().await
}

/// Runs a life beside the copying of its log, and gives the copying a moment for what is left at the end.
async fn with_log<T>(life: impl Future<Output = T>, copying: impl Future<Output = ()>) -> T {
    tokio::pin!(life, copying);
    let lived = tokio::select! {
        lived = &mut life => lived,
        () = &mut copying => return life.await,
    };
    // A disk that does not take the log must not hold up the next start.
    let _ = tokio::time::timeout(LAST_WORDS, copying).await;
    lived
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, signal);
    }
}

fn start(recipe: &Recipe) -> Result<Child> {
    let listeners = &recipe.listeners;
    let mut handed: Vec<OwnedFd> = vec![listeners.internal.try_clone()?.into()];
    if let Some(public) = &listeners.public {
        handed.push(public.try_clone()?.into());
    }
    let count = handed.len();
    let mut mappings: Vec<FdMapping> =
        (3..).zip(handed).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    if let Some(config) = &recipe.config {
        mappings.push(FdMapping { parent_fd: config.try_clone()?, child_fd: CONFIG_FD });
    }

    // The program that runs, not the file of its name: that one may have been replaced or removed since.
    let mut command = std::process::Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "zizon");
    command
        .arg("run")
        .arg(listeners.role.name())
        .args(&recipe.arguments)
        .env("LISTEN_FDS", count.to_string())
        .env_remove("LISTEN_PID")
        .env_remove("NOTIFY_SOCKET")
        .env("SPIFFE_ENDPOINT_SOCKET", format!("unix:{}", recipe.paths.workload_socket().display()))
        .env(SOCKET_ENV, recipe.paths.supervisor_socket())
        .env(SUPERVISOR_PID_ENV, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // A terminal's Ctrl-C goes to the whole group; roles drain in order, when the supervisor says so.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.fd_mappings(mappings).context("cannot hand the listeners over")?;
    Command::from(command).kill_on_drop(true).spawn().context("cannot start the role's process")
}

/// Copies a role's log to its file and hears what the supervisor passes on. A disk that is full costs log lines, never the role.
async fn copy_log(output: impl AsyncRead + Unpin, path: PathBuf, hear: impl Fn(words::Word)) {
    let mut reader = BufReader::new(output);
    let mut log = LogFile::open(&path).ok();
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LOG_LINE).read_until(b'\n', &mut line).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        if let Some(word) = words::heard(&line) {
            hear(word);
        }
        if let Some(log) = &mut log {
            let _ = log.write(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_no_pause_and_later_ones_at_most_two_seconds() {
        let mut backoff = Backoff::default();
        let short = Duration::from_millis(1);
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause_after(short).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.pause_after(HEALTHY_LIFE), Duration::ZERO);
    }
}
