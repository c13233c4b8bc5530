//! How a route sells, beside its price: when the money moves, what may be owed, what a payment must carry.

use tollway_core::model::{PaymentFlow, PaymentRequirements};
use tollway_core::{Amount, Money, SellerScheme};
use tollway_ledger::OwedLimits;

use std::sync::Arc;

use crate::agent::SharedAgency;
use crate::extension::Extensions;
use crate::identifier::IdentifierRule;
use crate::sign_in::Door;

/// The terms of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub(crate) flow: PaymentFlow,
    pub(crate) background: Option<BackgroundLimits>,
    pub(crate) identifier: Option<IdentifierRule>,
    pub(crate) confirmations: Option<u32>,
    pub(crate) extensions: Extensions,
    /// Whether payers with code are served before they settle.
    pub(crate) trusts_code: bool,
    /// How agents are known, if they are.
    pub(crate) agency: SharedAgency,
    /// How payers come back, if they may.
    pub(crate) door: Option<Arc<Door>>,
    /// Whether a request has its channel to itself among all sellers of the ledger.
    pub(crate) is_exclusive: bool,
}

/// How much may have been served and not yet settled, for each asset that stands for dollars.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundLimits {
    /// To one payer.
    pub per_payer: Money,
    /// To all of them.
    pub in_all: Money,
}

impl Route {
    /// What may be owed in the asset of `offer`; none if it settles before the answer leaves.
    pub(crate) fn owed_limits(
        &self,
        scheme: &dyn SellerScheme,
        offer: &PaymentRequirements,
    ) -> Option<OwedLimits> {
        let limits = self.background.as_ref().filter(|_| self.flow == PaymentFlow::Authorization)?;
        // What is held first is owed by nobody, and what is charged needs the seller's word.
        if scheme.escrow().is_some() {
            return None;
        };
        let in_asset = |money: &Money| -> Option<Amount> { scheme.money_in(money, offer) };
        Some(OwedLimits { per_payer: in_asset(&limits.per_payer)?, in_all: in_asset(&limits.in_all)? })
    }
}
