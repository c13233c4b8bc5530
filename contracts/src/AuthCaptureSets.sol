// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Erc3009CollectorOf, Permit2CollectorOf, RefundCollectorOf, TokenStoreOf} from "./AuthCaptureCollectors.sol";

// The two sets that the devnet has, v1.1 and v1.0. Code in a genesis has no constructor that could be told its escrow.

contract AuthCaptureStore is TokenStoreOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xf96815976523E00e65Be8f34cA5e64b4f41EB19c;
    }
}

contract AuthCaptureErc3009 is Erc3009CollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xf96815976523E00e65Be8f34cA5e64b4f41EB19c;
    }
}

contract AuthCapturePermit2 is Permit2CollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xf96815976523E00e65Be8f34cA5e64b4f41EB19c;
    }
}

contract AuthCaptureRefund is RefundCollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xf96815976523E00e65Be8f34cA5e64b4f41EB19c;
    }
}

contract AuthCaptureStoreV10 is TokenStoreOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff;
    }
}

contract AuthCaptureErc3009V10 is Erc3009CollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff;
    }
}

contract AuthCapturePermit2V10 is Permit2CollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff;
    }
}

contract AuthCaptureRefundV10 is RefundCollectorOf {
    function authCaptureEscrow() public pure override returns (address) {
        return 0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff;
    }
}
