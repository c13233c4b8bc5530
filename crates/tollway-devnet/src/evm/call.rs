//! `eth_call`: a message run on a private copy of a state, with the caller's overrides.

use alloy_primitives::{TxKind, U256};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::StateOverride};
use revm::{
    DatabaseCommit, ExecuteEvm,
    context::{
        BlockEnv, TxEnv,
        either::Either,
        result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState},
    },
};

use super::{machine, rules};
use crate::{failure::Failure, state::State};

/// Where and under what assumptions a message runs.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) chain_id: u64,
    pub(crate) block: BlockEnv,
    pub(crate) state: State,
}

impl Call {
    /// Changes accounts for this call only.
    pub(crate) fn override_state(&mut self, overrides: StateOverride) -> Result<(), Failure> {
        for (address, account) in overrides {
            if account.state.is_some() && account.state_diff.is_some() {
                return Err(Failure::invalid_params(
                    "stateOverrides",
                    "state and stateDiff exclude each other",
                ));
            }
            if account.move_precompile_to.is_some() {
                return Err(Failure::invalid_params(
                    "stateOverrides",
                    "movePrecompileToAddress is not supported",
                ));
            }
            if let Some(balance) = account.balance {
                self.state.set_balance(address, balance);
            }
            if let Some(nonce) = account.nonce {
                self.state.set_nonce(address, nonce);
            }
            if let Some(code) = account.code {
                self.state.set_code(address, code);
            }
            if account.state.is_some() {
                self.state.clear_storage(address);
            }
            for (slot, word) in account.state.or(account.state_diff).into_iter().flatten() {
                self.state.set_slot(address, slot.into(), word.into());
            }
        }
        Ok(())
    }

    /// Changes what the message sees of its block.
    pub(crate) fn override_block(&mut self, overrides: BlockOverrides) -> Result<(), Failure> {
        let block = &mut self.block;
        block.number = overrides.number.unwrap_or(block.number);
        block.timestamp = overrides.time.map_or(block.timestamp, U256::from);
        block.gas_limit = overrides.gas_limit.unwrap_or(block.gas_limit);
        block.beneficiary = overrides.coinbase.unwrap_or(block.beneficiary);
        block.prevrandao = overrides.random.or(block.prevrandao);
        if let Some(base_fee) = overrides.base_fee {
            block.basefee = base_fee
                .try_into()
                .map_err(|_| Failure::invalid_params("blockOverrides", "baseFeePerGas is above 64 bits"))?;
        }
        for (number, hash) in overrides.block_hash.into_iter().flatten() {
            self.state.set_block_hash(number, hash);
        }
        Ok(())
    }
}

/// Runs a message with at most `gas` and returns what happened. Nothing is kept.
pub(crate) fn simulate(
    call: &Call,
    request: &TransactionRequest,
    gas: u64,
) -> Result<ExecutionResult, Failure> {
    let outcome = run(call, request, gas, false)?;
    outcome.map(|outcome| outcome.result).map_err(|problem| Failure::invalid_transaction(&problem))
}

/// Runs a message with at most `gas` and keeps what it changed. One that `pays` must have the right nonce and pay for its
/// gas like a transaction, but needs no key.
pub(crate) fn apply(
    call: &mut Call,
    request: &TransactionRequest,
    gas: u64,
    pays: bool,
) -> Result<ExecutionResult, Failure> {
    let outcome = run(call, request, gas, pays)?;
    let outcome = outcome.map_err(|problem| Failure::invalid_in_simulation(&problem))?;
    call.state.commit(outcome.state);
    Ok(outcome.result)
}

type Outcome = Result<ResultAndState, InvalidTransaction>;

fn run(call: &Call, request: &TransactionRequest, gas: u64, pays: bool) -> Result<Outcome, Failure> {
    let env = message(call, request, gas)?;
    let mut cfg = rules(call.chain_id);
    let mut block = call.block.clone();
    // A call is no transaction: it needs no nonce, no key, no cap, and pays for gas only if it says so.
    cfg.disable_nonce_check = !pays;
    cfg.disable_eip3607 = true;
    cfg.disable_block_gas_limit = true;
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    if is_free(&env) && !pays {
        cfg.disable_base_fee = true;
        block.basefee = 0;
    }
    match machine(cfg, block, call.state.clone()).transact(env) {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(EVMError::Transaction(problem)) => Ok(Err(problem)),
        Err(other) => Err(Failure::server(other.to_string())),
    }
}

/// Whether a message names no price for its gas. Then nodes show it a block in which gas costs nothing, so that what it
/// pays is never below what the block asks for.
fn is_free(env: &TxEnv) -> bool {
    env.gas_price == 0 && env.gas_priority_fee.unwrap_or_default() == 0
}

fn message(call: &Call, request: &TransactionRequest, gas: u64) -> Result<TxEnv, Failure> {
    let data = request
        .input
        .unique_input()
        .map_err(|_| Failure::invalid_params("transaction", "data and input differ"))?
        .cloned()
        .unwrap_or_default();
    let named = request.max_fee_per_gas.or(request.max_priority_fee_per_gas);
    if request.gas_price.is_some() && named.is_some() {
        let problem = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
        return Err(Failure::invalid_params("transaction", problem));
    }
    let caller = request.from.unwrap_or_default();
    let authorizations = request.authorization_list.clone().unwrap_or_default();
    let mut env = TxEnv {
        caller,
        gas_limit: gas,
        gas_price: request.gas_price.or(request.max_fee_per_gas).unwrap_or_default(),
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data,
        nonce: request.nonce.unwrap_or_else(|| call.state.nonce(caller)),
        chain_id: Some(request.chain_id.unwrap_or(call.chain_id)),
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: named.map(|_| request.max_priority_fee_per_gas.unwrap_or_default()),
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
        ..TxEnv::default()
    };
    env.derive_tx_type().map_err(|problem| Failure::invalid_params("transaction", format!("{problem:?}")))?;
    Ok(env)
}
