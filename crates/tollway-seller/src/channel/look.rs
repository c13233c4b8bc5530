//! What stands behind a channel now: by the seller's own witness of the chain where there is one, else by the facilitator's
//! word.

use tollway_core::model::FacilitatorRequest;
use tollway_core::{Backing, ChannelScheme, Commitment, FacilitatorError};

use crate::denial::Denial;
use crate::paywall::Core;
use crate::phase::verify;

/// Looks. A facilitator that is asked also says whether the payment is good, and may refuse it.
pub(crate) async fn look(
    core: &Core,
    scheme: &dyn ChannelScheme,
    request: &FacilitatorRequest,
    commitment: &Commitment,
) -> Result<Backing, Denial> {
    let Some(witness) = core.channels.witness(&request.requirements.network) else {
        return ask(core, scheme, request, commitment).await;
    };
    if !commitment.is_proved {
        // Whose signature it is, only code knows, and the witness reads sums.
        ask(core, scheme, request, commitment).await?;
    }
    let seen = witness.backings(std::slice::from_ref(&commitment.channel));
    let seen = tokio::time::timeout(core.limits.verify_timeout, seen).await;
    let seen = seen.unwrap_or_else(|_| Err(FacilitatorError::NoAnswer("the chain took too long".to_owned())));
    seen.map_err(Denial::outage)?.pop().ok_or_else(|| nonsense("the witness saw no channel"))
}

/// The facilitator's word, and its view of the channel.
pub(crate) async fn ask(
    core: &Core,
    scheme: &dyn ChannelScheme,
    request: &FacilitatorRequest,
    commitment: &Commitment,
) -> Result<Backing, Denial> {
    let answer = verify::verify(core, request, &commitment.payer).await?;
    scheme
        .backing(&answer.extra)
        .ok_or_else(|| nonsense("verify does not say what stands behind the channel"))
}

fn nonsense(detail: &str) -> Denial {
    Denial::outage(FacilitatorError::BadAnswer { status: 200, detail: detail.to_owned() })
}
