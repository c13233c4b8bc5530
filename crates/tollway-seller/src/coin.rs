//! Which assets a seller takes for a price in dollars, and for how much of each. From a price to the offers of one network;
//! whether an offer is shown now is decided in [`crate::watch`].

use std::sync::Arc;

use tollway_core::{Amount, Currency, Decimal, Money, Network, OfferError, Price, SellerScheme, Terms};

use crate::guard::Guard;
use crate::offers::{Offer, Rail};
use crate::watch::Watches;

/// A factor outside of these is a mistake.
const FACTORS: (&str, &str) = ("0.5", "2");
/// More assets on one network are no choice for a buyer, and would not fit a header.
const MAX_COINS: usize = 16;
/// No token has more decimals.
const MAX_DECIMALS: usize = 36;

/// An asset taken for prices in dollars: [`PaywallBuilder::coins`](crate::PaywallBuilder::coins).
///
/// ```
/// use tollway_seller::{Coin, FileSource, Guard};
/// let plain = Coin::new("USDC");
/// let dearer = Coin::new("PYUSD").factor("1.01");
/// let rates = FileSource::new("rates.json", "/EURC/usd");
/// let at_its_rate = Coin::new("EURC").guard(Guard::new(rates).band("0.95", "1.35"));
/// ```
#[derive(Clone, Debug)]
pub struct Coin {
    symbol: String,
    factor: String,
    guard: Option<Guard>,
}

impl Coin {
    /// The asset of this symbol on its network, as the table of assets has it.
    ///
    /// ```
    /// let coin = tollway_seller::Coin::new("USDC");
    /// ```
    pub fn new(symbol: impl Into<String>) -> Self {
        Self { symbol: symbol.into(), factor: "1".to_owned(), guard: None }
    }

    /// Asks this many times the price: a decimal, 0.5 to 2. What comes out is rounded up to the asset's smallest unit.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::Coin;
    /// let paywall = builder().coins([Coin::new("USDC").factor("1.015")]).start().await?;
    /// assert_eq!(asked(paywall.price("$0.01")?).await.accepts[0].amount.to_string(), "10150");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn factor(mut self, factor: impl Into<String>) -> Self {
        self.factor = factor.into();
        self
    }

    /// Watches the asset's price. A dollar is asked one for one, and not offered while `guard` says that it is off its
    /// peg. Any other asset is asked at the rate that `guard` tells, and needs one.
    ///
    /// ```
    /// use tollway_seller::{Coin, FileSource, Guard};
    /// let coin = Coin::new("USDC").guard(Guard::new(FileSource::new("rates.json", "/USDC")));
    /// ```
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }
}

impl From<&str> for Coin {
    fn from(symbol: &str) -> Self {
        Self::new(symbol)
    }
}

/// A coin as it is on one network.
#[derive(Clone, Debug)]
pub(crate) struct RailCoin {
    /// One token, as a price.
    symbol: String,
    asset: String,
    decimals: u8,
    factor: Decimal,
    is_usd: bool,
    /// Its place among the watches.
    watch: Option<usize>,
}

/// An offer that depends on more than its price.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) watch: usize,
    /// How its amount follows the rate; none if it does not.
    pub(crate) floating: Option<Floating>,
}

/// A price in dollars that is asked in something else.
#[derive(Clone, Debug)]
pub(crate) struct Floating {
    price: Money,
    factor: Decimal,
    decimals: u8,
}

impl Floating {
    /// The amount where one token is worth `dollars`; none if it is no amount.
    pub(crate) fn amount(&self, dollars: Decimal) -> Option<Amount> {
        self.price.to_atomic_at(self.decimals, self.factor, dollars).ok()
    }
}

/// The coins of `coins` on the network of `terms`, watched by `watches`.
pub(crate) fn on_rail(
    coins: &[Coin],
    scheme: &dyn SellerScheme,
    terms: &Terms,
    watches: &mut Watches,
) -> Result<Vec<RailCoin>, String> {
    if coins.len() > MAX_COINS {
        return Err(format!("coins: must be at most {MAX_COINS}"));
    }
    let mut resolved: Vec<RailCoin> = Vec::new();
    for coin in coins {
        let fault = |fault: String| format!("coin {:?}: {fault}", coin.symbol);
        let known = resolve(coin, scheme, terms, watches).map_err(fault)?;
        if resolved.iter().any(|other| other.asset == known.asset) {
            return Err(fault("stands twice".to_owned()));
        }
        resolved.push(known);
    }
    Ok(resolved)
}

