//! Ctrl-C and SIGTERM: what was begun is put away before the process ends.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{self, Failure};

/// How long work that looks at [`Interrupt::check`] has to put things away itself.
const PATIENCE: Duration = Duration::from_millis(500);
/// Attempts to remove a directory in which files are still being made.
const ATTEMPTS: u32 = 20;

/// Whether somebody wants the command to end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Removed when the command is interrupted.
    unfinished: Arc<Mutex<Option<PathBuf>>>,
}

impl Interrupt {
    /// Listens from here on.
    pub fn listen() -> Result<Self> {
        let this = Self::default();
        let heard = this.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            heard.asked.store(true, Relaxed);
            std::thread::sleep(PATIENCE);
            heard.end();
        })?;
        Ok(this)
    }

    /// Names a directory that must not stay when the command is interrupted; `None` when there is none any more.
    pub fn unfinished(&self, dir: Option<&Path>) {
        *self.unfinished.lock() = dir.map(Path::to_owned);
    }

    /// An error once somebody has asked.
    pub fn check(&self) -> Result<()> {
        if !self.asked.load(Relaxed) {
            return Ok(());
        }
        Err(Failure::unknown("interrupted; nothing was changed", "run the command again").into())
    }

    /// Ends the process in the middle of work that does not look.
    fn end(&self) {
        // Held to the end: what is finished in this moment stays.
        let unfinished = self.unfinished.lock();
        if let Some(dir) = &*unfinished {
            for _ in 0..ATTEMPTS {
                if std::fs::remove_dir_all(dir).is_ok() || !dir.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        crate::output::error_line("interrupted; nothing was changed");
        std::process::exit(i32::from(exit::UNKNOWN));
    }
}
