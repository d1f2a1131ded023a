//! An opening that takes long says in the log how far it is.

use std::time::{Duration, Instant};

use super::OpenProgress;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// A progress callback that writes a line per second, from the second second on. The `starting` field is for people.
pub fn log_progress() -> impl FnMut(OpenProgress) {
    let mut last = Instant::now();
    move |progress| {
        if last.elapsed() >= EVERY {
            last = Instant::now();
            let OpenProgress { rebuild, seq, last } = progress;
            tracing::info!(position = seq, last, rebuild, starting = words(progress), "reading the journal");
        }
    }
}

fn words(progress: OpenProgress) -> String {
    let percent = progress.seq.saturating_mul(100).checked_div(progress.last).unwrap_or(100);
    let doing = if progress.rebuild { "rebuilding the index from the journal" } else { "catching up with the journal" };
    format!("{doing}, {percent} % of {} plans", progress.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_done_is_said() {
        let said = words(OpenProgress { rebuild: true, seq: 430, last: 1000 });
        assert_eq!(said, "rebuilding the index from the journal, 43 % of 1000 plans");
        assert!(words(OpenProgress { rebuild: false, seq: 0, last: 0 }).contains("100 %"));
    }
}
