//! Logs, asked for at once or by polling a filter.

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};

use super::{Answer, Params, reply, view::rpc_logs};
use crate::{
    chain::{Block, Chain},
    failure::Failure,
    filters::Watched,
    node::Sight,
};

pub(super) fn get(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    reply(&matching(node, &params.get(0, "filter")?)?)
}

pub(super) fn new_filter(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let filter: Filter = params.get(0, "filter")?;
    install(node, Watched::Logs(Box::new(filter)))
}

pub(super) fn new_block_filter(node: &Sight<'_>) -> Answer {
    install(node, Watched::Blocks)
}

/// What a filter has to report since it was last asked.
pub(super) fn changes(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let id = params.get::<U64>(0, "filter id")?.to();
    let mut filters = node.filters.lock();
    let installed = filters.get_mut(id).ok_or_else(no_filter)?;
    let chain = node.chain();
    let head = node.head(&chain).number();
    let blocks = (installed.next_block..=head).filter_map(|number| chain.block(number));
    // A sight that is behind does not make a filter report again what it has reported.
    let next_block = installed.next_block.max(head + 1);
    match &installed.watched {
        Watched::Blocks => {
            let hashes: Vec<B256> = blocks.map(|block| block.hash()).collect();
            installed.next_block = next_block;
            reply(&hashes)
        }
        Watched::Logs(filter) => {
            let mut found = installed.withdrawn.clone();
            for block in blocks {
                collect(block, filter, node.config.limits.logs, &mut found)?;
            }
            installed.next_block = next_block;
            installed.withdrawn.clear();
            reply(&found)
        }
    }
}

/// Everything that a filter matches, whether reported or not.
pub(super) fn all(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let id = params.get::<U64>(0, "filter id")?.to();
    let watched = node.filters.lock().get_mut(id).map(|installed| installed.watched.clone());
    match watched.ok_or_else(no_filter)? {
        Watched::Logs(filter) => reply(&matching(node, &filter)?),
        Watched::Blocks => Err(no_filter()),
    }
}

pub(super) fn uninstall(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let id = params.get::<U64>(0, "filter id")?.to();
    reply(&node.filters.lock().uninstall(id))
}

/// The logs of one block that match a filter's addresses and topics.
pub(crate) fn block_logs(block: &Block, filter: &Filter) -> Vec<Log> {
    if !filter.matches_bloom(block.header.logs_bloom) {
        return Vec::new();
    }
    let logs = (0..block.receipts.len()).flat_map(|index| rpc_logs(block, index));
    logs.filter(|log| filter.matches_address(log.address()) && filter.matches_topics(log.topics())).collect()
}

fn install(node: &Sight<'_>, watched: Watched) -> Answer {
    let next_block = node.head(&node.chain()).number() + 1;
    reply(&U64::from(node.filters.lock().install(watched, next_block)))
}

fn matching(node: &Sight<'_>, filter: &Filter) -> Result<Vec<Log>, Failure> {
    let limit = node.config.limits.logs;
    let mut found = Vec::new();
    let blocks = {
        let chain = node.chain();
        match filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                vec![
                    node.block_by_hash(&chain, &hash)
                        .cloned()
                        .ok_or_else(|| Failure::server("unknown block"))?,
                ]
            }
            FilterBlockOption::Range { from_block, to_block } => {
                let (from, to) = (position(node, &chain, from_block)?, position(node, &chain, to_block)?);
                if from > to {
                    return Err(Failure::invalid_params("filter", "fromBlock is after toBlock"));
                }
                let readable = from.max(chain.earliest())..=to.min(node.head(&chain).number());
                readable.filter_map(|number| chain.block(number).cloned()).collect()
            }
        }
    };
    for block in blocks {
        collect(&block, filter, limit, &mut found)?;
    }
    Ok(found)
}

fn collect(block: &Block, filter: &Filter, limit: usize, found: &mut Vec<Log>) -> Result<(), Failure> {
    found.extend(block_logs(block, filter));
    if found.len() > limit {
        return Err(Failure::limit_exceeded(format!("query returned more than {limit} results")));
    }
    Ok(())
}

/// The number that one end of a range means. A number beyond the head is left as it is.
fn position(node: &Sight<'_>, chain: &Chain, end: Option<BlockNumberOrTag>) -> Result<u64, Failure> {
    match end.unwrap_or_default() {
        BlockNumberOrTag::Number(number) => Ok(number),
        tag => Ok(node.resolve(chain, tag.into())?.map_or(node.head(chain).number(), |block| block.number())),
    }
}

fn no_filter() -> Failure {
    Failure::server("filter not found")
}