fn resolve(
    coin: &Coin,
    scheme: &dyn SellerScheme,
    terms: &Terms,
    watches: &mut Watches,
) -> Result<RailCoin, String> {
    let one: Money = format!("1 {}", coin.symbol).parse().map_err(|_| "must be a symbol".to_owned())?;
    if *one.currency() == Currency::Usd {
        return Err("must be the symbol of an asset".to_owned());
    }
    let offer = scheme.offer(&Price::Money(one), terms).map_err(|error| error.to_string())?;
    let decimals = decimals(offer.amount).ok_or("one token must be a power of ten of atomic units")?;
    let factor: Decimal = coin.factor.parse().map_err(|error| format!("factor {:?} {error}", coin.factor))?;
    let bound = |text: &str| text.parse::<Decimal>().ok();
    if bound(FACTORS.0).is_none_or(|least| factor < least)
        || bound(FACTORS.1).is_none_or(|most| factor > most)
    {
        return Err(format!("factor {factor} must be {} to {}", FACTORS.0, FACTORS.1));
    }
    let dollar = "$1".parse().map_err(|error| format!("{error}"))?;
    let is_usd = scheme.money_in(&dollar, &offer).is_some();
    let watch = match &coin.guard {
        Some(guard) => {
            let rules = guard.rules(is_usd)?;
            Some(watches.add(guard, rules, (&terms.network, &coin.symbol, &offer.asset)))
        }
        None if is_usd => None,
        None => return Err("is no dollar: it needs a guard that tells its rate".to_owned()),
    };
    Ok(RailCoin { symbol: coin.symbol.clone(), asset: offer.asset, decimals, factor, is_usd, watch })
}

/// How many decimals a token has of which one is `one` atomic units.
fn decimals(one: Amount) -> Option<u8> {
    let digits = one.to_string();
    let zeros = digits.strip_prefix('1')?;
    let is_power = zeros.len() <= MAX_DECIMALS && zeros.bytes().all(|digit| digit == b'0');
    u8::try_from(zeros.len()).ok().filter(|_| is_power)
}

impl Rail {
    /// The offers of `price`: one, and of a price in dollars one for each coin.
    pub(crate) fn offers(&self, price: &Price) -> Result<Vec<Offer>, OfferError> {
        match price {
            Price::Money(money) if *money.currency() == Currency::Usd && !self.coins.is_empty() => {
                self.coins.iter().map(|coin| self.offer_in(coin, money)).collect()
            }
            _ => self.offer(price).map(|offer| vec![offer]),
        }
    }

    /// A price as it stands. What it names may be guarded all the same.
    fn offer(&self, price: &Price) -> Result<Offer, OfferError> {
        let plain = self.scheme.offer(price, &self.terms)?;
        let requirements = match &self.kind {
            Some(kind) => self.scheme.enhance(plain, kind)?,
            None => plain,
        };
        let guarded = self.coins.iter().find(|coin| coin.asset == requirements.asset);
        let watched = guarded.and_then(|coin| coin.watch).map(|watch| Watched { watch, floating: None });
        let is_usual = self.usual.as_ref() == Some(&requirements.asset);
        // v1 clients sign an authorization of EIP-3009, whatever the offer says.
        let by_token = matches!(requirements.extra_str("assetTransferMethod"), None | Some("eip3009"));
        let (scheme, takes_v1) = (Arc::clone(&self.scheme), self.takes_v1 && by_token);
        let declares = scheme.declare(&requirements, &self.understood);
        Ok(Offer { requirements, scheme, takes_v1, declares, is_usual, watched, stale: None })
    }

    /// Dollars in one of the coins.
    fn offer_in(&self, coin: &RailCoin, money: &Money) -> Result<Offer, OfferError> {
        if coin.is_usd && coin.factor == Decimal::ONE {
            // To the last unit, or not at all: a seller who writes a price that nobody can pay is told so.
            money.to_atomic(coin.decimals)?;
        }
        // Until its rate is known, what floats is asked as a dollar; it is not shown like that.
        let amount = money.to_atomic_at(coin.decimals, coin.factor, Decimal::ONE)?;
        let asked = format!("{} {}", amount.to_decimal(coin.decimals), coin.symbol);
        let mut offer = self.offer(&Price::Money(asked.parse()?))?;
        if !coin.is_usd
            && let Some(watched) = &mut offer.watched
        {
            let (price, factor, decimals) = (money.clone(), coin.factor, coin.decimals);
            watched.floating = Some(Floating { price, factor, decimals });
            // A v1 payment does not repeat its offer, so nobody could say at which rate it was made.
            offer.takes_v1 = false;
        }
        Ok(offer)
    }
}

/// The asset that a price in dollars means on a network by itself.
pub(crate) fn usual(scheme: &dyn SellerScheme, terms: &Terms) -> Option<String> {
    let dollar = "$1".parse().ok()?;
    scheme.offer(&Price::Money(dollar), terms).ok().map(|offer| offer.asset)
}

/// Where an asset is, and what it is called.
pub(crate) type Label<'a> = (&'a Network, &'a str, &'a str);

#[cfg(test)]
mod tests {
    use tollway_core::Amount;

    use super::decimals;

    #[test]
    fn decimals_are_read_off_one_token() {
        for (one, expected) in
            [("1", Some(0)), ("1000000", Some(6)), ("2000000", None), ("1000001", None), ("0", None)]
        {
            assert_eq!(decimals(one.parse::<Amount>().unwrap()), expected, "{one}");
        }
    }
}
