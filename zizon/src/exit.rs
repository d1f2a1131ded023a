//! Exit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration, 3 could not find out.

use std::{fmt, process::ExitCode};

/// The question was answered, and the answer is no.
pub const NO: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// It could not be found out (nothing listens, a timeout).
pub const UNKNOWN: u8 = 3;

/// An error with an exit code of its own and the way out.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What happened, where.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into(), remedy: remedy.into() }
    }

    /// Something that is needed is not there.
    pub fn unknown(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: UNKNOWN, message: message.into(), remedy: remedy.into() }
    }

    /// The platform refused.
    pub fn refused(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: NO, message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code an error asks for, 1 when it does not say.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.downcast_ref::<Failure>().map_or(NO, |failure| failure.code))
}
