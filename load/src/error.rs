//! What stops a run or a verification. A failed request is not here: it is counted.

use std::io;
use std::path::PathBuf;

/// Why a run did not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An option is out of its range.
    #[error("{what} {rule}")]
    Option {
        /// The option.
        what: &'static str,
        /// Its rule.
        rule: String,
    },
    /// The address is not one this client can speak to.
    #[error("`{url}` is not usable: {reason}")]
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The CA file cannot be used.
    #[error("no certificate authority in {file}: {reason}")]
    Ca {
        /// The file as given.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform could not be reached before the first request.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `HOST:PORT`.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The catalog does not sell the product.
    #[error("cannot order `{product}`: {reason}")]
    Product {
        /// The product asked for.
        product: String,
        /// What went wrong.
        reason: String,
    },
    /// The acknowledgement file cannot be written; what is not in it is not acknowledged.
    #[error("cannot write acknowledgements to {file}")]
    Acks {
        /// The file as given.
        file: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The machine refused a thread, a timer or randomness.
    #[error("cannot set up {what}")]
    Setup {
        /// What was refused.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl LoadError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Option { .. } => "the command with --help describes every option",
            Self::Url { .. } => "write it as https://HOST[:PORT]",
            Self::Ca { .. } => "give the ca.pem of the platform's data directory",
            Self::Connect { .. } => {
                "the name must resolve here and the platform must run there; name another address with --url https://HOST:PORT (its certificate must be for HOST) and its ca.pem with --ca"
            }
            Self::Product { .. } => "zizon product ls lists what can be ordered",
            Self::Acks { .. } => {
                "name a file in a directory that exists and has room; what is not in it is not acknowledged"
            }
            Self::Setup { .. } => "raise the limits of this process (ulimit -a), or ask for fewer connections",
        }
    }
}

impl VerifyError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Target(error) => error.help(),
            Self::Read { .. } => "name the file that zizon load orders --acks wrote",
            Self::Line { .. } => "something else than the generator has changed the file",
            Self::Unavailable { .. } => "verify again when the platform is ready; zizon status says how it is",
        }
    }
}

/// Why a verification could not be carried through. What it finds is in the report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The platform cannot be reached as asked.
    #[error(transparent)]
    Target(#[from] LoadError),
    /// The acknowledgement file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file as given.
        file: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A line is not an acknowledgement.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// The file as given.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform did not answer for long enough to give up.
    #[error("no answer about {id} within {patience_s} s: {reason}")]
    Unavailable {
        /// The order asked for.
        id: String,
        /// How long it was tried, in seconds.
        patience_s: u64,
        /// The last failure.
        reason: String,
    },
}
