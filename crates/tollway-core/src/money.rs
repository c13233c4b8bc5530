//! Prices as people write them: `"$0.01"`, `"0.10 EURC"`. Exact decimals, never floats.

use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;

use crate::{Amount, Decimal};

/// A sum of money before it is tied to an asset.
///
/// `"$0.01"`, `"0.01"` and `"0.01 USD"` are dollars and resolve to the network's default dollar
/// stablecoin; `"0.10 EURC"` names its token. How many atomic units it is depends on the token's
/// decimals, and is exact or an error.
///
/// ```
/// use tollway_core::{Amount, Money};
/// let price: Money = "$0.01".parse()?;
/// assert_eq!(price.to_atomic(6)?, Amount::from(10_000u64));
/// assert!("$0.0000001".parse::<Money>()?.to_atomic(6).is_err());
/// # Ok::<(), tollway_core::MoneyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    digits: U256,
    scale: u8,
    currency: Currency,
}

/// What a [`Money`] is counted in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Currency {
    /// US dollars: the network's default dollar stablecoin.
    Usd,
    /// A token by its symbol, such as `EURC`.
    Symbol(String),
}

/// Why a string is not [`Money`], or why it does not fit a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not `$` + decimal, decimal, or decimal + symbol.
    #[error("price {0:?} must look like \"$0.01\", \"0.01\" or \"0.10 EURC\"")]
    Malformed(String),
    /// More digits than 2^256 or 30 decimals can hold.
    #[error("price {0:?} has too many digits")]
    TooLarge(String),
    /// The token cannot express the fraction.
    #[error("price {price} needs {needed} decimals, the asset has {decimals}")]
    TooFine {
        /// The price.
        price: String,
        /// The decimals the price uses.
        needed: u8,
        /// The decimals the asset has.
        decimals: u8,
    },
}

impl Money {
    /// What the sum is counted in.
    ///
    /// ```
    /// use tollway_core::{Currency, Money};
    /// assert_eq!("$0.01".parse::<Money>()?.currency(), &Currency::Usd);
    /// assert_eq!("0.10 EURC".parse::<Money>()?.currency(), &Currency::Symbol("EURC".to_owned()));
    /// # Ok::<(), tollway_core::MoneyError>(())
    /// ```
    pub fn currency(&self) -> &Currency {
        &self.currency
    }

    /// The exact number of atomic units of a token with `decimals` decimals.
    ///
    /// # Errors
    /// [`MoneyError::TooFine`] when the token cannot express the fraction; [`MoneyError::TooLarge`]
    /// above 2^256 - 1. Nothing is ever rounded.
    ///
    /// ```
    /// use tollway_core::{Money, MoneyError};
    /// let price: Money = "0.10 EURC".parse()?;
    /// assert_eq!(price.to_atomic(6)?.to_string(), "100000");
    /// assert!(matches!(price.to_atomic(0), Err(MoneyError::TooFine { needed: 1, decimals: 0, .. })));
    /// # Ok::<(), MoneyError>(())
    /// ```
    pub fn to_atomic(&self, decimals: u8) -> Result<Amount, MoneyError> {
        let Some(missing) = decimals.checked_sub(self.scale) else {
            let price = self.to_string();
            return Err(MoneyError::TooFine { price, needed: self.scale, decimals });
        };
        U256::from(10u8)
            .checked_pow(U256::from(missing))
            .and_then(|factor| self.digits.checked_mul(factor))
            .map(Amount::from_atomic)
            .ok_or_else(|| MoneyError::TooLarge(self.to_string()))
    }

    /// The number of atomic units of a token with `decimals` decimals that are worth `factor` times the sum, where one
    /// token is worth `rate`. Rounded up to the next atomic unit: who asks it never gets less than the sum.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the numbers do not fit 256 bits.
    ///
    /// ```
    /// use tollway_core::{Decimal, Money};
    /// let (price, rate): (Money, Decimal) = ("$0.01".parse()?, "1.0832".parse()?);
    /// // 0.01 / 1.0832 = 0.009231905…
    /// assert_eq!(price.to_atomic_at(6, Decimal::ONE, rate)?.to_string(), "9232");
    /// assert_eq!(price.to_atomic_at(6, "1.01".parse()?, Decimal::ONE)?.to_string(), "10100");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_atomic_at(&self, decimals: u8, factor: Decimal, rate: Decimal) -> Result<Amount, MoneyError> {
        let (up, down) = (decimals.checked_add(rate.scale()), self.scale.checked_add(factor.scale()));
        let amount = up.zip(down).and_then(|(up, down)| {
            let power = |exponent: u8| U256::from(10u8).checked_pow(U256::from(exponent));
            let worth = self.digits.checked_mul(factor.digits())?;
            let worth = worth.checked_mul(power(up.saturating_sub(down))?)?;
            let unit = rate.digits().checked_mul(power(down.saturating_sub(up))?)?;
            let (whole, rest) = worth.div_rem(unit);
            if rest.is_zero() { Some(whole) } else { whole.checked_add(U256::from(1u8)) }
        });
        amount.map(Amount::from_atomic).ok_or_else(|| MoneyError::TooLarge(self.to_string()))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || MoneyError::Malformed(text.chars().take(64).collect());
        let (number, currency) = match (text.strip_prefix('$'), text.split_once(' ')) {
            (Some(number), _) => (number, Currency::Usd),
            (None, Some((number, "USD"))) => (number, Currency::Usd),
            (None, Some((number, symbol))) if is_symbol(symbol) => {
                (number, Currency::Symbol(symbol.to_owned()))
            }
            (None, Some(_)) => return Err(malformed()),
            (None, None) => (text, Currency::Usd),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(malformed()),
            None => (number, ""),
        };
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let spelled_twice = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || spelled_twice || !plain(whole) || !plain(fraction) {
            return Err(malformed());
        }
        // Trailing zeros carry no value: "0.10" and "0.1" are the same price.
        let fraction = fraction.trim_end_matches('0');
        let too_large = || MoneyError::TooLarge(text.chars().take(64).collect());
        if whole.len() + fraction.len() > 78 || fraction.len() > 30 {
            return Err(too_large());
        }
        let digits = U256::from_str_radix(&format!("{whole}{fraction}"), 10).map_err(|_| too_large())?;
        let scale = u8::try_from(fraction.len()).map_err(|_| too_large())?;
        Ok(Self { digits, scale, currency })
    }
}

