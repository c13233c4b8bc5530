//! What accounts hold.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, U64, U256};

use super::{Answer, Params, reply};
use crate::node::Sight;

pub(super) fn balance(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let address = params.get(0, "address")?;
    reply(&node.state(block(params, 1)?)?.balance(address))
}

pub(super) fn code(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let address = params.get(0, "address")?;
    reply(&node.state(block(params, 1)?)?.code(address))
}

pub(super) fn storage(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let (address, slot) = (params.get(0, "address")?, params.get::<U256>(1, "slot")?);
    reply(&B256::from(node.state(block(params, 2)?)?.slot(address, slot)))
}

pub(super) fn nonce(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let address = params.get::<Address>(0, "address")?;
    let id = block(params, 1)?;
    if id == BlockId::Number(BlockNumberOrTag::Pending) {
        let nonce = node.state(id)?.nonce(address);
        return reply(&U64::from(node.chain().pool.next_nonce(address, nonce)));
    }
    reply(&U64::from(node.state(id)?.nonce(address)))
}

fn block(params: &Params<'_>, index: usize) -> Result<BlockId, crate::failure::Failure> {
    Ok(params.optional(index, "block")?.unwrap_or(BlockId::Number(BlockNumberOrTag::Latest)))
}
