//! Asks the platform for every acknowledged order: there, equal, once.

mod findings;
mod orders;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use findings::Finding;
pub use findings::{VerifyProgress, VerifyReport};
use orders::{Checker, Source, Trouble, Verdict};

use crate::connection::Connection;
use crate::engine::on_own_runtime;
use crate::target::Target;
use crate::{LoadError, VerifyError};

/// Connections that ask in parallel.
const CONNECTIONS: usize = 16;

/// A verification.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Base address of the platform, `https://HOST[:PORT]`.
    pub url: String,
    /// PEM file of the authority that signed the platform's certificate.
    pub ca_file: PathBuf,
    /// File written by a run with acknowledgements.
    pub acks: PathBuf,
    /// How long the platform may fail to answer about one order before the verification gives up.
    pub patience: Duration,
    /// Set to end early; what was checked is still reported.
    pub stop: Arc<AtomicBool>,
}

impl Verify {
    /// A verification with the defaults of `zizon verify`.
    #[must_use]
    pub fn against(url: impl Into<String>, ca_file: impl Into<PathBuf>, acks: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            ca_file: ca_file.into(),
            acks: acks.into(),
            patience: Duration::from_secs(30),
            stop: Arc::default(),
        }
    }
}

/// Verifies and blocks until the report. `progress` is called each second. Memory: about 100 bytes
/// per acknowledged order.
///
/// # Errors
/// When the file cannot be read, or the platform does not answer. A missing, different or duplicate
/// order and a line that is no acknowledgement are no errors: they are in the report.
pub fn verify(verify: &Verify, progress: impl FnMut(&VerifyProgress) + Send) -> Result<VerifyReport, VerifyError> {
    on_own_runtime("verify", drive(verify, progress))?
}

struct State {
    source: Source,
    report: VerifyReport,
}

async fn drive(verify: &Verify, mut progress: impl FnMut(&VerifyProgress) + Send) -> Result<VerifyReport, VerifyError> {
    let target = Target::new(&verify.url, &verify.ca_file)?;
    let state = Arc::new(Mutex::new(State { source: Source::open(&verify.acks)?, report: VerifyReport::default() }));
    // A platform that restarts is worth waiting for; one with another certificate stays another one.
    if let Err(error) = Connection::open(&target).await
        && error.is_distrust()
    {
        return Err(error.at(&target).into());
    }
    let start = Instant::now();
    let trouble = Trouble::default();
    let mut askers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let checker = Checker::new(target.clone(), verify.patience, Arc::clone(&trouble));
        askers.spawn(ask(checker, state.clone(), verify.stop.clone()));
    }
    let mut ticker = tokio::time::interval(Duration::from_secs(1));
    ticker.tick().await;
    loop {
        tokio::select! {
            asker = askers.join_next() => match asker {
                Some(Ok(result)) => result?,
                Some(Err(panic)) => return Err(panicked(panic)),
                None => break,
            },
            _ = ticker.tick() => {
                let state = state.lock().await;
                let waiting = trouble.lock().clone();
                progress(&state.report.progress(start.elapsed(), state.source.fraction(), waiting));
            }
        }
    }
    let mut state = state.lock().await;
    let mut report = std::mem::take(&mut state.report);
    report.torn_last_line = state.source.torn();
    report.stopped_early = verify.stop.load(Ordering::Relaxed);
    Ok(report)
}

fn panicked(error: tokio::task::JoinError) -> VerifyError {
    VerifyError::Target(LoadError::Setup { what: "a verifying task", source: std::io::Error::other(error) })
}

/// Takes orders from the file and checks one at a time until there are none.
async fn ask(mut checker: Checker, state: Arc<Mutex<State>>, stop: Arc<AtomicBool>) -> Result<(), VerifyError> {
    while !stop.load(Ordering::Relaxed) {
        let next = {
            let State { source, report } = &mut *state.lock().await;
            source.next_order(report)?
        };
        let Some(ack) = next else { return Ok(()) };
        let verdict = checker.check(&ack).await?;
        let report = &mut state.lock().await.report;
        report.checked += 1;
        match verdict {
            Verdict::Equal => {}
            Verdict::Missing => report.note(Finding::Missing, ack.id),
            Verdict::Different => report.note(Finding::Different, ack.id),
            Verdict::Unreadable(status) => report.note(Finding::Unreadable, format!("{} (status {status})", ack.id)),
        }
    }
    Ok(())
}
