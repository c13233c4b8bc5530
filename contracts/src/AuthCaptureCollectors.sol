// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITokenStore, PaymentInfo} from "./AuthCaptureBase.sol";

interface IEscrow {
    function getHash(PaymentInfo calldata paymentInfo) external view returns (bytes32);
}

interface IReceivable {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

interface ISignatureTransfer {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes calldata signature
    ) external;
}

interface IMulticall {
    struct Call {
        address target;
        bytes callData;
    }

    function tryAggregate(bool requireSuccess, Call[] calldata calls) external;
}

abstract contract SafeTransfers {
    error SafeERC20FailedOperation(address token);

    /// Tokens answer `true` or nothing.
    function _transfer(address token, address to, uint256 amount) internal {
        _call(token, abi.encodeWithSignature("transfer(address,uint256)", to, amount));
    }

    function _transferFrom(address token, address from, address to, uint256 amount) internal {
        _call(token, abi.encodeWithSignature("transferFrom(address,address,uint256)", from, to, amount));
    }

    function _call(address token, bytes memory data) private {
        (bool succeeded, bytes memory returned) = token.call(data);
        if (!succeeded && returned.length != 0) {
            assembly ("memory-safe") {
                revert(add(returned, 32), mload(returned))
            }
        }
        bool agreed = returned.length == 0 ? token.code.length != 0 : abi.decode(returned, (bool));
        if (!succeeded || !agreed) revert SafeERC20FailedOperation(token);
    }
}

/// What the stores of one escrow do: pay out what it says, and nothing for anybody else.
abstract contract TokenStoreOf is ITokenStore, SafeTransfers {
    error OnlyAuthCaptureEscrow();

    function authCaptureEscrow() public pure virtual returns (address);

    function sendTokens(address token, address recipient, uint256 amount) external returns (bool) {
        if (msg.sender != authCaptureEscrow()) revert OnlyAuthCaptureEscrow();
        _transfer(token, recipient, amount);
        return true;
    }
}

/// How money comes into an escrow's store. Only that escrow can make it come.
abstract contract CollectorOf is SafeTransfers {
    bytes32 private constant ERC6492_SUFFIX = 0x6492649264926492649264926492649264926492649264926492649264926492;
    IMulticall public constant multicall3 = IMulticall(0xcA11bde05977b3631167028862bE2a173976CA11);

    error OnlyAuthCaptureEscrow();

    function authCaptureEscrow() public pure virtual returns (address);

    function collectorType() external pure virtual returns (uint8) {
        return 0;
    }

    function collectTokens(
        PaymentInfo calldata paymentInfo,
        address tokenStore,
        uint256 amount,
        bytes calldata collectorData
    ) external {
        if (msg.sender != authCaptureEscrow()) revert OnlyAuthCaptureEscrow();
        _collect(paymentInfo, tokenStore, amount, collectorData);
    }

    function _collect(PaymentInfo calldata info, address tokenStore, uint256 amount, bytes calldata data)
        internal
        virtual;

    /// What the payer signed as the nonce: the payment's hash before anybody is its payer.
    function _nonce(PaymentInfo calldata paymentInfo) internal view returns (bytes32) {
        PaymentInfo memory anybodys = paymentInfo;
        anybodys.payer = address(0);
        return IEscrow(authCaptureEscrow()).getHash(anybodys);
    }

    /// A wallet that is not deployed yet brings the call that deploys it (ERC-6492). It is made by Multicall3, so that
    /// nobody takes it for the collector's own.
    function _signature(bytes calldata data) internal returns (bytes memory) {
        uint256 length = data.length;
        if (length < 32 || bytes32(data[length - 32:]) != ERC6492_SUFFIX) return data;
        (address target, bytes memory preparation, bytes memory signature) =
            abi.decode(data[:length - 32], (address, bytes, bytes));
        IMulticall.Call[] memory calls = new IMulticall.Call[](1);
        calls[0] = IMulticall.Call(target, preparation);
        multicall3.tryAggregate(false, calls);
        return signature;
    }
}

/// From the payer, by EIP-3009. The whole of what was signed comes; what is not asked for goes back.
abstract contract Erc3009CollectorOf is CollectorOf {
    function _collect(PaymentInfo calldata info, address tokenStore, uint256 amount, bytes calldata data)
        internal
        override
    {
        bytes memory signature = _signature(data);
        IReceivable(info.token)
            .receiveWithAuthorization(
                info.payer, address(this), info.maxAmount, 0, info.preApprovalExpiry, _nonce(info), signature
            );
        if (info.maxAmount > amount) _transfer(info.token, info.payer, info.maxAmount - amount);
        _transfer(info.token, tokenStore, amount);
    }
}

/// From the payer, by Permit2.
abstract contract Permit2CollectorOf is CollectorOf {
    ISignatureTransfer public constant permit2 = ISignatureTransfer(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    function _collect(PaymentInfo calldata info, address tokenStore, uint256 amount, bytes calldata data)
        internal
        override
    {
        bytes memory signature = _signature(data);
        permit2.permitTransferFrom(
            ISignatureTransfer.PermitTransferFrom({
                permitted: ISignatureTransfer.TokenPermissions(info.token, info.maxAmount),
                nonce: uint256(_nonce(info)),
                deadline: info.preApprovalExpiry
            }),
            ISignatureTransfer.SignatureTransferDetails(tokenStore, amount),
            info.payer,
            signature
        );
    }
}

/// From the operator, by an allowance: what refunds are paid from.
abstract contract RefundCollectorOf is CollectorOf {
    function collectorType() external pure override returns (uint8) {
        return 1;
    }

    function _collect(PaymentInfo calldata info, address tokenStore, uint256 amount, bytes calldata)
        internal
        override
    {
        _transferFrom(info.token, info.operator, tokenStore, amount);
    }
}
