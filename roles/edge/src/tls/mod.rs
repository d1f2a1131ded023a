//! TLS of the public listener: version 1.3 only, X25519MLKEM768 first, a certificate that changes without a restart.

pub mod dev_ca;
mod error;
mod files;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{ServerName, UnixTime};
use tokio_util::sync::CancellationToken;
use zizon_mtls::crypto_provider;

pub use dev_ca::DevCa;
pub use error::TlsError;
pub use files::OwnFiles;

use crate::config::TlsConfig;
use crate::metrics::EdgeMetrics;

/// How often the operator's files are looked at.
const FILES_PERIOD: Duration = Duration::from_secs(2);
/// A leaf of the local authority is replaced at two thirds of its life.
const REISSUE_AFTER: Duration = Duration::from_secs(dev_ca::LEAF_LIFE_DAYS.unsigned_abs() * 86_400 * 2 / 3);

/// Where the certificate comes from.
#[derive(Debug)]
enum Origin {
    Files(OwnFiles),
    Local { authority: Box<DevCa>, hosts: Vec<String> },
}

/// The listener's certificate, kept current.
#[derive(Debug)]
pub struct Certificate {
    current: Arc<Current>,
    origin: Origin,
    /// The files as they were before they were read, so that no change is missed.
    seen: Option<files::Stamp>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    // Any Host is served, so any server name gets the one certificate.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    /// The operator's certificate where one is configured; otherwise one for `hosts` from the authority of `data_dir`.
    ///
    /// # Errors
    /// There is no usable certificate.
    pub fn open(config: &TlsConfig, data_dir: &Path, hosts: &[String]) -> Result<Self, TlsError> {
        let origin = match (&config.certificate_file, &config.key_file) {
            (Some(certificate), Some(key)) => {
                Origin::Files(OwnFiles { certificate: certificate.clone(), key: key.clone() })
            }
            _ => Origin::Local { authority: Box::new(DevCa::open(data_dir)?), hosts: hosts.to_vec() },
        };
        let seen = origin.stamp();
        let first = origin.obtain(data_dir)?;
        Ok(Self { current: Arc::new(Current(ArcSwap::from_pointee(first))), origin, seen })
    }

    /// The set-up of the listener.
    ///
    /// # Errors
    /// The cryptographic library fails.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let resolver = Arc::clone(&self.current);
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Stateless tickets spare a returning client the signature; early data, which can be replayed, stays off.
        config.ticketer = Ticketer::new().map_err(TlsError::Setup)?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }

    /// Takes changed files into use, or replaces a leaf before it expires, until `shutdown`. What cannot be used leaves
    /// the certificate as it is.
    pub async fn keep_current(self, data_dir: &Path, metrics: Arc<EdgeMetrics>, shutdown: CancellationToken) {
        let mut seen = self.seen;
        let period = self.origin.period();
        while shutdown.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            let stamp = self.origin.stamp();
            if stamp.is_some() && stamp == seen {
                continue;
            }
            match self.origin.obtain(data_dir) {
                Ok(certificate) => {
                    self.current.0.store(Arc::new(certificate));
                    metrics.certificate_loads.with(["ok"]).inc();
                    tracing::info!("the public listener has another certificate");
                }
                Err(error) => {
                    metrics.certificate_loads.with(["error"]).inc();
                    tracing::error!(error = %describe(&error), "certificate kept, the changed one cannot be used");
                }
            }
            seen = stamp;
        }
    }
}

impl Origin {
    fn obtain(&self, data_dir: &Path) -> Result<CertifiedKey, TlsError> {
        let provider = crypto_provider();
        match self {
            Self::Files(files) => files.load(&provider),
            Self::Local { authority, hosts } => {
                let issued = authority.issue(hosts, &provider)?;
                check_chain(authority, &issued).map_err(|error| TlsError::Authority {
                    file: data_dir.join("ca.pem"),
                    problem: format!("no longer verifies what it signs ({error})"),
                })?;
                Ok(issued)
            }
        }
    }

    fn stamp(&self) -> Option<files::Stamp> {
        match self {
            Self::Files(files) => Some(files.stamp()),
            Self::Local { .. } => None,
        }
    }

    fn period(&self) -> Duration {
        match self {
            Self::Files(_) => FILES_PERIOD,
            Self::Local { .. } => REISSUE_AFTER,
        }
    }
}

/// Looks at a chain the way clients do, so that an expired or foreign `ca.pem` is found here and not by them.
fn check_chain(authority: &DevCa, issued: &CertifiedKey) -> Result<(), Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider()).build()?;
    let name = ServerName::try_from("localhost")?;
    let leaf = issued.cert.first().ok_or("no certificate")?;
    verifier.verify_server_cert(leaf, &[], &name, &[], UnixTime::now())?;
    Ok(())
}

/// An error with its causes, on one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
