//! What is written down of a purchase: the body of its intent, in the ledger. Which state follows which is decided in
//! [`crate::intent::fate`] and where the answer is read; how it looks as JSON is in [`crate::intent::json`].

use serde_json::Value;
use tollway_core::model::{FacilitatorRequest, PaymentRequirements, SettleResponse};
use tollway_core::{Amount, ChannelKey, Fingerprint, OfferedValue, UnixTime, wire};
use tollway_ledger::{Intent, IntentId};

use crate::sign::{PaymentHeader, SignedPayment};

/// The most alarms that one purchase keeps.
const MAX_ALARMS: usize = 8;
/// The longest cause, or text of an alarm, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// A purchase as its wallet wrote it down.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_buyer::{IntentRecord, IntentState};
/// let wallet = wallet();
/// let payment = wallet.pay(&required(), &url()).await?;
/// let intent = wallet.ledger().intent_get(payment.intent.unwrap()).await?.unwrap();
/// let record = IntentRecord::read(&intent).unwrap();
/// assert_eq!((record.state, record.spent()), (IntentState::Signed, None));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IntentRecord {
    /// Where it stands.
    pub state: IntentState,
    /// Whether the caller has the answer.
    pub answer: Answer,
    /// The method of the request; none for a payment that went another way than HTTP.
    pub method: Option<String>,
    /// The request's URL, without user information, query and fragment: keys travel in them.
    pub url: String,
    /// The request's host.
    pub host: String,
    /// Which request it is.
    pub fingerprint: Option<Fingerprint>,
    /// The agent's tool that asked for it.
    pub tool: Option<String>,
    /// The offer that it accepts.
    pub offer: PaymentRequirements,
    /// What that costs; none for an asset that the wallet does not know.
    pub value: Option<OfferedValue>,
    /// The resource as the 402 names it.
    pub resource: Option<String>,
    /// What was signed.
    pub authorization: Option<SignedAuthorization>,
    /// How often it was presented, by whatever process of the wallet.
    pub presented: u32,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// What the seller says became of the payment.
    pub settlement: Option<SettleResponse>,
    /// The seller's signed receipt, if it gave one that fits.
    pub receipt: Option<Value>,
    /// What the chain says became of the payment.
    pub chain: Option<ChainFact>,
    /// What was promised on a channel, if it was paid on one.
    pub channel: Option<ChannelNote>,
    /// What is wrong with it.
    pub alarms: Vec<Alarm>,
    /// For people: why it is where it is.
    pub cause: Option<String>,
}

/// Where a purchase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IntentState {
    /// Its budget is held, and nothing is signed.
    Opened,
    /// Signed, and maybe presented.
    Signed,
    /// The seller, or the chain, says that it settled.
    Paid,
    /// Served, without a word on the settlement.
    Served,
    /// Refused by the seller. The payment may be charged until it is dead.
    Refused,
    /// The seller says that it failed. The payment may be charged until it is dead.
    Failed,
    /// No answer came, or none that says what became of it.
    Unresolved,
    /// It can never move money any more, and has moved none.
    Dead,
    /// Nothing was signed for it.
    Void,
}

/// Whether the caller has what was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing came.
    None,
    /// An answer came, and was not read to its end.
    Unread,
    /// It was read to its end.
    Read,
}

/// What was signed for a purchase.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedAuthorization {
    /// What makes it unique on its network, where that is known.
    pub key: Option<String>,
    /// Who pays.
    pub payer: Option<String>,
    /// When it was signed.
    pub signed_at: UnixTime,
    /// From when on no block can take it.
    pub expires_at: UnixTime,
    /// The header that it travels in.
    pub name: &'static str,
    /// The header's value: as good as money. Gone once it will not be presented again.
    pub value: Option<String>,
}

/// What a purchase promised on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelNote {
    /// The channel.
    pub key: ChannelKey,
    /// What had been charged before.
    pub base: Amount,
    /// What may be claimed in all with it.
    pub ceiling: Amount,
    /// What was put in beside it, if anything.
    pub deposit: Option<Amount>,
    /// What it cost, once that is known.
    pub charged: Option<Amount>,
}

