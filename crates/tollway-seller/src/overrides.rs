//! `Settlement-Overrides`: by this header on its answer a handler charges less than the maximum.

use http::HeaderMap;
use tollway_core::model::PaymentRequirements;
use tollway_core::wire::{self, SETTLEMENT_OVERRIDES};
use tollway_core::{Amount, Money, SellerScheme};

use crate::phase::Charge;

/// Takes the header off the answer, whatever is in it. Two of them are none of them: an error.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<Result<String, String>> {
    let mut values = headers.get_all(SETTLEMENT_OVERRIDES).iter();
    let taken = match (values.next(), values.next()) {
        (None, _) => return None,
        (Some(_), Some(_)) => Err("stands twice".to_owned()),
        (Some(value), None) => {
            value.to_str().map(str::to_owned).map_err(|_| "must be visible ASCII".to_owned())
        }
    };
    headers.remove(SETTLEMENT_OVERRIDES);
    Some(taken)
}

/// What the header's text charges of `offer`: `{"amount":"…"}` or the value alone, which is atomic units
/// (`"1000"`), a share (`"50%"`, at most two decimals, rounded down) or dollars (`"$0.05"`).
pub(crate) fn parse(
    text: &str,
    scheme: &dyn SellerScheme,
    offer: &PaymentRequirements,
) -> Result<Charge, String> {
    let text = text.trim();
    if !text.starts_with('{') {
        return value(text, scheme, offer);
    }
    let mut object = wire::parse_object(text.as_bytes(), "Settlement-Overrides")
        .map(wire::Fields::root)
        .map_err(|error| error.to_string())?;
    let text = object.string("amount").map_err(|error| error.to_string())?;
    value(&text, scheme, offer)
}

fn value(text: &str, scheme: &dyn SellerScheme, offer: &PaymentRequirements) -> Result<Charge, String> {
    let amount = if let Some(percent) = text.strip_suffix('%') {
        share(percent, offer.amount)
            .ok_or_else(|| format!("{text:?} must be 0% to 100%, two decimals at most"))?
    } else if text.starts_with('$') {
        let money: Money = text.parse().map_err(|error| format!("{error}"))?;
        scheme.money_in(&money, offer).ok_or_else(|| format!("{text:?} is no amount of {}", offer.asset))?
    } else {
        text.parse::<Amount>().map_err(|error| format!("{text:?} {error}"))?
    };
    if amount > offer.amount {
        return Err(format!("{text:?} is more than the {} the buyer agreed to", offer.amount));
    }
    Ok(match amount {
        Amount::ZERO => Charge::Nothing,
        amount if amount == offer.amount => Charge::Full,
        amount => Charge::Amount(amount),
    })
}

/// `percent` of `full`, rounded down.
fn share(percent: &str, full: Amount) -> Option<Amount> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=3).contains(&whole.len()) || fraction.len() > 2 || !is_plain(whole) || !is_plain(fraction) {
        return None;
    }
    let hundredths: u64 = format!("{whole}{fraction:0<2}").parse().ok()?;
    if hundredths > 10_000 {
        return None;
    }
    let product = full.atomic().checked_mul(Amount::from(hundredths).atomic())?;
    Some(Amount::from_atomic(product / Amount::from(10_000).atomic()))
}

#[cfg(test)]
mod tests {
    use tollway_core::Amount;

    use super::share;

    #[test]
    fn a_share_is_rounded_down() {
        let share = |percent| share(percent, Amount::from(999)).map(|amount| amount.to_string());
        assert_eq!(share("50"), Some("499".to_owned()));
        assert_eq!(share("33.33"), Some("332".to_owned()));
        assert_eq!(share("100"), Some("999".to_owned()));
        assert_eq!(share("0.5"), Some("4".to_owned()));
        for wrong in ["", "101", "100.01", "1.234", "-1", "+1", "1e1", ".5", "1000"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
    }
}
