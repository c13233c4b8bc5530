//! What units cost. A price for a million of them says what one costs where that is less than a token can move: what was
//! used is kept exactly, and only its sum is rounded, up.

use tollway_core::Amount;
use tollway_evm::U256;

/// Parts of an atomic unit that are counted. What is finer is rounded up.
const PARTS: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// What a number of units costs. Made by [`Meter::tariff`](crate::Meter::tariff).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// Parts of atomic units that `per` units cost.
    parts: U256,
    per: u64,
}

/// What was used so far, in parts of atomic units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used(U256);

impl Tariff {
    pub(super) fn new(amount: Amount, per: u64) -> Option<Self> {
        let parts = amount.atomic().checked_mul(PARTS)?;
        (per > 0).then_some(Self { parts, per })
    }
}

impl Used {
    /// With `units` more; none beyond what an amount can say.
    pub(super) fn plus(self, tariff: &Tariff, units: u64) -> Option<Self> {
        let parts = tariff.parts.checked_mul(U256::from(units))?;
        self.0.checked_add(rounded_up(parts, U256::from(tariff.per))?).map(Self)
    }

    /// In atomic units, a fraction of one counted as one.
    pub(super) fn amount(self) -> Amount {
        Amount::from_atomic(rounded_up(self.0, PARTS).unwrap_or(U256::MAX))
    }
}

fn rounded_up(dividend: U256, divisor: U256) -> Option<U256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    if rest.is_zero() { Some(quotient) } else { quotient.checked_add(U256::from(1)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollway_core::Amount;
    use tollway_evm::U256;

    use super::{Tariff, Used};

    fn used(tariff: &Tariff, steps: &[u64]) -> Amount {
        let sum = steps.iter().try_fold(Used::default(), |used, units| used.plus(tariff, *units));
        sum.unwrap().amount()
    }

    #[test]
    fn what_costs_less_than_a_unit_adds_up() {
        // Half an atomic unit each.
        let tariff = Tariff::new(Amount::from(500_000), 1_000_000).unwrap();
        assert_eq!(used(&tariff, &[0]), Amount::ZERO);
        assert_eq!(used(&tariff, &[1]), Amount::from(1));
        assert_eq!(used(&tariff, &[1, 1]), Amount::from(1));
        assert_eq!(used(&tariff, &[1; 1_000]), Amount::from(500));
    }

    #[test]
    fn nothing_is_sold_by_zero_units_and_no_sum_begins_anew() {
        assert_eq!(Tariff::new(Amount::from(1), 0), None);
        assert_eq!(Tariff::new(Amount::MAX, 1), None);
        let dear = Tariff::new(Amount::from_atomic(U256::MAX >> 64), 1).unwrap();
        assert_eq!(Used::default().plus(&dear, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn in_small_steps_it_costs_what_it_costs_at_once_but_for_one_unit(
            price in 0_u64..1_000_000_000,
            per in 1_u64..10_000_000,
            steps in prop::collection::vec(0_u64..1_000_000, 1..50),
        ) {
            let tariff = Tariff::new(Amount::from(price), per).unwrap();
            let (whole, in_steps) = (used(&tariff, &[steps.iter().sum()]), used(&tariff, &steps));
            prop_assert!(whole <= in_steps && in_steps <= whole.checked_add(Amount::from(1)).unwrap());
        }
    }
}
