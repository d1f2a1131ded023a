//! Where requests go, and whom to trust there.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::LoadError;

/// A parsed base address with its TLS configuration.
#[derive(Clone)]
pub(crate) struct Target {
    /// `HOST:PORT` to connect to.
    pub(crate) address: String,
    /// Value of the `Host` header.
    pub(crate) host: String,
    /// Path in front of every route; empty or `/prefix`.
    pub(crate) prefix: String,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Target {
    pub(crate) fn new(url: &str, ca_file: &Path) -> Result<Self, LoadError> {
        let bad = |reason| LoadError::Url { url: url.into(), reason };
        let rest = url.strip_prefix("https://").ok_or_else(|| bad("the platform speaks only https"))?;
        if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains(['?', '#', '@']) {
            return Err(bad("an address has no query, fragment, user or space"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains("api/v1") {
            return Err(bad("give the base address, without /api/v1"));
        }
        let prefix = path.trim_end_matches('/');
        let (name, port) = split_port(authority).ok_or_else(|| bad("the port is not a number"))?;
        let server_name =
            ServerName::try_from(name.to_owned()).map_err(|_| bad("the host is neither a name nor an address"))?;
        let dial = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
        Ok(Self {
            address: dial,
            host: authority.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
            server_name,
            tls: Arc::new(client_config(ca_file)?),
        })
    }
}

/// Host without brackets, and port (443 unless given).
fn split_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(v6) = authority.strip_prefix('[') {
        let (name, after) = v6.split_once(']')?;
        let port = if after.is_empty() { 443 } else { after.strip_prefix(':')?.parse().ok()? };
        return Some((name, port));
    }
    match authority.split_once(':') {
        Some((name, port)) => Some((name, port.parse().ok()?)),
        None => Some((authority, 443)),
    }
}

/// TLS 1.3 only; the given file is the one trust anchor.
fn client_config(ca_file: &Path) -> Result<ClientConfig, LoadError> {
    let bad = |reason: String| LoadError::Ca { file: ca_file.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|e| bad(e.to_string()))? {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("the file holds no certificate".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| bad(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_default_to_443_and_v6_addresses_lose_their_brackets() {
        assert_eq!(split_port("localhost"), Some(("localhost", 443)));
        assert_eq!(split_port("localhost:8443"), Some(("localhost", 8443)));
        assert_eq!(split_port("[::1]:8443"), Some(("::1", 8443)));
        assert_eq!(split_port("[::1]"), Some(("::1", 443)));
        assert_eq!(split_port("localhost:"), None);
        assert_eq!(split_port("localhost:x"), None);
    }
}
