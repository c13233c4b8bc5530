//! A node that answers from memory: what a facilitator costs by itself, with nothing to wait for.
//!
//! It knows the questions that facilitators ask to verify a payment, and answers that all is well: every payer has
//! money and no code, no authorization is used, every transfer moves its value. It runs no contract.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::hex;
use alloy_sol_types::{SolCall, SolValue, sol};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_devnet::genesis::{MULTICALL3, USDC};
use tollway_evm::{Address, B256, Bytes, U256};

use super::anvil::WANTED;
use super::child::announce;
use super::frames::Frames;
use super::proxy::Counter;
use super::signed::{CHAIN_ID, domain};

sol! {
    struct Call3 { address target; bool allowFailure; bytes callData; }
    struct Returned { bool success; bytes returnData; }
    function aggregate3(Call3[] calls) returns (Returned[] returned);
    function balanceOf(address account) returns (uint256);
    function DOMAIN_SEPARATOR() returns (bytes32);
    function authorizationState(address authorizer, bytes32 nonce) returns (bool);
}

/// `transferWithAuthorization`, with the signature in three parts and in one piece.
const TRANSFERS: [[u8; 4]; 2] = [[0xe3, 0xee, 0x16, 0x0e], [0xcf, 0x09, 0x29, 0x95]];
const NAME: [u8; 4] = [0x06, 0xfd, 0xde, 0x03];
const VERSION: [u8; 4] = [0x54, 0xfd, 0x4d, 0x50];
/// What everybody has: enough, and far from the largest number.
const BALANCE: u64 = 1_000_000_000_000_000;
/// Our simulation without a deployed contract: code, then the payments packed, so many bytes each.
const PROBED_BYTES: usize = 253;
const PROBE_FORMAT: u8 = 1;
const PROBE_DELIVERS: u8 = 1;

/// The role of the node's process.
pub(super) async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&listener.local_addr()?.to_string())?;
    let counter = Counter::default();
    let code = Rc::new(std::cell::Cell::new(None));
    tokio::task::LocalSet::new()
        .run_until(async {
            loop {
                let (client, _) = listener.accept().await?;
                let (counter, code) = (counter.clone(), Rc::clone(&code));
                tokio::task::spawn_local(async move {
                    // Whoever asked sees the connection end.
                    let _ = serve(Frames::new(client)?, counter, &code).await;
                    Ok::<_, anyhow::Error>(())
                });
            }
        })
        .await
}

/// How long the code of the simulation is, once one was seen.
type CodeLength = std::cell::Cell<Option<usize>>;

async fn serve(mut client: Frames, counter: Counter, code: &CodeLength) -> Result<()> {
    while client.next().await? {
        if counter.tell(&mut client).await? {
            continue;
        }
        counter.count(client.body());
        let request: Value = serde_json::from_slice(client.body())?;
        let answer = match request.as_array() {
            Some(batch) => batch.iter().map(|request| answer(request, code)).collect(),
            None => answer(&request, code),
        };
        client.send_json(&answer.to_string()).await?;
    }
    Ok(())
}

fn answer(request: &Value, code: &CodeLength) -> Value {
    let (method, params) = (request["method"].as_str().unwrap_or_default(), &request["params"]);
    match result(method, params, code) {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
        Err(error) => {
            let error = json!({ "code": -32_000, "message": format!("{method}: {error}") });
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
        }
    }
}

fn result(method: &str, params: &Value, code: &CodeLength) -> Result<Value> {
    Ok(match method {
        "eth_call" => call(&params[0], code)?,
        "eth_chainId" => format!("{CHAIN_ID:#x}").into(),
        "eth_blockNumber" => "0x10".into(),
        "eth_getCode" => {
            let address: Address = params[0].as_str().unwrap_or_default().parse()?;
            let contracts = WANTED.iter().filter_map(|wanted| wanted.parse().ok()).chain([USDC, MULTICALL3]);
            if contracts.into_iter().any(|contract: Address| contract == address) { "0x00" } else { "0x" }
                .into()
        }
        "eth_getBalance" => "0x3635c9adc5dea00000".into(),
        "eth_getTransactionCount" => "0x0".into(),
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" => "0x3b9aca00".into(),
        "eth_estimateGas" => "0x186a0".into(),
        "eth_getLogs" => json!([]),
        "eth_getBlockByNumber" | "eth_getBlockByHash" => block()?,
        _ => anyhow::bail!("this node does not know it"),
    })
}

fn call(call: &Value, code: &CodeLength) -> Result<Value> {
    let input = call["input"].as_str().or(call["data"].as_str()).context("a call has data")?;
    let data = hex::decode(input)?;
    let Some(to) = call["to"].as_str() else {
        // Not ours: a signature checked by a contract that is not deployed either. It is valid.
        return Ok(probed(&data, code)
            .map_or_else(|| "0x01".into(), |answer| Bytes::from(answer).to_string().into()));
    };
    let mut credits = BTreeMap::new();
    let answer = if to.parse::<Address>()? == MULTICALL3 {
        let calls = aggregate3Call::abi_decode(&data)?.calls.into_iter();
        let returned =
            calls.map(|call| Returned { success: true, returnData: token(&call.callData, &mut credits) });
        Bytes::from(returned.collect::<Vec<_>>().abi_encode())
    } else {
        token(&data, &mut credits)
    };
    Ok(answer.to_string().into())
}

