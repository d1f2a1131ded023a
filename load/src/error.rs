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
    #[error("`{url}` is not usable: {reason}; expected https://HOST[:PORT]")]
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The CA file cannot be used.
    #[error("no certificate authority in {file}: {reason}; give the `ca.pem` of the platform's data directory")]
    Ca {
        /// The file as given.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform could not be reached before the first request.
    #[error("cannot connect to {address}: {reason}; is the platform running there, and is the CA file its own?")]
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
    #[error("{file}:{line}: {reason}; the file was changed by something else than the generator")]
    Line {
        /// The file as given.
        file: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The platform did not answer for long enough to give up.
    #[error("no answer about {id} within {patience_s} s: {reason}; verify again when the platform is ready")]
    Unavailable {
        /// The order asked for.
        id: String,
        /// How long it was tried, in seconds.
        patience_s: u64,
        /// The last failure.
        reason: String,
    },
}
