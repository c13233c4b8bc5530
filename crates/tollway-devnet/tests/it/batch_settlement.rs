//! Channels of scheme `batch-settlement`: their interface, what is signed for them, and how money comes in. What happens
//! to it then is in `batch_settlement_rules`.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{Address, B256, Bytes, Log, U256, aliases::U40, b256, keccak256};
use alloy_sol_types::{
    Eip712Domain, Revert, SolCall, SolError, SolEvent, SolStruct, SolValue, eip712_domain, sol,
};
use serde_json::{Value, json};
use tollway_devnet::{
    ACCOUNTS, Config, DevAccount,
    batch_settlement::{BATCH_SETTLEMENT, ERC3009_COLLECTOR, PERMIT2_COLLECTOR},
    deploy,
    genesis::{EURC, PERMIT_USD, PERMIT2, USDC},
};

use crate::{
    anvil::nodes,
    fixture::{PAYER, Permit, Rpc, SENDER, Token, devnet_with, sign},
    permit2,
};

sol! {
    #[derive(Debug, PartialEq, Eq)]
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct VoucherOf {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct VoucherClaim {
        VoucherOf voucher;
        bytes signature;
        uint128 totalClaimed;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Channels {
        event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
        event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
        event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
        event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
        event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
        event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
        event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
        event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

        error InvalidChannel();
        error ZeroDeposit();
        error DepositOverflow();
        error InvalidSignature();
        error NotReceiverAuthorizer();
        error NotAuthorizedToClaim();
        error NotAuthorizedToRefund();
        error ClaimExceedsCeiling();
        error ClaimExceedsBalance();
        error WithdrawalAlreadyPending();
        error WithdrawalNotPending();
        error NotAuthorizedToFinalizeWithdraw();
        error WithdrawDelayNotElapsed();
        error NothingToWithdraw();
        error WithdrawAmountExceedsAvailable();
        error WithdrawDelayOutOfRange();
        error EmptyBatch();
        error DepositCollectionFailed();
        error InvalidCollector();
        error InvalidRefundNonce();
        error ZeroRefund();
        error FailedCall();
        error ReentrancyGuardReentrantCall();
        error ECDSAInvalidSignature();
        error ECDSAInvalidSignatureLength(uint256 length);
        error ECDSAInvalidSignatureS(bytes32 s);
        error SafeERC20FailedOperation(address token);

        function deposit(ChannelConfig config, uint128 amount, address collector, bytes collectorData);
        function claim(VoucherClaim[] voucherClaims);
        function claimWithSignature(VoucherClaim[] voucherClaims, bytes authorizerSignature);
        function settle(address receiver, address token);
        function initiateWithdraw(ChannelConfig config, uint128 amount);
        function finalizeWithdraw(ChannelConfig config);
        function refund(ChannelConfig config, uint128 amount);
        function refundWithSignature(ChannelConfig config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature);
        function multicall(bytes[] data) returns (bytes[] results);
        function channels(bytes32 channelId) returns (uint128 balance, uint128 totalClaimed);
        function pendingWithdrawals(bytes32 channelId) returns (uint128 amount, uint40 initiatedAt);
        function receivers(address receiver, address token) returns (uint128 totalClaimed, uint128 totalSettled);
        function refundNonce(bytes32 channelId) returns (uint256);
        function getChannelId(ChannelConfig config) returns (bytes32);
        function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) returns (bytes32);
        function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) returns (bytes32);
        function getClaimBatchDigest(VoucherClaim[] voucherClaims) returns (bytes32);
        function CHANNEL_CONFIG_TYPEHASH() returns (bytes32);
        function VOUCHER_TYPEHASH() returns (bytes32);
        function REFUND_TYPEHASH() returns (bytes32);
        function CLAIM_ENTRY_TYPEHASH() returns (bytes32);
        function CLAIM_BATCH_TYPEHASH() returns (bytes32);
        function MIN_WITHDRAW_DELAY() returns (uint40);
        function MAX_WITHDRAW_DELAY() returns (uint40);
        function eip712Domain() returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions);
    }

    #[derive(Debug)]
    interface Collector {
        error OnlyX402BatchSettlement();
        error Permit2612AmountMismatch();
        event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);
        function x402BatchSettlement() returns (address);
        function PERMIT2() returns (address);
        function DEPOSIT_WITNESS_TYPEHASH() returns (bytes32);
        function DEPOSIT_WITNESS_TYPE_STRING() returns (string);
        function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes collectorData);
    }
}

