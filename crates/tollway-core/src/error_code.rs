//! The error codes of x402 on the wire: one table, new names out, old and new in.

use std::borrow::Cow;
use std::fmt;

/// A machine-readable reason, such as `invalid_exact_evm_signature`.
///
/// Every code of the specification and of the published SDKs is a constant here. An unknown code from a
/// peer is kept as it came. A code that has been renamed is read as its new name.
///
/// ```
/// use tollway_core::ErrorCode;
/// let code = ErrorCode::from_wire("invalid_exact_evm_payload_signature");
/// assert_eq!(code, ErrorCode::INVALID_EXACT_EVM_SIGNATURE);
/// assert_eq!(code.as_str(), "invalid_exact_evm_signature");
/// assert!(!ErrorCode::from_wire("their_own_code").is_known());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// Reads a code, mapping old names to new ones. An unknown code is foreign text: it is cut after 128
    /// characters.
    ///
    /// ```
    /// use tollway_core::ErrorCode;
    /// assert_eq!(ErrorCode::from_wire("invalid_permit2_amount"), ErrorCode::PERMIT2_INVALID_AMOUNT);
    /// ```
    pub fn from_wire(text: &str) -> Self {
        let name = RENAMED.iter().find(|(old, _)| *old == text).map_or(text, |(_, new)| new);
        match ALL.iter().find(|code| code.as_str() == name) {
            Some(known) => known.clone(),
            None => Self(Cow::Owned(name.chars().take(128).collect())),
        }
    }

    /// The code as it is written on the wire.
    ///
    /// ```
    /// use tollway_core::ErrorCode;
    /// assert_eq!(ErrorCode::SETTLEMENT_PENDING.as_str(), "settlement_pending");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the code is in the table. Only such a code is fit to label a metric: peers invent no new ones.
    ///
    /// ```
    /// use tollway_core::ErrorCode;
    /// assert!(ErrorCode::from_wire("insufficient_funds").is_known());
    /// assert!(!ErrorCode::from_wire("insufficient_patience").is_known());
    /// ```
    pub fn is_known(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Old name, new name. Peers still send the old ones.
const RENAMED: &[(&str, &str)] = &[
    ("invalid_exact_evm_payload_signature", "invalid_exact_evm_signature"),
    ("invalid_exact_evm_payload_recipient_mismatch", "invalid_exact_evm_recipient_mismatch"),
    ("invalid_exact_evm_payload_authorization_value", "invalid_exact_evm_authorization_value"),
    ("smart_wallet_program_not_allowed", "invalid_exact_svm_smart_wallet_program_not_allowed"),
    (
        "smart_wallet_alt_resolution_not_available",
        "invalid_exact_svm_smart_wallet_alt_resolution_not_available",
    ),
    ("missing_eip712_domain", "invalid_exact_evm_missing_eip712_domain"),
    ("invalid_permit2_amount", "permit2_invalid_amount"),
    ("invalid_permit2_destination", "permit2_invalid_destination"),
    ("invalid_permit2_owner", "permit2_invalid_owner"),
    ("capture_deadline_expired", "invalid_auth_capture_evm_capture_deadline_expired"),
    ("fee_bps_out_of_range", "invalid_auth_capture_evm_fee_bps_out_of_range"),
    ("insufficient_authorization", "invalid_auth_capture_evm_insufficient_authorization"),
    ("invalid_auth_capture_extra", "invalid_auth_capture_evm_extra"),
    ("invalid_auth_capture_signature", "invalid_auth_capture_evm_signature"),
    ("invalid_capture_authorizer", "invalid_auth_capture_evm_operator_mismatch"),
    ("invalid_collector", "invalid_auth_capture_evm_collector"),
    ("invalid_deadline_ordering", "invalid_auth_capture_evm_deadline_ordering"),
    ("invalid_fee_bps", "invalid_auth_capture_evm_fee_bps"),
    ("invalid_fee_bps_range", "invalid_auth_capture_evm_fee_bps_range"),
    ("invalid_fee_receiver", "invalid_auth_capture_evm_fee_receiver"),
    ("payload_method_mismatch", "invalid_auth_capture_evm_payload_method_mismatch"),
    ("payment_already_collected", "invalid_auth_capture_evm_payment_already_collected"),
    ("token_collection_failed", "invalid_auth_capture_evm_token_collection_failed"),
    ("token_collector_mismatch", "invalid_auth_capture_evm_token_collector_mismatch"),
    ("zero_authorization", "invalid_auth_capture_evm_zero_authorization"),
    ("zero_fee_receiver", "invalid_auth_capture_evm_zero_fee_receiver"),
];

macro_rules! codes {
    ($($name:ident = $wire:literal,)*) => {
        impl ErrorCode {
            $(#[doc = concat!("`", $wire, "`")] pub const $name: Self = Self(Cow::Borrowed($wire));)*
        }
        const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];
    };
}

codes! {
    // core / generic
    DUPLICATE_SETTLEMENT = "duplicate_settlement",
    EXTENSION_ECHO_MISMATCH = "extension_echo_mismatch",
    INSUFFICIENT_FUNDS = "insufficient_funds",
    INVALID_NETWORK = "invalid_network",
    INVALID_PAYLOAD = "invalid_payload",
    INVALID_PAYMENT = "invalid_payment",
    INVALID_PAYMENT_REQUIREMENTS = "invalid_payment_requirements",
    INVALID_SCHEME = "invalid_scheme",
    INVALID_TRANSACTION_STATE = "invalid_transaction_state",
    INVALID_X402_VERSION = "invalid_x402_version",
    PAYMENT_EXPIRED = "payment_expired",
    SETTLE_FAILED = "settle_failed",
    SETTLEMENT_PENDING = "settlement_pending",
    UNEXPECTED_SETTLE_ERROR = "unexpected_settle_error",
    UNEXPECTED_VERIFY_ERROR = "unexpected_verify_error",
    UNSUPPORTED_ASSET_TRANSFER_METHOD = "unsupported_asset_transfer_method",
    UNSUPPORTED_NETWORK = "unsupported_network",
    UNSUPPORTED_PAYMENT_FLOW = "unsupported_payment_flow",
    UNSUPPORTED_SCHEME = "unsupported_scheme",
    UNSUPPORTED_VERSION = "unsupported_version",
    // exact EVM
    ASSET_NOT_DEPLOYED_CONTRACT = "asset_not_deployed_contract",
    BALANCE_CHECK_FAILED = "balance_check_failed",
    EIP6492_FACTORY_NOT_ALLOWED = "eip6492_factory_not_allowed",
    INVALID_EXACT_EVM_AUTHORIZATION_VALUE = "invalid_exact_evm_authorization_value",
    INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED = "invalid_exact_evm_eip3009_not_supported",
    INVALID_EXACT_EVM_FAILED_TO_GET_ASSET_INFO = "invalid_exact_evm_failed_to_get_asset_info",
    INVALID_EXACT_EVM_FAILED_TO_GET_NETWORK_CONFIG = "invalid_exact_evm_failed_to_get_network_config",
    INVALID_EXACT_EVM_FAILED_TO_PARSE_SIGNATURE = "invalid_exact_evm_failed_to_parse_signature",
    INVALID_EXACT_EVM_FAILED_TO_VERIFY_SIGNATURE = "invalid_exact_evm_failed_to_verify_signature",
    INVALID_EXACT_EVM_INSUFFICIENT_BALANCE = "invalid_exact_evm_insufficient_balance",
    INVALID_EXACT_EVM_MISSING_EIP712_DOMAIN = "invalid_exact_evm_missing_eip712_domain",
    INVALID_EXACT_EVM_NETWORK_MISMATCH = "invalid_exact_evm_network_mismatch",
    INVALID_EXACT_EVM_NONCE_ALREADY_USED = "invalid_exact_evm_nonce_already_used",
    INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER = "invalid_exact_evm_payload_authorization_valid_after",
    INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE = "invalid_exact_evm_payload_authorization_valid_before",
    INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALUE_MISMATCH = "invalid_exact_evm_payload_authorization_value_mismatch",
    INVALID_EXACT_EVM_PAYLOAD_UNDEPLOYED_SMART_WALLET = "invalid_exact_evm_payload_undeployed_smart_wallet",
    INVALID_EXACT_EVM_RECIPIENT_MISMATCH = "invalid_exact_evm_recipient_mismatch",
    INVALID_EXACT_EVM_SCHEME = "invalid_exact_evm_scheme",
    INVALID_EXACT_EVM_SIGNATURE = "invalid_exact_evm_signature",
    INVALID_EXACT_EVM_TOKEN_NAME_MISMATCH = "invalid_exact_evm_token_name_mismatch",
    INVALID_EXACT_EVM_TOKEN_VERSION_MISMATCH = "invalid_exact_evm_token_version_mismatch",
    INVALID_EXACT_EVM_TRANSACTION_FAILED = "invalid_exact_evm_transaction_failed",
    INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED = "invalid_exact_evm_transaction_simulation_failed",
    INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH = "invalid_exact_evm_transfer_event_mismatch",
    NETWORK_MISMATCH = "network_mismatch",
    POST_SETTLEMENT_TRANSFER_NOT_CONFIRMED = "post_settlement_transfer_not_confirmed",
    SMART_WALLET_DEPLOYMENT_FAILED = "smart_wallet_deployment_failed",
    TRANSACTION_FAILED = "transaction_failed",
    UNKNOWN_SETTLEMENT_ERROR = "unknown_settlement_error",
    UNSUPPORTED_PAYLOAD_TYPE = "unsupported_payload_type",
    // Permit2
    INVALID_PERMIT2_PAYLOAD_FORMAT = "invalid_permit2_payload_format",
    INVALID_PERMIT2_RECIPIENT_MISMATCH = "invalid_permit2_recipient_mismatch",
    INVALID_PERMIT2_SIGNATURE = "invalid_permit2_signature",
    INVALID_PERMIT2_SPENDER = "invalid_permit2_spender",
    PERMIT2_2612_AMOUNT_MISMATCH = "permit2_2612_amount_mismatch",
    PERMIT2_ALLOWANCE_REQUIRED = "permit2_allowance_required",
    PERMIT2_AMOUNT_MISMATCH = "permit2_amount_mismatch",
    PERMIT2_DEADLINE_EXPIRED = "permit2_deadline_expired",
    PERMIT2_INSUFFICIENT_BALANCE = "permit2_insufficient_balance",
    PERMIT2_INVALID_AMOUNT = "permit2_invalid_amount",
    PERMIT2_INVALID_DESTINATION = "permit2_invalid_destination",
    PERMIT2_INVALID_NONCE = "permit2_invalid_nonce",
    PERMIT2_INVALID_OWNER = "permit2_invalid_owner",
    PERMIT2_NOT_YET_VALID = "permit2_not_yet_valid",
    PERMIT2_PAYMENT_TOO_EARLY = "permit2_payment_too_early",
    PERMIT2_PROXY_NOT_DEPLOYED = "permit2_proxy_not_deployed",
    PERMIT2_SIMULATION_FAILED = "permit2_simulation_failed",
    PERMIT2_TOKEN_MISMATCH = "permit2_token_mismatch",
    // ERC-20 approval gas sponsoring
    ERC20_APPROVAL_ASSET_MISMATCH = "erc20_approval_asset_mismatch",
    ERC20_APPROVAL_BROADCAST_FAILED = "erc20_approval_broadcast_failed",
    ERC20_APPROVAL_FROM_MISMATCH = "erc20_approval_from_mismatch",
    ERC20_APPROVAL_SPENDER_NOT_PERMIT2 = "erc20_approval_spender_not_permit2",
    ERC20_APPROVAL_TX_FAILED = "erc20_approval_tx_failed",
    ERC20_APPROVAL_TX_INVALID_CALLDATA = "erc20_approval_tx_invalid_calldata",
    ERC20_APPROVAL_TX_INVALID_SIGNATURE = "erc20_approval_tx_invalid_signature",
    ERC20_APPROVAL_TX_PARSE_FAILED = "erc20_approval_tx_parse_failed",
    ERC20_APPROVAL_TX_SIGNER_MISMATCH = "erc20_approval_tx_signer_mismatch",
    ERC20_APPROVAL_TX_VALIDATION_UNAVAILABLE = "erc20_approval_tx_validation_unavailable",
    ERC20_APPROVAL_TX_WRONG_SELECTOR = "erc20_approval_tx_wrong_selector",
    ERC20_APPROVAL_TX_WRONG_SPENDER = "erc20_approval_tx_wrong_spender",
    ERC20_APPROVAL_TX_WRONG_TARGET = "erc20_approval_tx_wrong_target",
    INVALID_ERC20_APPROVAL_EXTENSION_FORMAT = "invalid_erc20_approval_extension_format",
    // EIP-2612 gas sponsoring
    EIP2612_ASSET_MISMATCH = "eip2612_asset_mismatch",
    EIP2612_DEADLINE_EXPIRED = "eip2612_deadline_expired",
    EIP2612_FROM_MISMATCH = "eip2612_from_mismatch",
    EIP2612_SPENDER_NOT_PERMIT2 = "eip2612_spender_not_permit2",
    INVALID_EIP2612_EXTENSION_FORMAT = "invalid_eip2612_extension_format",
    // upto EVM
    INVALID_UPTO_EVM_FAILED_TO_GET_NETWORK_CONFIG = "invalid_upto_evm_failed_to_get_network_config",
    INVALID_UPTO_EVM_NETWORK_MISMATCH = "invalid_upto_evm_network_mismatch",
    INVALID_UPTO_EVM_PAYLOAD_SETTLEMENT_EXCEEDS_AMOUNT = "invalid_upto_evm_payload_settlement_exceeds_amount",
    INVALID_UPTO_EVM_SCHEME = "invalid_upto_evm_scheme",
    INVALID_UPTO_EVM_TRANSACTION_FAILED = "invalid_upto_evm_transaction_failed",
    UPTO_AMOUNT_EXCEEDS_PERMITTED = "upto_amount_exceeds_permitted",
    UPTO_FACILITATOR_MISMATCH = "upto_facilitator_mismatch",
    UPTO_UNAUTHORIZED_FACILITATOR = "upto_unauthorized_facilitator",
    // batch-settlement EVM
    INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_ADDRESS_MISMATCH = "invalid_batch_settlement_evm_authorizer_address_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_NOT_CONFIGURED = "invalid_batch_settlement_evm_authorizer_not_configured",
    INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_BUSY = "invalid_batch_settlement_evm_channel_busy",
    INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_INVALID = "invalid_batch_settlement_evm_channel_id_invalid",
    INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_MISMATCH = "invalid_batch_settlement_evm_channel_id_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_NOT_FOUND = "invalid_batch_settlement_evm_channel_not_found",
    INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_STATE_READ_FAILED = "invalid_batch_settlement_evm_channel_state_read_failed",
    INVALID_BATCH_SETTLEMENT_EVM_CHARGE_EXCEEDS_SIGNED_CUMULATIVE = "invalid_batch_settlement_evm_charge_exceeds_signed_cumulative",
    INVALID_BATCH_SETTLEMENT_EVM_CLAIM_PAYLOAD = "invalid_batch_settlement_evm_claim_payload",
    INVALID_BATCH_SETTLEMENT_EVM_CLAIM_SIMULATION_FAILED = "invalid_batch_settlement_evm_claim_simulation_failed",
    INVALID_BATCH_SETTLEMENT_EVM_CLAIM_TRANSACTION_FAILED = "invalid_batch_settlement_evm_claim_transaction_failed",
    INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_AMOUNT_MISMATCH = "invalid_batch_settlement_evm_cumulative_amount_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_BELOW_CLAIMED = "invalid_batch_settlement_evm_cumulative_below_claimed",
    INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_EXCEEDS_BALANCE = "invalid_batch_settlement_evm_cumulative_exceeds_balance",
    INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_BELOW_MIN_DEPOSIT = "invalid_batch_settlement_evm_deposit_below_min_deposit",
    INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_PAYLOAD = "invalid_batch_settlement_evm_deposit_payload",
    INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_SIMULATION_FAILED = "invalid_batch_settlement_evm_deposit_simulation_failed",
    INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_TRANSACTION_FAILED = "invalid_batch_settlement_evm_deposit_transaction_failed",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_AMOUNT_MISMATCH = "invalid_batch_settlement_evm_eip2612_amount_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_ASSET_MISMATCH = "invalid_batch_settlement_evm_eip2612_asset_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_DEADLINE_EXPIRED = "invalid_batch_settlement_evm_eip2612_deadline_expired",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_INVALID_FORMAT = "invalid_batch_settlement_evm_eip2612_invalid_format",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_INVALID_SIGNATURE = "invalid_batch_settlement_evm_eip2612_invalid_signature",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_OWNER_MISMATCH = "invalid_batch_settlement_evm_eip2612_owner_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_EIP2612_SPENDER_MISMATCH = "invalid_batch_settlement_evm_eip2612_spender_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_EIP6492_FACTORY_NOT_ALLOWED = "invalid_batch_settlement_evm_eip6492_factory_not_allowed",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_ASSET_MISMATCH = "invalid_batch_settlement_evm_erc20_approval_asset_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_BROADCAST_FAILED = "invalid_batch_settlement_evm_erc20_approval_broadcast_failed",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_FROM_MISMATCH = "invalid_batch_settlement_evm_erc20_approval_from_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_INVALID_FORMAT = "invalid_batch_settlement_evm_erc20_approval_invalid_format",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_UNAVAILABLE = "invalid_batch_settlement_evm_erc20_approval_unavailable",
    INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_WRONG_SPENDER = "invalid_batch_settlement_evm_erc20_approval_wrong_spender",
    INVALID_BATCH_SETTLEMENT_EVM_ERC3009_AUTHORIZATION_REQUIRED = "invalid_batch_settlement_evm_erc3009_authorization_required",
    INVALID_BATCH_SETTLEMENT_EVM_INSUFFICIENT_BALANCE = "invalid_batch_settlement_evm_insufficient_balance",
    INVALID_BATCH_SETTLEMENT_EVM_MISSING_CHANNEL = "invalid_batch_settlement_evm_missing_channel",
    INVALID_BATCH_SETTLEMENT_EVM_MISSING_EIP712_DOMAIN = "invalid_batch_settlement_evm_missing_eip712_domain",
    INVALID_BATCH_SETTLEMENT_EVM_NETWORK_MISMATCH = "invalid_batch_settlement_evm_network_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE = "invalid_batch_settlement_evm_nothing_to_settle",
    INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER = "invalid_batch_settlement_evm_payload_authorization_valid_after",
    INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE = "invalid_batch_settlement_evm_payload_authorization_valid_before",
    INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE = "invalid_batch_settlement_evm_payload_type",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_ALLOWANCE_REQUIRED = "invalid_batch_settlement_evm_permit2_allowance_required",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_AMOUNT_MISMATCH = "invalid_batch_settlement_evm_permit2_amount_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_AUTHORIZATION_REQUIRED = "invalid_batch_settlement_evm_permit2_authorization_required",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_DEADLINE_EXPIRED = "invalid_batch_settlement_evm_permit2_deadline_expired",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_INVALID_SIGNATURE = "invalid_batch_settlement_evm_permit2_invalid_signature",
    INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_INVALID_SPENDER = "invalid_batch_settlement_evm_permit2_invalid_spender",
    INVALID_BATCH_SETTLEMENT_EVM_RECEIVE_AUTHORIZATION_SIGNATURE = "invalid_batch_settlement_evm_receive_authorization_signature",
    INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_AUTHORIZER_MISMATCH = "invalid_batch_settlement_evm_receiver_authorizer_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_MISMATCH = "invalid_batch_settlement_evm_receiver_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_REFUND_AMOUNT_INVALID = "invalid_batch_settlement_evm_refund_amount_invalid",
    INVALID_BATCH_SETTLEMENT_EVM_REFUND_NO_BALANCE = "invalid_batch_settlement_evm_refund_no_balance",
    INVALID_BATCH_SETTLEMENT_EVM_REFUND_PAYLOAD = "invalid_batch_settlement_evm_refund_payload",
    INVALID_BATCH_SETTLEMENT_EVM_REFUND_SIMULATION_FAILED = "invalid_batch_settlement_evm_refund_simulation_failed",
    INVALID_BATCH_SETTLEMENT_EVM_REFUND_TRANSACTION_FAILED = "invalid_batch_settlement_evm_refund_transaction_failed",
    INVALID_BATCH_SETTLEMENT_EVM_RPC_READ_FAILED = "invalid_batch_settlement_evm_rpc_read_failed",
    INVALID_BATCH_SETTLEMENT_EVM_SCHEME = "invalid_batch_settlement_evm_scheme",
    INVALID_BATCH_SETTLEMENT_EVM_SETTLE_PAYLOAD = "invalid_batch_settlement_evm_settle_payload",
    INVALID_BATCH_SETTLEMENT_EVM_SETTLE_SIMULATION_FAILED = "invalid_batch_settlement_evm_settle_simulation_failed",
    INVALID_BATCH_SETTLEMENT_EVM_SETTLE_TRANSACTION_FAILED = "invalid_batch_settlement_evm_settle_transaction_failed",
    INVALID_BATCH_SETTLEMENT_EVM_SMART_WALLET_DEPLOYMENT_FAILED = "invalid_batch_settlement_evm_smart_wallet_deployment_failed",
    INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH = "invalid_batch_settlement_evm_token_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_TRANSACTION_REVERTED = "invalid_batch_settlement_evm_transaction_reverted",
    INVALID_BATCH_SETTLEMENT_EVM_UNKNOWN_SETTLE_ACTION = "invalid_batch_settlement_evm_unknown_settle_action",
    INVALID_BATCH_SETTLEMENT_EVM_VERIFICATION_STATE_UNAVAILABLE = "invalid_batch_settlement_evm_verification_state_unavailable",
    INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_PAYLOAD = "invalid_batch_settlement_evm_voucher_payload",
    INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE = "invalid_batch_settlement_evm_voucher_signature",
    INVALID_BATCH_SETTLEMENT_EVM_WAIT_FOR_RECEIPT_FAILED = "invalid_batch_settlement_evm_wait_for_receipt_failed",
    INVALID_BATCH_SETTLEMENT_EVM_WITHDRAW_DELAY_MISMATCH = "invalid_batch_settlement_evm_withdraw_delay_mismatch",
    INVALID_BATCH_SETTLEMENT_EVM_WITHDRAW_DELAY_OUT_OF_RANGE = "invalid_batch_settlement_evm_withdraw_delay_out_of_range",
    // auth-capture EVM
    INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH = "invalid_auth_capture_evm_amount_mismatch",
    INVALID_AUTH_CAPTURE_EVM_AMOUNT_OVERFLOW = "invalid_auth_capture_evm_amount_overflow",
    INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_EXPIRED = "invalid_auth_capture_evm_authorization_expired",
    INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_NOT_YET_VALID = "invalid_auth_capture_evm_authorization_not_yet_valid",
    INVALID_AUTH_CAPTURE_EVM_AUTHORIZER_SIGNATURE = "invalid_auth_capture_evm_authorizer_signature",
    INVALID_AUTH_CAPTURE_EVM_CAPTURE_DEADLINE_EXPIRED = "invalid_auth_capture_evm_capture_deadline_expired",
    INVALID_AUTH_CAPTURE_EVM_COLLECTOR = "invalid_auth_capture_evm_collector",
    INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING = "invalid_auth_capture_evm_deadline_ordering",
    INVALID_AUTH_CAPTURE_EVM_ERC6492_FACTORY_NOT_ALLOWED = "invalid_auth_capture_evm_erc6492_factory_not_allowed",
    INVALID_AUTH_CAPTURE_EVM_EXTRA = "invalid_auth_capture_evm_extra",
    INVALID_AUTH_CAPTURE_EVM_FEE_BPS = "invalid_auth_capture_evm_fee_bps",
    INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE = "invalid_auth_capture_evm_fee_bps_out_of_range",
    INVALID_AUTH_CAPTURE_EVM_FEE_BPS_RANGE = "invalid_auth_capture_evm_fee_bps_range",
    INVALID_AUTH_CAPTURE_EVM_FEE_RECEIVER = "invalid_auth_capture_evm_fee_receiver",
    INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_AUTHORIZATION = "invalid_auth_capture_evm_insufficient_authorization",
    INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_BALANCE = "invalid_auth_capture_evm_insufficient_balance",
    INVALID_AUTH_CAPTURE_EVM_LIFECYCLE_NOT_RELAYED = "invalid_auth_capture_evm_lifecycle_not_relayed",
    INVALID_AUTH_CAPTURE_EVM_MISSING_RECEIVER_AUTHORIZER = "invalid_auth_capture_evm_missing_receiver_authorizer",
    INVALID_AUTH_CAPTURE_EVM_NETWORK_MISMATCH = "invalid_auth_capture_evm_network_mismatch",
    INVALID_AUTH_CAPTURE_EVM_NONCE_MISMATCH = "invalid_auth_capture_evm_nonce_mismatch",
    INVALID_AUTH_CAPTURE_EVM_OPERATOR_MISMATCH = "invalid_auth_capture_evm_operator_mismatch",
    INVALID_AUTH_CAPTURE_EVM_OPERATOR_NOT_ADMITTED = "invalid_auth_capture_evm_operator_not_admitted",
    INVALID_AUTH_CAPTURE_EVM_OPERATOR_TYPE_MISMATCH = "invalid_auth_capture_evm_operator_type_mismatch",
    INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT = "invalid_auth_capture_evm_payload_format",
    INVALID_AUTH_CAPTURE_EVM_PAYLOAD_METHOD_MISMATCH = "invalid_auth_capture_evm_payload_method_mismatch",
    INVALID_AUTH_CAPTURE_EVM_PAYLOAD_TYPE = "invalid_auth_capture_evm_payload_type",
    INVALID_AUTH_CAPTURE_EVM_PAYMENT_ALREADY_COLLECTED = "invalid_auth_capture_evm_payment_already_collected",
    INVALID_AUTH_CAPTURE_EVM_PAYMENT_INFO_MISMATCH = "invalid_auth_capture_evm_payment_info_mismatch",
    INVALID_AUTH_CAPTURE_EVM_POLICY = "invalid_auth_capture_evm_policy",
    INVALID_AUTH_CAPTURE_EVM_REFUND_DEADLINE_EXPIRED = "invalid_auth_capture_evm_refund_deadline_expired",
    INVALID_AUTH_CAPTURE_EVM_REFUND_EXCEEDS_CAPTURE = "invalid_auth_capture_evm_refund_exceeds_capture",
    INVALID_AUTH_CAPTURE_EVM_REFUND_FUNDING_UNAVAILABLE = "invalid_auth_capture_evm_refund_funding_unavailable",
    INVALID_AUTH_CAPTURE_EVM_SALT_BINDING_MISMATCH = "invalid_auth_capture_evm_salt_binding_mismatch",
    INVALID_AUTH_CAPTURE_EVM_SCHEME = "invalid_auth_capture_evm_scheme",
    INVALID_AUTH_CAPTURE_EVM_SIGNATURE = "invalid_auth_capture_evm_signature",
    INVALID_AUTH_CAPTURE_EVM_SIMULATION_FAILED = "invalid_auth_capture_evm_simulation_failed",
    INVALID_AUTH_CAPTURE_EVM_TOKEN_COLLECTION_FAILED = "invalid_auth_capture_evm_token_collection_failed",
    INVALID_AUTH_CAPTURE_EVM_TOKEN_COLLECTOR_MISMATCH = "invalid_auth_capture_evm_token_collector_mismatch",
    INVALID_AUTH_CAPTURE_EVM_TOKEN_MISMATCH = "invalid_auth_capture_evm_token_mismatch",
    INVALID_AUTH_CAPTURE_EVM_TRANSACTION_REVERTED = "invalid_auth_capture_evm_transaction_reverted",
    INVALID_AUTH_CAPTURE_EVM_UNAUTHENTICATED_AUTHORIZER_REQUEST = "invalid_auth_capture_evm_unauthenticated_authorizer_request",
    INVALID_AUTH_CAPTURE_EVM_UNEXPECTED_PAYMENT_STATE = "invalid_auth_capture_evm_unexpected_payment_state",
    INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_ASSET_TRANSFER_METHOD = "invalid_auth_capture_evm_unsupported_asset_transfer_method",
    INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_OPERATOR_TYPE = "invalid_auth_capture_evm_unsupported_operator_type",
    INVALID_AUTH_CAPTURE_EVM_UNSUPPORTED_PAYMENT_FLOW = "invalid_auth_capture_evm_unsupported_payment_flow",
    INVALID_AUTH_CAPTURE_EVM_VERIFICATION_FAILED = "invalid_auth_capture_evm_verification_failed",
    INVALID_AUTH_CAPTURE_EVM_VOID_AUTHORIZER_SIGNATURE = "invalid_auth_capture_evm_void_authorizer_signature",
    INVALID_AUTH_CAPTURE_EVM_VOID_REMAINDER_FULL_CAPTURE = "invalid_auth_capture_evm_void_remainder_full_capture",
    INVALID_AUTH_CAPTURE_EVM_ZERO_AUTHORIZATION = "invalid_auth_capture_evm_zero_authorization",
    INVALID_AUTH_CAPTURE_EVM_ZERO_FEE_RECEIVER = "invalid_auth_capture_evm_zero_fee_receiver",
    // auth-capture EVM in its first text: general words, which need not be its
    AMOUNT_MISMATCH = "amount_mismatch",
    AMOUNT_OVERFLOW = "amount_overflow",
    AUTHORIZATION_EXPIRED = "authorization_expired",
    AUTHORIZATION_NOT_YET_VALID = "authorization_not_yet_valid",
    INSUFFICIENT_BALANCE = "insufficient_balance",
    INVALID_PAYLOAD_FORMAT = "invalid_payload_format",
    NONCE_MISMATCH = "nonce_mismatch",
    SIMULATION_FAILED = "simulation_failed",
    TOKEN_MISMATCH = "token_mismatch",
    TRANSACTION_REVERTED = "transaction_reverted",
    VERIFICATION_FAILED = "verification_failed",
    // batch-settlement cloudflare / NEAR
    INVALID_PAYMENT_SIGNATURE = "invalid_payment_signature",
    INVALID_SIGNATURE = "invalid_signature",
    ORIGIN_ERROR = "origin_error",
    PAYMENT_FAILED = "payment_failed",
    PRICE_NOT_ACCEPTABLE = "price_not_acceptable",
    SERVER_ERROR = "server_error",
    SIGNATURE_AGENT_UNKNOWN = "signature_agent_unknown",
    // exact NEAR
    DELEGATE_ACTION_EXPIRED = "delegate_action_expired",
    DELEGATE_ACTION_NONCE_ALREADY_USED = "delegate_action_nonce_already_used",
    // accounts on credit, ours
    CREDIT_LIMIT_EXCEEDED = "credit_limit_exceeded",
    CREDIT_OVERDUE = "credit_overdue",
    CREDIT_SUSPENDED = "credit_suspended",
    // exact SVM
    FEE_PAYER_NOT_MANAGED_BY_FACILITATOR = "fee_payer_not_managed_by_facilitator",
    INVALID_EXACT_SVM_PAYLOAD = "invalid_exact_svm_payload",
    INVALID_EXACT_SVM_PAYLOAD_AMOUNT_INSUFFICIENT = "invalid_exact_svm_payload_amount_insufficient",
    INVALID_EXACT_SVM_PAYLOAD_MEMO_COUNT = "invalid_exact_svm_payload_memo_count",
    INVALID_EXACT_SVM_PAYLOAD_MEMO_MISMATCH = "invalid_exact_svm_payload_memo_mismatch",
    INVALID_EXACT_SVM_PAYLOAD_MINT_MISMATCH = "invalid_exact_svm_payload_mint_mismatch",
    INVALID_EXACT_SVM_PAYLOAD_MISSING_FEE_PAYER = "invalid_exact_svm_payload_missing_fee_payer",
    INVALID_EXACT_SVM_PAYLOAD_NO_TRANSFER_INSTRUCTION = "invalid_exact_svm_payload_no_transfer_instruction",
    INVALID_EXACT_SVM_PAYLOAD_RECIPIENT_MISMATCH = "invalid_exact_svm_payload_recipient_mismatch",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION = "invalid_exact_svm_payload_transaction",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_AMOUNT_MISMATCH = "invalid_exact_svm_payload_transaction_amount_mismatch",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_COULD_NOT_BE_DECODED = "invalid_exact_svm_payload_transaction_could_not_be_decoded",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_CREATE_ATA_INSTRUCTION = "invalid_exact_svm_payload_transaction_create_ata_instruction",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_CREATE_ATA_INSTRUCTION_INCORRECT_ASSET = "invalid_exact_svm_payload_transaction_create_ata_instruction_incorrect_asset",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_CREATE_ATA_INSTRUCTION_INCORRECT_PAYEE = "invalid_exact_svm_payload_transaction_create_ata_instruction_incorrect_payee",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_FEE_PAYER_INCLUDED_IN_INSTRUCTION_ACCOUNTS = "invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_FEE_PAYER_TRANSFERRING_FUNDS = "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTION_NOT_SPL_TOKEN_TRANSFER_CHECKED = "invalid_exact_svm_payload_transaction_instruction_not_spl_token_transfer_checked",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTION_NOT_TOKEN_2022_TRANSFER_CHECKED = "invalid_exact_svm_payload_transaction_instruction_not_token_2022_transfer_checked",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTIONS = "invalid_exact_svm_payload_transaction_instructions",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTIONS_COMPUTE_LIMIT_INSTRUCTION = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTIONS_COMPUTE_PRICE_INSTRUCTION = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTIONS_COMPUTE_PRICE_INSTRUCTION_TOO_HIGH = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_INSTRUCTIONS_LENGTH = "invalid_exact_svm_payload_transaction_instructions_length",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_NOT_A_TRANSFER_INSTRUCTION = "invalid_exact_svm_payload_transaction_not_a_transfer_instruction",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_RECEIVER_ATA_NOT_FOUND = "invalid_exact_svm_payload_transaction_receiver_ata_not_found",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_SENDER_ATA_NOT_FOUND = "invalid_exact_svm_payload_transaction_sender_ata_not_found",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_SIMULATION_FAILED = "invalid_exact_svm_payload_transaction_simulation_failed",
    INVALID_EXACT_SVM_PAYLOAD_TRANSACTION_TRANSFER_TO_INCORRECT_ATA = "invalid_exact_svm_payload_transaction_transfer_to_incorrect_ata",
    INVALID_EXACT_SVM_PAYLOAD_UNKNOWN_FIFTH_INSTRUCTION = "invalid_exact_svm_payload_unknown_fifth_instruction",
    INVALID_EXACT_SVM_PAYLOAD_UNKNOWN_FOURTH_INSTRUCTION = "invalid_exact_svm_payload_unknown_fourth_instruction",
    INVALID_EXACT_SVM_PAYLOAD_UNKNOWN_SIXTH_INSTRUCTION = "invalid_exact_svm_payload_unknown_sixth_instruction",
    INVALID_EXACT_SVM_SMART_WALLET_ALT_RESOLUTION_NOT_AVAILABLE = "invalid_exact_svm_smart_wallet_alt_resolution_not_available",
    INVALID_EXACT_SVM_SMART_WALLET_PROGRAM_NOT_ALLOWED = "invalid_exact_svm_smart_wallet_program_not_allowed",
    SETTLE_EXACT_SVM_BLOCK_HEIGHT_EXCEEDED = "settle_exact_svm_block_height_exceeded",
    SETTLE_EXACT_SVM_TRANSACTION_CONFIRMATION_TIMED_OUT = "settle_exact_svm_transaction_confirmation_timed_out",
    TRANSACTION_SIGNER_FAILED_TO_RETURN_SIGNATURES = "transaction_signer_failed_to_return_signatures",
    TRANSACTION_SIGNER_FAILED_TO_RETURN_TRANSACTION = "transaction_signer_failed_to_return_transaction",
    TRANSACTION_SIGNER_MISSING_SIGNATURES = "transaction_signer_missing_signatures",
    TRANSACTION_SIGNER_MUST_SUPPORT_OFFLINE_SIGNING = "transaction_signer_must_support_offline_signing",
    TRANSACTION_SIMULATION_FAILED = "transaction_simulation_failed",
    // exact TVM
    FACILITATOR_INSUFFICIENT_BALANCE = "facilitator_insufficient_balance",
    INVALID_EXACT_TVM_PAYLOAD = "invalid_exact_tvm_payload",
    INVALID_EXACT_TVM_PAYLOAD_AMOUNT_MISMATCH = "invalid_exact_tvm_payload_amount_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_ASSET_MISMATCH = "invalid_exact_tvm_payload_asset_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_ATTACHED_TON_AMOUNT_TOO_HIGH = "invalid_exact_tvm_payload_attached_ton_amount_too_high",
    INVALID_EXACT_TVM_PAYLOAD_EXTENSIONS_DICT_MISMATCH = "invalid_exact_tvm_payload_extensions_dict_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_INVALID_CODE_HASH = "invalid_exact_tvm_payload_invalid_code_hash",
    INVALID_EXACT_TVM_PAYLOAD_INVALID_SIGNATURE = "invalid_exact_tvm_payload_invalid_signature",
    INVALID_EXACT_TVM_PAYLOAD_JETTON_TRANSFER = "invalid_exact_tvm_payload_jetton_transfer",
    INVALID_EXACT_TVM_PAYLOAD_RECIPIENT_MISMATCH = "invalid_exact_tvm_payload_recipient_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_SEQNO_MISMATCH = "invalid_exact_tvm_payload_seqno_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_SETTLEMENT_BOC = "invalid_exact_tvm_payload_settlement_boc",
    INVALID_EXACT_TVM_PAYLOAD_SIGNATURE_MODE_MISMATCH = "invalid_exact_tvm_payload_signature_mode_mismatch",
    INVALID_EXACT_TVM_PAYLOAD_VALID_UNTIL_EXPIRED = "invalid_exact_tvm_payload_valid_until_expired",
    INVALID_EXACT_TVM_PAYLOAD_VALID_UNTIL_TOO_FAR = "invalid_exact_tvm_payload_valid_until_too_far",
    INVALID_EXACT_TVM_PAYLOAD_W5_ACTIONS = "invalid_exact_tvm_payload_w5_actions",
    INVALID_EXACT_TVM_PAYLOAD_W5_INTERNAL_SIGNED_REQUEST = "invalid_exact_tvm_payload_w5_internal_signed_request",
    INVALID_EXACT_TVM_PAYLOAD_WALLET_ID_MISMATCH = "invalid_exact_tvm_payload_wallet_id_mismatch",
    // sign-in-with-x
    INVALID_SIWX_CHAIN_ID = "invalid_siwx_chain_id",
    INVALID_SIWX_DOMAIN_MISMATCH = "invalid_siwx_domain_mismatch",
    INVALID_SIWX_EXPIRATION_TIME = "invalid_siwx_expiration_time",
    INVALID_SIWX_EXPIRED = "invalid_siwx_expired",
    INVALID_SIWX_ISSUED_AT = "invalid_siwx_issued_at",
    INVALID_SIWX_ISSUED_AT_IN_FUTURE = "invalid_siwx_issued_at_in_future",
    INVALID_SIWX_ISSUED_AT_TOO_OLD = "invalid_siwx_issued_at_too_old",
    INVALID_SIWX_MALFORMED_SIGNATURE = "invalid_siwx_malformed_signature",
    INVALID_SIWX_NONCE = "invalid_siwx_nonce",
    INVALID_SIWX_NOT_BEFORE = "invalid_siwx_not_before",
    INVALID_SIWX_NOT_YET_VALID = "invalid_siwx_not_yet_valid",
    INVALID_SIWX_SIGNATURE = "invalid_siwx_signature",
    INVALID_SIWX_UNSUPPORTED_CHAIN = "invalid_siwx_unsupported_chain",
    INVALID_SIWX_URI_MISMATCH = "invalid_siwx_uri_mismatch",
    INVALID_SIWX_VERIFIER_ERROR = "invalid_siwx_verifier_error",
    NONCE_REUSED = "nonce_reused",
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALL, ErrorCode, RENAMED};

    #[test]
    fn every_code_survives_the_wire_and_is_listed_once() {
        let names: HashSet<_> = ALL.iter().map(ErrorCode::as_str).collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
            assert_eq!(&ErrorCode::from_wire(code.as_str()), code);
        }
    }

    #[test]
    fn old_names_are_read_and_never_written() {
        for (old, new) in RENAMED {
            assert_eq!(ErrorCode::from_wire(old).as_str(), *new);
            assert!(ErrorCode::from_wire(old).is_known());
            assert!(ALL.iter().all(|code| code.as_str() != *old), "{old} must not be written");
        }
    }

    #[test]
    fn an_unknown_code_is_kept_and_bounded() {
        assert_eq!(ErrorCode::from_wire("their_own").as_str(), "their_own");
        assert_eq!(ErrorCode::from_wire(&"x".repeat(4096)).as_str().len(), 128);
    }
}
