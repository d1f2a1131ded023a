//! What can be configured about the issuer.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zizon_base::config::{ConfigError, within};

/// The issuer of identities on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Life of an X.509-SVID in seconds, 10 to 86,400. It is renewed at half of it, up to 10 % earlier.
    pub svid_life_seconds: u64,
    /// Life of a signing authority in seconds. Its successor is published at 1/2 and signs from 5/6 on. At least six SVID lives,
    /// and 180.
    pub ca_life_seconds: u64,
    /// How often a caller with an open stream is attested again, in seconds, 1 to 60; besides, it is before every response.
    pub recheck_seconds: u64,
    /// Open streams of one process, 1 to 1,024.
    pub streams_per_process_max: u32,
    /// Open streams of all processes together, 1 to 65,536.
    pub streams_max: u32,
    /// Streams the processes of one uid may open per second in the long run, 1 to 100,000; twice as many at once.
    pub opens_per_second_per_uid: u32,
    /// Size in bytes at which the issuance audit begins its next file, at least 4,096.
    pub audit_file_bytes: u64,
    /// Files of the issuance audit that are kept, 1 to 1,000.
    pub audit_files: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            svid_life_seconds: 120,
            ca_life_seconds: 24 * 3600,
            recheck_seconds: 10,
            streams_per_process_max: 16,
            streams_max: 4096,
            opens_per_second_per_uid: 100,
            audit_file_bytes: 16 * 1024 * 1024,
            audit_files: 4,
        }
    }
}

impl Config {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// The first value that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within(
            "identity",
            &[
                ("svid_life_seconds", self.svid_life_seconds, 10, 86_400),
                ("ca_life_seconds", self.ca_life_seconds, self.ca_life_least(), 10 * 365 * 86_400),
                ("recheck_seconds", self.recheck_seconds, 1, 60),
                ("streams_per_process_max", self.streams_per_process_max.into(), 1, 1024),
                ("streams_max", self.streams_max.into(), 1, 65_536),
                ("opens_per_second_per_uid", self.opens_per_second_per_uid.into(), 1, 100_000),
                ("audit_file_bytes", self.audit_file_bytes, 4096, 1 << 40),
                ("audit_files", self.audit_files.into(), 1, 1000),
            ],
        )
    }

    /// Between 1/2 and 5/6 of an authority's life its successor must be known for [`Config::publish_gap_seconds`], and from 5/6 to
    /// the end the last leaf must end.
    fn ca_life_least(&self) -> u64 {
        (6 * self.svid_life_seconds).max(3 * self.publish_gap_seconds())
    }

    /// How long an authority is in every bundle before it signs: two SVID lives, at least a minute.
    pub(crate) fn publish_gap_seconds(&self) -> u64 {
        (2 * self.svid_life_seconds).max(60)
    }

    pub(crate) const fn svid_life(&self) -> Duration {
        Duration::from_secs(self.svid_life_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_bounds() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn an_authority_that_could_not_be_replaced_in_time_is_refused() {
        let mut config = Config { svid_life_seconds: 10, ca_life_seconds: 179, ..Config::default() };
        assert_eq!(config.validate().map_err(|error| error.key), Err("ca_life_seconds"));
        config.ca_life_seconds = 180;
        assert_eq!(config.validate(), Ok(()));
        config.svid_life_seconds = 60;
        assert_eq!(config.validate().map_err(|error| error.remedy), Err("set it between 360 and 315360000".to_owned()));
    }
}
