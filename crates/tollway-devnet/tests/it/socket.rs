//! Subscriptions over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tollway_devnet::{Config, Limits, genesis::USDC};

use crate::fixture::{PAYEE, authorization, devnet, devnet_with, signed};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn connect(url: String) -> Self {
        Self(connect_async(url).await.unwrap().0)
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.0.send(Message::Text(request.to_string().into())).await.unwrap();
        self.next().await
    }
}

#[tokio::test]
async fn every_block_and_every_matching_log_is_told() {
    let (devnet, rpc) = devnet().await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    let heads = socket.call("eth_subscribe", json!(["newHeads"])).await["result"].clone();
    let logs = socket.call("eth_subscribe", json!(["logs", { "address": USDC }])).await["result"].clone();
    socket.call("eth_subscribe", json!(["logs", { "address": PAYEE }])).await;
    let hash = rpc.send(USDC, signed(&authorization(1))).await;
    let head = socket.next().await;
    assert_eq!(head["method"], "eth_subscription");
    assert_eq!(head["params"]["subscription"], heads);
    assert_eq!(head["params"]["result"]["number"], "0x1");
    for index in ["0x0", "0x1"] {
        let log = socket.next().await;
        assert_eq!(log["params"]["subscription"], logs);
        assert_eq!(log["params"]["result"]["transactionHash"], hash);
        assert_eq!(log["params"]["result"]["logIndex"], index);
        assert_eq!(log["params"]["result"]["removed"], false);
    }
    assert_eq!(socket.call("eth_unsubscribe", json!([heads])).await["result"], true);
    assert_eq!(socket.call("eth_unsubscribe", json!([heads])).await["result"], false);
}

#[tokio::test]
async fn logs_of_a_block_that_was_taken_back_are_told_as_removed() {
    let (devnet, rpc) = devnet().await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    let snapshot = rpc.ok("evm_snapshot", json!([])).await;
    socket.call("eth_subscribe", json!(["logs", {}])).await;
    rpc.send(USDC, signed(&authorization(1))).await;
    rpc.ok("evm_revert", json!([snapshot])).await;
    for removed in [false, false, true, true] {
        assert_eq!(socket.next().await["params"]["result"]["removed"], removed);
    }
}

#[tokio::test]
async fn a_socket_answers_requests_and_batches() {
    let (devnet, _rpc) = devnet().await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    assert_eq!(socket.call("eth_chainId", json!([])).await["result"], "0x7a69");
    let batch = json!([{ "id": 1, "method": "eth_chainId" }, { "id": 2, "method": "eth_subscribe", "params": ["newHeads"] }]);
    socket.0.send(Message::Text(batch.to_string().into())).await.unwrap();
    assert_eq!(socket.next().await[1]["result"], "0x1");
}

#[tokio::test]
async fn an_injected_http_error_is_a_json_one_on_a_socket() {
    let (devnet, _rpc) = devnet().await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    let fault = json!([{ "kind": "error", "count": 1, "code": -7, "httpStatus": 503 }]);
    socket.call("tollway_setFault", fault).await;
    let response = socket.call("eth_chainId", json!([])).await;
    assert_eq!((&response["id"], &response["error"]["code"]), (&json!(1), &json!(-7)));
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let limits = Limits { subscriptions: 1, ..Limits::default() };
    let (devnet, _rpc) = devnet_with(Config { limits, ..Config::default() }).await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    assert!(socket.call("eth_subscribe", json!(["newHeads"])).await["result"].is_string());
    assert_eq!(socket.call("eth_subscribe", json!(["newHeads"])).await["error"]["code"], -32_005);
    assert_eq!(socket.call("eth_subscribe", json!(["weather"])).await["error"]["code"], -32_602);
}

#[tokio::test]
async fn a_socket_ends_with_the_devnet() {
    let (devnet, _rpc) = devnet().await;
    let mut socket = Socket::connect(devnet.ws_url()).await;
    drop(devnet);
    assert!(!matches!(socket.0.next().await, Some(Ok(Message::Text(_)))));
}
