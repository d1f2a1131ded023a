//! Why the role ends.

use std::io;
use std::path::PathBuf;

use zizon_service::{ContextError, ServerError};
use zizon_table::OpenError;

use crate::execute::ExecuteError;
use crate::keyring::KeyringError;
use crate::prices::store::StoreError;
use crate::stock::operator::StockError;
use zizon_base::config::ConfigError;

/// Why the role did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A configuration value is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret is missing although what depends on it is there.
    #[error(
        "{file} is missing, but {depends} exists and cannot be used without it; restore the file from a backup",
        file = file.display(), depends = depends.display()
    )]
    KeyMissing {
        /// The secret.
        file: PathBuf,
        /// What depends on it.
        depends: PathBuf,
    },
    /// A secret is not the one that what is stored was made with.
    #[error(
        "{file} is not the key this journal was begun with; restore that one from a backup (with another, retries would make second orders and \
         personal data could not be read)",
        file = file.display()
    )]
    KeyOther {
        /// The secret.
        file: PathBuf,
    },
    /// The check values of the secrets cannot be read or written.
    #[error("the check values of the keys cannot be used")]
    KeyCheck(#[source] ExecuteError),
    /// A secret cannot be read or made.
    #[error("the key file {file} cannot be used", file = file.display())]
    KeyFile {
        /// The secret.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A secret is not 64 hexadecimal digits.
    #[error("the key file {file} does not hold 64 hexadecimal digits; restore it from a backup", file = file.display())]
    KeyFormat {
        /// The secret.
        file: PathBuf,
    },
    /// The file of users' keys cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The table cannot be opened.
    #[error("the table of orders cannot be opened")]
    Open(#[from] OpenError),
    /// The copy of the catalog cannot be read.
    #[error(transparent)]
    Prices(#[from] StoreError),
    /// The demonstration's stock cannot be written.
    #[error("the stock of the demonstration cannot be written")]
    Seed(#[source] StockError),
    /// A reader of the feed cannot begin.
    #[error("the feed of the table cannot be read")]
    Feed(#[from] ExecuteError),
    /// The address of catalog is not known.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The listener cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The storage has stopped: nothing can be acknowledged any more.
    #[error("the storage has stopped; the role ends so that it is opened again")]
    StorageFailed,
}
