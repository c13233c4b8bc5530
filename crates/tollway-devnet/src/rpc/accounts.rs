//! What accounts hold.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, U64, U256};

use super::{Answer, Params, reply};
use crate::node::Node;

pub(super) fn balance(node: &Node, params: &Params<'_>) -> Answer {
    let address = params.get(0, "address")?;
    reply(&node.state(block(params, 1)?)?.balance(address))
}

pub(super) fn code(node: &Node, params: &Params<'_>) -> Answer {
    let address = params.get(0, "address")?;
    reply(&node.state(block(params, 1)?)?.code(address))
}

pub(super) fn storage(node: &Node, params: &Params<'_>) -> Answer {
    let (address, slot) = (params.get(0, "address")?, params.get::<U256>(1, "slot")?);
    reply(&B256::from(node.state(block(params, 2)?)?.slot(address, slot)))
}

pub(super) fn nonce(node: &Node, params: &Params<'_>) -> Answer {
    let address = params.get::<Address>(0, "address")?;
    let id = block(params, 1)?;
    if id == BlockId::Number(BlockNumberOrTag::Pending) {
        let chain = node.chain();
        return reply(&U64::from(chain.pool.next_nonce(address, chain.head_state().nonce(address))));
    }
    reply(&U64::from(node.state(id)?.nonce(address)))
}

fn block(params: &Params<'_>, index: usize) -> Result<BlockId, crate::failure::Failure> {
    Ok(params.optional(index, "block")?.unwrap_or(BlockId::Number(BlockNumberOrTag::Latest)))
}
