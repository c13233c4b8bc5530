//! Phase 4: one actor per authorization. Who comes second is told the fate of the first.

use std::sync::Arc;

use tollway_core::{ErrorCode, FacilitatorError, Refusal, UnixTime};
use tollway_evm::exact::ExactPayment;

use crate::journal::{Journal, Progress, Reservation, Row};

/// The right to settle, or the row of who has it.
#[derive(Debug)]
pub(crate) enum Reserved {
    Ours(Arc<Row>),
    Theirs(Arc<Row>),
}

/// Reserves the authorization for settlement.
pub(crate) fn reserve(
    journal: &Journal,
    payment: &ExactPayment,
    now: UnixTime,
) -> Result<Result<Reserved, Refusal>, FacilitatorError> {
    match journal.reservation_insert(payment, now) {
        Reservation::New(row) => Ok(Ok(Reserved::Ours(row))),
        Reservation::Existing(row) => Ok(Ok(Reserved::Theirs(row))),
        Reservation::Other => Ok(Err(used(payment, OTHER))),
        Reservation::Full => Err(FacilitatorError::Busy("the journal is full".to_owned())),
    }
}

/// The row of this very authorization, if it is settled or on its way; a refusal if its nonce is taken by another.
pub(crate) fn known(journal: &Journal, payment: &ExactPayment) -> Result<Option<Arc<Row>>, Refusal> {
    let Some(row) = journal.row(payment) else { return Ok(None) };
    if row.payment.authorization != payment.authorization {
        return Err(used(payment, OTHER));
    }
    Ok(Some(row).filter(|row| !row.progress().may_be_retried()))
}

/// Whether this very authorization was in a transaction before.
pub(crate) fn was_sent(journal: &Journal, payment: &ExactPayment) -> bool {
    journal.row(payment).is_some_and(|row| {
        row.payment.authorization == payment.authorization && !row.transactions().is_empty()
    })
}

/// For `/verify`, which reserves nothing: whether a settlement of this authorization is known already.
pub(crate) fn unused(journal: &Journal, payment: &ExactPayment) -> Result<(), Refusal> {
    let Some(row) = known(journal, payment)? else { return Ok(()) };
    Err(match row.progress() {
        Progress::Settled { transaction, .. } => {
            used(payment, &format!("must be unused: this authorization was settled in {transaction}"))
        }
        _ => used(payment, "must be unused: this authorization is being settled"),
    })
}

const OTHER: &str = "must be unused: the payer signed another authorization with the same nonce";

fn used(payment: &ExactPayment, rule: &str) -> Refusal {
    let code = ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED;
    let refusal = Refusal::new(code, "payload.authorization.nonce", rule);
    refusal.by(payment.authorization.from.to_checksum(None))
}
