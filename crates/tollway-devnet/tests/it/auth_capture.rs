//! The escrow of scheme `auth-capture` does what its interface says, in both versions.

use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256, address, hex, keccak256};
use alloy_rpc_client::RpcClient;
use alloy_sol_types::{SolCall, SolError, SolEvent, SolStruct, SolValue, eip712_domain, sol};
use serde_json::{Value, json};
use tollway_core::{ManualClock, UnixTime};
use tollway_devnet::{
    ACCOUNTS, Config, DevAccount, Handle,
    auth_capture::{AuthCaptureSet, V1_0, V1_1},
    genesis::USDC,
};

use crate::fixture::{Token, raw, sign, transfer};

sol! {
    #[derive(Debug, PartialEq, Eq)]
    struct PaymentInfo {
        address operator;
        address payer;
        address receiver;
        address token;
        uint120 maxAmount;
        uint48 preApprovalExpiry;
        uint48 authorizationExpiry;
        uint48 refundExpiry;
        uint16 minFeeBps;
        uint16 maxFeeBps;
        address feeReceiver;
        uint256 salt;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Escrow {
        event PaymentAuthorized(bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector);
        event PaymentCharged(bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector, uint256 feeAmount, address feeReceiver);
        event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint256 feeAmount, address feeReceiver);
        event PaymentVoided(bytes32 indexed paymentInfoHash, uint256 amount);
        event PaymentReclaimed(bytes32 indexed paymentInfoHash, uint256 amount);
        event PaymentRefunded(bytes32 indexed paymentInfoHash, uint256 amount, address tokenCollector);
        event TokenStoreCreated(address indexed operator, address tokenStore);

        error InvalidSender(address sender, address expected);
        error ZeroAmount();
        error AmountOverflow(uint256 amount, uint256 limit);
        error ExceedsMaxAmount(uint256 amount, uint256 maxAmount);
        error AfterPreApprovalExpiry(uint48 timestamp, uint48 expiry);
        error InvalidExpiries(uint48 preApproval, uint48 authorization, uint48 refund);
        error FeeBpsOverflow(uint16 feeBps);
        error InvalidFeeBpsRange(uint16 minFeeBps, uint16 maxFeeBps);
        error FeeAmountOutOfRange(uint256 feeAmount, uint256 minFee, uint256 maxFee);
        error FeeBpsOutOfRange(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps);
        error ZeroFeeReceiver();
        error InvalidFeeReceiver(address attempted, address expected);
        error InvalidCollectorForOperation();
        error TokenCollectionFailed();
        error PaymentAlreadyCollected(bytes32 paymentInfoHash);
        error AfterAuthorizationExpiry(uint48 timestamp, uint48 expiry);
        error InsufficientAuthorization(bytes32 paymentInfoHash, uint256 authorizedAmount, uint256 requestedAmount);
        error ZeroAuthorization(bytes32 paymentInfoHash);
        error BeforeAuthorizationExpiry(uint48 timestamp, uint48 expiry);
        error AfterRefundExpiry(uint48 timestamp, uint48 expiry);
        error RefundExceedsCapture(uint256 refund, uint256 captured);
        error OnlyAuthCaptureEscrow();

        function authorize(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData);
        function charge(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData, uint256 feeAmount, address feeReceiver);
        function capture(PaymentInfo paymentInfo, uint256 amount, uint256 feeAmount, address feeReceiver);
        function void(PaymentInfo paymentInfo);
        function reclaim(PaymentInfo paymentInfo);
        function refund(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData);
        function getHash(PaymentInfo paymentInfo) returns (bytes32);
        function getTokenStore(address operator) returns (address);
        function tokenStoreImplementation() returns (address);
        function paymentState(bytes32 paymentInfoHash) returns (bool hasCollectedPayment, uint120 capturableAmount, uint120 refundableAmount);
        function collectTokens(PaymentInfo paymentInfo, address tokenStore, uint256 amount, bytes collectorData);
        function sendTokens(address token, address recipient, uint256 amount);
    }

    interface First {
        event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint16 feeBps, address feeReceiver);
        function charge(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData, uint16 feeBps, address feeReceiver);
        function capture(PaymentInfo paymentInfo, uint256 amount, uint16 feeBps, address feeReceiver);
    }

    interface Allowance {
        function approve(address spender, uint256 value);
    }

    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

