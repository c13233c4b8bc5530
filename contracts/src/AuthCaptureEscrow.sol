// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AuthCaptureBase, PaymentInfo} from "./AuthCaptureBase.sol";

/// The escrow of commerce-payments v1.1: who charges or captures names the fee as an amount.
contract AuthCaptureEscrow is AuthCaptureBase {
    event PaymentCharged(
        bytes32 indexed paymentInfoHash,
        PaymentInfo paymentInfo,
        uint256 amount,
        address tokenCollector,
        uint256 feeAmount,
        address feeReceiver
    );
    event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint256 feeAmount, address feeReceiver);

    error FeeAmountOutOfRange(uint256 feeAmount, uint256 minFee, uint256 maxFee);

    /// What `new` would make of its store as the first thing in the constructor of the escrow at its known address.
    function tokenStoreImplementation() public pure override returns (address) {
        return 0xe4be44B1505d29ae640748b4cce530ece6DcD450;
    }

    function charge(
        PaymentInfo calldata paymentInfo,
        uint256 amount,
        address tokenCollector,
        bytes calldata collectorData,
        uint256 feeAmount,
        address feeReceiver
    ) external nonReentrant onlySender(paymentInfo.operator) validAmount(amount) {
        _requirePayable(paymentInfo, amount);
        _requireFee(paymentInfo, amount, feeAmount, feeReceiver);
        bytes32 paymentInfoHash = _markCollected(paymentInfo, 0, uint120(amount));
        emit PaymentCharged(paymentInfoHash, paymentInfo, amount, tokenCollector, feeAmount, feeReceiver);
        _collect(paymentInfo, amount, tokenCollector, collectorData, PAYMENT);
        _distribute(paymentInfo, amount, feeAmount, feeReceiver);
    }

    function capture(PaymentInfo calldata paymentInfo, uint256 amount, uint256 feeAmount, address feeReceiver)
        external
        nonReentrant
        onlySender(paymentInfo.operator)
        validAmount(amount)
    {
        _requireFee(paymentInfo, amount, feeAmount, feeReceiver);
        bytes32 paymentInfoHash = _markCaptured(paymentInfo, amount);
        emit PaymentCaptured(paymentInfoHash, amount, feeAmount, feeReceiver);
        _distribute(paymentInfo, amount, feeAmount, feeReceiver);
    }

    function _requireFee(PaymentInfo calldata info, uint256 amount, uint256 feeAmount, address feeReceiver)
        private
        pure
    {
        uint256 least = _share(amount, info.minFeeBps);
        uint256 most = _share(amount, info.maxFeeBps);
        if (feeAmount < least || feeAmount > most) revert FeeAmountOutOfRange(feeAmount, least, most);
        _requireFeeReceiver(info, feeAmount != 0, feeReceiver);
    }
}
