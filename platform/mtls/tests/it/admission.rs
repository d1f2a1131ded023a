//! Who gets in, and by which name the others are refused.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;
use zizon_mtls::{
    Acceptor, Connector, HandshakeError, PeerPolicy, ProfileError, Reason, Rejection, Side, SvidDer,
    testing::{ManualTime, TestCa, uri},
};

use crate::{
    raw::knock,
    support::{BOUND, accept_one, listen, meet, open_to_domain, orders, registry},
};

const EDGE: &str = "ns/shop/sa/edge";

/// What an acceptor says of a client that presents `svid`; the client must see a refusal, too.
async fn refusal(acceptor: &Acceptor, svid: Option<&SvidDer>) -> HandshakeError {
    let (listener, address) = listen().await;
    let (accepted, knocked) =
        timeout(BOUND, async { tokio::join!(accept_one(&listener, acceptor), knock(&address, svid)) }).await.unwrap();
    assert!(knocked.is_err(), "the client was greeted");
    accepted.unwrap_err()
}

async fn rejection(ca: &TestCa, svid: &SvidDer) -> Rejection {
    match refusal(&orders(ca), Some(svid)).await {
        HandshakeError::Rejected(rejection) => rejection,
        other => panic!("not a rejection: {other:?}"),
    }
}

async fn profile_error(edit: impl FnOnce(&mut CertificateParams)) -> ProfileError {
    let ca = TestCa::new("zizon.local");
    match rejection(&ca, &ca.svid_with(EDGE, edit)).await {
        Rejection::NotAnSvid(error) => error,
        other => panic!("not a profile error: {other:?}"),
    }
}

#[tokio::test]
async fn two_identities_of_one_domain_meet_and_know_each_other() {
    let ca = TestCa::new("zizon.local");
    let (acceptor, connector) = (orders(&ca), Connector::new(ca.source(EDGE), registry()));
    let (server, client) = meet(&acceptor, &connector, ca.id("ns/shop/sa/orders").as_str()).await;
    assert_eq!(server.unwrap().id, ca.id(EDGE));
    assert_eq!(client.unwrap().id, ca.id("ns/shop/sa/orders"));
}

#[tokio::test]
async fn the_hybrid_post_quantum_group_is_negotiated() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let counted = registry();
    let acceptor = open_to_domain(&ca, ca.source("ns/shop/sa/orders"), Arc::clone(&counted));
    let connector = Connector::new(ca.source(EDGE), registry());
    let expect = ca.id("ns/shop/sa/orders");
    let (_, connected) = tokio::join!(accept_one(&listener, &acceptor), connector.connect(&address, &expect, &[]));
    let (stream, _) = connected.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert!(counted.metrics().key_exchanges().any(|(group, count)| group.label() == "x25519mlkem768" && count == 1));
}

#[tokio::test]
async fn a_foreign_authority_is_unknown() {
    let (ours, foreign) = (TestCa::new("zizon.local"), TestCa::new("zizon.local"));
    assert!(
        matches!(rejection(&ours, &foreign.svid(EDGE)).await, Rejection::UnknownAuthority { id } if id == ours.id(EDGE))
    );
}

#[tokio::test]
async fn another_trust_domain_is_not_trusted() {
    let (ours, other) = (TestCa::new("zizon.local"), TestCa::new("elsewhere.local"));
    assert!(matches!(rejection(&ours, &other.svid(EDGE)).await, Rejection::UnknownTrustDomain { .. }));
}

#[tokio::test]
async fn a_root_of_another_domain_cannot_vouch_for_ours() {
    let (ours, other) = (TestCa::new("zizon.local"), TestCa::new("elsewhere.local"));
    let mut federated = ours.svid("ns/shop/sa/orders");
    federated.bundles.insert(other.domain().clone(), vec![other.root().to_vec()]);
    let source = zizon_mtls::SvidSource::fixed(Arc::new(zizon_mtls::Material::build(&federated).unwrap()));
    let forged =
        other.svid_with(EDGE, |params| params.subject_alt_names = vec![uri("spiffe://zizon.local/ns/shop/sa/edge")]);
    let error = refusal(&open_to_domain(&ours, source, registry()), Some(&forged)).await;
    assert_eq!(error.reason(), Reason::UnknownAuthority);
}

