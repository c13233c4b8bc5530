// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DelegatingAccount} from "./Accounts.sol";
import {IERC1271} from "./DevStablecoin.sol";

/// Redeems delegations (ERC-7710): an account signs that somebody may transfer up to so much of a token to a payee, and
/// the manager sees to it. It is on no chain from the start.
///
/// A permission context is `abi.encode(Delegation, signature)`. A mode is zero, one call that must not fail; an
/// execution is packed as ERC-7579 has it: target, value, data; and the data is `transfer(address,uint256)`.
contract DelegationManager {
    struct Delegation {
        /// Who may redeem; zero is anybody.
        address delegate;
        address delegator;
        address token;
        /// Who may be paid; zero is anybody.
        address payee;
        /// The most that all redemptions together may move.
        uint256 limit;
        uint256 deadline;
        uint256 salt;
    }

    bytes32 public constant DELEGATION_TYPEHASH = keccak256(
        "Delegation(address delegate,address delegator,address token,address payee,uint256 limit,uint256 deadline,uint256 salt)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes4 private constant TRANSFER = 0xa9059cbb;

    /// How much of a delegation is used up, by its hash.
    mapping(bytes32 => uint256) public spent;
    mapping(bytes32 => bool) public isDisabled;

    event Redeemed(address indexed delegator, address indexed redeemer, bytes32 indexed delegation, uint256 amount);
    event Disabled(address indexed delegator, bytes32 indexed delegation);

    error LengthMismatch();
    error UnsupportedMode(bytes32 mode);
    error InvalidDelegate();
    error InvalidDelegator();
    error DelegationExpired(uint256 deadline);
    error DelegationDisabled();
    error InvalidSignature();
    error ExecutionNotAllowed();
    error LimitExceeded(uint256 left);

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("DelegationManager"), keccak256("1"), block.chainid, address(this))
        );
    }

    function redeemDelegations(bytes[] calldata contexts, bytes32[] calldata modes, bytes[] calldata executions)
        external
    {
        require(contexts.length == modes.length && modes.length == executions.length, LengthMismatch());
        for (uint256 i = 0; i < contexts.length; ++i) {
            require(modes[i] == bytes32(0), UnsupportedMode(modes[i]));
            (Delegation memory delegation, bytes memory signature) = abi.decode(contexts[i], (Delegation, bytes));
            _redeem(delegation, signature, executions[i]);
        }
    }

    /// The delegator takes a delegation back.
    function disable(Delegation calldata delegation) external {
        require(msg.sender == delegation.delegator, InvalidDelegator());
        bytes32 hash = hashOf(delegation);
        isDisabled[hash] = true;
        emit Disabled(msg.sender, hash);
    }

    /// What the delegator signs, without the domain.
    function hashOf(Delegation memory delegation) public pure returns (bytes32) {
        return keccak256(abi.encode(DELEGATION_TYPEHASH, delegation));
    }

    function _redeem(Delegation memory delegation, bytes memory signature, bytes calldata execution) private {
        require(delegation.delegate == address(0) || delegation.delegate == msg.sender, InvalidDelegate());
        require(block.timestamp <= delegation.deadline, DelegationExpired(delegation.deadline));
        bytes32 hash = hashOf(delegation);
        require(!isDisabled[hash], DelegationDisabled());
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), hash));
        // Only an account can be told to transfer, and an account answers for its signatures itself.
        require(delegation.delegator.code.length > 0, InvalidDelegator());
        bytes4 answer = IERC1271(delegation.delegator).isValidSignature(digest, signature);
        require(answer == IERC1271.isValidSignature.selector, InvalidSignature());
        uint256 amount = _amount(delegation, execution);
        uint256 left = delegation.limit - spent[hash];
        require(amount <= left, LimitExceeded(left));
        spent[hash] += amount;
        DelegatingAccount(payable(delegation.delegator)).executeFromExecutor(bytes32(0), execution);
        emit Redeemed(delegation.delegator, msg.sender, hash, amount);
    }

    function _amount(Delegation memory delegation, bytes calldata execution) private pure returns (uint256) {
        require(execution.length == 120, ExecutionNotAllowed());
        bool fits = address(bytes20(execution[:20])) == delegation.token && uint256(bytes32(execution[20:52])) == 0
            && bytes4(execution[52:56]) == TRANSFER;
        require(fits, ExecutionNotAllowed());
        (address payee, uint256 amount) = abi.decode(execution[56:], (address, uint256));
        require(delegation.payee == address(0) || delegation.payee == payee, ExecutionNotAllowed());
        return amount;
    }
}
