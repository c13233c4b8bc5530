//! The extension `offer-receipt` at the seller: which offers are signed when, and the receipt for what was served.
//!
//! A signed offer names its resource, so there is one for each URL that is asked for, and strangers choose URLs. It is
//! therefore kept and told to all until half of its time is over, and only so many are signed in a second: a 402 beyond
//! that goes without, as one of a seller that does not sign.
//!
//! What does not live here: what is signed and how (`tollway-evm`).

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tollway_core::model::PaymentRequirements;
use tollway_core::{BoxFuture, JsonObject, UnixTime};
use tollway_evm::offer_receipt::{
    Binding, Issuer, NAME, OfferTerms, ReceiptTerms, declare_offers, declare_receipt,
};

use crate::extension::{Asked, Declared, Paid, Recent, RouteExtension};

/// How many 402s are signed at once.
const SIGNING: usize = 8;
/// How many are signed in a second.
const PER_SECOND: u32 = 200;
/// What all signed offers of one 402 may take, bytes of JSON: they travel in a header. The favourites go first.
const MAX_OFFERS_BYTES: usize = 6 * 1024;

/// What a seller signs.
#[derive(Debug)]
pub(crate) struct OfferReceipt {
    offers: Option<Issuer>,
    receipts: Option<Issuer>,
    /// A signed offer that is told is good for this long at least, seconds, and at most twice.
    least_seconds: u64,
    permits: Semaphore,
    budget: Mutex<Budget>,
    signed: Mutex<Recent<Signed>>,
}

/// The offers of one resource.
#[derive(Clone, Debug)]
struct Signed {
    declaration: JsonObject,
    refresh_at: UnixTime,
    valid_until: UnixTime,
}

/// How much may still be signed in this second.
#[derive(Debug, Default)]
struct Budget {
    second: UnixTime,
    used: u32,
}

impl OfferReceipt {
    pub(crate) fn new(offers: Option<Issuer>, receipts: Option<Issuer>, least_seconds: u64) -> Self {
        Self {
            offers,
            receipts,
            least_seconds,
            permits: Semaphore::new(SIGNING),
            budget: Mutex::default(),
            signed: Mutex::default(),
        }
    }

    async fn offers(&self, asked: Asked<'_>) -> Option<Declared> {
        let issuer = self.offers.as_ref()?;
        let key = key(asked);
        let known = self.known(&key);
        if let Some(known) = known.as_ref().filter(|known| asked.now < known.refresh_at) {
            return Some(known.declared());
        }
        // While one request has them signed anew, the others are told what is still good.
        let still_good = known.filter(|known| asked.now < known.valid_until);
        let permit = match (self.permits.try_acquire(), &still_good) {
            (Ok(permit), _) => permit,
            (Err(_), Some(known)) => return Some(known.declared()),
            (Err(_), None) => self.permits.acquire().await.ok()?,
        };
        if let Some(known) = self.known(&key).filter(|known| asked.now < known.refresh_at) {
            return Some(known.declared());
        }
        if !self.budget.lock().take(asked.now) {
            return still_good.map(|known| known.declared());
        }
        let signed = self.sign(issuer, asked).await;
        drop(permit);
        match signed {
            Some(signed) => {
                self.signed.lock().keep(&key, signed.clone());
                Some(signed.declared())
            }
            None => still_good.map(|known| known.declared()),
        }
    }

    async fn sign(&self, issuer: &Issuer, asked: Asked<'_>) -> Option<Signed> {
        let refresh_at = asked.now.plus_seconds(self.least_seconds);
        let valid_until = refresh_at.plus_seconds(self.least_seconds);
        let mut offers = Vec::new();
        let mut bytes = 0;
        for (index, offer) in asked.offers.iter().enumerate() {
            let terms = OfferTerms::of(offer, asked.url, Some(valid_until));
            match issuer.sign_offer(&terms, index).await {
                Ok(Some(offer)) => {
                    bytes += serde_json::to_string(&offer).map_or(0, |text| text.len());
                    if bytes > MAX_OFFERS_BYTES {
                        break;
                    }
                    offers.push(offer);
                }
                // The form cannot express it: the other offers are signed all the same.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "offers are not signed");
                    return None;
                }
            }
        }
        (!offers.is_empty()).then(|| Signed { declaration: declare_offers(offers), refresh_at, valid_until })
    }

    async fn receipt(&self, paid: Paid<'_>) -> Option<JsonObject> {
        let issuer = self.receipts.as_ref()?;
        let offer = &paid.request.requirements;
        let transaction = Some(paid.settlement.transaction.clone()).filter(|hash| !hash.is_empty());
        let terms = ReceiptTerms {
            network: offer.network.clone(),
            resource_url: paid.url.to_owned(),
            payer: paid.payer.to_owned(),
            issued_at: paid.now,
            transaction,
            binding: Some(Binding {
                asset: offer.asset.clone(),
                pay_to: offer.pay_to.clone(),
                amount: paid.amount,
                log_index: paid.settlement.extra.get("logIndex").and_then(serde_json::Value::as_u64),
                request: paid.fingerprint,
            }),
        };
        match issuer.sign_receipt(&terms).await {
            Ok(receipt) => receipt.map(declare_receipt),
            Err(error) => {
                // The money has moved and the answer is bought: it leaves without.
                tracing::warn!(%error, "a receipt is not signed");
                None
            }
        }
    }

    fn known(&self, key: &str) -> Option<Signed> {
        self.signed.lock().get(key)
    }
}

impl RouteExtension for OfferReceipt {
    fn name(&self) -> &str {
        NAME
    }

    fn declare<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Option<Declared>> {
        Box::pin(self.offers(asked))
    }

    fn attest<'a>(&'a self, paid: Paid<'a>) -> BoxFuture<'a, Option<JsonObject>> {
        Box::pin(self.receipt(paid))
    }
}

impl Signed {
    fn declared(&self) -> Declared {
        Declared { declaration: self.declaration.clone(), good_until: self.refresh_at }
    }
}

impl Budget {
    fn take(&mut self, now: UnixTime) -> bool {
        if self.second != now {
            *self = Self { second: now, used: 0 };
        }
        self.used += 1;
        self.used <= PER_SECOND
    }
}

/// What is signed, but for its time: the resource, and the terms of each offer.
fn key(asked: Asked<'_>) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    };
    part(asked.url);
    for PaymentRequirements { scheme, network, amount, asset, pay_to, .. } in asked.offers {
        for text in [scheme.as_str(), network.as_str(), &amount.to_string(), asset, pay_to] {
            part(text);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use tollway_core::UnixTime;

    use super::{Budget, PER_SECOND};

    #[test]
    fn only_so_much_is_signed_in_a_second() {
        let mut budget = Budget::default();
        assert!((0..PER_SECOND).all(|_| budget.take(UnixTime(7))));
        assert!(!budget.take(UnixTime(7)) && budget.take(UnixTime(8)));
    }
}
