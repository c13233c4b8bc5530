//! Tokens that look like EIP-3009 and are not to be trusted: `contracts/src/HostileTokens.sol`. They are part of every
//! genesis, their EIP-712 domain has version "2", and each of the ten accounts owns as much of them as of the others.
//! The faucet does not hand them out.

use alloy_primitives::{Address, address};

/// A used authorization is no error: the call succeeds and moves nothing.
pub const SILENT: Address = address!("0x0Bad000000000000000000000000000000000001");
/// Uses the authorization up and never moves any money.
pub const IDLE: Address = address!("0x0Bad000000000000000000000000000000000002");
/// Keeps a hundredth of what it moves.
pub const FEE: Address = address!("0x0Bad000000000000000000000000000000000003");
/// Answers `false` and does nothing.
pub const FALSE: Address = address!("0x0Bad000000000000000000000000000000000004");
/// Burns all gas it is given, and fails.
pub const BURNER: Address = address!("0x0Bad000000000000000000000000000000000005");
/// Burns all gas it is given but what the transfer needs, and succeeds.
pub const GLUTTON: Address = address!("0x0Bad000000000000000000000000000000000006");
/// Moves the money and returns 256 KiB; of an odd value, reverts with as much.
pub const BOMB: Address = address!("0x0Bad000000000000000000000000000000000007");
/// Moves the money in a simulation, where gas costs nothing, and in no block.
pub const MIRAGE: Address = address!("0x0Bad000000000000000000000000000000000008");

/// A hostile token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostileToken {
    /// Its name, also in its EIP-712 domain.
    pub name: &'static str,
    /// Where it is.
    pub address: Address,
    pub(crate) code: &'static [u8],
}

/// All of them.
pub const TOKENS: [HostileToken; 8] = [
    token("Silent", SILENT, include_bytes!("../../../contracts/artifacts/SilentToken.bin")),
    token("Idle", IDLE, include_bytes!("../../../contracts/artifacts/IdleToken.bin")),
    token("Fee", FEE, include_bytes!("../../../contracts/artifacts/FeeToken.bin")),
    token("False", FALSE, include_bytes!("../../../contracts/artifacts/FalseToken.bin")),
    token("Burner", BURNER, include_bytes!("../../../contracts/artifacts/BurnerToken.bin")),
    token("Glutton", GLUTTON, include_bytes!("../../../contracts/artifacts/GluttonToken.bin")),
    token("Bomb", BOMB, include_bytes!("../../../contracts/artifacts/BombToken.bin")),
    token("Mirage", MIRAGE, include_bytes!("../../../contracts/artifacts/MirageToken.bin")),
];

const fn token(name: &'static str, address: Address, code: &'static [u8]) -> HostileToken {
    HostileToken { name, address, code }
}
