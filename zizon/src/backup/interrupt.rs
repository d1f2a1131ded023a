//! Ctrl-C, SIGTERM and a closed terminal: what was begun is put away before the process ends.

use std::{
    io,
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

use crate::{
    exit::{self, Failure},
    up::Hangup,
};

/// How long work that looks at [`Interrupt::check`] has to put things away itself.
const PATIENCE: Duration = Duration::from_millis(500);
/// Attempts to remove a directory in which files are still being made.
const ATTEMPTS: u32 = 20;

/// How far the command is.
#[derive(Debug)]
enum Stage {
    /// Nothing that counts has been changed. The directory named is removed when the command is interrupted.
    Working(Option<PathBuf>),
    /// What was asked for is done.
    Done,
}

/// Whether somebody wants the command to end.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    stage: Arc<Mutex<Stage>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { asked: Arc::default(), stage: Arc::new(Mutex::new(Stage::Working(None))) }
    }
}

impl Interrupt {
    /// Listens from here on.
    pub fn listen() -> Result<Self> {
        let this = Self::default();
        let heard = this.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, Hangup::new()?)
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = hangup.recv() => {}
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
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Working(_)) {
            *stage = Stage::Working(dir.map(Path::to_owned));
        }
    }

    /// An error once somebody has asked, unless that was too late.
    pub fn check(&self) -> Result<()> {
        if self.asked.load(Relaxed) && matches!(*self.stage.lock(), Stage::Working(_)) {
            Err(interrupted())
        } else {
            Ok(())
        }
    }

    /// Takes the one step that makes what was done count. An interruption comes before it, and nothing is changed; or after it, and the
    /// command goes on to its end.
    pub fn commit<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut stage = self.stage.lock();
        if self.asked.load(Relaxed) {
            return Err(interrupted());
        }
        let done = step()?;
        *stage = Stage::Done;
        Ok(done)
    }

    /// Ends the process in the middle of work that does not look.
    fn end(&self) {
        // Held to the end: no step is taken any more.
        let stage = self.stage.lock();
        let Stage::Working(unfinished) = &*stage else { return };
        match unfinished.as_deref().map(remove) {
            None | Some(Ok(())) => crate::output::print_error(&interrupted()),
            Some(Err(failure)) => crate::output::print_error(&failure.into()),
        }
        std::process::exit(i32::from(exit::UNKNOWN));
    }
}

fn interrupted() -> anyhow::Error {
    Failure::unknown("interrupted; nothing was changed", "run the command again").into()
}

/// Removes a directory in which files may still be made.
fn remove(dir: &Path) -> Result<(), Failure> {
    let mut attempt = 1;
    loop {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if attempt == ATTEMPTS {
                    let message = format!("interrupted; {} was not removed: {error}", dir.display());
                    return Err(Failure::unknown(message, "remove it: it holds keys; the next restore there does"));
                }
            }
            _ => return Ok(()),
        }
        attempt += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_comes_before_the_step_that_counts_or_after_it() {
        let interrupt = Interrupt::default();
        let heard = interrupt.clone();
        let was_asked = interrupt.commit(|| Ok(heard.asked.swap(true, Relaxed))).unwrap();
        assert!(!was_asked);
        // Too late: the command goes on, and `end` does not end this process.
        interrupt.check().unwrap();
        interrupt.end();

        let interrupt = Interrupt::default();
        interrupt.asked.store(true, Relaxed);
        assert!(interrupt.check().is_err());
        let mut taken = false;
        let step = || {
            taken = true;
            Ok(())
        };
        assert!(interrupt.commit(step).is_err());
        assert!(!taken);
    }

    #[test]
    fn a_step_that_fails_does_not_count() {
        let interrupt = Interrupt::default();
        assert!(interrupt.commit(|| -> Result<()> { anyhow::bail!("no room") }).is_err());
        interrupt.asked.store(true, Relaxed);
        assert!(interrupt.check().is_err());
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("x")).unwrap();
        remove(&dir.path().join("x")).unwrap();
        remove(&dir.path().join("x")).unwrap();
        std::fs::write(dir.path().join("y"), "no directory").unwrap();
        let failure = remove(&dir.path().join("y")).unwrap_err();
        assert!(failure.message.contains("/y was not removed"), "{}", failure.message);
    }
}