pub(crate) const NOW: u64 = 1_750_000_000;
pub(crate) const OPERATOR: DevAccount = ACCOUNTS[0];
pub(crate) const PAYER: DevAccount = ACCOUNTS[1];
pub(crate) const RECEIVER: Address = ACCOUNTS[2].address;
pub(crate) const FEES: Address = address!("0x00000000000000000000000000000000000Fee50");

/// A chain whose time stands still unless told, and one set of contracts on it.
pub(crate) struct Scene {
    _devnet: Handle,
    rpc: RpcClient,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) set: AuthCaptureSet,
}

impl Scene {
    pub(crate) async fn new(set: AuthCaptureSet) -> Self {
        let clock = Arc::new(ManualClock::new(UnixTime(NOW)));
        let config = Config { in_process: true, clock: clock.clone(), ..Config::default() };
        let devnet = tollway_devnet::spawn(config).await.unwrap();
        let rpc = RpcClient::new(devnet.transport(), true);
        let scene = Self { _devnet: devnet, rpc, clock, set };
        let allowed = Allowance::approveCall { spender: set.refund_collector, value: U256::MAX };
        scene.done(&OPERATOR, USDC, &allowed.abi_encode()).await;
        scene
    }

    async fn call(&self, from: Address, to: Address, data: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let request = json!([{ "from": from, "to": to, "data": hex::encode_prefixed(data) }, "latest"]);
        match self.rpc.request::<_, Bytes>("eth_call", request).await {
            Ok(answer) => Ok(answer.to_vec()),
            Err(error) => Err(error.as_error_resp().unwrap().as_revert_data().unwrap_or_default().to_vec()),
        }
    }

    /// Sends what is known to succeed, and returns the logs of one contract.
    pub(crate) async fn done(&self, from: &DevAccount, to: Address, data: &[u8]) -> Vec<Log> {
        let count: alloy_primitives::U64 =
            self.rpc.request("eth_getTransactionCount", (from.address, "latest")).await.unwrap();
        let input = Bytes::copy_from_slice(data);
        let to = TxKind::Call(to);
        let tx = TxEip1559 { gas_limit: 1_000_000, input, to, ..transfer(count.to(), Address::ZERO, 0) };
        let hash: B256 = self.rpc.request("eth_sendRawTransaction", (raw(from, tx),)).await.unwrap();
        let receipt: Value = self.rpc.request("eth_getTransactionReceipt", (hash,)).await.unwrap();
        assert_eq!(receipt["status"], "0x1");
        receipt["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| serde_json::from_value(log.clone()).unwrap())
            .collect()
    }

    /// The selector of the error that the escrow would answer with; `None` if it would agree.
    pub(crate) async fn refusal(&self, from: Address, data: &[u8]) -> Option<[u8; 4]> {
        let answer = self.call(from, self.set.escrow, data).await;
        answer.err().map(|error| error.get(..4).unwrap_or(&[0; 4]).try_into().unwrap())
    }

    pub(crate) async fn ask<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        C::abi_decode_returns(&self.call(Address::ZERO, to, &call.abi_encode()).await.unwrap()).unwrap()
    }

    pub(crate) async fn balance(&self, holder: Address) -> U256 {
        self.ask(USDC, Token::balanceOfCall(holder)).await
    }

    pub(crate) async fn state(&self, info: &PaymentInfo) -> (bool, u64, u64) {
        let hash = self.ask(self.set.escrow, Escrow::getHashCall { paymentInfo: info.clone() }).await;
        let state = self.ask(self.set.escrow, Escrow::paymentStateCall { paymentInfoHash: hash }).await;
        (state.hasCollectedPayment, state.capturableAmount.to(), state.refundableAmount.to())
    }

