//! The issuer as an unmodified SPIFFE client sees it.

use std::time::{Duration, Instant};

use crate::common::{MovedClock, PATIENCE, Platform, short_lived};
use futures_util::StreamExt as _;
use spiffe::transport::{GrpcStatusCode, TransportError};
use spiffe::{WorkloadApiError, X509Context};
use tokio::time::timeout;
use x509_parser::prelude::*;
use zizon_identity::{Clock, Config};

fn me() -> u32 {
    std::process::id()
}

async fn next(
    stream: &mut (impl futures_util::Stream<Item = Result<X509Context, WorkloadApiError>> + Unpin),
) -> X509Context {
    timeout(PATIENCE, stream.next()).await.expect("a response in time").expect("an open stream").expect("a response")
}

fn is_unavailable(error: &WorkloadApiError) -> bool {
    matches!(error, WorkloadApiError::Transport(TransportError::Status(status)) if status.code() == GrpcStatusCode::Unavailable)
}

fn serial(context: &X509Context) -> String {
    let leaf = context.default_svid().unwrap().leaf().as_bytes().to_vec();
    X509Certificate::from_der(&leaf).unwrap().1.raw_serial_as_string()
}

fn roots(context: &X509Context) -> Vec<Vec<u8>> {
    let domain = "zizon.local".try_into().unwrap();
    context.bundle_set().get(&domain).unwrap().authorities().iter().map(|root| root.as_bytes().to_vec()).collect()
}

fn id(context: &X509Context) -> String {
    context.default_svid().unwrap().spiffe_id().to_string()
}

/// The position of the root that signed the leaf, in the order of the bundle.
fn signer(context: &X509Context) -> usize {
    let leaf = context.default_svid().unwrap().leaf().as_bytes().to_vec();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let signed_by = |root: &Vec<u8>| {
        let (_, root) = X509Certificate::from_der(root).unwrap();
        // The key and the name that the leaf's issuer fields point at.
        root.subject() == leaf.issuer() && verifies(&leaf, &root)
    };
    roots(context).iter().position(signed_by).expect("a root of the bundle signed the leaf")
}

fn verifies(leaf: &X509Certificate<'_>, root: &X509Certificate<'_>) -> bool {
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        &root.public_key().subject_public_key.data,
    );
    key.verify(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data).is_ok()
}

#[tokio::test]
async fn a_role_gets_its_identity_at_once_and_a_fresh_one_before_half_of_its_life_is_over() {
    let platform = Platform::start(short_lived());
    platform.says(me(), Some("orders"));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    let asked = Instant::now();
    let first = next(&mut stream).await;
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(id(&first), "spiffe://zizon.local/ns/shop/sa/orders");
    let second = next(&mut stream).await;
    let age = asked.elapsed();
    assert!(age > Duration::from_secs(4) && age < Duration::from_secs(7), "{age:?}");
    assert_ne!(serial(&first), serial(&second));
    assert_ne!(
        first.default_svid().unwrap().private_key().as_bytes(),
        second.default_svid().unwrap().private_key().as_bytes(),
        "a fresh key each time"
    );
    assert_eq!(roots(&first), roots(&second));
    let third = next(&mut stream).await;
    assert_ne!(serial(&second), serial(&third));
}

#[tokio::test]
async fn the_supervisor_and_the_operator_get_theirs() {
    let platform = Platform::start(Config::default());
    let client = platform.client().await;
    assert_eq!(id(&client.fetch_x509_context().await.unwrap()), "spiffe://zizon.local/ns/ops/sa/operator");
    platform.says(me(), Some("supervisor"));
    assert_eq!(id(&client.fetch_x509_context().await.unwrap()), "spiffe://zizon.local/ns/ops/sa/supervisor");
}

