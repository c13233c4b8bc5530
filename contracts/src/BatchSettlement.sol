// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBalances} from "./AuthCaptureBase.sol";
import {SafeTransfers} from "./AuthCaptureCollectors.sol";

/// What a channel is, for as long as it is: its hash is its name.
struct ChannelConfig {
    address payer;
    address payerAuthorizer;
    address receiver;
    address receiverAuthorizer;
    address token;
    uint40 withdrawDelay;
    bytes32 salt;
}

struct Voucher {
    ChannelConfig channel;
    uint128 maxClaimableAmount;
}

/// A voucher as its payer signed it, and how much of it is claimed, counted from the channel's beginning.
struct VoucherClaim {
    Voucher voucher;
    bytes signature;
    uint128 totalClaimed;
}

interface IDepositCollector {
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external;
}

/// The names of channels and what is signed about them (EIP-712). The domain is worked out at call time, so the code
/// works wherever a genesis puts it.
///
/// Hashing writes beyond the free memory and leaves it free: a claim of a thousand rows would otherwise pay more for
/// memory than for hashes.
abstract contract BatchHashes {
    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 public constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 public constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 public constant CLAIM_BATCH_TYPEHASH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("x402 Batch Settlement");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// EIP-5267.
    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        return (0x0f, "x402 Batch Settlement", "1", block.chainid, address(this), 0, new uint256[](0));
    }

    function getChannelId(ChannelConfig calldata config) external view returns (bytes32) {
        return _channelId(_domain(), config);
    }

    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32) {
        return _voucherDigest(_domain(), channelId, maxClaimableAmount);
    }

    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) external view returns (bytes32) {
        return _refundDigest(_domain(), channelId, nonce, amount);
    }

    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32 digest) {
        (digest,) = _claimBatchDigest(_domain(), voucherClaims);
    }

    function _domain() internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// The seven words are hashed as they came in, so none may hold more than its type: two spellings of one config
    /// would be two channels.
    function _channelId(bytes32 domain, ChannelConfig calldata config) internal pure returns (bytes32 hash) {
        bytes32 typehash = CHANNEL_CONFIG_TYPEHASH;
        assembly ("memory-safe") {
            let excess := or(shr(160, calldataload(config)), shr(160, calldataload(add(config, 0x20))))
            excess := or(excess, shr(160, calldataload(add(config, 0x40))))
            excess := or(excess, shr(160, calldataload(add(config, 0x60))))
            excess := or(excess, shr(160, calldataload(add(config, 0x80))))
            if or(excess, shr(40, calldataload(add(config, 0xa0)))) { revert(0, 0) }
            let free := mload(0x40)
            mstore(free, typehash)
            calldatacopy(add(free, 0x20), config, 0xe0)
            hash := keccak256(free, 0x100)
        }
        return _typed(domain, hash);
    }

    function _voucherDigest(bytes32 domain, bytes32 channelId, uint128 maxClaimableAmount)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domain, _hash(VOUCHER_TYPEHASH, channelId, maxClaimableAmount));
    }

    function _refundDigest(bytes32 domain, bytes32 channelId, uint256 nonce, uint128 amount)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domain, _hash(REFUND_TYPEHASH, channelId, nonce, amount));
    }

    /// What a receiver's authorizer signs for a batch, and the names of its channels, which are worked out on the way.
    function _claimBatchDigest(bytes32 domain, VoucherClaim[] calldata rows)
        internal
        pure
        returns (bytes32 digest, bytes32[] memory channelIds)
    {
        uint256 count = rows.length;
        channelIds = new bytes32[](count);
        bytes32[] memory entries = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            VoucherClaim calldata row = rows[i];
            bytes32 channelId = _channelId(domain, row.voucher.channel);
            channelIds[i] = channelId;
            entries[i] = _hash(CLAIM_ENTRY_TYPEHASH, channelId, row.voucher.maxClaimableAmount, row.totalClaimed);
        }
        bytes32 root;
        assembly ("memory-safe") {
            root := keccak256(add(entries, 0x20), shl(5, count))
        }
        digest = _typed(domain, keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, root)));
    }

    function _hash(bytes32 a, bytes32 b, uint256 c) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, a)
            mstore(add(free, 0x20), b)
            mstore(add(free, 0x40), c)
            hash := keccak256(free, 0x60)
        }
    }

    function _hash(bytes32 a, bytes32 b, uint256 c, uint256 d) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, a)
            mstore(add(free, 0x20), b)
            mstore(add(free, 0x40), c)
            mstore(add(free, 0x60), d)
            hash := keccak256(free, 0x80)
        }
    }

    function _typed(bytes32 domain, bytes32 content) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(240, 0x1901))
            mstore(add(free, 0x02), domain)
            mstore(add(free, 0x22), content)
            hash := keccak256(free, 0x42)
        }
    }
}

