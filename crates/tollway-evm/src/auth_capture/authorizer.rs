//! What the receiver's authorizer signs (EIP-712): consent to one charge, capture, void or refund. Its domain is the
//! operator's, and what it signs names the payment, so it is good for nothing else.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::sol;
use tollway_core::Network;

use super::terms::Fee;
use crate::eip712::Domain;

const DOMAIN_NAME: &str = "x402 Auth Capture Operator";
const DOMAIN_VERSION: &str = "1";

/// What a payment looks like in the escrow: how much is held, and how much was taken and can be given back. No pair comes
/// twice in the life of a payment, so consent that names it is good once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Held.
    pub capturable: U256,
    /// Taken, and not given back.
    pub refundable: U256,
}

/// What is consented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The payer is charged at once.
    Charge {
        /// How much.
        amount: U256,
        /// By which collector.
        collector: Address,
        /// keccak256 of what the collector is given: the payer's signature.
        collector_data_hash: B256,
        /// Of which so much is the fee.
        fee: Fee,
        /// To whom the fee goes.
        fee_receiver: Address,
    },
    /// Some of what is held goes to the receiver.
    Capture {
        /// How much.
        amount: U256,
        /// Of which so much is the fee.
        fee: Fee,
        /// To whom the fee goes.
        fee_receiver: Address,
        /// What the payment looks like before.
        expected: Balances,
    },
    /// All that is held goes back.
    Void,
    /// Some of what was taken goes back.
    Refund {
        /// How much.
        amount: U256,
        /// Where it comes from.
        collector: Address,
        /// What the payment looks like before.
        expected: Balances,
    },
}

impl Consent {
    /// The 66 bytes whose keccak256 the authorizer signs, for the payment of that hash. `None` unless `network` is an
    /// EVM network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::{Address, B256, auth_capture::Consent};
    /// let operator = Address::repeat_byte(1);
    /// let consent = Consent::Void.preimage(B256::repeat_byte(2), &Network::evm(8453), operator).unwrap();
    /// assert_eq!(consent[..2], [0x19, 0x01]);
    /// ```
    pub fn preimage(&self, payment: B256, network: &Network, operator: Address) -> Option<[u8; 66]> {
        let domain = Domain::new(network, operator, DOMAIN_NAME, DOMAIN_VERSION)?;
        Some(match *self {
            Self::Charge { amount, collector, collector_data_hash, fee, fee_receiver } => match fee {
                Fee::Amount(fee) => domain.preimage(&in_amounts::Charge {
                    paymentInfoHash: payment,
                    amount,
                    tokenCollector: collector,
                    collectorDataHash: collector_data_hash,
                    feeAmount: fee,
                    feeReceiver: fee_receiver,
                }),
                Fee::Bps(bps) => domain.preimage(&in_bps::Charge {
                    paymentInfoHash: payment,
                    amount,
                    tokenCollector: collector,
                    collectorDataHash: collector_data_hash,
                    feeBps: bps,
                    feeReceiver: fee_receiver,
                }),
            },
            Self::Capture { amount, fee, fee_receiver, expected } => match fee {
                Fee::Amount(fee) => domain.preimage(&in_amounts::Capture {
                    paymentInfoHash: payment,
                    amount,
                    feeAmount: fee,
                    feeReceiver: fee_receiver,
                    expectedCapturableAmount: expected.capturable,
                    expectedRefundableAmount: expected.refundable,
                }),
                Fee::Bps(bps) => domain.preimage(&in_bps::Capture {
                    paymentInfoHash: payment,
                    amount,
                    feeBps: bps,
                    feeReceiver: fee_receiver,
                    expectedCapturableAmount: expected.capturable,
                    expectedRefundableAmount: expected.refundable,
                }),
            },
            Self::Void => domain.preimage(&Void { paymentInfoHash: payment }),
            Self::Refund { amount, collector, expected } => domain.preimage(&Refund {
                paymentInfoHash: payment,
                amount,
                tokenCollector: collector,
                expectedCapturableAmount: expected.capturable,
                expectedRefundableAmount: expected.refundable,
            }),
        })
    }

    /// The digest that is signed.
    pub(super) fn digest(&self, payment: B256, network: &Network, operator: Address) -> Option<B256> {
        self.preimage(payment, network, operator).map(keccak256)
    }
}

sol! {
    struct Void {
        bytes32 paymentInfoHash;
    }

    struct Refund {
        bytes32 paymentInfoHash;
        uint256 amount;
        address tokenCollector;
        uint256 expectedCapturableAmount;
        uint256 expectedRefundableAmount;
    }
}

mod in_amounts {
    use alloy_sol_types::sol;

    sol! {
        struct Charge {
            bytes32 paymentInfoHash;
            uint256 amount;
            address tokenCollector;
            bytes32 collectorDataHash;
            uint256 feeAmount;
            address feeReceiver;
        }

        struct Capture {
            bytes32 paymentInfoHash;
            uint256 amount;
            uint256 feeAmount;
            address feeReceiver;
            uint256 expectedCapturableAmount;
            uint256 expectedRefundableAmount;
        }
    }
}

mod in_bps {
    use alloy_sol_types::sol;

    sol! {
        struct Charge {
            bytes32 paymentInfoHash;
            uint256 amount;
            address tokenCollector;
            bytes32 collectorDataHash;
            uint16 feeBps;
            address feeReceiver;
        }

        struct Capture {
            bytes32 paymentInfoHash;
            uint256 amount;
            uint16 feeBps;
            address feeReceiver;
            uint256 expectedCapturableAmount;
            uint256 expectedRefundableAmount;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolStruct;

    use super::{Refund, Void, in_amounts, in_bps};

    #[test]
    fn types_are_those_of_the_specification() {
        let in_amounts = [in_amounts::Charge::eip712_root_type(), in_amounts::Capture::eip712_root_type()];
        let in_bps = [in_bps::Charge::eip712_root_type(), in_bps::Capture::eip712_root_type()];
        let charge = "Charge(bytes32 paymentInfoHash,uint256 amount,address tokenCollector,bytes32 collectorDataHash,uint256 feeAmount,address feeReceiver)";
        let capture = "Capture(bytes32 paymentInfoHash,uint256 amount,uint256 feeAmount,address feeReceiver,uint256 expectedCapturableAmount,uint256 expectedRefundableAmount)";
        assert_eq!(in_amounts, [charge, capture]);
        let older = |text: &str| text.replace("uint256 feeAmount", "uint16 feeBps");
        assert_eq!(in_bps, [older(charge), older(capture)]);
        assert_eq!(Void::eip712_root_type(), "Void(bytes32 paymentInfoHash)");
        let refund = "Refund(bytes32 paymentInfoHash,uint256 amount,address tokenCollector,uint256 expectedCapturableAmount,uint256 expectedRefundableAmount)";
        assert_eq!(Refund::eip712_root_type(), refund);
    }
}
