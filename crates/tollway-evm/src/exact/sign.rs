//! The buyer's side: from an offer to a signed payment.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{
    BoxFuture, BuyerScheme, ErrorCode, JsonObject, Network, OfferedValue, Refusal, SchemeName, SignError,
    UnixTime, X402Version,
};

use super::verify::domain;
use super::{ADDRESS_RULE, Authorization, parse_address};
use crate::permit2::{Allowances, Known, METHOD, METHOD_FIELD, Proxy, attach, sign_permit};
use crate::pricing::value_of;
use crate::{AssetTable, Signer};

/// How far v1 backdates `validAfter`: its token checks ran on clocks that lagged.
const V1_BACKDATE_SECONDS: u64 = 600;

/// Scheme `exact` on EVM for buyers.
#[derive(Clone, Debug)]
pub struct ExactBuyer {
    signer: Arc<dyn Signer>,
    assets: AssetTable,
    allowances: Known,
}

impl ExactBuyer {
    /// Signs with `signer`; `assets` tells what offers are worth.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollway_core::{BuyerScheme, Clock, SystemClock, model::PaymentRequired};
    /// use tollway_evm::{AssetTable, LocalSigner, exact};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
    /// #   "extra":{"name":"USD Coin","version":"2"}}]}"#;
    /// # let required = tollway_core::wire::decode_payment_required(json)?;
    /// let buyer = exact::ExactBuyer::new(Arc::new(LocalSigner::random()?), AssetTable::known());
    /// let (offer, now) = (&required.accepts[0], SystemClock.now());
    /// let payment = buyer.sign(&required, offer, now).await?;
    /// assert!(exact::check(&payment, offer, now).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(signer: Arc<dyn Signer>, assets: AssetTable) -> Self {
        Self { signer, assets, allowances: Known::new() }
    }

    /// Asks `allowances`, of one more network, whether Permit2 may take what a payment moves. If it may not, and the seller's
    /// facilitator presents approvals (extension `eip2612GasSponsoring`), one for this very amount is signed beside the
    /// payment: it costs the payer no gas.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tollway_evm::{AssetTable, LocalSigner, exact::ExactBuyer, permit2::Allowances};
    /// fn payer(allowances: Arc<dyn Allowances>) -> Result<ExactBuyer, tollway_evm::SignerError> {
    ///     let signer = Arc::new(LocalSigner::random()?);
    ///     Ok(ExactBuyer::new(signer, AssetTable::known()).allowances(allowances))
    /// }
    /// ```
    #[must_use]
    pub fn allowances(mut self, allowances: Arc<dyn Allowances>) -> Self {
        self.allowances.push(allowances);
        self
    }

    async fn payload(
        &self,
        offer: &PaymentRequirements,
        version: X402Version,
        now: UnixTime,
    ) -> Result<JsonObject, SignError> {
        if offer.extra_str(METHOD_FIELD) == Some(METHOD) {
            return sign_permit(self.signer.as_ref(), version, offer, Proxy::Exact, now).await;
        }
        let (_, domain) = domain(offer).map_err(SignError::Offer)?;
        let to = parse_address(&offer.pay_to).ok_or_else(|| {
            let code = ErrorCode::INVALID_PAYMENT_REQUIREMENTS;
            SignError::Offer(Refusal::new(code, "payTo", ADDRESS_RULE))
        })?;
        if !matches!(offer.extra_str(METHOD_FIELD), None | Some("eip3009")) {
            let code = ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD;
            let rule = "must be \"eip3009\" or \"permit2\"";
            let refusal = Refusal::new(code, "extra.assetTransferMethod", rule);
            return Err(SignError::Offer(refusal));
        }
        let mut nonce = B256::ZERO;
        getrandom::fill(nonce.as_mut_slice())
            .map_err(|_| SignError::Signer(crate::SignerError::Randomness.to_string()))?;
        let valid_after = match version {
            X402Version::V1 => now.0.saturating_sub(V1_BACKDATE_SECONDS),
            X402Version::V2 => 0,
        };
        let authorization = Authorization {
            from: self.signer.address(),
            to,
            value: offer.amount.atomic(),
            valid_after: U256::from(valid_after),
            valid_before: U256::from(now.plus_seconds(offer.max_timeout_seconds).0),
            nonce,
        };
        let preimage = domain.preimage(&authorization.message());
        let signature = self.signer.sign(&preimage).await;
        let signature = signature.map_err(|error| SignError::Signer(error.to_string()))?;
        Ok(authorization.encode(&signature))
    }
}

impl BuyerScheme for ExactBuyer {
    fn name(&self) -> &SchemeName {
        &SchemeName::EXACT
    }

    fn covers(&self, network: &Network) -> bool {
        network.evm_chain_id().is_some()
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        let asset = self.assets.find(&offer.network, parse_address(&offer.asset)?)?;
        Some(value_of(asset, offer))
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
            let payload = self.payload(offer, required.version, now).await?;
            let accepted = match required.version {
                X402Version::V1 => {
                    Accepted::Kind { scheme: offer.scheme.clone(), network: offer.network.clone() }
                }
                X402Version::V2 => Accepted::Offer(Box::new(offer.clone())),
            };
            let mut payment = PaymentPayload {
                version: required.version,
                accepted,
                payload,
                resource: required.resource.clone(),
                extensions: required.extensions.clone(),
                other: JsonObject::new(),
            };
            attach(&mut payment, offer, self.signer.as_ref(), &self.allowances).await?;
            Ok(payment)
        })
    }
}