/// Who signed: a key, or a contract that says so (ERC-1271).
abstract contract BatchSignatures {
    // Half the order of secp256k1: a signature with a larger s is the malleable twin of another one.
    uint256 private constant MAX_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    bytes4 private constant IS_VALID_SIGNATURE = 0x1626ba7e;
    uint256 private constant SIGNATURE_BYTES = 65;

    error ECDSAInvalidSignature();
    error ECDSAInvalidSignatureLength(uint256 length);
    error ECDSAInvalidSignatureS(bytes32 s);

    /// The key that signed. It never is the zero address: what is not a signature reverts.
    function _recover(bytes32 digest, bytes calldata signature) internal pure returns (address key) {
        if (signature.length != SIGNATURE_BYTES) revert ECDSAInvalidSignatureLength(signature.length);
        (uint8 v, bytes32 r, bytes32 s) = _split(signature);
        if (uint256(s) > MAX_S) revert ECDSAInvalidSignatureS(s);
        key = ecrecover(digest, v, r, s);
        if (key == address(0)) revert ECDSAInvalidSignature();
    }

    /// Whether an account signed, asked of its code where it has some.
    function _isSigned(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (account.code.length != 0) return _isApproved(account, digest, signature);
        if (signature.length != SIGNATURE_BYTES) return false;
        (uint8 v, bytes32 r, bytes32 s) = _split(signature);
        if (uint256(s) > MAX_S) return false;
        address key = ecrecover(digest, v, r, s);
        return key != address(0) && key == account;
    }

    /// Of 65 bytes.
    function _split(bytes calldata signature) private pure returns (uint8 v, bytes32 r, bytes32 s) {
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
    }

    /// One word of the answer is read, however long it is.
    function _isApproved(address account, bytes32 digest, bytes calldata signature) private view returns (bool yes) {
        bytes memory question = abi.encodeWithSelector(IS_VALID_SIGNATURE, digest, signature);
        bytes32 magic = IS_VALID_SIGNATURE;
        assembly ("memory-safe") {
            let answered := staticcall(gas(), account, add(question, 0x20), mload(question), 0, 0x20)
            yes := and(and(answered, gt(returndatasize(), 0x1f)), eq(mload(0), magic))
        }
    }
}

