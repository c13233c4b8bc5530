//! Without threads and sockets, on one thread with paused time, the same requests make the same chain.

use std::{sync::Arc, time::Duration};

use alloy_rpc_client::RpcClient;
use serde_json::{Value, json};
use tokio::time::Instant;
use tollway_core::{Clock, UnixTime};
use tollway_devnet::{ACCOUNTS, Config, Fault, Handle, Mining, genesis::USDC};

use crate::fixture::{PAYEE, raw, transfer};

/// The time of the runtime, from a fixed start.
#[derive(Debug)]
struct Virtual {
    began: Instant,
}

impl Clock for Virtual {
    fn now(&self) -> UnixTime {
        UnixTime(1_750_000_000 + self.began.elapsed().as_secs())
    }
}

async fn chain(mining: Mining) -> (Handle, RpcClient) {
    let clock = Arc::new(Virtual { began: Instant::now() });
    let config = Config { in_process: true, mining, clock, ..Config::default() };
    let devnet = tollway_devnet::spawn(config).await.unwrap();
    let rpc = RpcClient::new(devnet.transport(), true);
    (devnet, rpc)
}

/// Nine senders at once on a chain with a block each second, and faults; the hashes of all blocks and when it ended.
fn history() -> (Vec<Value>, Duration) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let (devnet, rpc) = chain(Mining::Interval(Duration::from_secs(1))).await;
        let late = Fault::Delay { method: None, count: Some(25), delay_ms: 700, inbound: true };
        devnet.faults().inject(late);
        let senders = ACCOUNTS.iter().skip(1).enumerate().map(|(index, account)| {
            let rpc = rpc.clone();
            tokio::spawn(async move {
                for nonce in 0..5 {
                    tokio::time::sleep(Duration::from_millis(130 * index as u64)).await;
                    let raw = raw(account, transfer(nonce, PAYEE, 1));
                    rpc.request::<_, Value>("eth_sendRawTransaction", (raw,)).await.unwrap();
                    let call = json!([{ "to": USDC, "data": "0x06fdde03" }, "latest"]);
                    rpc.request::<_, Value>("eth_call", call).await.unwrap();
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        devnet.faults().inject(Fault::Reorg { depth: 3, lost: false });
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut hashes = Vec::new();
        loop {
            let number = format!("0x{:x}", hashes.len());
            let block: Value = rpc.request("eth_getBlockByNumber", (number, false)).await.unwrap();
            if block.is_null() {
                return (hashes, began.elapsed());
            }
            hashes.push(block["hash"].clone());
        }
    })
}

#[test]
fn the_same_requests_make_the_same_chain() {
    let first = history();
    assert!(first.0.len() > 5, "{first:?}");
    for _ in 0..3 {
        assert_eq!(history(), first);
    }
}

#[tokio::test(start_paused = true)]
async fn virtual_time_drives_the_blocks_and_what_they_are_dated() {
    let (devnet, rpc) = chain(Mining::Interval(Duration::from_secs(12))).await;
    assert_eq!(devnet.port(), 0, "there is none");
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(rpc.request_noparams::<String>("eth_blockNumber").await.unwrap(), "0x12c");
    let block: Value = rpc.request("eth_getBlockByNumber", ("latest", false)).await.unwrap();
    assert_eq!(block["timestamp"], format!("0x{:x}", 1_750_003_600));
}

#[tokio::test(start_paused = true)]
async fn an_instant_chain_takes_no_time() {
    let (_devnet, rpc) = chain(Mining::Instant).await;
    let began = Instant::now();
    for nonce in 0..3 {
        let raw = raw(&ACCOUNTS[0], transfer(nonce, PAYEE, 1));
        let hash: Value = rpc.request("eth_sendRawTransaction", (raw,)).await.unwrap();
        let receipt: Value = rpc.request("eth_getTransactionReceipt", (hash,)).await.unwrap();
        assert_eq!(receipt["status"], "0x1");
    }
    assert!(began.elapsed().is_zero());
}
