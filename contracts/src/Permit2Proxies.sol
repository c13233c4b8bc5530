// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Permit2} from "./Permit2.sol";

interface IPermit {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

/// What the spenders that x402 payers name in their Permit2 signatures have in common. A payer signs, as the witness,
/// where its money goes and from when on; a proxy has no other way to move it.
///
/// There is no constructor and nothing immutable: the code works wherever a genesis puts it, as long as Permit2 is at
/// its usual address.
abstract contract Permit2Proxy {
    /// A signature of EIP-2612, which gives Permit2 its allowance.
    struct EIP2612Permit {
        uint256 value;
        uint256 deadline;
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    Permit2 public constant PERMIT2 = Permit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    bool private transient entered;

    event Settled();
    event SettledWithPermit();
    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    event EIP2612PermitFailedWithPanic(address indexed token, address indexed owner, uint256 errorCode);
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    error InvalidAmount();
    error InvalidDestination();
    error InvalidOwner();
    error InvalidPermit2Address();
    error PaymentTooEarly();
    error Permit2612AmountMismatch();
    error ReentrancyGuardReentrantCall();

    modifier once() {
        require(!entered, ReentrancyGuardReentrantCall());
        entered = true;
        _;
        entered = false;
    }

    /// Where a payment goes, when it may, and how that was signed.
    struct Terms {
        address to;
        uint256 validAfter;
        bytes32 witness;
        string witnessType;
    }

    function _pay(
        Permit2.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Terms memory terms,
        bytes calldata signature
    ) internal {
        require(amount != 0, InvalidAmount());
        require(owner != address(0), InvalidOwner());
        require(terms.to != address(0), InvalidDestination());
        require(block.timestamp >= terms.validAfter, PaymentTooEarly());
        Permit2.SignatureTransferDetails memory details = Permit2.SignatureTransferDetails(terms.to, amount);
        PERMIT2.permitWitnessTransferFrom(permit, details, owner, terms.witness, terms.witnessType, signature);
    }

    /// A permit that fails is no reason to stop: somebody else may have presented it first, and then the allowance is
    /// there. What is missing comes out at the transfer.
    function _allow(EIP2612Permit calldata permit2612, Permit2.PermitTransferFrom calldata permit, address owner)
        internal
    {
        require(permit2612.value == permit.permitted.amount, Permit2612AmountMismatch());
        address token = permit.permitted.token;
        try IPermit(token).permit(
            owner, address(PERMIT2), permit2612.value, permit2612.deadline, permit2612.v, permit2612.r, permit2612.s
        ) {} catch Error(string memory reason) {
            emit EIP2612PermitFailedWithReason(token, owner, reason);
        } catch Panic(uint256 code) {
            emit EIP2612PermitFailedWithPanic(token, owner, code);
        } catch (bytes memory data) {
            emit EIP2612PermitFailedWithData(token, owner, data);
        }
    }
}

/// Settles payments of scheme `exact`: all that was permitted, whoever sends it in.
contract ExactPermit2Proxy is Permit2Proxy {
    struct Witness {
        address to;
        uint256 validAfter;
    }

    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,uint256 validAfter)");

    function settle(
        Permit2.PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        _pay(permit, permit.permitted.amount, owner, _terms(witness), signature);
        emit Settled();
    }

    function settleWithPermit(
        EIP2612Permit calldata permit2612,
        Permit2.PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        _allow(permit2612, permit, owner);
        _pay(permit, permit.permitted.amount, owner, _terms(witness), signature);
        emit SettledWithPermit();
    }

    function _terms(Witness calldata witness) private pure returns (Terms memory) {
        bytes32 hash = keccak256(abi.encode(WITNESS_TYPEHASH, witness.to, witness.validAfter));
        return Terms(witness.to, witness.validAfter, hash, WITNESS_TYPE_STRING);
    }
}

/// Settles payments of scheme `upto`: as much of what was permitted as the facilitator says, and only the facilitator
/// that the payer named says it.
contract UptoPermit2Proxy is Permit2Proxy {
    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH =
        keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();

    function settle(
        Permit2.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        _check(permit, amount, witness);
        _pay(permit, amount, owner, _terms(witness), signature);
        emit Settled();
    }

    function settleWithPermit(
        EIP2612Permit calldata permit2612,
        Permit2.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        _check(permit, amount, witness);
        _allow(permit2612, permit, owner);
        _pay(permit, amount, owner, _terms(witness), signature);
        emit SettledWithPermit();
    }

    function _check(Permit2.PermitTransferFrom calldata permit, uint256 amount, Witness calldata witness)
        private
        view
    {
        require(amount <= permit.permitted.amount, AmountExceedsPermitted());
        require(msg.sender == witness.facilitator, UnauthorizedFacilitator());
    }

    function _terms(Witness calldata witness) private pure returns (Terms memory) {
        bytes32 hash = keccak256(abi.encode(WITNESS_TYPEHASH, witness.to, witness.facilitator, witness.validAfter));
        return Terms(witness.to, witness.validAfter, hash, WITNESS_TYPE_STRING);
    }
}
