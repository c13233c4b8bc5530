//! What gas costs.

use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U64;
use alloy_rpc_types_eth::FeeHistory;

use super::{Answer, Params, reply};
use crate::{chain::Block, failure::Failure, node::Sight};

/// The tip that the devnet suggests. None is needed.
const SUGGESTED_TIP_WEI: u64 = 1_000_000_000;
/// The most blocks in one fee history, as geth has it.
const HISTORY_BLOCKS: u64 = 1_024;
/// The most percentiles in one fee history.
const PERCENTILES: usize = 100;

pub(super) fn gas_price(node: &Sight<'_>) -> Answer {
    reply(&U64::from(node.next_base_fee().saturating_add(SUGGESTED_TIP_WEI)))
}

pub(super) fn priority_fee() -> Answer {
    reply(&U64::from(SUGGESTED_TIP_WEI))
}

pub(super) fn history(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let count = params.get::<U64>(0, "block count")?.to::<u64>().min(HISTORY_BLOCKS);
    let newest = params.get::<BlockNumberOrTag>(1, "newest block")?;
    let percentiles = params.optional::<Vec<f64>>(2, "reward percentiles")?;
    if percentiles.as_ref().is_some_and(|wanted| !are_percentiles(wanted)) {
        return Err(Failure::invalid_params(
            "reward percentiles",
            "must rise from 0 to 100 and be at most 100",
        ));
    }
    let after_head = node.next_base_fee();
    let chain = node.chain();
    // The pending block has no fees yet, so the history ends at the latest one.
    let newest = node.resolve(&chain, newest.into())?.unwrap_or_else(|| node.head(&chain).clone());
    let oldest = (newest.number() + 1).saturating_sub(count).max(chain.earliest());
    let blocks: Vec<_> =
        (oldest..=newest.number()).filter_map(|number| chain.block(number)).take(count as usize).collect();
    let next = chain.block(newest.number() + 1).filter(|_| newest.number() < node.head(&chain).number());
    let after = next.map_or(after_head, |block| block.base_fee());
    let mut base_fee_per_gas: Vec<_> = blocks.iter().map(|block| u128::from(block.base_fee())).collect();
    base_fee_per_gas.push(after.into());
    reply(&FeeHistory {
        base_fee_per_blob_gas: vec![1; base_fee_per_gas.len()],
        base_fee_per_gas,
        gas_used_ratio: blocks.iter().map(|block| fullness(block)).collect(),
        blob_gas_used_ratio: vec![0.0; blocks.len()],
        oldest_block: oldest,
        reward: percentiles.map(|wanted| blocks.iter().map(|block| rewards(block, &wanted)).collect()),
    })
}

fn are_percentiles(wanted: &[f64]) -> bool {
    wanted.len() <= PERCENTILES
        && wanted.iter().all(|percentile| (0.0..=100.0).contains(percentile))
        && wanted.is_sorted()
}

#[expect(clippy::float_arithmetic, reason = "the ratio is a float on the wire")]
fn fullness(block: &Block) -> f64 {
    block.header.gas_used as f64 / block.header.gas_limit as f64
}

/// The tips at the given percentiles of a block's gas.
#[expect(clippy::float_arithmetic, reason = "percentiles are floats on the wire")]
fn rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<_> = block
        .transactions
        .iter()
        .zip(&block.receipts)
        .map(|(tx, receipt)| {
            (tx.envelope.effective_tip_per_gas(block.base_fee()).unwrap_or_default(), receipt.gas_used)
        })
        .collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = block.header.gas_used as f64 * percentile / 100.0;
        let mut gas = 0;
        let reached = tips.iter().find(|(_, used)| {
            gas += used;
            gas as f64 >= threshold
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}
