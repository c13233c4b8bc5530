//! Scheme `batch-settlement` on credit, as the paywall uses it: what is offered, whose signature a request needs, and every
//! rule on a payment that needs neither the ledger nor a directory.

use std::sync::Arc;

use tollway_core::extension::message_signatures::{self, ED25519, SignatureTerms, WEB_BOT_AUTH};
use tollway_core::http_signature::{PresentedSignature, SIGNATURE_AGENT, SignatureRules};
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::wire::PAYMENT_SIGNATURE;
use tollway_core::{
    Amount, AuthorizationKey, CLOUDFLARE_DECIMALS, CLOUDFLARE_NETWORK, CLOUDFLARE_PAY_TO, CREDIT_DECIMALS,
    CREDIT_NETWORK, CREDIT_VERSION, Checked, CreditCommitment, Currency, ErrorCode, JsonObject, Money,
    Network, OfferError, Price, Refusal, RequestProof, SchemeName, SellerScheme, SignedRequestScheme,
    SignerKeys, Terms, UnixTime,
};

use super::charge;
use super::file::{Account, Accounts};

/// How long a signature on a request counts: ours lasts as long as a payment may, the profile's as it says.
const CREDIT_AGE_SECONDS: u64 = 300;
const CLOUDFLARE_AGE_SECONDS: u64 = 30;
/// The tag that the profile has beside the usual one.
const AGENT_BROWSER_AUTH: &str = "agent-browser-auth";

/// Scheme `batch-settlement` for accounts on credit, on one network.
#[derive(Clone, Debug)]
pub struct CreditSeller {
    accounts: Arc<Accounts>,
    network: &'static str,
    decimals: u8,
    rules: SignatureRules,
}

impl CreditSeller {
    /// On `tollway:credit`: a signature covers method, authority, path, query and payment, and the body if there is one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::SellerScheme;
    /// use tollway_seller::{Accounts, CreditSeller};
    /// let accounts = Accounts::parse("registration_url = \"https://a.example\"")?;
    /// let scheme = CreditSeller::new(Arc::new(accounts));
    /// assert!(scheme.covers(&"tollway:credit".parse().unwrap()));
    /// # Ok::<(), tollway_seller::AccountsFault>(())
    /// ```
    pub fn new(accounts: Arc<Accounts>) -> Self {
        let covers = ["@method", "@authority", "@path", "@query", PAYMENT_SIGNATURE];
        Self::on(accounts, CREDIT_NETWORK, CREDIT_DECIMALS, (&[WEB_BOT_AUTH], &covers, CREDIT_AGE_SECONDS))
    }

    /// By the published profile `cloudflare:402`: a signature covers authority, agent and payment, and counts for half a
    /// minute. Who is known is said by the accounts, each with its agent's origin, for the merchant of record that the
    /// profile has in mind does not tell.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::SellerScheme;
    /// use tollway_seller::{Accounts, CreditSeller};
    /// let accounts = Accounts::parse("registration_url = \"https://a.example\"")?;
    /// let scheme = CreditSeller::cloudflare(Arc::new(accounts));
    /// assert!(scheme.covers(&"cloudflare:402".parse().unwrap()));
    /// # Ok::<(), tollway_seller::AccountsFault>(())
    /// ```
    pub fn cloudflare(accounts: Arc<Accounts>) -> Self {
        let covers = ["@authority", SIGNATURE_AGENT, PAYMENT_SIGNATURE];
        let tags = [WEB_BOT_AUTH, AGENT_BROWSER_AUTH];
        Self::on(accounts, CLOUDFLARE_NETWORK, CLOUDFLARE_DECIMALS, (&tags, &covers, CLOUDFLARE_AGE_SECONDS))
    }

    fn on(
        accounts: Arc<Accounts>,
        network: &'static str,
        decimals: u8,
        (tags, covers, max_age_seconds): (&[&str], &[&str], u64),
    ) -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let rules = SignatureRules { tags: owned(tags), covers: owned(covers), max_age_seconds };
        Self { accounts, network, decimals, rules }
    }

    fn is_ours(&self) -> bool {
        self.network == CREDIT_NETWORK
    }

    /// The account that a payment names, or that publishes the key.
    fn account(&self, payment: &PaymentPayload, signature: &PresentedSignature) -> Result<&Account, Refusal> {
        let unknown = |field: &str, rule: &str| Refusal::new(ErrorCode::SIGNATURE_AGENT_UNKNOWN, field, rule);
        if self.is_ours() {
            let commitment = CreditCommitment::read(&payment.payload)?;
            let account = self.accounts.get(&commitment.account);
            return account.ok_or_else(|| unknown("payload.account", "must be an account of this seller's"));
        }
        let agent = signature.agent().map(|agent| agent.origin().ascii_serialization());
        let agent = agent.ok_or_else(|| unknown("Signature-Agent", "is required"))?;
        let account = self.accounts.of_agent(&agent);
        account
            .ok_or_else(|| unknown("Signature-Agent", "must be known here: register at the registrationUrl"))
    }

    fn atomic(&self, money: &Money) -> Result<Amount, OfferError> {
        let named = match money.currency() {
            Currency::Usd => "USD",
            Currency::Symbol(symbol) => symbol,
            _ => "",
        };
        if named != self.accounts.currency {
            let currency = money.to_string();
            return Err(OfferError::UnknownAsset { currency, network: self.terms_network() });
        }
        Ok(money.to_atomic(self.decimals)?)
    }

    fn terms_network(&self) -> Network {
        // Both names are networks; were one not, nothing would be covered by it.
        self.network.parse().unwrap_or_else(|_| Network::evm(0))
    }
}

