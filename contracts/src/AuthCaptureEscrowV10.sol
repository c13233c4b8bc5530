// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AuthCaptureBase, PaymentInfo} from "./AuthCaptureBase.sol";

/// The escrow of commerce-payments v1.0: who charges or captures names the fee in basis points.
contract AuthCaptureEscrowV10 is AuthCaptureBase {
    event PaymentCharged(
        bytes32 indexed paymentInfoHash,
        PaymentInfo paymentInfo,
        uint256 amount,
        address tokenCollector,
        uint16 feeBps,
        address feeReceiver
    );
    event PaymentCaptured(bytes32 indexed paymentInfoHash, uint256 amount, uint16 feeBps, address feeReceiver);

    error FeeBpsOutOfRange(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps);

    function tokenStoreImplementation() public pure override returns (address) {
        return 0xEd411C46508C2acf1D387754Df9cc98D0ef80D08;
    }

    function charge(
        PaymentInfo calldata paymentInfo,
        uint256 amount,
        address tokenCollector,
        bytes calldata collectorData,
        uint16 feeBps,
        address feeReceiver
    ) external nonReentrant onlySender(paymentInfo.operator) validAmount(amount) {
        _requirePayable(paymentInfo, amount);
        _requireFee(paymentInfo, feeBps, feeReceiver);
        bytes32 paymentInfoHash = _markCollected(paymentInfo, 0, uint120(amount));
        emit PaymentCharged(paymentInfoHash, paymentInfo, amount, tokenCollector, feeBps, feeReceiver);
        _collect(paymentInfo, amount, tokenCollector, collectorData, PAYMENT);
        _distribute(paymentInfo, amount, _share(amount, feeBps), feeReceiver);
    }

    function capture(PaymentInfo calldata paymentInfo, uint256 amount, uint16 feeBps, address feeReceiver)
        external
        nonReentrant
        onlySender(paymentInfo.operator)
        validAmount(amount)
    {
        _requireFee(paymentInfo, feeBps, feeReceiver);
        bytes32 paymentInfoHash = _markCaptured(paymentInfo, amount);
        emit PaymentCaptured(paymentInfoHash, amount, feeBps, feeReceiver);
        _distribute(paymentInfo, amount, _share(amount, feeBps), feeReceiver);
    }

    function _requireFee(PaymentInfo calldata info, uint16 feeBps, address feeReceiver) private pure {
        if (feeBps < info.minFeeBps || feeBps > info.maxFeeBps) {
            revert FeeBpsOutOfRange(feeBps, info.minFeeBps, info.maxFeeBps);
        }
        _requireFeeReceiver(info, feeBps != 0, feeReceiver);
    }
}
