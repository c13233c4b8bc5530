//! Atomic token amounts: what travels on the wire. Human money strings live in [`crate::money`].

use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in atomic units of an asset (for USDC, millionths of a dollar).
///
/// On the wire it is the one canonical decimal spelling: ASCII digits, no sign, no leading zero, no
/// exponent, below 2^256. Two spellings of one number would let two parsers disagree about money.
///
/// ```
/// use tollway_core::Amount;
/// assert_eq!("10000".parse::<Amount>()?, Amount::from(10_000u64));
/// for wrong in ["1e3", " 1", "+1", "01", "-1", ""] {
///     assert!(wrong.parse::<Amount>().is_err());
/// }
/// # Ok::<(), tollway_core::AmountError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// Why a string is not an [`Amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing, or something that is not an ASCII digit.
    #[error("must be an unsigned decimal integer of ASCII digits")]
    NotDecimal,
    /// `01`: a second spelling of `1`.
    #[error("must have no leading zero")]
    LeadingZero,
    /// 2^256 or more.
    #[error("must be below 2^256")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// 2^256 - 1.
    pub const MAX: Self = Self(U256::MAX);

    /// Wraps a number of atomic units. `U256` is that of `ruint`, the one alloy uses.
    ///
    /// ```
    /// use ruint::aliases::U256;
    /// use tollway_core::Amount;
    /// const CENT: Amount = Amount::from_atomic(U256::from_limbs([10_000, 0, 0, 0]));
    /// assert_eq!(CENT.to_string(), "10000");
    /// ```
    pub const fn from_atomic(value: U256) -> Self {
        Self(value)
    }

    /// The number of atomic units.
    ///
    /// ```
    /// use ruint::aliases::U256;
    /// use tollway_core::Amount;
    /// assert_eq!("10000".parse::<Amount>()?.atomic(), U256::from(10_000));
    /// # Ok::<(), tollway_core::AmountError>(())
    /// ```
    pub const fn atomic(self) -> U256 {
        self.0
    }

    /// The sum, or `None` above 2^256 - 1.
    ///
    /// ```
    /// use tollway_core::Amount;
    /// assert_eq!(Amount::from(1).checked_add(Amount::from(2)), Some(Amount::from(3)));
    /// assert_eq!(Amount::MAX.checked_add(Amount::from(1)), None);
    /// ```
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    ///
    /// ```
    /// use tollway_core::Amount;
    /// assert_eq!(Amount::from(3).checked_sub(Amount::from(2)), Some(Amount::from(1)));
    /// assert_eq!(Amount::from(2).checked_sub(Amount::from(3)), None);
    /// ```
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Writes the amount with a decimal point, as a person reads it: `10000` with 6 decimals is `0.01`.
    ///
    /// ```
    /// use tollway_core::Amount;
    /// assert_eq!(Amount::from(10_000u64).to_decimal(6), "0.01");
    /// assert_eq!(Amount::from(5_000_000u64).to_decimal(6), "5");
    /// ```
    pub fn to_decimal(self, decimals: u8) -> String {
        let decimals = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0.to_string(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotDecimal);
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(AmountError::LeadingZero);
        }
        // 2^256 has 78 digits; a longer string needs no arithmetic to be refused.
        if text.len() > 78 {
            return Err(AmountError::TooLarge);
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| AmountError::TooLarge)
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{Amount, AmountError, U256};

    const TWO_POW_256: &str =
        "115792089237316195423570985008687907853269984665640564039457584007913129639936";

    #[test]
    fn an_amount_has_one_spelling() {
        for wrong in ["", "1e3", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1_000", "١"] {
            assert_eq!(wrong.parse::<Amount>(), Err(AmountError::NotDecimal), "{wrong:?}");
        }
        for wrong in ["01", "00", "007"] {
            assert_eq!(wrong.parse::<Amount>(), Err(AmountError::LeadingZero), "{wrong:?}");
        }
        for wrong in [TWO_POW_256.to_owned(), "9".repeat(78), "1".repeat(10_000)] {
            assert_eq!(wrong.parse::<Amount>(), Err(AmountError::TooLarge));
        }
        assert_eq!(Amount::MAX.to_string().parse(), Ok(Amount::MAX));
        assert_eq!("0".parse(), Ok(Amount::ZERO));
    }

    proptest! {
        #[test]
        fn an_amount_round_trips_through_its_text(limbs: [u64; 4]) {
            let amount = Amount::from_atomic(U256::from_limbs(limbs));
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }

        #[test]
        fn whatever_parses_prints_as_it_was_written(text in "[0-9+ e.-]{0,80}") {
            if let Ok(amount) = text.parse::<Amount>() {
                prop_assert_eq!(amount.to_string(), text);
            }
        }

        #[test]
        fn decimals_never_lose_a_digit(value: u64, decimals in 0u8..30) {
            let text = Amount::from(value).to_decimal(decimals);
            let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
            let padded = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
            prop_assert!(padded.trim_start_matches('0') == value.to_string().trim_start_matches('0'));
        }
    }
}
