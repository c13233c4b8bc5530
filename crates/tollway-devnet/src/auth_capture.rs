//! The contracts of scheme `auth-capture`, where every chain has them, with our own code (`contracts/src/AuthCapture*`):
//! an escrow, what collects into it, and what its stores delegate to. They are part of every genesis, in the current
//! version and in the one before it, whose fees are in basis points.

use alloy_primitives::{Address, address};

/// One version of the contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthCaptureSet {
    /// Holds and moves the money.
    pub escrow: Address,
    /// Collects from payers by EIP-3009.
    pub erc3009_collector: Address,
    /// Collects from payers by Permit2.
    pub permit2_collector: Address,
    /// Collects refunds from operators, by an allowance.
    pub refund_collector: Address,
    /// What the store of every operator delegates to.
    pub store: Address,
}

/// The current version.
pub const V1_1: AuthCaptureSet = AuthCaptureSet {
    escrow: address!("0xf96815976523E00e65Be8f34cA5e64b4f41EB19c"),
    erc3009_collector: address!("0x8612dfdc421f80336cd14E8EF9cb1E765dB5ab88"),
    permit2_collector: address!("0xD69831Aed5bfe262067ec4c751f4F830EcdD446e"),
    refund_collector: address!("0x7a03443724d14798c4AB4622F1DAAcA761Fea486"),
    store: address!("0xe4be44B1505d29ae640748b4cce530ece6DcD450"),
};

/// The first version.
pub const V1_0: AuthCaptureSet = AuthCaptureSet {
    escrow: address!("0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff"),
    erc3009_collector: address!("0x0E3dF9510de65469C4518D7843919c0b8C7A7757"),
    permit2_collector: address!("0x992476B9Ee81d52a5BdA0622C333938D0Af0aB26"),
    refund_collector: address!("0x934907bffd0901b6A21e398B9C53A4A38F02fa5d"),
    store: address!("0xEd411C46508C2acf1D387754Df9cc98D0ef80D08"),
};

/// Each contract's address and code.
pub(crate) const CONTRACTS: [(Address, &[u8]); 10] = [
    (V1_1.escrow, include_bytes!("../../../contracts/artifacts/AuthCaptureEscrow.bin")),
    (V1_1.erc3009_collector, include_bytes!("../../../contracts/artifacts/AuthCaptureErc3009.bin")),
    (V1_1.permit2_collector, include_bytes!("../../../contracts/artifacts/AuthCapturePermit2.bin")),
    (V1_1.refund_collector, include_bytes!("../../../contracts/artifacts/AuthCaptureRefund.bin")),
    (V1_1.store, include_bytes!("../../../contracts/artifacts/AuthCaptureStore.bin")),
    (V1_0.escrow, include_bytes!("../../../contracts/artifacts/AuthCaptureEscrowV10.bin")),
    (V1_0.erc3009_collector, include_bytes!("../../../contracts/artifacts/AuthCaptureErc3009V10.bin")),
    (V1_0.permit2_collector, include_bytes!("../../../contracts/artifacts/AuthCapturePermit2V10.bin")),
    (V1_0.refund_collector, include_bytes!("../../../contracts/artifacts/AuthCaptureRefundV10.bin")),
    (V1_0.store, include_bytes!("../../../contracts/artifacts/AuthCaptureStoreV10.bin")),
];
