//! Whether a soak is flat: the first third of its steady time against the last.

use anyhow::{Result, bail};

use super::ROLES;
use crate::bench::{
    figure::{Figure, Goal, median},
    shown,
};

/// What was seen at one moment. Vectors have a value for each of [`ROLES`].
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Seconds since the load began.
    pub at_s: f64,
    /// Orders per second, of the last seconds.
    pub rate: f64,
    /// Median of the seconds' medians.
    pub p50_ms: f64,
    /// Median of the seconds' 99th percentiles.
    pub p99_ms: f64,
    /// Resident memory.
    pub memory_mb: Vec<f64>,
    /// Open descriptors.
    pub descriptors: Vec<f64>,
    /// Threads.
    pub threads: Vec<f64>,
    /// Bytes of the data directory.
    pub disk_bytes: f64,
    /// Orders made since the platform started.
    pub created: f64,
    /// Orders expired since then.
    pub expired: f64,
    /// How long the oldest order that should be expired has been waiting.
    pub lag_s: f64,
    /// Units held for orders of the product that is ordered.
    pub held: f64,
}

impl Sample {
    /// One line for people.
    pub fn line(&self) -> String {
        let memory: Vec<String> = self.memory_mb.iter().map(|mb| format!("{mb:.0}")).collect();
        let open: f64 = self.descriptors.iter().sum();
        format!(
            "{:>5.0} s  {:>7}/s  p50 {:>5} ms  p99 {:>6} ms  {} MB  {open:.0} fds  {:>6.0} MB disk  held {}  expired {}  lag {} s",
            self.at_s,
            shown(self.rate),
            shown(self.p50_ms),
            shown(self.p99_ms),
            memory.join("/"),
            self.disk_bytes / 1e6,
            shown(self.held),
            shown(self.expired),
            shown(self.lag_s)
        )
    }
}

/// First and last third of the steady samples.
pub struct Thirds {
    first: Vec<Sample>,
    last: Vec<Sample>,
}

/// What counts as flat.
const RATE: f64 = 0.95;
const LATENCY: (f64, f64) = (1.25, 0.5);
const MEMORY: (f64, f64) = (1.10, 8.0);
const DESCRIPTORS: f64 = 8.0;
const THREADS: f64 = 1.0;
const DISK: f64 = 1.15;
/// Files grow and go in pieces of 64 MB: two of them either way say nothing.
const DISK_STEPS: f64 = 134e6;
const LAG_S: f64 = 5.0;

impl Thirds {
    /// Of the samples from `steady` seconds on.
    ///
    /// # Errors
    /// There are fewer than six of them.
    pub fn of(samples: &[Sample], steady: f64) -> Result<Self> {
        let kept: Vec<&Sample> = samples.iter().filter(|sample| sample.at_s >= steady).collect();
        let third = kept.len() / 3;
        if third < 2 {
            bail!(
                "{} samples after the first {steady:.0} s: too few to compare thirds; more --minutes, or a shorter --ttl \
                 or --every",
                kept.len()
            );
        }
        let copy = |part: &[&Sample]| part.iter().map(|&sample| sample.clone()).collect();
        Ok(Self { first: copy(&kept[..third]), last: copy(&kept[kept.len() - third..]) })
    }

    fn both(&self, read: impl Fn(&Sample) -> f64) -> (f64, f64) {
        let middle = |part: &[Sample]| median(&part.iter().map(&read).collect::<Vec<_>>());
        (middle(&self.first), middle(&self.last))
    }

    /// Bytes by which the disk grew within a third, and orders made in it.
    fn growth(part: &[Sample]) -> (f64, f64) {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { return (f64::NAN, f64::NAN) };
        (last.disk_bytes - first.disk_bytes, (last.created - first.created).max(1.0))
    }

    /// Bytes for each order made within a third.
    fn disk_per_order(part: &[Sample]) -> f64 {
        let (bytes, orders) = Self::growth(part);
        bytes / orders
    }

    /// Whether the last third's orders cost the disk no more than the first's.
    fn disk_is_flat(&self) -> bool {
        let ((before, few), (after, many)) = (Self::growth(&self.first), Self::growth(&self.last));
        after <= before.max(0.0) * many / few * DISK + DISK_STEPS
    }

    /// Orders that expired in the last third for each that was made.
    fn expired_per_order(&self) -> f64 {
        let (Some(first), Some(last)) = (self.last.first(), self.last.last()) else { return f64::NAN };
        (last.expired - first.expired) / (last.created - first.created).max(1.0)
    }

    /// The longest that an order which should be expired has been waiting.
    fn lag(&self) -> f64 {
        self.first.iter().chain(&self.last).map(|sample| sample.lag_s).fold(0.0, f64::max)
    }

