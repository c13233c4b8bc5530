// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IReceivable, SafeTransfers} from "./AuthCaptureCollectors.sol";
import {IDepositCollector} from "./BatchSettlement.sol";
import {Permit2} from "./Permit2.sol";
import {IPermit} from "./Permit2Proxies.sol";

/// How money comes into channels. Only the contract of channels can make it come, and it names the channel: what a payer
/// signed for one channel goes into no other.
abstract contract BatchCollector is IDepositCollector, SafeTransfers {
    address public constant x402BatchSettlement = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;

    error OnlyX402BatchSettlement();

    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData)
        external
    {
        if (msg.sender != x402BatchSettlement) revert OnlyX402BatchSettlement();
        _collect(payer, token, amount, channelId, collectorData);
    }

    function _collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data)
        internal
        virtual;
}

/// From the payer, by EIP-3009. The nonce that the payer signed is the hash of the channel's id and a salt.
contract BatchErc3009Collector is BatchCollector {
    function _collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data)
        internal
        override
    {
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(data, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IReceivable(token)
            .receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        _transfer(token, x402BatchSettlement, amount);
    }
}

/// From the payer, by Permit2, with the channel's id as the witness; after a permit of the token's (EIP-2612), if one
/// comes along.
contract BatchPermit2Collector is BatchCollector {
    Permit2 public constant PERMIT2 = Permit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    string public constant DEPOSIT_WITNESS_TYPE_STRING =
        "DepositWitness witness)DepositWitness(bytes32 channelId)TokenPermissions(address token,uint256 amount)";
    bytes32 public constant DEPOSIT_WITNESS_TYPEHASH = keccak256("DepositWitness(bytes32 channelId)");

    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    event EIP2612PermitFailedWithPanic(address indexed token, address indexed owner, uint256 errorCode);
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    error Permit2612AmountMismatch();

    function _collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data)
        internal
        override
    {
        (uint256 nonce, uint256 deadline, bytes memory signature, bytes memory permit2612) =
            abi.decode(data, (uint256, uint256, bytes, bytes));
        if (permit2612.length != 0) _allow(payer, token, amount, permit2612);
        PERMIT2.permitWitnessTransferFrom(
            Permit2.PermitTransferFrom(Permit2.TokenPermissions(token, amount), nonce, deadline),
            Permit2.SignatureTransferDetails(x402BatchSettlement, amount),
            payer,
            keccak256(abi.encode(DEPOSIT_WITNESS_TYPEHASH, channelId)),
            DEPOSIT_WITNESS_TYPE_STRING,
            signature
        );
    }

    /// A permit that fails is no reason to stop: somebody else may have presented it first, and then the allowance is
    /// there. What is missing comes out at the transfer.
    function _allow(address owner, address token, uint256 amount, bytes memory permit2612) private {
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(permit2612, (uint256, uint256, uint8, bytes32, bytes32));
        if (value != amount) revert Permit2612AmountMismatch();
        try IPermit(token).permit(owner, address(PERMIT2), value, deadline, v, r, s) {}
        catch Error(string memory reason) {
            emit EIP2612PermitFailedWithReason(token, owner, reason);
        } catch Panic(uint256 code) {
            emit EIP2612PermitFailedWithPanic(token, owner, code);
        } catch (bytes memory answer) {
            emit EIP2612PermitFailedWithData(token, owner, answer);
        }
    }
}
