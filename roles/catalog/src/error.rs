//! Why the role ends.

use std::path::PathBuf;

use zizon_service::ServerError;
use zizon_table::{OpenError, ReadError, WriteError};

use zizon_base::config::ConfigError;

/// Why the role did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A configuration value is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table cannot be opened.
    #[error("the catalog's table cannot be opened")]
    Open(#[from] OpenError),
    /// The table cannot be read.
    #[error("the catalog's table cannot be read")]
    Read(#[from] ReadError),
    /// A stored product is not one.
    #[error("stored product {id} is damaged: {reason}; restore the catalog from a backup")]
    Damaged {
        /// Its id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a restore has left cannot be read.
    #[error("{file} cannot be used ({reason}); put it back as the restore made it, or restore again", file = file.display())]
    Restored {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The demo's products cannot be written.
    #[error("the demo's products cannot be written")]
    Seed(#[source] WriteError),
    /// The demo's files in this binary are not valid.
    #[error("demo file {file} is not valid")]
    Demo {
        /// Its name.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The task that keeps the shelf ended without saying why.
    #[error("the task that follows the table ended unexpectedly")]
    Follower,
    /// The listener cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
}