/// What payers and receivers sign.
pub(crate) mod signed {
    alloy_sol_types::sol! {
        struct Voucher {
            bytes32 channelId;
            uint128 maxClaimableAmount;
        }

        struct Refund {
            bytes32 channelId;
            uint256 nonce;
            uint128 amount;
        }

        struct ClaimEntry {
            bytes32 channelId;
            uint128 maxClaimableAmount;
            uint128 totalClaimed;
        }

        struct ClaimBatch {
            ClaimEntry[] claims;
        }

        struct ReceiveWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }

        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        struct DepositWitness {
            bytes32 channelId;
        }

        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            DepositWitness witness;
        }
    }
}

pub(crate) const RECEIVER: DevAccount = ACCOUNTS[2];
/// Signs for the receiver's side.
pub(crate) const AUTHORIZER: DevAccount = ACCOUNTS[3];
/// Signs the payer's vouchers.
pub(crate) const VOUCHER_KEY: DevAccount = ACCOUNTS[4];
pub(crate) const STRANGER: DevAccount = ACCOUNTS[5];
pub(crate) const DELAY_SECONDS: u64 = 900;

/// A channel in USDC with a key for vouchers.
pub(crate) fn channel(salt: u8) -> ChannelConfig {
    ChannelConfig {
        payer: PAYER.address,
        payerAuthorizer: VOUCHER_KEY.address,
        receiver: RECEIVER.address,
        receiverAuthorizer: AUTHORIZER.address,
        token: USDC,
        withdrawDelay: U40::from(DELAY_SECONDS),
        salt: B256::with_last_byte(salt),
    }
}

pub(crate) fn domain() -> Eip712Domain {
    eip712_domain! { name: "x402 Batch Settlement", version: "1", chain_id: 31_337, verifying_contract: BATCH_SETTLEMENT, }
}

/// The channel's name, worked out apart from the contract.
pub(crate) fn id(config: &ChannelConfig) -> B256 {
    config.eip712_signing_hash(&domain())
}

/// The nonce of a deposit by EIP-3009, worked out apart from the contract.
fn nonce(config: &ChannelConfig, salt: U256) -> B256 {
    keccak256((id(config), salt).abi_encode())
}

/// A deposit in USDC by EIP-3009, as the payer's key signs it.
pub(crate) fn deposit(config: &ChannelConfig, amount: u128) -> Channels::depositCall {
    static SALTS: AtomicU64 = AtomicU64::new(1);
    let salt = U256::from(SALTS.fetch_add(1, Ordering::Relaxed));
    let data = erc3009_data(config, amount, salt, nonce(config, salt));
    by(config, amount, ERC3009_COLLECTOR, data)
}

pub(crate) fn by(
    config: &ChannelConfig,
    amount: u128,
    collector: Address,
    collector_data: Bytes,
) -> Channels::depositCall {
    Channels::depositCall { config: config.clone(), amount, collector, collectorData: collector_data }
}

fn erc3009_data(config: &ChannelConfig, amount: u128, salt: U256, nonce: B256) -> Bytes {
    let message = signed::ReceiveWithAuthorization {
        from: config.payer,
        to: ERC3009_COLLECTOR,
        value: U256::from(amount),
        validAfter: U256::ZERO,
        validBefore: U256::MAX,
        nonce,
    };
    let hash = message.eip712_signing_hash(&crate::fixture::domain());
    let signature = Bytes::from(sign(&PAYER, hash).as_bytes());
    (U256::ZERO, U256::MAX, salt, signature).abi_encode_params().into()
}

fn witness_hash(channel_id: B256, token: Address, amount: u128, nonce: u64, deadline: U256) -> B256 {
    let message = signed::PermitWitnessTransferFrom {
        permitted: signed::TokenPermissions { token, amount: U256::from(amount) },
        spender: PERMIT2_COLLECTOR,
        nonce: U256::from(nonce),
        deadline,
        witness: signed::DepositWitness { channelId: channel_id },
    };
    message.eip712_signing_hash(&permit2::domain())
}

/// A deposit by Permit2, as the payer's key signs it.
pub(crate) fn permit2_deposit(
    config: &ChannelConfig,
    amount: u128,
    nonce: u64,
    permit: Bytes,
) -> Channels::depositCall {
    let hash = witness_hash(id(config), config.token, amount, nonce, U256::MAX);
    let signature = Bytes::from(sign(&PAYER, hash).as_bytes());
    let data = (U256::from(nonce), U256::MAX, signature, permit).abi_encode_params();
    by(config, amount, PERMIT2_COLLECTOR, data.into())
}