#[tokio::test]
async fn a_federated_domain_is_verified_but_needs_a_policy_that_admits_it() {
    let (ours, other) = (TestCa::new("zizon.local"), TestCa::new("elsewhere.local"));
    let mut federated = ours.svid("ns/shop/sa/orders");
    federated.bundles.insert(other.domain().clone(), vec![other.root().to_vec()]);
    let source = zizon_mtls::SvidSource::fixed(Arc::new(zizon_mtls::Material::build(&federated).unwrap()));
    let closed = open_to_domain(&ours, Arc::clone(&source), registry());
    assert_eq!(refusal(&closed, Some(&other.svid(EDGE))).await.reason(), Reason::WrongIdentity);
    let open = Acceptor::new(source, PeerPolicy::Exactly(vec![other.id(EDGE)]), registry());
    let (listener, address) = listen().await;
    let svid = other.svid(EDGE);
    let (accepted, knocked) = tokio::join!(accept_one(&listener, &open), knock(&address, Some(&svid)));
    assert_eq!(accepted.unwrap().id, other.id(EDGE));
    knocked.unwrap();
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let ca = TestCa::new("zizon.local");
    assert!(matches!(refusal(&orders(&ca), None).await, HandshakeError::NoCertificate));
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = TestCa::new("zizon.local");
    assert_eq!(rejection(&ca, &ca.svid_between(EDGE, 1_000, 2_000)).await, Rejection::Expired);
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    let ca = TestCa::new("zizon.local");
    assert_eq!(rejection(&ca, &ca.svid_between(EDGE, 4_000_000_000, 4_100_000_000)).await, Rejection::NotYetValid);
}

#[tokio::test]
async fn the_clock_that_judges_is_the_one_given() {
    let ca = TestCa::new("zizon.local");
    let own = ca.material("ns/shop/sa/orders");
    let time = ManualTime::at(own.not_after() - 10);
    let later = ca.svid_with(EDGE, |params| params.not_after = rcgen::date_time_ymd(2100, 1, 1));
    let (source, _handle) = zizon_mtls::SvidSource::controlled(own, time.clock());
    let acceptor = open_to_domain(&ca, source, registry());
    let (listener, address) = listen().await;
    let (accepted, _) = tokio::join!(accept_one(&listener, &acceptor), knock(&address, Some(&later)));
    accepted.unwrap();
    time.set(1_000);
    assert_eq!(refusal(&acceptor, Some(&later)).await.reason(), Reason::NotYetValid);
}

#[tokio::test]
async fn two_uris_are_not_an_identity() {
    let error =
        profile_error(|params| params.subject_alt_names.push(uri("spiffe://zizon.local/ns/shop/sa/orders"))).await;
    assert_eq!(error, ProfileError::SeveralUris);
}

#[tokio::test]
async fn a_uri_that_is_no_spiffe_id_beside_one_is_too_many() {
    let error = profile_error(|params| params.subject_alt_names.push(uri("https://zizon.local/"))).await;
    assert_eq!(error, ProfileError::SeveralUris);
}

#[tokio::test]
async fn a_certificate_without_uri_is_not_an_identity() {
    let error =
        profile_error(|params| params.subject_alt_names = vec![rcgen::SanType::DnsName("edge".try_into().unwrap())])
            .await;
    assert_eq!(error, ProfileError::NoUri);
    assert_eq!(profile_error(|params| params.subject_alt_names.clear()).await, ProfileError::NoUri);
}

#[tokio::test]
async fn a_dns_name_beside_the_uri_is_ignored() {
    let ca = TestCa::new("zizon.local");
    let svid =
        ca.svid_with(EDGE, |params| params.subject_alt_names.push(rcgen::SanType::DnsName("edge".try_into().unwrap())));
    let (listener, address) = listen().await;
    let acceptor = orders(&ca);
    let (accepted, knocked) = tokio::join!(accept_one(&listener, &acceptor), knock(&address, Some(&svid)));
    assert_eq!(accepted.unwrap().id, ca.id(EDGE));
    knocked.unwrap();
}

