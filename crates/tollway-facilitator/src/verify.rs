//! One payment to be verified: would it settle now. Nothing is promised and nothing written down; what was found good
//! is held against its payer's balance for a while.

use std::sync::Arc;

use alloy_primitives::Address;
use tollway_core::model::FacilitatorRequest;
use tollway_core::{FacilitatorError, Refusal};
use tollway_evm::Payment;

use crate::approval::judge as judge_on_chain;
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::phase::{admission, approval, check, code, matching};
use crate::settle::{known, may_begin_anew, used};

/// A payment that breaks no rule that can be told without the chain.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    network: &'a Arc<EvmNetwork>,
    payment: Payment,
}

/// A payment that would settle now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Good {
    pub(crate) payer: Address,
    /// Whoever sells does well to settle it before anything is served.
    pub(crate) payer_has_code: bool,
}

/// The rules that can be told without the chain.
pub(crate) fn judge<'a>(core: &'a Core, request: &FacilitatorRequest) -> Result<Box<Candidate<'a>>, Refusal> {
    let network = matching::find(&core.networks, request)?;
    let mut payment = check::check(request, network, &core.limits, core.clock.now())?;
    code::allow(&payment, &core.limits)?;
    approval::take(&mut payment, request, network, &core.limits)?;
    admission::admit(network, &payment)?;
    network.profile.confirmations(&request.requirements)?;
    core.score.check(payment.payer())?;
    if core.journal.drives(&payment.key()) {
        return Err(used(&payment, "must be unused: this authorization is being settled"));
    }
    Ok(Box::new(Candidate { network, payment }))
}

/// Whether it would settle now.
pub(crate) async fn verify(
    core: &Core,
    candidate: Box<Candidate<'_>>,
) -> Result<Result<Good, Refusal>, FacilitatorError> {
    candidate.network.can_pay().await?;
    // Nobody on chain would tell that it is used.
    if candidate.payment.state_call().is_none()
        && known(core, &candidate.payment).await?.is_some_and(|known| !may_begin_anew(&known.state))
    {
        return Ok(Err(used(&candidate.payment, "must be unused: it has paid already")));
    }
    let verdict = judge_on_chain(core, candidate.network, &candidate.payment).await?;
    let Candidate { network, payment } = *candidate;
    let verdict = verdict.and_then(|funds| {
        core.journal.exposure.hold(&payment, funds.available)?;
        Ok(Good { payer: payment.payer(), payer_has_code: funds.payer_has_code })
    });
    // What code may say is asked every time, and what comes of an approval that is not there yet.
    let is_lasting = payment.sponsored_approval().is_none();
    if is_lasting && verdict.as_ref().is_ok_and(|good| !good.payer_has_code) {
        network.verified.insert(&payment);
    }
    Ok(verdict)
}
