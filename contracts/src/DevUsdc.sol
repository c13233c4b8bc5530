// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevStablecoin} from "./DevStablecoin.sol";

/// The devnet's dollar.
contract DevUsdc is DevStablecoin {
    function name() public pure override returns (string memory) {
        return "USDC";
    }

    function symbol() external pure override returns (string memory) {
        return "USDC";
    }
}
