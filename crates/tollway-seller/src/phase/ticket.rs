//! The right to run a handler once. A ticket is settled or released; a ticket that is dropped is released. What is behind
//! it is a payment that was reserved (`reserved.rs`), or a voucher on a channel (`voucher.rs`).

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::{Amount, AuthorizationKey, Fingerprint, Network, SchemeName, SellerScheme};
use tollway_ledger::StoredResponse;

use super::reserved::Reserved;
use super::voucher::ChannelTicket;
use crate::denial::Denial;
use crate::extension::{self, Extensions, Paid};
use crate::meter::{Live, Meter};
use crate::offers::Offers;
use crate::paywall::Core;
use crate::route::Route;
use crate::sign_in::Door;

/// A payment that was admitted. While it lives, the same authorization buys nothing else, and nothing else is bought on the
/// same channel.
///
/// Dropping it, because the buyer hung up or the handler panicked, frees the payment if nothing was sent to
/// settle. If something was, the reservation stays, and the same request with the same payment is asked
/// about at the facilitator before it is served.
#[derive(Debug)]
#[must_use = "a dropped ticket is a request that was not served"]
pub struct Ticket(Way);

/// How it is paid.
#[derive(Debug)]
enum Way {
    Reserved(Box<Reserved>),
    Channel(Box<ChannelTicket>),
}

/// Who adds to the settlement response, and what the resource is called there.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) extensions: Extensions,
    pub(crate) url: String,
    /// Who remembers what was bought, if anybody does.
    door: Option<Arc<Door>>,
}

impl Word {
    pub(crate) fn new(offers: &Offers, url: &str) -> Self {
        let Route { extensions, door, .. } = &offers.route;
        let (extensions, door) = (extensions.clone(), door.clone());
        Self { extensions, url: offers.about.announced(url).to_owned(), door }
    }

    /// Adds what extensions say of what was served.
    pub(super) async fn attest(&self, core: &Core, served: Served<'_>, receipt: &mut Receipt) {
        let Some(settlement) = &mut receipt.settlement else { return };
        let Served { request, payer, amount, fingerprint } = served;
        let now = core.clock.now();
        let paid = Paid { request, settlement, payer, url: &self.url, amount, fingerprint, now };
        let words = extension::attest(&self.extensions, paid).await;
        settlement.extensions.extend(words);
    }

    /// Writes down who has paid for what, where payers may come back. If that fails the answer does not leave, and the
    /// payment is held: presented again, it buys the same.
    pub(super) async fn remember(
        &self,
        core: &Core,
        payer: &str,
        network: &Network,
        served: Fingerprint,
    ) -> Result<(), Denial> {
        match &self.door {
            Some(door) => door.remember(core, payer, network, served).await,
            None => Ok(()),
        }
    }
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

/// What was served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served<'a> {
    pub(super) request: &'a FacilitatorRequest,
    pub(super) payer: &'a str,
    pub(super) amount: Amount,
    pub(super) fingerprint: Fingerprint,
}

