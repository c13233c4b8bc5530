// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What the tokens below have in common: the surface of EIP-3009, with signatures that are really checked. What each
/// does with an authorization it was given is its own affair.
///
/// Storage is where `DevStablecoin` has it, as far as there is any: 0 the owner, 1 balances, 3 authorization states, 6
/// the total supply. There is no constructor.
abstract contract HostileToken {
    address public owner;
    mapping(address => uint256) public balanceOf;
    uint256 private unused;
    mapping(address => mapping(bytes32 => bool)) public authorizationState;
    uint256[2] private unused2;
    uint256 public totalSupply;

    uint8 public constant decimals = 6;
    bytes32 public constant TRANSFER_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    event Transfer(address indexed from, address indexed to, uint256 value);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    function name() public pure virtual returns (string memory);

    function symbol() external pure returns (string memory) {
        return name();
    }

    function version() public pure returns (string memory) {
        return "2";
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(name())), keccak256(bytes(version())), block.chainid, address(this)
            )
        );
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) public {
        require(block.timestamp > validAfter && block.timestamp < validBefore, "not valid now");
        bytes32 content =
            keccak256(abi.encode(TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        address signer = ecrecover(keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), content)), v, r, s);
        require(signer != address(0) && signer == from, "invalid signature");
        _settle(from, to, value, nonce);
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        require(signature.length == 65, "invalid signature length");
        (bytes32 r, bytes32 s) = abi.decode(signature[:64], (bytes32, bytes32));
        transferWithAuthorization(from, to, value, validAfter, validBefore, nonce, uint8(signature[64]), r, s);
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal virtual;

    function _use(address from, bytes32 nonce) internal {
        require(!authorizationState[from][nonce], "authorization is used");
        authorizationState[from][nonce] = true;
        emit AuthorizationUsed(from, nonce);
    }

    function _move(address from, address to, uint256 value) internal {
        require(balanceOf[from] >= value, "transfer amount exceeds balance");
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// A used authorization is no error: the call succeeds, says so in an event of its own, and moves nothing.
contract SilentToken is HostileToken {
    event AuthorizationAlreadyUsed(address indexed authorizer, bytes32 indexed nonce);

    function name() public pure override returns (string memory) {
        return "Silent";
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal override {
        if (authorizationState[from][nonce]) {
            emit AuthorizationAlreadyUsed(from, nonce);
            return;
        }
        _use(from, nonce);
        _move(from, to, value);
    }
}

/// Uses the authorization up and never moves any money.
contract IdleToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "Idle";
    }

    function _settle(address from, address, uint256, bytes32 nonce) internal override {
        _use(from, nonce);
    }
}

/// Keeps one part in a hundred, and at least one unit, for its owner.
contract FeeToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "Fee";
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal override {
        _use(from, nonce);
        uint256 fee = value / 100 + (value % 100 > 0 ? 1 : 0);
        _move(from, to, value - fee);
        _move(from, owner, fee);
    }
}

/// Answers `false` and does nothing.
contract FalseToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "False";
    }

    function _settle(address, address, uint256, bytes32) internal pure override {
        assembly ("memory-safe") {
            mstore(0, 0)
            return(0, 32)
        }
    }
}

/// Burns all gas it is given, and fails.
contract BurnerToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "Burner";
    }

    function _settle(address, address, uint256, bytes32) internal pure override {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

/// Burns all gas it is given but what the transfer needs, and succeeds.
contract GluttonToken is HostileToken {
    uint256 private constant LEFT = 100000;

    function name() public pure override returns (string memory) {
        return "Glutton";
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal override {
        while (gasleft() > LEFT) {}
        _use(from, nonce);
        _move(from, to, value);
    }
}

/// Moves the money and returns 256 KiB; of an odd value, reverts with as much.
contract BombToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "Bomb";
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal override {
        _use(from, nonce);
        _move(from, to, value);
        assembly ("memory-safe") {
            let begin := mload(0x40)
            if and(value, 1) { revert(begin, 0x40000) }
            return(begin, 0x40000)
        }
    }
}

/// Moves the money where gas costs nothing, which is in a simulation; in a block it only uses the authorization up.
contract MirageToken is HostileToken {
    function name() public pure override returns (string memory) {
        return "Mirage";
    }

    function _settle(address from, address to, uint256 value, bytes32 nonce) internal override {
        _use(from, nonce);
        if (tx.gasprice == 0) _move(from, to, value);
    }
}
