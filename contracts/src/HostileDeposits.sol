// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

interface IAllowance {
    function transferFrom(address from, address to, uint256 value) external;
}

/// What may come with a deposit into a channel and is not to be trusted. Nothing of it is on any chain from the start.

/// A collector that brings `amount`, whatever is asked of it, by the allowance that the payer gave it. Before that it
/// makes the call that it was made with to whoever collects, and fails as that fails.
contract EvilCollector {
    uint256 private immutable amount;
    bytes private call;

    constructor(uint256 amount_, bytes memory call_) {
        amount = amount_;
        call = call_;
    }

    function collect(address payer, address token, uint256, bytes32, bytes calldata) external {
        if (call.length != 0) {
            (bool ok, bytes memory answer) = msg.sender.call(call);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(answer, 32), mload(answer))
                }
            }
        }
        if (amount != 0) IAllowance(token).transferFrom(payer, msg.sender, amount);
    }
}

/// A token whose transfers answer nothing at all. In mood 1 it keeps a unit of all that it moves by an allowance; in
/// mood 2 a plain transfer moves nothing and answers `false`.
contract MuteToken {
    uint8 private immutable mood;

    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    constructor(uint8 mood_, address holder, uint256 supply) {
        mood = mood_;
        balanceOf[holder] = supply;
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
    }

    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        _move(from, to, mood == 1 ? value - 1 : value);
    }

    function transfer(address to, uint256 value) external {
        if (mood == 2) {
            assembly ("memory-safe") {
                mstore(0, 0)
                return(0, 32)
            }
        }
        _move(msg.sender, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}
