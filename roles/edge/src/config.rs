//! What an operator can set.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zizon_base::config::{ConfigError, within};

use crate::h1::Limits;

/// The least [`Config::connections_max`].
const CONNECTIONS_MIN: u32 = 16;
/// Descriptors of an edge besides public and upstream connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Configuration of the edge role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most requests in work at a time; further ones are answered 503 `overloaded` at once. The last eighth is kept
    /// for orders. Health checks are not counted. Below it, as many are let in for a role as are answered in good time (half
    /// of them within 10 ms, or within twice of what they take when there is hardly a queue), and never more than
    /// `upstream_connections_max`: further ones would only wait for a connection.
    pub in_flight_max: u32,
    /// The most open public connections. At the bound, those that have been idle longest are closed for new ones. Fewer
    /// when the process may not open that many files (`ulimit -n`, `LimitNOFILE=`), which is logged at the start.
    pub connections_max: u32,
    /// The most open connections of one client address (of one /64 network with IPv6).
    pub connections_per_ip_max: u32,
    /// The longest request body, in bytes.
    pub body_bytes_max: u32,
    /// How long a TLS handshake may take, in ms.
    pub handshake_time_max_ms: u32,
    /// How long a request head may take from its first byte to its last, in ms.
    pub head_time_max_ms: u32,
    /// How long a request body may take, in ms. It must also arrive at 1 KB/s or more.
    pub body_time_max_ms: u32,
    /// How long a connection may wait for its next request, in ms.
    pub idle_time_max_ms: u32,
    /// How long a role has to answer, in ms; then the client is told that the outcome is not known.
    pub upstream_time_max_ms: u32,
    /// The most connections to each role.
    pub upstream_connections_max: u16,
    /// `max-age` of `Strict-Transport-Security`, in seconds; 0 leaves the field out, which suits `localhost`.
    pub hsts_max_age_seconds: u32,
    /// The certificate of the public listener.
    pub tls: TlsConfig,
}

/// The certificate of the public listener. Left empty, the edge issues one from an authority of its own, whose
/// certificate stands in `ca.pem` of the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file with the certificate, followed by its intermediates. Taken into use again whenever it changes.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's private key (PKCS#8, SEC 1 or PKCS#1).
    pub key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 1024,
            connections_max: 16_384,
            connections_per_ip_max: 2048,
            body_bytes_max: 64 * 1024,
            handshake_time_max_ms: 5000,
            head_time_max_ms: 5000,
            body_time_max_ms: 30_000,
            idle_time_max_ms: 60_000,
            upstream_time_max_ms: 5000,
            upstream_connections_max: 256,
            hsts_max_age_seconds: 0,
            tls: TlsConfig::default(),
        }
    }
}

impl Config {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("in_flight_max", self.in_flight_max.into(), 8, 1_000_000),
            ("connections_max", self.connections_max.into(), CONNECTIONS_MIN.into(), 1_000_000),
            ("connections_per_ip_max", self.connections_per_ip_max.into(), 1, 1_000_000),
            ("body_bytes_max", self.body_bytes_max.into(), 1024, 4 * 1024 * 1024),
            ("handshake_time_max_ms", self.handshake_time_max_ms.into(), 100, 60_000),
            ("head_time_max_ms", self.head_time_max_ms.into(), 100, 60_000),
            ("body_time_max_ms", self.body_time_max_ms.into(), 100, 600_000),
            ("idle_time_max_ms", self.idle_time_max_ms.into(), 100, 3_600_000),
            ("upstream_time_max_ms", self.upstream_time_max_ms.into(), 100, 60_000),
            ("upstream_connections_max", self.upstream_connections_max.into(), 1, 4096),
            ("hsts_max_age_seconds", self.hsts_max_age_seconds.into(), 0, 63_072_000),
        ];
        within("edge", &ranges)?;
        if self.tls.certificate_file.is_some() == self.tls.key_file.is_some() {
            return Ok(());
        }
        let (key, other) = if self.tls.key_file.is_none() {
            ("tls.key_file", "tls.certificate_file")
        } else {
            ("tls.certificate_file", "tls.key_file")
        };
        let remedy = format!("set it as well, or leave {other} out");
        Err(ConfigError { section: "edge", key, problem: "is missing".to_owned(), remedy })
    }

    /// The most public connections that leave room for everything else among `descriptors`: both upstream pools, and
    /// the listeners, files and internal connections of the process.
    #[must_use]
    pub(crate) fn connections_within(&self, descriptors: Option<u64>) -> u32 {
        let Some(descriptors) = descriptors else { return self.connections_max };
        let others = 2 * u64::from(self.upstream_connections_max) + OTHER_DESCRIPTORS;
        let left = u32::try_from(descriptors.saturating_sub(others)).unwrap_or(u32::MAX);
        self.connections_max.min(left.max(CONNECTIONS_MIN))
    }

    /// The bounds of HTTP/1.1 connections.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            head_time_max: millis(self.head_time_max_ms),
            body_time_max: millis(self.body_time_max_ms),
            idle_time_max: millis(self.idle_time_max_ms),
            ..Limits::default()
        }
    }
}

/// A configured time.
pub(crate) fn millis(value: u32) -> Duration {
    Duration::from_millis(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_bad_value_is_named_with_its_remedy() {
        assert_eq!(Config::default().validate(), Ok(()));
        let error = Config { in_flight_max: 0, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "edge.in_flight_max is 0; set it between 8 and 1000000");
    }

    #[test]
    fn connections_stay_within_the_descriptors_that_upstreams_leave() {
        let config = Config { connections_max: 1000, upstream_connections_max: 100, ..Config::default() };
        for (descriptors, connections) in
            [(None, 1000), (Some(5000), 1000), (Some(1264), 1000), (Some(1263), 999), (Some(600), 336), (Some(100), 16)]
        {
            assert_eq!(config.connections_within(descriptors), connections, "{descriptors:?}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let tls = TlsConfig { certificate_file: Some("a.pem".into()), key_file: None };
        let error = Config { tls, ..Config::default() }.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "edge.tls.key_file is missing; set it as well, or leave tls.certificate_file out"
        );
    }
}
