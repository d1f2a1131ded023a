//! Where a sale happens: its currency and the tax that prices include.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::Currency;

/// A market Zizon sells in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Market {
    /// South Korea.
    #[serde(rename = "KR")]
    Kr,
    /// Japan.
    #[serde(rename = "JP")]
    Jp,
    /// United States.
    #[serde(rename = "US")]
    Us,
}

impl Market {
    /// Every market.
    pub const ALL: [Self; 3] = [Self::Kr, Self::Jp, Self::Us];

    /// ISO 3166-1 alpha-2 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Kr => "KR",
            Self::Jp => "JP",
            Self::Us => "US",
        }
    }

    /// The market with this code, upper case.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|market| market.code() == code)
    }

    /// The currency its prices are in.
    #[must_use]
    pub const fn currency(self) -> Currency {
        match self {
            Self::Kr => Currency::Krw,
            Self::Jp => Currency::Jpy,
            Self::Us => Currency::Usd,
        }
    }

    /// Consumption tax contained in displayed prices, in basis points.
    ///
    /// Korea: Value-Added Tax Act, art. 30 (10 %). Japan: Consumption Tax Act art. 29 with the local share (10 %
    /// together), shown tax-included by art. 63. United States: sales tax is not part of a displayed price.
    #[must_use]
    pub const fn included_tax_basis_points(self) -> u32 {
        match self {
            Self::Kr | Self::Jp => 1000,
            Self::Us => 0,
        }
    }

    /// The language its shoppers read first (BCP 47).
    #[must_use]
    pub const fn locale(self) -> &'static str {
        match self {
            Self::Kr => "ko",
            Self::Jp => "ja",
            Self::Us => "en",
        }
    }

    /// Offset of the market's business day from UTC, in minutes. The United States use Eastern Standard Time.
    #[must_use]
    pub const fn business_day_offset_minutes(self) -> i32 {
        match self {
            Self::Kr | Self::Jp => 9 * 60,
            Self::Us => -5 * 60,
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
