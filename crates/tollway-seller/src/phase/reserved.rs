//! A ticket for a payment that was reserved: one authorization, one request, one settlement.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::{Amount, Checked, Credit, EscrowStep, Fingerprint, SchemeName, SellerScheme};
use tollway_ledger::{Fate, Finished, Owed, OwedLimits, StoredResponse};

use super::admit::delivered;
use super::held::Held;
use super::settle::{Question, Settlement};
use super::ticket::{Charge, Receipt, Served, Word};
use crate::background::{self, LEAST_VALIDITY_SECONDS};
use crate::credit::LIFETIME_SECONDS;
use crate::denial::Denial;
use crate::escrow;
use crate::paywall::Core;
use crate::purchase::Record;
use crate::reservation::{Hold, MARGIN_SECONDS};
use crate::telemetry::{self, Timer};

/// A payment that was admitted. While it lives, the same authorization buys nothing else. Dropped, it frees the payment if
/// nothing was sent to settle; if something was, the reservation stays.
#[derive(Debug)]
pub(crate) struct Reserved {
    core: Arc<Core>,
    admitted: Admitted,
    pub(super) settled: Option<SettleResponse>,
    /// What is held, until it is taken or given back.
    pub(super) held: Option<Held>,
}

/// What was admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) scheme: Arc<dyn SellerScheme>,
    pub(crate) request: FacilitatorRequest,
    pub(crate) checked: Checked,
    pub(crate) hold: Arc<Hold>,
    /// What may be owed, if it may settle after its answer has left.
    pub(crate) owed_limits: Option<OwedLimits>,
    /// What a stored answer is bound to, if one may be kept.
    pub(crate) presented: Option<[u8; 32]>,
    /// The request that the reservation is bound to.
    pub(crate) fingerprint: Fingerprint,
    /// The request that is served: with a credit it may be another one.
    pub(crate) served: Fingerprint,
    /// The credit that is redeemed, if one is.
    pub(crate) credit: Option<Credit>,
    pub(crate) word: Word,
    pub(crate) span: tracing::Span,
}

impl Reserved {
    pub(crate) const fn new(core: Arc<Core>, admitted: Admitted) -> Self {
        Self { core, admitted, settled: None, held: None }
    }

    /// One whose money has moved before.
    pub(crate) const fn settled(core: Arc<Core>, admitted: Admitted, settled: SettleResponse) -> Self {
        Self { core, admitted, settled: Some(settled), held: None }
    }

    /// Who pays: on EVM the address that signed, with its EIP-55 checksum.
    pub(crate) fn payer(&self) -> &str {
        &self.admitted.checked.payer
    }

    /// The offer that was paid. Its amount, in atomic units, is the most that can be charged.
    pub(crate) const fn requirements(&self) -> &PaymentRequirements {
        &self.admitted.request.requirements
    }

    /// The protocol version the buyer speaks.
    pub(crate) const fn version(&self) -> X402Version {
        self.admitted.request.payment.version
    }

    /// Whether the money has moved already: nothing about the charge can change then.
    pub(crate) const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The handler failed. What was not sent to settle is free again; what was settled first stays owed: the
    /// same request with the same payment is served without a new charge. The receipt is for the latter.
    pub(crate) async fn release(mut self) -> Receipt {
        self.let_go().await;
        self.give_back_held().await;
        self.close().await;
        Receipt { settlement: self.settled.take(), version: self.version() }
    }

    /// Tells who verified the payment that nothing will be settled for this request, where that holds room for it.
    async fn let_go(&self) {
        if self.settled.is_none() && self.admitted.scheme.signed_request().is_some() {
            let released = self.core.facilitator.release(self.request().clone());
            let _is_done = tokio::time::timeout(self.core.limits.verify_timeout, released).await;
        }
    }

    /// It settles before it is served, so that nothing is owed.
    pub(crate) const fn owe_nothing(&mut self) {
        self.admitted.owed_limits = None;
    }

    /// The money first.
    pub(crate) async fn settle_first(&mut self) -> Result<(), Denial> {
        let terms = escrow::terms(&self.core, self.request()).map(|(_, terms)| terms);
        if let Some(terms) = terms.filter(|terms| terms.is_held) {
            return self.hold(&terms).await;
        }
        self.settled = Some(self.collect(self.requirements().amount).await?);
        Ok(())
    }

