//! What stands on the command line, read where it stands: what is wrong is told with the option's name, and is wrong usage
//! (exit code 2), before anything is asked or opened.

use anyhow::{Context, bail, ensure};
use tollway_core::{Amount, Currency, Money};
use url::Url;

/// The longest name of a wallet, a team or an agent.
const MAX_NAME: usize = 200;
/// Nobody waits for longer than a day.
const MAX_SECONDS: u64 = 86_400;

/// Wrong usage that only shows when several options are looked at.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// Atomic units, more than none: a zero is an amount that was not filled in.
pub(crate) fn amount(text: &str) -> anyhow::Result<Amount> {
    let amount = text.parse::<Amount>().context("must be a whole number of atomic units")?;
    ensure!(amount > Amount::ZERO, "must be more than zero");
    Ok(amount)
}

/// The same where a contract counts in 128 bits.
pub(crate) fn narrow_amount(text: &str) -> anyhow::Result<u128> {
    let amount = text.parse::<u128>().context("must be a whole number of atomic units, of 128 bits")?;
    ensure!(amount > 0, "must be more than zero");
    Ok(amount)
}

/// Seconds to wait.
pub(crate) fn seconds(text: &str) -> anyhow::Result<u64> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    seconds.with_context(|| format!("must be from 1 to {MAX_SECONDS} seconds"))
}

/// Money in dollars.
pub(crate) fn dollars(text: &str) -> anyhow::Result<Money> {
    let money = text.parse::<Money>()?;
    ensure!(matches!(money.currency(), Currency::Usd), "must be in dollars, such as $0.05");
    Ok(money)
}

/// A name, which a script may have forgotten to fill in.
pub(crate) fn name(text: &str) -> anyhow::Result<String> {
    ensure!(!text.trim().is_empty(), "must not be empty");
    ensure!(text.len() <= MAX_NAME, "must be at most {MAX_NAME} bytes long");
    Ok(text.to_owned())
}

/// What HTTP can ask for.
pub(crate) fn web_url(text: &str) -> anyhow::Result<Url> {
    let url = text.parse::<Url>().context("must be a URL like https://api.example.com/data")?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("must begin with https:// or http://");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{amount, dollars, name, narrow_amount, seconds, web_url};

    #[test]
    fn what_was_not_filled_in_or_is_of_another_unit_is_wrong_usage() {
        for wrong in ["", "0", "-1", "1.5", "1e6", "$1", &"9".repeat(90)] {
            assert!(amount(wrong).is_err() && narrow_amount(wrong).is_err(), "{wrong}");
        }
        // More than 64 bits: a hundred tokens of 18 decimals.
        assert_eq!(amount("100000000000000000000").unwrap().to_string(), "100000000000000000000");
        assert_eq!(narrow_amount("100000000000000000000").unwrap(), 100 * 10_u128.pow(18));
        for wrong in ["", "0", "-1", "1.5", "86401", "18446744073709551615", "5s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "5 EUR", "0.10 EURC", "-1", "1e3"] {
            assert!(dollars(wrong).is_err(), "{wrong}");
        }
        assert!(dollars("$0.05").is_ok() && dollars("0.05").is_ok());
        for wrong in ["", "   ", &"a".repeat(201)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "api.example.com", "ftp://x/y", "file:///etc/passwd", "http://"] {
            assert!(web_url(wrong).is_err(), "{wrong:?}");
        }
    }
}
