//! Defects in the code itself, in a simulated world: what they do needs a loss of power, or attempts that overtake each other in
//! ways real processes show once in a blue moon. The shop's own start cannot make any of them.

use zizon_sim::{Flaw, Hunt, Progress};

use super::{Caught, Control, Missed};
use crate::ProveError;
use crate::session::Session;

/// Seeds to try; the rarest of these flaws shows within the first thousand.
const SEEDS: u64 = 5_000;

const FLAWS: [(Flaw, &str); 4] = [
    (Flaw::AcknowledgeEarly, "an order is acknowledged before it is on the disk"),
    (Flaw::NoNonce, "units are held in the order's name, not in the attempt's"),
    (Flaw::NoFence, "units are given back while their order may still be written"),
    (Flaw::NoHighWaterMark, "a reader of the feed does not know what it has taken already"),
];

/// Progress is told once in this many runs.
const TOLD_EVERY: u64 = 5;

/// One control for each flaw.
pub(super) fn all<'a>(session: &'a Session<'a>) -> Vec<Control<'a>> {
    let control = |(flaw, name): &(Flaw, &str)| {
        let flaw = *flaw;
        Control { name: (*name).to_owned(), run: Box::new(move || hunt(session, flaw, SEEDS)) }
    };
    FLAWS.iter().map(control).collect()
}

fn hunt(session: &Session<'_>, flaw: Flaw, seeds: u64) -> Result<Caught, Missed> {
    let progress = |Progress { done, of }: Progress| {
        if done.is_multiple_of(TOLD_EVERY) {
            session.say.progress(&format!("simulated run {done} of at most {of}"));
        }
        session.go_on().is_ok()
    };
    let (_, caught) = zizon_sim::sweep(&Hunt { flaw: Some(flaw), ..Hunt::sound(0..seeds) }, &progress);
    session.go_on().map_err(|stopped: ProveError| Missed::NotRun(stopped))?;
    match caught {
        Some(caught) => {
            Ok(Caught { by: format!("simulation, seed {}, step {}: {}", caught.seed, caught.steps, caught.violated) })
        }
        None => Err(Missed::Unnoticed { said: format!("every invariant held in {seeds} simulated runs") }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::session::Say;

    /// Stops the hunt when it first tells how far it is.
    #[derive(Default)]
    struct Impatient {
        stop: Arc<AtomicBool>,
        told: AtomicU64,
    }

    impl Say for Impatient {
        fn note(&self, _: &str) {}

        fn progress(&self, _: &str) {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_hunt_tells_how_far_it_is_and_can_be_stopped() {
        let say = Impatient::default();
        let session = Session { program: "zizon".into(), stop: Arc::clone(&say.stop), keep: false, seed: 1, say: &say };
        // The first five runs do not show it.
        let ended = hunt(&session, Flaw::NoFence, SEEDS);
        assert!(matches!(ended, Err(Missed::NotRun(ProveError::Stopped))), "{ended:?}");
        assert_eq!(say.told.load(Ordering::Relaxed), 1);
    }
}
