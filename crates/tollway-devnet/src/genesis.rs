//! What the chain holds before its first block: our contracts at fixed addresses, and the funded accounts.
//!
//! The same list can be applied to another development node with [`anvil_calls`], so that one test suite can
//! run against both.

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes, U256, address, keccak256};
use serde_json::{Value, json};

use crate::{accounts::ACCOUNTS, auth_capture, batch_settlement, config::Config, hostile, state::State};

/// The devnet's USDC.
pub const USDC: Address = address!("0x05Dc000000000000000000000000000000000001");
/// The devnet's EURC.
pub const EURC: Address = address!("0x0Ec0000000000000000000000000000000000002");
/// A dollar that knows permits (EIP-2612) and no authorizations (EIP-3009). Its EIP-712 domain is "Permit USD", "1".
pub const PERMIT_USD: Address = address!("0x0Ee4000000000000000000000000000000000003");
/// A dollar that knows no signature of any kind.
pub const PLAIN_USD: Address = address!("0x0bA5000000000000000000000000000000000004");
/// Multicall3, where every chain has it.
pub const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");
/// Permit2, where every chain has it; the part that takes signatures for single transfers.
pub const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");
/// Who spends by Permit2 for scheme `exact`, where every chain has it.
pub const EXACT_PROXY: Address = address!("0x402085c248EeA27D92E8b30b2C58ed07f9E20001");
/// Who spends by Permit2 for scheme `upto`, where every chain has it.
pub const UPTO_PROXY: Address = address!("0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// The tokens that the genesis and the faucet hand out.
pub const TOKENS: [Address; 4] = [USDC, EURC, PERMIT_USD, PLAIN_USD];

/// The tokens' storage slot of `owner` (low 160 bits) and `paused` (the byte above).
pub const TOKEN_OWNER_SLOT: u64 = 0;
/// The tokens' storage slot of the balances mapping; see [`balance_slot`].
pub const TOKEN_BALANCES_SLOT: u64 = 1;
/// The tokens' storage slot of the total supply.
pub const TOKEN_SUPPLY_SLOT: u64 = 6;

const USDC_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/DevUsdc.bin");
const EURC_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/DevEurc.bin");
const PERMIT_USD_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/DevPermitUsd.bin");
const PLAIN_USD_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/DevPlainUsd.bin");
const MULTICALL3_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/Multicall3.bin");
const PERMIT2_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/Permit2.bin");
const EXACT_PROXY_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/ExactPermit2Proxy.bin");
const UPTO_PROXY_CODE: &[u8] = include_bytes!("../../../contracts/artifacts/UptoPermit2Proxy.bin");

/// One account as it stands before the first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Where it is.
    pub address: Address,
    /// Its ether, in wei.
    pub balance: U256,
    /// Its runtime code, empty for a plain account.
    pub code: Bytes,
    /// Its storage, without the zero words.
    pub storage: BTreeMap<U256, U256>,
}

/// Every account of the genesis.
///
/// ```
/// use tollway_devnet::{Config, genesis};
///
/// let accounts = genesis::accounts(&Config::default());
/// assert!(accounts.iter().any(|account| account.address == genesis::USDC && !account.code.is_empty()));
/// ```
pub fn accounts(config: &Config) -> Vec<GenesisAccount> {
    let mut accounts = vec![
        contract(USDC, USDC_CODE, token_storage(config)),
        contract(EURC, EURC_CODE, token_storage(config)),
        contract(PERMIT_USD, PERMIT_USD_CODE, token_storage(config)),
        contract(PLAIN_USD, PLAIN_USD_CODE, token_storage(config)),
        contract(MULTICALL3, MULTICALL3_CODE, BTreeMap::new()),
        contract(PERMIT2, PERMIT2_CODE, BTreeMap::new()),
        contract(EXACT_PROXY, EXACT_PROXY_CODE, BTreeMap::new()),
        contract(UPTO_PROXY, UPTO_PROXY_CODE, BTreeMap::new()),
    ];
    accounts.extend(auth_capture::CONTRACTS.map(|(address, code)| contract(address, code, BTreeMap::new())));
    accounts
        .extend(batch_settlement::CONTRACTS.map(|(address, code)| contract(address, code, BTreeMap::new())));
    accounts.extend(hostile::TOKENS.map(|token| contract(token.address, token.code, token_storage(config))));
    accounts.extend(ACCOUNTS.iter().map(|account| GenesisAccount {
        address: account.address,
        balance: config.genesis.wei,
        code: Bytes::new(),
        storage: BTreeMap::new(),
    }));
    accounts
}

/// The storage slot of `holder`'s balance in one of our tokens.
///
/// ```
/// use tollway_devnet::{ACCOUNTS, genesis};
///
/// let slot = genesis::balance_slot(ACCOUNTS[0].address);
/// assert_ne!(slot, genesis::balance_slot(ACCOUNTS[1].address));
/// ```
pub fn balance_slot(holder: Address) -> U256 {
    let mut preimage = [0; 64];
    preimage[12..32].copy_from_slice(holder.as_slice());
    preimage[32..].copy_from_slice(&U256::from(TOKEN_BALANCES_SLOT).to_be_bytes::<32>());
    keccak256(preimage).into()
}

/// The JSON-RPC calls, method and parameters, that bring an anvil to the same genesis.
///
/// ```
/// use tollway_devnet::{Config, genesis};
///
/// let (method, params) = &genesis::anvil_calls(&Config::default())[0];
/// assert_eq!(*method, "anvil_setCode");
/// assert_eq!(params.as_array().map(Vec::len), Some(2));
/// ```
pub fn anvil_calls(config: &Config) -> Vec<(&'static str, Value)> {
    let mut calls = Vec::new();
    for account in accounts(config) {
        let address = account.address;
        if !account.code.is_empty() {
            calls.push(("anvil_setCode", json!([address, account.code])));
        }
        if !account.balance.is_zero() {
            calls.push(("anvil_setBalance", json!([address, account.balance])));
        }
        for (slot, word) in account.storage {
            let word = word.to_be_bytes::<32>();
            calls.push(("anvil_setStorageAt", json!([address, slot, alloy_primitives::B256::from(word)])));
        }
    }
    calls
}

/// The state that the genesis describes.
pub(crate) fn state(config: &Config) -> State {
    let mut state = State::default();
    for account in accounts(config) {
        state.set_balance(account.address, account.balance);
        if !account.code.is_empty() {
            state.set_code(account.address, account.code);
        }
        for (slot, word) in account.storage {
            state.set_slot(account.address, slot, word);
        }
    }
    state
}

fn contract(address: Address, code: &'static [u8], storage: BTreeMap<U256, U256>) -> GenesisAccount {
    GenesisAccount { address, balance: U256::ZERO, code: Bytes::from_static(code), storage }
}

fn token_storage(config: &Config) -> BTreeMap<U256, U256> {
    let amount = config.genesis.token_atomic;
    let owner = U256::from_be_slice(ACCOUNTS[0].address.as_slice());
    let mut storage = BTreeMap::from([
        (U256::from(TOKEN_OWNER_SLOT), owner),
        (U256::from(TOKEN_SUPPLY_SLOT), amount.saturating_mul(U256::from(ACCOUNTS.len()))),
    ]);
    storage.extend(ACCOUNTS.iter().map(|account| (balance_slot(account.address), amount)));
    storage.retain(|_, word| !word.is_zero());
    storage
}
