//! Instants in milliseconds since the Unix epoch, written as RFC 3339 in UTC.

use std::fmt;

use ::time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

/// The last millisecond of the year 9999, the end of what RFC 3339 can write.
const MAX_MILLIS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch; later than the year 9999 is held at its end.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > MAX_MILLIS { MAX_MILLIS } else { millis })
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This instant and `millis` later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// This instant and `millis` earlier, not before the epoch.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// Writes `2026-11-22T04:05:06.789Z` (24 bytes) to `out`.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let days = self.0 / 86_400_000;
        let millis_of_day = self.0 % 86_400_000;
        let (year, month, day) = civil_from_days(days);
        let mut buffer = *b"0000-00-00T00:00:00.000Z";
        digits(&mut buffer[0..4], year);
        digits(&mut buffer[5..7], month);
        digits(&mut buffer[8..10], day);
        digits(&mut buffer[11..13], millis_of_day / 3_600_000);
        digits(&mut buffer[14..16], millis_of_day / 60_000 % 60);
        digits(&mut buffer[17..19], millis_of_day / 1000 % 60);
        digits(&mut buffer[20..23], millis_of_day % 1000);
        out.extend_from_slice(&buffer);
    }

    /// `2026-11-22T04:05:06.789Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let mut out = Vec::with_capacity(24);
        self.write_rfc3339(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Reads any RFC 3339 instant not before the epoch; finer than a millisecond is cut off.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
        u64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok().map(Self::from_millis)
    }

    /// The calendar date at an offset from UTC as `(year, month, day)`.
    #[must_use]
    pub fn date_at_offset(self, offset_minutes: i32) -> (u64, u64, u64) {
        let shift = i64::from(offset_minutes) * 60_000;
        let shifted = self.0.saturating_add_signed(shift);
        civil_from_days(shifted / 86_400_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

fn digits(out: &mut [u8], mut value: u64) {
    for slot in out.iter_mut().rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Days since the epoch to a Gregorian date (Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_sample_instant_is_written_as_documented() {
        let text = "2026-11-22T04:05:06.789Z";
        assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_rfc3339(), text);
    }

    #[test]
    fn a_business_day_follows_its_own_zone() {
        let late_evening_utc = Timestamp::parse_rfc3339("2026-11-22T20:00:00Z").unwrap();
        assert_eq!(late_evening_utc.date_at_offset(540), (2026, 11, 23));
        assert_eq!(late_evening_utc.date_at_offset(-300), (2026, 11, 22));
    }

    proptest! {
        #[test]
        fn hand_written_dates_equal_the_library(millis in 0..=MAX_MILLIS) {
            let ours = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&ours.to_rfc3339()), Some(ours));
        }
    }
}
