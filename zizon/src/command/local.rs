//! Finding the platform of a data directory and asking its supervisor.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};
use zizon_contracts::{
    paths::{Paths, is_fit_base},
    supervisor::{MAX_LINE_BYTES, Request, StatusReport},
};

use crate::{exit::Failure, up::lock};

/// How long the supervisor may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where sockets go when the data directory's own path is not fit for them: this user's runtime directory, or the system's temporary one.
pub fn short_base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let fit = |base: &PathBuf| is_fit_base(base) && base.is_dir();
    runtime.into_iter().chain([std::env::temp_dir()]).find(fit).unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// The places of an existing data directory. Where its sockets are elsewhere, its platform left a link to them.
pub fn paths_of(data: &Path) -> Result<Paths> {
    let data = lock::data_dir(data, false)?;
    let near = Paths::near(&data);
    let run = std::fs::read_link(&near).unwrap_or(near);
    Ok(Paths::with_run(&data, &run))
}

/// Runs a future on a runtime of one thread.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Asks the supervisor of `paths` how every role is.
pub async fn report(paths: &Paths) -> Result<StatusReport> {
    ask(paths, &Request::Status).await
}

async fn ask<T: DeserializeOwned>(paths: &Paths, question: &Request) -> Result<T> {
    let socket = paths.supervisor_socket();
    let stream = UnixStream::connect(&socket).await.map_err(|_| not_running(paths))?;
    let owner = stream.peer_cred().map(|peer| peer.uid());
    let exchange = async {
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        // Whom it does not answer it hangs up on, perhaps before the question: only the answer counts.
        let asked = write.write_all(&line).await;
        let mut answer = Vec::new();
        let read = BufReader::new(read).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut answer).await;
        if answer.is_empty() {
            return Err(not_answered(owner.ok(), asked.and(read.map(drop))).into());
        }
        Ok(serde_json::from_slice(&answer)?)
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| {
        let message = format!("the supervisor at {} did not answer within {} s", socket.display(), PATIENCE.as_secs());
        Err(Failure::unknown(message, "look at its output, or restart it").into())
    })
}

fn not_answered(owner: Option<u32>, exchange: std::io::Result<()>) -> Failure {
    let own = rustix::process::getuid().as_raw();
    match owner {
        Some(owner) if owner != own && own != 0 => Failure::unknown(
            format!("this platform answers only the user that started it (uid {owner}) and root, not uid {own}"),
            if owner == 0 {
                "run the command as root: sudo zizon ...".to_owned()
            } else {
                format!("run the command as that user: sudo -u '#{owner}' zizon ...")
            },
        ),
        _ => {
            let why = exchange.err().map_or_else(String::new, |error| format!(": {error}"));
            Failure::unknown(format!("the supervisor hung up without an answer{why}"), "try again; it may be stopping")
        }
    }
}

fn not_running(paths: &Paths) -> Failure {
    let data = paths.data().display();
    Failure::unknown(
        format!("no platform runs on {data}"),
        format!("start it with zizon up --data {data}, or name another directory with --data"),
    )
}
