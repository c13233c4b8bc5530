//! The right to run a handler once. A ticket is settled or released; a ticket that is dropped is released.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::{Amount, Checked, SchemeName, SellerScheme};

use super::settle::Settlement;
use crate::denial::Denial;
use crate::paywall::Core;
use crate::reservation::{Fate, Hold};

/// A payment that was admitted. While it lives, the same authorization buys nothing else.
///
/// Dropping it, because the buyer hung up or the handler panicked, frees the payment if nothing was sent to
/// settle. If something was, the reservation stays, and the same request with the same payment is asked
/// about at the facilitator before it is served.
#[derive(Debug)]
#[must_use = "a dropped ticket is a request that was not served"]
pub struct Ticket {
    core: Arc<Core>,
    scheme: Arc<dyn SellerScheme>,
    request: FacilitatorRequest,
    checked: Checked,
    hold: Arc<Hold>,
    settled: Option<SettleResponse>,
}

/// How much of the offer to charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// All of it.
    Full,
    /// This much, atomic units: for schemes that can charge less than the maximum.
    Amount(Amount),
    /// Nothing: the payment is free again.
    Nothing,
}

/// What a buyer is told after being served.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The settlement; none if nothing was charged.
    pub settlement: Option<SettleResponse>,
    /// The protocol version the buyer speaks.
    pub version: X402Version,
}

impl Ticket {
    pub(crate) const fn new(
        core: Arc<Core>,
        scheme: Arc<dyn SellerScheme>,
        request: FacilitatorRequest,
        checked: Checked,
        hold: Arc<Hold>,
    ) -> Self {
        Self { core, scheme, request, checked, hold, settled: None }
    }

    /// Who pays: on EVM the address that signed, with its EIP-55 checksum.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let ticket = ticket(&paywall().await).await?;
    /// assert!(ticket.payer().starts_with("0x"));
    /// # Ok(()) }
    /// ```
    pub fn payer(&self) -> &str {
        &self.checked.payer
    }

    /// The offer that was paid. Its amount, in atomic units, is the most that can be charged.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let ticket = ticket(&paywall().await).await?;
    /// assert_eq!(ticket.requirements().network.as_str(), "eip155:8453");
    /// # Ok(()) }
    /// ```
    pub const fn requirements(&self) -> &PaymentRequirements {
        &self.request.requirements
    }

    /// The protocol version the buyer speaks.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// use tollway_core::X402Version;
    /// let ticket = ticket(&paywall().await).await?;
    /// assert_eq!(ticket.version(), X402Version::V2);
    /// # Ok(()) }
    /// ```
    pub const fn version(&self) -> X402Version {
        self.request.payment.version
    }

    /// Whether the money has moved already: nothing about the charge can change then.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let paywall = paywall().await;
    /// assert!(!ticket_for(&paywall, paywall.price("$0.01").unwrap()).await?.is_settled());
    /// assert!(ticket_for(&paywall, paywall.price("$0.01").unwrap().upfront()).await?.is_settled());
    /// # Ok(()) }
    /// ```
    pub const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The handler succeeded: settle what is to be settled. Only after this may the answer leave.
    ///
    /// # Errors
    /// [`Denial`]: the answer must not leave.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// use tollway_seller::Charge;
    /// let ticket = ticket(&paywall().await).await?;
    /// let receipt = ticket.settle(Charge::Full).await?;
    /// assert!(receipt.settlement.is_some_and(|settlement| settlement.success));
    /// # Ok(()) }
    /// ```
    pub async fn settle(mut self, charge: Charge) -> Result<Receipt, Denial> {
        let version = self.version();
        if self.settled.is_none() {
            match self.charged(charge)? {
                None => return Ok(Receipt { settlement: None, version }),
                Some(amount) => {
                    self.request.requirements.amount = amount;
                    self.settled = Some(self.settlement().run().await?);
                }
            }
        }
        if let Some(settlement) = &self.settled {
            self.hold.set_fate(Fate::Delivered(settlement.transaction.clone()));
        }
        Ok(Receipt { settlement: self.settled.take(), version })
    }

    /// The handler failed. What was not sent to settle is free again; what was settled first stays owed: the
    /// same request with the same payment is served without a new charge. The receipt is for the latter.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let paywall = paywall().await;
    /// let receipt = ticket(&paywall).await?.release();
    /// assert!(receipt.settlement.is_none() && paywall.reservation_count() == 0);
    /// # Ok(()) }
    /// ```
    pub fn release(mut self) -> Receipt {
        Receipt { settlement: self.settled.take(), version: self.version() }
    }

    pub(crate) async fn settle_first(&mut self) -> Result<(), Denial> {
        self.settled = Some(self.settlement().run().await?);
        Ok(())
    }

    pub(crate) const fn request(&self) -> &FacilitatorRequest {
        &self.request
    }

    pub(crate) const fn checked(&self) -> &Checked {
        &self.checked
    }

    pub(crate) fn scheme(&self) -> &dyn SellerScheme {
        self.scheme.as_ref()
    }

    /// The amount to settle; none to charge nothing. A charge that cannot be made is the seller's fault.
    fn charged(&self, charge: Charge) -> Result<Option<Amount>, Denial> {
        let full = self.request.requirements.amount;
        match charge {
            Charge::Full => Ok(Some(full)),
            Charge::Nothing | Charge::Amount(Amount::ZERO) => Ok(None),
            Charge::Amount(amount) if amount > full => {
                Err(Denial::Internal(format!("cannot charge {amount}: the buyer agreed to {full} at most")))
            }
            // The buyer signed one amount, and the token moves that amount or nothing.
            Charge::Amount(amount)
                if amount < full && self.request.requirements.scheme == SchemeName::EXACT =>
            {
                Err(Denial::Internal(format!(
                    "cannot charge {amount} of {full}: scheme exact charges all or nothing"
                )))
            }
            Charge::Amount(amount) => Ok(Some(amount)),
        }
    }

    fn settlement(&self) -> Settlement {
        Settlement {
            core: Arc::clone(&self.core),
            hold: Arc::clone(&self.hold),
            request: self.request.clone(),
            payer: self.checked.payer.clone(),
        }
    }
}
