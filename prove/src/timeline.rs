//! What happened over time, from the client's own record: every acknowledgement with its time.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use zizon_load::VerifyError;
use zizon_load::acks::Reader;

use crate::check::durability::Kill;

/// The most columns a picture has.
const BUCKETS_MAX: u64 = 240;
/// The narrowest column, in ms.
const BUCKET_MS_MIN: u64 = 100;
/// Upper bounds of the latency classes, in ms; the last has none. The record's resolution is 1 ms.
const LATENCY_MS: [u64; 12] = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

/// One acknowledgement: when it was sent and when it was answered, in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When the request was sent.
    pub sent_ms: u64,
    /// When its 201 was complete.
    pub acked_ms: u64,
}

/// Orders over time, latencies, and what each kill cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Width of a column, in ms.
    pub bucket_ms: u64,
    /// Orders acknowledged per second, column by column.
    pub orders_per_second: Vec<f64>,
    /// Kills, in order.
    pub kills: Vec<KillMark>,
    /// Acknowledged orders by latency from send to answer.
    pub latency: Vec<LatencyClass>,
}

/// A kill and the silence after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillMark {
    /// The role.
    pub role: String,
    /// Since the first acknowledgement, in s.
    pub at_s: f64,
    /// The longest time without an acknowledgement between this kill and the next, in ms.
    pub silent_ms: u64,
    /// Whether another role was recovering meanwhile: then the silence is not this role's alone.
    pub overlaps: bool,
}

/// Orders in one class of latency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LatencyClass {
    /// Below this, in ms; `None` for the last class.
    pub below_ms: Option<u64>,
    /// Orders.
    pub orders: u64,
}

