//! Proof that a payment was collected, or that something happened to it: the escrow's own event for it, and the token's
//! `Transfer` that follows from it. Neither alone is one: the escrow could be told wrong by a token, and a transfer says
//! nothing of a payment.

use alloy_primitives::{Address, B256, Log, U256};
use alloy_sol_types::SolEvent;

use super::abi::{Escrow, EscrowInBps};
use super::lifecycle::{Lifecycle, Operation};
use super::terms::{Fee, Flow};
use super::verify::Collection;
use crate::exact::{Transfer, TransferProof};

/// The transfer that a marker promises.
struct Promise {
    token: Address,
    /// Who pays, where it is known without asking the escrow for its store.
    from: Option<Address>,
    to: Option<Address>,
    value: U256,
}

impl Collection {
    /// Finds the event that proves it among the logs of one receipt, given with their index in the block: the payer's
    /// transfer of what is held, or of a charge the transfer to the receiver.
    ///
    /// ```
    /// # use alloy_primitives::Log;
    /// use tollway_evm::auth_capture;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let collection = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// let logs: [Log; 0] = [];
    /// assert_eq!(collection.prove_collected((0..).zip(&logs)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prove_collected<'a>(
        &self,
        logs: impl IntoIterator<Item = (u64, &'a Log)>,
    ) -> Option<TransferProof> {
        let logs: Vec<(u64, &Log)> = logs.into_iter().collect();
        let amount = self.amount();
        let (fee, receiver) = self.charged_fee();
        let marker = |log: &Log| match self.terms.flow {
            Flow::Escrow => Escrow::PaymentAuthorized::decode_log_data(&log.data).is_ok_and(|event| {
                event.paymentInfoHash == self.hash && event.amount == amount && event.paymentInfo == self.info
            }),
            Flow::Charge => self.is_charged(log, amount, fee, receiver),
        };
        let at = mark(&logs, self.terms.deployment.escrow, marker)?;
        let token = self.info.token;
        let promise = match self.terms.flow {
            Flow::Escrow => Promise { token, from: Some(self.info.payer), to: None, value: amount },
            Flow::Charge => paid_out(token, self.info.receiver, amount, fee),
        };
        kept(&logs, at, self.terms.deployment.escrow, &promise)
    }

    fn is_charged(&self, log: &Log, amount: U256, fee: Fee, receiver: Address) -> bool {
        match fee {
            Fee::Amount(fee) => Escrow::PaymentCharged::decode_log_data(&log.data).is_ok_and(|event| {
                event.paymentInfoHash == self.hash
                    && event.paymentInfo == self.info
                    && (event.amount, event.feeAmount, event.feeReceiver) == (amount, fee, receiver)
            }),
            Fee::Bps(bps) => EscrowInBps::PaymentCharged::decode_log_data(&log.data).is_ok_and(|event| {
                event.paymentInfoHash == self.hash
                    && event.paymentInfo == self.info
                    && (event.amount, event.feeBps, event.feeReceiver) == (amount, bps, receiver)
            }),
        }
    }
}

