//! Asks the supervisor which role a process was started as.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zizon_contracts::supervisor::{MAX_LINE_BYTES, Request, WhoIsAnswer};

/// A supervisor that takes longer is as good as gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions at a time: a renewal makes every stream ask at once, and the supervisor turns away more than 256 conversations.
const QUESTIONS_MAX: usize = 32;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It cannot be reached.
    #[error("the supervisor cannot be reached")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the supervisor did not answer in time")]
    Silent,
    /// The socket is another user's.
    #[error("the supervisor's socket belongs to uid {0}")]
    Impostor(u32),
    /// Its answer makes no sense.
    #[error("the supervisor's answer is not understood")]
    Answer(#[from] serde_json::Error),
}

/// The supervisor of this platform. A connection per question: it outlives restarts of either side.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: PathBuf,
    questions: Semaphore,
}

impl Supervisor {
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), questions: Semaphore::new(QUESTIONS_MAX) }
    }

    pub(crate) async fn who_is(&self, pid: u32) -> Result<WhoIsAnswer, SupervisorError> {
        timeout(PATIENCE, self.ask(pid)).await.unwrap_or(Err(SupervisorError::Silent))
    }

    async fn ask(&self, pid: u32) -> Result<WhoIsAnswer, SupervisorError> {
        // Never closed; without a permit the question would be asked all the same.
        let _turn = self.questions.acquire().await;
        let mut stream = UnixStream::connect(&self.socket).await?;
        let uid = stream.peer_cred()?.uid();
        if uid != 0 && uid != rustix::process::getuid().as_raw() {
            return Err(SupervisorError::Impostor(uid));
        }
        let mut question = serde_json::to_vec(&Request::WhoIs { pid })?;
        question.push(b'\n');
        stream.write_all(&question).await?;
        let mut line = Vec::new();
        BufReader::new(stream).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}
