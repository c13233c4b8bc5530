//! The methods that development nodes add: state, time, mining, snapshots, and this devnet's own faucet and
//! faults.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde_json::json;

use super::{Answer, Params, reply};
use crate::{
    config::{Grant, Mining},
    failure::Failure,
    faults::Fault,
    node::Node,
};

pub(super) fn answer(node: &Node, method: &str, params: &Params<'_>) -> Answer {
    // Every development node answers to more than one prefix.
    let name = method.strip_prefix("anvil_").or_else(|| method.strip_prefix("hardhat_")).unwrap_or(method);
    let prefixed = name.len() < method.len();
    match name {
        "setBalance" if prefixed => {
            let (address, balance) =
                (params.get::<Address>(0, "address")?, params.get::<U256>(1, "balance")?);
            node.modify(|state| state.set_balance(address, balance));
            reply(&())
        }
        "setCode" if prefixed => {
            let (address, code) = (params.get::<Address>(0, "address")?, params.get::<Bytes>(1, "code")?);
            node.modify(|state| state.set_code(address, code));
            reply(&())
        }
        "setNonce" if prefixed => {
            let (address, nonce) = (params.get::<Address>(0, "address")?, params.get::<U64>(1, "nonce")?);
            node.modify(|state| state.set_nonce(address, nonce.to()));
            reply(&())
        }
        "setStorageAt" if prefixed => {
            let (address, slot) = (params.get::<Address>(0, "address")?, params.get::<U256>(1, "slot")?);
            let word = params.get::<B256>(2, "value")?;
            node.modify(|state| state.set_slot(address, slot, word.into()));
            reply(&true)
        }
        "setNextBlockBaseFeePerGas" if prefixed => {
            node.set_next_base_fee(params.get::<U64>(0, "base fee")?.to());
            reply(&())
        }
        "mine" if prefixed => mine_many(node, params),
        "evm_mine" => mine(node, params),
        "evm_snapshot" => reply(&U64::from(node.snapshot())),
        "snapshot" if prefixed => reply(&U64::from(node.snapshot())),
        "evm_revert" => reply(&node.revert(params.get::<U64>(0, "snapshot id")?.to())),
        "revert" if prefixed => reply(&node.revert(params.get::<U64>(0, "snapshot id")?.to())),
        "evm_increaseTime" => reply(&node.advance_clock(params.get::<Seconds>(0, "seconds")?.into())),
        "evm_setNextBlockTimestamp" => {
            node.set_next_timestamp(params.get::<Seconds>(0, "timestamp")?.into_unsigned("timestamp")?)?;
            reply(&())
        }
        "evm_setAutomine" => set_automine(node, params),
        "evm_setIntervalMining" => set_interval(node, params),
        "tollway_faucet" => faucet(node, params),
        "tollway_setFault" => {
            node.inject(params.get::<Fault>(0, "fault")?);
            reply(&true)
        }
        _ => Err(Failure::unknown_method(method)),
    }
}

/// Seconds, as a JSON number or a hex quantity: tools send both.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Quantity(U64),
}

impl From<Seconds> for i64 {
    fn from(seconds: Seconds) -> Self {
        match seconds {
            Seconds::Number(number) => number,
            Seconds::Quantity(quantity) => quantity.saturating_to(),
        }
    }
}

impl Seconds {
    fn into_unsigned(self, name: &str) -> Result<u64, Failure> {
        i64::from(self).try_into().map_err(|_| Failure::invalid_params(name, "must not be negative"))
    }
}

fn mine(node: &Node, params: &Params<'_>) -> Answer {
    // Tools send a bare timestamp, or hardhat's options object, which asks for nothing that matters here.
    if let Ok(Some(timestamp)) = params.optional::<Seconds>(0, "timestamp") {
        node.set_next_timestamp(timestamp.into_unsigned("timestamp")?)?;
    }
    node.mine();
    reply("0x0")
}

fn mine_many(node: &Node, params: &Params<'_>) -> Answer {
    let count =
        params.optional::<Seconds>(0, "blocks")?.map_or(Ok(1), |count| count.into_unsigned("blocks"))?;
    let interval =
        params.optional::<Seconds>(1, "interval")?.map_or(Ok(0), |secs| secs.into_unsigned("interval"))?;
    let most = node.config.limits.mine;
    if count > most {
        return Err(Failure::invalid_params("blocks", format!("at most {most}")));
    }
    node.mine_many(count, interval);
    reply(&())
}

fn set_automine(node: &Node, params: &Params<'_>) -> Answer {
    let wanted = params.get::<bool>(0, "enabled")?;
    let mining = *node.mining.borrow();
    match (wanted, mining) {
        (true, _) => node.set_mining(Mining::Instant),
        (false, Mining::Instant) => node.set_mining(Mining::Manual),
        (false, _) => {}
    }
    reply(&())
}

fn set_interval(node: &Node, params: &Params<'_>) -> Answer {
    let secs = params.get::<Seconds>(0, "interval")?.into_unsigned("interval")?;
    let mining = *node.mining.borrow();
    match (secs, mining) {
        (0, Mining::Interval(_)) => node.set_mining(Mining::Manual),
        (0, _) => {}
        (secs, _) => node.set_mining(Mining::Interval(Duration::from_secs(secs))),
    }
    reply(&())
}

/// `tollway_faucet(address, wei?, tokenAtomic?)`: the configured amounts unless others are asked for.
fn faucet(node: &Node, params: &Params<'_>) -> Answer {
    let address = params.get::<Address>(0, "address")?;
    let grant = Grant {
        wei: params.optional(1, "wei")?.unwrap_or(node.config.faucet.wei),
        token_atomic: params.optional(2, "tokenAtomic")?.unwrap_or(node.config.faucet.token_atomic),
    };
    node.grant(address, grant);
    reply(&json!({ "wei": grant.wei, "tokenAtomic": grant.token_atomic }))
}
