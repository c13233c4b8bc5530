// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyAccount} from "./Accounts.sol";

/// Accounts, factories and managers that are not to be trusted, and a token that calls back. They are on no chain from
/// the start: whoever tests deploys them, from the creation code in the artifacts.
library Hostility {
    uint256 private constant BOMB_BYTES = 256 * 1024;

    function burn() internal pure {
        assembly ("memory-safe") {
            invalid()
        }
    }

    /// Answers with one word and a great many zeros.
    function bomb(bytes32 word) internal pure {
        assembly {
            let at := mload(0x40)
            mstore(at, word)
            return(at, BOMB_BYTES)
        }
    }

    /// Fails with a great many zeros.
    function failWithBomb() internal pure {
        assembly {
            revert(mload(0x40), BOMB_BYTES)
        }
    }
}

abstract contract HostileWallet is KeyAccount {
    address private immutable keeper;

    constructor(address owner_) {
        keeper = owner_;
    }

    function owner() public view override returns (address) {
        return keeper;
    }
}

/// Takes a signature only where the base fee is zero: in a call that names no fee, and in no block.
contract NoBaseFeeWallet is HostileWallet {
    constructor(address owner_) HostileWallet(owner_) {}

    function isValidSignature(bytes32 hash, bytes calldata signature) external view override returns (bytes4) {
        return block.basefee == 0 && _isSigned(hash, signature) ? YES : NO;
    }
}

/// Takes a signature only where gas costs nothing.
contract NoGasPriceWallet is HostileWallet {
    constructor(address owner_) HostileWallet(owner_) {}

    function isValidSignature(bytes32 hash, bytes calldata signature) external view override returns (bytes4) {
        return tx.gasprice == 0 && _isSigned(hash, signature) ? YES : NO;
    }
}

/// Takes a signature only from whom the origin of the transaction is the one it was made with.
contract OriginWallet is HostileWallet {
    address public immutable origin;

    constructor(address owner_, address origin_) HostileWallet(owner_) {
        origin = origin_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view override returns (bytes4) {
        return tx.origin == origin && _isSigned(hash, signature) ? YES : NO;
    }
}

/// Takes every signature, and says so in 256 KiB; of an odd hash, it fails with as much.
contract BombWallet is HostileWallet {
    constructor(address owner_) HostileWallet(owner_) {}

    function isValidSignature(bytes32 hash, bytes calldata) external pure override returns (bytes4 answer) {
        if (uint256(hash) & 1 == 1) Hostility.failWithBomb();
        answer = YES;
        Hostility.bomb(answer);
    }
}

/// Burns whatever gas it gets to look at a signature.
contract BurnerWallet is HostileWallet {
    constructor(address owner_) HostileWallet(owner_) {}

    function isValidSignature(bytes32, bytes calldata) external pure override returns (bytes4 answer) {
        answer = NO;
        Hostility.burn();
    }
}

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
    function balanceOf(address holder) external view returns (uint256);
    function allowance(address holder, address spender) external view returns (uint256);
}

/// A factory (ERC-6492) that makes nothing and does harm where it can.
contract EvilFactory {
    event Called(address indexed caller);

    /// Burns all gas.
    function burn(address) external pure {
        Hostility.burn();
    }

    /// Answers in 256 KiB.
    function bomb(address) external pure {
        Hostility.bomb(bytes32(0));
    }

    /// Fails in 256 KiB.
    function failWithBomb(address) external pure {
        Hostility.failWithBomb();
    }

    /// Takes all of a token that its caller lets it have, and says that all went well.
    function steal(address token) external {
        emit Called(msg.sender);
        uint256 allowed = IToken(token).allowance(msg.sender, address(this));
        uint256 balance = IToken(token).balanceOf(msg.sender);
        uint256 amount = allowed < balance ? allowed : balance;
        if (amount > 0) IToken(token).transferFrom(msg.sender, address(this), amount);
    }

    /// Makes nothing and succeeds.
    function idle(address) external {
        emit Called(msg.sender);
    }
}

/// A manager of delegations (ERC-7710) that does what the first byte of a permission context says:
///
///   1 burns all gas; 2 answers in 256 KiB; 3 fails in 256 KiB; 4 pays a stranger, the address behind that byte, out of
///   what the manager owns; 5 does nothing; 6 only says in a log of its own that a transfer was; 7 pays where the base
///   fee is zero and nowhere else; 8 pays half; 9 pays; 10 pays, and burns all the gas but what is needed for that.
contract EvilManager {
    event Transfer(address indexed from, address indexed to, uint256 value);

    function redeemDelegations(bytes[] calldata contexts, bytes32[] calldata, bytes[] calldata executions) external {
        uint8 mood = uint8(contexts[0][0]);
        bytes calldata execution = executions[0];
        address token = address(bytes20(execution[:20]));
        (address payee, uint256 amount) = abi.decode(execution[56:], (address, uint256));
        if (mood == 1) Hostility.burn();
        if (mood == 2) Hostility.bomb(bytes32(0));
        if (mood == 3) Hostility.failWithBomb();
        if (mood == 4) IToken(token).transfer(address(bytes20(contexts[0][1:21])), amount);
        if (mood == 6) emit Transfer(address(this), payee, amount);
        if (mood == 7 && block.basefee == 0) IToken(token).transfer(payee, amount);
        if (mood == 8) IToken(token).transfer(payee, amount / 2);
        if (mood == 9) IToken(token).transfer(payee, amount);
        if (mood == 10) {
            while (gasleft() > 100_000) {}
            IToken(token).transfer(payee, amount);
        }
    }
}

/// A token whose permit calls back into whoever asks for it, with the calldata it was made with, and fails as that
/// fails; transfers move nothing and succeed.
contract ReentrantToken {
    bytes public call;

    constructor(bytes memory call_) {
        call = call_;
    }

    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external {
        (bool ok, bytes memory answer) = msg.sender.call(call);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return true;
    }
}