/// What a call to the channels does that is known to succeed: the channels' logs.
pub(crate) async fn done(rpc: &Rpc, from: &DevAccount, call: impl SolCall) -> Vec<Log> {
    let receipt = rpc.send_from(from, BATCH_SETTLEMENT, call).await;
    assert_eq!(receipt["status"], "0x1");
    let logs: Vec<Log> = logs(&receipt);
    logs.into_iter().filter(|log| log.address == BATCH_SETTLEMENT).collect()
}

fn logs(receipt: &Value) -> Vec<Log> {
    let logs = receipt["logs"].as_array().unwrap().iter();
    logs.map(|log| serde_json::from_value(log.clone()).unwrap()).collect()
}

/// The selector of the error with which the channels refuse.
pub(crate) async fn refusal(rpc: &Rpc, from: Address, call: impl SolCall) -> [u8; 4] {
    let data = rpc.revert(from, BATCH_SETTLEMENT, call).await;
    data.get(..4).unwrap_or(&[0; 4]).try_into().unwrap()
}

pub(crate) fn events<E: SolEvent>(logs: &[Log]) -> Vec<E> {
    logs.iter().filter_map(|log| E::decode_log(log).ok()).map(|log| log.data).collect()
}

/// Balance and total claimed.
pub(crate) async fn state(rpc: &Rpc, config: &ChannelConfig) -> (u128, u128) {
    let state = rpc.ask(BATCH_SETTLEMENT, Channels::channelsCall { channelId: id(config) }).await;
    (state.balance, state.totalClaimed)
}

/// Total claimed and total settled.
pub(crate) async fn credit(rpc: &Rpc, receiver: Address, token: Address) -> (u128, u128) {
    let credit = rpc.ask(BATCH_SETTLEMENT, Channels::receiversCall { receiver, token }).await;
    (credit.totalClaimed, credit.totalSettled)
}

/// What the contract of channels holds of a token is what its books say.
pub(crate) async fn assert_conserved(
    rpc: &Rpc,
    token: Address,
    channels: &[ChannelConfig],
    receivers: &[Address],
) {
    let mut owed = U256::ZERO;
    for config in channels.iter().filter(|config| config.token == token) {
        let (balance, claimed) = state(rpc, config).await;
        owed += U256::from(balance.checked_sub(claimed).unwrap());
    }
    for receiver in receivers {
        let (claimed, settled) = credit(rpc, *receiver, token).await;
        owed += U256::from(claimed.checked_sub(settled).unwrap());
    }
    assert_eq!(permit2::balance(rpc, token, BATCH_SETTLEMENT).await, owed);
}

/// Two channels whose hashes are known.
fn known() -> [ChannelConfig; 2] {
    let first = ChannelConfig {
        payerAuthorizer: PAYER.address,
        receiverAuthorizer: SENDER.address,
        salt: B256::ZERO,
        ..channel(0)
    };
    let second = ChannelConfig {
        payerAuthorizer: Address::ZERO,
        token: EURC,
        withdrawDelay: U40::from(2_592_000),
        salt: B256::repeat_byte(0xa7),
        ..first.clone()
    };
    [first, second]
}

// What the published TypeScript client, server and facilitator (@x402/evm) make of the channels of `known` on chain 31337.
const IDS: [B256; 2] = [
    b256!("0x1cf3b954940f3901d2a9c52101a2eb5725a57f02eaf992d2b3c81cb176256d84"),
    b256!("0x24cea17d1dbab67c7be1aa567ea6d093942fae6b64fa8f8a548b47956af99207"),
];
const VOUCHERS: [(usize, u128, B256); 6] = [
    (0, 1, b256!("0x6011fefc9f2cf40db2b48ea8cab89876d5a28d58d72a7d9ede9bc53ab68c4b42")),
    (0, 1_000, b256!("0x0053f5082d1852ecc25fae8ebcf34fcc111c644d54256b7165a18703fc5d9dce")),
    (0, u128::MAX, b256!("0x69f4887385d844b2f74fde344eddcc4345278f2ec51634157b61209757487958")),
    (1, 1, b256!("0x399945a6abbdec97b92d91beb7787a5514edbb9bc13f7322692ea1d644218dec")),
    (1, 1_000, b256!("0x814ebdfc93128740b1256cefa98f43e4ad6f08d51d739f4522c0e5e3f6db27ba")),
    (1, u128::MAX, b256!("0x8e111bc6f57ab8eea1e4958269204cb2550aa56a09ba0fa613b7bd9d2d5a5250")),
];
const REFUNDS: [(usize, U256, u128, B256); 4] = [
    (0, U256::ZERO, 1, b256!("0x79e6116b2309b07346002ddde0b5ceb0acdad43a238b51d136af979eb21f56f6")),
    (0, U256::MAX, u128::MAX, b256!("0xfd45fd7589e173a5977b858ccdfa3172678200084d5ac51619a883c66470a8c1")),
    (1, U256::ZERO, 1, b256!("0x2ac00b4569c987b222d60aa3db9eab692f5b3cb08948a5615e4f3403ba8191c9")),
    (1, U256::MAX, u128::MAX, b256!("0xf2f70bb789900f00504ff387123616266512a7c5e21d35b01bc846b13ae472b6")),
];
/// Of the first channel alone, and of both; 1,000 and 1,001 at most, 700 and 701 claimed.
const BATCHES: [B256; 2] = [
    b256!("0x855bdae144943369ea287b132f4819b875f74e21634c4eb02939d93ddcd725b9"),
    b256!("0xed3608769b06e2040d24221d81120ce7d891705d05302d9d6ff057cbda4d4f90"),
];
/// Of the first channel, for the salts zero and 0x5a5a..5a.
const NONCES: [B256; 2] = [
    b256!("0x9de425ba0af1fc498d59034c8c09e53e3649a7c650dc03e76a77ff4e38236253"),
    b256!("0x5f744bab89040bec01deb48f28787d781b885a946f4a9aecfdb676129dce435b"),
];
/// A Permit2 deposit of 100,000 USDC units into each, nonce 9, until 1750000600.
const WITNESSES: [B256; 2] = [
    b256!("0x19a31242783a1c911661b37bde6cb03ab7fd6a2045f8715d84acd1c1d2f80a1d"),
    b256!("0xa881a09b59a0bbce3471b00b2e888c39b54a9e36ed3715e3ace4bca0791da176"),
];

