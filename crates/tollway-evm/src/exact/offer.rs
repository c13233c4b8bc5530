//! The seller's side: from a price to an offer.

use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{
    Amount, Checked, JsonObject, Money, Network, OfferError, Price, Refusal, SchemeName, SellerScheme, Terms,
    UnixTime,
};

use super::check;
use crate::AssetTable;
use crate::delegation;
use crate::permit2::{self, Ceiling};
use crate::pricing::{Pricing, money_in};

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
    /// [`Price::Asset`] with its EIP-712 name and version, or by Permit2 with
    /// `"assetTransferMethod": "permit2"` in its `extra`.
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
        Pricing { assets: &self.assets, scheme: SchemeName::EXACT, only: None }.offer(price, terms)
    }

    fn declare(&self, offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
        permit2::declare(offer, understood)
    }

    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        match offer.extra_str(permit2::METHOD_FIELD) {
            Some(permit2::METHOD) => {
                permit2::check(payment, offer, Ceiling::Equal, now).map(|payment| payment.checked())
            }
            Some(delegation::METHOD) => {
                delegation::check(payment, offer).map(|payment| payment.checked(offer, now))
            }
            _ => check(payment, offer, now).map(|payment| payment.checked()),
        }
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        money_in(&self.assets, money, offer)
    }
}
