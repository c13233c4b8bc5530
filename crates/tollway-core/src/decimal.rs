//! Positive exact numbers beside money: rates of exchange and factors. Never floats, and nothing is ever rounded here.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;

use crate::Amount;

/// Digits before the point. With those behind it, every product below fits 256 bits.
const MAX_WHOLE_DIGITS: usize = 9;
/// Digits behind the point.
const MAX_FRACTION_DIGITS: usize = 18;

/// A number above zero, exact: `1.0832`. No sign, no exponent, one spelling but for zeros at the end.
///
/// ```
/// use tollway_core::Decimal;
/// let rate: Decimal = "1.0832".parse()?;
/// assert!(rate > Decimal::ONE);
/// for wrong in ["0", "-1", "1e3", "NaN", "01", ".5", ""] {
///     assert!(wrong.parse::<Decimal>().is_err());
/// }
/// # Ok::<(), tollway_core::DecimalError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    digits: u128,
    scale: u8,
}

/// Why a text is no [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with one point at most.
    #[error("must be a plain decimal such as 1.0832: no sign, no exponent")]
    Malformed,
    /// Zero.
    #[error("must be more than zero")]
    Zero,
    /// Too many digits.
    #[error("must have at most 9 digits before and 18 behind the point")]
    TooLong,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self { digits: 1, scale: 0 };

    /// The sum; none above what a decimal can hold.
    ///
    /// ```
    /// use tollway_core::Decimal;
    /// let margin: Decimal = "0.005".parse()?;
    /// assert_eq!(Decimal::ONE.checked_add(margin), Some("1.005".parse()?));
    /// assert_eq!("999999999".parse::<Decimal>()?.checked_add(Decimal::ONE), None);
    /// # Ok::<(), tollway_core::DecimalError>(())
    /// ```
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let digits = self.digits_at(scale).checked_add(other.digits_at(scale))?;
        Amount::from_atomic(U256::from(digits)).to_decimal(scale).parse().ok()
    }

    /// Whether this is at most `base` times `factor`, without rounding.
    ///
    /// ```
    /// use tollway_core::Decimal;
    /// let [now, margin, shown]: [Decimal; 3] = ["1.08".parse()?, "1.005".parse()?, "1.0854".parse()?];
    /// assert!(shown.is_at_most(now, margin), "1.0854 is 1.08 times 1.005");
    /// assert!(!"1.085401".parse::<Decimal>()?.is_at_most(now, margin));
    /// # Ok::<(), tollway_core::DecimalError>(())
    /// ```
    #[must_use]
    pub fn is_at_most(self, base: Self, factor: Self) -> bool {
        // 27 digits each at most: 63 digits on the left, 72 on the right, and 256 bits hold 77.
        let left = U256::from(self.digits) * ten_to(base.scale + factor.scale);
        let right = U256::from(base.digits) * U256::from(factor.digits) * ten_to(self.scale);
        left <= right
    }

    /// The digits without the point.
    pub(crate) fn digits(self) -> U256 {
        U256::from(self.digits)
    }

    /// How many of them stand behind the point.
    pub(crate) const fn scale(self) -> u8 {
        self.scale
    }

    fn digits_at(self, scale: u8) -> u128 {
        self.digits * 10u128.pow(u32::from(scale - self.scale))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.digits_at(scale).cmp(&other.digits_at(scale))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(DecimalError::Malformed),
            Some(parts) => parts,
            None => (text, ""),
        };
        let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_spelled_twice = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || is_spelled_twice || !is_plain(whole) || !is_plain(fraction) {
            return Err(DecimalError::Malformed);
        }
        let fraction = fraction.trim_end_matches('0');
        if whole.len() > MAX_WHOLE_DIGITS || fraction.len() > MAX_FRACTION_DIGITS {
            return Err(DecimalError::TooLong);
        }
        let digits = format!("{whole}{fraction}").parse().map_err(|_| DecimalError::TooLong)?;
        let scale = u8::try_from(fraction.len()).map_err(|_| DecimalError::TooLong)?;
        if digits == 0 { Err(DecimalError::Zero) } else { Ok(Self { digits, scale }) }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Amount::from_atomic(self.digits()).to_decimal(self.scale))
    }
}

/// A power of ten that is known to fit.
fn ten_to(exponent: u8) -> U256 {
    U256::from(10u8).pow(U256::from(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Decimal, DecimalError};

    #[test]
    fn only_plain_positive_decimals_are_read() {
        for wrong in [
            "", ".", "1.", ".1", "+1", "-1", "1e0", "1E-2", "NaN", "inf", "0x1", " 1", "1_0", "00.1", "1.0.0",
        ] {
            assert_eq!(wrong.parse::<Decimal>(), Err(DecimalError::Malformed), "{wrong:?}");
        }
        assert_eq!("0".parse::<Decimal>(), Err(DecimalError::Zero));
        assert_eq!("0.000".parse::<Decimal>(), Err(DecimalError::Zero));
        assert_eq!("1000000000".parse::<Decimal>(), Err(DecimalError::TooLong));
        assert_eq!(format!("1.{}", "1".repeat(19)).parse::<Decimal>(), Err(DecimalError::TooLong));
        assert_eq!("1.50".parse::<Decimal>(), "1.5".parse());
    }

    #[test]
    fn the_largest_are_compared_without_overflow() {
        let largest: Decimal = format!("{}.{}", "9".repeat(9), "9".repeat(18)).parse().unwrap();
        assert!(largest.is_at_most(largest, largest));
        assert!(largest.checked_add(largest).is_none());
        let smallest: Decimal = format!("0.{}1", "0".repeat(17)).parse().unwrap();
        assert!(!largest.is_at_most(smallest, largest));
        assert!(smallest < largest);
    }

    proptest! {
        #[test]
        fn a_decimal_prints_what_it_parses(whole in 1u32..1_000_000_000, fraction in "[0-9]{1,18}") {
            let decimal: Decimal = format!("{whole}.{fraction}").parse().unwrap();
            prop_assert_eq!(decimal.to_string().parse::<Decimal>().unwrap(), decimal);
        }

        #[test]
        fn order_is_that_of_the_numbers(left in 1u64..1_000_000_000_000, right in 1u64..1_000_000_000_000) {
            let at = |millionths: u64| -> Decimal {
                format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000).parse().unwrap()
            };
            prop_assert_eq!(at(left).cmp(&at(right)), left.cmp(&right));
            prop_assert_eq!(at(left).is_at_most(at(right), Decimal::ONE), left <= right);
        }
    }
}