#[tokio::test]
async fn the_contract_hashes_as_the_published_packages_do() {
    let rows: Vec<VoucherClaim> = known()
        .into_iter()
        .zip(0..)
        .map(|(channel, index)| VoucherClaim {
            voucher: VoucherOf { channel, maxClaimableAmount: 1_000 + index },
            signature: Bytes::new(),
            totalClaimed: 700 + index,
        })
        .collect();
    for rpc in nodes().await.rpcs {
        let rpc = &rpc;
        for (config, expected) in known().into_iter().zip(IDS) {
            assert_eq!(id(&config), expected);
            assert_eq!(rpc.ask(BATCH_SETTLEMENT, Channels::getChannelIdCall { config }).await, expected);
        }
        for (index, max, expected) in VOUCHERS {
            let message = signed::Voucher { channelId: IDS[index], maxClaimableAmount: max };
            assert_eq!(message.eip712_signing_hash(&domain()), expected);
            let call = Channels::getVoucherDigestCall { channelId: IDS[index], maxClaimableAmount: max };
            assert_eq!(rpc.ask(BATCH_SETTLEMENT, call).await, expected);
        }
        for (index, nonce, amount, expected) in REFUNDS {
            let message = signed::Refund { channelId: IDS[index], nonce, amount };
            assert_eq!(message.eip712_signing_hash(&domain()), expected);
            let call = Channels::getRefundDigestCall { channelId: IDS[index], nonce, amount };
            assert_eq!(rpc.ask(BATCH_SETTLEMENT, call).await, expected);
        }
        for (rows, expected) in [&rows[..1], &rows[..]].into_iter().zip(BATCHES) {
            let call = Channels::getClaimBatchDigestCall { voucherClaims: rows.to_vec() };
            assert_eq!(rpc.ask(BATCH_SETTLEMENT, call).await, expected);
        }
    }
}

