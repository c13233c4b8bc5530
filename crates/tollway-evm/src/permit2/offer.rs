//! The seller's side of scheme `upto`: from a price to an offer, which is a ceiling.

use alloy_primitives::Address;
use tollway_core::model::{PaymentPayload, PaymentRequirements, SupportedKind};
use tollway_core::{
    Amount, Checked, ErrorCode, JsonObject, Money, Network, OfferError, Price, Refusal, SchemeName,
    SellerScheme, Terms, UnixTime,
};

use super::{Ceiling, check, declare};
use crate::exact::parse_address;
use crate::pricing::{Pricing, money_in};
use crate::{AssetTable, TransferMethod};

/// Scheme `upto` on EVM for sellers: the price is the most that is charged, and the handler says how much it was.
///
/// ```
/// use tollway_core::{Money, Price, SellerScheme, Terms};
/// use tollway_evm::{AssetTable, permit2::UptoSeller};
/// let terms = Terms {
///     network: "eip155:8453".parse()?,
///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
///     max_timeout_seconds: 300,
/// };
/// let offer = UptoSeller::new(AssetTable::known()).offer(&Price::Money("$5".parse()?), &terms)?;
/// assert_eq!((offer.scheme.as_str(), offer.amount.to_string().as_str()), ("upto", "5000000"));
/// assert_eq!(offer.extra_str("assetTransferMethod"), Some("permit2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct UptoSeller {
    assets: AssetTable,
}

impl UptoSeller {
    /// Offers that resolve money by `assets`. Any ERC-20 token will do, given by [`Price::Asset`].
    ///
    /// ```
    /// use tollway_core::{JsonObject, Price, SellerScheme, Terms};
    /// use tollway_evm::{AssetTable, permit2::UptoSeller};
    /// # let network = "eip155:8453".parse()?;
    /// # let pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned();
    /// # let terms = Terms { network, pay_to, max_timeout_seconds: 60 };
    /// let asset = "0x5FbDB2315678afecb367f032d93F642f64180aa3".to_owned();
    /// let price = Price::Asset { amount: 7.into(), asset, extra: JsonObject::new() };
    /// assert!(UptoSeller::new(AssetTable::empty()).offer(&price, &terms).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(assets: AssetTable) -> Self {
        Self { assets }
    }
}

impl SellerScheme for UptoSeller {
    fn name(&self) -> &SchemeName {
        &SchemeName::UPTO
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let only = Some(TransferMethod::Permit2);
        Pricing { assets: &self.assets, scheme: SchemeName::UPTO, only }.offer(price, terms)
    }

    /// The facilitator's address, which buyers sign.
    fn enhance(
        &self,
        mut offer: PaymentRequirements,
        kind: &SupportedKind,
    ) -> Result<PaymentRequirements, OfferError> {
        let said = kind.extra.get("facilitatorAddress").and_then(serde_json::Value::as_str);
        let address = said.and_then(parse_address).filter(|address| *address != Address::ZERO);
        let address = address.ok_or_else(|| OfferError::Field {
            field: "facilitatorAddress",
            rule: "is not told by the facilitator's /supported: scheme upto needs it".to_owned(),
        })?;
        offer.extra.insert("facilitatorAddress".to_owned(), address.to_checksum(None).into());
        Ok(offer)
    }

    fn declare(&self, offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
        declare(offer, understood)
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        // Signed for nobody in particular, it could be settled by anybody for all of it.
        let facilitator = offer.extra_str("facilitatorAddress").and_then(parse_address);
        if facilitator.is_none_or(|address| address == Address::ZERO) {
            let rule = "must be the facilitator's address, as its /supported says";
            let field = "paymentRequirements.extra.facilitatorAddress";
            return Err(Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, rule));
        }
        check(payment, offer, Ceiling::Equal, now).map(|payment| payment.checked())
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        money_in(&self.assets, money, offer)
    }
}
