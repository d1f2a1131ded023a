//! What can be wrong with certificates.

use std::io;
use std::path::PathBuf;

/// Why the public listener has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the local authority cannot be read or written.
    #[error("cannot {action} {file}; the data directory must be readable and writable", file = file.display())]
    AuthorityFile {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// Which one.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The local authority's files do not belong together, or one of them is damaged.
    #[error("{file} {problem}; remove it and start again to have a new authority written (clients must then trust the new ca.pem)", file = file.display())]
    Authority {
        /// Which one.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate could not be issued.
    #[error("a certificate for {hosts} cannot be issued; check the names given with --host")]
    Issue {
        /// The names it was for.
        hosts: String,
        /// What is wrong with them.
        #[source]
        source: rcgen::Error,
    },
    /// A configured file cannot be read.
    #[error("{key} {file} cannot be read; name a file that the edge may read", file = file.display())]
    Unreadable {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A configured file holds something else.
    #[error("{key} {file} {problem}; {remedy}", file = file.display())]
    Invalid {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The TLS stack refuses its own set-up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}
