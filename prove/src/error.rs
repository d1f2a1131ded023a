//! Why a proof could not be carried through. What a proof finds is in its checks, not here.

use std::io;
use std::path::PathBuf;

use zizon_load::{LoadError, VerifyError};

/// Why a proof could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// A size that proves nothing, or more than this is built for.
    #[error("{what}")]
    Size {
        /// Which, and why not.
        what: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Stopped by Ctrl-C or a signal.
    #[error("stopped before the end: nothing was decided")]
    Stopped,
    /// The platform under proof did not start.
    #[error("the platform under proof did not start: {reason}")]
    Start {
        /// What it said last.
        reason: String,
    },
    /// The platform under proof runs no more, or a role of it does not come back.
    #[error("{what}; {said}")]
    Down {
        /// What did not happen.
        what: String,
        /// What its log says last.
        said: String,
    },
    /// The platform under proof did not stop in order.
    #[error("the platform under proof did not stop in order: it ended with {status}")]
    Stop {
        /// Its exit.
        status: String,
    },
    /// Something the proof needs did not happen in time.
    #[error("waited {patience_s} s: {what}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        patience_s: u64,
    },
    /// A command against the platform under proof gave no answer.
    #[error("zizon {command}: {reason}")]
    Command {
        /// Its arguments.
        command: String,
        /// What it said.
        reason: String,
    },
    /// A file or a process could not be made, read or ended.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The report cannot be written where it was asked for.
    #[error("cannot write the report to {}: {source}", file.display())]
    Report {
        /// The file as given.
        file: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The generator, or an address or product given to it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The verification could not be carried through.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl ProveError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Size { remedy, .. } => remedy,
            Self::Stopped => "run it again and let it end; what it had started is ended and removed",
            Self::Start { .. } => {
                "zizon up --demo in an empty directory says more; the directory that was kept has its logs"
            }
            Self::Down { .. } | Self::Stop { .. } => "the directory that was kept has its files and its logs",
            Self::Late { .. } | Self::Command { .. } => {
                "the machine may be too busy: run it again; the directory that was kept has the platform's logs"
            }
            Self::System { .. } => {
                "the temporary directory (TMPDIR) must be writable and have room; limits are shown by ulimit -a"
            }
            Self::Report { .. } => "name a file in a directory that exists and that you may write to",
            Self::Load(error) => error.help(),
            Self::Verify(error) => error.help(),
        }
    }

    /// Wraps what the system refused.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