/// Channels of scheme `batch-settlement`: a payer's deposit, out of which a receiver claims what vouchers of the payer
/// allow, in batches. Interface, errors, events, hashes and the order of checks are those of the contract on chain; the
/// code is our own and not audited.
///
/// Where every amount is: a channel's `balance - totalClaimed` is the payer's to get back, a receiver's
/// `totalClaimed - totalSettled` is to be settled, and together they are what is held of a token.
contract BatchSettlement is BatchHashes, BatchSignatures, SafeTransfers {
    /// One word: the balance below, what is claimed above.
    struct ChannelState {
        uint128 balance;
        uint128 totalClaimed;
    }

    struct WithdrawalState {
        uint128 amount;
        uint40 initiatedAt;
    }

    struct ReceiverState {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    /// What rows in a row claim for one receiver: written once, however many they are.
    struct Credit {
        address receiver;
        address token;
        uint128 amount;
    }

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    mapping(bytes32 channelId => ChannelState) public channels;
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(bytes32 channelId => WithdrawalState) public pendingWithdrawals;
    mapping(address receiver => mapping(address token => ReceiverState)) public receivers;

    bool private transient entered;

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

    modifier nonReentrant() {
        if (entered) revert ReentrancyGuardReentrantCall();
        entered = true;
        _;
        entered = false;
    }

    /// Several calls of one sender, all or none.
    function multicall(bytes[] calldata data) external returns (bytes[] memory results) {
        results = new bytes[](data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            (bool succeeded, bytes memory answer) = address(this).delegatecall(data[i]);
            if (!succeeded) {
                if (answer.length == 0) revert FailedCall();
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
            results[i] = answer;
        }
    }

    /// Any collector may bring the money: only the balance that it leaves is believed.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
    {
        _requireOpenable(config);
        if (amount == 0) revert ZeroDeposit();
        if (collector == address(0)) revert InvalidCollector();
        bytes32 channelId = _channelId(_domain(), config);
        ChannelState memory state = channels[channelId];
        if (amount > type(uint128).max - state.balance) revert DepositOverflow();
        bool isNew = state.balance == 0 && state.totalClaimed == 0;
        uint128 balance = state.balance + amount;
        channels[channelId].balance = balance;
        _collect(config, amount, channelId, collector, collectorData);
        if (isNew) emit ChannelCreated(channelId, config);
        emit Deposited(channelId, msg.sender, amount, balance);
    }

    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 domain = _domain();
        Credit memory credit;
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            if (!_isReceiverSide(row.voucher.channel)) revert NotAuthorizedToClaim();
            _claim(row, domain, _channelId(domain, row.voucher.channel), credit);
        }
        _write(credit);
    }

    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        nonReentrant
    {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 domain = _domain();
        (bytes32 digest, bytes32[] memory channelIds) = _claimBatchDigest(domain, voucherClaims);
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        if (!_isSigned(authorizer, digest, authorizerSignature)) revert InvalidSignature();
        Credit memory credit;
        for (uint256 i = 0; i < channelIds.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            if (row.voucher.channel.receiverAuthorizer != authorizer) revert NotReceiverAuthorizer();
            _claim(row, domain, channelIds[i], credit);
        }
        _write(credit);
    }

    /// Anybody may have a receiver paid.
    function settle(address receiver, address token) external nonReentrant {
        ReceiverState storage state = receivers[receiver][token];
        uint128 claimed = state.totalClaimed;
        uint128 amount = claimed - state.totalSettled;
        if (amount == 0) return;
        state.totalSettled = claimed;
        _transfer(token, receiver, amount);
        emit Settled(receiver, token, msg.sender, amount);
    }

    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        if (!_isPayerSide(config)) revert InvalidChannel();
        if (amount == 0) revert NothingToWithdraw();
        bytes32 channelId = _channelId(_domain(), config);
        WithdrawalState storage withdrawal = pendingWithdrawals[channelId];
        if (withdrawal.initiatedAt != 0) revert WithdrawalAlreadyPending();
        if (amount > _unclaimed(channels[channelId])) revert WithdrawAmountExceedsAvailable();
        uint40 now_ = uint40(block.timestamp);
        withdrawal.amount = amount;
        withdrawal.initiatedAt = now_;
        emit WithdrawInitiated(channelId, amount, now_ + config.withdrawDelay);
    }

    /// What was claimed in the meantime is not withdrawn.
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        if (!_isPayerSide(config)) revert NotAuthorizedToFinalizeWithdraw();
        bytes32 channelId = _channelId(_domain(), config);
        WithdrawalState memory withdrawal = pendingWithdrawals[channelId];
        if (withdrawal.initiatedAt == 0) revert WithdrawalNotPending();
        if (block.timestamp < uint256(withdrawal.initiatedAt) + config.withdrawDelay) revert WithdrawDelayNotElapsed();
        delete pendingWithdrawals[channelId];
        (uint128 amount, bool isEmpty) = _take(channelId, withdrawal.amount);
        emit WithdrawFinalized(channelId, msg.sender, amount);
        if (isEmpty) emit ChannelClosed(channelId, config);
        if (amount != 0) _transfer(config.token, config.payer, amount);
    }

    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        if (!_isReceiverSide(config)) revert NotAuthorizedToRefund();
        _refund(config, _channelId(_domain(), config), amount);
    }

    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 domain = _domain();
        bytes32 channelId = _channelId(domain, config);
        if (nonce != refundNonce[channelId]) revert InvalidRefundNonce();
        bytes32 digest = _refundDigest(domain, channelId, nonce, amount);
        if (!_isSigned(config.receiverAuthorizer, digest, receiverAuthorizerSignature)) revert InvalidSignature();
        _refund(config, channelId, amount);
    }

    function _requireOpenable(ChannelConfig calldata config) private pure {
        bool isWhole = config.payer != address(0) && config.receiver != address(0)
            && config.receiverAuthorizer != address(0) && config.token != address(0);
        if (!isWhole) revert InvalidChannel();
        uint40 delay = config.withdrawDelay;
        if (delay < MIN_WITHDRAW_DELAY || delay > MAX_WITHDRAW_DELAY) revert WithdrawDelayOutOfRange();
    }

    function _collect(
        ChannelConfig calldata config,
        uint128 amount,
        bytes32 channelId,
        address collector,
        bytes calldata collectorData
    ) private {
        IBalances token = IBalances(config.token);
        uint256 before = token.balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, address(token), amount, channelId, collectorData);
        if (token.balanceOf(address(this)) != before + amount) revert DepositCollectionFailed();
    }

    /// One voucher. A row that claims no more than was claimed before is passed over, whoever signed it. The channel's
    /// word is read once and written once: most of what a batch costs is here.
    function _claim(VoucherClaim calldata row, bytes32 domain, bytes32 channelId, Credit memory credit) private {
        ChannelState storage state = channels[channelId];
        uint256 word;
        assembly ("memory-safe") {
            word := sload(state.slot)
        }
        uint256 total = row.totalClaimed;
        uint256 claimed = word >> 128;
        if (total <= claimed) return;
        uint128 ceiling = row.voucher.maxClaimableAmount;
        if (total > ceiling) revert ClaimExceedsCeiling();
        if (total > uint128(word)) revert ClaimExceedsBalance();
        _requireVoucher(row, _voucherDigest(domain, channelId, ceiling));
        word = (total << 128) | uint128(word);
        assembly ("memory-safe") {
            sstore(state.slot, word)
        }
        uint128 amount = uint128(total - claimed);
        _add(credit, row.voucher.channel, amount);
        emit Claimed(channelId, msg.sender, amount, uint128(total));
    }

    /// A key that a channel names signs alone, whatever code its account has; without one the payer's account does.
    function _requireVoucher(VoucherClaim calldata row, bytes32 digest) private view {
        address key = row.voucher.channel.payerAuthorizer;
        bytes calldata signature = row.signature;
        bool isSigned = key != address(0)
            ? _recover(digest, signature) == key
            : _isSigned(row.voucher.channel.payer, digest, signature);
        if (!isSigned) revert InvalidSignature();
    }

    function _add(Credit memory credit, ChannelConfig calldata config, uint128 amount) private {
        (address receiver, address token) = (config.receiver, config.token);
        if (credit.receiver != receiver || credit.token != token) {
            _write(credit);
            (credit.receiver, credit.token, credit.amount) = (receiver, token, 0);
        }
        credit.amount += amount;
    }

    function _write(Credit memory credit) private {
        if (credit.amount != 0) receivers[credit.receiver][credit.token].totalClaimed += credit.amount;
    }

    /// The nonce moves even if there is nothing to give back. A withdrawal that waits shrinks by what is given.
    function _refund(ChannelConfig calldata config, bytes32 channelId, uint128 asked) private {
        if (asked == 0) revert ZeroRefund();
        refundNonce[channelId] += 1;
        (uint128 amount, bool isEmpty) = _take(channelId, asked);
        if (amount == 0) return;
        WithdrawalState memory withdrawal = pendingWithdrawals[channelId];
        if (withdrawal.initiatedAt != 0) {
            if (amount >= withdrawal.amount) {
                delete pendingWithdrawals[channelId];
            } else {
                pendingWithdrawals[channelId].amount = withdrawal.amount - amount;
            }
        }
        emit Refunded(channelId, msg.sender, amount);
        if (isEmpty) emit ChannelClosed(channelId, config);
        _transfer(config.token, config.payer, amount);
    }

    /// Takes what is asked for out of a channel, or what is unclaimed if that is less.
    function _take(bytes32 channelId, uint128 asked) private returns (uint128 amount, bool isEmpty) {
        ChannelState memory state = channels[channelId];
        uint128 unclaimed = _unclaimed(state);
        amount = asked < unclaimed ? asked : unclaimed;
        uint128 rest = state.balance - amount;
        channels[channelId].balance = rest;
        isEmpty = rest == 0 && state.totalClaimed == 0;
    }

    function _unclaimed(ChannelState memory state) private pure returns (uint128) {
        return state.balance - state.totalClaimed;
    }

    function _isPayerSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.payer || msg.sender == config.payerAuthorizer;
    }

    function _isReceiverSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.receiverAuthorizer || msg.sender == config.receiver;
    }
}