#[tokio::test]
async fn a_uid_that_did_not_start_the_platform_is_denied() {
    let platform = Platform::start(Config::default());
    platform.known().lock().unwrap().operator_uid = 4_000_000;
    let refused = platform.client().await.fetch_x509_context().await.unwrap_err();
    assert!(
        matches!(refused, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)),
        "{refused:?}"
    );
    let refused = platform.client().await.fetch_x509_bundles().await.unwrap_err();
    assert!(
        matches!(refused, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn all_callers_of_a_role_share_one_svid() {
    let platform = Platform::start(Config::default());
    platform.says(me(), Some("edge"));
    let first = platform.client().await.fetch_x509_context().await.unwrap();
    let second = platform.client().await.fetch_x509_context().await.unwrap();
    assert_eq!(serial(&first), serial(&second));
}

#[tokio::test]
async fn bundles_are_keyed_by_the_trust_domain_and_equal_those_beside_svids() {
    let platform = Platform::start(Config::default());
    platform.says(me(), Some("edge"));
    let client = platform.client().await;
    let bundles = client.fetch_x509_bundles().await.unwrap();
    let domain = "zizon.local".try_into().unwrap();
    let authorities: Vec<Vec<u8>> =
        bundles.get(&domain).unwrap().authorities().iter().map(|root| root.as_bytes().to_vec()).collect();
    assert_eq!(authorities, roots(&client.fetch_x509_context().await.unwrap()));
    assert_eq!(bundles.iter().count(), 1);
}

#[tokio::test]
async fn a_process_that_loses_its_role_is_told_on_its_open_stream() {
    let platform = Platform::start(short_lived());
    platform.says(me(), Some("catalog"));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    next(&mut stream).await;
    // Nor is it the operator then.
    platform.known().lock().unwrap().operator_uid = 4_000_000;
    platform.says(me(), None);
    let end = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(end, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)), "{end:?}");
    crate::common::until("the stream is counted out", || platform.exported("zizon_identity_streams ") == 0.0).await;
}

#[tokio::test]
async fn a_process_that_becomes_another_role_gets_the_other_identity_on_its_open_stream() {
    let platform = Platform::start(short_lived());
    platform.says(me(), Some("catalog"));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    assert_eq!(id(&next(&mut stream).await), "spiffe://zizon.local/ns/shop/sa/catalog");
    platform.says(me(), Some("edge"));
    assert_eq!(id(&next(&mut stream).await), "spiffe://zizon.local/ns/shop/sa/edge");
}

#[tokio::test]
async fn without_the_supervisor_callers_are_turned_away_for_now_and_not_taken_for_somebody_else() {
    let mut platform = Platform::start(Config::default());
    platform.supervisor.take().unwrap().dies().await;
    let refused = platform.client().await.fetch_x509_context().await.unwrap_err();
    assert!(is_unavailable(&refused), "{refused:?}");
    assert!(platform.exported("zizon_identity_stream_opens_total{outcome=\"supervisor\"}") >= 1.0);
}

