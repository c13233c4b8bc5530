// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Tells what EIP-3009 transfers would do now, one after the other, each on the state that those before it leave.
///
/// It is never deployed. A node runs it by `eth_call` without a target: the creation code with the payments behind it
/// is the data, and what the constructor returns, which a node takes for the code of the new contract, is the answer.
/// So it must stay below 24,576 bytes (EIP-170), costs 200 gas a byte, and must not begin with 0xEF (EIP-3541).
///
/// A payment is 253 bytes: asset, payer, payee (20 bytes each), value, validAfter, validBefore, nonce (32 each), v (1),
/// r, s (32 each). With v = 0 the signature is by no key of the payer's, so that only code of the payer's could accept it.
/// The answer is a version byte and then for each payment, in order, a status byte and the payer's
/// balance before (32 bytes); a reverted one adds a length byte and that many bytes of reason. A transfer that is
/// known not to pay is not run, so that those behind it meet the state which the real transactions would. When gas
/// runs low the answer ends early, with the payments that were seen.
contract TransferProbe {
    uint256 private constant VERSION = 1;
    uint256 private constant PAYMENT_BYTES = 253;
    uint256 private constant REASON_BYTES = 120;
    /// Of data that is no text, as much as an error with one argument has.
    uint256 private constant ERROR_BYTES = 36;

    /// For one question. Proxies need a tenth of it.
    uint256 private constant READ_GAS = 100000;
    /// For one transfer.
    uint256 private constant TRANSFER_GAS = 300000;
    /// For one payment, everything in it at its worst; and for each byte of the answer.
    uint256 private constant PAYMENT_GAS = 800000;
    uint256 private constant BYTE_GAS = 200;

    uint256 private constant DELIVERS = 1;
    uint256 private constant PAYER_HAS_CODE = 2;
    uint256 private constant ASSET_HAS_NO_CODE = 3;
    uint256 private constant ASSET_TELLS_NO_STATE = 4;
    uint256 private constant AUTHORIZATION_IS_USED = 5;
    uint256 private constant BALANCE_IS_SHORT = 6;
    uint256 private constant REVERTS_WITH_TEXT = 7;
    uint256 private constant REVERTS_WITH_DATA = 8;
    uint256 private constant DELIVERS_ANOTHER_AMOUNT = 9;
    uint256 private constant SIGNATURE_IS_NOBODYS = 10;

    uint256 private constant BALANCE_OF = 0x70a08231;
    uint256 private constant AUTHORIZATION_STATE = 0xe94a0102;
    uint256 private constant TRANSFER_WITH_AUTHORIZATION = 0xe3ee160e;
    uint256 private constant ERROR_STRING = 0x08c379a0;

    constructor(bytes memory payments) {
        assembly ("memory-safe") {
            // One word. Who returns less has not answered; who returns more is not listened to.
            function ask(asset, data, size) -> answered, word {
                let succeeded := staticcall(READ_GAS, asset, data, size, 0, 32)
                answered := and(succeeded, gt(returndatasize(), 31))
                word := mul(answered, mload(0))
            }

            function balance_of(asset, account, data) -> answered, word {
                mstore(data, shl(224, BALANCE_OF))
                mstore(add(data, 4), account)
                answered, word := ask(asset, data, 36)
            }

            function authorization_state(asset, payer, nonce, data) -> answered, state {
                mstore(data, shl(224, AUTHORIZATION_STATE))
                mstore(add(data, 4), payer)
                mstore(add(data, 36), nonce)
                answered, state := ask(asset, data, 68)
            }

            // Returned data stays where it is: nothing makes memory grow.
            function transfer(asset, payer, payee, at, data) -> succeeded {
                mstore(data, shl(224, TRANSFER_WITH_AUTHORIZATION))
                mstore(add(data, 4), payer)
                mstore(add(data, 36), payee)
                mstore(add(data, 68), mload(add(at, 60)))
                mstore(add(data, 100), mload(add(at, 92)))
                mstore(add(data, 132), mload(add(at, 124)))
                mstore(add(data, 164), mload(add(at, 156)))
                mstore(add(data, 196), byte(0, mload(add(at, 188))))
                mstore(add(data, 228), mload(add(at, 189)))
                mstore(add(data, 260), mload(add(at, 221)))
                succeeded := call(TRANSFER_GAS, asset, 0, data, 292, 0, 0)
            }

            function least(a, b) -> c {
                c := a
                if lt(b, a) { c := b }
            }

            // Writes what a revert says, and returns where the answer goes on.
            function explain(end, data) -> next {
                let size := returndatasize()
                let status := REVERTS_WITH_DATA
                let from := 0
                let length := least(size, ERROR_BYTES)
                if gt(size, 67) {
                    returndatacopy(data, 0, 68)
                    if and(eq(shr(224, mload(data)), ERROR_STRING), eq(mload(add(data, 4)), 32)) {
                        status := REVERTS_WITH_TEXT
                        from := 68
                        length := least(least(mload(add(data, 36)), sub(size, 68)), REASON_BYTES)
                    }
                }
                mstore8(end, status)
                mstore8(add(end, 33), length)
                returndatacopy(add(end, 34), from, length)
                next := add(add(end, 34), length)
            }

            // Writes the answer for the payment at `at` to `end`, and returns where the answer goes on.
            function probe(at, data, end) -> next {
                let asset := shr(96, mload(at))
                let payer := shr(96, mload(add(at, 20)))
                let payee := shr(96, mload(add(at, 40)))
                let value := mload(add(at, 60))
                next := add(end, 33)
                mstore(add(end, 1), 0)
                mstore8(end, PAYER_HAS_CODE)
                if extcodesize(payer) { leave }
                mstore8(end, SIGNATURE_IS_NOBODYS)
                if iszero(byte(0, mload(add(at, 188)))) { leave }
                mstore8(end, ASSET_HAS_NO_CODE)
                if iszero(extcodesize(asset)) { leave }
                mstore8(end, ASSET_TELLS_NO_STATE)
                let answered, word := authorization_state(asset, payer, mload(add(at, 156)), data)
                if or(iszero(answered), gt(word, 1)) { leave }
                mstore8(end, AUTHORIZATION_IS_USED)
                if word { leave }
                // Who tells no balance has none.
                answered, word := balance_of(asset, payer, data)
                mstore(add(end, 1), word)
                mstore8(end, BALANCE_IS_SHORT)
                if lt(word, value) { leave }
                let was_answered, before := balance_of(asset, payee, data)
                if iszero(transfer(asset, payer, payee, at, data)) {
                    next := explain(end, data)
                    leave
                }
                answered, word := balance_of(asset, payee, data)
                mstore8(end, DELIVERS_ANOTHER_AMOUNT)
                if iszero(and(answered, was_answered)) { leave }
                // A balance that fell wraps around, to no value that anybody has.
                if iszero(and(iszero(lt(word, before)), eq(sub(word, before), value))) { leave }
                mstore8(end, DELIVERS)
            }

            let data := mload(0x40)
            let answer := add(data, 320)
            mstore8(answer, VERSION)
            let end := add(answer, 1)
            let at := add(payments, 32)
            let last := add(at, mload(payments))
            for {} lt(at, last) { at := add(at, PAYMENT_BYTES) } {
                if lt(gas(), add(PAYMENT_GAS, mul(BYTE_GAS, sub(end, answer)))) { break }
                end := probe(at, data, end)
            }
            return(answer, sub(end, answer))
        }
    }
}
