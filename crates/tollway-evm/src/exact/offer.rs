//! The seller's side: from a price to an offer.

use alloy_primitives::Address;
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{
    Amount, Checked, Currency, JsonObject, Money, Network, OfferError, Price, Refusal, SchemeName,
    SellerScheme, Terms, UnixTime,
};

use super::{ADDRESS_RULE, MIN_REMAINING_SECONDS, check, parse_address};
use crate::AssetTable;

/// Scheme `exact` on EVM for sellers.
///
/// ```
/// use tollway_core::{Money, Price, SellerScheme, Terms};
/// use tollway_evm::{AssetTable, exact::ExactSeller};
/// let terms = Terms {
///     network: "eip155:8453".parse()?,
///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
///     max_timeout_seconds: 300,
/// };
/// let offer = ExactSeller::new(AssetTable::known()).offer(&Price::Money("$0.01".parse()?), &terms)?;
/// assert_eq!(offer.amount.to_string(), "10000");
/// assert_eq!(offer.extra_str("name"), Some("USD Coin"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactSeller {
    assets: AssetTable,
}

impl ExactSeller {
    /// Offers that resolve money by `assets`. An asset that is not in it can be offered all the same, by
    /// [`Price::Asset`] with its EIP-712 name and version.
    ///
    /// ```
    /// use tollway_core::{OfferError, Price, SellerScheme, Terms};
    /// use tollway_evm::{AssetTable, exact::ExactSeller};
    /// # let network = "eip155:8453".parse()?;
    /// # let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    /// # let terms = Terms { network, pay_to, max_timeout_seconds: 60 };
    /// let refused = ExactSeller::new(AssetTable::empty()).offer(&Price::Money("$0.01".parse()?), &terms);
    /// assert!(matches!(refused, Err(OfferError::UnknownAsset { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(assets: AssetTable) -> Self {
        Self { assets }
    }
}

impl SellerScheme for ExactSeller {
    fn name(&self) -> &SchemeName {
        &SchemeName::EXACT
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let pay_to = parse_address(&terms.pay_to)
            .filter(|address| *address != Address::ZERO)
            .ok_or_else(|| OfferError::Field { field: "payTo", rule: ADDRESS_RULE.to_owned() })?;
        let (amount, asset, extra) = match price {
            Price::Money(money) => self.resolve(money, &terms.network)?,
            Price::Asset { amount, asset, extra } => {
                let asset = parse_address(asset)
                    .ok_or_else(|| OfferError::Field { field: "asset", rule: ADDRESS_RULE.to_owned() })?;
                (*amount, asset, self.domain_of(&terms.network, asset, extra)?)
            }
            _ => return Err(OfferError::Field { field: "price", rule: "is not supported".to_owned() }),
        };
        if amount == Amount::ZERO {
            let rule = "must be more than zero: a transfer of nothing proves nothing".to_owned();
            return Err(OfferError::Field { field: "amount", rule });
        }
        if terms.max_timeout_seconds <= MIN_REMAINING_SECONDS {
            let rule =
                format!("must be more than {MIN_REMAINING_SECONDS}: a payment is refused with less left");
            return Err(OfferError::Field { field: "maxTimeoutSeconds", rule });
        }
        Ok(PaymentRequirements {
            scheme: SchemeName::EXACT,
            network: terms.network.clone(),
            amount,
            asset: asset.to_checksum(None),
            pay_to: pay_to.to_checksum(None),
            max_timeout_seconds: terms.max_timeout_seconds,
            extra,
            other: JsonObject::new(),
        })
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        check(payment, offer, now).map(|payment| payment.checked())
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        let asset = self.assets.find(&offer.network, parse_address(&offer.asset)?)?;
        let fits = match money.currency() {
            Currency::Usd => asset.is_usd,
            Currency::Symbol(symbol) => *symbol == asset.symbol,
            _ => false,
        };
        fits.then(|| money.to_atomic(asset.decimals).ok()).flatten()
    }
}

impl ExactSeller {
    fn resolve(&self, money: &Money, network: &Network) -> Result<(Amount, Address, JsonObject), OfferError> {
        let asset = self.assets.resolve(network, money.currency()).ok_or_else(|| {
            OfferError::UnknownAsset { currency: money.to_string(), network: network.clone() }
        })?;
        let amount = money.to_atomic(asset.decimals)?;
        Ok((amount, asset.address, domain_extra(&asset.name, &asset.version, &JsonObject::new())))
    }

    /// An asset given by address needs its domain: from the seller, or from the table.
    fn domain_of(
        &self,
        network: &Network,
        asset: Address,
        extra: &JsonObject,
    ) -> Result<JsonObject, OfferError> {
        let text = |name: &str| extra.get(name).and_then(serde_json::Value::as_str);
        let known = self.assets.find(network, asset);
        let name = text("name").or(known.map(|asset| asset.name.as_str()));
        let version = text("version").or(known.map(|asset| asset.version.as_str()));
        match (name, version) {
            (Some(name), Some(version)) if !name.is_empty() && !version.is_empty() => {
                Ok(domain_extra(name, version, extra))
            }
            _ => Err(OfferError::Field {
                field: "extra",
                rule: "must hold the EIP-712 name and version of an asset that is not in the table"
                    .to_owned(),
            }),
        }
    }
}

fn domain_extra(name: &str, version: &str, extra: &JsonObject) -> JsonObject {
    let mut all = JsonObject::new();
    all.insert("name".to_owned(), name.into());
    all.insert("version".to_owned(), version.into());
    for (key, value) in extra {
        all.entry(key.clone()).or_insert_with(|| value.clone());
    }
    all
}