/// What a node says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainFact {
    /// What it comes to.
    pub verdict: ChainVerdict,
    /// The transaction, where it was found.
    pub transaction: Option<String>,
    /// Its block.
    pub block: Option<u64>,
    /// Which event of the block.
    pub log_index: Option<u64>,
    /// What moved, atomic units.
    pub moved: Option<Amount>,
    /// When the node was asked.
    pub at: UnixTime,
}

/// What the chain makes of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainVerdict {
    /// The token's own event says that it moved.
    Confirmed,
    /// The authorization is used, and the transaction that did it was not found.
    Used,
    /// It is unused, and can never be used any more.
    Absent,
    /// The transaction that the seller names does not move it.
    Contradicted,
}

/// Something about a purchase that its owner should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alarm {
    /// What kind it is.
    pub code: AlarmCode,
    /// For people.
    pub text: String,
    /// When it was seen.
    pub at: UnixTime,
}

/// The kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlarmCode {
    /// The host wants another account to be paid than before.
    PayToChanged,
    /// The price is not what it was.
    PriceDrift,
    /// The seller told of a settlement that the chain does not have.
    UnconfirmedReceipt,
    /// The answer does not fit the payment.
    Contradiction,
}

impl IntentRecord {
    /// Reads what a wallet wrote; none if it is not of this program's making.
    ///
    /// ```
    /// use tollway_ledger::Intent;
    /// fn url(intent: &Intent) -> Option<String> {
    ///     Some(tollway_buyer::IntentRecord::read(intent)?.url)
    /// }
    /// ```
    pub fn read(intent: &Intent) -> Option<Self> {
        Self::from_json(&intent.body)
    }

    /// What has moved, in atomic units, as far as it is known: what the chain says, or else the seller. None while that is
    /// open, and for what moved nothing.
    ///
    /// ```
    /// use tollway_buyer::IntentRecord;
    /// fn line(record: &IntentRecord) -> Option<String> {
    ///     Some(format!("{} of {}", record.spent()?, record.offer.asset))
    /// }
    /// ```
    pub fn spent(&self) -> Option<Amount> {
        if !matches!(self.state, IntentState::Paid | IntentState::Served) {
            return None;
        }
        if let Some(charged) = self.channel.as_ref().and_then(|note| note.charged) {
            return Some(charged);
        }
        let moved = self.chain.as_ref().and_then(|fact| fact.moved);
        let told = || match self.channel {
            // What it says is what was put into the channel.
            Some(_) => None,
            None => self.settlement.as_ref()?.amount.as_ref()?.parse::<Amount>().ok(),
        };
        Some(moved.or_else(told).unwrap_or(self.offer.amount).min(self.offer.amount))
    }

    /// The transaction, as the chain says or else the seller.
    ///
    /// ```
    /// use tollway_buyer::IntentRecord;
    /// fn group(record: &IntentRecord) -> &str {
    ///     record.transaction().unwrap_or("none")
    /// }
    /// ```
    pub fn transaction(&self) -> Option<&str> {
        let seen = self.chain.as_ref().and_then(|fact| fact.transaction.as_deref());
        // On a channel what moved is a deposit, and not what this cost.
        let told = self.settlement.as_ref().filter(|_| self.channel.is_none());
        let told = || told.map(|told| told.transaction.as_str());
        seen.or_else(told).filter(|hash| !hash.is_empty())
    }

    /// The payment, while it can be presented.
    pub(crate) fn payment(&self, intent: IntentId) -> Option<SignedPayment> {
        let signed = self.authorization.as_ref()?;
        Some(SignedPayment {
            header: PaymentHeader::written(signed.name, signed.value.clone()?),
            offer: self.offer.clone(),
            value: self.value.clone(),
            payer: signed.payer.clone(),
            signed_at: signed.signed_at,
            resource_url: self.resource.clone(),
            signed_offer: None,
            intent: Some(intent),
            channel: self.channel.clone(),
        })
    }

