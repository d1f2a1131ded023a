//! Each rule of the X509-SVID standard, looked up in the bytes a client gets.

use crate::common::Platform;
use spiffe::{WorkloadApiClient, X509Context};
use x509_parser::prelude::*;
use zizon_identity::Config;

const LIFE: i64 = 120;

async fn context(platform: &Platform, role: &str) -> X509Context {
    platform.says(std::process::id(), Some(role));
    let client: WorkloadApiClient = platform.client().await;
    client.fetch_x509_context().await.unwrap()
}

async fn leaf_of(role: &str) -> Vec<u8> {
    let platform = Platform::start(Config::default());
    let context = context(&platform, role).await;
    let chain = context.default_svid().unwrap().cert_chain();
    assert_eq!(chain.len(), 1, "signed by the root itself");
    chain[0].as_bytes().to_vec()
}

async fn root() -> Vec<u8> {
    let platform = Platform::start(Config::default());
    let context = context(&platform, "orders").await;
    let bundle = context.bundle_set().get(&"zizon.local".try_into().unwrap()).unwrap();
    bundle.authorities()[0].as_bytes().to_vec()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

#[tokio::test]
async fn a_leaf_has_exactly_one_name_its_spiffe_id_critical_beside_an_empty_subject() {
    for (role, path) in
        [("edge", "ns/shop/sa/edge"), ("identity", "ns/ops/sa/identity"), ("supervisor", "ns/ops/sa/supervisor")]
    {
        let der = leaf_of(role).await;
        let leaf = parse(&der);
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical);
        let id = format!("spiffe://zizon.local/{path}");
        assert_eq!(names.value.general_names, [GeneralName::URI(&id)]);
        assert_eq!(leaf.subject().iter().count(), 0);
    }
}

#[tokio::test]
async fn a_leaf_says_in_so_many_words_that_it_is_no_authority() {
    let der = leaf_of("edge").await;
    let leaf = parse(&der);
    let constraints = leaf.basic_constraints().unwrap().expect("present, not merely by default");
    assert!(!constraints.value.ca && constraints.value.path_len_constraint.is_none());
}

#[tokio::test]
async fn a_leaf_may_sign_handshakes_on_both_sides_and_nothing_else() {
    let der = leaf_of("edge").await;
    let leaf = parse(&der);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth);
    assert!(!extended.any && !extended.code_signing && !extended.email_protection && extended.other.is_empty());
}

#[tokio::test]
async fn a_leaf_lives_for_the_configured_time_and_began_thirty_seconds_ago() {
    let der = leaf_of("edge").await;
    let leaf = parse(&der);
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    assert_eq!(to - from, LIFE + 30);
    let now = ASN1Time::now().timestamp();
    assert!((now - 35..=now - 30).contains(&from), "{from} at {now}");
}

#[tokio::test]
async fn a_leaf_is_on_p256_with_a_long_random_serial_and_points_at_its_authority() {
    let platform = Platform::start(Config::default());
    let context = context(&platform, "edge").await;
    let der = context.default_svid().unwrap().leaf().as_bytes().to_vec();
    let leaf = parse(&der);
    assert_eq!(leaf.public_key().algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
    let curve = leaf.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
    assert_eq!(leaf.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
    assert_eq!(leaf.raw_serial().len(), 16);
    assert!(leaf.raw_serial()[0] < 0x80, "positive");

    let bundle = context.bundle_set().get(&"zizon.local".try_into().unwrap()).unwrap();
    let root = parse(bundle.authorities()[0].as_bytes());
    assert_eq!(leaf.issuer(), root.subject());
    let extension = |of: &X509Certificate<'_>, wanted: fn(&ParsedExtension<'_>) -> Option<Vec<u8>>| {
        of.extensions().iter().find_map(|extension| wanted(extension.parsed_extension()))
    };
    let authority = extension(&leaf, |parsed| match parsed {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    });
    let subject = extension(&root, |parsed| match parsed {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    assert!(authority.is_some() && authority == subject);
}

#[tokio::test]
async fn the_private_key_is_the_leafs_in_plain_pkcs8() {
    let platform = Platform::start(Config::default());
    let context = context(&platform, "edge").await;
    let svid = context.default_svid().unwrap();
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, svid.private_key().as_bytes()).unwrap();
    let der = svid.leaf().as_bytes().to_vec();
    let public = aws_lc_rs::signature::KeyPair::public_key(&key);
    assert_eq!(public.as_ref(), &*parse(&der).public_key().subject_public_key.data);
}

#[tokio::test]
async fn the_root_signs_certificates_has_an_id_without_path_and_authenticates_nobody() {
    let der = root().await;
    let root = parse(&der);
    let constraints = root.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    let usage = root.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign());
    assert!(!usage.value.digital_signature() && !usage.value.crl_sign());
    assert!(root.extended_key_usage().unwrap().is_none());
    let names = root.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names, [GeneralName::URI("spiffe://zizon.local")]);
    let life = root.validity().not_after.timestamp() - root.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 30);
}
