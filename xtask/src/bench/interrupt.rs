//! Ctrl-C and SIGTERM: noted, so that whoever waits gives up and cleans up behind itself.

use std::{
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// How often a waiting loop looks.
pub const TICK: Duration = Duration::from_millis(10);

static SEEN: AtomicBool = AtomicBool::new(false);
static INSTALLED: Once = Once::new();

/// From here on the signals no longer end the process; [`check`] does.
pub fn install() {
    INSTALLED.call_once(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a handler a signal ends the process, as it does everywhere: no reason not to measure.
        let Ok(runtime) = runtime else { return };
        let watch = async {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                SEEN.store(true, Ordering::Relaxed);
            }
        };
        let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || runtime.block_on(watch));
    });
}

/// Fails once the process was told to end.
pub fn check() -> Result<()> {
    if SEEN.load(Ordering::Relaxed) {
        bail!("interrupted; what was started is stopped and its files are removed");
    }
    Ok(())
}

/// Sleeps, unless the process is told to end.
pub fn sleep(duration: Duration) -> Result<()> {
    let until = Instant::now() + duration;
    loop {
        check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}
