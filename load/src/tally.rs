//! What has happened so far, counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;

/// Latencies are kept to three digits between 1 us and an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// A send is late when it starts this long after its intended start.
pub(crate) const LATE_AFTER: Duration = Duration::from_millis(1);
/// Longest code of a problem that is kept.
const KIND_LEN_MAX: usize = 64;
/// Distinct error kinds kept; a platform that answers anything cannot fill the report.
const KINDS_MAX: usize = 64;

/// Counters of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) latency: Histogram<u64>,
    /// Since the last progress.
    pub(crate) recent: Histogram<u64>,
    /// Of the 201 answers alone.
    pub(crate) accepted: Histogram<u64>,
    /// Of the same, from sending: without what the generator itself was late.
    pub(crate) accepted_sent: Histogram<u64>,
    /// Of the 503 answers alone, from sending: how early a platform says no.
    pub(crate) refused: Histogram<u64>,
    pub(crate) sent: u64,
    pub(crate) created: u64,
    pub(crate) replayed: u64,
    pub(crate) errors: u64,
    pub(crate) late: u64,
    pub(crate) reconnects: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) kinds: BTreeMap<String, u64>,
    /// When the last outcome was seen.
    pub(crate) last: Option<Instant>,
    /// The last problem that was read: refusals come in thousands and are mostly of one kind.
    known: Option<Known>,
}

/// A problem as it was read. Another with the same status that begins with the same bytes, which end with its code, has the
/// same code.
#[derive(Debug)]
struct Known {
    status: u16,
    begins: Vec<u8>,
    kind: String,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid");
        Self {
            latency: histogram(),
            recent: histogram(),
            accepted: histogram(),
            accepted_sent: histogram(),
            refused: histogram(),
            sent: 0,
            created: 0,
            replayed: 0,
            errors: 0,
            late: 0,
            reconnects: 0,
            statuses: BTreeMap::new(),
            kinds: BTreeMap::new(),
            last: None,
            known: None,
        }
    }

    /// A request meant to start at `intended` was answered, or failed, at `at`.
    pub(crate) fn outcome(&mut self, intended: Instant, at: Instant) {
        self.latency(at - intended);
        self.recent.saturating_record(micros(at - intended));
        self.last = Some(at);
    }

    pub(crate) fn latency(&mut self, from_intended: Duration) {
        self.latency.saturating_record(micros(from_intended));
    }

    pub(crate) fn accepted(&mut self, from_intended: Duration, from_sending: Duration) {
        self.accepted.saturating_record(micros(from_intended));
        self.accepted_sent.saturating_record(micros(from_sending));
    }

    pub(crate) fn refused(&mut self, from_sending: Duration) {
        self.refused.saturating_record(micros(from_sending));
    }

    pub(crate) fn order(&mut self, replayed: bool) {
        *self.statuses.entry(201).or_default() += 1;
        if replayed {
            self.replayed += 1;
        } else {
            self.created += 1;
        }
    }

    /// A request answered with something else than a 201: counted by the problem's code, or the bare status.
    pub(crate) fn problem(&mut self, status: u16, body: &[u8]) {
        let known = self.known.take().filter(|known| known.status == status && body.starts_with(&known.begins));
        let known = known.or_else(|| Known::read(status, body));
        match &known {
            Some(known) => self.error(Some(status), &known.kind),
            None => self.error(Some(status), &format!("status-{status}")),
        }
        self.known = known;
    }

    /// A request without an order: `kind` is the problem's code or what went wrong below HTTP.
    pub(crate) fn error(&mut self, status: Option<u16>, kind: &str) {
        self.errors += 1;
        if let Some(status) = status {
            *self.statuses.entry(status).or_default() += 1;
        }
        if let Some(count) = self.kinds.get_mut(kind) {
            *count += 1;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(kind.to_owned(), 1);
        } else {
            *self.kinds.entry("other".into()).or_default() += 1;
        }
    }
}

impl Known {
    /// Reads a problem document; `None` when it is none.
    fn read(status: u16, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
        }
        let Problem { code } = serde_json::from_slice(body).ok()?;
        if code.len() > KIND_LEN_MAX {
            return None;
        }
        let member = format!("\"code\":\"{code}\"");
        let at = body.windows(member.len()).position(|bytes| bytes == member.as_bytes());
        // Written in another way, or within another member, all of it has to be the same.
        let at = at.filter(|&at| !body[1..at].contains(&b'{'));
        let end = at.map_or(body.len(), |at| at + member.len());
        Some(Self { status, begins: body[..end].to_vec(), kind: code })
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(LATENCY_US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_counted_by_their_code_whether_it_was_seen_before_or_not() {
        let mut tally = Tally::new();
        for round in 0..3 {
            for code in ["overloaded", "overloaded", "rate-limited"] {
                let text = format!(r#"{{"type":"t","status":503,"code":"{code}","instance":"{round}"}}"#);
                tally.problem(503, text.as_bytes());
            }
            tally.problem(429, br#"{"type":"t","status":503,"code":"overloaded"}"#);
            tally.problem(429, br#"{"code": "other"}"#);
            tally.problem(502, b"<html>");
            tally.problem(502, format!(r#"{{"code":"{}"}}"#, "x".repeat(65)).as_bytes());
        }
        let kinds: Vec<(&str, u64)> = tally.kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(kinds, [("other", 3), ("overloaded", 9), ("rate-limited", 3), ("status-502", 6)]);
        assert_eq!(tally.statuses.values().sum::<u64>(), tally.errors);
    }

    #[test]
    fn error_kinds_are_bounded() {
        let mut tally = Tally::new();
        for n in 0..1_000 {
            tally.error(Some(400), &format!("kind-{n}"));
        }
        assert_eq!(tally.kinds.len(), KINDS_MAX + 1);
        assert_eq!(tally.kinds.values().sum::<u64>(), 1_000);
        assert_eq!(tally.errors, 1_000);
    }
}
