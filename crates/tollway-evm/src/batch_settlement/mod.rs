//! Scheme `batch-settlement`: a payer puts money into a channel once and pays each request by a voucher, which is a signature
//! over all that was spent so far. What is checked here for a request is one signature; many vouchers of many channels are
//! claimed by one transaction, and what was claimed is paid out by another.
//!
//! | step | file | who |
//! |---|---|---|
//! | a channel's terms and name | `channel` | all |
//! | sign a voucher, check one | `voucher` | buyer, seller |
//! | what travels | `payload`, `fields`, `told` | all |
//! | make the offer, read a payment, ask for claims | `offer` | seller |
//! | sign deposits, vouchers, refunds | `sign`, `deposit` | buyer |
//! | check what needs no chain | `verify`, `deposit`, `claim`, `refund` | seller, facilitator |
//! | check what a seller asks for, consent to it | `request` | facilitator |
//! | build the calls | `calls` | facilitator, buyer |
//! | how channels stand on chain | `chain` | all |
//! | prove what was done | `prove`, `uses` | facilitator |
//! | take back what nobody gives back | `withdraw` | buyer |
//! | what the engine sees | `settleable`, `approval` | facilitator |
//!
//! What does not live here: what was charged, which is the seller's ledger's, and when to claim.

use alloy_primitives::{Address, address};

#[cfg(feature = "rpc")]
mod abi;
#[cfg(feature = "rpc")]
mod approval;
#[cfg(feature = "rpc")]
mod calls;
#[cfg(feature = "rpc")]
mod chain;
mod channel;
mod claim;
mod code;
mod deposit;
mod fields;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod mutants;
mod offer;
mod payload;
#[cfg(feature = "rpc")]
mod prove;
mod refund;
mod request;
#[cfg(feature = "rpc")]
mod settleable;
mod sign;
mod told;
#[cfg(feature = "rpc")]
mod uses;
mod verify;
mod voucher;
#[cfg(feature = "rpc")]
mod withdraw;

#[cfg(feature = "rpc")]
pub use calls::{
    claim_call, finalize_withdraw_call, initiate_withdraw_call, refund_call, revert_code, settle_call,
};
#[cfg(feature = "rpc")]
pub use chain::{ReceiverState, backings, is_voucher_good, receiver_state};
pub use channel::{ChannelConfig, WITHDRAW_DELAY_SECONDS};
pub use claim::{claim_gas, claim_preimage, sign_claims, split_claims};
pub use deposit::{CheckedDeposit, deposit_nonce};
pub use offer::BatchSettlement;
pub use payload::{
    BatchPayload, ClaimBatch, ClaimEntry, Deposit, DepositAuthorization, MAX_CLAIMS, Refund, RefundCompletion,
};
#[cfg(feature = "rpc")]
pub use prove::Done;
pub use refund::RefundConsent;
pub use request::{ChannelRequest, ConsentError, check_request, consented, is_request};
#[cfg(feature = "rpc")]
pub use settleable::ChannelOperation;
pub use sign::{ChannelBuyer, ChannelTerms};
pub use told::ChannelState;
#[cfg(feature = "rpc")]
pub(crate) use uses::find_uses;
pub use verify::{ChannelPayment, Purpose, check};
pub use voucher::{SignedVoucher, Voucher};
#[cfg(feature = "rpc")]
pub use withdraw::{WithdrawError, Withdrawal, Withdrawn, begin_withdrawal, end_withdrawal};

/// The contract that holds the channels, at the same address on every network.
pub const SETTLEMENT: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
/// What collects deposits by EIP-3009.
pub const ERC3009_COLLECTOR: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
/// What collects deposits by Permit2.
pub const PERMIT2_COLLECTOR: Address = address!("4020425FAf3B746C082C2f942b4E5159887B0005");