#[tokio::test]
async fn the_constants_are_the_published_ones() {
    let expected = b256!("0x1c9a06ceab9b0ebbd3301dc56c9111bb6d9af421356dc9ccb3b7084c755db308");
    for rpc in nodes().await.rpcs {
        let at = BATCH_SETTLEMENT;
        assert_eq!(rpc.ask(at, Channels::CHANNEL_CONFIG_TYPEHASHCall {}).await, expected);
        let entry = signed::ClaimEntry { channelId: B256::ZERO, maxClaimableAmount: 0, totalClaimed: 0 };
        assert_eq!(rpc.ask(at, Channels::CLAIM_ENTRY_TYPEHASHCall {}).await, entry.eip712_type_hash());
        let batch = signed::ClaimBatch { claims: vec![entry] };
        assert_eq!(rpc.ask(at, Channels::CLAIM_BATCH_TYPEHASHCall {}).await, batch.eip712_type_hash());
        let voucher = signed::Voucher { channelId: B256::ZERO, maxClaimableAmount: 0 };
        assert_eq!(rpc.ask(at, Channels::VOUCHER_TYPEHASHCall {}).await, voucher.eip712_type_hash());
        let refund = signed::Refund { channelId: B256::ZERO, nonce: U256::ZERO, amount: 0 };
        assert_eq!(rpc.ask(at, Channels::REFUND_TYPEHASHCall {}).await, refund.eip712_type_hash());
        assert_eq!(rpc.ask(at, Channels::MIN_WITHDRAW_DELAYCall {}).await, U40::from(15 * 60));
        assert_eq!(rpc.ask(at, Channels::MAX_WITHDRAW_DELAYCall {}).await, U40::from(30 * 24 * 3_600));
        for collector in [ERC3009_COLLECTOR, PERMIT2_COLLECTOR] {
            assert_eq!(rpc.ask(collector, Collector::x402BatchSettlementCall {}).await, at);
        }
        assert_eq!(rpc.ask(PERMIT2_COLLECTOR, Collector::PERMIT2Call {}).await, PERMIT2);
        let witness = signed::DepositWitness { channelId: B256::ZERO };
        let hash = rpc.ask(PERMIT2_COLLECTOR, Collector::DEPOSIT_WITNESS_TYPEHASHCall {}).await;
        assert_eq!(hash, witness.eip712_type_hash());
    }
}

#[tokio::test]
async fn a_channel_of_one_chain_is_none_of_another() {
    let (_devnet, rpc) = devnet_with(Config { chain_id: 8_453, ..Config::default() }).await;
    let domain = rpc.ask(BATCH_SETTLEMENT, Channels::eip712DomainCall {}).await;
    assert_eq!((domain.fields.0, domain.chainId), ([0x0f], U256::from(8_453)));
    assert_eq!((domain.name.as_str(), domain.version.as_str()), ("x402 Batch Settlement", "1"));
    assert_eq!(domain.verifyingContract, BATCH_SETTLEMENT);
    let config = channel(1);
    let call = Channels::getChannelIdCall { config: config.clone() };
    let there = eip712_domain! { name: "x402 Batch Settlement", version: "1", chain_id: 8_453, verifying_contract: BATCH_SETTLEMENT, };
    let named = rpc.ask(BATCH_SETTLEMENT, call).await;
    assert_eq!(named, config.eip712_signing_hash(&there));
    assert_ne!(named, id(&config));
}

#[tokio::test]
async fn a_word_that_holds_more_than_its_type_is_no_part_of_a_config() {
    let whole = Channels::getChannelIdCall { config: channel(1) }.abi_encode();
    for rpc in nodes().await.rpcs {
        // Of each field but the salt, the lowest byte that must be zero.
        for (word, byte) in [(0, 11), (1, 11), (2, 11), (3, 11), (4, 11), (5, 26)] {
            let mut data = whole.clone();
            data[4 + word * 32 + byte] = 1;
            let params = json!([{ "to": BATCH_SETTLEMENT, "data": Bytes::from(data) }, "latest"]);
            assert!(rpc.call("eth_call", params).await.is_err(), "{word}");
        }
        let params = json!([{ "to": BATCH_SETTLEMENT, "data": Bytes::from(whole.clone()) }, "latest"]);
        assert_eq!(rpc.ok("eth_call", params).await, json!(id(&channel(1))));
    }
}

#[tokio::test]
async fn the_first_deposit_opens_a_channel_and_the_next_tops_it_up() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        let before = rpc.balance_of(PAYER.address).await;
        let logs = done(&rpc, &SENDER, deposit(&config, 700)).await;
        let [created] = <[Channels::ChannelCreated; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!((created.channelId, &created.config), (id(&config), &config));
        let [deposited] = <[Channels::Deposited; 1]>::try_from(events(&logs)).unwrap();
        assert_eq!((deposited.channelId, deposited.sender), (id(&config), SENDER.address));
        assert_eq!((deposited.amount, deposited.newBalance), (700, 700));
        let logs = done(&rpc, &STRANGER, deposit(&config, 300)).await;
        assert!(events::<Channels::ChannelCreated>(&logs).is_empty());
        assert_eq!(events::<Channels::Deposited>(&logs)[0].newBalance, 1_000);
        assert_eq!(state(&rpc, &config).await, (1_000, 0));
        assert_eq!(before - rpc.balance_of(PAYER.address).await, U256::from(1_000));
        assert_conserved(&rpc, USDC, &[config], &[]).await;
    }
}

