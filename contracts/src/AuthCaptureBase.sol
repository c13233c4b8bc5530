// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The terms that a payer agreed to, as the escrow hashes them.
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

interface ITokenCollector {
    function collectorType() external view returns (uint8);

    function collectTokens(
        PaymentInfo calldata paymentInfo,
        address tokenStore,
        uint256 amount,
        bytes calldata collectorData
    ) external;
}

interface IBalances {
    function balanceOf(address account) external view returns (uint256);
}

/// Where an operator's held money lies. Each operator has one, made when money first leaves it: the known address may
/// be paid to before.
interface ITokenStore {
    function sendTokens(address token, address recipient, uint256 amount) external returns (bool);
}

/// What both versions of the escrow do alike: all but the spelling of fees. Interface, errors, events and hashes are
/// those of the contracts that are deployed; the code is our own.
abstract contract AuthCaptureBase {
    struct PaymentState {
        bool hasCollectedPayment;
        uint120 capturableAmount;
        uint120 refundableAmount;
    }

    bytes32 public constant PAYMENT_INFO_TYPEHASH = keccak256(
        "PaymentInfo(address operator,address payer,address receiver,address token,uint120 maxAmount,uint48 preApprovalExpiry,uint48 authorizationExpiry,uint48 refundExpiry,uint16 minFeeBps,uint16 maxFeeBps,address feeReceiver,uint256 salt)"
    );

    uint8 internal constant PAYMENT = 0;
    uint8 internal constant REFUND = 1;
    uint256 private constant WHOLE_BPS = 10_000;

    mapping(bytes32 paymentInfoHash => PaymentState) public paymentState;

    bool private transient entered;

    event PaymentAuthorized(
        bytes32 indexed paymentInfoHash, PaymentInfo paymentInfo, uint256 amount, address tokenCollector
    );
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
    error Reentrancy();

    modifier nonReentrant() {
        if (entered) revert Reentrancy();
        entered = true;
        _;
        entered = false;
    }

    modifier onlySender(address expected) {
        if (msg.sender != expected) revert InvalidSender(msg.sender, expected);
        _;
    }

    modifier validAmount(uint256 amount) {
        if (amount == 0) revert ZeroAmount();
        if (amount > type(uint120).max) revert AmountOverflow(amount, type(uint120).max);
        _;
    }

    /// What every store delegates to.
    function tokenStoreImplementation() public view virtual returns (address);

    function authorize(
        PaymentInfo calldata paymentInfo,
        uint256 amount,
        address tokenCollector,
        bytes calldata collectorData
    ) external nonReentrant onlySender(paymentInfo.operator) validAmount(amount) {
        _requirePayable(paymentInfo, amount);
        bytes32 paymentInfoHash = _markCollected(paymentInfo, uint120(amount), 0);
        emit PaymentAuthorized(paymentInfoHash, paymentInfo, amount, tokenCollector);
        _collect(paymentInfo, amount, tokenCollector, collectorData, PAYMENT);
    }

    function void(PaymentInfo calldata paymentInfo) external nonReentrant onlySender(paymentInfo.operator) {
        (bytes32 paymentInfoHash, uint256 amount) = _clearHold(paymentInfo);
        emit PaymentVoided(paymentInfoHash, amount);
        _send(paymentInfo, paymentInfo.payer, amount);
    }

    function reclaim(PaymentInfo calldata paymentInfo) external nonReentrant onlySender(paymentInfo.payer) {
        uint48 expiry = paymentInfo.authorizationExpiry;
        if (block.timestamp < expiry) revert BeforeAuthorizationExpiry(uint48(block.timestamp), expiry);
        (bytes32 paymentInfoHash, uint256 amount) = _clearHold(paymentInfo);
        emit PaymentReclaimed(paymentInfoHash, amount);
        _send(paymentInfo, paymentInfo.payer, amount);
    }

    function refund(
        PaymentInfo calldata paymentInfo,
        uint256 amount,
        address tokenCollector,
        bytes calldata collectorData
    ) external nonReentrant onlySender(paymentInfo.operator) validAmount(amount) {
        uint48 expiry = paymentInfo.refundExpiry;
        if (block.timestamp >= expiry) revert AfterRefundExpiry(uint48(block.timestamp), expiry);
        bytes32 paymentInfoHash = getHash(paymentInfo);
        PaymentState storage state = paymentState[paymentInfoHash];
        uint120 captured = state.refundableAmount;
        if (amount > captured) revert RefundExceedsCapture(amount, captured);
        state.refundableAmount = captured - uint120(amount);
        emit PaymentRefunded(paymentInfoHash, amount, tokenCollector);
        _collect(paymentInfo, amount, tokenCollector, collectorData, REFUND);
        _send(paymentInfo, paymentInfo.payer, amount);
    }

    /// What names a payment on this chain, in this escrow.
    function getHash(PaymentInfo calldata paymentInfo) public view returns (bytes32) {
        bytes32 terms = keccak256(abi.encode(PAYMENT_INFO_TYPEHASH, paymentInfo));
        return keccak256(abi.encode(block.chainid, address(this), terms));
    }

    /// Where an operator's held money lies, whether the store is there yet or not.
    function getTokenStore(address operator) public view returns (address) {
        bytes32 code = keccak256(_storeCode());
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), _salt(operator), code)))));
    }

    function _requirePayable(PaymentInfo calldata info, uint256 amount) internal view {
        if (amount > info.maxAmount) revert ExceedsMaxAmount(amount, info.maxAmount);
        if (block.timestamp >= info.preApprovalExpiry) {
            revert AfterPreApprovalExpiry(uint48(block.timestamp), info.preApprovalExpiry);
        }
        if (info.preApprovalExpiry > info.authorizationExpiry || info.authorizationExpiry > info.refundExpiry) {
            revert InvalidExpiries(info.preApprovalExpiry, info.authorizationExpiry, info.refundExpiry);
        }
        if (info.maxFeeBps > WHOLE_BPS) revert FeeBpsOverflow(info.maxFeeBps);
        if (info.minFeeBps > info.maxFeeBps) revert InvalidFeeBpsRange(info.minFeeBps, info.maxFeeBps);
    }

    function _requireFeeReceiver(PaymentInfo calldata info, bool hasFee, address feeReceiver) internal pure {
        if (hasFee && feeReceiver == address(0)) revert ZeroFeeReceiver();
        if (info.feeReceiver != address(0) && feeReceiver != info.feeReceiver) {
            revert InvalidFeeReceiver(feeReceiver, info.feeReceiver);
        }
    }

    function _markCollected(PaymentInfo calldata info, uint120 capturable, uint120 refundable)
        internal
        returns (bytes32 paymentInfoHash)
    {
        paymentInfoHash = getHash(info);
        if (paymentState[paymentInfoHash].hasCollectedPayment) revert PaymentAlreadyCollected(paymentInfoHash);
        paymentState[paymentInfoHash] = PaymentState(true, capturable, refundable);
    }

    function _markCaptured(PaymentInfo calldata info, uint256 amount) internal returns (bytes32 paymentInfoHash) {
        uint48 expiry = info.authorizationExpiry;
        if (block.timestamp >= expiry) revert AfterAuthorizationExpiry(uint48(block.timestamp), expiry);
        paymentInfoHash = getHash(info);
        PaymentState storage state = paymentState[paymentInfoHash];
        uint120 held = state.capturableAmount;
        if (held < amount) revert InsufficientAuthorization(paymentInfoHash, held, amount);
        state.capturableAmount = held - uint120(amount);
        state.refundableAmount += uint120(amount);
    }

    /// Brings money into the store, and believes the store's balance only.
    function _collect(
        PaymentInfo calldata info,
        uint256 amount,
        address tokenCollector,
        bytes calldata collectorData,
        uint8 collectorType
    ) internal {
        if (ITokenCollector(tokenCollector).collectorType() != collectorType) revert InvalidCollectorForOperation();
        address tokenStore = getTokenStore(info.operator);
        uint256 before = IBalances(info.token).balanceOf(tokenStore);
        ITokenCollector(tokenCollector).collectTokens(info, tokenStore, amount, collectorData);
        if (IBalances(info.token).balanceOf(tokenStore) != before + amount) revert TokenCollectionFailed();
    }

    function _distribute(PaymentInfo calldata info, uint256 amount, uint256 feeAmount, address feeReceiver) internal {
        if (feeAmount != 0) _send(info, feeReceiver, feeAmount);
        if (amount > feeAmount) _send(info, info.receiver, amount - feeAmount);
    }

    function _share(uint256 amount, uint16 bps) internal pure returns (uint256) {
        return amount * bps / WHOLE_BPS;
    }

    function _clearHold(PaymentInfo calldata info) private returns (bytes32 paymentInfoHash, uint256 amount) {
        paymentInfoHash = getHash(info);
        amount = paymentState[paymentInfoHash].capturableAmount;
        if (amount == 0) revert ZeroAuthorization(paymentInfoHash);
        paymentState[paymentInfoHash].capturableAmount = 0;
    }

    function _send(PaymentInfo calldata info, address recipient, uint256 amount) private {
        address tokenStore = getTokenStore(info.operator);
        if (tokenStore.code.length == 0) {
            bytes memory code = _storeCode();
            bytes32 salt = _salt(info.operator);
            assembly ("memory-safe") {
                tokenStore := create2(0, add(code, 32), mload(code), salt)
            }
            require(tokenStore != address(0), "token store: not created");
            emit TokenStoreCreated(info.operator, tokenStore);
        }
        ITokenStore(tokenStore).sendTokens(info.token, recipient, amount);
    }

    function _salt(address operator) private pure returns (bytes32) {
        return bytes32(bytes20(operator));
    }

    /// A minimal proxy: it hands every call on to the implementation.
    function _storeCode() private view returns (bytes memory) {
        return abi.encodePacked(
            hex"602c3d8160093d39f33d3d3d3d363d3d37363d73",
            tokenStoreImplementation(),
            hex"5af43d3d93803e602a57fd5bf3"
        );
    }
}
