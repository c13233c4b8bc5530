//! A signed transaction: decoded, its sender recovered, ready for the pool and for the EVM.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::{Decodable2718, Typed2718};
use alloy_primitives::{Address, B256, U256};
use revm::{
    context::{TxEnv, either::Either},
    context_interface::cfg::gas::calculate_initial_tx_gas_for_tx,
    precompile::crypto,
};

use super::SPEC;
use crate::failure::Failure;

/// A transaction whose signature is known to be its sender's.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) hash: B256,
    pub(crate) sender: Address,
    pub(crate) envelope: TxEnvelope,
}

impl Transaction {
    /// Reads the canonical encoding of a transaction for chain `chain_id`.
    pub(crate) fn decode(raw: &[u8], chain_id: u64) -> Result<Self, Failure> {
        let envelope = TxEnvelope::decode_2718_exact(raw)
            .map_err(|problem| Failure::invalid_params("transaction", problem))?;
        if envelope.is_eip4844() {
            return Err(Failure::server("transaction type not supported"));
        }
        if let Some(have) = envelope.chain_id().filter(|&have| have != chain_id) {
            return Err(Failure::server(format!("invalid chain id for signer: have {have} want {chain_id}")));
        }
        let sender = recover(&envelope).ok_or_else(|| Failure::server("invalid sender"))?;
        Ok(Self { hash: *envelope.tx_hash(), sender, envelope })
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    /// The most that the transaction can take from its sender, fees and value together.
    pub(crate) fn max_cost(&self) -> U256 {
        let fee = U256::from(self.envelope.gas_limit()) * U256::from(self.envelope.max_fee_per_gas());
        fee.saturating_add(self.envelope.value())
    }

    /// The transaction as the EVM takes it.
    pub(crate) fn env(&self) -> TxEnv {
        let tx = &self.envelope;
        TxEnv {
            tx_type: tx.ty(),
            caller: self.sender,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.kind(),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            authorization_list: tx
                .authorization_list()
                .unwrap_or_default()
                .iter()
                .map(|authorization| Either::Left(authorization.clone()))
                .collect(),
            ..TxEnv::default()
        }
    }
}

/// The least gas limit with which a transaction may run at all.
pub(crate) fn intrinsic_gas(env: &TxEnv) -> u64 {
    let gas = calculate_initial_tx_gas_for_tx(env, SPEC, None);
    gas.initial_total_gas().max(gas.floor_gas())
}

/// Who signed, by libsecp256k1. `None` for signatures that the chain rejects, the malleable ones (EIP-2)
/// included.
fn recover(envelope: &TxEnvelope) -> Option<Address> {
    let signature = envelope.signature();
    if signature.normalize_s().is_some() {
        return None;
    }
    let mut rs = [0; 64];
    rs.copy_from_slice(&signature.as_bytes()[..64]);
    let word = crypto().secp256k1_ecrecover(&rs, signature.v().into(), &envelope.signature_hash().0).ok()?;
    Some(Address::from_word(word.into()))
}