impl Lifecycle {
    /// Finds the event that proves that it happened among the logs of one receipt, given with their index in the block.
    /// Of a void, whatever amount the escrow says was held.
    ///
    /// ```
    /// # use alloy_primitives::Log;
    /// # use tollway_evm::auth_capture::{self, Deployment, Lifecycle, Operation};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let (network, deployment) = (held.network.clone(), Deployment::CURRENT);
    /// # let (info, hash, operation) = (held.info.clone(), held.hash, Operation::Void);
    /// let void = Lifecycle { network, deployment, info, hash, operation };
    /// let logs: [Log; 0] = [];
    /// assert_eq!(void.prove_done((0..).zip(&logs)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prove_done<'a>(&self, logs: impl IntoIterator<Item = (u64, &'a Log)>) -> Option<TransferProof> {
        let logs: Vec<(u64, &Log)> = logs.into_iter().collect();
        let at = mark(&logs, self.deployment.escrow, |log| self.amount_done(log).is_some())?;
        let amount = logs.get(at).and_then(|(_, log)| self.amount_done(log))?;
        let token = self.info.token;
        let promise = match self.operation {
            Operation::Capture { fee, .. } => paid_out(token, self.info.receiver, amount, fee),
            Operation::Void | Operation::Refund { .. } => {
                Promise { token, from: None, to: Some(self.info.payer), value: amount }
            }
        };
        kept(&logs, at, self.deployment.escrow, &promise)
    }

    /// How much an event says was moved, if it says that this happened.
    fn amount_done(&self, log: &Log) -> Option<U256> {
        let data = &log.data;
        let (hash, amount) = match self.operation {
            Operation::Capture { fee, fee_receiver, .. } => match fee {
                Fee::Amount(fee) => {
                    let event = Escrow::PaymentCaptured::decode_log_data(data).ok()?;
                    let same = (event.feeAmount, event.feeReceiver) == (fee, fee_receiver);
                    same.then_some((event.paymentInfoHash, event.amount))?
                }
                Fee::Bps(bps) => {
                    let event = EscrowInBps::PaymentCaptured::decode_log_data(data).ok()?;
                    let same = (event.feeBps, event.feeReceiver) == (bps, fee_receiver);
                    same.then_some((event.paymentInfoHash, event.amount))?
                }
            },
            Operation::Void => {
                let event = Escrow::PaymentVoided::decode_log_data(data).ok()?;
                (event.paymentInfoHash, event.amount)
            }
            Operation::Refund { .. } => {
                let event = Escrow::PaymentRefunded::decode_log_data(data).ok()?;
                (event.paymentInfoHash, event.amount)
            }
        };
        let asked = matches!(self.operation, Operation::Void) || amount == self.amount();
        (hash == self.hash && asked).then_some(amount)
    }
}

/// What the receiver gets of `amount`. Where the fee is all of it, the fee itself is what moves.
fn paid_out(token: Address, receiver: Address, amount: U256, fee: Fee) -> Promise {
    let fee = fee.of(amount);
    match amount > fee {
        true => Promise { token, from: None, to: Some(receiver), value: amount - fee },
        false => Promise { token, from: None, to: None, value: amount },
    }
}

/// Where the escrow says so.
fn mark(logs: &[(u64, &Log)], escrow: Address, says: impl Fn(&Log) -> bool) -> Option<usize> {
    logs.iter().position(|(_, log)| log.address == escrow && says(log))
}

/// The transfer that belongs to the marker: between it and the next thing that the escrow says of a payment.
fn kept(logs: &[(u64, &Log)], at: usize, escrow: Address, promise: &Promise) -> Option<TransferProof> {
    let after = logs.get(at + 1..)?;
    let own = after.iter().take_while(|(_, log)| log.address != escrow || !is_of_a_payment(log));
    own.filter(|(_, log)| log.address == promise.token)
        .find(|(_, log)| {
            Transfer::decode_log_data(&log.data).is_ok_and(|event| {
                event.value == promise.value
                    && promise.from.is_none_or(|from| event.from == from)
                    && promise.to.is_none_or(|to| event.to == to)
            })
        })
        .map(|(log_index, _)| TransferProof { log_index: *log_index })
}

/// Whether an event of the escrow begins something else. That a store was made does not.
fn is_of_a_payment(log: &Log) -> bool {
    let of_a_payment: [B256; 8] = [
        Escrow::PaymentReclaimed::SIGNATURE_HASH,
        Escrow::PaymentAuthorized::SIGNATURE_HASH,
        Escrow::PaymentVoided::SIGNATURE_HASH,
        Escrow::PaymentRefunded::SIGNATURE_HASH,
        Escrow::PaymentCharged::SIGNATURE_HASH,
        Escrow::PaymentCaptured::SIGNATURE_HASH,
        EscrowInBps::PaymentCharged::SIGNATURE_HASH,
        EscrowInBps::PaymentCaptured::SIGNATURE_HASH,
    ];
    log.topics().first().is_some_and(|topic| of_a_payment.contains(topic))
}