    /// Moves the money, if it has not moved. The answer may not leave before [`Self::deliver`].
    pub(crate) async fn charge(&mut self, charge: Charge) -> Result<Receipt, Denial> {
        if let Some(held) = self.held.take() {
            if let Err(denial) = self.take(held, charge).await {
                self.close().await;
                return Err(denial);
            }
        } else if self.settled.is_none() {
            let settled = match self.charged(charge) {
                Ok(None) => {
                    self.let_go().await;
                    Ok(None)
                }
                Ok(Some(amount)) => self.collect(amount).await.map(Some),
                Err(denial) => Err(denial),
            };
            match settled {
                Ok(settled) => self.settled = settled,
                Err(denial) => {
                    self.close().await;
                    return Err(denial);
                }
            }
        }
        Ok(Receipt { settlement: self.settled.clone(), version: self.version() })
    }

    /// Moves the money at once.
    async fn collect(&mut self, amount: Amount) -> Result<SettleResponse, Denial> {
        let core = Arc::clone(&self.core);
        let Some((scheme, terms)) = escrow::terms(&core, self.request()) else {
            self.charged_amount(amount);
            return self.settlement(self.request().clone()).run().await;
        };
        let (request, checked) = (self.request().clone(), self.checked());
        let known = escrow::find(&core, &checked.key).await;
        let known = known.map_err(|error| Denial::Ledger { error, held: true })?;
        if let Some(known) = known {
            return Ok(self.told(&known));
        }
        let record = Record::new(checked.key.clone(), request.clone(), &checked.payer, &terms);
        let charge = scheme.escrow_request(&request, EscrowStep::Charge { amount }).await;
        let charge = charge.map_err(|error| Denial::Internal(error.to_string()))?;
        let answer = self.settlement(charge).run().await?;
        self.keep_charge(record, amount, &answer).await?;
        self.charged_amount(amount);
        Ok(answer)
    }

    /// So much is charged of the offer.
    pub(super) const fn charged_amount(&mut self, amount: Amount) {
        self.admitted.request.requirements.amount = amount;
    }

    /// Notes that nothing is on its way and nothing was delivered.
    pub(super) fn fail(&self) {
        self.admitted.hold.set_fate(Fate::Failed);
    }

    /// Adds what extensions say of a payment that was served.
    pub(crate) async fn attest(&self, receipt: &mut Receipt) {
        let Admitted { request, checked, served, credit, word, .. } = &self.admitted;
        let amount = credit.as_ref().map_or(request.requirements.amount, |credit| credit.amount);
        let served = Served { request, payer: &checked.payer, amount, fingerprint: *served };
        word.attest(&self.core, served, receipt).await;
    }

    /// Writes down that the answer leaves, with the answer if it is kept. Only then may it.
    pub(crate) async fn deliver(self, response: Option<StoredResponse>) -> Result<(), Denial> {
        let Admitted { request, checked, served, word, .. } = &self.admitted;
        if self.settled.is_some() {
            word.remember(&self.core, &checked.payer, &request.requirements.network, *served).await?;
        }
        let timer = Timer::start("deliver");
        let (fate, held) = match &self.settled {
            Some(settlement) => (Fate::Delivered(settlement.transaction.clone()), true),
            None => (Fate::Released, false),
        };
        match self.admitted.hold.finish(fate, response, None).await {
            Ok(Finished::Done) => {
                timer.stop();
                Ok(())
            }
            // Taken for dead: whoever took over serves it.
            Ok(_) => Err(Denial::InProgress),
            Err(error) => Err(Denial::Ledger { error, held }),
        }
    }

    /// Whether this much may be owed, to be settled after the answer has left.
    pub(crate) fn may_owe(&self, charge: Charge) -> bool {
        let least = self.core.clock.now().plus_seconds(LEAST_VALIDITY_SECONDS);
        let Admitted { owed_limits, checked, .. } = &self.admitted;
        self.settled.is_none()
            && owed_limits.is_some()
            && checked.valid_before >= least
            && matches!(self.charged(charge), Ok(Some(_)))
    }

    /// Writes down that the answer leaves and what is owed for it, and has it settled at once. False if that would be too
    /// much: then it settles first, as without it.
    pub(crate) async fn owe(
        &mut self,
        charge: Charge,
        response: Option<StoredResponse>,
    ) -> Result<bool, Denial> {
        let Some(amount) = self.charged(charge)? else { return Ok(false) };
        let Admitted { request, checked, hold, owed_limits, .. } = &mut self.admitted;
        let full = std::mem::replace(&mut request.requirements.amount, amount);
        let permit = self.core.debts.permit();
        let next_try = match &permit {
            Some(_) => background::lease_end(&self.core),
            None => self.core.clock.now(),
        };
        let owed = Owed {
            key: checked.key.clone(),
            payer: checked.payer.clone(),
            network: request.requirements.network.clone(),
            asset: request.requirements.asset.clone(),
            amount,
            request: background::request_text(request),
            token: hold.token(),
            next_try,
        };
        match hold.finish(Fate::Owed(owed.clone()), response, *owed_limits).await {
            Ok(Finished::Done) => {
                telemetry::owed("owed");
                if let Some(permit) = permit {
                    background::settle_soon(&self.core, owed, permit);
                }
                Ok(true)
            }
            Ok(Finished::OverLimit) => {
                telemetry::owed("over_limit");
                request.requirements.amount = full;
                Ok(false)
            }
            Ok(Finished::Fenced) => Err(Denial::InProgress),
            Err(error) => Err(Denial::unwritten(error)),
        }
    }

