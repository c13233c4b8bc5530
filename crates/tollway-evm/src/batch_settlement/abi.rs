//! The interface of the contract that holds the channels, as it is on every chain: its calls, events and errors.

use alloy_primitives::aliases::U40;
use alloy_sol_types::sol;

use super::channel::ChannelConfig as Config;
use super::payload::ClaimEntry;

sol! {
    /// What a channel is made of.
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

    #[derive(Debug)]
    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    #[derive(Debug)]
    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }

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
        error ClaimExceedsCeiling();
        error ClaimExceedsBalance();
        error WithdrawDelayOutOfRange();
        error EmptyBatch();
        error DepositCollectionFailed();
        error InvalidCollector();
        error InvalidRefundNonce();
        error ZeroRefund();
        error ECDSAInvalidSignature();
        error ECDSAInvalidSignatureLength(uint256 length);
        error ECDSAInvalidSignatureS(bytes32 s);

        function multicall(bytes[] data) external returns (bytes[] results);
        function deposit(ChannelConfig config, uint128 amount, address collector, bytes collectorData) external;
        function claimWithSignature(VoucherClaim[] voucherClaims, bytes authorizerSignature) external;
        function settle(address receiver, address token) external;
        function initiateWithdraw(ChannelConfig config, uint128 amount) external;
        function finalizeWithdraw(ChannelConfig config) external;
        function refundWithSignature(ChannelConfig config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature) external;

        function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
        function refundNonce(bytes32 channelId) external view returns (uint256);
        function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
        function receivers(address receiver, address token) external view returns (uint128 totalClaimed, uint128 totalSettled);
    }

    interface Token {
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
    }

    interface Permit2 {
        function nonceBitmap(address owner, uint256 word) external view returns (uint256);
    }
}

impl From<&Config> for ChannelConfig {
    fn from(config: &Config) -> Self {
        Self {
            payer: config.payer,
            payerAuthorizer: config.payer_authorizer,
            receiver: config.receiver,
            receiverAuthorizer: config.receiver_authorizer,
            token: config.token,
            // No config has more seconds than these bits hold: it would not have been read.
            withdrawDelay: U40::wrapping_from(config.withdraw_delay_seconds),
            salt: config.salt,
        }
    }
}

impl From<&ClaimEntry> for VoucherClaim {
    fn from(claim: &ClaimEntry) -> Self {
        Self {
            voucher: Voucher { channel: (&claim.config).into(), maxClaimableAmount: claim.max_claimable },
            signature: claim.signature.clone(),
            totalClaimed: claim.total_claimed,
        }
    }
}
