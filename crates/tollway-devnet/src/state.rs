//! The world state: accounts, code, storage, and the recent block hashes that contracts may ask for.
//!
//! A [`State`] is a value. Cloning it is O(1) (see [`map`]), so every block keeps its own, calls run on a
//! private copy, and nothing here locks. What the chain does with states (history, snapshots) is not here.

mod map;

use std::convert::Infallible;

use alloy_primitives::{Address, B256, Bytes, U256, map::AddressMap};
use revm::{
    Database, DatabaseCommit,
    bytecode::Bytecode,
    state::{Account as TouchedAccount, AccountInfo},
};

use self::map::Map;

/// How many ancestors' hashes the EVM can see.
const VISIBLE_HASHES: u64 = 256;

/// All accounts at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    accounts: Map<Address, Account>,
    /// A ring: the hash of block `n` is under `n % VISIBLE_HASHES`.
    hashes: Map<u64, B256>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    info: AccountInfo,
    storage: Map<U256, U256>,
}

impl State {
    /// Balance, nonce and code of an account; the empty account if nobody ever touched it.
    pub(crate) fn info(&self, address: Address) -> AccountInfo {
        self.accounts.get(&address).map(|account| account.info.clone()).unwrap_or_default()
    }

    /// The nonce of an account.
    pub(crate) fn nonce(&self, address: Address) -> u64 {
        self.accounts.get(&address).map_or(0, |account| account.info.nonce)
    }

    /// The balance of an account, in wei.
    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.accounts.get(&address).map_or(U256::ZERO, |account| account.info.balance)
    }

    /// The code of an account, empty if it has none.
    pub(crate) fn code(&self, address: Address) -> Bytes {
        self.info(address).code.map(|code| code.original_bytes()).unwrap_or_default()
    }

    /// The word in one storage slot.
    pub(crate) fn slot(&self, address: Address, slot: U256) -> U256 {
        self.accounts
            .get(&address)
            .and_then(|account| account.storage.get(&slot))
            .copied()
            .unwrap_or_default()
    }

    /// Sets a balance.
    pub(crate) fn set_balance(&mut self, address: Address, balance: U256) {
        self.accounts.entry(address).info.balance = balance;
    }

    /// Sets a nonce.
    pub(crate) fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.accounts.entry(address).info.nonce = nonce;
    }

    /// Sets the runtime code.
    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) {
        // Raw code that is no valid delegation is kept as plain code, as a node would after a bad deployment.
        let code = Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
        let info = &mut self.accounts.entry(address).info;
        info.code_hash = code.hash_slow();
        info.code = Some(code);
    }

    /// Sets one storage slot.
    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, word: U256) {
        self.accounts.entry(address).storage.insert(slot, word);
    }

    /// Forgets an account's storage.
    pub(crate) fn clear_storage(&mut self, address: Address) {
        self.accounts.entry(address).storage = Map::default();
    }

    /// Makes a block's hash visible to the contracts of its successors.
    pub(crate) fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.hashes.insert(number % VISIBLE_HASHES, hash);
    }
}

impl Database for State {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        let account = self.accounts.get(&address);
        Ok(account.filter(|account| !account.info.is_empty()).map(|account| account.info.clone()))
    }

    fn code_by_hash(&mut self, _: B256) -> Result<Bytecode, Infallible> {
        // Never asked: `basic` always hands the code out with the account.
        Ok(Bytecode::default())
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.hashes.get(&(number % VISIBLE_HASHES)).copied().unwrap_or_default())
    }
}

impl DatabaseCommit for State {
    fn commit(&mut self, changes: AddressMap<TouchedAccount>) {
        for (address, touched) in changes {
            if !touched.is_touched() {
                continue;
            }
            let account = self.accounts.entry(address);
            if touched.is_selfdestructed() {
                *account = Account::default();
                continue;
            }
            if touched.is_created() {
                account.storage = Map::default();
            }
            for (slot, word) in touched.storage {
                if word.is_changed() {
                    account.storage.insert(slot, word.present_value);
                }
            }
            account.info = touched.info;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, U256};

    use super::State;

    #[test]
    fn an_older_state_does_not_see_later_writes() {
        let (account, slot) = (Address::repeat_byte(1), U256::from(3));
        let mut state = State::default();
        state.set_slot(account, slot, U256::from(5));
        let before = state.clone();
        state.set_slot(account, slot, U256::from(6));
        state.set_code(account, Bytes::from_static(&[0x60, 0x00]));
        assert_eq!(before.slot(account, slot), U256::from(5));
        assert!(before.code(account).is_empty());
        assert_eq!(state.slot(account, slot), U256::from(6));
        assert_eq!(state.code(account), Bytes::from_static(&[0x60, 0x00]));
    }
}