#[tokio::test]
async fn the_trust_domains_own_id_is_no_workload() {
    for root in ["spiffe://zizon.local", "spiffe://zizon.local/"] {
        assert_eq!(
            profile_error(|params| params.subject_alt_names = vec![uri(root)]).await,
            ProfileError::NotAWorkloadId
        );
    }
}

#[tokio::test]
async fn a_signing_certificate_is_no_leaf() {
    let error = profile_error(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await;
    assert_eq!(error, ProfileError::IsCa);
}

#[tokio::test]
async fn the_authority_itself_is_refused_as_a_peer() {
    let ca = TestCa::new("zizon.local");
    let mut own = ca.svid(EDGE);
    own.chain = vec![ca.root().to_vec()];
    assert_eq!(refusal(&orders(&ca), Some(&own)).await.reason(), Reason::NotAnSvid);
}

#[tokio::test]
async fn missing_basic_constraints_are_refused() {
    assert_eq!(profile_error(|params| params.is_ca = IsCa::NoCa).await, ProfileError::NoBasicConstraints);
}

#[tokio::test]
async fn missing_key_usage_is_refused() {
    assert_eq!(profile_error(|params| params.key_usages.clear()).await, ProfileError::NoKeyUsage);
}

#[tokio::test]
async fn key_usage_beyond_a_workloads_is_refused() {
    for usages in [
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
        vec![KeyUsagePurpose::KeyEncipherment],
    ] {
        assert_eq!(profile_error(|params| params.key_usages = usages).await, ProfileError::KeyUsage);
    }
}

#[tokio::test]
async fn half_an_extended_key_usage_is_refused_and_none_is_fine() {
    for half in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        assert_eq!(
            profile_error(|params| params.extended_key_usages = vec![half]).await,
            ProfileError::ExtendedKeyUsage
        );
    }
    let ca = TestCa::new("zizon.local");
    let svid = ca.svid_with(EDGE, |params| params.extended_key_usages.clear());
    let (listener, address) = listen().await;
    let acceptor = orders(&ca);
    let (accepted, _) = tokio::join!(accept_one(&listener, &acceptor), knock(&address, Some(&svid)));
    accepted.unwrap();
}