    /// What the payer signs for these terms, as a collector takes it.
    pub(crate) fn signed(&self, info: &PaymentInfo) -> Bytes {
        let message = ReceiveWithAuthorization {
            from: info.payer,
            to: self.set.erc3009_collector,
            value: U256::from(info.maxAmount),
            validAfter: U256::ZERO,
            validBefore: U256::from(info.preApprovalExpiry),
            nonce: identity(self.set.escrow, &PaymentInfo { payer: Address::ZERO, ..info.clone() }),
        };
        let domain =
            eip712_domain! { name: "USDC", version: "2", chain_id: 31_337, verifying_contract: USDC, };
        sign(&PAYER, message.eip712_signing_hash(&domain)).as_bytes().into()
    }

    pub(crate) fn authorize(&self, info: &PaymentInfo, amount: u64) -> Vec<u8> {
        Escrow::authorizeCall {
            paymentInfo: info.clone(),
            amount: U256::from(amount),
            tokenCollector: self.set.erc3009_collector,
            collectorData: self.signed(info),
        }
        .abi_encode()
    }

    pub(crate) fn charge(&self, info: &PaymentInfo, amount: u64, fee: u64, to: Address) -> Vec<u8> {
        Escrow::chargeCall {
            paymentInfo: info.clone(),
            amount: U256::from(amount),
            tokenCollector: self.set.erc3009_collector,
            collectorData: self.signed(info),
            feeAmount: U256::from(fee),
            feeReceiver: to,
        }
        .abi_encode()
    }

    pub(crate) fn refund(&self, info: &PaymentInfo, amount: u64) -> Vec<u8> {
        Escrow::refundCall {
            paymentInfo: info.clone(),
            amount: U256::from(amount),
            tokenCollector: self.set.refund_collector,
            collectorData: Bytes::new(),
        }
        .abi_encode()
    }
}

pub(crate) fn capture(info: &PaymentInfo, amount: u64, fee: u64, to: Address) -> Vec<u8> {
    let (amount, fee) = (U256::from(amount), U256::from(fee));
    Escrow::captureCall { paymentInfo: info.clone(), amount, feeAmount: fee, feeReceiver: to }.abi_encode()
}

/// The escrow's name for a payment, worked out apart from it.
fn identity(escrow: Address, info: &PaymentInfo) -> B256 {
    let terms = keccak256((info.eip712_type_hash(), info.clone()).abi_encode());
    keccak256((U256::from(31_337), escrow, terms).abi_encode())
}

/// A hold of up to a thousand units for an hour, with a fee of one to three per cent.
pub(crate) fn terms(salt: u64) -> PaymentInfo {
    let at = |seconds: u64| alloy_primitives::aliases::U48::from(NOW + seconds);
    PaymentInfo {
        operator: OPERATOR.address,
        payer: PAYER.address,
        receiver: RECEIVER,
        token: USDC,
        maxAmount: alloy_primitives::aliases::U120::from(1_000),
        preApprovalExpiry: at(60),
        authorizationExpiry: at(3_600),
        refundExpiry: at(7_200),
        minFeeBps: 100,
        maxFeeBps: 300,
        feeReceiver: FEES,
        salt: U256::from(salt),
    }
}

