//! Defects in the code itself, in a simulated world: what they do needs a loss of power, or attempts that overtake each other in
//! ways real processes show once in a blue moon. The shop's own start cannot make any of them.

use zizon_sim::Flaw;

use super::{Caught, Control, Missed};

/// Seeds to try; the rarest of these flaws shows within the first thousand.
const SEEDS: u64 = 5_000;

const FLAWS: [(Flaw, &str); 4] = [
    (Flaw::AcknowledgeEarly, "an order is acknowledged before it is on the disk"),
    (Flaw::NoNonce, "units are held in the order's name, not in the attempt's"),
    (Flaw::NoFence, "units are given back while their order may still be written"),
    (Flaw::NoHighWaterMark, "a reader of the feed does not know what it has taken already"),
];

/// One control for each flaw.
pub(super) fn all<'a>() -> Vec<Control<'a>> {
    FLAWS.iter().map(|(flaw, name)| Control { name: (*name).to_owned(), run: Box::new(|| hunt(*flaw)) }).collect()
}

fn hunt(flaw: Flaw) -> Result<Caught, Missed> {
    match zizon_sim::hunt(flaw, 0..SEEDS) {
        Some(caught) => {
            Ok(Caught { by: format!("simulation, seed {}, step {}: {}", caught.seed, caught.steps, caught.violated) })
        }
        None => Err(Missed::Unnoticed { said: format!("every invariant held in {SEEDS} simulated runs") }),
    }
}