/// A leaf under an intermediate that `edit` may spoil.
fn under_intermediate(ca: &TestCa, edit: impl FnOnce(&mut CertificateParams)) -> SvidDer {
    let mut params = ca.leaf_params("x");
    params.subject_alt_names = vec![uri(&ca.domain().id())];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages.clear();
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    edit(&mut params);
    let (signing_key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let intermediate = ca.sign(&params, &signing_key);
    let issuer = rcgen::Issuer::new(params, signing_key);
    let leaf = ca.leaf_params(EDGE).signed_by(&leaf_key, &issuer).unwrap();
    SvidDer {
        chain: vec![leaf.der().to_vec(), intermediate],
        key: Zeroizing::new(leaf_key.serialize_der()),
        bundles: ca.svid(EDGE).bundles,
    }
}

#[tokio::test]
async fn an_intermediate_that_may_sign_is_followed() {
    let ca = TestCa::new("zizon.local");
    let svid = under_intermediate(&ca, |_| {});
    let (listener, address) = listen().await;
    let acceptor = orders(&ca);
    let (accepted, _) = tokio::join!(accept_one(&listener, &acceptor), knock(&address, Some(&svid)));
    assert_eq!(accepted.unwrap().id, ca.id(EDGE));
}

#[tokio::test]
async fn an_intermediate_that_may_not_sign_is_refused() {
    let ca = TestCa::new("zizon.local");
    let unsigning = under_intermediate(&ca, |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    assert_eq!(rejection(&ca, &unsigning).await, Rejection::NotAnSvid(ProfileError::Intermediate));
    let workload = under_intermediate(&ca, |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(rejection(&ca, &workload).await, Rejection::NotAnSvid(ProfileError::Intermediate));
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_useless() {
    let ca = TestCa::new("zizon.local");
    let mut stolen = ca.svid(EDGE);
    stolen.key = ca.svid(EDGE).key;
    assert_eq!(refusal(&orders(&ca), Some(&stolen)).await.reason(), Reason::Protocol);
}

#[tokio::test]
async fn an_identity_outside_the_policy_is_refused() {
    let ca = TestCa::new("zizon.local");
    let only_edge = PeerPolicy::Exactly(vec![ca.id(EDGE)]);
    let acceptor = Acceptor::new(ca.source("ns/shop/sa/orders"), only_edge, registry());
    let error = refusal(&acceptor, Some(&ca.svid("ns/shop/sa/catalog"))).await;
    assert!(
        matches!(error, HandshakeError::Rejected(Rejection::WrongIdentity { got }) if got == ca.id("ns/shop/sa/catalog"))
    );
}

#[tokio::test]
async fn a_denied_identity_is_refused_and_counted() {
    let ca = TestCa::new("zizon.local");
    let counted = registry();
    counted.set_denied([ca.id(EDGE)]);
    let acceptor = open_to_domain(&ca, ca.source("ns/shop/sa/orders"), Arc::clone(&counted));
    assert_eq!(refusal(&acceptor, Some(&ca.svid(EDGE))).await.reason(), Reason::Denied);
    assert_eq!(counted.metrics().handshakes_of(Side::Server, Reason::Denied), 1);
    counted.set_denied([]);
    let (listener, address) = listen().await;
    let svid = ca.svid(EDGE);
    let (accepted, _) = tokio::join!(accept_one(&listener, &acceptor), knock(&address, Some(&svid)));
    accepted.unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped_in_time() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let acceptor = orders(&ca).handshake_timeout(Duration::from_millis(50));
    let _silent = TcpStream::connect(&address).await.unwrap();
    assert!(matches!(timeout(BOUND, accept_one(&listener, &acceptor)).await.unwrap(), Err(HandshakeError::Timeout)));
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused_with_an_alert() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let acceptor = orders(&ca);
    let client = async {
        let mut tcp = TcpStream::connect(&address).await.unwrap();
        tcp.write_all(&tls12_hello()).await.unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (accepted, answer) =
        timeout(BOUND, async { tokio::join!(accept_one(&listener, &acceptor), client) }).await.unwrap();
    assert_eq!(accepted.unwrap_err().reason(), Reason::Protocol);
    // Record type alert, fatal, protocol_version.
    assert_eq!((answer[0], answer[5], answer[6]), (21, 2, 70));
}

#[tokio::test]
async fn the_application_protocol_is_agreed_or_the_peer_refused() {
    let ca = TestCa::new("zizon.local");
    let acceptor = orders(&ca).alpn(&[b"h2", b"http/1.1"]);
    let connector = Connector::new(ca.source(EDGE), registry());
    let expect = ca.id("ns/shop/sa/orders");
    let (listener, address) = listen().await;
    let offer: [&[u8]; 1] = [b"http/1.1"];
    let (_, connected) = tokio::join!(accept_one(&listener, &acceptor), connector.connect(&address, &expect, &offer));
    assert_eq!(connected.unwrap().0.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let offer: [&[u8]; 1] = [b"gopher"];
    let (accepted, connected) =
        tokio::join!(accept_one(&listener, &acceptor), connector.connect(&address, &expect, &offer));
    assert_eq!(accepted.unwrap_err().reason(), Reason::Protocol);
    assert!(matches!(connected, Err(HandshakeError::RefusedByPeer(rustls::AlertDescription::NoApplicationProtocol))));
}

#[tokio::test]
async fn plaintext_is_refused() {
    let ca = TestCa::new("zizon.local");
    let (listener, address) = listen().await;
    let acceptor = orders(&ca);
    let mut tcp = TcpStream::connect(&address).await.unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(accept_one(&listener, &acceptor).await.unwrap_err().reason(), Reason::Protocol);
}

/// A ClientHello that offers TLS 1.2 and nothing newer.
fn tls12_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, // supported_groups: secp256r1
        0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03, // signature_algorithms: ecdsa_secp256r1_sha256
    ];
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.push(0); // session id
    body.extend([0x00, 0x02, 0xc0, 0x2b]); // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    body.extend([0x01, 0x00]); // compression: null
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut message = vec![0x01, 0x00];
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    record.extend(message);
    record
}
