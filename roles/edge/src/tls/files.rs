//! The operator's own certificate.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::TlsError;

const CERTIFICATE_KEY: &str = "edge.tls.certificate_file";
const KEY_KEY: &str = "edge.tls.key_file";

/// Where the operator keeps certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// PEM with the certificate first.
    pub certificate: PathBuf,
    /// PEM with its key.
    pub key: PathBuf,
}

/// What tells one state of the files from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<(SystemTime, u64)>; 2]);

impl OwnFiles {
    /// Reads both files and checks that they belong together.
    ///
    /// # Errors
    /// Names the file, what is wrong with it, and what to do.
    pub fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain = self.chain()?;
        let text = read(KEY_KEY, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Invalid {
            key: KEY_KEY,
            file: self.key.clone(),
            problem: "holds no private key in PEM".to_owned(),
            remedy: "name a PEM file with an unencrypted key (PKCS#8, SEC 1 or PKCS#1)",
        })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Invalid {
                key: KEY_KEY,
                file: self.key.clone(),
                problem: format!("is not the key of {}", self.certificate.display()),
                remedy: "name the key that the certificate was made for",
            },
            error => TlsError::Invalid {
                key: CERTIFICATE_KEY,
                file: self.certificate.clone(),
                problem: format!("cannot be used ({error})"),
                remedy: "name a certificate and a key that TLS 1.3 can use (ECDSA, Ed25519 or RSA)",
            },
        })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = read(CERTIFICATE_KEY, &self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match chain {
            Ok(chain) if !chain.is_empty() => Ok(chain),
            _ => Err(TlsError::Invalid {
                key: CERTIFICATE_KEY,
                file: self.certificate.clone(),
                problem: "holds no certificate in PEM".to_owned(),
                remedy: "name a PEM file with the certificate, followed by its intermediates",
            }),
        }
    }

    /// The present state of the files.
    pub(super) fn stamp(&self) -> Stamp {
        let of = |file: &Path| {
            let found = std::fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        Stamp([of(&self.certificate), of(&self.key)])
    }
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { key, file: file.to_owned(), source })
}
