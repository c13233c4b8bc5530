//! A node to talk to in raw JSON, accounts that sign, and the token's interface.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip7702, TxEnvelope, crypto::secp256k1::sign_message,
};
use alloy_eips::{Encodable2718, eip7702::Authorization};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use alloy_sol_types::{Eip712Domain, SolCall, SolStruct, eip712_domain, sol};
use serde_json::{Value, json};
use tollway_devnet::{
    ACCOUNTS, Config, DevAccount, Handle,
    deploy::Creation,
    genesis::{self, USDC},
};

sol! {
    interface Token {
        function name() returns (string);
        function balanceOf(address) returns (uint256);
        function nonces(address) returns (uint256);
        function allowance(address owner, address spender) returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) returns (bool);
        function DOMAIN_SEPARATOR() returns (bytes32);
        function transfer(address to, uint256 value) returns (bool);
        function approve(address spender, uint256 value) returns (bool);
        function mint(address to, uint256 amount) returns (bool);
        function blacklist(address account);
        function pause();
        function permit(address owner, address spender, uint256 value, uint256 deadline, bytes signature);
        function cancelAuthorization(address authorizer, bytes32 nonce, bytes signature);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature);
        function receiveWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature);
    }

    interface Split {
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
    }

    #[derive(Debug)]
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    struct CancelAuthorization {
        address authorizer;
        bytes32 nonce;
    }

    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// Who pays, who is paid, and who sends the transactions.
pub(crate) const SENDER: DevAccount = ACCOUNTS[0];
pub(crate) const PAYER: DevAccount = ACCOUNTS[1];
pub(crate) const PAYEE: Address = ACCOUNTS[2].address;

pub(crate) async fn devnet() -> (Handle, Rpc) {
    devnet_with(Config::default()).await
}

pub(crate) async fn devnet_with(config: Config) -> (Handle, Rpc) {
    let handle = tollway_devnet::spawn(config).await.unwrap();
    let rpc = Rpc::new(handle.rpc_url());
    (handle, rpc)
}

/// A node behind a URL, spoken to in plain JSON.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

impl Rpc {
    pub(crate) fn new(url: String) -> Self {
        Self { url, http: reqwest::Client::new() }
    }

    pub(crate) async fn post(&self, body: String) -> reqwest::Response {
        self.http.post(&self.url).header("content-type", "application/json").body(body).send().await.unwrap()
    }

