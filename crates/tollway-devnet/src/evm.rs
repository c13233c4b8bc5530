//! The EVM as this chain configures it. Running something is in the modules below; the chain around it is not
//! here.

mod call;
mod estimate;
mod transaction;

use alloy_consensus::Header;
use revm::{
    Context, Database, MainBuilder, MainContext, MainnetEvm,
    context::{BlockEnv, CfgEnv},
    context_interface::block::BlobExcessGasAndPrice,
    handler::MainnetContext,
    primitives::{U256, hardfork::SpecId},
};

pub(crate) use self::{
    call::{Call, apply, simulate},
    estimate::estimate,
    transaction::{Transaction, intrinsic_gas},
};

/// The rules in force from genesis on: the current mainnet's.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// The most gas that one transaction may ask for (EIP-7825).
pub(crate) const TRANSACTION_GAS_CAP: u64 = revm::primitives::eip7825::TX_GAS_LIMIT_CAP;

/// An EVM over some state.
pub(crate) type Machine<DB> = MainnetEvm<MainnetContext<DB>>;

/// Builds an EVM.
pub(crate) fn machine<DB: Database>(cfg: CfgEnv, block: BlockEnv, db: DB) -> Machine<DB> {
    Context::mainnet().with_db(db).with_block(block).with_cfg(cfg).build_mainnet()
}

/// The configuration that transactions run under.
pub(crate) fn rules(chain_id: u64) -> CfgEnv {
    CfgEnv::new().with_spec_and_mainnet_gas_params(SPEC).with_chain_id(chain_id)
}

/// What a header looks like from inside.
pub(crate) fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(0, SPEC)),
        slot_num: 0,
    }
}
