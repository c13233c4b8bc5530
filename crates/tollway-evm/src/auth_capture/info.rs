//! The terms of a payment as the escrow knows them, and the hashes that name it.

use alloy_primitives::aliases::{U48, U120};
use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use serde_json::Value;
use tollway_core::wire::Fields;
use tollway_core::{JsonObject, Network, Refusal};

pub use super::abi::PaymentInfo;
use super::{address_field, word_field};

/// keccak256 of `x402AuthCaptureSaltBinding(address receiverAuthorizer,address policy,uint256 saltNonce)`.
const SALT_BINDING_TYPE_HASH: B256 =
    b256!("8a2a7e41a0bda000ded071ff38b79401d2603e1826516ff2635b11fe9e30877f");

/// The largest amount that the escrow can hold for a payment.
pub(super) const MAX_AMOUNT: U256 = U256::from_limbs([u64::MAX, (1 << 56) - 1, 0, 0]);
/// The last second that the escrow can name.
pub(super) const MAX_SECOND: u64 = (1 << 48) - 1;

impl PaymentInfo {
    /// What names the payment on `network`, in the escrow at `escrow`: what it answers to `getHash`. `None` unless that
    /// is an EVM network.
    ///
    /// ```
    /// # use tollway_core::Network;
    /// use tollway_evm::auth_capture::{self, Deployment};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let info = auth_capture::check_at_any_time(&request.payment, &request.requirements)?.info;
    /// let named = |deployment: Deployment| info.hash(&Network::evm(8453), deployment.escrow);
    /// assert_ne!(named(Deployment::CURRENT), named(Deployment::FIRST));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(&self, network: &Network, escrow: Address) -> Option<B256> {
        let chain_id = network.evm_chain_id()?;
        // Nothing in it is of dynamic size, so this is the encoding of the type's hash and then of each field.
        let terms = self.eip712_hash_struct();
        Some(keccak256((U256::from(chain_id), escrow, terms).abi_encode()))
    }

    /// The nonce that the payer signs: the same before anybody is the payer.
    ///
    /// ```
    /// # use tollway_core::Network;
    /// use tollway_evm::auth_capture::{self, Deployment};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let info = auth_capture::check_at_any_time(&request.payment, &request.requirements)?.info;
    /// let (base, escrow) = (Network::evm(8453), Deployment::CURRENT.escrow);
    /// assert_ne!(info.nonce(&base, escrow), info.hash(&base, escrow));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nonce(&self, network: &Network, escrow: Address) -> Option<B256> {
        Self { payer: Address::ZERO, ..self.clone() }.hash(network, escrow)
    }

    /// Reads what a seller sends of a payment that was collected.
    pub(super) fn decode(mut fields: Fields) -> Result<Self, Refusal> {
        let second = |fields: &mut Fields, name: &str| -> Result<U48, Refusal> {
            let second = fields.number(name)?;
            let fits = (second <= MAX_SECOND).then(|| U48::from(second));
            fits.ok_or_else(|| fields.error(name, "must be a second in 48 bits").into())
        };
        let bps = |fields: &mut Fields, name: &str| -> Result<u16, Refusal> {
            let number = fields.number(name)?;
            u16::try_from(number).map_err(|_| fields.error(name, "must fit in 16 bits").into())
        };
        Ok(Self {
            operator: address_field(&mut fields, "operator")?,
            payer: address_field(&mut fields, "payer")?,
            receiver: address_field(&mut fields, "receiver")?,
            token: address_field(&mut fields, "token")?,
            maxAmount: {
                let amount = fields.amount("maxAmount")?.atomic();
                let fits = (amount <= MAX_AMOUNT).then(|| U120::from(amount));
                fits.ok_or_else(|| fields.error("maxAmount", "must fit in 120 bits"))?
            },
            preApprovalExpiry: second(&mut fields, "preApprovalExpiry")?,
            authorizationExpiry: second(&mut fields, "authorizationExpiry")?,
            refundExpiry: second(&mut fields, "refundExpiry")?,
            minFeeBps: bps(&mut fields, "minFeeBps")?,
            maxFeeBps: bps(&mut fields, "maxFeeBps")?,
            feeReceiver: address_field(&mut fields, "feeReceiver")?,
            salt: word_field(&mut fields, "salt")?.into(),
        })
    }

    /// As [`decode`](Self::decode) reads it.
    pub(super) fn encode(&self) -> JsonObject {
        let address = |address: Address| Value::from(address.to_checksum(None));
        let second = |second: U48| Value::from(second.to::<u64>());
        [
            ("operator", address(self.operator)),
            ("payer", address(self.payer)),
            ("receiver", address(self.receiver)),
            ("token", address(self.token)),
            ("maxAmount", self.maxAmount.to_string().into()),
            ("preApprovalExpiry", second(self.preApprovalExpiry)),
            ("authorizationExpiry", second(self.authorizationExpiry)),
            ("refundExpiry", second(self.refundExpiry)),
            ("minFeeBps", self.minFeeBps.into()),
            ("maxFeeBps", self.maxFeeBps.into()),
            ("feeReceiver", address(self.feeReceiver)),
            ("salt", B256::from(self.salt).to_string().into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// The salt that binds a payment to who may consent to what happens with it later.
pub(super) fn bound_salt(receiver_authorizer: Address, salt_nonce: B256) -> B256 {
    // No policy contract: that kind of operator is reserved.
    keccak256((SALT_BINDING_TYPE_HASH, receiver_authorizer, Address::ZERO, salt_nonce).abi_encode())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, keccak256};
    use alloy_sol_types::SolStruct;

    use super::{MAX_AMOUNT, PaymentInfo, SALT_BINDING_TYPE_HASH};

    #[test]
    fn types_are_hashed_as_they_are_written() {
        let binding =
            "x402AuthCaptureSaltBinding(address receiverAuthorizer,address policy,uint256 saltNonce)";
        assert_eq!(SALT_BINDING_TYPE_HASH, keccak256(binding));
        let info = PaymentInfo {
            operator: Default::default(),
            payer: Default::default(),
            receiver: Default::default(),
            token: Default::default(),
            maxAmount: Default::default(),
            preApprovalExpiry: Default::default(),
            authorizationExpiry: Default::default(),
            refundExpiry: Default::default(),
            minFeeBps: 0,
            maxFeeBps: 0,
            feeReceiver: Default::default(),
            salt: U256::ZERO,
        };
        // What the contracts on chain answer to PAYMENT_INFO_TYPEHASH().
        let on_chain = "0xae68ac7ce30c86ece8196b61a7c486d8f0061f575037fbd34e7fe4e2820c6591";
        assert_eq!(info.eip712_type_hash().to_string(), on_chain);
    }

    #[test]
    fn the_largest_amount_has_120_bits() {
        assert_eq!(MAX_AMOUNT, (U256::from(1) << 120) - U256::from(1));
    }
}
