//! Phase 4: one actor per authorization. Who comes second is told the fate of the first.

use tokio::sync::watch;
use tollway_core::{ErrorCode, FacilitatorError, Refusal, UnixTime};
use tollway_evm::exact::ExactPayment;

use crate::journal::{Journal, Progress, Reservation};

/// Reserves the authorization for settlement: `Ok(true)` with the right to settle, `Ok(false)` to follow.
pub(crate) fn reserve(
    journal: &Journal,
    payment: &ExactPayment,
    now: UnixTime,
) -> Result<(bool, watch::Receiver<Progress>), FacilitatorError> {
    match journal.reservation_insert(&payment.key(), payment.authorization.expires(), now) {
        Reservation::New(progress) => Ok((true, progress)),
        Reservation::Existing(progress) => Ok((false, progress)),
        Reservation::Full => Err(FacilitatorError::Busy("the journal is full".to_owned())),
    }
}

/// For `/verify`, which reserves nothing: whether a settlement of this authorization is known already.
pub(crate) fn unused(journal: &Journal, payment: &ExactPayment) -> Result<(), Refusal> {
    let rule = match journal.progress(&payment.key()).map(|progress| progress.borrow().clone()) {
        None => return Ok(()),
        Some(progress) if progress.may_be_retried() => return Ok(()),
        Some(Progress::Settled { transaction, .. }) => {
            format!("must be unused: this authorization was settled in {transaction}")
        }
        Some(_) => "must be unused: this authorization is being settled".to_owned(),
    };
    let code = ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED;
    let refusal = Refusal::new(code, "payload.authorization.nonce", rule);
    Err(refusal.by(payment.authorization.from.to_checksum(None)))
}
