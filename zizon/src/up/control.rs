//! The supervisor's own socket: how every role is, and which role a process is.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use zizon_contracts::supervisor::{MAX_LINE_BYTES, Request};

use super::state::State;

/// Conversations at a time; more are turned away.
const MAX_CONNECTIONS: usize = 256;
/// How long a silent client is kept.
const PATIENCE: Duration = Duration::from_secs(30);

/// Binds a unix socket at `path`, replacing what a dead supervisor left.
pub fn bind(path: &Path, mode: u32) -> Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Answers until `stop`.
pub async fn serve(listener: UnixListener, state: Arc<State>, stop: CancellationToken) {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = conversations.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                if conversations.len() < MAX_CONNECTIONS && allowed(&stream, state.operator_uid()) {
                    conversations.spawn(converse(stream, Arc::clone(&state)));
                }
            }
        }
    }
}

fn allowed(stream: &UnixStream, operator_uid: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == operator_uid || peer.uid() == 0)
}

async fn converse(stream: UnixStream, state: Arc<State>) {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES as u64);
        match timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(read)) if read > 0 && line.ends_with(b"\n") => {}
            _ => return,
        }
        let Some(mut answer) = answer(&line, &state) else { return };
        answer.push(b'\n');
        if write.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(line: &[u8], state: &State) -> Option<Vec<u8>> {
    match serde_json::from_slice::<Request>(line).ok()? {
        Request::Status => serde_json::to_vec(&state.report()).ok(),
        Request::WhoIs { pid } => serde_json::to_vec(&state.who_is(pid)).ok(),
    }
}