#[tokio::test]
async fn a_deposit_by_eip_3009_uses_the_nonce_that_the_published_client_signs() {
    for rpc in nodes().await.rpcs {
        let config = &known()[0];
        for (salt, expected) in [B256::ZERO, B256::repeat_byte(0x5a)].into_iter().zip(NONCES) {
            let data = erc3009_data(config, 100, salt.into(), expected);
            done(&rpc, &SENDER, by(config, 100, ERC3009_COLLECTOR, data)).await;
            let used = Token::authorizationStateCall { authorizer: PAYER.address, nonce: expected };
            assert!(rpc.read(used, "latest").await);
        }
    }
    // How the published facilitator packs a signature of 65 bytes 0x11.
    let signature = Bytes::from(vec![0x11; 65]);
    let until = U256::from(1_750_000_600);
    let packed = (U256::ZERO, until, U256::from_be_bytes([0x5a; 32]), signature.clone()).abi_encode_params();
    assert_eq!(
        keccak256(packed),
        b256!("0xa985beaca52be1be85789a5745b4830cc6aed7fcdb70424bce31661f910b9636")
    );
    let packed = (U256::from(9), until, signature.clone(), Bytes::new()).abi_encode_params();
    assert_eq!(
        keccak256(packed),
        b256!("0x6e97ee9d3d8e7a9bea33fb81f214e3fa6f0458d1ab67a8e2143155f7b2576808")
    );
    let permit =
        (U256::from(100_000), until, U256::from(27), B256::repeat_byte(0x22), B256::repeat_byte(0x33));
    let permit = Bytes::from(permit.abi_encode_params());
    let packed = (U256::from(9), until, signature, permit).abi_encode_params();
    assert_eq!(
        keccak256(packed),
        b256!("0xc2de7b8a397a4f0ab813b9bb4be7b8de6f0a010c64161e6d27edf93f2948b6e6")
    );
}

#[tokio::test]
async fn what_a_payer_signed_goes_once_into_the_channel_it_was_signed_for() {
    for rpc in nodes().await.rpcs {
        let call = deposit(&channel(1), 100);
        let others: [fn(&mut ChannelConfig); 6] = [
            |config| config.payerAuthorizer = STRANGER.address,
            |config| config.receiver = STRANGER.address,
            |config| config.receiverAuthorizer = STRANGER.address,
            |config| config.withdrawDelay += U40::from(1),
            |config| config.salt = B256::ZERO,
            |config| config.payer = STRANGER.address,
        ];
        for change in others {
            let mut other = call.clone();
            change(&mut other.config);
            let refused = refusal(&rpc, STRANGER.address, other).await;
            assert_eq!(refused, Revert::SELECTOR, "the token refuses the signature");
        }
        for amount in [99, 101] {
            let other = Channels::depositCall { amount, ..call.clone() };
            assert_eq!(refusal(&rpc, STRANGER.address, other).await, Revert::SELECTOR);
        }
        done(&rpc, &STRANGER, call.clone()).await;
        assert_eq!(refusal(&rpc, STRANGER.address, call).await, Revert::SELECTOR);

        permit2::approve(&rpc, USDC, &PAYER).await;
        let call = permit2_deposit(&channel(1), 100, 7, Bytes::new());
        for change in others {
            let mut other = call.clone();
            change(&mut other.config);
            let refused = refusal(&rpc, STRANGER.address, other).await;
            assert_eq!(refused, permit2::InvalidSigner::SELECTOR);
        }
        done(&rpc, &STRANGER, call.clone()).await;
        assert_eq!(refusal(&rpc, STRANGER.address, call).await, permit2::InvalidNonce::SELECTOR);
        assert_eq!(state(&rpc, &channel(1)).await, (200, 0));
    }
}

#[tokio::test]
async fn a_deposit_by_permit2_is_signed_as_the_published_client_signs_it() {
    for (channel_id, expected) in IDS.into_iter().zip(WITNESSES) {
        assert_eq!(witness_hash(channel_id, USDC, 100_000, 9, U256::from(1_750_000_600)), expected);
    }
    for rpc in nodes().await.rpcs {
        let config = ChannelConfig { token: EURC, ..channel(1) };
        permit2::approve(&rpc, EURC, &PAYER).await;
        let logs = done(&rpc, &STRANGER, permit2_deposit(&config, 100, 1, Bytes::new())).await;
        assert_eq!(events::<Channels::ChannelCreated>(&logs).len(), 1);
        assert_eq!(state(&rpc, &config).await, (100, 0));
        assert_conserved(&rpc, EURC, &[config], &[]).await;
    }
}

