//! What the ledger keeps of a channel beside its sums: what is needed to claim what was charged, and what is under way. It
//! changes rarely, so it is written as text and read only then.

use serde::{Deserialize, Serialize};
use tollway_core::model::{JsonObject, PaymentRequirements};
use tollway_core::{Amount, AuthorizationKey, Backing, ClaimRow, NetworkError, SchemeName, UnixTime};
use tollway_ledger::LedgerError;

/// Whose rows these are, among all channels of a ledger.
pub(crate) const SCOPE: &str = "seller";
/// Never.
pub(crate) const NEVER: UnixTime = UnixTime(i64::MAX.unsigned_abs());

/// A channel's lasting part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Who pays, in the spelling of the network.
    pub(crate) payer: String,
    /// The channel's immutable terms, as the wire has them.
    pub(crate) terms: JsonObject,
    pub(crate) offer: Essentials,
    pub(crate) seen: Seen,
    /// How long the payer waits between asking to withdraw and withdrawing.
    pub(crate) withdraw_delay_seconds: u64,
    /// The newest deposit that came with a request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) deposit: Option<DepositNote>,
    /// A refund whose end is not known yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) refund: Option<RefundNote>,
    /// How claiming it goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) claim: Claiming,
}

/// How claiming goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claiming {
    /// What was asked for, and has no known end.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) note: Option<ClaimNote>,
    /// Since when something waits to be claimed, by who looked first; 0 if nothing does.
    pub(crate) since: u64,
    /// How often in a row it was asked in vain.
    pub(crate) tries: u32,
    /// How often in a row a claim of it alone was refused: until it is not, it is claimed alone.
    pub(crate) refusals: u32,
}

/// One channel's part of a claim, written before it is asked for: asked again, it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimNote {
    /// Those that are claimed together have one name.
    pub(crate) batch: String,
    pub(crate) total: Amount,
    pub(crate) signed: Amount,
    pub(crate) proof: String,
}

/// What of the seller's offer is the same for every price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Essentials {
    scheme: String,
    network: String,
    asset: String,
    pay_to: String,
    max_timeout_seconds: u64,
    extra: JsonObject,
}

/// What stands behind a channel, and when that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    balance: Amount,
    #[serde(skip_serializing_if = "is_default")]
    claimed: Amount,
    /// 0 if the payer did not ask.
    #[serde(skip_serializing_if = "is_default")]
    withdraw_requested_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    refund_nonce: Amount,
    /// 0 if it was never seen.
    pub(crate) at: u64,
}

/// A deposit: written before it is asked for, and again when it has settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DepositNote {
    key: String,
    pub(crate) amount: Amount,
    /// Empty until it has settled.
    pub(crate) transaction: String,
}

/// A refund: written before it is asked for, forgotten when it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefundNote {
    pub(crate) amount: Amount,
    pub(crate) nonce: Amount,
}

impl Record {
    /// Reads what [`Self::text`] wrote.
    pub(crate) fn read(text: &str) -> Result<Self, LedgerError> {
        serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(format!("a channel: {error}")))
    }

    /// As the ledger keeps it.
    pub(crate) fn text(&self) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| LedgerError::Corrupt(format!("a channel: {error}")))
    }

    /// One channel's part of a claim of all that was charged.
    pub(crate) fn claim(&self, charged: Amount, signed: Amount, proof: String) -> ClaimRow {
        ClaimRow { terms: self.terms.clone(), signed, proof, total: charged }
    }

    /// How much of the balance may be on its way back to the payer.
    pub(crate) fn reserved(&self) -> Amount {
        self.refund.as_ref().map_or(Amount::ZERO, |refund| refund.amount)
    }
}

impl Essentials {
    pub(crate) fn of(offer: &PaymentRequirements) -> Self {
        Self {
            scheme: offer.scheme.to_string(),
            network: offer.network.to_string(),
            asset: offer.asset.clone(),
            pay_to: offer.pay_to.clone(),
            max_timeout_seconds: offer.max_timeout_seconds,
            extra: offer.extra.clone(),
        }
    }

    /// The offer that the channel was opened for, at no price.
    pub(crate) fn requirements(&self) -> Result<PaymentRequirements, LedgerError> {
        let network = self.network.parse();
        let corrupt = |error: NetworkError| LedgerError::Corrupt(format!("a channel's network: {error}"));
        Ok(PaymentRequirements {
            scheme: SchemeName::new(&self.scheme),
            network: network.map_err(corrupt)?,
            amount: Amount::ZERO,
            asset: self.asset.clone(),
            pay_to: self.pay_to.clone(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: self.extra.clone(),
            other: JsonObject::new(),
        })
    }
}

impl Seen {
    pub(crate) fn new(backing: &Backing, at: UnixTime) -> Self {
        Self {
            balance: backing.balance,
            claimed: backing.claimed,
            withdraw_requested_at: backing.withdraw_requested_at.map_or(0, |at| at.0),
            refund_nonce: backing.refund_nonce,
            at: at.0,
        }
    }

    pub(crate) fn backing(&self) -> Backing {
        let asked = Some(self.withdraw_requested_at).filter(|at| *at != 0).map(UnixTime);
        let Self { balance, claimed, refund_nonce, .. } = *self;
        Backing { balance, claimed, withdraw_requested_at: asked, refund_nonce }
    }
}

impl DepositNote {
    pub(crate) fn new(key: &AuthorizationKey, amount: Amount) -> Self {
        Self { key: key.to_string(), amount, transaction: String::new() }
    }

    pub(crate) fn is_of(&self, key: &AuthorizationKey) -> bool {
        self.key == key.as_str()
    }
}

/// Nothing of most channels: what is left out is read as that. There are many records, and most of them rest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use tollway_core::model::{JsonObject, PaymentRequirements};
    use tollway_core::{Amount, AuthorizationKey, Backing, Network, SchemeName, UnixTime};

    use super::{Claiming, DepositNote, Essentials, Record, RefundNote, Seen};

    #[test]
    fn what_is_written_of_a_channel_is_what_it_is_claimed_by() {
        let offer = PaymentRequirements {
            scheme: SchemeName::new("batch-settlement"),
            network: Network::evm(8453),
            amount: Amount::ZERO,
            asset: "0xA".to_owned(),
            pay_to: "0xB".to_owned(),
            max_timeout_seconds: 300,
            extra: JsonObject::from_iter([("withdrawDelay".to_owned(), 900.into())]),
            other: JsonObject::new(),
        };
        let backing = Backing {
            balance: Amount::MAX,
            claimed: 7u64.into(),
            withdraw_requested_at: Some(UnixTime(9)),
            refund_nonce: 3u64.into(),
        };
        let (key, amount) = (AuthorizationKey::new("eip155:8453/0xA/0xC/0xD"), Amount::from(100u64));
        let record = Record {
            payer: "0xC".to_owned(),
            terms: JsonObject::from_iter([("salt".to_owned(), "0x00".into())]),
            offer: Essentials::of(&offer),
            seen: Seen::new(&backing, UnixTime(11)),
            withdraw_delay_seconds: 900,
            deposit: Some(DepositNote::new(&key, amount)),
            refund: Some(RefundNote { amount, nonce: backing.refund_nonce }),
            claim: Claiming::default(),
        };
        let read = Record::read(&record.text().unwrap()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.offer.requirements().unwrap(), offer);
        assert_eq!((read.seen.backing(), read.reserved()), (backing, amount));
        assert!(read.deposit.unwrap().is_of(&key));
        assert!(Record::read("{}").is_err());
    }
}
