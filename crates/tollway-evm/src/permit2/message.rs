//! What is signed (EIP-712): the permit with the witness of one of the two proxies, under Permit2's own domain.

use alloy_primitives::{Address, B256, address};
use tollway_core::Network;

use super::Permit;
use crate::eip712::Domain;

/// The Permit2 contract, at the same address on every network.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");

/// The contract that spends the permits of scheme `exact`: always the whole amount, to the witness's payee.
const EXACT_PROXY: Address = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");

/// The contract that spends the permits of scheme `upto`: at most the amount, and only for the witness's facilitator.
const UPTO_PROXY: Address = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// Which contract may spend a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Scheme `exact`. Whoever sends it, the same happens.
    Exact,
    /// Scheme `upto`. Only one account may send it, because the sender says how much.
    Upto {
        /// That account.
        facilitator: Address,
    },
}

impl Proxy {
    /// The address of the contract, the same on every network.
    ///
    /// ```
    /// use tollway_evm::permit2::Proxy;
    /// let exact = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
    /// assert_eq!(Proxy::Exact.address().to_string(), exact);
    /// ```
    pub const fn address(&self) -> Address {
        match self {
            Self::Exact => EXACT_PROXY,
            Self::Upto { .. } => UPTO_PROXY,
        }
    }
}

impl Permit {
    /// The digest that the payer signs on `network`; `None` unless that is an EVM network.
    ///
    /// ```
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let payment = tollway_evm::permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// let digest = payment.permit.digest(&payment.network).expect("an EVM network");
    /// let signed = tollway_evm::signature::parse(&payment.signature.to_bytes())?;
    /// assert_eq!(tollway_evm::signature::recover(digest, &signed), Ok(payment.permit.from));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn digest(&self, network: &Network) -> Option<B256> {
        self.preimage(network).map(alloy_primitives::keccak256)
    }

    /// The 66 bytes whose keccak256 is the [`digest`](Self::digest): what a [`Signer`](crate::Signer) is given.
    ///
    /// ```
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let payment = tollway_evm::permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// let preimage = payment.permit.preimage(&payment.network).expect("an EVM network");
    /// assert_eq!(preimage[..2], [0x19, 0x01]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preimage(&self, network: &Network) -> Option<[u8; 66]> {
        let domain = Domain::unversioned(network, PERMIT2, "Permit2")?;
        Some(match self.proxy {
            Proxy::Exact => domain.preimage(&self.exact_message()),
            Proxy::Upto { facilitator } => domain.preimage(&self.upto_message(facilitator)),
        })
    }

    fn exact_message(&self) -> exact::PermitWitnessTransferFrom {
        exact::PermitWitnessTransferFrom {
            permitted: exact::TokenPermissions { token: self.token, amount: self.amount },
            spender: EXACT_PROXY,
            nonce: self.nonce,
            deadline: self.deadline,
            witness: exact::Witness { to: self.to, validAfter: self.valid_after },
        }
    }

    fn upto_message(&self, facilitator: Address) -> upto::PermitWitnessTransferFrom {
        upto::PermitWitnessTransferFrom {
            permitted: upto::TokenPermissions { token: self.token, amount: self.amount },
            spender: UPTO_PROXY,
            nonce: self.nonce,
            deadline: self.deadline,
            witness: upto::Witness { to: self.to, facilitator, validAfter: self.valid_after },
        }
    }
}

mod exact {
    use alloy_sol_types::sol;

    sol! {
        #[derive(Debug)]
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        #[derive(Debug)]
        struct Witness {
            address to;
            uint256 validAfter;
        }

        #[derive(Debug)]
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
    }
}

mod upto {
    use alloy_sol_types::sol;

    sol! {
        #[derive(Debug)]
        struct TokenPermissions {
            address token;
            uint256 amount;
        }

        #[derive(Debug)]
        struct Witness {
            address to;
            address facilitator;
            uint256 validAfter;
        }

        #[derive(Debug)]
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted;
            address spender;
            uint256 nonce;
            uint256 deadline;
            Witness witness;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use alloy_sol_types::SolStruct;

    use super::{Permit, Proxy};

    fn encoded<T: SolStruct>(_: &T) -> String {
        T::eip712_encode_type().into_owned()
    }

    #[test]
    fn the_types_are_those_that_permit2_and_the_proxies_hash() {
        let permit = Permit {
            from: Address::ZERO,
            token: Address::ZERO,
            amount: U256::ZERO,
            nonce: U256::ZERO,
            deadline: U256::ZERO,
            proxy: Proxy::Exact,
            to: Address::ZERO,
            valid_after: U256::ZERO,
        };
        let stem = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,\
                    uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)";
        let exact = encoded(&permit.exact_message());
        assert_eq!(exact, format!("{stem}Witness(address to,uint256 validAfter)"));
        let upto = encoded(&permit.upto_message(Address::ZERO));
        assert_eq!(upto, format!("{stem}Witness(address to,address facilitator,uint256 validAfter)"));
    }
}
