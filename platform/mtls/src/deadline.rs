//! How long a connection may live: rotating a certificate does not re-authenticate what it opened, so age does.

use std::time::Duration;

/// Share of the age limit that jitter may take away, in permille: connections opened together do not end together.
pub(crate) const JITTER_PERMILLE_MAX: u16 = 100;

/// Slack beyond the peer's certificate for what is in flight when it ends, and for clocks that differ a little.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// Limits of every connection of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLife {
    /// Age at which a connection begins to close at the latest.
    pub max_age: Duration,
    /// Time from there until it is dropped.
    pub grace: Duration,
}

impl Default for ConnectionLife {
    /// 60 s and 10 s.
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60), grace: Duration::from_secs(10) }
    }
}

/// When a connection ends, measured from its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Begin to close: announce it, finish what is in flight, accept no more.
    pub graceful: Duration,
    /// Drop it.
    pub hard: Duration,
}

/// The end of a connection opened at `now` (all times unix seconds): graceful at the earliest of both certificates' ends and the age
/// limit, less `jitter_permille` (at most 100) of it; hard after the grace period, but never later than the peer's certificate ends
/// plus 2 s.
#[must_use]
pub fn connection_deadline(
    now: u64,
    peer_not_after: u64,
    own_not_after: u64,
    life: ConnectionLife,
    jitter_permille: u16,
) -> Deadline {
    let peer_left = Duration::from_secs(peer_not_after.saturating_sub(now));
    let own_left = Duration::from_secs(own_not_after.saturating_sub(now));
    let limit = peer_left.min(own_left).min(life.max_age);
    let jitter = limit * u32::from(jitter_permille.min(JITTER_PERMILLE_MAX)) / 1000;
    let graceful = limit - jitter;
    let hard = graceful.saturating_add(life.grace).min(peer_left.saturating_add(EXPIRY_SLACK));
    Deadline { graceful, hard }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    #[test]
    fn the_age_limit_holds_when_certificates_live_longer() {
        let deadline = connection_deadline(1000, 5000, 5000, ConnectionLife::default(), 0);
        assert_eq!(deadline, Deadline { graceful: seconds(60), hard: seconds(70) });
    }

    #[test]
    fn jitter_only_ever_shortens_and_by_a_tenth_at_most() {
        let full = connection_deadline(1000, 5000, 5000, ConnectionLife::default(), 100);
        assert_eq!(full.graceful, seconds(54));
        assert_eq!(full, connection_deadline(1000, 5000, 5000, ConnectionLife::default(), u16::MAX));
    }

    #[test]
    fn grace_does_not_outlive_the_peers_certificate_by_more_than_the_slack() {
        let deadline = connection_deadline(1000, 1005, 5000, ConnectionLife::default(), 0);
        assert_eq!(deadline, Deadline { graceful: seconds(5), hard: seconds(7) });
    }

    #[test]
    fn the_own_certificates_end_begins_the_close() {
        assert_eq!(connection_deadline(1000, 5000, 1008, ConnectionLife::default(), 0).graceful, seconds(8));
    }

    proptest! {
        #[test]
        fn no_connection_outlives_its_peer(now in 0_u64..10_000, peer in 0_u64..20_000, own in 0_u64..20_000, age in 0_u64..600, grace in 0_u64..60, jitter: u16) {
            let life = ConnectionLife { max_age: seconds(age), grace: seconds(grace) };
            let deadline = connection_deadline(now, peer, own, life, jitter);
            let peer_left = seconds(peer.saturating_sub(now));
            prop_assert!(deadline.graceful <= peer_left);
            prop_assert!(deadline.graceful <= seconds(own.saturating_sub(now)));
            prop_assert!(deadline.graceful <= life.max_age);
            prop_assert!(deadline.graceful <= deadline.hard);
            prop_assert!(deadline.hard <= peer_left + EXPIRY_SLACK);
            prop_assert!(deadline.hard <= deadline.graceful + life.grace);
        }
    }
}
