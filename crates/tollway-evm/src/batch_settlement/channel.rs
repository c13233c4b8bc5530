//! What a channel is: its immutable terms, and the name that follows from them.

use std::cell::Cell;
use std::ops::RangeInclusive;

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use serde_json::Value;
use tollway_core::{ChannelKey, JsonObject, Network, Refusal};

use super::fields::Reader;
use super::{SETTLEMENT, code};

/// How long a payer waits between asking for a withdrawal and withdrawing: what the contract takes, seconds. 15 minutes to
/// 30 days.
pub const WITHDRAW_DELAY_SECONDS: RangeInclusive<u64> = 900..=2_592_000;

/// keccak256 of `ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address
/// token,uint40 withdrawDelay,bytes32 salt)`, as is each of the others here of what it is named after.
const CONFIG_TYPE_HASH: B256 = b256!("1c9a06ceab9b0ebbd3301dc56c9111bb6d9af421356dc9ccb3b7084c755db308");
const DOMAIN_TYPE_HASH: B256 = b256!("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");
/// keccak256 of `x402 Batch Settlement`.
const NAME_HASH: B256 = b256!("e03c502b9066cc6f23a8f0f48ed32cb7d506f9f0a2d0055449f256846a770e9a");
/// keccak256 of `1`.
const VERSION_HASH: B256 = b256!("c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6");

const FIELDS: [&str; 7] =
    ["payer", "payerAuthorizer", "receiver", "receiverAuthorizer", "token", "withdrawDelay", "salt"];

thread_local! {
    /// The domain of the chain that was asked for last: a seller is on one chain, and on few at most.
    static DOMAIN: Cell<Option<BatchDomain>> = const { Cell::new(None) };
}

/// The terms of a channel. They never change: their hash is the channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelConfig {
    /// Whose money is in it.
    pub payer: Address,
    /// Whose key signs vouchers. Zero: the payer's account does, with its key or by its code (ERC-1271).
    pub payer_authorizer: Address,
    /// Who is paid.
    pub receiver: Address,
    /// Whose signature consents to claims and refunds.
    pub receiver_authorizer: Address,
    /// The token.
    pub token: Address,
    /// How long the payer waits between asking for a withdrawal and withdrawing.
    pub withdraw_delay_seconds: u64,
    /// Tells channels with the same terms apart.
    pub salt: B256,
}

impl ChannelConfig {
    /// The channel's name on the chain.
    ///
    /// ```
    /// use tollway_evm::{Address, B256, batch_settlement::ChannelConfig};
    /// let config = ChannelConfig {
    ///     payer: Address::repeat_byte(1), payer_authorizer: Address::repeat_byte(1),
    ///     receiver: Address::repeat_byte(2), receiver_authorizer: Address::repeat_byte(3),
    ///     token: Address::repeat_byte(4), withdraw_delay_seconds: 900, salt: B256::ZERO,
    /// };
    /// assert_ne!(config.id(8453), config.id(1), "another chain");
    /// assert_ne!(config.id(8453), ChannelConfig { salt: B256::repeat_byte(1), ..config }.id(8453));
    /// ```
    pub fn id(&self, chain_id: u64) -> B256 {
        BatchDomain::of(chain_id).digest(self.hash())
    }

    /// The channel's name on `network`, as sellers and buyers keep it; none unless that is an EVM network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// # use tollway_evm::{Address, B256, batch_settlement::ChannelConfig};
    /// # let config = ChannelConfig {
    /// #     payer: Address::repeat_byte(1), payer_authorizer: Address::repeat_byte(1),
    /// #     receiver: Address::repeat_byte(2), receiver_authorizer: Address::repeat_byte(3),
    /// #     token: Address::repeat_byte(4), withdraw_delay_seconds: 900, salt: B256::ZERO,
    /// # };
    /// let key = config.key(&Network::evm(8453)).unwrap();
    /// assert_eq!(key.id(), config.id(8453).to_string());
    /// ```
    pub fn key(&self, network: &Network) -> Option<ChannelKey> {
        Some(channel_key(network, self.id(network.evm_chain_id()?)))
    }

    /// Whose key must have signed a voucher; none if only the payer's code can say.
    ///
    /// ```
    /// use tollway_evm::{Address, B256, batch_settlement::ChannelConfig};
    /// # let config = ChannelConfig {
    /// #     payer: Address::repeat_byte(1), payer_authorizer: Address::repeat_byte(1),
    /// #     receiver: Address::repeat_byte(2), receiver_authorizer: Address::repeat_byte(3),
    /// #     token: Address::repeat_byte(4), withdraw_delay_seconds: 900, salt: B256::ZERO,
    /// # };
    /// assert_eq!(config.voucher_key(), Some(config.payer_authorizer));
    /// assert_eq!(ChannelConfig { payer_authorizer: Address::ZERO, ..config }.voucher_key(), None);
    /// ```
    pub fn voucher_key(&self) -> Option<Address> {
        Some(self.payer_authorizer).filter(|key| *key != Address::ZERO)
    }