/// The token's permit for Permit2, as the collector takes it.
async fn token_permit(rpc: &Rpc, value: u128) -> Bytes {
    let nonce = rpc.ask(PERMIT_USD, Token::noncesCall(PAYER.address)).await;
    let domain = eip712_domain! { name: "Permit USD", version: "1", chain_id: 31_337, verifying_contract: PERMIT_USD, };
    let value = U256::from(value);
    let message = Permit { owner: PAYER.address, spender: PERMIT2, value, nonce, deadline: U256::MAX };
    let signature = sign(&PAYER, message.eip712_signing_hash(&domain));
    let v = U256::from(27 + u8::from(signature.v()));
    (value, U256::MAX, v, B256::from(signature.r()), B256::from(signature.s())).abi_encode_params().into()
}

#[tokio::test]
async fn a_permit_of_the_token_may_come_along_and_is_no_condition() {
    for rpc in nodes().await.rpcs {
        let config = ChannelConfig { token: PERMIT_USD, ..channel(1) };
        let bare = permit2_deposit(&config, 100, 1, Bytes::new());
        assert_eq!(refusal(&rpc, SENDER.address, bare).await, Revert::SELECTOR, "no allowance");
        let other = permit2_deposit(&config, 100, 1, token_permit(&rpc, 101).await);
        let refused = refusal(&rpc, SENDER.address, other).await;
        assert_eq!(refused, Collector::Permit2612AmountMismatch::SELECTOR);
        let permit = token_permit(&rpc, 100).await;
        done(&rpc, &SENDER, permit2_deposit(&config, 100, 1, permit.clone())).await;
        // The permit is used up and fails; the allowance that somebody else gave is there.
        permit2::approve(&rpc, PERMIT_USD, &PAYER).await;
        let call = permit2_deposit(&config, 100, 2, permit);
        let receipt = rpc.send_from(&SENDER, BATCH_SETTLEMENT, call).await;
        assert_eq!(receipt["status"], "0x1");
        let failed: Vec<Collector::EIP2612PermitFailedWithData> = events(&logs(&receipt));
        assert_eq!((failed[0].token, failed[0].owner), (PERMIT_USD, PAYER.address));
        assert_eq!(state(&rpc, &config).await, (200, 0));
    }
}

#[tokio::test]
async fn nobody_but_the_channels_collects() {
    for rpc in nodes().await.rpcs {
        let config = channel(1);
        permit2::approve(&rpc, USDC, &PAYER).await;
        for call in [deposit(&config, 100), permit2_deposit(&config, 100, 1, Bytes::new())] {
            let direct = Collector::collectCall {
                payer: PAYER.address,
                token: USDC,
                amount: U256::from(100),
                channelId: id(&config),
                collectorData: call.collectorData.clone(),
            };
            let refused = rpc.revert(PAYER.address, call.collector, direct).await;
            assert_eq!(refused, Collector::OnlyX402BatchSettlement {}.abi_encode());
        }
    }
}

#[tokio::test]
async fn a_channel_is_opened_only_with_whole_terms() {
    type Change = fn(&mut ChannelConfig);
    let changes: [(Change, [u8; 4]); 6] = [
        (|config| config.payer = Address::ZERO, Channels::InvalidChannel::SELECTOR),
        (|config| config.receiver = Address::ZERO, Channels::InvalidChannel::SELECTOR),
        (|config| config.receiverAuthorizer = Address::ZERO, Channels::InvalidChannel::SELECTOR),
        (|config| config.token = Address::ZERO, Channels::InvalidChannel::SELECTOR),
        (|config| config.withdrawDelay = U40::from(899), Channels::WithdrawDelayOutOfRange::SELECTOR),
        (|config| config.withdrawDelay = U40::from(2_592_001), Channels::WithdrawDelayOutOfRange::SELECTOR),
    ];
    for rpc in nodes().await.rpcs {
        for (change, error) in changes {
            let mut config = channel(1);
            change(&mut config);
            assert_eq!(refusal(&rpc, SENDER.address, deposit(&config, 100)).await, error);
        }
        let nothing = deposit(&channel(1), 0);
        assert_eq!(refusal(&rpc, SENDER.address, nothing).await, Channels::ZeroDeposit::SELECTOR);
        let nobody = by(&channel(1), 100, Address::ZERO, Bytes::new());
        assert_eq!(refusal(&rpc, SENDER.address, nobody).await, Channels::InvalidCollector::SELECTOR);
        for delay in [900, 2_592_000] {
            let config = ChannelConfig { withdrawDelay: U40::from(delay), ..channel(1) };
            done(&rpc, &SENDER, deposit(&config, 100)).await;
        }
    }
}