fn is_symbol(text: &str) -> bool {
    (2..=12).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '₮')
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = Amount::from_atomic(self.digits).to_decimal(self.scale);
        match &self.currency {
            Currency::Usd => write!(f, "${number}"),
            Currency::Symbol(symbol) => write!(f, "{number} {symbol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use ruint::aliases::U256;

    use super::{Amount, Currency, Money, MoneyError};
    use crate::Decimal;

    fn atomic(text: &str, decimals: u8) -> Result<Amount, MoneyError> {
        text.parse::<Money>()?.to_atomic(decimals)
    }

    #[test]
    fn prices_are_exact_at_any_scale() {
        assert_eq!(atomic("$0.01", 6), Ok(Amount::from(10_000u64)));
        assert_eq!(atomic("0.01", 6), Ok(Amount::from(10_000u64)));
        assert_eq!(atomic("1 USD", 6), Ok(Amount::from(1_000_000u64)));
        assert_eq!(atomic("$0.10", 1), Ok(Amount::from(1u64)));
        assert_eq!(atomic("$0.000001", 6), Ok(Amount::from(1u64)));
        assert_eq!(atomic("$1", 18), Ok(Amount::from(1_000_000_000_000_000_000u64)));
        assert_eq!(
            "0.10 EURC".parse::<Money>().map(|m| m.currency().clone()),
            Ok(Currency::Symbol("EURC".to_owned()))
        );
    }

    #[test]
    fn a_price_finer_than_the_asset_is_an_error_not_a_rounding() {
        assert!(matches!(atomic("$0.0000001", 6), Err(MoneyError::TooFine { needed: 7, decimals: 6, .. })));
    }

    #[test]
    fn malformed_prices_are_refused() {
        for wrong in
            ["", "$", "$.5", "$1.", "$-1", "$1e3", "$ 1", "01", "1,000", "€1", "1 ", "0.1 eu rc", "$1 USD"]
        {
            assert!(wrong.parse::<Money>().is_err(), "{wrong:?}");
        }
        assert!(matches!("9".repeat(79).parse::<Money>(), Err(MoneyError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn money_prints_what_it_parses(whole in 0u64.., fraction in "[0-9]{0,12}") {
            let text = format!("${whole}{}{fraction}", if fraction.is_empty() { "" } else { "." });
            let money: Money = text.parse().unwrap();
            prop_assert_eq!(money.to_string().parse::<Money>().unwrap(), money);
        }

        /// In integers: amount * rate * 10^scales is at least price * factor * 10^scales, and one unit less is not.
        #[test]
        fn an_amount_at_a_rate_is_the_least_that_is_worth_the_price(
            millionths in 1u64..1_000_000_000_000,
            factor_thousandths in 500u32..2_000,
            rate_digits in 1u64..1_000_000_000_000,
            decimals in 0u8..19,
        ) {
            let split = |number: u64, scale: u32| format!(
                "{}.{:0width$}", number / 10u64.pow(scale), number % 10u64.pow(scale), width = scale as usize
            );
            let price: Money = format!("${}", split(millionths, 6)).parse().unwrap();
            let factor: Decimal = split(factor_thousandths.into(), 3).parse().unwrap();
            let rate: Decimal = split(rate_digits, 9).parse().unwrap();
            let amount = price.to_atomic_at(decimals, factor, rate).unwrap().atomic();
            let ten = |exponent: u8| U256::from(10u8).pow(U256::from(exponent));
            let asked = U256::from(millionths) * U256::from(factor_thousandths) * ten(decimals) * ten(9);
            let worth = |amount: U256| amount * U256::from(rate_digits) * ten(6 + 3);
            prop_assert!(worth(amount) >= asked);
            prop_assert!(amount > U256::ZERO && worth(amount - U256::from(1u8)) < asked);
        }

        #[test]
        fn a_rate_of_one_changes_no_exact_price(millionths in 1u64..1_000_000_000_000) {
            let price: Money = Amount::from(millionths).to_decimal(6).parse().unwrap();
            prop_assert_eq!(price.to_atomic_at(6, Decimal::ONE, Decimal::ONE), price.to_atomic(6));
        }
    }

    #[test]
    fn what_does_not_fit_at_a_rate_is_an_error() {
        let price: Money = "9".repeat(70).parse().unwrap();
        let rate = "0.000000000000000001".parse().unwrap();
        assert!(matches!(price.to_atomic_at(18, Decimal::ONE, rate), Err(MoneyError::TooLarge(_))));
        assert!(matches!(price.to_atomic_at(255, Decimal::ONE, rate), Err(MoneyError::TooLarge(_))));
    }
}