    /// The result, or the error object.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let response: Value = serde_json::from_str(&self.post(body).await.text().await.unwrap()).unwrap();
        assert_eq!(response["id"], id);
        match response.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(response["result"].clone()),
        }
    }

    pub(crate) async fn ok(&self, method: &str, params: Value) -> Value {
        self.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn err(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.call(method, params).await.unwrap_err();
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn number(&self, method: &str, params: Value) -> u64 {
        quantity(&self.ok(method, params).await)
    }

    pub(crate) async fn nonce(&self, address: Address) -> u64 {
        self.number("eth_getTransactionCount", json!([address, "latest"])).await
    }

    /// Sends a call to the token from the sender and returns the transaction's hash.
    pub(crate) async fn send(&self, to: Address, data: impl SolCall) -> Value {
        let nonce = self.nonce(SENDER.address).await;
        let tx = TxEip1559 { gas_limit: 300_000, input: data.abi_encode().into(), ..transfer(nonce, to, 0) };
        self.ok("eth_sendRawTransaction", json!([raw(&SENDER, tx)])).await
    }

    /// Sends a call from any account and returns the receipt.
    pub(crate) async fn send_from(&self, from: &DevAccount, to: Address, data: impl SolCall) -> Value {
        self.send_data(from, to, data.abi_encode().into()).await
    }

    /// The same, already encoded.
    pub(crate) async fn send_data(&self, from: &DevAccount, to: Address, input: Bytes) -> Value {
        let nonce = self.nonce(from.address).await;
        let tx = TxEip1559 { gas_limit: 2_000_000, input, ..transfer(nonce, to, 0) };
        let hash = self.ok("eth_sendRawTransaction", json!([raw(from, tx)])).await;
        self.receipt(&hash).await
    }

    /// Creates a contract and returns where it is.
    pub(crate) async fn deploy(&self, creation: &Creation, arguments: Vec<u8>) -> Address {
        let nonce = self.nonce(SENDER.address).await;
        let input = creation.with(&arguments);
        let tx = TxEip1559 { gas_limit: 3_000_000, to: TxKind::Create, input, ..transfer(nonce, PAYEE, 0) };
        let hash = self.ok("eth_sendRawTransaction", json!([raw(&SENDER, tx)])).await;
        let receipt = self.receipt(&hash).await;
        assert_eq!(receipt["status"], "0x1", "{}", creation.name);
        serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
    }

    /// Lets an account with a key have the code at `code`, by a set-code transaction of the sender's.
    pub(crate) async fn set_code_of(&self, account: &DevAccount, code: Address) -> Value {
        let authorization = Authorization {
            chain_id: U256::from(31_337),
            address: code,
            nonce: self.nonce(account.address).await,
        };
        let signature = sign(account, authorization.signature_hash());
        let tx = TxEip7702 {
            chain_id: 31_337,
            nonce: self.nonce(SENDER.address).await,
            gas_limit: 100_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: PAYEE,
            authorization_list: vec![authorization.into_signed(signature)],
            ..TxEip7702::default()
        };
        let signature = sign(&SENDER, tx.signature_hash());
        let raw: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
        let hash = self.ok("eth_sendRawTransaction", json!([raw])).await;
        self.receipt(&hash).await
    }

    /// The receipt of a transaction that was just sent. An anvil makes its block only after it has answered.
    pub(crate) async fn receipt(&self, hash: &Value) -> Value {
        for _ in 0..500 {
            let receipt = self.ok("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{hash} is in no block");
    }

    /// What a call to any contract answers.
    pub(crate) async fn ask<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let data = Bytes::from(call.abi_encode());
        let output = self.ok("eth_call", json!([{ "to": to, "data": data }, "latest"])).await;
        C::abi_decode_returns(&hex::decode(output.as_str().unwrap()).unwrap()).unwrap()
    }

    /// The data with which a call from an account reverts.
    pub(crate) async fn revert(&self, from: Address, to: Address, call: impl SolCall) -> Bytes {
        let data = Bytes::from(call.abi_encode());
        let params = json!([{ "from": from, "to": to, "data": data }, "latest"]);
        let error = self.call("eth_call", params).await.unwrap_err();
        assert_eq!(error["code"], 3, "{error}");
        serde_json::from_value(error["data"].clone()).unwrap()
    }

    /// Brings the node to the devnet's genesis by the calls that are meant for that.
    pub(crate) async fn rebuild_genesis(&self) {
        for (method, params) in genesis::anvil_calls(&Config::default()) {
            self.ok(method, params).await;
        }
    }

    /// Whether the token took a call from the sender.
    pub(crate) async fn succeeds(&self, data: impl SolCall) -> bool {
        let hash = self.send(USDC, data).await;
        self.ok("eth_getTransactionReceipt", json!([hash])).await["status"] == "0x1"
    }

    /// What a call to the token answers.
    pub(crate) async fn read<C: SolCall>(&self, call: C, block: &str) -> C::Return {
        let data = Bytes::from(call.abi_encode());
        let output = self.ok("eth_call", json!([{ "to": USDC, "data": data }, block])).await;
        C::abi_decode_returns(&hex::decode(output.as_str().unwrap()).unwrap()).unwrap()
    }

    pub(crate) async fn balance_of(&self, holder: Address) -> U256 {
        self.read(Token::balanceOfCall(holder), "latest").await
    }

    /// Why a call to the token would revert.
    pub(crate) async fn revert_reason(&self, data: impl SolCall) -> String {
        let data = Bytes::from(data.abi_encode());
        let (code, message) = self
            .err("eth_call", json!([{ "from": SENDER.address, "to": USDC, "data": data }, "latest"]))
            .await;
        assert_eq!(code, 3);
        message.strip_prefix("execution reverted: ").unwrap().to_owned()
    }
}

pub(crate) fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}

/// A plain transfer that pays enough for any block of these tests.
pub(crate) fn transfer(nonce: u64, to: Address, wei: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(wei),
        ..TxEip1559::default()
    }
}

pub(crate) fn raw(account: &DevAccount, tx: TxEip1559) -> Bytes {
    let signature = sign(account, tx.signature_hash());
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

pub(crate) fn sign(account: &DevAccount, hash: B256) -> Signature {
    sign_message(account.secret_key, hash).unwrap()
}

pub(crate) fn domain() -> Eip712Domain {
    eip712_domain! { name: "USDC", version: "2", chain_id: 31_337, verifying_contract: USDC, }
}

/// A payment of 1 USDC that is valid now.
pub(crate) fn authorization(nonce: u8) -> TransferWithAuthorization {
    TransferWithAuthorization {
        from: PAYER.address,
        to: PAYEE,
        value: U256::from(1_000_000),
        validAfter: U256::ZERO,
        validBefore: U256::MAX,
        nonce: B256::repeat_byte(nonce),
    }
}

/// The authorization as the payer signs it.
pub(crate) fn signed(authorization: &TransferWithAuthorization) -> Token::transferWithAuthorizationCall {
    let TransferWithAuthorization { from, to, value, validAfter, validBefore, nonce } = authorization.clone();
    let signature = sign(&PAYER, authorization.eip712_signing_hash(&domain())).as_bytes().into();
    Token::transferWithAuthorizationCall { from, to, value, validAfter, validBefore, nonce, signature }
}