    /// What is still owed to a payer who paid and was not served, as text for the answer.
    pub(crate) fn credit(&self) -> Option<String> {
        let Admitted { request, checked, hold, fingerprint, credit, .. } = &self.admitted;
        let settled = self.settled.as_ref()?;
        // Only who has a key of this kind can redeem it.
        request.requirements.network.evm_chain_id()?;
        let now = self.core.clock.now();
        let credit = credit.clone().unwrap_or_else(|| Credit {
            id: checked.key.clone(),
            payer: checked.payer.clone(),
            network: request.requirements.network.clone(),
            asset: request.requirements.asset.clone(),
            amount: request.requirements.amount,
            pay_to: request.requirements.pay_to.clone(),
            transaction: settled.transaction.clone(),
            request: *fingerprint,
            issued_at: now,
            expires_at: now.plus_seconds(LIFETIME_SECONDS),
        });
        hold.keep_until(credit.expires_at.plus_seconds(MARGIN_SECONDS));
        self.core.seal.seal(&credit)
    }

    /// Whether it was served before without being paid for.
    pub(crate) fn was_served(&self) -> bool {
        self.admitted.hold.fate() == Fate::Unpaid
    }

    /// What was served unpaid is paid now: nothing more is served for it.
    pub(crate) async fn settle_debt(self) -> Denial {
        let transaction = self.settled.as_ref().map_or_else(String::new, |told| told.transaction.clone());
        let Admitted { request, checked, hold, .. } = &self.admitted;
        match hold.finish(Fate::Delivered(transaction.clone()), None, None).await {
            Ok(_) => delivered(&request.payment, checked, transaction, None),
            Err(error) => Denial::Ledger { error, held: true },
        }
    }

    /// Writes down what is true of the payment now.
    pub(crate) async fn close(&self) {
        self.admitted.hold.close().await;
    }

    pub(crate) const fn request(&self) -> &FacilitatorRequest {
        &self.admitted.request
    }

    pub(crate) const fn checked(&self) -> &Checked {
        &self.admitted.checked
    }

    pub(crate) fn scheme(&self) -> &dyn SellerScheme {
        self.admitted.scheme.as_ref()
    }

    pub(super) const fn scheme_shared(&self) -> &Arc<dyn SellerScheme> {
        &self.admitted.scheme
    }

    /// What a stored answer is bound to, if one may be kept.
    pub(crate) const fn presented(&self) -> Option<[u8; 32]> {
        self.admitted.presented
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) const fn span(&self) -> &tracing::Span {
        &self.admitted.span
    }

    /// The amount to settle; none to charge nothing. A charge that cannot be made is the seller's fault.
    pub(super) fn charged(&self, charge: Charge) -> Result<Option<Amount>, Denial> {
        let Admitted { request, .. } = &self.admitted;
        let full = request.requirements.amount;
        match charge {
            Charge::Full => Ok(Some(full)),
            Charge::Nothing | Charge::Amount(Amount::ZERO) => Ok(None),
            Charge::Amount(amount) if amount > full => {
                Err(Denial::Internal(format!("cannot charge {amount}: the buyer agreed to {full} at most")))
            }
            // The buyer signed one amount, and the token moves that amount or nothing.
            Charge::Amount(amount) if amount < full && request.requirements.scheme == SchemeName::EXACT => {
                Err(Denial::Internal(format!(
                    "cannot charge {amount} of {full}: scheme exact charges all or nothing"
                )))
            }
            Charge::Amount(amount) => Ok(Some(amount)),
        }
    }

    pub(super) fn settlement(&self, request: FacilitatorRequest) -> Settlement {
        let Admitted { checked, hold, .. } = &self.admitted;
        let payer = checked.payer.clone();
        let question = Question { core: Arc::clone(&self.core), request, payer };
        Settlement { hold: Arc::clone(hold), question }
    }
}
