//! Live connections by identity.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use zizon_mtls::{Clock, CloseReason, ConnRegistry, Peer, Side, testing::TestCa};

use crate::support::{BOUND, registry};

fn peer(ca: &TestCa, path: &str, life_s: u64) -> Arc<Peer> {
    let not_after = Clock::system().unix_seconds() + life_s;
    Arc::new(Peer { id: ca.id(path), not_after, serial: "1".to_owned(), own_not_after: not_after })
}

fn closed(registry: &ConnRegistry, reason: CloseReason) -> u64 {
    registry.metrics().closed().find(|(known, _)| *known == reason).unwrap().1
}

#[tokio::test]
async fn closing_an_identity_reaches_all_its_connections_and_no_other() {
    let (ca, live) = (TestCa::new("zizon.local"), registry());
    let edge: Vec<_> = (0..3).map(|_| live.register(&peer(&ca, "ns/shop/sa/edge", 600), Side::Server)).collect();
    let other = live.register(&peer(&ca, "ns/shop/sa/catalog", 600), Side::Client);
    assert_eq!(live.close_identity(&ca.id("ns/shop/sa/edge"), CloseReason::Policy), 3);
    for guard in &edge {
        assert_eq!(timeout(BOUND, guard.cancelled()).await.unwrap(), CloseReason::Policy);
    }
    assert!(!other.is_cancelled());
    assert_eq!(live.len(), 4, "a connection counts until its guard is dropped");
    drop((edge, other));
    assert!(live.is_empty());
    assert_eq!((closed(&live, CloseReason::Policy), closed(&live, CloseReason::Finished)), (3, 1));
    assert_eq!((live.metrics().open(Side::Server), live.metrics().open(Side::Client)), (0, 0));
}

#[tokio::test]
async fn a_deny_closes_live_connections_and_those_registered_too_late() {
    let (ca, live) = (TestCa::new("zizon.local"), registry());
    let early = live.register(&peer(&ca, "ns/shop/sa/edge", 600), Side::Server);
    assert_eq!(live.set_denied([ca.id("ns/shop/sa/edge")]), 1);
    let late = live.register(&peer(&ca, "ns/shop/sa/edge", 600), Side::Server);
    for guard in [early, late] {
        assert!(guard.token().is_cancelled());
        assert_eq!(timeout(BOUND, guard.cancelled()).await.unwrap(), CloseReason::Denied);
    }
}

#[tokio::test]
async fn a_reload_closes_those_the_policy_no_longer_admits() {
    let (ca, live) = (TestCa::new("zizon.local"), registry());
    let stays = live.register(&peer(&ca, "ns/shop/sa/edge", 600), Side::Server);
    let goes = live.register(&peer(&ca, "ns/shop/sa/old", 600), Side::Server);
    let policy = zizon_mtls::authz::Policy::standard(ca.domain());
    let admits = |id: &_| policy.admits(zizon_base::role::Role::Orders, id);
    assert_eq!(live.close_unless(CloseReason::Policy, admits), 1);
    assert!(!stays.is_cancelled() && goes.is_cancelled());
}

#[tokio::test]
async fn the_reason_that_came_first_is_the_one_reported() {
    let (ca, live) = (TestCa::new("zizon.local"), registry());
    let guard = live.register(&peer(&ca, "ns/shop/sa/edge", 600), Side::Server);
    guard.close_reason(CloseReason::Age);
    live.close_all(CloseReason::Shutdown);
    drop(guard);
    assert_eq!((closed(&live, CloseReason::Age), closed(&live, CloseReason::Shutdown)), (1, 0));
}

#[tokio::test]
async fn a_connection_ends_with_its_peers_certificate() {
    let (ca, live) = (TestCa::new("zizon.local"), registry());
    let guard = live.register(&peer(&ca, "ns/shop/sa/edge", 10), Side::Server);
    assert!(
        guard.deadline().graceful <= Duration::from_secs(10)
            && guard.deadline().graceful >= Duration::from_millis(8_000)
    );
    assert!(guard.deadline().hard <= Duration::from_secs(12));
    assert!(guard.graceful_at() <= guard.hard_at());
}
