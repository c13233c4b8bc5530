//! The buyer's side: from an offer to a signed payment.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{
    BoxFuture, BuyerScheme, ErrorCode, JsonObject, Network, OfferedValue, Refusal, SchemeName, SignError,
    UnixTime, X402Version,
};

use super::deployment::Deployment;
use super::info::{MAX_AMOUNT, MAX_SECOND, bound_salt};
use super::payload::Collect;
use super::terms::CaptureTerms;
use super::verify::{info, parties, preimage};
use crate::asset::TransferMethod;
use crate::exact::parse_address;
use crate::pricing::value_of;
use crate::{AssetTable, Signer};

/// How long an offer may hold a buyer's money, seconds, unless told otherwise: thirty days.
const MAX_HOLD_SECONDS: u64 = 30 * 86_400;

/// Scheme `auth-capture` on EVM for buyers.
#[derive(Clone, Debug)]
pub struct AuthCaptureBuyer {
    signer: Arc<dyn Signer>,
    assets: AssetTable,
    deployments: Vec<Deployment>,
    max_hold_seconds: u64,
}

impl AuthCaptureBuyer {
    /// Signs with `signer`; `assets` tells what offers are worth. Pays into the current escrow only, and into no hold of
    /// more than thirty days.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollway_core::{BuyerScheme, UnixTime, model::PaymentRequired};
    /// use tollway_evm::{AssetTable, LocalSigner, auth_capture};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let offer = &tollway_core::wire::decode_facilitator_request(json)?.requirements;
    /// # let required = PaymentRequired { version: tollway_core::X402Version::V2, error: None, resource: None,
    /// #   accepts: vec![offer.clone()], extensions: Default::default(), other: Default::default() };
    /// # let now = UnixTime(1_750_000_000);
    /// let key = Arc::new(LocalSigner::random()?);
    /// let buyer = auth_capture::AuthCaptureBuyer::new(key, AssetTable::known());
    /// let payment = buyer.sign(&required, offer, now).await?;
    /// assert!(auth_capture::check(&payment, offer, now).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(signer: Arc<dyn Signer>, assets: AssetTable) -> Self {
        let deployments = vec![Deployment::CURRENT];
        Self { signer, assets, deployments, max_hold_seconds: MAX_HOLD_SECONDS }
    }

    /// Pays into these escrows.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, auth_capture::{AuthCaptureBuyer, Deployment}};
    /// # let key = Arc::new(LocalSigner::random()?);
    /// let buyer = AuthCaptureBuyer::new(key, AssetTable::known())
    ///     .with_deployments([Deployment::CURRENT, Deployment::FIRST]);
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn with_deployments(mut self, deployments: impl IntoIterator<Item = Deployment>) -> Self {
        self.deployments = deployments.into_iter().collect();
        self
    }

    /// Pays into holds of at most this many seconds, from the payment to the deadline for taking it.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, auth_capture::AuthCaptureBuyer};
    /// # let key = Arc::new(LocalSigner::random()?);
    /// let impatient = AuthCaptureBuyer::new(key, AssetTable::known()).with_max_hold_seconds(3_600);
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub const fn with_max_hold_seconds(mut self, max_hold_seconds: u64) -> Self {
        self.max_hold_seconds = max_hold_seconds;
        self
    }

    pub(super) async fn payload(
        &self,
        offer: &PaymentRequirements,
        now: UnixTime,
        random: B256,
    ) -> Result<JsonObject, SignError> {
        let terms = self.terms(offer, now).map_err(SignError::Offer)?;
        let (receiver, token) = parties(offer).map_err(SignError::Offer)?;
        let (salt, salt_nonce) = match terms.is_bound() {
            true => (bound_salt(terms.receiver_authorizer, random), Some(random)),
            false => (random, None),
        };
        let expiry = now.plus_seconds(offer.max_timeout_seconds).0;
        let mut collect = Collect {
            payer: self.signer.address(),
            collector: terms.deployment.collector(terms.method),
            value: offer.amount.atomic(),
            valid_after: U256::ZERO,
            valid_before: U256::from(expiry),
            nonce: B256::ZERO,
            token: (terms.method == TransferMethod::Permit2).then_some(token),
            signature: Default::default(),
            salt,
            salt_nonce,
            charge: None,
        };
        let info = info(&collect, &terms, receiver, token, expiry);
        let no_network = || SignError::Offer(not_evm());
        collect.nonce = info.nonce(&offer.network, terms.deployment.escrow).ok_or_else(no_network)?;
        let preimage = preimage(&collect, &terms, &offer.network, token).ok_or_else(no_network)?;
        let signature = self.signer.sign(&preimage).await;
        let signature = signature.map_err(|error| SignError::Signer(error.to_string()))?;
        collect.signature = signature.as_bytes().into();
        Ok(collect.encode())
    }

    /// The terms of an offer that is worth signing: what a facilitator would refuse anyway is not signed, nor what would
    /// keep the money away for too long.
    fn terms(&self, offer: &PaymentRequirements, now: UnixTime) -> Result<CaptureTerms, Refusal> {
        let terms = CaptureTerms::read(offer).map_err(|refusal| {
            let field = refusal.field.trim_start_matches("paymentRequirements.").to_owned();
            Refusal { field, ..refusal }
        })?;
        let refuse = |code: ErrorCode, field: &str, rule: String| Err(Refusal::new(code, field, rule));
        if !self.deployments.contains(&terms.deployment) {
            let rule = format!("must be one that this buyer pays into, not {}", terms.deployment.name);
            return refuse(ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA, "extra.authCaptureEscrow", rule);
        }
        let amount = offer.amount.atomic();
        if amount.is_zero() || amount > MAX_AMOUNT {
            let rule = "must be more than zero and fit in 120 bits".to_owned();
            return refuse(ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH, "amount", rule);
        }
        let deadline = terms.capture_deadline;
        if now.plus_seconds(offer.max_timeout_seconds).0 > deadline || terms.refund_deadline > MAX_SECOND {
            let rule = "must leave maxTimeoutSeconds from now".to_owned();
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING;
            return refuse(code, "extra.captureDeadline", rule);
        }
        let most = now.plus_seconds(self.max_hold_seconds).0;
        if deadline > most {
            let rule = format!("must be at most {} seconds from now", self.max_hold_seconds);
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING;
            return refuse(code, "extra.captureDeadline", rule);
        }
        let payer = self.signer.address();
        if terms.operator == payer || terms.receiver_authorizer == payer {
            let rule = "must not be the payer".to_owned();
            return refuse(ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA, "extra.captureAuthorizer", rule);
        }
        Ok(terms)
    }

    fn known(&self, offer: &PaymentRequirements) -> Option<&crate::Asset> {
        let asset: Address = parse_address(&offer.asset)?;
        self.assets.find(&offer.network, asset)
    }
}

