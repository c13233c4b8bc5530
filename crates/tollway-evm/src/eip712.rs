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
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::{Address, eip712::Domain};
    /// let usdc: Address = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48".parse().unwrap();
    /// let domain = |chain_id| Domain::new(&Network::evm(chain_id), usdc, "USD Coin", "2");
    /// assert_ne!(domain(1).unwrap().separator(), domain(8453).unwrap().separator());
    /// ```
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

    /// The domain of a known asset; `None` unless it is on an EVM network.
    ///
    /// ```
    /// use tollway_core::{Currency, Network};
    /// use tollway_evm::{AssetTable, eip712::Domain};
    /// let known = AssetTable::known();
    /// let usdc = known.resolve(&Network::evm(8453), &Currency::Usd).unwrap();
    /// assert_eq!(Domain::of(usdc), Domain::new(&usdc.network, usdc.address, "USD Coin", "2"));
    /// ```
    pub fn of(asset: &Asset) -> Option<Self> {
        Self::new(&asset.network, asset.address, &asset.name, &asset.version)
    }

    /// What the token answers to `DOMAIN_SEPARATOR()`.
    ///
    /// ```
    /// use tollway_core::{Currency, Network};
    /// use tollway_evm::{AssetTable, eip712::Domain};
    /// let known = AssetTable::known();
    /// let domain = known.resolve(&Network::evm(1), &Currency::Usd).and_then(Domain::of).unwrap();
    /// let on_chain = "0x06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335";
    /// assert_eq!(domain.separator().to_string(), on_chain);
    /// ```
    pub fn separator(&self) -> B256 {
        self.0.separator()
    }

    /// The 66 bytes whose keccak256 is signed: `0x1901`, the separator, the hash of the message. It is what a
    /// [`Signer`](crate::Signer) is given.
    ///
    /// ```
    /// # use tollway_evm::exact;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let paid = exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let domain = tollway_evm::eip712::Domain::new(&paid.network, paid.asset, "USD Coin", "2").unwrap();
    /// let message = paid.authorization.message();
    /// assert_eq!(alloy_primitives::keccak256(domain.preimage(&message)), domain.digest(&message));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preimage<T: SolStruct>(&self, message: &T) -> [u8; 66] {
        let mut preimage = [0u8; 66];
        preimage[..2].copy_from_slice(&[0x19, 0x01]);
        preimage[2..34].copy_from_slice(self.separator().as_slice());
        preimage[34..].copy_from_slice(message.eip712_hash_struct().as_slice());
        preimage
    }

    /// The digest that is signed: keccak256 of the [`preimage`](Self::preimage).
    ///
    /// ```
    /// # use tollway_evm::{exact, signature};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let paid = exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let domain = tollway_evm::eip712::Domain::new(&paid.network, paid.asset, "USD Coin", "2").unwrap();
    /// let digest = domain.digest(&paid.authorization.message());
    /// assert_eq!(signature::recover(digest, &paid.signature), Ok(paid.authorization.from));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn digest<T: SolStruct>(&self, message: &T) -> B256 {
        keccak256(self.preimage(message))
    }
}
