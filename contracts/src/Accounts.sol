// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "./DevStablecoin.sol";

/// Accounts with code, honest ones. What is here is on no chain from the start: whoever tests deploys it, with its
/// constructor's arguments, from the creation code in the artifacts.
///
/// All of them answer ERC-1271 for one key's signature of 65 bytes, and do what that key tells them to.
abstract contract KeyAccount is IERC1271 {
    bytes4 internal constant YES = IERC1271.isValidSignature.selector;
    bytes4 internal constant NO = 0xffffffff;

    error NotOwner();

    /// The account whose key signs.
    function owner() public view virtual returns (address);

    function isValidSignature(bytes32 hash, bytes calldata signature) external view virtual returns (bytes4) {
        return _isSigned(hash, signature) ? YES : NO;
    }

    /// Calls on the owner's word, such as to approve a token.
    function execute(address target, uint256 value, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == owner(), NotOwner());
        return _run(target, value, data);
    }

    receive() external payable {}

    function _isSigned(bytes32 hash, bytes calldata signature) internal view returns (bool) {
        if (signature.length != 65) return false;
        address signer = ecrecover(hash, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        return signer != address(0) && signer == owner();
    }

    /// Fails as the call fails.
    function _run(address target, uint256 value, bytes memory data) internal returns (bytes memory answer) {
        bool ok;
        (ok, answer) = target.call{value: value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}

/// An account that lets the manager it was made with act for it, as far as the manager lets others (ERC-7710).
abstract contract DelegatingAccount is KeyAccount {
    address public immutable manager;

    error NotManager();
    error UnsupportedMode(bytes32 mode);

    constructor(address manager_) {
        manager = manager_;
    }

    /// One call, as ERC-7579 packs it: target, value, data.
    function executeFromExecutor(bytes32 mode, bytes calldata execution) external returns (bytes[] memory answers) {
        require(msg.sender == manager, NotManager());
        require(mode == bytes32(0), UnsupportedMode(mode));
        answers = new bytes[](1);
        address target = address(bytes20(execution[:20]));
        answers[0] = _run(target, uint256(bytes32(execution[20:52])), execution[52:]);
    }
}

/// A wallet with an owner. Of the manager, zero is none.
contract Wallet is DelegatingAccount {
    address private immutable keeper;

    constructor(address owner_, address manager_) DelegatingAccount(manager_) {
        keeper = owner_;
    }

    function owner() public view override returns (address) {
        return keeper;
    }
}

/// What an account with a key delegates to by EIP-7702: it answers for itself, with its own key.
contract SetCodeAccount is DelegatingAccount {
    constructor(address manager_) DelegatingAccount(manager_) {}

    function owner() public view override returns (address) {
        return address(this);
    }
}

/// Makes wallets without a manager at addresses that are known before (ERC-6492).
contract WalletFactory {
    event Made(address indexed wallet, address indexed owner);

    /// The wallet of this owner and salt, made if it is not there.
    function make(address owner, bytes32 salt) external returns (address wallet) {
        wallet = addressOf(owner, salt);
        if (wallet.code.length > 0) return wallet;
        new Wallet{salt: salt}(owner, address(0));
        emit Made(wallet, owner);
    }

    /// Where the wallet is or will be.
    function addressOf(address owner, bytes32 salt) public view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(Wallet).creationCode, abi.encode(owner, address(0))));
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, code)))));
    }
}
