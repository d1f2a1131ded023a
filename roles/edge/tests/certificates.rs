//! The public listener's certificate: issued here, or the operator's own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::mesh::{Platform, connect};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use zizon_edge::tls::{Certificate, DevCa};
use zizon_edge::{Config, TlsConfig};
use zizon_mtls::crypto_provider;

fn issue(data: &Path, hosts: &[&str]) -> CertifiedKey {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    DevCa::open(data).unwrap().issue(&hosts, &crypto_provider()).unwrap()
}

/// Shakes hands once with a listener that uses `certificate`, as a client that asks for `name`.
async fn handshake(certificate: &Certificate, name: &str, ca_file: &Path) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(certificate.server_config().unwrap());
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await?;
        stream.shutdown().await
    });
    connect(address, name, ca_file, b"http/1.1").await?;
    serving.await.unwrap().ok();
    Ok(())
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_under_every_name() {
    let data = tempfile::tempdir().unwrap();
    let hosts = ["api.cloudwave10.shop".to_owned(), "192.0.2.7".to_owned()];
    let certificate = Certificate::open(&TlsConfig::default(), data.path(), &hosts).unwrap();
    let ca_file = data.path().join("ca.pem");
    for name in ["api.cloudwave10.shop", "192.0.2.7", "localhost", "127.0.0.1", "::1"] {
        handshake(&certificate, name, &ca_file).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(handshake(&certificate, "other.example", &ca_file).await.is_err());
}

#[test]
fn the_authority_stays_over_restarts_and_keeps_its_key_to_itself() {
    let data = tempfile::tempdir().unwrap();
    let first = issue(data.path(), &["a.example"]);
    let ca = std::fs::read(data.path().join("ca.pem")).unwrap();
    let second = issue(data.path(), &["b.example"]);
    assert_eq!(ca, std::fs::read(data.path().join("ca.pem")).unwrap());
    assert_ne!(first.cert, second.cert, "a leaf is issued at every start");
    let mode = |name: &str| data.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys/edge-ca.key"), mode("keys")), (0o600, 0o700));
}

#[test]
fn files_of_the_authority_that_do_not_belong_together_are_named_with_the_remedy() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    issue(one.path(), &[]);
    issue(other.path(), &[]);
    std::fs::copy(other.path().join("ca.pem"), one.path().join("ca.pem")).unwrap();
    let error = DevCa::open(one.path()).unwrap_err().to_string();
    assert!(error.contains("ca.pem is not the certificate of keys/edge-ca.key; remove it"), "{error}");
    std::fs::write(one.path().join("keys/edge-ca.key"), "nonsense").unwrap();
    let error = DevCa::open(one.path()).unwrap_err().to_string();
    assert!(error.contains("edge-ca.key is not a private key in PEM; remove it"), "{error}");
}

/// A certificate and key of an authority of their own, as PEM files; returns the authority's file.
fn own_files(directory: &Path, tls: &TlsConfig) -> std::path::PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap();
    std::fs::write(tls.key_file.as_ref().unwrap(), key.serialize_pem()).unwrap();
    std::fs::write(tls.certificate_file.as_ref().unwrap(), made.pem()).unwrap();
    let ca_file = directory.join(format!("{:?}.pem", std::time::Instant::now()).replace([' ', '{', '}', ':'], ""));
    std::fs::write(&ca_file, made.pem()).unwrap();
    ca_file
}

fn config_in(directory: &Path) -> TlsConfig {
    TlsConfig { certificate_file: Some(directory.join("own.pem")), key_file: Some(directory.join("own.key")) }
}

