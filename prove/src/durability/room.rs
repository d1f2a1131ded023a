//! Whether a run has room on the disk.

use std::path::Path;

use zizon_load::Rate;

use super::Durability;
use crate::ProveError;

/// What a run takes of the disk for each order: its line in the client's record, its frame in the journal, and two indexes, the second
/// for the check; measured 700 bytes, and some to spare.
const BYTES_PER_ORDER: f64 = 1_000.0;
/// What a platform takes before its first order.
const BYTES_AT_FIRST: f64 = 400e6;
/// How long a kill and what follows it takes.
const SECONDS_PER_KILL: f64 = 1.5;
/// The most orders per second that a run without a rate of its own is expected to make.
const RATE_MAX: f64 = 20_000.0;

impl Durability {
    /// Whether what it will write has room: hours of work are not to end in a full disk.
    ///
    /// # Errors
    /// [`ProveError::Size`].
    pub fn check_room(&self, dir: &Path) -> Result<(), ProveError> {
        let found = rustix::fs::statvfs(dir)
            .map_err(|error| ProveError::system("look at the temporary directory")(error.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let needed = self.bytes();
        #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
        let free = free as f64;
        if needed <= free {
            return Ok(());
        }
        let what = format!(
            "--kills {}: that many take up to {:.1} GB, and {:.1} GB are free in {}",
            self.kills,
            needed / 1e9,
            free / 1e9,
            dir.display()
        );
        let remedy = "write fewer, or a lower --rate; or name a disk with room in the environment: TMPDIR=/path";
        Err(ProveError::Size { what, remedy })
    }

    /// What it takes of the disk at most.
    fn bytes(&self) -> f64 {
        let rate = match self.rate {
            Rate::PerSecond(rate) => rate.min(RATE_MAX),
            Rate::Max => RATE_MAX,
        };
        BYTES_AT_FIRST + f64::from(self.kills) * SECONDS_PER_KILL * rate * BYTES_PER_ORDER
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::durability::KILLS_MAX;

    #[test]
    fn a_run_that_would_fill_the_disk_is_refused_before_it_starts() {
        let sizes = |kills, rate| Durability { kills, rate, duration: Duration::from_secs(1), product: None };
        let here = std::env::temp_dir();
        sizes(1, Rate::PerSecond(1.0)).check_room(&here).unwrap();
        let (slow, fast) = (sizes(100, Rate::PerSecond(10.0)), sizes(100, Rate::Max));
        assert!(fast.bytes() > 7.0 * slow.bytes(), "{} and {}", fast.bytes(), slow.bytes());
        let tiny = sizes(KILLS_MAX * 1_000, Rate::Max).check_room(&here).unwrap_err();
        assert!(tiny.to_string().contains("GB are free in"), "{tiny}");
        assert!(tiny.help().contains("--rate") && tiny.help().contains("TMPDIR"));
    }
}
