//! After phase 8: payments whose authorization may have been used by a transaction that no lane follows. It is one of
//! ours that counted as lost, or a stranger's: whoever sees an authorization may send it. Money that reached the payee
//! while the payment was accepted here has settled it, whoever paid the gas.

use tollway_core::ErrorCode;
use tollway_evm::{Chain, ChainError, are_used, find_uses};
use tollway_ledger::SettlementState;

use super::prove::settled_by;
use crate::journal::Row;

/// What the chain says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The authorization is unused.
    Unused,
    /// Proved, in this block.
    Settled { state: SettlementState, block_number: u64 },
    /// Used or canceled, and no proof was found.
    Unproved,
    /// A transaction was signed for it and is in no block, and nobody on chain keeps its nonce: it may still come.
    Open,
}

/// What an unused authorization means for a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unused {
    /// It has failed.
    Fail { code: ErrorCode, message: String },
    /// It fails as soon as no block can include it any more.
    Expired { message: String },
    /// It is to be settled, if it still can be.
    Settle,
}

impl Unused {
    /// Whether the payment ends as soon as its authorization is known to be unused.
    pub(crate) const fn ends_at_once(&self) -> bool {
        matches!(self, Self::Fail { .. })
    }
}

/// Asks the token whether the authorization is used, and if so for the proof: in our own transactions, then in
/// whichever used it.
pub(crate) async fn fate(chain: &Chain, row: &Row) -> Result<Fate, ChainError> {
    let states = are_used(chain, &[&row.payment]).await?;
    let is_kept = states != [None];
    if states == [Some(false)] {
        return Ok(Fate::Unused);
    }
    let mut transactions = row.transactions();
    let mut is_included = transactions.is_empty();
    transactions.extend(find_uses(chain, &row.payment).await?);
    for transaction in transactions {
        let Some(receipt) = chain.receipt(transaction).await? else { continue };
        is_included = true;
        if let Some(state) = settled_by(&row.payment, &receipt) {
            let block_number = receipt.block_number.unwrap_or_default();
            return Ok(Fate::Settled { state, block_number });
        }
    }
    Ok(match (is_kept, is_included) {
        (true, _) => Fate::Unproved,
        // Of those with one nonce of the lane's only one is included, and it moved nothing.
        (false, true) => Fate::Unused,
        (false, false) => Fate::Open,
    })
}
