//! Contracts that are on no chain from the start, for tests to deploy: accounts with code, a manager of delegations, and
//! their hostile kin (`contracts/src/Accounts.sol`, `Delegations.sol`, `HostileAccounts.sol`, `HostileDeposits.sol`, where
//! their rules are written). Here is only the code that creates them.

use alloy_primitives::Bytes;

/// A contract by the code that creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its name in the sources.
    pub name: &'static str,
    code: &'static [u8],
}

impl Creation {
    /// The data of a transaction that creates the contract, with its constructor's arguments as they are encoded.
    ///
    /// ```
    /// use alloy_primitives::Address;
    /// use alloy_sol_types::SolValue;
    /// use tollway_devnet::deploy;
    ///
    /// let (owner, no_manager) = (Address::repeat_byte(1), Address::ZERO);
    /// let data = deploy::WALLET.with(&(owner, no_manager).abi_encode_params());
    /// assert!(data.ends_with(&[0; 20]));
    /// ```
    pub fn with(&self, arguments: &[u8]) -> Bytes {
        [self.code, arguments].concat().into()
    }
}

/// `(address owner, address manager)`: answers ERC-1271 for its owner's key, and does what the owner, or the manager of
/// delegations, tells it.
pub const WALLET: Creation = creation("Wallet", include_bytes!("../../../contracts/artifacts/Wallet.bin"));
/// `(address manager)`: what an account with a key delegates to by EIP-7702.
pub const SET_CODE_ACCOUNT: Creation =
    creation("SetCodeAccount", include_bytes!("../../../contracts/artifacts/SetCodeAccount.bin"));
/// `()`: makes wallets at addresses that are known before (ERC-6492).
pub const WALLET_FACTORY: Creation =
    creation("WalletFactory", include_bytes!("../../../contracts/artifacts/WalletFactory.bin"));
/// `()`: redeems signed delegations (ERC-7710).
pub const DELEGATION_MANAGER: Creation =
    creation("DelegationManager", include_bytes!("../../../contracts/artifacts/DelegationManager.bin"));

/// `(address owner)`: takes a signature only where the base fee is zero.
pub const NO_BASE_FEE_WALLET: Creation =
    creation("NoBaseFeeWallet", include_bytes!("../../../contracts/artifacts/NoBaseFeeWallet.bin"));
/// `(address owner)`: takes a signature only where gas costs nothing.
pub const NO_GAS_PRICE_WALLET: Creation =
    creation("NoGasPriceWallet", include_bytes!("../../../contracts/artifacts/NoGasPriceWallet.bin"));
/// `(address owner, address origin)`: takes a signature only in transactions of one sender.
pub const ORIGIN_WALLET: Creation =
    creation("OriginWallet", include_bytes!("../../../contracts/artifacts/OriginWallet.bin"));
/// `(address owner)`: answers in 256 KiB; for an odd hash, fails in as much.
pub const BOMB_WALLET: Creation =
    creation("BombWallet", include_bytes!("../../../contracts/artifacts/BombWallet.bin"));
/// `(address owner)`: burns all the gas that it gets.
pub const BURNER_WALLET: Creation =
    creation("BurnerWallet", include_bytes!("../../../contracts/artifacts/BurnerWallet.bin"));
/// `()`: a factory that makes nothing: it burns gas, answers in 256 KiB, or takes what its caller lets it have.
pub const EVIL_FACTORY: Creation =
    creation("EvilFactory", include_bytes!("../../../contracts/artifacts/EvilFactory.bin"));
/// `()`: a manager that does with a delegation what the first byte of the permission context says.
pub const EVIL_MANAGER: Creation =
    creation("EvilManager", include_bytes!("../../../contracts/artifacts/EvilManager.bin"));
/// `(bytes call)`: a token whose permit calls back into its caller.
pub const REENTRANT_TOKEN: Creation =
    creation("ReentrantToken", include_bytes!("../../../contracts/artifacts/ReentrantToken.bin"));
/// `(uint256 amount, bytes call)`: a collector of deposits that brings this amount, whatever is asked of it, after it has
/// called back.
pub const EVIL_COLLECTOR: Creation =
    creation("EvilCollector", include_bytes!("../../../contracts/artifacts/EvilCollector.bin"));
/// `(uint8 mood, address holder, uint256 supply)`: a token whose transfers answer nothing. In mood 1 it keeps a unit, in
/// mood 2 `transfer` answers `false` and moves nothing.
pub const MUTE_TOKEN: Creation =
    creation("MuteToken", include_bytes!("../../../contracts/artifacts/MuteToken.bin"));

const fn creation(name: &'static str, code: &'static [u8]) -> Creation {
    Creation { name, code }
}