#[tokio::test]
async fn the_operators_own_certificate_is_used_and_a_changed_one_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let tls = config_in(files.path());
    let first = own_files(files.path(), &tls);
    let config = Config { tls: tls.clone(), ..Config::default() };
    let data = tempfile::tempdir().unwrap();
    let certificate = Certificate::open(&config.tls, data.path(), &[]).unwrap();
    assert!(!data.path().join("ca.pem").exists(), "no authority is made where none is needed");
    handshake(&certificate, "localhost", &first).await.unwrap();
    let server = TlsAcceptor::from(certificate.server_config().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = server.accept(tcp).await;
        }
    }));
    let registry = zizon_telemetry::Metrics::new();
    let metrics = Arc::new(zizon_edge::metrics::EdgeMetrics::new(&registry, &zizon_edge::guard::Admission::new(8, 8)));
    let stop = tokio_util::sync::CancellationToken::new();
    let directory = data.path().to_owned();
    let stopping = stop.clone();
    let keeping = tokio::spawn(async move { certificate.keep_current(&directory, metrics, stopping).await });
    std::fs::write(tls.key_file.as_ref().unwrap(), "half written").unwrap();
    let refused = async {
        while !registry.encode().contains("certificate_loads_total{result=\"error\"} 1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the damage is seen");
    connect(address, "localhost", &first, b"http/1.1").await.expect("and the certificate kept");
    let second = own_files(files.path(), &tls);
    let changed = async {
        while connect(address, "localhost", &second, b"http/1.1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("the changed certificate is in use");
    stop.cancel();
    keeping.await.unwrap();
}

#[test]
fn an_unusable_certificate_is_named_with_key_file_and_remedy() {
    let files = tempfile::tempdir().unwrap();
    let tls = config_in(files.path());
    let open = || Certificate::open(&tls, files.path(), &[]).unwrap_err().to_string();
    let error = open();
    assert!(error.starts_with("edge.tls.certificate_file ") && error.contains("own.pem cannot be read"), "{error}");
    own_files(files.path(), &tls);
    let certificate = std::fs::read(tls.certificate_file.as_ref().unwrap()).unwrap();
    own_files(files.path(), &tls);
    std::fs::write(tls.certificate_file.as_ref().unwrap(), certificate).unwrap();
    let error = open();
    assert!(error.starts_with("edge.tls.key_file ") && error.contains("own.key is not the key of "), "{error}");
    std::fs::write(tls.key_file.as_ref().unwrap(), "").unwrap();
    assert!(open().contains("own.key holds no private key in PEM; name a PEM file"), "{}", open());
    std::fs::write(tls.certificate_file.as_ref().unwrap(), "x").unwrap();
    assert!(open().contains("own.pem holds no certificate in PEM"), "{}", open());
}

#[test]
fn the_provider_offers_the_post_quantum_exchange_first() {
    let provider: Arc<CryptoProvider> = crypto_provider();
    assert_eq!(provider.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
}

const STRICT: &str = r"
import socket, ssl, sys
ca, port = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
for name in ['localhost', 'shop.example', '127.0.0.1', '::1']:
    with socket.create_connection(('127.0.0.1', port)) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            assert tls.version() == 'TLSv1.3', tls.version()
            tls.sendall(b'GET /healthz HTTP/1.1\r\nHost: ' + name.encode().join([b'[', b']'] if ':' in name else [b'', b'']) + b'\r\nConnection: close\r\n\r\n')
            assert tls.recv(1000).startswith(b'HTTP/1.1 200 OK'), name
context.maximum_version = ssl.TLSVersion.TLSv1_2
try:
    with socket.create_connection(('127.0.0.1', port)) as tcp:
        context.wrap_socket(tcp, server_hostname='localhost')
    sys.exit('TLS 1.2 was accepted')
except ssl.SSLError:
    print('strict verification passed')
";

#[tokio::test]
async fn a_strict_verifier_of_another_make_accepts_the_chain_and_gets_tls_1_3_only() {
    let works = Command::new("python3").args(["-c", "import ssl; ssl.VERIFY_X509_STRICT"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        println!("NOT RUN: python3 with the ssl module is not on this machine");
        return;
    }
    let platform = Platform::start().await;
    let (ca, port) = (platform.ca_file(), platform.address.port().to_string());
    let checking = tokio::process::Command::new("python3").arg("-c").arg(STRICT).arg(ca).arg(port).output();
    let output = tokio::time::timeout(Duration::from_secs(30), checking).await.expect("in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
