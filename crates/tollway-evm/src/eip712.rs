//! EIP-712: the domain of a token or another contract, and the digest of what is signed under it.

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_sol_types::{SolStruct, sol};
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

/// keccak256 of `EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)`: the
/// fields that every token of EIP-3009 has.
const DOMAIN_TYPE_HASH: B256 = b256!("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");

/// keccak256 of `EIP712Domain(string name,uint256 chainId,address verifyingContract)`: the fields of a contract that
/// has no version, such as Permit2.
const UNVERSIONED_TYPE_HASH: B256 = b256!("8cad95687ba82c2ce50e74f7b754645e5117c3a5bec8151c0726d5857980a866");

/// The EIP-712 domain of a contract: a signature under one is worth nothing under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    separator: B256,
}

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
        let words = [
            DOMAIN_TYPE_HASH,
            keccak256(name),
            keccak256(version),
            U256::from(chain_id).into(),
            contract.into_word(),
        ];
        Some(Self { separator: keccak256(words.map(|word| word.0).as_flattened()) })
    }

    /// The domain of `name` without a version at `contract`; `None` unless `network` is an EVM network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::{eip712::Domain, permit2::PERMIT2};
    /// let domain = Domain::unversioned(&Network::evm(1), PERMIT2, "Permit2").unwrap();
    /// let on_chain = "0x866a5aba21966af95d6c7ab78eb2b2fc913915c28be3b9aa07cc04ff903e3f28";
    /// assert_eq!(domain.separator().to_string(), on_chain);
    /// ```
    pub fn unversioned(network: &Network, contract: Address, name: &str) -> Option<Self> {
        let chain_id = network.evm_chain_id()?;
        let words =
            [UNVERSIONED_TYPE_HASH, keccak256(name), U256::from(chain_id).into(), contract.into_word()];
        Some(Self { separator: keccak256(words.map(|word| word.0).as_flattened()) })
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
    pub const fn separator(&self) -> B256 {
        self.separator
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
        preimage[2..34].copy_from_slice(self.separator.as_slice());
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
    /// let signed = signature::parse(&paid.signature.inner())?;
    /// assert_eq!(signature::recover(digest, &signed), Ok(paid.authorization.from));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn digest<T: SolStruct>(&self, message: &T) -> B256 {
        keccak256(self.preimage(message))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use alloy_sol_types::Eip712Domain;
    use tollway_core::Network;

    use super::Domain;

    #[test]
    fn a_separator_is_the_hash_of_the_domain() {
        for (chain_id, name, version) in [(8453, "USD Coin", "2"), (1, "", ""), (u64::MAX, "ü", "1.0")] {
            let contract = Address::repeat_byte(7);
            let domain = Domain::new(&Network::evm(chain_id), contract, name, version).unwrap();
            let expected = Eip712Domain::new(
                Some(name.into()),
                Some(version.into()),
                Some(U256::from(chain_id)),
                Some(contract),
                None,
            );
            assert_eq!(domain.separator(), expected.separator());
        }
    }
}
