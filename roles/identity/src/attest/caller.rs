//! The process at the other end of a connection, pinned so that its pid cannot come to mean another one.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// Why a peer cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The kernel does not say who connected.
    #[error("the kernel does not name the peer")]
    Credentials(#[source] rustix::io::Errno),
    /// It has ended already.
    #[error("the peer has ended")]
    Gone,
    /// No pidfd could be had.
    #[error("the peer's process cannot be held")]
    Pidfd(#[source] std::io::Error),
}

/// The process that opened a connection.
#[derive(Debug)]
pub(crate) struct Caller {
    /// As of the moment it connected.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pidfd: AsyncFd<OwnedFd>,
    /// Ends the connection.
    pub(crate) dismissed: CancellationToken,
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    /// Clock ticks since boot; with the pid it names a process for good.
    pub(crate) start_ticks: u64,
    /// Its executable, where this process may see it. For the audit only: a path proves nothing.
    pub(crate) exe: Option<String>,
}

impl Caller {
    /// Asks the kernel who connected, and holds that process.
    ///
    /// # Errors
    /// The peer has ended, or the kernel cannot say who it is.
    pub(crate) fn of(stream: &UnixStream) -> Result<Arc<Self>, CallerError> {
        let credentials = socket_peercred(stream).map_err(CallerError::Credentials)?;
        let pidfd = peer_pidfd(stream, credentials.pid)?;
        let pidfd = watch(pidfd).map_err(CallerError::Pidfd)?;
        let caller = Self {
            pid: u32::try_from(credentials.pid.as_raw_nonzero().get()).map_err(|_| CallerError::Gone)?,
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
            pidfd,
            dismissed: CancellationToken::new(),
        };
        if caller.alive() { Ok(Arc::new(caller)) } else { Err(CallerError::Gone) }
    }

    /// Whether it still runs; while it does, its pid means this process and no other.
    pub(crate) fn alive(&self) -> bool {
        let mut ended = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        matches!(poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Resolves when it has ended.
    pub(crate) async fn ended(&self) {
        // The guard is never cleared: an ended process stays ended. An error means the reactor is gone, and with it every stream.
        let _ = self.pidfd.readable().await;
    }

    /// Reads `/proc`. Only worth something if [`Caller::alive`] holds afterwards.
    pub(crate) fn facts(&self) -> Option<ProcessFacts> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid)).ok();
        Some(ProcessFacts {
            start_ticks: start_ticks(&stat)?,
            exe: exe.map(|path| path.to_string_lossy().into_owned()),
        })
    }
}

#[expect(
    deprecated,
    reason = "the constructor meant instead is unsafe for types that may lie about their descriptor; OwnedFd cannot"
)]
fn watch(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// SO_PEERPIDFD (Linux 6.5) names the process that connected, whatever has become of its pid. Without it, a process that takes the pid
/// between connecting and this call would be taken for the peer.
fn peer_pidfd(stream: &UnixStream, pid: rustix::process::Pid) -> Result<OwnedFd, CallerError> {
    match getsockopt(&stream.as_fd(), PeerPidfd) {
        Ok(pidfd) => Ok(pidfd),
        Err(Errno::ESRCH | Errno::EINVAL | Errno::ENODATA) => Err(CallerError::Gone),
        Err(Errno::ENOPROTOOPT) => match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Ok(pidfd),
            Err(rustix::io::Errno::SRCH) => Err(CallerError::Gone),
            Err(error) => Err(CallerError::Pidfd(error.into())),
        },
        Err(error) => Err(CallerError::Pidfd(error.into())),
    }
}

/// Field 22 of `/proc/PID/stat` (proc(5)). The second field, the command's name, may hold spaces and parentheses.
fn start_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_process_calls_itself() {
        let stat = "7 (a) R ) 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 98765 1000 1 18446744073709551615";
        assert_eq!(start_ticks(stat), Some(98765));
        assert_eq!(start_ticks("7 (a"), None);
        assert_eq!(start_ticks(""), None);
    }

    #[tokio::test]
    async fn a_peer_is_its_pid_uid_and_executable() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let _client = UnixStream::connect(directory.path().join("s")).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let caller = Caller::of(&stream).unwrap();
        assert_eq!(caller.pid, std::process::id());
        assert_eq!(caller.uid, rustix::process::getuid().as_raw());
        let facts = caller.facts().unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(facts.exe.as_deref(), exe.to_str());
        assert!(facts.start_ticks > 0 && caller.alive());
    }

    /// A process connects, leaves its socket to a child and ends: the connection lives on, its opener does not.
    #[tokio::test]
    async fn a_connection_left_to_a_child_is_refused_once_its_opener_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let script = "import os,socket,sys,time\n\
                      s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
                      sys.stdin.readline()\n\
                      if os.fork(): os._exit(0)\n\
                      sys.stdin.readline()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&path).stdin(Stdio::piped()).process_group(0);
        let Ok(mut opener) = command.spawn() else {
            println!("NOT RUN: python3 is not there to leave a socket to a child");
            return;
        };
        let (stream, _) = listener.accept().await.unwrap();
        let caller = Caller::of(&stream).unwrap();
        assert!(caller.alive() && caller.facts().is_some());
        std::io::Write::write_all(opener.stdin.as_mut().unwrap(), b"\n").unwrap();
        tokio::time::timeout(Duration::from_secs(10), caller.ended()).await.unwrap();
        opener.wait().unwrap();
        assert!(!caller.alive());
        assert!(matches!(Caller::of(&stream), Err(CallerError::Gone)));
    }
}
