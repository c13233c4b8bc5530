//! Phase 6: the transaction is written down before any node sees it. A lane calls this between signing and
//! sending.

use tollway_evm::SignedTransaction;

use crate::journal::{Journal, Progress};
use crate::lane::Job;

/// Writes the signed transaction into the row of every payment it carries.
pub(crate) fn record_sent(journal: &Journal, jobs: &[Job], signed: &SignedTransaction) {
    for job in jobs {
        journal.append(&job.key, Progress::Sent { transaction: signed.hash });
    }
}
