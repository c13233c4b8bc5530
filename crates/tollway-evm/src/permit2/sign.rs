//! The buyer's side: from an offer to a signed permit.

use std::sync::Arc;

use alloy_primitives::U256;
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{
    BoxFuture, BuyerScheme, ErrorCode, JsonObject, Network, OfferedValue, Refusal, SchemeName, SignError,
    UnixTime, X402Version,
};

use super::{Allowances, Known, METHOD, METHOD_FIELD, Permit, Proxy, attach};
use crate::exact::{ADDRESS_RULE, parse_address};
use crate::pricing::value_of;
use crate::{AssetTable, Signer};

/// Scheme `upto` on EVM for buyers: what is signed is a ceiling, what is charged is up to the seller.
#[derive(Clone, Debug)]
pub struct UptoBuyer {
    signer: Arc<dyn Signer>,
    assets: AssetTable,
    allowances: Known,
}

impl UptoBuyer {
    /// Signs with `signer`; `assets` tells what offers are worth. An offer is worth its ceiling: a policy decides by
    /// the most that it can cost.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tollway_core::{BuyerScheme, Clock, SystemClock, model::PaymentRequired};
    /// use tollway_evm::{AssetTable, LocalSigner, permit2};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"upto","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","extra":{"assetTransferMethod":"permit2",
    /// #   "facilitatorAddress":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}}]}"#;
    /// # let required = tollway_core::wire::decode_payment_required(json)?;
    /// let buyer = permit2::UptoBuyer::new(Arc::new(LocalSigner::random()?), AssetTable::known());
    /// let (offer, now) = (&required.accepts[0], SystemClock.now());
    /// let payment = buyer.sign(&required, offer, now).await?;
    /// assert!(permit2::check(&payment, offer, permit2::Ceiling::Equal, now).is_ok());
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
    /// use tollway_evm::{AssetTable, LocalSigner, permit2::UptoBuyer, permit2::Allowances};
    /// fn payer(allowances: Arc<dyn Allowances>) -> Result<UptoBuyer, tollway_evm::SignerError> {
    ///     let signer = Arc::new(LocalSigner::random()?);
    ///     Ok(UptoBuyer::new(signer, AssetTable::known()).allowances(allowances))
    /// }
    /// ```
    #[must_use]
    pub fn allowances(mut self, allowances: Arc<dyn Allowances>) -> Self {
        self.allowances.push(allowances);
        self
    }
}

impl BuyerScheme for UptoBuyer {
    fn name(&self) -> &SchemeName {
        &SchemeName::UPTO
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
            let facilitator = offer.extra_str("facilitatorAddress").and_then(parse_address);
            let facilitator = facilitator.ok_or_else(|| {
                let rule = "must be the address that may settle, for it is signed";
                refuse("extra.facilitatorAddress", rule)
            })?;
            if !matches!(offer.extra_str(METHOD_FIELD), None | Some(METHOD)) {
                let code = ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD;
                let refusal = Refusal::new(code, "extra.assetTransferMethod", "must be \"permit2\"");
                return Err(SignError::Offer(refusal));
            }
            let proxy = Proxy::Upto { facilitator };
            let payload = sign_permit(self.signer.as_ref(), required.version, offer, proxy, now).await?;
            let mut payment = PaymentPayload {
                version: required.version,
                accepted: Accepted::Offer(Box::new(offer.clone())),
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

/// The signed `payload` of a payment by Permit2.
pub(crate) async fn sign_permit(
    signer: &dyn Signer,
    version: X402Version,
    offer: &PaymentRequirements,
    proxy: Proxy,
    now: UnixTime,
) -> Result<JsonObject, SignError> {
    if version == X402Version::V1 {
        let refusal = Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", "must be 2 for Permit2");
        return Err(SignError::Offer(refusal));
    }
    let address = |text: &str, field| parse_address(text).ok_or_else(|| refuse(field, ADDRESS_RULE));
    let mut nonce = [0u8; 32];
    getrandom::fill(&mut nonce).map_err(|_| SignError::Signer(crate::SignerError::Randomness.to_string()))?;
    let permit = Permit {
        from: signer.address(),
        token: address(&offer.asset, "asset")?,
        amount: offer.amount.atomic(),
        nonce: U256::from_be_bytes(nonce),
        deadline: U256::from(now.plus_seconds(offer.max_timeout_seconds).0),
        proxy,
        to: address(&offer.pay_to, "payTo")?,
        valid_after: U256::ZERO,
    };
    let preimage =
        permit.preimage(&offer.network).ok_or_else(|| refuse("network", "must be an EVM network"))?;
    let signature = signer.sign(&preimage).await;
    let signature = signature.map_err(|error| SignError::Signer(error.to_string()))?;
    Ok(permit.to_payload(&signature.into()))
}

fn refuse(field: &str, rule: &str) -> SignError {
    SignError::Offer(Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, rule))
}
