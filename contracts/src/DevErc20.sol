// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// An ERC-20 of the devnet and nothing else: no EIP-3009, no EIP-2612. Who is paid in it needs an allowance.
///
/// Storage is where `DevStablecoin` has it, as far as there is any: 0 the owner, 1 balances, 2 allowances, 4 permit
/// nonces, 6 the total supply. There is no constructor.
abstract contract DevErc20 {
    address public owner;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 private unused;
    mapping(address => uint256) internal permitNonces;
    uint256 private unused2;
    uint256 public totalSupply;

    uint8 public constant decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error InsufficientBalance(uint256 balance, uint256 needed);
    error InsufficientAllowance(uint256 allowance, uint256 needed);

    function name() public pure virtual returns (string memory);

    function symbol() external pure virtual returns (string memory);

    function transfer(address to, uint256 value) external returns (bool) {
        _transfer(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        require(value <= allowed, InsufficientAllowance(allowed, value));
        // Without an end, as most tokens have it.
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        _transfer(from, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        _approve(msg.sender, spender, value);
        return true;
    }

    function _approve(address holder, address spender, uint256 value) internal {
        allowance[holder][spender] = value;
        emit Approval(holder, spender, value);
    }

    function _transfer(address from, address to, uint256 value) private {
        uint256 balance = balanceOf[from];
        require(value <= balance, InsufficientBalance(balance, value));
        balanceOf[from] = balance - value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// The devnet's dollar that knows permits (EIP-2612) and no authorizations (EIP-3009).
contract DevPermitUsd is DevErc20 {
    bytes32 public constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    error PermitExpired(uint256 deadline);
    error InvalidPermitSigner(address signer, address owner);

    function name() public pure override returns (string memory) {
        return "Permit USD";
    }

    function symbol() external pure override returns (string memory) {
        return "PUSD";
    }

    function version() public pure returns (string memory) {
        return "1";
    }

    function nonces(address holder) external view returns (uint256) {
        return permitNonces[holder];
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(name())), keccak256(bytes(version())), block.chainid, address(this)
            )
        );
    }

    /// Signed by a key and nothing else: an account with code gives its allowance itself.
    function permit(address holder, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(block.timestamp <= deadline, PermitExpired(deadline));
        bytes32 content =
            keccak256(abi.encode(PERMIT_TYPEHASH, holder, spender, value, permitNonces[holder]++, deadline));
        address signer = ecrecover(keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), content)), v, r, s);
        require(signer != address(0) && signer == holder, InvalidPermitSigner(signer, holder));
        _approve(holder, spender, value);
    }
}

/// The devnet's dollar that knows no signature of any kind.
contract DevPlainUsd is DevErc20 {
    function name() public pure override returns (string memory) {
        return "Plain USD";
    }

    function symbol() external pure override returns (string memory) {
        return "XUSD";
    }
}
