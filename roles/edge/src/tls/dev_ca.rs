//! The authority that signs the public listener's certificate where the operator has none: made once per data
//! directory, strict enough for verifiers that insist on RFC 5280.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};
use zizon_contracts::paths::Paths;

use super::error::TlsError;

/// How long a leaf certificate lives, in days.
pub const LEAF_LIFE_DAYS: i64 = 90;
/// How long the authority lives, in days.
const AUTHORITY_LIFE_DAYS: i64 = 3650;

/// A local certificate authority.
#[derive(Debug)]
pub struct DevCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl DevCa {
    /// The authority of `data_dir`: its key is `keys/edge-ca.key` (mode 0600), its certificate `ca.pem`. Both are made
    /// when the key is not there, and stay.
    ///
    /// # Errors
    /// The files cannot be read, written or used.
    pub fn open(data_dir: &Path) -> Result<Self, TlsError> {
        let paths = Paths::new(data_dir, data_dir);
        let key_file = paths.keys().join("edge-ca.key");
        let ca_file = paths.ca_file();
        let key_was_there = key_file.exists();
        let key = if key_was_there { read_key(&key_file)? } else { make_key(&paths.keys(), &key_file)? };
        let params = authority_params(&key);
        // A certificate without its key is of no use: it is replaced together with the key.
        let certificate = if key_was_there && ca_file.exists() {
            read_certificate(&ca_file, &key)?
        } else {
            let made = params.self_signed(&key).map_err(issue_error("the authority"))?;
            write_file(&ca_file, made.pem().as_bytes(), 0o644)?;
            made.der().clone()
        };
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate with a fresh key for `hosts`, `localhost` and the loopback addresses, valid for
    /// [`LEAF_LIFE_DAYS`]. The key stays in memory.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn issue(&self, hosts: &[String], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let named = || hosts.join(", ");
        let error = |source| TlsError::Issue { hosts: named(), source };
        let key = KeyPair::generate().map_err(error)?;
        let leaf = leaf_params(hosts).and_then(|params| params.signed_by(&key, &self.issuer)).map_err(error)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        CertifiedKey::from_der(vec![leaf.der().clone()], key, provider).map_err(TlsError::Setup)
    }
}

/// The same for the same key, so that the issuer's name in a leaf is the authority's subject after any restart.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    let tag: String = key.public_key_raw().iter().skip(1).take(4).map(|byte| format!("{byte:02x}")).collect();
    name.push(DnType::CommonName, format!("Zizon local authority {tag}"));
    params.distinguished_name = name;
    // BasicConstraints and KeyUsage are critical in what `rcgen` writes (RFC 5280, 4.2.1.3 and 4.2.1.9).
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(AUTHORITY_LIFE_DAYS);
    params
}

fn leaf_params(hosts: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Zizon edge");
    params.distinguished_name = name;
    let mut names: Vec<SanType> =
        vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)), SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST))];
    for host in hosts.iter().map(String::as_str).chain(["localhost"]) {
        let san = match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.to_ascii_lowercase().try_into()?),
        };
        if !names.contains(&san) {
            names.push(san);
        }
    }
    params.subject_alt_names = names;
    // Writes BasicConstraints CA:FALSE and the subject key identifier.
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(LEAF_LIFE_DAYS);
    Ok(params)
}

fn issue_error(hosts: &'static str) -> impl Fn(rcgen::Error) -> TlsError {
    move |source| TlsError::Issue { hosts: hosts.to_owned(), source }
}

fn read_key(file: &Path) -> Result<KeyPair, TlsError> {
    let text = std::fs::read_to_string(file).map_err(|source| TlsError::AuthorityFile {
        action: "read",
        file: file.to_owned(),
        source,
    })?;
    let damaged = |_| TlsError::Authority { file: file.to_owned(), problem: "is not a private key in PEM".to_owned() };
    KeyPair::from_pem(&text).map_err(damaged)
}

fn make_key(directory: &Path, file: &Path) -> Result<KeyPair, TlsError> {
    let key = KeyPair::generate().map_err(issue_error("the authority"))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| TlsError::AuthorityFile { action: "create", file: directory.to_owned(), source })?;
    write_file(file, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

fn read_certificate(file: &Path, key: &KeyPair) -> Result<CertificateDer<'static>, TlsError> {
    let wrong = |problem: &str| TlsError::Authority { file: file.to_owned(), problem: problem.to_owned() };
    let text = std::fs::read(file).map_err(|source| TlsError::AuthorityFile {
        action: "read",
        file: file.to_owned(),
        source,
    })?;
    let certificate = CertificateDer::from_pem_slice(&text).map_err(|_| wrong("is not a certificate in PEM"))?;
    // The public key stands in the certificate as it is; whether the whole chain verifies is checked by the caller.
    if memchr::memmem::find(&certificate, key.public_key_raw()).is_none() {
        return Err(wrong("is not the certificate of keys/edge-ca.key"));
    }
    Ok(certificate)
}

/// Writes a file whole or not at all, durable before it has its name.
fn write_file(file: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    let temporary: PathBuf = file.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut out =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        out.write_all(content)?;
        out.sync_all()?;
        std::fs::rename(&temporary, file)
    };
    write().map_err(|source| TlsError::AuthorityFile { action: "write", file: file.to_owned(), source })
}