/// What a file of acknowledgements shows. 16 bytes of memory per order. Lines that are no acknowledgement are the verification's to report.
///
/// # Errors
/// When the file cannot be read.
pub fn of_file(acks: &Path, kills: &[Kill]) -> Result<Timeline, VerifyError> {
    let mut reader = Reader::open(acks)?;
    let mut moments = Vec::new();
    loop {
        match reader.next_line() {
            Ok(Some(line)) => moments.push(Moment { sent_ms: line.t_sent, acked_ms: line.t_ack }),
            Ok(None) => break,
            Err(VerifyError::Line { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    moments.sort_unstable_by_key(|moment| moment.acked_ms);
    Ok(Timeline::new(&moments, kills))
}

impl Timeline {
    /// What `moments`, sorted by answer, and `kills`, sorted by time, show.
    #[must_use]
    pub fn new(moments: &[Moment], kills: &[Kill]) -> Self {
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Self::default() };
        let (start, end) = (first.acked_ms, last.acked_ms);
        let bucket_ms = (end - start).div_ceil(BUCKETS_MAX).max(BUCKET_MS_MIN).next_multiple_of(50);
        Self {
            bucket_ms,
            orders_per_second: rates(moments, start, end, bucket_ms),
            kills: marks(moments, kills, start, end),
            latency: classes(moments),
        }
    }

    /// The silences after those kills of each role that were alone, in ms, sorted; every role that was killed is there.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<&str, Vec<u64>> {
        let mut by_role: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for kill in &self.kills {
            let silences = by_role.entry(&kill.role).or_default();
            if !kill.overlaps {
                silences.push(kill.silent_ms);
            }
        }
        by_role.values_mut().for_each(|silences| silences.sort_unstable());
        by_role
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; counts stay far below 2^52")]
fn rates(moments: &[Moment], start: u64, end: u64, bucket_ms: u64) -> Vec<f64> {
    let columns = (end - start) / bucket_ms + 1;
    let mut counts = vec![0_u64; usize::try_from(columns).unwrap_or(1)];
    for moment in moments {
        let column = usize::try_from((moment.acked_ms - start) / bucket_ms).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(column) {
            *count += 1;
        }
    }
    // The last column is only as wide as the run was; a part of a column is no rate.
    let last_ms = ((end - start) % bucket_ms + 1) as f64;
    let width = |column: usize| if column + 1 == counts.len() { last_ms.max(50.0) } else { bucket_ms as f64 };
    counts.iter().enumerate().map(|(column, &count)| (count as f64 * 1000.0 / width(column)).round()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "times of a run stay far below 2^52 ms")]
fn marks(moments: &[Moment], kills: &[Kill], start: u64, end: u64) -> Vec<KillMark> {
    let mark = |(at, kill): (usize, &Kill)| {
        let until = kills.get(at + 1).map_or(end, |next| next.at_ms);
        let silent_ms = longest_silence(moments, kill.at_ms, until);
        let at_ms = kill.at_ms.saturating_sub(start);
        let overlaps = kill.is_early || kills.get(at.wrapping_sub(1)).is_some_and(|before| before.is_early);
        KillMark { role: kill.role.clone(), at_s: at_ms as f64 / 1000.0, silent_ms, overlaps }
    };
    kills.iter().enumerate().map(mark).collect()
}

/// The longest time without an acknowledgement in `from..until`.
fn longest_silence(moments: &[Moment], from: u64, until: u64) -> u64 {
    let at = moments.partition_point(|moment| moment.acked_ms < from);
    let mut since = from;
    let mut longest = 0;
    for moment in moments[at..].iter().take_while(|moment| moment.acked_ms < until) {
        longest = longest.max(moment.acked_ms - since);
        since = moment.acked_ms;
    }
    longest.max(until.saturating_sub(since))
}

fn classes(moments: &[Moment]) -> Vec<LatencyClass> {
    let bounds = LATENCY_MS.into_iter().map(Some).chain([None]);
    let mut classes: Vec<LatencyClass> = bounds.map(|below_ms| LatencyClass { below_ms, orders: 0 }).collect();
    for moment in moments {
        // A clock set back between the two is no latency.
        let latency = moment.acked_ms.saturating_sub(moment.sent_ms);
        let at = LATENCY_MS.partition_point(|&below| below <= latency);
        classes[at].orders += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moments(acked: &[u64]) -> Vec<Moment> {
        acked.iter().map(|&acked_ms| Moment { sent_ms: acked_ms.saturating_sub(2), acked_ms }).collect()
    }

    fn kill(at_ms: u64) -> Kill {
        Kill { role: "orders".into(), at_ms, pid: 1, successor: 2, is_early: false }
    }

    #[test]
    fn a_silence_counts_from_the_kill_to_the_next_answer_or_the_next_kill() {
        let moments = moments(&[1000, 1010, 1020, 1420, 1430, 1440, 2000]);
        assert_eq!(longest_silence(&moments, 1430, 1500), 60, "what follows is the next kill's");
        assert_eq!(longest_silence(&moments, 1030, 1300), 270);
        assert_eq!(longest_silence(&moments, 1025, 1435), 395);
        assert_eq!(longest_silence(&moments, 2000, 2500), 500, "no answer until the end");
        assert_eq!(longest_silence(&[], 5, 9), 4);
    }

    #[test]
    fn every_kill_has_its_mark_in_seconds_of_the_run() {
        let timeline = Timeline::new(&moments(&[1000, 1100, 1900, 2000]), &[kill(1100), kill(1950)]);
        let marks: Vec<_> = timeline.kills.iter().map(|mark| (mark.at_s, mark.silent_ms)).collect();
        assert_eq!(marks, [(0.1, 800), (0.95, 50)]);
        assert_eq!(timeline.silences()["orders"], [50, 800]);
    }

    #[test]
    fn a_silence_with_another_role_down_is_nobodys_alone() {
        let early = Kill { is_early: true, ..kill(1100) };
        let timeline = Timeline::new(&moments(&[1000, 1900, 2000, 2100]), &[early, kill(1150), kill(1950)]);
        assert_eq!(timeline.silences()["orders"], [100]);
    }

    #[test]
    fn nothing_acknowledged_is_an_empty_picture() {
        assert_eq!(Timeline::new(&[], &[kill(1)]), Timeline::default());
    }

    proptest! {
        #[test]
        fn no_order_is_left_out_of_a_picture(mut acked in proptest::collection::vec(1_000_u64..4_000_000, 1..300)) {
            acked.sort_unstable();
            let timeline = Timeline::new(&moments(&acked), &[]);
            let columns = timeline.orders_per_second.len();
            prop_assert!(columns as u64 <= BUCKETS_MAX + 1);
            prop_assert_eq!(timeline.latency.iter().map(|class| class.orders).sum::<u64>(), acked.len() as u64);
            let width_s = timeline.bucket_ms as f64 / 1000.0;
            let whole: f64 = timeline.orders_per_second[..columns - 1].iter().map(|rate| rate * width_s).sum();
            // All but those of the last column, whose width differs; rates are rounded.
            prop_assert!(whole <= acked.len() as f64 + columns as f64 * width_s);
        }
    }
}