/// A token's answer. What was moved before in the same call counts.
fn token(data: &[u8], credits: &mut BTreeMap<Address, U256>) -> Bytes {
    let selector: [u8; 4] = data.get(..4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    let word =
        |index: usize| data.get(4 + 32 * index..36 + 32 * index).map(B256::from_slice).unwrap_or_default();
    let answer = match selector {
        balanceOfCall::SELECTOR => {
            let credit = credits.get(&Address::from_word(word(0))).copied().unwrap_or_default();
            (U256::from(BALANCE) + credit).abi_encode()
        }
        authorizationStateCall::SELECTOR => false.abi_encode(),
        DOMAIN_SEPARATORCall::SELECTOR => {
            domain().map(|domain| domain.separator().abi_encode()).unwrap_or_default()
        }
        NAME => "USDC".abi_encode(),
        VERSION => "2".abi_encode(),
        selector if TRANSFERS.contains(&selector) => {
            *credits.entry(Address::from_word(word(1))).or_default() += U256::from_be_bytes(word(2).0);
            Vec::new()
        }
        _ => Vec::new(),
    };
    answer.into()
}

/// The answer to our simulation, if it is one: its code, then the payments as one `bytes` argument.
fn probed(data: &[u8], code: &CodeLength) -> Option<Vec<u8>> {
    let is_here = |at: usize| {
        let length = number(data, at + 32)?;
        let fits = number(data, at) == Some(32) && length > 0 && length % PROBED_BYTES == 0;
        let padded = at + 64 + length.next_multiple_of(32);
        (fits && (at + 64 + length..=padded).contains(&data.len())).then_some(length)
    };
    let known = code.get().and_then(is_here);
    let length = known.or_else(|| {
        let (at, length) = (0..data.len()).find_map(|at| Some((at, is_here(at)?)))?;
        code.set(Some(at));
        Some(length)
    })?;
    let mut one = [0; 33];
    one[0] = PROBE_DELIVERS;
    one[1..].copy_from_slice(&U256::from(BALANCE).to_be_bytes::<32>());
    Some([&[PROBE_FORMAT][..], &one.repeat(length / PROBED_BYTES)].concat())
}

/// The word at `at` as a number, if it is a small one.
fn number(data: &[u8], at: usize) -> Option<usize> {
    let word = data.get(at..at + 32)?;
    let (zeros, number) = word.split_at(28);
    let small = zeros.iter().all(|byte| *byte == 0);
    small.then(|| number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn block() -> Result<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (hash, address) = (B256::repeat_byte(0x11), Address::ZERO);
    Ok(json!({
        "number": "0x10", "hash": hash, "parentHash": B256::repeat_byte(0x10), "timestamp": format!("{now:#x}"),
        "gasLimit": "0x1c9c380", "gasUsed": "0x0", "baseFeePerGas": "0x7", "miner": address, "difficulty": "0x0",
        "extraData": "0x", "logsBloom": format!("0x{}", "0".repeat(512)), "mixHash": hash,
        "nonce": "0x0000000000000000", "receiptsRoot": hash, "sha3Uncles": hash, "size": "0x200",
        "stateRoot": hash, "transactionsRoot": hash, "transactions": [], "uncles": [],
    }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::{PROBED_BYTES, call, probed};

    /// Code, then `bytes` with so many payments, as a constructor gets it.
    fn probe(payments: usize) -> Vec<u8> {
        let mut data = vec![0xfe; 777];
        let word = |number: usize| [vec![0; 24], (number as u64).to_be_bytes().to_vec()].concat();
        let length = payments * PROBED_BYTES;
        data.extend([word(32), word(length), vec![0xab; length]].concat());
        data
    }

    #[test]
    fn every_payment_of_a_simulation_is_answered() {
        let code = Cell::new(None);
        for payments in [3, 1, 150] {
            let answer = probed(&probe(payments), &code).unwrap();
            assert_eq!((answer.len(), answer[0], answer[1]), (1 + 33 * payments, 1, 1));
        }
        assert_eq!(code.get(), Some(777));
        assert!(probed(&[0xfe; 900], &code).is_none());
    }

    #[test]
    fn a_balance_grows_by_what_was_moved_before_it_in_the_same_call() {
        let code = Cell::new(None);
        let asked = json!({ "to": super::USDC, "data": format!("0x70a08231{:064x}", 5) });
        let before = call(&asked, &code).unwrap();
        assert_eq!(before, json!(format!("0x{:064x}", super::BALANCE)));
    }
}
