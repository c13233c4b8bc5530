//! From a price to the offer of an EVM scheme: which token, how much of it, and what a buyer must know to sign.

use alloy_primitives::Address;
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Currency, JsonObject, Money, Network, OfferError, OfferedValue, Price, SchemeName, Terms,
};

use crate::asset::{Asset, AssetTable, TransferMethod};
use crate::exact::{ADDRESS_RULE, MIN_REMAINING_SECONDS, parse_address};
use crate::permit2::{METHOD, METHOD_FIELD};

/// How a scheme makes its offers.
#[derive(Clone, Debug)]
pub(crate) struct Pricing<'a> {
    pub(crate) assets: &'a AssetTable,
    pub(crate) scheme: SchemeName,
    /// The one method that the scheme knows; without it the token decides.
    pub(crate) only: Option<TransferMethod>,
}

/// What a price comes to.
struct Priced<'a> {
    amount: Amount,
    asset: Address,
    known: Option<&'a Asset>,
    /// What the seller adds.
    extra: JsonObject,
}

impl Pricing<'_> {
    pub(crate) fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let pay_to = parse_address(&terms.pay_to)
            .filter(|address| *address != Address::ZERO)
            .ok_or_else(|| wrong("payTo", ADDRESS_RULE))?;
        let priced = self.resolve(price, &terms.network)?;
        if priced.amount == Amount::ZERO {
            return Err(wrong("amount", "must be more than zero: a transfer of nothing proves nothing"));
        }
        if terms.max_timeout_seconds <= MIN_REMAINING_SECONDS {
            let rule =
                format!("must be more than {MIN_REMAINING_SECONDS}: a payment is refused with less left");
            return Err(wrong("maxTimeoutSeconds", rule));
        }
        let extra = self.extra(&priced)?;
        Ok(PaymentRequirements {
            scheme: self.scheme.clone(),
            network: terms.network.clone(),
            amount: priced.amount,
            asset: priced.asset.to_checksum(None),
            pay_to: pay_to.to_checksum(None),
            max_timeout_seconds: terms.max_timeout_seconds,
            extra,
            other: JsonObject::new(),
        })
    }

    fn resolve(&self, price: &Price, network: &Network) -> Result<Priced<'_>, OfferError> {
        match price {
            Price::Money(money) => {
                let asset = self.assets.resolve(network, money.currency()).ok_or_else(|| {
                    OfferError::UnknownAsset { currency: money.to_string(), network: network.clone() }
                })?;
                let amount = money.to_atomic(asset.decimals)?;
                Ok(Priced { amount, asset: asset.address, known: Some(asset), extra: JsonObject::new() })
            }
            Price::Asset { amount, asset, extra } => {
                let asset = parse_address(asset).ok_or_else(|| wrong("asset", ADDRESS_RULE))?;
                let known = self.assets.find(network, asset);
                Ok(Priced { amount: *amount, asset, known, extra: extra.clone() })
            }
            _ => Err(wrong("price", "is not supported")),
        }
    }

    /// The method, and the EIP-712 domain of the token where something is signed under it: the authorization of
    /// EIP-3009, or the permit of EIP-2612 that approves Permit2.
    fn extra(&self, priced: &Priced<'_>) -> Result<JsonObject, OfferError> {
        let given = |name: &str| priced.extra.get(name).and_then(serde_json::Value::as_str);
        let method = match (self.only, given(METHOD_FIELD)) {
            (Some(only), None) => only,
            (None, None) => priced.known.map(|asset| asset.transfer_method).unwrap_or_default(),
            (only, Some(name)) => [TransferMethod::Eip3009, TransferMethod::Permit2]
                .into_iter()
                .find(|method| method.as_str() == name && only.is_none_or(|only| only == *method))
                .ok_or_else(|| wrong("extra", format!("cannot have {METHOD_FIELD} {name:?} here")))?,
        };
        let name = given("name").or(priced.known.map(|asset| asset.name.as_str()));
        let version = given("version").or(priced.known.map(|asset| asset.version.as_str()));
        let domain = name.zip(version).filter(|(name, version)| !name.is_empty() && !version.is_empty());
        let mut extra = JsonObject::new();
        if let Some((name, version)) = domain {
            extra.insert("name".to_owned(), name.into());
            extra.insert("version".to_owned(), version.into());
        } else if method == TransferMethod::Eip3009 {
            let rule = "must hold the EIP-712 name and version of an asset that is not in the table";
            return Err(wrong("extra", rule));
        }
        if method == TransferMethod::Permit2 {
            extra.insert(METHOD_FIELD.to_owned(), METHOD.into());
        }
        for (key, value) in &priced.extra {
            extra.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(extra)
    }
}

/// What an offer in a known asset costs, to a buyer.
pub(crate) fn value_of(asset: &Asset, offer: &PaymentRequirements) -> OfferedValue {
    OfferedValue {
        symbol: asset.symbol.clone(),
        decimals: asset.decimals,
        amount: offer.amount,
        is_usd: asset.is_usd,
    }
}

/// The atomic amount of `money` in the offer's asset, if the table knows it and the currencies fit.
pub(crate) fn money_in(assets: &AssetTable, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
    let asset = assets.find(&offer.network, parse_address(&offer.asset)?)?;
    let fits = match money.currency() {
        Currency::Usd => asset.is_usd,
        Currency::Symbol(symbol) => *symbol == asset.symbol,
        _ => false,
    };
    fits.then(|| money.to_atomic(asset.decimals).ok()).flatten()
}

fn wrong(field: &'static str, rule: impl Into<String>) -> OfferError {
    OfferError::Field { field, rule: rule.into() }
}
