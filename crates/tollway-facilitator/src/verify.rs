//! One payment to be verified: would it settle now. Nothing is promised and nothing written down; what was found good
//! is held against its payer's balance for a while.

use tollway_core::model::FacilitatorRequest;
use tollway_core::{FacilitatorError, Refusal};
use tollway_evm::exact::ExactPayment;

use crate::core::Core;
use crate::phase::{check, matching};
use crate::settle::used;
use crate::verified::SimulatedAt;

/// The payment, if it would settle now. The request is dropped before the node is asked: what waits is small.
pub(crate) async fn verify(
    core: &Core,
    request: FacilitatorRequest,
) -> Result<Result<ExactPayment, Refusal>, FacilitatorError> {
    let local = || {
        let network = matching::find(&core.networks, &request)?;
        let payment = check::check(&request, &core.limits, core.clock.now())?;
        network.profile.confirmations(&request.requirements)?;
        core.score.check(payment.authorization.from)?;
        if core.journal.drives(&payment.key()) {
            return Err(used(&payment, "must be unused: this authorization is being settled"));
        }
        Ok((network, payment))
    };
    let (network, payment) = match local() {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    drop(request);
    network.can_pay().await?;
    let at = SimulatedAt::now(network.watcher.block());
    let verdict = network.coalescer.simulate(&payment).await?;
    let verdict = verdict.and_then(|balance| core.journal.exposure.hold(&payment, balance));
    if verdict.is_ok() {
        network.verified.insert(&payment, at);
    }
    Ok(verdict.map(|()| payment))
}