impl BuyerScheme for AuthCaptureBuyer {
    fn name(&self) -> &SchemeName {
        &SchemeName::AUTH_CAPTURE
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        self.known(offer).map(|asset| value_of(asset, offer))
    }

    fn signs_here(&self) -> bool {
        self.signer.is_here()
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            if required.version == X402Version::V1 {
                let rule = "must be 2: version 1 has no scheme \"auth-capture\"";
                let refusal = Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", rule);
                return Err(SignError::Offer(refusal));
            }
            let mut random = B256::ZERO;
            getrandom::fill(random.as_mut_slice())
                .map_err(|_| SignError::Signer(crate::SignerError::Randomness.to_string()))?;
            Ok(PaymentPayload {
                version: required.version,
                accepted: Accepted::Offer(Box::new(offer.clone())),
                payload: self.payload(offer, now, random).await?,
                resource: required.resource.clone(),
                extensions: required.extensions.clone(),
                other: JsonObject::new(),
            })
        })
    }
}

fn not_evm() -> Refusal {
    Refusal::new(ErrorCode::INVALID_NETWORK, "network", "must be an EVM network")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements};
    use tollway_core::{JsonObject, SignError, UnixTime, X402Version, wire};

    use super::AuthCaptureBuyer;
    use crate::auth_capture::{Deployment, check};
    use crate::{AssetTable, LocalSigner};

    const VECTORS: &str = include_str!("../../tests/vectors/auth_capture.json");
    /// The client's: a development key that holds nothing anywhere.
    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const NOW: UnixTime = UnixTime(1_750_000_000);

    fn buyer() -> AuthCaptureBuyer {
        let signer = Arc::new(LocalSigner::from_hex(KEY).unwrap());
        AuthCaptureBuyer::new(signer, AssetTable::known())
            .with_deployments([Deployment::CURRENT, Deployment::FIRST])
    }

    fn offer(offer: &Value) -> PaymentRequirements {
        let required = json!({ "x402Version": 2, "accepts": [offer] }).to_string();
        wire::decode_payment_required(required.as_bytes()).unwrap().accepts.remove(0)
    }

    fn signed(buyer: &AuthCaptureBuyer, offer: &PaymentRequirements) -> Result<JsonObject, SignError> {
        let signing = buyer.payload(offer, NOW, alloy_primitives::B256::repeat_byte(7));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(signing)
    }

    #[test]
    fn we_sign_what_the_published_client_signs_and_accept_what_it_sends() {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() >= 16);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for vector in vectors {
            let (name, offer) = (&vector["name"], offer(&vector["offer"]));
            let random = vector["random"].as_str().unwrap().parse().unwrap();
            let now = UnixTime(vector["now"].as_u64().unwrap());
            let ours = runtime.block_on(buyer().payload(&offer, now, random)).unwrap();
            assert_eq!(Value::Object(ours), vector["payload"], "{name}");
            let payment = PaymentPayload {
                version: X402Version::V2,
                accepted: Accepted::Offer(Box::new(offer.clone())),
                payload: vector["payload"].as_object().unwrap().clone(),
                resource: None,
                extensions: JsonObject::new(),
                other: JsonObject::new(),
            };
            let collection = check(&payment, &offer, now).unwrap();
            assert_eq!(collection.amount(), offer.amount.atomic(), "{name}");
        }
    }

    #[test]
    fn what_would_keep_the_money_away_too_long_is_not_signed() {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
        let good = offer(&vectors[1]["offer"]);
        let refused = |change: &dyn Fn(&mut PaymentRequirements)| {
            let mut offer = good.clone();
            change(&mut offer);
            match signed(&buyer(), &offer) {
                Ok(_) => panic!("signed"),
                Err(SignError::Offer(refusal)) => refusal.field,
                Err(other) => panic!("{other}"),
            }
        };
        assert!(signed(&buyer(), &good).is_ok());
        let set = |name: &'static str, value: Value| {
            move |offer: &mut PaymentRequirements| {
                offer.extra.insert(name.to_owned(), value.clone());
            }
        };
        let payer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        let cases = [
            ("captureDeadline", json!(NOW.0 + 31 * 86_400), "extra.captureDeadline"),
            ("captureDeadline", json!(NOW.0 + 59), "extra.captureDeadline"),
            ("captureDeadline", json!("1750086400"), "extra.captureDeadline"),
            ("captureDeadline", json!(1u64 << 48), "extra.captureDeadline"),
            ("refundDeadline", json!(NOW.0 + 60), "extra.refundDeadline"),
            ("maxFeeBps", json!(10_001), "extra.maxFeeBps"),
            ("maxFeeBps", json!(1), "extra.feeRecipient"),
            ("minFeeBps", json!(1), "extra.minFeeBps"),
            ("captureAuthorizer", json!(payer), "extra.captureAuthorizer"),
            ("receiverAuthorizer", json!(payer), "extra.captureAuthorizer"),
            ("captureAuthorizer", json!(format!("0x{}", "0".repeat(40))), "extra.captureAuthorizer"),
            ("authCaptureEscrow", json!(Deployment::AUGUST.escrow), "extra.authCaptureEscrow"),
            ("authCaptureEscrow", json!(payer), "extra.authCaptureEscrow"),
            ("operatorType", json!("policy"), "extra.operatorType"),
            ("policy", json!(payer), "extra.policy"),
            ("paymentFlow", json!("upfront"), "extra.paymentFlow"),
            ("assetTransferMethod", json!("cash"), "extra.assetTransferMethod"),
            ("autoCapture", json!(true), "extra.autoCapture"),
        ];
        for (name, value, field) in cases {
            let change = set(name, value.clone());
            let at = refused(&change);
            assert!(at == field || at == "extra.refundDeadline" && name == "captureDeadline", "{name}: {at}");
        }
        assert_eq!(refused(&|offer| offer.amount = 0u64.into()), "amount");
        let patient = buyer().with_max_hold_seconds(40 * 86_400);
        let mut long = good.clone();
        long.extra.insert("captureDeadline".to_owned(), (NOW.0 + 30 * 86_400).into());
        assert!(signed(&patient, &long).is_ok());
    }
}