    /// The payment as a facilitator would be asked to settle it.
    pub(crate) fn request(&self) -> Option<FacilitatorRequest> {
        let signed = self.authorization.as_ref()?;
        let json = wire::decode_header(signed.name, signed.value.as_ref()?.as_bytes()).ok()?;
        let payment = wire::decode_payment(&json).ok()?;
        Some(FacilitatorRequest { payment, requirements: self.offer.clone() })
    }

    /// What was signed, written down before it leaves.
    pub(crate) fn sign(&mut self, payment: &SignedPayment) {
        self.state = IntentState::Signed;
        self.channel = payment.channel.clone();
        self.authorization = Some(SignedAuthorization {
            key: None,
            payer: payment.payer.clone(),
            signed_at: payment.signed_at,
            expires_at: payment.expires_at(),
            name: payment.header.name(),
            value: Some(payment.header.value().to_owned()),
        });
    }

    /// Notes what is wrong, once.
    pub(crate) fn alarm(&mut self, code: AlarmCode, text: &str, at: UnixTime) -> bool {
        let text = clipped(text);
        let is_known = self.alarms.iter().any(|alarm| alarm.code == code && alarm.text == text);
        if is_known || self.alarms.len() >= MAX_ALARMS {
            return false;
        }
        tracing::warn!(alarm = code.as_str(), host = self.host, text, "something is wrong with a purchase");
        self.alarms.push(Alarm { code, text, at });
        true
    }

    pub(crate) fn because(&mut self, cause: &str) {
        self.cause = Some(clipped(cause)).filter(|cause| !cause.is_empty());
    }

    /// When what was signed ends; the end of time for what is not signed.
    pub(crate) fn expires_at(&self) -> UnixTime {
        self.authorization.as_ref().map_or(UnixTime(u64::MAX), |signed| signed.expires_at)
    }
}

impl std::fmt::Debug for SignedAuthorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("SignedAuthorization");
        shown.field("key", &self.key).field("payer", &self.payer).field("expires_at", &self.expires_at);
        shown.finish_non_exhaustive()
    }
}

impl IntentState {
    /// Every state.
    pub(crate) const ALL: [Self; 9] = [
        Self::Opened,
        Self::Signed,
        Self::Paid,
        Self::Served,
        Self::Refused,
        Self::Failed,
        Self::Unresolved,
        Self::Dead,
        Self::Void,
    ];

    /// Its name, as it is written.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::IntentState::Unresolved.as_str(), "unresolved");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Signed => "signed",
            Self::Paid => "paid",
            Self::Served => "served",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unresolved => "unresolved",
            Self::Dead => "dead",
            Self::Void => "void",
        }
    }
}

impl AlarmCode {
    pub(crate) const ALL: [Self; 4] =
        [Self::PayToChanged, Self::PriceDrift, Self::UnconfirmedReceipt, Self::Contradiction];

    /// Its name, as it is written.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::AlarmCode::UnconfirmedReceipt.as_str(), "unconfirmed_receipt");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayToChanged => "pay_to_changed",
            Self::PriceDrift => "price_drift",
            Self::UnconfirmedReceipt => "unconfirmed_receipt",
            Self::Contradiction => "contradiction",
        }
    }
}

impl ChainVerdict {
    pub(crate) const ALL: [Self; 4] = [Self::Confirmed, Self::Used, Self::Absent, Self::Contradicted];

    /// Its name, as it is written.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::ChainVerdict::Absent.as_str(), "absent");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Used => "used",
            Self::Absent => "absent",
            Self::Contradicted => "contradicted",
        }
    }
}

impl Answer {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Unread, Self::Read];

    /// Its name, as it is written.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Answer::Unread.as_str(), "unread");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unread => "unread",
            Self::Read => "read",
        }
    }
}

/// Foreign words, short and on one line.
fn clipped(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).flat_map(char::escape_debug).collect()
}