impl SellerScheme for CreditSeller {
    fn name(&self) -> &SchemeName {
        &SchemeName::BATCH_SETTLEMENT
    }

    fn covers(&self, network: &Network) -> bool {
        network.as_str() == self.network
    }

    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
        let wrong = |field, rule: &str| OfferError::Field { field, rule: rule.to_owned() };
        let amount = match price {
            Price::Money(money) => self.atomic(money)?,
            Price::Asset { amount, asset, .. } if *asset == self.accounts.currency => *amount,
            _ => return Err(wrong("asset", "must be the accounts' currency")),
        };
        if !self.is_ours() && terms.pay_to != CLOUDFLARE_PAY_TO {
            return Err(wrong("payTo", "must be \"merchant\": the profile has no other"));
        }
        if terms.pay_to.is_empty() {
            return Err(wrong("payTo", "must name the seller"));
        }
        let mut extra = JsonObject::new();
        extra.insert("version".to_owned(), CREDIT_VERSION.into());
        if self.is_ours() {
            extra.insert("decimals".to_owned(), self.decimals.into());
        }
        Ok(PaymentRequirements {
            scheme: SchemeName::BATCH_SETTLEMENT,
            network: terms.network.clone(),
            amount,
            asset: self.accounts.currency.clone(),
            pay_to: terms.pay_to.clone(),
            max_timeout_seconds: terms.max_timeout_seconds,
            extra,
            other: JsonObject::new(),
        })
    }

    fn declare(&self, _: &PaymentRequirements, _: &[String]) -> JsonObject {
        let registration_url = self.accounts.registration_url.clone();
        let tags = self.rules.tags.clone();
        let terms = SignatureTerms { registration_url, schemes: vec![ED25519.to_owned()], tags };
        JsonObject::from_iter([(message_signatures::NAME.to_owned(), terms.declaration().into())])
    }

    fn check(&self, _: &PaymentPayload, _: &PaymentRequirements, _: UnixTime) -> Result<Checked, Refusal> {
        Err(self.unsigned("Signature", "is required: the payment counts by the signature on its request"))
    }

    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount> {
        if offer.asset != self.accounts.currency {
            return None;
        }
        self.atomic(money).ok()
    }

    fn signed_request(&self) -> Option<&dyn SignedRequestScheme> {
        Some(self)
    }
}

impl SignedRequestScheme for CreditSeller {
    fn rules(&self) -> &SignatureRules {
        &self.rules
    }

    fn signer(
        &self,
        payment: &PaymentPayload,
        signature: &PresentedSignature,
    ) -> Result<SignerKeys, Refusal> {
        let account = self.account(payment, signature)?;
        let (id, keys) = (account.id.clone(), account.keys.clone());
        Ok(SignerKeys { account: id, keys, directory: account.agent.clone() })
    }

    fn check_signed(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        proof: &RequestProof,
        now: UnixTime,
    ) -> Result<Checked, Refusal> {
        let refuse =
            |code: ErrorCode, field: &str, rule: String| Refusal::new(code, field, rule).by(&*proof.account);
        let text = |name: &str| payment.payload.get(name).and_then(serde_json::Value::as_str);
        if text("amount").and_then(|amount| amount.parse().ok()) != Some(offer.amount) {
            let rule = format!("must be {}, as offered", offer.amount);
            return Err(refuse(ErrorCode::PRICE_NOT_ACCEPTABLE, "payload.amount", rule));
        }
        if text("asset") != Some(&*offer.asset) {
            let rule = format!("must be {}, as offered", offer.asset);
            return Err(refuse(ErrorCode::PRICE_NOT_ACCEPTABLE, "payload.asset", rule));
        }
        let mut valid_before = proof.expires;
        if self.is_ours() {
            let commitment = CreditCommitment::read(&payment.payload)?;
            if commitment.account != proof.account {
                let rule = "must be the account whose key signed".to_owned();
                return Err(refuse(ErrorCode::INVALID_SIGNATURE, "payload.account", rule));
            }
            valid_before = commitment.valid_before;
            if valid_before <= now {
                let rule = "must not be over".to_owned();
                return Err(refuse(ErrorCode::PAYMENT_EXPIRED, "payload.validBefore", rule));
            }
            // One that comes late is looked at as of before, and was not signed then.
            let from = now.max(proof.created);
            if valid_before > from.plus_seconds(offer.max_timeout_seconds.saturating_add(60)) {
                let rule = format!("must be at most {} seconds from now", offer.max_timeout_seconds);
                return Err(refuse(ErrorCode::PAYMENT_EXPIRED, "payload.validBefore", rule));
            }
        }
        let malformed =
            || refuse(ErrorCode::INVALID_PAYMENT_SIGNATURE, "payload", "must be a commitment".to_owned());
        let key = charge::key(&offer.network, payment, proof).ok_or_else(malformed)?;
        Ok(Checked {
            key: AuthorizationKey::new(key),
            payer: proof.account.clone(),
            amount: offer.amount,
            valid_before,
            settles_first: false,
        })
    }

    /// The profile's signatures need not cover a body.
    fn binds_body(&self) -> bool {
        self.is_ours()
    }

    fn unsigned(&self, field: &str, rule: &str) -> Refusal {
        Refusal::new(ErrorCode::INVALID_SIGNATURE, field, rule)
    }
}