impl Ticket {
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
        match &self.0 {
            Way::Reserved(ticket) => ticket.payer(),
            Way::Channel(ticket) => ticket.payer(),
        }
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
    pub fn requirements(&self) -> &PaymentRequirements {
        match &self.0 {
            Way::Reserved(ticket) => ticket.requirements(),
            Way::Channel(ticket) => ticket.requirements(),
        }
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
    pub fn version(&self) -> X402Version {
        match &self.0 {
            Way::Reserved(ticket) => ticket.version(),
            Way::Channel(ticket) => ticket.version(),
        }
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
    pub fn is_settled(&self) -> bool {
        match &self.0 {
            Way::Reserved(ticket) => ticket.is_settled(),
            Way::Channel(_) => false,
        }
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
        let mut receipt = self.charge(charge).await?;
        self.attest(&mut receipt).await;
        self.deliver(None).await?;
        Ok(receipt)
    }

    /// The handler failed. What was not sent to settle is free again; what was settled first stays owed: the
    /// same request with the same payment is served without a new charge. The receipt is for the latter.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_seller::Denial> {
    /// let paywall = paywall().await;
    /// let receipt = ticket(&paywall).await?.release().await;
    /// assert!(receipt.settlement.is_none() && paywall.reservation_count().await == Ok(0));
    /// # Ok(()) }
    /// ```
    pub async fn release(self) -> Receipt {
        match self.0 {
            Way::Reserved(ticket) => ticket.release().await,
            Way::Channel(ticket) => ticket.release().await,
        }
    }

    /// Says what is charged, and moves the money where it moves now. The answer may not leave before [`Self::deliver`].
    pub(crate) async fn charge(&mut self, charge: Charge) -> Result<Receipt, Denial> {
        match &mut self.0 {
            Way::Reserved(ticket) => ticket.charge(charge).await,
            Way::Channel(ticket) => ticket.charge(charge),
        }
    }

    /// Adds what extensions say of a payment that was served.
    pub(crate) async fn attest(&self, receipt: &mut Receipt) {
        match &self.0 {
            Way::Reserved(ticket) => ticket.attest(receipt).await,
            Way::Channel(ticket) => ticket.attest(receipt).await,
        }
    }

    /// Writes down that the answer leaves, with the answer if it is kept. Only then may it.
    pub(crate) async fn deliver(self, response: Option<StoredResponse>) -> Result<(), Denial> {
        match self.0 {
            Way::Reserved(ticket) => ticket.deliver(response).await,
            Way::Channel(ticket) => ticket.deliver(response).await,
        }
    }

    /// Whether this much may be owed, to be settled after the answer has left.
    pub(crate) fn may_owe(&self, charge: Charge) -> bool {
        match &self.0 {
            Way::Reserved(ticket) => ticket.may_owe(charge),
            Way::Channel(_) => false,
        }
    }

    /// Writes down that the answer leaves and what is owed for it, and has it settled at once. False if that would be too
    /// much: then it settles first, as without it.
    pub(crate) async fn owe(
        &mut self,
        charge: Charge,
        response: Option<StoredResponse>,
    ) -> Result<bool, Denial> {
        match &mut self.0 {
            Way::Reserved(ticket) => ticket.owe(charge, response).await,
            Way::Channel(_) => Ok(false),
        }
    }

    /// What is still owed to a payer who paid and was not served, as text for the answer.
    pub(crate) fn credit(&self) -> Option<String> {
        match &self.0 {
            Way::Reserved(ticket) => ticket.credit(),
            // The money is in the channel, and buys there.
            Way::Channel(_) => None,
        }
    }

    /// Writes down what is true of the payment now.
    pub(crate) async fn close(self) {
        match self.0 {
            Way::Reserved(ticket) => ticket.close().await,
            Way::Channel(ticket) => drop(ticket.release().await),
        }
    }

    /// What makes the payment unique; a voucher is one of many of its channel's.
    pub(crate) fn authorization(&self) -> Option<&AuthorizationKey> {
        match &self.0 {
            Way::Reserved(ticket) => Some(&ticket.checked().key),
            Way::Channel(_) => None,
        }
    }

    pub(crate) fn scheme(&self) -> &dyn SellerScheme {
        match &self.0 {
            Way::Reserved(ticket) => ticket.scheme(),
            Way::Channel(ticket) => ticket.scheme(),
        }
    }

    /// What its handler charges by.
    pub(crate) fn meter(&self) -> Meter {
        let scheme = match &self.0 {
            Way::Reserved(ticket) => ticket.scheme_shared(),
            Way::Channel(ticket) => ticket.scheme_shared(),
        };
        Meter::new(Arc::clone(scheme), self.requirements().clone())
    }

    /// Whether less than the price may be charged, once the handler says how much.
    pub(crate) fn is_metered(&self) -> bool {
        match &self.0 {
            Way::Reserved(ticket) => {
                !ticket.is_settled() && ticket.requirements().scheme != SchemeName::EXACT
            }
            Way::Channel(_) => true,
        }
    }

    /// The ticket as what pays for an answer while it leaves, with the name by which it is renewed, if it can be.
    pub(crate) async fn streamed(self) -> Result<(Live, Option<String>), Denial> {
        match self.0 {
            Way::Reserved(_) => Ok((Live::Once(self), None)),
            Way::Channel(mut ticket) => {
                // No other seller is to charge the channel meanwhile.
                ticket.hold().await?;
                let begun = ticket.core().channels.streams.begin(ticket.channel());
                let (stream, renewals) =
                    begun.ok_or_else(|| Denial::Internal("no random name".to_owned()))?;
                let name = stream.name().to_owned();
                Ok((Live::channel(*ticket, stream, renewals), Some(name)))
            }
        }
    }

    /// What a stored answer is bound to, if one may be kept.
    pub(crate) fn presented(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Way::Reserved(ticket) => ticket.presented(),
            Way::Channel(ticket) => ticket.presented(),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        match &self.0 {
            Way::Reserved(ticket) => ticket.core(),
            Way::Channel(ticket) => ticket.core(),
        }
    }

    pub(crate) fn span(&self) -> &tracing::Span {
        match &self.0 {
            Way::Reserved(ticket) => ticket.span(),
            Way::Channel(ticket) => ticket.span(),
        }
    }
}

impl From<Reserved> for Ticket {
    fn from(ticket: Reserved) -> Self {
        Self(Way::Reserved(Box::new(ticket)))
    }
}

impl From<ChannelTicket> for Ticket {
    fn from(ticket: ChannelTicket) -> Self {
        Self(Way::Channel(Box::new(ticket)))
    }
}
