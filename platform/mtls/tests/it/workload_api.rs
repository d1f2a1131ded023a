//! A source against a Workload API that comes, goes, rotates and refuses.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tonic::Code;
use zizon_mtls::{SourceError, SourceOptions, SourceState, SvidSource, testing::TestCa};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::until,
};

const ORDERS: &str = "ns/shop/sa/orders";

struct Place {
    _dir: tempfile::TempDir,
    socket: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { socket: dir.path().join("workload.sock"), _dir: dir }
    }

    fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    async fn connect(&self, options: SourceOptions) -> Result<Arc<SvidSource>, SourceError> {
        SvidSource::connect(&self.endpoint(), options).await
    }
}

fn svid(ca: &TestCa) -> Answer {
    Answer::Svids(vec![ca.svid(ORDERS)])
}

fn impatient() -> SourceOptions {
    SourceOptions { first_svid_timeout: Duration::from_millis(200), ..SourceOptions::default() }
}

fn serial(source: &SvidSource) -> String {
    source.material().unwrap().serial().to_owned()
}

#[tokio::test]
async fn the_first_svid_is_waited_for_and_rotations_followed() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    assert_eq!(source.id(), ca.id(ORDERS));
    assert!(source.seconds_left().unwrap() > 3_500);
    let (first, mut changed) = (serial(&source), source.changed());
    changed.mark_unchanged();
    issuer.say(svid(&ca));
    until(|| serial(&source) != first).await;
    assert!(changed.has_changed().unwrap());
    assert_eq!((source.stats().rotations(), issuer.streams()), (2, 1));
}

#[tokio::test]
async fn a_late_issuer_is_waited_for() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let late = async {
        // Whoever is there first hangs up on the first attempt.
        let mute = tokio::net::UnixListener::bind(&place.socket).unwrap();
        mute.accept().await.unwrap();
        drop(mute);
        FakeIssuer::start(&place.socket, svid(&ca))
    };
    let (source, _issuer) = tokio::join!(place.connect(SourceOptions::default()), late);
    assert_eq!(source.unwrap().id(), ca.id(ORDERS));
}

#[tokio::test]
async fn no_issuer_is_reported_with_address_and_cause() {
    let place = Place::new();
    let error = place.connect(impatient()).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoIdentity { endpoint, .. } if *endpoint == place.endpoint()));
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_none_is_reported_at_once() {
    for bad in ["", "/run/workload.sock", "http://localhost", "unix:", "tcp:localhost:1"] {
        assert!(matches!(SvidSource::connect(bad, impatient()).await, Err(SourceError::Endpoint { .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn the_last_good_svid_outlives_an_issuer_that_restarts() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    let first = serial(&source);
    drop(issuer);
    until(|| source.stats().reconnects() >= 3).await;
    assert_eq!(serial(&source), first);
    let _issuer = FakeIssuer::start(&place.socket, svid(&ca));
    until(|| serial(&source) != first).await;
}

#[tokio::test]
async fn an_issuer_that_is_busy_costs_nothing() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    issuer.say(Answer::Refuse(Code::Unavailable));
    until(|| source.stats().reconnects() >= 2).await;
    assert!(source.material().is_some());
}

#[tokio::test]
async fn permission_denied_withdraws_at_once_and_a_later_svid_restores() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    issuer.say(Answer::Refuse(Code::PermissionDenied));
    until(|| source.material().is_none()).await;
    assert_eq!(*source.changed().borrow(), SourceState::Withdrawn);
    assert_eq!(source.id(), ca.id(ORDERS));
    issuer.say(svid(&ca));
    until(|| source.material().is_some()).await;
    assert_eq!(source.stats().withdrawals(), 1);
}

#[tokio::test]
async fn a_response_without_svids_withdraws() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    issuer.say(Answer::Svids(vec![]));
    until(|| source.material().is_none()).await;
}

#[tokio::test]
async fn an_unusable_update_leaves_the_last_good_svid() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    let first = serial(&source);
    let mut mixed = ca.svid(ORDERS);
    mixed.key = ca.svid(ORDERS).key;
    issuer.say(Answer::Svids(vec![mixed]));
    until(|| source.stats().refused_updates() == 1).await;
    assert_eq!(serial(&source), first);
    issuer.say(svid(&ca));
    until(|| serial(&source) != first).await;
}

#[tokio::test]
async fn of_several_identities_the_expected_one_is_taken() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let both = Answer::Svids(vec![ca.svid("ns/ops/sa/operator"), ca.svid(ORDERS)]);
    let issuer = FakeIssuer::start(&place.socket, both);
    let expecting = SourceOptions { expect: Some(ca.id(ORDERS)), ..SourceOptions::default() };
    let source = place.connect(expecting).await.unwrap();
    assert_eq!(source.id(), ca.id(ORDERS));
    issuer.say(Answer::Svids(vec![ca.svid("ns/ops/sa/operator")]));
    until(|| source.material().is_none()).await;
}

#[tokio::test]
async fn an_identity_that_is_not_issued_is_named() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let _issuer = FakeIssuer::start(&place.socket, svid(&ca));
    let expecting = SourceOptions { expect: Some(ca.id("ns/shop/sa/edge")), ..impatient() };
    let error = place.connect(expecting).await.unwrap_err().to_string();
    assert!(error.contains("ns/shop/sa/edge") && error.contains(ORDERS), "{error}");
}

#[tokio::test]
async fn an_svid_that_is_not_renewed_expires_and_says_so() {
    let (ca, place) = (TestCa::new("zizon.local"), Place::new());
    let now = zizon_mtls::Clock::system().unix_seconds();
    let short = ca.svid_between(ORDERS, now - 10, now + 3);
    let issuer = FakeIssuer::start(&place.socket, Answer::Svids(vec![short]));
    let source = place.connect(SourceOptions::default()).await.unwrap();
    let mut changed = source.changed();
    assert_eq!(*changed.wait_for(|state| *state == SourceState::Expired).await.unwrap(), SourceState::Expired);
    assert!(source.material().is_none());
    issuer.say(svid(&ca));
    until(|| source.material().is_some()).await;
    assert_eq!(source.stats().expiries(), 1);
}
