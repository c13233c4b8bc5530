//! EIP-712: the domain of a token, and the digest of an EIP-3009 authorization.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};
use tollway_core::Network;

use crate::Asset;

sol! {
    /// EIP-3009: what the payer signs.
    #[derive(Debug, PartialEq, Eq)]
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

/// The EIP-712 domain of a token: a signature under one is worth nothing under another.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain(Eip712Domain);

impl Domain {
    /// The domain of `name` and `version` at `contract`; `None` unless `network` is an EVM network.
    pub fn new(network: &Network, contract: Address, name: &str, version: &str) -> Option<Self> {
        let chain_id = network.evm_chain_id()?;
        Some(Self(Eip712Domain::new(
            Some(Cow::Owned(name.to_owned())),
            Some(Cow::Owned(version.to_owned())),
            Some(U256::from(chain_id)),
            Some(contract),
            None,
        )))
    }

    /// The domain of a known asset.
    pub fn of(asset: &Asset) -> Option<Self> {
        Self::new(&asset.network, asset.address, &asset.name, &asset.version)
    }

    /// What the token answers to `DOMAIN_SEPARATOR()`.
    pub fn separator(&self) -> B256 {
        self.0.separator()
    }

    /// The 66 bytes whose keccak256 is signed: `0x1901`, the separator, the hash of the message.
    pub fn preimage<T: SolStruct>(&self, message: &T) -> [u8; 66] {
        let mut preimage = [0u8; 66];
        preimage[..2].copy_from_slice(&[0x19, 0x01]);
        preimage[2..34].copy_from_slice(self.separator().as_slice());
        preimage[34..].copy_from_slice(message.eip712_hash_struct().as_slice());
        preimage
    }

    /// The digest that is signed.
    pub fn digest<T: SolStruct>(&self, message: &T) -> B256 {
        keccak256(self.preimage(message))
    }
}
