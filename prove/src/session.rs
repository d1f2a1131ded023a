//! What every proof of one command shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ProveError;

/// Where a proof tells how far it is.
pub trait Say: Sync {
    /// A step has begun or ended: one calm line.
    fn note(&self, text: &str);
    /// How far it is: replaces the progress before it.
    fn progress(&self, text: &str);
}

/// What every proof of one command shares.
pub struct Session<'a> {
    /// The binary under proof: the one that runs.
    pub program: PathBuf,
    /// Set by Ctrl-C and signals; every wait looks at it.
    pub stop: Arc<AtomicBool>,
    /// Leave the platforms' directories for people to look at.
    pub keep: bool,
    /// Where all random choices come from.
    pub seed: u64,
    /// Where to tell how far it is.
    pub say: &'a dyn Say,
}

impl Session<'_> {
    /// Fails once the proof has been stopped.
    ///
    /// # Errors
    /// [`ProveError::Stopped`].
    pub fn go_on(&self) -> Result<(), ProveError> {
        if self.stop.load(Ordering::Relaxed) { Err(ProveError::Stopped) } else { Ok(()) }
    }
}

/// A running platform that is not the proof's own: it is only ordered from.
#[derive(Debug, Clone)]
pub struct Running {
    /// Base address, `https://HOST[:PORT]`.
    pub url: String,
    /// PEM file of the authority to trust.
    pub ca_file: PathBuf,
}

/// Ends what looks at it, also when what it serves fails or panics.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