fn one<E: SolEvent>(logs: &[Log], from: Address) -> E {
    let found: Vec<E> = logs
        .iter()
        .filter(|log| log.address == from)
        .filter_map(|log| E::decode_log_data(&log.data).ok())
        .collect();
    assert_eq!(found.len(), 1);
    found.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_payment_is_named_by_its_terms_the_chain_and_the_escrow() {
    for set in [V1_1, V1_0] {
        let scene = Scene::new(set).await;
        let info = terms(1);
        let named = scene.ask(set.escrow, Escrow::getHashCall { paymentInfo: info.clone() }).await;
        assert_eq!(named, identity(set.escrow, &info));
        // PaymentInfo's type, as it is written in the contracts on chain.
        let type_hash = "0xae68ac7ce30c86ece8196b61a7c486d8f0061f575037fbd34e7fe4e2820c6591";
        assert_eq!(info.eip712_type_hash().to_string(), type_hash);
    }
}

#[tokio::test]
async fn a_store_is_the_minimal_proxy_that_its_address_says_before_it_exists() {
    for set in [V1_1, V1_0] {
        let scene = Scene::new(set).await;
        let implementation = scene.ask(set.escrow, Escrow::tokenStoreImplementationCall {}).await;
        assert_eq!(implementation, set.escrow.create(1), "what the constructor makes first");
        assert_eq!(implementation, set.store);
        let store = scene.ask(set.escrow, Escrow::getTokenStoreCall { operator: OPERATOR.address }).await;
        let info = terms(1);
        let logs = scene.done(&OPERATOR, set.escrow, &scene.authorize(&info, 1_000)).await;
        assert_eq!(scene.balance(store).await, U256::from(1_000));
        assert!(!logs.iter().any(|log| log.topics()[0] == Escrow::TokenStoreCreated::SIGNATURE_HASH));
        let void = Escrow::voidCall { paymentInfo: info }.abi_encode();
        let logs = scene.done(&OPERATOR, set.escrow, &void).await;
        let created: Escrow::TokenStoreCreated = one(&logs, set.escrow);
        assert_eq!((created.operator, created.tokenStore), (OPERATOR.address, store));
        assert_eq!(scene.balance(store).await, U256::ZERO);
    }
}

#[tokio::test]
async fn a_hold_is_captured_in_parts_with_fees_and_the_rest_goes_back() {
    let scene = Scene::new(V1_1).await;
    let (info, escrow) = (terms(1), V1_1.escrow);
    let hash = identity(escrow, &info);
    let before = scene.balance(PAYER.address).await;
    let received = scene.balance(RECEIVER).await;
    let logs = scene.done(&OPERATOR, escrow, &scene.authorize(&info, 1_000)).await;
    let held: Escrow::PaymentAuthorized = one(&logs, escrow);
    assert_eq!(
        (held.paymentInfoHash, held.paymentInfo, held.amount.to::<u64>()),
        (hash, info.clone(), 1_000)
    );
    assert_eq!(scene.state(&info).await, (true, 1_000, 0));
    let logs = scene.done(&OPERATOR, escrow, &capture(&info, 300, 9, FEES)).await;
    let captured: Escrow::PaymentCaptured = one(&logs, escrow);
    assert_eq!((captured.amount.to::<u64>(), captured.feeAmount.to::<u64>()), (300, 9));
    scene.done(&OPERATOR, escrow, &capture(&info, 200, 2, FEES)).await;
    assert_eq!(scene.state(&info).await, (true, 500, 500));
    let logs = scene.done(&OPERATOR, escrow, &scene.refund(&info, 50)).await;
    let refunded: Escrow::PaymentRefunded = one(&logs, escrow);
    assert_eq!((refunded.paymentInfoHash, refunded.amount.to::<u64>()), (hash, 50));
    let logs =
        scene.done(&OPERATOR, escrow, &Escrow::voidCall { paymentInfo: info.clone() }.abi_encode()).await;
    let voided: Escrow::PaymentVoided = one(&logs, escrow);
    assert_eq!(voided.amount.to::<u64>(), 500);
    assert_eq!(scene.state(&info).await, (true, 0, 450));
    assert_eq!(before - scene.balance(PAYER.address).await, U256::from(450));
    assert_eq!(scene.balance(RECEIVER).await - received, U256::from(489));
    assert_eq!(scene.balance(FEES).await, U256::from(11));
}

#[tokio::test]
async fn a_charge_pays_at_once_and_gives_back_what_it_does_not_take() {
    let scene = Scene::new(V1_1).await;
    let info = terms(1);
    let before = scene.balance(PAYER.address).await;
    let logs = scene.done(&OPERATOR, V1_1.escrow, &scene.charge(&info, 400, 4, FEES)).await;
    let charged: Escrow::PaymentCharged = one(&logs, V1_1.escrow);
    assert_eq!(
        (charged.amount.to::<u64>(), charged.feeAmount.to::<u64>(), charged.feeReceiver),
        (400, 4, FEES)
    );
    assert_eq!(before - scene.balance(PAYER.address).await, U256::from(400));
    assert_eq!(scene.balance(FEES).await, U256::from(4));
    assert_eq!(scene.state(&info).await, (true, 0, 400));
    let again = scene.refusal(OPERATOR.address, &scene.charge(&info, 400, 4, FEES)).await;
    assert_eq!(again, Some(Escrow::PaymentAlreadyCollected::SELECTOR));
}

#[tokio::test]
async fn the_first_version_takes_fees_in_basis_points() {
    let scene = Scene::new(V1_0).await;
    let info = terms(1);
    scene.done(&OPERATOR, V1_0.escrow, &scene.authorize(&info, 1_000)).await;
    let take = |bps: u16| {
        let (info, amount) = (info.clone(), U256::from(500));
        First::captureCall { paymentInfo: info, amount, feeBps: bps, feeReceiver: FEES }.abi_encode()
    };
    for out in [99, 301] {
        let refused = scene.refusal(OPERATOR.address, &take(out)).await;
        assert_eq!(refused, Some(Escrow::FeeBpsOutOfRange::SELECTOR));
    }
    let logs = scene.done(&OPERATOR, V1_0.escrow, &take(250)).await;
    let captured: First::PaymentCaptured = one(&logs, V1_0.escrow);
    assert_eq!((captured.amount.to::<u64>(), captured.feeBps), (500, 250));
    assert_eq!(scene.balance(FEES).await, U256::from(12));
    let charge = First::chargeCall {
        paymentInfo: terms(2),
        amount: U256::from(200),
        tokenCollector: V1_0.erc3009_collector,
        collectorData: scene.signed(&terms(2)),
        feeBps: 100,
        feeReceiver: FEES,
    };
    scene.done(&OPERATOR, V1_0.escrow, &charge.abi_encode()).await;
    assert_eq!(scene.balance(FEES).await, U256::from(14));
    // Neither version's calls mean anything to the other.
    assert_eq!(scene.refusal(OPERATOR.address, &capture(&info, 1, 0, FEES)).await, Some([0; 4]));
}

#[tokio::test]
async fn terms_that_are_not_in_order_are_refused_by_name() {
    let scene = Scene::new(V1_1).await;
    let at = alloy_primitives::aliases::U48::from;
    let with = |change: fn(&mut PaymentInfo)| {
        let mut info = terms(1);
        change(&mut info);
        scene.authorize(&info, 1_000)
    };
    let ours = &scene;
    let refusal = |data: Vec<u8>| async move { ours.refusal(OPERATOR.address, &data).await };
    assert_eq!(refusal(with(|_| {})).await, None);
    let other = scene.refusal(PAYER.address, &with(|_| {})).await;
    assert_eq!(other, Some(Escrow::InvalidSender::SELECTOR));
    assert_eq!(refusal(scene.authorize(&terms(1), 0)).await, Some(Escrow::ZeroAmount::SELECTOR));
    assert_eq!(refusal(scene.authorize(&terms(1), 1_001)).await, Some(Escrow::ExceedsMaxAmount::SELECTOR));
    let huge = Escrow::authorizeCall {
        paymentInfo: terms(1),
        amount: U256::from(1) << 120,
        tokenCollector: V1_1.erc3009_collector,
        collectorData: Bytes::new(),
    };
    assert_eq!(refusal(huge.abi_encode()).await, Some(Escrow::AmountOverflow::SELECTOR));
    let expired = |info: &mut PaymentInfo| info.preApprovalExpiry = alloy_primitives::aliases::U48::from(NOW);
    assert_eq!(refusal(with(expired)).await, Some(Escrow::AfterPreApprovalExpiry::SELECTOR));
    let early =
        |info: &mut PaymentInfo| info.authorizationExpiry = alloy_primitives::aliases::U48::from(NOW + 59);
    assert_eq!(refusal(with(early)).await, Some(Escrow::InvalidExpiries::SELECTOR));
    let refund =
        |info: &mut PaymentInfo| info.refundExpiry = alloy_primitives::aliases::U48::from(NOW + 3_599);
    assert_eq!(refusal(with(refund)).await, Some(Escrow::InvalidExpiries::SELECTOR));
    assert_eq!(refusal(with(|info| info.maxFeeBps = 10_001)).await, Some(Escrow::FeeBpsOverflow::SELECTOR));
    assert_eq!(refusal(with(|info| info.minFeeBps = 301)).await, Some(Escrow::InvalidFeeBpsRange::SELECTOR));
    let equal = PaymentInfo { authorizationExpiry: at(NOW + 60), refundExpiry: at(NOW + 60), ..terms(1) };
    assert_eq!(refusal(scene.authorize(&equal, 1)).await, None, "equal expiries are in order");
}

#[tokio::test]
async fn fees_stay_within_what_the_payer_signed_and_go_where_it_signed() {
    let scene = Scene::new(V1_1).await;
    let info = terms(1);
    scene.done(&OPERATOR, V1_1.escrow, &scene.authorize(&info, 1_000)).await;
    for (fee, to, error) in [
        (9, FEES, Escrow::FeeAmountOutOfRange::SELECTOR),
        (31, FEES, Escrow::FeeAmountOutOfRange::SELECTOR),
        (10, Address::ZERO, Escrow::ZeroFeeReceiver::SELECTOR),
        (10, RECEIVER, Escrow::InvalidFeeReceiver::SELECTOR),
    ] {
        let taken = scene.refusal(OPERATOR.address, &capture(&info, 1_000, fee, to)).await;
        assert_eq!(taken, Some(error), "{fee} to {to}");
        let charged = scene.refusal(OPERATOR.address, &scene.charge(&terms(2), 1_000, fee, to)).await;
        assert_eq!(charged, Some(error), "{fee} to {to}");
    }
    let anybodys = PaymentInfo { feeReceiver: Address::ZERO, ..terms(3) };
    assert_eq!(scene.refusal(OPERATOR.address, &scene.charge(&anybodys, 1_000, 10, RECEIVER)).await, None);
    let free = PaymentInfo { feeReceiver: Address::ZERO, minFeeBps: 0, ..terms(4) };
    assert_eq!(scene.refusal(OPERATOR.address, &scene.charge(&free, 1_000, 0, Address::ZERO)).await, None);
}

#[tokio::test]
async fn each_deadline_ends_one_right_and_begins_another() {
    let scene = Scene::new(V1_1).await;
    let info = terms(1);
    let reclaim = Escrow::reclaimCall { paymentInfo: info.clone() }.abi_encode();
    scene.done(&OPERATOR, V1_1.escrow, &scene.authorize(&info, 1_000)).await;
    scene.done(&OPERATOR, V1_1.escrow, &capture(&info, 100, 1, FEES)).await;
    let early = scene.refusal(PAYER.address, &reclaim).await;
    assert_eq!(early, Some(Escrow::BeforeAuthorizationExpiry::SELECTOR));
    let other = scene.refusal(OPERATOR.address, &reclaim).await;
    assert_eq!(other, Some(Escrow::InvalidSender::SELECTOR));
    scene.clock.set(UnixTime(NOW + 3_600));
    let late = scene.refusal(OPERATOR.address, &capture(&info, 100, 1, FEES)).await;
    assert_eq!(late, Some(Escrow::AfterAuthorizationExpiry::SELECTOR));
    let before = scene.balance(PAYER.address).await;
    let logs = scene.done(&PAYER, V1_1.escrow, &reclaim).await;
    let reclaimed: Escrow::PaymentReclaimed = one(&logs, V1_1.escrow);
    assert_eq!(reclaimed.amount.to::<u64>(), 900);
    assert_eq!(scene.balance(PAYER.address).await - before, U256::from(900));
    for data in [reclaim, Escrow::voidCall { paymentInfo: info.clone() }.abi_encode()] {
        let from = if data[..4] == Escrow::reclaimCall::SELECTOR { PAYER } else { OPERATOR };
        let empty = scene.refusal(from.address, &data).await;
        assert_eq!(empty, Some(Escrow::ZeroAuthorization::SELECTOR));
    }
    let more = scene.refusal(OPERATOR.address, &scene.refund(&info, 101)).await;
    assert_eq!(more, Some(Escrow::RefundExceedsCapture::SELECTOR));
    scene.done(&OPERATOR, V1_1.escrow, &scene.refund(&info, 60)).await;
    scene.clock.set(UnixTime(NOW + 7_200));
    let late = scene.refusal(OPERATOR.address, &scene.refund(&info, 40)).await;
    assert_eq!(late, Some(Escrow::AfterRefundExpiry::SELECTOR));
}

#[tokio::test]
async fn only_what_the_payer_signed_is_collected_and_only_by_its_escrow() {
    let scene = Scene::new(V1_1).await;
    let (info, escrow) = (terms(1), V1_1.escrow);
    let with = |info: PaymentInfo, collector: Address| {
        Escrow::authorizeCall {
            paymentInfo: info,
            amount: U256::from(1_000),
            tokenCollector: collector,
            collectorData: scene.signed(&terms(1)),
        }
        .abi_encode()
    };
    let ours = &scene;
    let refusal = |data: Vec<u8>| async move { ours.refusal(OPERATOR.address, &data).await };
    assert_eq!(refusal(with(info.clone(), V1_1.erc3009_collector)).await, None);
    let changes: [fn(&mut PaymentInfo); 6] = [
        |info| info.receiver = OPERATOR.address,
        |info| info.maxAmount += alloy_primitives::aliases::U120::from(1),
        |info| info.refundExpiry += alloy_primitives::aliases::U48::from(1),
        |info| info.maxFeeBps += 1,
        |info| info.feeReceiver = OPERATOR.address,
        |info| info.salt += U256::from(1),
    ];
    for change in changes {
        let mut other = terms(1);
        change(&mut other);
        let refused = refusal(with(other, V1_1.erc3009_collector)).await;
        assert!(refused.is_some(), "the payer signed other terms");
    }
    let wrong = refusal(with(info.clone(), V1_1.refund_collector)).await;
    assert_eq!(wrong, Some(Escrow::InvalidCollectorForOperation::SELECTOR));
    // Two sets hash alike terms apart, and no collector serves the other's escrow.
    assert!(refusal(with(info.clone(), V1_0.erc3009_collector)).await.is_some());
    let direct = Escrow::collectTokensCall {
        paymentInfo: info.clone(),
        tokenStore: OPERATOR.address,
        amount: U256::from(1_000),
        collectorData: scene.signed(&info),
    };
    let refused =
        scene.call(OPERATOR.address, V1_1.erc3009_collector, &direct.abi_encode()).await.unwrap_err();
    assert_eq!(refused[..4], Escrow::OnlyAuthCaptureEscrow::SELECTOR);
    scene.done(&OPERATOR, escrow, &with(info.clone(), V1_1.erc3009_collector)).await;
    scene.done(&OPERATOR, escrow, &capture(&info, 10, 0, FEES)).await;
    let store = scene.ask(escrow, Escrow::getTokenStoreCall { operator: OPERATOR.address }).await;
    let take = Escrow::sendTokensCall { token: USDC, recipient: OPERATOR.address, amount: U256::from(1) };
    let refused = scene.call(OPERATOR.address, store, &take.abi_encode()).await.unwrap_err();
    assert_eq!(refused[..4], Escrow::OnlyAuthCaptureEscrow::SELECTOR);
}