/// A token of the payer's whose transfers answer nothing, and a collector that may move it.
async fn mute_token(rpc: &Rpc, mood: u8, brings: u128) -> (ChannelConfig, Address) {
    let arguments = (U256::from(mood), PAYER.address, U256::MAX).abi_encode_params();
    let token = rpc.deploy(&deploy::MUTE_TOKEN, arguments).await;
    let arguments = (U256::from(brings), Bytes::new()).abi_encode_params();
    let collector = rpc.deploy(&deploy::EVIL_COLLECTOR, arguments).await;
    // `approve` answers nothing either, which is no matter to a transaction.
    let approve = Token::approveCall { spender: collector, value: U256::MAX };
    rpc.send_from(&PAYER, token, approve).await;
    permit2::approve(rpc, token, &PAYER).await;
    (ChannelConfig { token, ..channel(1) }, collector)
}

#[tokio::test]
async fn a_deposit_counts_only_if_all_of_it_arrives_and_no_more() {
    for rpc in nodes().await.rpcs {
        let failed = Channels::DepositCollectionFailed::SELECTOR;
        let (config, collector) = mute_token(&rpc, 0, 100).await;
        for amount in [1, 99, 101] {
            let call = by(&config, amount, collector, Bytes::new());
            assert_eq!(refusal(&rpc, SENDER.address, call).await, failed, "100 for {amount}");
        }
        done(&rpc, &SENDER, by(&config, 100, collector, Bytes::new())).await;
        let (config, collector) = mute_token(&rpc, 0, 0).await;
        assert_eq!(refusal(&rpc, SENDER.address, by(&config, 1, collector, Bytes::new())).await, failed);
        // A token that keeps a part of what it moves.
        let (config, _) = mute_token(&rpc, 1, 0).await;
        let call = permit2_deposit(&config, 100, 5, Bytes::new());
        assert_eq!(refusal(&rpc, SENDER.address, call).await, failed);
        // No channel holds more than its books can say.
        let (config, collector) = mute_token(&rpc, 0, u128::MAX).await;
        done(&rpc, &SENDER, by(&config, u128::MAX, collector, Bytes::new())).await;
        let more = by(&config, 1, collector, Bytes::new());
        assert_eq!(refusal(&rpc, SENDER.address, more).await, Channels::DepositOverflow::SELECTOR);
    }
}

#[tokio::test]
async fn a_token_that_answers_nothing_pays_in_and_out_and_one_that_answers_no_does_not() {
    for rpc in nodes().await.rpcs {
        for mood in [0, 2] {
            let (config, _) = mute_token(&rpc, mood, 0).await;
            done(&rpc, &SENDER, permit2_deposit(&config, 100, u64::from(mood), Bytes::new())).await;
            let refund = Channels::refundCall { config: config.clone(), amount: 40 };
            if mood == 2 {
                let refused = rpc.revert(RECEIVER.address, BATCH_SETTLEMENT, refund).await;
                let expected = Channels::SafeERC20FailedOperation { token: config.token };
                assert_eq!(refused, expected.abi_encode());
                continue;
            }
            done(&rpc, &RECEIVER, refund).await;
            assert_eq!(state(&rpc, &config).await, (60, 0));
            assert_conserved(&rpc, config.token, std::slice::from_ref(&config), &[]).await;
        }
    }
}

#[tokio::test]
async fn a_collector_comes_into_no_other_call() {
    let config = channel(1);
    let settle = Channels::settleCall { receiver: RECEIVER.address, token: USDC }.abi_encode();
    let calls = [
        settle.clone(),
        deposit(&config, 1).abi_encode(),
        Channels::claimCall { voucherClaims: vec![] }.abi_encode(),
        Channels::claimWithSignatureCall { voucherClaims: vec![], authorizerSignature: Bytes::new() }
            .abi_encode(),
        Channels::refundCall { config: config.clone(), amount: 1 }.abi_encode(),
        Channels::refundWithSignatureCall {
            config: config.clone(),
            amount: 1,
            nonce: U256::ZERO,
            receiverAuthorizerSignature: Bytes::new(),
        }
        .abi_encode(),
        Channels::initiateWithdrawCall { config: config.clone(), amount: 1 }.abi_encode(),
        Channels::finalizeWithdrawCall { config: config.clone() }.abi_encode(),
        Channels::multicallCall { data: vec![settle.into()] }.abi_encode(),
    ];
    for rpc in nodes().await.rpcs {
        for call in &calls {
            let arguments = (U256::ZERO, Bytes::from(call.clone())).abi_encode_params();
            let collector = rpc.deploy(&deploy::EVIL_COLLECTOR, arguments).await;
            let entered = refusal(&rpc, SENDER.address, by(&config, 1, collector, Bytes::new())).await;
            assert_eq!(entered, Channels::ReentrancyGuardReentrantCall::SELECTOR);
        }
    }
}
