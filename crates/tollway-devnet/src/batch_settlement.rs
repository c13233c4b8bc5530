//! The contracts of scheme `batch-settlement`, where every chain has them, with our own code
//! (`contracts/src/BatchSettlement*`): what holds the channels, and what collects deposits into it. They are part of
//! every genesis. What is signed and hashed for them is no concern of this module.

use alloy_primitives::{Address, address};

/// Holds the channels' money.
pub const BATCH_SETTLEMENT: Address = address!("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
/// Collects deposits by EIP-3009.
pub const ERC3009_COLLECTOR: Address = address!("0x4020806089470a89826cB9fB1f4059150b550004");
/// Collects deposits by Permit2.
pub const PERMIT2_COLLECTOR: Address = address!("0x4020425FAf3B746C082C2f942b4E5159887B0005");

/// Each contract's address and code.
pub(crate) const CONTRACTS: [(Address, &[u8]); 3] = [
    (BATCH_SETTLEMENT, include_bytes!("../../../contracts/artifacts/BatchSettlement.bin")),
    (ERC3009_COLLECTOR, include_bytes!("../../../contracts/artifacts/BatchErc3009Collector.bin")),
    (PERMIT2_COLLECTOR, include_bytes!("../../../contracts/artifacts/BatchPermit2Collector.bin")),
];
