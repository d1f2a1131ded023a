//! The unix socket: bound for everybody on this machine, because attestation and not file permissions decides who gets what.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::attest::Caller;
use crate::limits::{Limits, Permit};
use crate::stats::Stats;

/// Pause after the kernel refused to accept (out of descriptors): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("another issuer serves {path}; stop it first", path = .0.display())]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{path} is not a socket; remove it or choose another path", path = .0.display())]
    NotASocket(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Binds `path` (mode 0777), making its directory (0755) if need be and replacing what a dead issuer left.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |action, at: &Path| {
        let path = at.to_owned();
        move |source| SocketError::Io { action, path, source }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed("make", directory))?;
        // The mask of this process must not hide the socket from workloads.
        fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(failed("open up", directory))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) if StdUnixStream::connect(path).is_ok() => return Err(SocketError::InUse(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed("replace", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed("listen on", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(failed("open up", path))?;
    Ok(listener)
}

/// Connections of one uid other than the issuer's own: a stranger must not be able to take them all.
const CONNECTIONS_OF_STRANGER_MAX: u32 = 256;

/// A connection with the process that opened it.
///
/// This is also the place for an adapter that repairs the `:authority` of gRPC clients which send the socket's path there (gRPC core,
/// grpc-java): h2 refuses those before any service sees them.
pub(crate) struct Connection {
    stream: UnixStream,
    caller: Arc<Caller>,
    dismissed: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: Slot,
}

/// The right to one connection, in total and of a stranger.
type Slot = (Permit, Option<Permit>);

/// Accepts forever. At most `connections_max` are open at a time; further ones are closed unheard, so that nobody can make the others
/// wait.
pub(crate) fn connections(
    listener: UnixListener,
    connections_max: u32,
    stats: Arc<Stats>,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let acceptor = Acceptor {
        listener,
        all: Limits::new(connections_max, connections_max),
        strangers: Limits::new(CONNECTIONS_OF_STRANGER_MAX, connections_max),
        own_uid: rustix::process::getuid().as_raw(),
        stats,
    };
    unfold(acceptor, async |acceptor| {
        let connection = acceptor.next().await;
        Some((Ok(connection), acceptor))
    })
}

struct Acceptor {
    listener: UnixListener,
    all: Arc<Limits>,
    strangers: Arc<Limits>,
    own_uid: u32,
    stats: Arc<Stats>,
}

impl Acceptor {
    async fn next(&self) -> Connection {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let admitted = Caller::of(&stream).ok().and_then(|caller| Some((self.slot(caller.uid)?, caller)));
            let Some((slot, caller)) = admitted else {
                self.stats.refused_connection();
                continue;
            };
            let dismissed = Box::pin(caller.dismissed.clone().cancelled_owned());
            return Connection { stream, caller, dismissed, _slot: slot };
        }
    }

    fn slot(&self, uid: u32) -> Option<Slot> {
        let of_stranger = if uid == self.own_uid { None } else { Some(self.strangers.acquire(uid).ok()?) };
        Some((self.all.acquire(uid).ok()?, of_stranger))
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.dismissed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_open_to_everybody_and_a_dead_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run").join("workload.sock");
        drop(bind(&path).unwrap());
        let _listener = bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o777, 0o755));
    }

    #[tokio::test]
    async fn a_stranger_gets_a_part_of_the_connections_and_the_issuers_own_user_all() {
        let directory = tempfile::tempdir().unwrap();
        let acceptor = Acceptor {
            listener: bind(&directory.path().join("s")).unwrap(),
            all: Limits::new(300, 300),
            strangers: Limits::new(CONNECTIONS_OF_STRANGER_MAX, 300),
            own_uid: 1000,
            stats: Arc::new(Stats::new(&zizon_telemetry::Metrics::new())),
        };
        let of_stranger: Vec<_> = (0..400).filter_map(|_| acceptor.slot(1001)).collect();
        assert_eq!(of_stranger.len(), 256);
        assert_eq!((0..400).map_while(|_| acceptor.slot(1000)).map(std::mem::forget).count(), 44);
    }

    #[tokio::test]
    async fn a_live_socket_and_a_file_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(SocketError::InUse(_))));
        let file = directory.path().join("f");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(bind(&file), Err(SocketError::NotASocket(_))));
        assert!(file.exists());
    }
}
