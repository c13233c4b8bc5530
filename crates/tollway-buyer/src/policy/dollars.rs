//! Dollars counted exactly, in 10^-18 of one: tokens of any decimals in one unit, rounded up and never down.

use ruint::aliases::U256;
use tollway_core::{Amount, Money};

/// How many decimals a counted dollar has.
pub(crate) const DOLLAR_DECIMALS: u8 = 18;

/// What `amount` atomic units of a dollar token with `decimals` decimals are; `None` if that does not fit.
pub(crate) fn from_atomic(amount: Amount, decimals: u8) -> Option<Amount> {
    let power = |exponent: u8| U256::from(10u8).checked_pow(U256::from(exponent));
    if let Some(missing) = DOLLAR_DECIMALS.checked_sub(decimals) {
        return amount.atomic().checked_mul(power(missing)?).map(Amount::from_atomic);
    }
    // A power that does not fit is more than any amount: what is there rounds up to one.
    let counted = match power(decimals - DOLLAR_DECIMALS) {
        Some(unit) => amount.atomic().div_ceil(unit),
        None => U256::from(u8::from(amount != Amount::ZERO)),
    };
    Some(Amount::from_atomic(counted))
}

/// What `money` is; `None` for another currency, for a fraction that is too fine and for what does not fit.
pub(crate) fn from_money(money: &Money) -> Option<Amount> {
    match money.currency() {
        tollway_core::Currency::Usd => money.to_atomic(DOLLAR_DECIMALS).ok(),
        _ => None,
    }
}

/// As people read it.
pub(crate) fn show(counted: Amount) -> String {
    format!("${}", counted.to_decimal(DOLLAR_DECIMALS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use ruint::aliases::U256;
    use tollway_core::Amount;

    use super::{from_atomic, from_money, show};

    #[test]
    fn a_dollar_is_a_dollar_in_any_decimals() {
        let dollar = from_money(&"$1".parse().unwrap()).unwrap();
        for decimals in 0..60u8 {
            let one = Amount::from_atomic(U256::from(10u8).pow(U256::from(decimals)));
            assert_eq!(from_atomic(one, decimals), Some(dollar), "{decimals}");
        }
        assert_eq!(show(dollar), "$1");
        assert_eq!(from_money(&"1 EURC".parse().unwrap()), None);
        assert_eq!(from_money(&"$0.0000000000000000001".parse().unwrap()), None, "finer than it is counted");
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        assert_eq!(from_atomic(Amount::MAX, 17), None);
        assert_eq!(from_atomic(Amount::MAX, 18), Some(Amount::MAX));
        assert_eq!(from_atomic(Amount::MAX, 255), Some(Amount::from(1)));
        assert_eq!(from_atomic(Amount::ZERO, 255), Some(Amount::ZERO));
    }

    proptest! {
        #[test]
        fn rounding_only_ever_counts_more(amount in any::<u128>(), decimals in 0u8..60) {
            let counted = from_atomic(Amount::from_atomic(U256::from(amount)), decimals).unwrap().atomic();
            if decimals <= 18 {
                let unit = U256::from(10u8).pow(U256::from(18 - decimals));
                prop_assert_eq!(counted, U256::from(amount) * unit);
            } else {
                let unit = U256::from(10u8).pow(U256::from(decimals - 18));
                prop_assert!(counted * unit >= U256::from(amount));
                prop_assert!(amount == 0 || (counted - U256::from(1u8)) * unit < U256::from(amount));
            }
        }
    }
}
