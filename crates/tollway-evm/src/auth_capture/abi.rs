//! The interface of the escrow, as it is on every chain: its calls, events and errors, and the struct that they are about.

use alloy_sol_types::sol;

sol! {
    /// What a payer agrees to, with the names of the contracts.
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

    interface Escrow {
        event PaymentAuthorized(bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector);
        event PaymentCharged(bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector, uint256 feeAmount, address feeReceiver);
        event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint256 feeAmount, address feeReceiver);
        event PaymentVoided(bytes32 indexed paymentInfoHash, uint256 amount);
        event PaymentReclaimed(bytes32 indexed paymentInfoHash, uint256 amount);
        event PaymentRefunded(bytes32 indexed paymentInfoHash, uint256 amount, address tokenCollector);

        error InvalidSender(address sender, address expected);
        error ZeroAmount();
        error AmountOverflow(uint256 amount, uint256 limit);
        error ExceedsMaxAmount(uint256 amount, uint256 maxAmount);
        error AfterPreApprovalExpiry(uint48 timestamp, uint48 expiry);
        error InvalidExpiries(uint48 preApproval, uint48 authorization, uint48 refund);
        error FeeBpsOverflow(uint16 feeBps);
        error InvalidFeeBpsRange(uint16 minFeeBps, uint16 maxFeeBps);
        error FeeBpsOutOfRange(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps);
        error FeeAmountOutOfRange(uint256 feeAmount, uint256 minFee, uint256 maxFee);
        error ZeroFeeReceiver();
        error InvalidFeeReceiver(address attempted, address expected);
        error InvalidCollectorForOperation();
        error TokenCollectionFailed();
        error PaymentAlreadyCollected(bytes32 paymentInfoHash);
        error AfterAuthorizationExpiry(uint48 timestamp, uint48 expiry);
        error InsufficientAuthorization(bytes32 paymentInfoHash, uint256 authorizedAmount, uint256 requestedAmount);
        error ZeroAuthorization(bytes32 paymentInfoHash);
        error AfterRefundExpiry(uint48 timestamp, uint48 expiry);
        error RefundExceedsCapture(uint256 refund, uint256 captured);

        function authorize(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData) external;
        function charge(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData, uint256 feeAmount, address feeReceiver) external;
        function capture(PaymentInfo paymentInfo, uint256 amount, uint256 feeAmount, address feeReceiver) external;
        function void(PaymentInfo paymentInfo) external;
        function reclaim(PaymentInfo paymentInfo) external;
        function refund(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData) external;
        function paymentState(bytes32 paymentInfoHash) external view returns (bool hasCollectedPayment, uint120 capturableAmount, uint120 refundableAmount);
    }

    interface EscrowInBps {
        event PaymentCharged(bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector, uint16 feeBps, address feeReceiver);
        event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint16 feeBps, address feeReceiver);

        function charge(PaymentInfo paymentInfo, uint256 amount, address tokenCollector, bytes collectorData, uint16 feeBps, address feeReceiver) external;
        function capture(PaymentInfo paymentInfo, uint256 amount, uint16 feeBps, address feeReceiver) external;
    }
}
