//! A charge: one commitment of an account's, from when room is held for it to when it is charged or let go. It is a row of
//! the ledger's intents; what it is called there, and what its text says, is decided here.

use serde_json::json;
use sha2::{Digest, Sha256};
use tollway_core::model::{FacilitatorRequest, PaymentPayload};
use tollway_core::wire::{Fields, parse_object};
use tollway_core::{
    Amount, CLOUDFLARE_DECIMALS, CLOUDFLARE_NETWORK, CREDIT_DECIMALS, CREDIT_NETWORK, CreditCommitment,
    Network, PROOF, RequestProof, UnixTime,
};
use tollway_ledger::{Intent, IntentId, LedgerError};

/// A commitment to be charged.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    pub(super) id: IntentId,
    pub(super) key: String,
    pub(super) proof: RequestProof,
    /// The most that may be charged, in the account's units.
    pub(super) most: Amount,
    pub(super) resource: String,
}

/// What is written of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChargeRecord {
    pub(super) key: String,
    pub(super) most: Amount,
    /// What was charged; none while it is open, and once it was let go.
    pub(super) charged: Option<Amount>,
    pub(super) resource: String,
    pub(super) proof: RequestProof,
}

impl Charge {
    /// The charge that a checked request asks for. What its scheme has not proved is none.
    pub(super) fn of(request: &FacilitatorRequest) -> Option<Self> {
        let proof = RequestProof::read(request.payment.payload.get(PROOF)?)?;
        let network = &request.requirements.network;
        let key = key(network, &request.payment, &proof)?;
        let digest = Sha256::digest(format!("account charge {key}"));
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let promised = request.payment.payload.get("amount")?.as_str()?.parse().ok()?;
        let resource =
            request.payment.resource.as_ref().map_or_else(String::new, |resource| resource.url.clone());
        Some(Self { id: IntentId(id), key, proof, most: units(network, promised)?, resource })
    }

    pub(super) fn record(&self) -> ChargeRecord {
        let Self { key, proof, most, resource, .. } = self.clone();
        ChargeRecord { key, most, charged: None, resource, proof }
    }
}

/// What makes a commitment one that is charged once: on our network its nonce, by the profile what was signed.
pub(super) fn key(network: &Network, payment: &PaymentPayload, proof: &RequestProof) -> Option<String> {
    let account = &proof.account;
    match network.as_str() {
        CREDIT_NETWORK => {
            let nonce = CreditCommitment::read(&payment.payload).ok()?.nonce;
            Some(format!("{network}/{account}/0x{}", hex(&nonce)))
        }
        CLOUDFLARE_NETWORK => Some(format!("{network}/{account}/0x{}", hex(&Sha256::digest(&proof.base)))),
        _ => None,
    }
}

/// An amount of an offer's, in the units that accounts are kept in.
pub(super) fn units(network: &Network, amount: Amount) -> Option<Amount> {
    let more = match network.as_str() {
        CREDIT_NETWORK => 0,
        CLOUDFLARE_NETWORK => CREDIT_DECIMALS - CLOUDFLARE_DECIMALS,
        _ => return None,
    };
    let factor = Amount::from(10_u64.pow(u32::from(more)));
    amount.atomic().checked_mul(factor.atomic()).map(Amount::from_atomic)
}

impl ChargeRecord {
    pub(super) fn read(row: &Intent) -> Result<Self, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("the charge {}", row.id));
        let mut fields = Fields::root(parse_object(row.body.as_bytes(), "charge").map_err(|_| corrupt())?);
        let proof = fields.take(PROOF).and_then(|proof| RequestProof::read(&proof)).ok_or_else(corrupt)?;
        let mut read = || {
            let charged = fields.optional_string("charged")?;
            let (key, most) = (fields.string("key")?, fields.amount("most")?);
            Ok::<_, tollway_core::wire::WireError>((key, most, charged, fields.string("resource")?))
        };
        let (key, most, charged, resource) = read().map_err(|_| corrupt())?;
        let charged = charged.map(|text| text.parse()).transpose().map_err(|_| corrupt())?;
        Ok(Self { key, most, charged, resource, proof })
    }

    pub(super) fn body(&self) -> String {
        json!({
            "key": self.key,
            "most": self.most.to_string(),
            "charged": self.charged.map(|amount| amount.to_string()),
            "resource": self.resource,
            "proof": self.proof.to_json(),
        })
        .to_string()
    }
}

/// The midnight (UTC) before `at`.
pub(super) const fn day(at: UnixTime) -> UnixTime {
    UnixTime(at.0 - at.0 % DAY_SECONDS)
}

/// A day of UTC.
pub(super) const DAY_SECONDS: u64 = 86_400;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
