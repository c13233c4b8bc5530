// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevStablecoin} from "./DevStablecoin.sol";

/// The devnet's euro.
contract DevEurc is DevStablecoin {
    function name() public pure override returns (string memory) {
        return "EURC";
    }

    function symbol() external pure override returns (string memory) {
        return "EURC";
    }
}