    /// The terms as they are on the wire.
    ///
    /// ```
    /// use tollway_evm::{Address, B256, batch_settlement::ChannelConfig};
    /// # let config = ChannelConfig {
    /// #     payer: Address::repeat_byte(1), payer_authorizer: Address::repeat_byte(1),
    /// #     receiver: Address::repeat_byte(2), receiver_authorizer: Address::repeat_byte(3),
    /// #     token: Address::repeat_byte(4), withdraw_delay_seconds: 900, salt: B256::ZERO,
    /// # };
    /// assert_eq!(ChannelConfig::read(&config.to_terms()), Ok(config));
    /// ```
    pub fn to_terms(self) -> JsonObject {
        let address = |address: Address| Value::from(address.to_checksum(None));
        [
            ("payer", address(self.payer)),
            ("payerAuthorizer", address(self.payer_authorizer)),
            ("receiver", address(self.receiver)),
            ("receiverAuthorizer", address(self.receiver_authorizer)),
            ("token", address(self.token)),
            ("withdrawDelay", self.withdraw_delay_seconds.into()),
            ("salt", self.salt.to_string().into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// Reads terms as they are on the wire.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::ChannelConfig;
    /// let error = ChannelConfig::read(&Default::default()).unwrap_err();
    /// assert_eq!(error.to_string(), "channelConfig.withdrawDelay: is required");
    /// ```
    pub fn read(terms: &JsonObject) -> Result<Self, Refusal> {
        Self::decode(Reader::new(terms, "channelConfig", code::PAYLOAD_TYPE))
    }

    pub(super) fn decode(reader: Reader<'_>) -> Result<Self, Refusal> {
        // The name is the hash of these fields; with others in between, two texts of one channel could differ in more than
        // spelling, and whoever keeps the text would keep them.
        reader.only(&FIELDS)?;
        let delay = reader.number("withdrawDelay")?;
        if delay >= 1 << 40 {
            return Err(reader.error("withdrawDelay", "must be seconds in 40 bits"));
        }
        Ok(Self {
            payer: reader.address("payer")?,
            payer_authorizer: reader.address("payerAuthorizer")?,
            receiver: reader.address("receiver")?,
            receiver_authorizer: reader.address("receiverAuthorizer")?,
            token: reader.address("token")?,
            withdraw_delay_seconds: delay,
            salt: reader.word("salt")?,
        })
    }

    fn hash(&self) -> B256 {
        hash_words([
            CONFIG_TYPE_HASH,
            self.payer.into_word(),
            self.payer_authorizer.into_word(),
            self.receiver.into_word(),
            self.receiver_authorizer.into_word(),
            self.token.into_word(),
            U256::from(self.withdraw_delay_seconds).into(),
            self.salt,
        ])
    }
}

/// The name of the channel with this id.
pub(super) fn channel_key(network: &Network, id: B256) -> ChannelKey {
    ChannelKey::new(format!("{network}/{id:#x}"))
}

/// The contract's domain on one chain (EIP-712): what is signed there is signed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchDomain {
    chain_id: u64,
    separator: B256,
}

impl BatchDomain {
    pub(super) fn of(chain_id: u64) -> Self {
        if let Some(known) = DOMAIN.get().filter(|domain| domain.chain_id == chain_id) {
            return known;
        }
        let words =
            [DOMAIN_TYPE_HASH, NAME_HASH, VERSION_HASH, U256::from(chain_id).into(), SETTLEMENT.into_word()];
        let domain = Self { chain_id, separator: hash_words(words) };
        DOMAIN.set(Some(domain));
        domain
    }

    /// The 66 bytes whose hash is signed, of what hashes to `message`.
    pub(super) fn preimage(&self, message: B256) -> [u8; 66] {
        let mut preimage = [0u8; 66];
        preimage[..2].copy_from_slice(&[0x19, 0x01]);
        preimage[2..34].copy_from_slice(self.separator.as_slice());
        preimage[34..].copy_from_slice(message.as_slice());
        preimage
    }

    pub(super) fn digest(&self, message: B256) -> B256 {
        keccak256(self.preimage(message))
    }
}

/// The hash of words one behind the other.
pub(super) fn hash_words<const N: usize>(words: [B256; N]) -> B256 {
    keccak256(words.map(|word| word.0).as_flattened())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256, keccak256};
    use alloy_sol_types::{Eip712Domain, SolStruct, sol};

    use super::{BatchDomain, CONFIG_TYPE_HASH, ChannelConfig as Ours, NAME_HASH, SETTLEMENT, VERSION_HASH};

    sol! {
        struct ChannelConfig {
            address payer;
            address payerAuthorizer;
            address receiver;
            address receiverAuthorizer;
            address token;
            uint40 withdrawDelay;
            bytes32 salt;
        }
    }

    #[test]
    fn a_channels_name_is_the_hash_of_its_terms_under_the_contracts_domain() {
        assert_eq!(CONFIG_TYPE_HASH, keccak256(ChannelConfig::eip712_encode_type().as_ref()));
        assert_eq!((NAME_HASH, VERSION_HASH), (keccak256("x402 Batch Settlement"), keccak256("1")));
        let [payer, authorizer, receiver, consents, token] = [1, 2, 3, 4, 5].map(Address::repeat_byte);
        for (chain_id, seconds) in [(8453, 900), (1, 2_592_000), (u64::MAX, (1 << 40) - 1), (8453, 901)] {
            let salt = B256::repeat_byte(7);
            let ours = Ours {
                payer,
                payer_authorizer: authorizer,
                receiver,
                receiver_authorizer: consents,
                token,
                withdraw_delay_seconds: seconds,
                salt,
            };
            let theirs = ChannelConfig {
                payer,
                payerAuthorizer: authorizer,
                receiver,
                receiverAuthorizer: consents,
                token,
                withdrawDelay: alloy_primitives::aliases::U40::from(seconds),
                salt,
            };
            let domain = Eip712Domain::new(
                Some("x402 Batch Settlement".into()),
                Some("1".into()),
                Some(U256::from(chain_id)),
                Some(SETTLEMENT),
                None,
            );
            assert_eq!(BatchDomain::of(chain_id).separator, domain.separator());
            assert_eq!(ours.id(chain_id), theirs.eip712_signing_hash(&domain));
        }
    }
}