#[tokio::test]
async fn an_open_stream_outlives_a_short_absence_of_the_supervisor() {
    let mut platform = Platform::start(short_lived());
    platform.says(me(), Some("orders"));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    let first = next(&mut stream).await;
    platform.supervisor.take().unwrap().dies().await;
    let second = next(&mut stream).await;
    assert_ne!(serial(&first), serial(&second));
    let end = loop {
        match timeout(PATIENCE, stream.next()).await.unwrap().unwrap() {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(is_unavailable(&end), "{end:?}");
}

#[tokio::test]
async fn a_restart_keeps_the_root() {
    let mut platform = Platform::start(Config::default());
    let before = platform.client().await.fetch_x509_context().await.unwrap();
    platform.restart(Config::default()).await;
    let after = platform.client().await.fetch_x509_context().await.unwrap();
    assert_eq!(roots(&before), roots(&after));
    assert_ne!(serial(&before), serial(&after));
    assert_eq!(signer(&after), 0);
}

#[tokio::test]
async fn a_new_root_is_published_before_it_signs_and_the_old_one_leaves_after_its_last_leaf() {
    let clock = MovedClock::new();
    let config = Config { svid_life_seconds: 10, recheck_seconds: 60, ..Config::default() };
    let platform = Platform::start_with(config, Clock::from_source(clock.clone()));
    platform.says(me(), Some("orders"));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    let first = next(&mut stream).await;
    let old = roots(&first);
    assert_eq!(old.len(), 1);

    clock.advance(Duration::from_secs(12 * 3600 + 1));
    let prepared = loop {
        let context = next(&mut stream).await;
        if roots(&context).len() == 2 {
            break context;
        }
    };
    assert_eq!(roots(&prepared)[0], old[0]);
    assert_eq!(signer(&prepared), 0, "the old root still signs");

    clock.advance(Duration::from_secs(8 * 3600));
    let activated = loop {
        let context = next(&mut stream).await;
        if signer(&context) == 1 {
            break context;
        }
    };
    assert_eq!(roots(&activated).len(), 2, "the old root is still trusted");

    clock.advance(Duration::from_secs(10 + 30 + 2));
    let settled = loop {
        let context = next(&mut stream).await;
        if roots(&context).len() == 1 {
            break context;
        }
    };
    assert_eq!(roots(&settled)[0], roots(&prepared)[1]);
    assert_eq!(signer(&settled), 0);
}

#[tokio::test]
async fn a_step_of_the_wall_clock_in_either_direction_gets_everybody_a_fresh_svid() {
    let clock = MovedClock::new();
    let platform = Platform::start_with(Config::default(), Clock::from_source(clock.clone()));
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    let first = next(&mut stream).await;
    clock.advance(Duration::from_secs(300));
    let second = next(&mut stream).await;
    assert_ne!(serial(&first), serial(&second));
    clock.step_back(Duration::from_secs(600));
    let third = next(&mut stream).await;
    assert_ne!(serial(&second), serial(&third));
    assert!(platform.exported("zizon_identity_clock_steps_total") >= 2.0);
}

#[tokio::test]
async fn every_delivery_is_in_the_audit() {
    let platform = Platform::start(Config::default());
    let context = platform.client().await.fetch_x509_context().await.unwrap();
    let serial = serial(&context).replace(':', "");
    let audit = std::fs::read_to_string(platform.directory.path().join("identity/audit.log")).unwrap();
    let delivered = audit.lines().find(|line| line.contains("\"delivered\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(delivered).unwrap();
    assert_eq!(line["serial"], serial);
    assert_eq!(line["pid"], me());
    assert_eq!(line["id"], id(&context));
    assert_eq!(line["exe"].as_str(), std::env::current_exe().unwrap().to_str());
}

#[tokio::test]
async fn a_process_may_have_so_many_streams_and_no_more() {
    let config = Config { streams_per_process_max: 3, ..Config::default() };
    let platform = Platform::start(config);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
        next(&mut stream).await;
        streams.push(stream);
    }
    let refused = platform.client().await.fetch_x509_context().await.unwrap_err();
    assert!(is_unavailable(&refused), "{refused:?}");
    drop(streams);
    crate::common::until("the streams are counted out", || platform.exported("zizon_identity_streams ") == 0.0).await;
    assert!(platform.client().await.fetch_x509_context().await.is_ok());
}

#[tokio::test]
async fn opening_streams_too_fast_is_turned_away() {
    let platform = Platform::start(Config { opens_per_second_per_uid: 1, ..Config::default() });
    let client = platform.client().await;
    let mut shed = 0;
    for _ in 0..6 {
        shed += u32::from(client.fetch_x509_context().await.is_err());
    }
    assert!(shed >= 3, "{shed}");
    assert!(platform.exported("zizon_identity_stream_opens_total{outcome=\"shed\"}") >= 3.0);
}

#[tokio::test]
async fn stopping_tells_open_streams_to_come_back() {
    let mut platform = Platform::start(Config::default());
    let mut stream = Box::pin(platform.client().await.stream_x509_contexts().await.unwrap());
    next(&mut stream).await;
    platform.shutdown.cancel();
    let end = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
    assert!(is_unavailable(&end), "{end:?}");
    timeout(PATIENCE, platform.issuer.stopped()).await.unwrap().unwrap();
}
