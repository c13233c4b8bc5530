//! The chain's word on a receipt: whether the money that it speaks of moved in the transaction that it names.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolEvent, sol};
use tollway_core::{Amount, Witnessed};

use super::terms::ReceiptTerms;
use crate::chain::Chain;
use crate::exact::parse_address;

sol! {
    /// EIP-20.
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// Looks for the token's own `Transfer` in the transaction that the receipt names. What a receipt does not say may be
/// given, from elsewhere: the token, who was paid, and how much. That is proof of the money, not of the request.
///
/// ```no_run
/// use std::time::Duration;
/// use tollway_core::Witnessed;
/// use tollway_evm::{Chain, offer_receipt::{SignedReceipt, confirm}};
/// async fn is_paid(receipt: &SignedReceipt) -> Result<bool, tollway_evm::ChainError> {
///     let base = Chain::connect("https://mainnet.base.org", &receipt.terms().network, Duration::from_secs(5))?;
///     Ok(confirm(&base, receipt.terms(), None).await == Witnessed::Proved)
/// }
/// ```
pub async fn confirm(
    chain: &Chain,
    receipt: &ReceiptTerms,
    moved: Option<(&str, &str, Amount)>,
) -> Witnessed {
    let unknown = |why: &str| Witnessed::Unknown(why.to_owned());
    let bound = receipt.binding.as_ref();
    let Some((asset, pay_to, amount)) =
        bound.map(|bound| (&*bound.asset, &*bound.pay_to, bound.amount)).or(moved)
    else {
        return unknown("the receipt does not say what was paid, and nothing else does");
    };
    let Some(hash) = receipt.transaction.as_deref().and_then(|hash| hash.parse::<B256>().ok()) else {
        return unknown("the receipt names no transaction");
    };
    if chain.network() != &receipt.network {
        return unknown("the node is of another network");
    }
    let (Some(asset), Some(to), Some(from)) =
        (parse_address(asset), parse_address(pay_to), parse_address(&receipt.payer))
    else {
        return Witnessed::Disproved;
    };
    let included = match chain.receipt(hash).await {
        Ok(Some(included)) => included,
        Ok(None) => return Witnessed::Unknown(format!("{hash} has no receipt on chain")),
        Err(error) => return Witnessed::Unknown(error.to_string()),
    };
    let log_index = bound.and_then(|bound| bound.log_index);
    let wanted = Wanted { asset, from, to, value: amount.atomic() };
    let mut moved = included.inner.logs().iter().filter(|log| wanted.is(&log.inner)).peekable();
    if !included.inner.status() || moved.peek().is_none() {
        return Witnessed::Disproved;
    }
    // A transaction that was taken back and included anew has its events elsewhere: that disproves nothing.
    if log_index.is_some() && moved.all(|log| log.log_index != log_index) {
        return unknown("the money moved, but by another event of its block than the receipt names");
    }
    Witnessed::Proved
}

/// The event that proves it.
struct Wanted {
    asset: Address,
    from: Address,
    to: Address,
    value: U256,
}

impl Wanted {
    fn is(&self, log: &alloy_primitives::Log) -> bool {
        let Ok(moved) = Transfer::decode_log(log) else { return false };
        log.address == self.asset && (moved.from, moved.to, moved.value) == (self.from, self.to, self.value)
    }
}
