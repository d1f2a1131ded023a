//! Amounts in minor units with their currency. Nothing here rounds silently and nothing wraps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest magnitude a client in JavaScript can hold exactly: 2^53 - 1 minor units.
pub const MAX_AMOUNT: i64 = 9_007_199_254_740_991;

/// A currency Zizon sells in, with its ISO 4217 exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Currency {
    /// South Korean won, no minor unit.
    #[serde(rename = "KRW")]
    Krw,
    /// Japanese yen, no minor unit.
    #[serde(rename = "JPY")]
    Jpy,
    /// United States dollar, two decimal places.
    #[serde(rename = "USD")]
    Usd,
}

impl Currency {
    /// Every currency.
    pub const ALL: [Self; 3] = [Self::Krw, Self::Jpy, Self::Usd];

    /// The ISO 4217 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Krw => "KRW",
            Self::Jpy => "JPY",
            Self::Usd => "USD",
        }
    }

    /// Decimal places of one major unit (ISO 4217).
    #[must_use]
    pub const fn exponent(self) -> u32 {
        match self {
            Self::Krw | Self::Jpy => 0,
            Self::Usd => 2,
        }
    }

    /// The currency with this ISO 4217 code, upper case.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|currency| currency.code() == code)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A sum left the range of ±(2^53 - 1) minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amount is outside ±{MAX_AMOUNT} minor units")]
pub struct AmountOutOfRange;

/// An amount could not be combined with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit.
    #[error(transparent)]
    OutOfRange(#[from] AmountOutOfRange),
    /// The two amounts are in different currencies.
    #[error("cannot combine {0} with {1}")]
    CurrencyMismatch(Currency, Currency),
}

/// An amount of money in minor units of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { amount: 0, currency }
    }

    /// `amount` minor units of `currency`.
    ///
    /// # Errors
    /// [`AmountOutOfRange`] beyond ±[`MAX_AMOUNT`].
    pub const fn new(amount: i64, currency: Currency) -> Result<Self, AmountOutOfRange> {
        if amount > MAX_AMOUNT || amount < -MAX_AMOUNT {
            return Err(AmountOutOfRange);
        }
        Ok(Self { amount, currency })
    }

    /// Minor units.
    #[must_use]
    pub const fn amount(self) -> i64 {
        self.amount
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError`] when the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(AmountOutOfRange)?;
        Ok(Self::new(amount, self.currency)?)
    }

    /// This amount `times` over.
    ///
    /// # Errors
    /// [`AmountOutOfRange`] when the product does not fit.
    pub fn checked_mul(self, times: u32) -> Result<Self, AmountOutOfRange> {
        let amount = self.amount.checked_mul(i64::from(times)).ok_or(AmountOutOfRange)?;
        Self::new(amount, self.currency)
    }

    /// The tax contained in this gross amount at `rate_basis_points` (1000 = 10 %): `gross * r / (1 + r)`, rounded half
    /// up (away from zero for negative amounts), once per line.
    #[must_use]
    pub fn included_tax(self, rate_basis_points: u32) -> Self {
        let rate = i128::from(rate_basis_points);
        let divisor = 10_000 + rate;
        let numerator = i128::from(self.amount.unsigned_abs()) * rate;
        let rounded = (numerator * 2 + divisor) / (divisor * 2);
        let magnitude = i64::try_from(rounded).unwrap_or(MAX_AMOUNT);
        Self { amount: magnitude * self.amount.signum(), currency: self.currency }
    }
}

impl fmt::Display for Money {
    /// `USD 12.50`, `KRW 2690000`: for people in a terminal, not for parsing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10i64.pow(self.currency.exponent());
        if scale == 1 {
            return write!(f, "{} {}", self.currency, self.amount);
        }
        let sign = if self.amount < 0 { "-" } else { "" };
        let magnitude = self.amount.abs();
        write!(f, "{} {sign}{}.{:02}", self.currency, magnitude / scale, magnitude % scale)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn krw(amount: i64) -> Money {
        Money::new(amount, Currency::Krw).unwrap()
    }

    #[test]
    fn korean_vat_is_taken_out_of_the_gross_price() {
        assert_eq!(krw(5_380_000).included_tax(1000).amount(), 489_091);
        assert_eq!(krw(11).included_tax(1000).amount(), 1);
        assert_eq!(krw(5).included_tax(1000).amount(), 0);
        assert_eq!(krw(6).included_tax(1000).amount(), 1);
    }

    #[test]
    fn dollars_print_their_cents() {
        assert_eq!(Money::new(-1205, Currency::Usd).unwrap().to_string(), "USD -12.05");
        assert_eq!(krw(2_690_000).to_string(), "KRW 2690000");
    }

    #[test]
    fn two_currencies_never_add() {
        let dollars = Money::zero(Currency::Usd);
        assert!(matches!(krw(1).checked_add(dollars), Err(MoneyError::CurrencyMismatch(..))));
    }

    proptest! {
        #[test]
        fn sums_are_exact_or_refused(a in -MAX_AMOUNT..=MAX_AMOUNT, b in -MAX_AMOUNT..=MAX_AMOUNT) {
            let exact = i128::from(a) + i128::from(b);
            match krw(a).checked_add(krw(b)) {
                Ok(sum) => prop_assert_eq!(i128::from(sum.amount()), exact),
                Err(_) => prop_assert!(exact.abs() > i128::from(MAX_AMOUNT)),
            }
        }

        #[test]
        fn products_are_exact_or_refused(a in -MAX_AMOUNT..=MAX_AMOUNT, times in any::<u32>()) {
            let exact = i128::from(a) * i128::from(times);
            match krw(a).checked_mul(times) {
                Ok(product) => prop_assert_eq!(i128::from(product.amount()), exact),
                Err(AmountOutOfRange) => prop_assert!(exact.abs() > i128::from(MAX_AMOUNT)),
            }
        }

        #[test]
        fn included_tax_is_within_half_a_unit(amount in 0..=MAX_AMOUNT, rate in 0u32..=5000) {
            let tax = i128::from(krw(amount).included_tax(rate).amount());
            let divisor = 10_000 + i128::from(rate);
            let error = (tax * divisor - i128::from(amount) * i128::from(rate)).abs();
            prop_assert!(error * 2 <= divisor);
        }
    }
}
