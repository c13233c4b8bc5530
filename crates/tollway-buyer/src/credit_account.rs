//! Paying on credit: commitments of an account's, for scheme `batch-settlement` on `tollway:credit` and by the published
//! profile `cloudflare:402`. What makes them binding is the signature on the request that carries them
//! ([`WalletBuilder::message_signer`](crate::WalletBuilder::message_signer)); here is only what they say.

use std::collections::BTreeMap;

use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, X402Version};
use tollway_core::{
    BoxFuture, BuyerScheme, CLOUDFLARE_DECIMALS, CLOUDFLARE_NETWORK, CLOUDFLARE_PAY_TO, CREDIT_DECIMALS,
    CREDIT_NETWORK, CreditCommitment, ErrorCode, JsonObject, Network, OfferedValue, Refusal, SchemeName,
    SignError, UnixTime,
};

/// The accounts of a buyer: one with each seller that gives it a credit line. It pays nobody else on credit.
#[derive(Clone, Debug, Default)]
pub struct CreditBuyer {
    accounts: BTreeMap<String, String>,
    is_registered: bool,
}

impl CreditBuyer {
    /// Without an account anywhere.
    ///
    /// ```
    /// use tollway_buyer::CreditBuyer;
    /// use tollway_core::http_signature::MessageSigner;
    /// let credit = CreditBuyer::new().account("example-shop", "acme");
    /// let wallet = tollway_buyer::Wallet::builder().credit(credit, MessageSigner::from_seed(&[7; 32])).build();
    /// assert!(wallet.is_ok());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The account that the seller who is paid as `pay_to` gave us.
    ///
    /// ```
    /// let credit = tollway_buyer::CreditBuyer::new().account("example-shop", "acme").account("other-shop", "acme-2");
    /// ```
    #[must_use]
    pub fn account(mut self, pay_to: &str, account: &str) -> Self {
        self.accounts.insert(pay_to.to_owned(), account.to_owned());
        self
    }

    /// Pays by the profile `cloudflare:402` too: whoever publishes the request's key is registered there, and is billed.
    ///
    /// ```
    /// let crawler = tollway_buyer::CreditBuyer::new().cloudflare();
    /// ```
    #[must_use]
    pub const fn cloudflare(mut self) -> Self {
        self.is_registered = true;
        self
    }

    fn payload(&self, offer: &PaymentRequirements, now: UnixTime) -> Result<JsonObject, SignError> {
        if offer.network.as_str() == CLOUDFLARE_NETWORK {
            let members = [("amount", offer.amount.to_string()), ("asset", offer.asset.clone())];
            return Ok(members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect());
        }
        let account = self.accounts.get(&offer.pay_to).ok_or_else(|| {
            SignError::Offer(terms("payTo", "must be a seller who gave this wallet an account"))
        })?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| SignError::Signer(error.to_string()))?;
        let commitment = CreditCommitment {
            account: account.clone(),
            amount: offer.amount,
            asset: offer.asset.clone(),
            nonce,
            valid_before: now.plus_seconds(offer.max_timeout_seconds),
        };
        Ok(commitment.encode())
    }
}

impl BuyerScheme for CreditBuyer {
    fn name(&self) -> &SchemeName {
        &SchemeName::BATCH_SETTLEMENT
    }

    fn covers(&self, network: &Network) -> bool {
        network.as_str() == CREDIT_NETWORK || (self.is_registered && network.as_str() == CLOUDFLARE_NETWORK)
    }

    /// Nothing is worth anything at a seller where we have no account.
    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        let (is_known, decimals) = match offer.network.as_str() {
            CREDIT_NETWORK => (self.accounts.contains_key(&offer.pay_to), CREDIT_DECIMALS),
            CLOUDFLARE_NETWORK => (offer.pay_to == CLOUDFLARE_PAY_TO, CLOUDFLARE_DECIMALS),
            _ => return None,
        };
        let is_code = offer.asset.len() == 3 && offer.asset.bytes().all(|byte| byte.is_ascii_uppercase());
        (is_known && is_code).then(|| OfferedValue {
            symbol: offer.asset.clone(),
            decimals,
            amount: offer.amount,
            is_usd: offer.asset == "USD",
        })
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            if required.version != X402Version::V2 {
                return Err(SignError::Offer(terms("x402Version", "must be 2: accounts are of no other")));
            }
            if self.value(offer).is_none() {
                let rule = "must be a seller who gave this wallet an account";
                return Err(SignError::Offer(terms("payTo", rule)));
            }
            Ok(PaymentPayload {
                version: required.version,
                accepted: Accepted::Offer(Box::new(offer.clone())),
                payload: self.payload(offer, now)?,
                resource: required.resource.clone(),
                extensions: JsonObject::new(),
                other: JsonObject::new(),
            })
        })
    }
}

/// Whether what is paid on `network` is the debt of an account, with nothing put anywhere before.
pub(crate) fn is_on_credit(network: &Network) -> bool {
    [CREDIT_NETWORK, CLOUDFLARE_NETWORK].contains(&network.as_str())
}

fn terms(field: &str, rule: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, rule)
}
