//! The seam to whoever can tell, without the facilitator, whether a settlement happened.

use crate::model::FacilitatorRequest;
use crate::{BoxFuture, Network};

/// Looks at the chain itself for the settlement that a facilitator tells of: a seller that has one need not take
/// "settled" on trust.
pub trait SettlementWitness: Send + Sync + std::fmt::Debug {
    /// Whether it can see this network at all.
    ///
    /// ```
    /// use tollway_core::{Network, SettlementWitness};
    /// fn is_checked(witness: Option<&dyn SettlementWitness>, network: &Network) -> bool {
    ///     witness.is_some_and(|witness| witness.covers(network))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// Whether `transaction`, as the facilitator writes it, moved the money of this payment. It looks once and has its
    /// own deadline; who knows no answer yet may ask again.
    ///
    /// ```
    /// use tollway_core::model::FacilitatorRequest;
    /// use tollway_core::{SettlementWitness, Witnessed};
    /// async fn is_paid(witness: &dyn SettlementWitness, request: &FacilitatorRequest, hash: &str) -> bool {
    ///     witness.confirm(request, hash).await == Witnessed::Proved
    /// }
    /// ```
    fn confirm<'a>(
        &'a self,
        request: &'a FacilitatorRequest,
        transaction: &'a str,
    ) -> BoxFuture<'a, Witnessed>;
}

/// What a witness saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witnessed {
    /// The money moved in that transaction.
    Proved,
    /// That transaction is on chain, or cannot be, and did not move this payment's money.
    Disproved,
    /// Nothing, and why: not included yet, or no answer from the node. It says nothing about the payment.
    Unknown(String),
}