    /// Whether each is flat.
    pub fn goals(&self) -> Vec<Goal> {
        let rate = self.both(|sample| sample.rate);
        let (p50, p99) = (self.both(|sample| sample.p50_ms), self.both(|sample| sample.p99_ms));
        let slower = |(first, last): (f64, f64)| last <= first * LATENCY.0 + LATENCY.1;
        let held = self.both(|sample| sample.held);
        let disk = (Self::disk_per_order(&self.first), Self::disk_per_order(&self.last));
        let mut goals = vec![
            Goal::new(format!("rate flat: {}", arrow(rate)), rate.1 >= rate.0 * RATE),
            Goal::new(format!("p50 flat: {} ms", arrow(p50)), slower(p50)),
            Goal::new(format!("p99 flat: {} ms", arrow(p99)), slower(p99)),
            Goal::new(format!("expiry keeps up: waits {} s at most", shown(self.lag())), self.lag() <= LAG_S),
            Goal::new(
                format!("as many expire as are made: {}", shown(self.expired_per_order())),
                self.expired_per_order() >= RATE,
            ),
            Goal::new(format!("held units flat: {}", arrow(held)), held.1 <= held.0 * MEMORY.0),
            Goal::new(format!("disk per order flat: {} bytes", arrow(disk)), self.disk_is_flat()),
        ];
        for (at, role) in ROLES.iter().enumerate() {
            let memory = self.both(|sample| sample.memory_mb[at]);
            let open = self.both(|sample| sample.descriptors[at]);
            let threads = self.both(|sample| sample.threads[at]);
            goals.extend([
                Goal::new(
                    format!("{role} memory flat: {} MB", arrow(memory)),
                    memory.1 <= memory.0 * MEMORY.0 + MEMORY.1,
                ),
                Goal::new(format!("{role} descriptors flat: {}", arrow(open)), open.1 <= open.0 + DESCRIPTORS),
                Goal::new(format!("{role} threads flat: {}", arrow(threads)), threads.1 <= threads.0 + THREADS),
            ]);
        }
        goals
    }

    /// What is kept in the history: last third over first, and the last third itself.
    pub fn figures(&self) -> Vec<Figure> {
        let ratio = |(first, last): (f64, f64)| last / first;
        let mut figures = vec![
            Figure::more("rate, last third over first", "x").with([ratio(self.both(|sample| sample.rate))]),
            Figure::less("p50, last third over first", "x").with([ratio(self.both(|sample| sample.p50_ms))]),
            Figure::less("p99, last third over first", "x").with([ratio(self.both(|sample| sample.p99_ms))]),
            Figure::less("expiry lag, most", "s").with([self.lag()]),
            Figure::less("disk per order, last third", "bytes").with([Self::disk_per_order(&self.last)]),
        ];
        for (at, role) in ROLES.iter().enumerate() {
            let memory = self.both(|sample| sample.memory_mb[at]);
            figures.push(Figure::less(format!("{role} memory, last third"), "MB").with([memory.1]));
            figures.push(Figure::less(format!("{role} memory, last third over first"), "x").with([ratio(memory)]));
        }
        figures
    }
}

fn arrow((first, last): (f64, f64)) -> String {
    format!("{} -> {}", shown(first), shown(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(change: impl Fn(&mut Sample, f64)) -> Vec<Sample> {
        let one = |n: u32| {
            let at_s = f64::from(n) * 5.0;
            let mut sample = Sample {
                at_s,
                rate: 100.0,
                p50_ms: 1.0,
                p99_ms: 5.0,
                memory_mb: vec![50.0; 4],
                descriptors: vec![40.0; 4],
                threads: vec![3.0; 4],
                disk_bytes: at_s * 100.0 * 500.0,
                created: at_s * 100.0,
                expired: at_s * 100.0,
                lag_s: 0.0,
                held: 500.0,
            };
            change(&mut sample, at_s);
            sample
        };
        (0..40).map(one).collect()
    }

    fn failing(change: impl Fn(&mut Sample, f64)) -> Vec<String> {
        let thirds = Thirds::of(&samples(change), 20.0).map(|thirds| thirds.goals()).unwrap_or_default();
        assert!(!thirds.is_empty());
        thirds.iter().filter(|goal| !goal.holds()).map(|goal| goal.text().to_owned()).collect()
    }

    #[test]
    fn what_does_not_change_is_flat() {
        assert_eq!(failing(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn growth_is_found_and_named() {
        let leak = failing(|sample, at| sample.memory_mb[1] += at);
        assert_eq!(leak.len(), 1, "{leak:?}");
        assert!(leak[0].starts_with("orders memory flat: "), "{leak:?}");
        assert!(failing(|sample, at| sample.descriptors[0] += at)[0].starts_with("edge descriptors"));
        assert!(failing(|sample, at| sample.p99_ms += at / 20.0)[0].starts_with("p99 flat"));
        assert!(failing(|sample, at| sample.rate -= at / 5.0)[0].starts_with("rate flat"));
        assert!(failing(|sample, _| sample.lag_s = 60.0)[0].starts_with("expiry keeps up"));
        assert!(failing(|sample, at| sample.expired -= at * 10.0)[0].starts_with("as many expire"));
        assert!(failing(|sample, at| sample.disk_bytes += at * at * 30_000.0)[0].starts_with("disk per order"));
    }

    #[test]
    fn too_few_samples_are_no_verdict() {
        assert!(Thirds::of(&samples(|_, _| {})[..8], 20.0).is_err());
    }
}
