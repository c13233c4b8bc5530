//! Signed transactions (EIP-1559).

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};

use crate::{Signer, SignerError};

/// A transaction to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The chain it is valid on.
    pub chain_id: u64,
    /// The sender's nonce.
    pub nonce: u64,
    /// Who is called.
    pub to: Address,
    /// The native money that it moves, wei.
    pub value: U256,
    /// The calldata.
    pub data: Bytes,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The most it pays per gas, wei.
    pub max_fee_per_gas: u128,
    /// The tip per gas, wei.
    pub max_priority_fee_per_gas: u128,
}

/// A signed transaction: what is journalled before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its hash, known before any node has seen it.
    pub hash: B256,
    /// Its bytes as sent (EIP-2718).
    pub raw: Bytes,
}

impl Transaction {
    /// What was signed, from its bytes (EIP-2718); none for what [`Transaction::sign`] never makes.
    ///
    /// ```
    /// use tollway_evm::{Address, Bytes, LocalSigner, Transaction, U256};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (chain_id, nonce, to, value, data) = (8453, 42, Address::repeat_byte(0xaa), U256::ZERO, Bytes::new());
    /// # let (gas_limit, max_fee_per_gas, max_priority_fee_per_gas) = (120_000, 50_000_000, 1_000_000);
    /// let transaction = Transaction {
    ///     chain_id, nonce, to, value, data, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
    /// };
    /// let signed = transaction.clone().sign(&LocalSigner::random()?).await?;
    /// assert_eq!(Transaction::decode(&signed.raw), Some(transaction));
    /// assert_eq!(Transaction::decode(&signed.raw[1..]), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn decode(raw: &[u8]) -> Option<Self> {
        let mut rest = raw;
        let TxEnvelope::Eip1559(signed) = TxEnvelope::decode_2718(&mut rest).ok()? else { return None };
        let transaction = signed.into_parts().0;
        let TxKind::Call(to) = transaction.to else { return None };
        rest.is_empty().then_some(Self {
            chain_id: transaction.chain_id,
            nonce: transaction.nonce,
            to,
            value: transaction.value,
            data: transaction.input,
            gas_limit: transaction.gas_limit,
            max_fee_per_gas: transaction.max_fee_per_gas,
            max_priority_fee_per_gas: transaction.max_priority_fee_per_gas,
        })
    }

    /// Signs it.
    ///
    /// # Errors
    /// What the signer says.
    ///
    /// ```
    /// use tollway_evm::{Address, Bytes, LocalSigner, Transaction, U256};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (chain_id, nonce, to, value, data) = (8453, 42, Address::repeat_byte(0xaa), U256::ZERO, Bytes::new());
    /// # let (gas_limit, max_fee_per_gas, max_priority_fee_per_gas) = (120_000, 50_000_000, 1_000_000);
    /// let transaction = Transaction {
    ///     chain_id, nonce, to, value, data, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
    /// };
    /// let signed = transaction.sign(&LocalSigner::random()?).await?;
    /// assert_eq!((signed.raw[0], signed.hash), (2, alloy_primitives::keccak256(&signed.raw)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sign(self, signer: &dyn Signer) -> Result<SignedTransaction, SignerError> {
        let unsigned = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.max_fee_per_gas,
            max_priority_fee_per_gas: self.max_priority_fee_per_gas,
            to: TxKind::Call(self.to),
            value: self.value,
            input: self.data,
            access_list: alloy_eips::eip2930::AccessList::default(),
        };
        let signature = signer.sign(&unsigned.encoded_for_signing()).await?;
        let envelope = TxEnvelope::from(unsigned.into_signed(signature));
        Ok(SignedTransaction { hash: *envelope.tx_hash(), raw: envelope.encoded_2718().into() })
    }
}
