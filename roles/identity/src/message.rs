//! The X.509 messages of the SPIFFE Workload API (`workload.proto` of the standard, X509-SVID profile).
//!
//! Four messages do not need a protobuf compiler at build time. The JWT-SVID and WIT-SVID profiles are other RPCs of the same service.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

/// Response of `FetchX509SVID`. The fields `crl` (2) and `federated_bundles` (3) are never set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509SvidResponse {
    /// At least one.
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509Svid>,
}

/// One SVID with its key and the bundle of its trust domain.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// DER, leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    /// PKCS#8 DER, unencrypted.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    /// DER certificates, one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

/// Response of `FetchX509Bundles`. The field `crl` (1) is never set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct X509BundlesResponse {
    /// By SPIFFE id of the trust domain.
    #[prost(map = "string, bytes", tag = "2")]
    pub(crate) bundles: HashMap<String, Vec<u8>>,
}

/// A response with one SVID. Responses with several are these one after the other: a repeated field may come in pieces (protobuf
/// encoding, "last one wins" and merging).
pub(crate) fn svid_response(svid: X509Svid) -> Bytes {
    X509SvidResponse { svids: vec![svid] }.encode_to_vec().into()
}

/// A response with the bundle of one trust domain.
pub(crate) fn bundles_response(domain: String, bundle: Vec<u8>) -> Bytes {
    X509BundlesResponse { bundles: HashMap::from([(domain, bundle)]) }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_one_after_the_other_are_one_response_with_all_svids() {
        let svid = |id: &str| X509Svid { spiffe_id: id.to_owned(), ..X509Svid::default() };
        let joined = [svid_response(svid("spiffe://a/b")), svid_response(svid("spiffe://a/c"))].concat();
        let response = X509SvidResponse::decode(joined.as_slice()).unwrap();
        assert_eq!(response.svids, [svid("spiffe://a/b"), svid("spiffe://a/c")]);
    }
}
