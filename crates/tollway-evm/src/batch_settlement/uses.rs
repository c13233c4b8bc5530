//! Who else may have done it: whoever sees what is signed may send it.

use alloy_primitives::B256;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use serde_json::Value;

use super::abi::{ChannelConfig as OnChain, Channels};
use super::channel::ChannelConfig;
use super::deposit::CheckedDeposit;
use super::settleable::ChannelOperation;
use super::{PERMIT2_COLLECTOR, SETTLEMENT};
use crate::Bytes;
use crate::U256;
use crate::asset::TransferMethod;
use crate::chain::{Chain, ChainError};

/// How many blocks back a deposit is looked for: what public nodes answer in one request.
const LOOK_BACK_BLOCKS: u64 = 5_000;
/// How many deposits of one channel in them are looked at.
const MOST_DEPOSITS: usize = 16;
/// How many channels one filter names, and how many transactions are told.
const MOST_TOPICS: usize = 128;
const MOST_USES: usize = 16;

/// The transactions, whosever they are, in which it may have been done lately; what they hold is for the proof to say. Permit2
/// says nothing of its nonces, so by it only a transaction that is exactly the deposit counts.
pub(crate) async fn find_uses(chain: &Chain, operation: &ChannelOperation) -> Result<Vec<B256>, ChainError> {
    let Some((deposit, config, channel_id)) = operation.deposit() else {
        return find_traces(chain, operation).await;
    };
    let head = chain.head().await?.number;
    let filter = Filter::new()
        .address(SETTLEMENT)
        .event_signature(Channels::Deposited::SIGNATURE_HASH)
        .topic1(channel_id)
        .from_block(head.saturating_sub(LOOK_BACK_BLOCKS));
    let logs = chain.logs(&filter).await?;
    let mut found: Vec<B256> = Vec::new();
    for log in logs.iter().rev() {
        let (Some(hash), Ok(event)) = (log.transaction_hash, Channels::Deposited::decode_log(&log.inner))
        else {
            continue;
        };
        if event.amount != deposit.amount || found.contains(&hash) || found.len() == MOST_DEPOSITS {
            continue;
        }
        let is_it = match deposit.method {
            TransferMethod::Eip3009 => true,
            TransferMethod::Permit2 => {
                let transaction = chain.raw("eth_getTransactionByHash", serde_json::json!([hash])).await?;
                is_deposit(&transaction, deposit, config)
            }
        };
        if is_it {
            found.push(hash);
        }
    }
    Ok(found)
}

/// Claims count from the channel's beginning, so any that goes as far will do; what else is done is done since it was asked for.
async fn find_traces(chain: &Chain, operation: &ChannelOperation) -> Result<Vec<B256>, ChainError> {
    let Some((event, about, token)) = operation.traces() else { return Ok(Vec::new()) };
    let lately = chain.head().await?.number.saturating_sub(LOOK_BACK_BLOCKS);
    let from = match event == Channels::Claimed::SIGNATURE_HASH {
        true => lately,
        false => lately.max(operation.since_block.saturating_add(1)),
    };
    let mut hashes: Vec<B256> = Vec::new();
    for about in about.chunks(MOST_TOPICS) {
        let filter = Filter::new().address(SETTLEMENT).event_signature(event).topic1(about.to_vec());
        let filter = match token {
            Some(token) => filter.topic2(token),
            None => filter,
        };
        let logs = chain.logs(&filter.from_block(from)).await?;
        // What came first did it; of claims the latest goes furthest.
        let found = logs.iter().filter_map(|log| log.transaction_hash);
        match event == Channels::Claimed::SIGNATURE_HASH {
            true => hashes.extend(found.rev()),
            false => hashes.extend(found),
        }
    }
    hashes.dedup();
    hashes.truncate(MOST_USES);
    Ok(hashes)
}

/// Whether a transaction, as a node tells it, makes this very deposit by Permit2 and nothing else.
fn is_deposit(transaction: &Value, deposit: &CheckedDeposit, config: &ChannelConfig) -> bool {
    let text = |name: &str| transaction.get(name).and_then(Value::as_str);
    let to = text("to").and_then(|to| to.parse().ok());
    let input = text("input").and_then(|input| alloy_primitives::hex::decode(input).ok());
    let call = input.and_then(|input| Channels::depositCall::abi_decode(&input).ok());
    let Some(call) = call.filter(|_| to == Some(SETTLEMENT)) else { return false };
    let Ok((nonce, ..)) = <(U256, U256, Bytes, Bytes)>::abi_decode_params(&call.collectorData) else {
        return false;
    };
    call.config == OnChain::from(config)
        && call.amount == deposit.amount
        && call.collector == PERMIT2_COLLECTOR
        && B256::from(nonce) == deposit.nonce
}
