//! Peers that present whatever they like and believe everything.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zizon_mtls::{HandshakeError, SvidDer};

use crate::support::greeted;

/// Believes everything, counts how often it was asked, and may do something in the middle of the handshake.
#[derive(Default)]
pub struct Gullible {
    pub asked: AtomicUsize,
    pub meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Gullible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gullible")
    }
}

impl Gullible {
    pub fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// Does `act` when asked about the server: by then the server has spoken, and has yet to judge the client.
    pub fn doing(act: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { meanwhile: Some(Box::new(act)), ..Self::default() })
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Relaxed);
        if let Some(act) = &self.meanwhile {
            act();
        }
    }
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.ask();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Gullible {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.ask();
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate as it is, without any check.
pub fn unchecked(svid: &SvidDer) -> Arc<SingleCertAndKey> {
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key.as_slice()))).unwrap();
    let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

pub fn client_config(verifier: Arc<Gullible>, svid: Option<&SvidDer>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match svid {
        Some(svid) => builder.with_client_cert_resolver(unchecked(svid)),
        None => builder.with_no_client_auth(),
    }
}

pub fn server_config(verifier: Arc<Gullible>, svid: &SvidDer) -> ServerConfig {
    ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(unchecked(svid))
}

/// Connects with a certificate (or none) and waits for the greeting.
pub async fn knock(address: &str, svid: Option<&SvidDer>) -> Result<(), HandshakeError> {
    knock_with(client_config(Arc::default(), svid), address).await
}

/// Connects with a configuration and waits for the greeting.
pub async fn knock_with(config: ClientConfig, address: &str) -> Result<(), HandshakeError> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("somewhere.test").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(HandshakeError::from_io)?;
    greeted(&mut stream).await
}
