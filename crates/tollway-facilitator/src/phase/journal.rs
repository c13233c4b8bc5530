//! Phase 7: the transaction is written down, with its bytes, before any node sees it. A lane calls this between
//! signing and sending.

use std::sync::Arc;

use tollway_evm::SignedTransaction;

use crate::journal::Row;

/// Writes the signed transaction into every row it carries.
pub(crate) fn record_sent(rows: &[Arc<Row>], signed: &SignedTransaction) {
    for row in rows {
        row.record_sent(signed);
    }
}
