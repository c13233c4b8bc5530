//! After phase 8: payments whose authorization may have been used by a transaction that no lane follows. It is one of
//! ours that counted as lost, or a stranger's: whoever sees an authorization may send it. Money that reached the payee
//! while the payment was reserved here has settled it, whoever paid the gas.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, Log};
use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::sleep;
use tollway_core::ErrorCode;
use tollway_evm::exact::{self, ExactPayment, TransferProof, prove_transfer};
use tollway_evm::{Chain, ChainError};

use crate::journal::{Journal, Progress, Row};

/// How often a used authorization without a proof is looked for before it counts as canceled: nodes behind one URL do
/// not all know the same.
const LOOKS: u32 = 5;
/// How often a node that does not answer is asked: an hour and more, by the longest pause.
const ASKED: u32 = 1_000;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the chain says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// The authorization is unused.
    Unused,
    /// Proved.
    Settled { transaction: B256, log_index: u64 },
    /// Used or canceled, and no proof was found.
    Unproved,
}

/// Asks the token whether the authorization is used, and if so for the proof: in our own transactions, then in
/// whichever used it.
async fn fate(chain: &Chain, row: &Row) -> Result<Fate, ChainError> {
    if exact::is_used(chain, &[&row.payment]).await? != [true] {
        return Ok(Fate::Unused);
    }
    let mut transactions = row.transactions();
    transactions.extend(exact::find_use(chain, &row.payment).await?);
    for transaction in transactions {
        if let Some(receipt) = chain.receipt(transaction).await?
            && let Some(proof) = prove(&row.payment, &receipt)
        {
            return Ok(Fate::Settled { transaction, log_index: proof.log_index });
        }
    }
    Ok(Fate::Unproved)
}

/// Ends a payment by what the chain says of it now: settled if a proof is found; as `unused` if the authorization is
/// unused, or not at all if there is no such end; and otherwise left pending, with a watch of its own. Whether it is
/// unused.
pub(crate) async fn end(
    chain: &Chain,
    journal: &Arc<Journal>,
    row: &Arc<Row>,
    unused: Option<Progress>,
    every: Duration,
) -> bool {
    let (ended, is_unused) = match fate(chain, row).await {
        Ok(Fate::Unused) => (unused, true),
        Ok(Fate::Settled { transaction, log_index }) => {
            (Some(Progress::Settled { transaction, log_index }), false)
        }
        Ok(Fate::Unproved) | Err(_) => {
            row.resume();
            watch(chain, journal, row, every);
            (None, false)
        }
    };
    if let Some(ended) = ended {
        tracing::info!(network = %chain.network(), key = %row.payment.key(), ?ended, "settlement ended");
        journal.finish(row, ended);
    }
    is_unused
}

/// Follows a payment until the chain says what became of it; until then it is pending. In a task of its own: no lane
/// waits for it.
fn watch(chain: &Chain, journal: &Arc<Journal>, row: &Arc<Row>, every: Duration) {
    let (chain, journal, row) = (chain.clone(), Arc::clone(journal), Arc::clone(row));
    tokio::spawn(async move {
        let (mut pause, mut unproved) = (every.min(LONGEST_PAUSE), 0);
        for _ in 0..ASKED {
            let ended = match fate(&chain, &row).await {
                Ok(Fate::Settled { transaction, log_index }) => Progress::Settled { transaction, log_index },
                Ok(Fate::Unused) => {
                    // Its transactions are remembered: who asks again is told, or starts anew.
                    Progress::Abandoned { message: "its transaction was not included".to_owned() }
                }
                Ok(Fate::Unproved) if unproved >= LOOKS => Progress::Failed {
                    code: ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
                    message: "the authorization was used or canceled by another transaction".to_owned(),
                },
                Ok(Fate::Unproved) => {
                    unproved += 1;
                    sleep(pause).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(network = %chain.network(), %error, "no answer about a payment's fate");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            tracing::info!(network = %chain.network(), key = %row.payment.key(), ?ended, "settlement ended late");
            return journal.finish(&row, ended);
        }
        // Not failed: its transactions are remembered, and who asks again has it looked for anew.
        let message = "no node tells its fate".to_owned();
        journal.finish(&row, Progress::Abandoned { message });
    });
}

/// The proof of `payment` in a receipt.
pub(crate) fn prove(payment: &ExactPayment, receipt: &TransactionReceipt) -> Option<TransferProof> {
    if !receipt.status() {
        return None;
    }
    let logs = receipt.inner.logs().iter().zip(0u64..);
    let logs: Vec<(u64, Log)> =
        logs.map(|(log, position)| (log.log_index.unwrap_or(position), log.inner.clone())).collect();
    prove_transfer(payment, logs.iter().map(|(index, log)| (*index, log)))
}
