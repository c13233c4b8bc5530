//! What a seller keeps of a payment that was collected, and what it asks a facilitator with it: each request carries the
//! consent of the receiver's authorizer, whose key the seller has.

use alloy_primitives::{B256, Bytes, U256};
use tollway_core::model::{Accepted, FacilitatorRequest, PaymentPayload, PaymentRequirements};
use tollway_core::{JsonObject, Network, X402Version};

use super::authorizer::Consent;
use super::info::PaymentInfo;
use super::lifecycle::{Operation, encode};
use super::payload::ChargeOrder;
use super::terms::CaptureTerms;
use super::verify::Collection;
use crate::{Signer, SignerError};

/// A payment that was held or charged, as its seller remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldPayment {
    /// The offer that it was collected under.
    pub offer: PaymentRequirements,
    /// What that offer says.
    pub terms: CaptureTerms,
    /// The payment.
    pub info: PaymentInfo,
    /// What the payer put into the salt.
    pub salt_nonce: B256,
    /// The escrow's name for it.
    pub hash: B256,
}

impl HeldPayment {
    /// What is kept of `collection`, which was collected under `offer`.
    ///
    /// ```
    /// use tollway_evm::auth_capture::{self, HeldPayment};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let collection = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// let held = HeldPayment::of(&collection, &request.requirements);
    /// assert_eq!(held.hash, collection.hash);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(collection: &Collection, offer: &PaymentRequirements) -> Self {
        Self {
            offer: offer.clone(),
            terms: collection.terms.clone(),
            info: collection.info.clone(),
            salt_nonce: collection.salt_nonce.unwrap_or_default(),
            hash: collection.hash,
        }
    }

    /// The request that `operation` happens, with the consent of `authorizer`.
    ///
    /// # Errors
    /// [`SignerError`] when the key is out of reach.
    ///
    /// ```
    /// use tollway_evm::LocalSigner;
    /// use tollway_evm::auth_capture::{self, HeldPayment, Operation, check_lifecycle};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let collection = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let held = HeldPayment::of(&collection, &request.requirements);
    /// # let hex = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";
    /// let authorizer = LocalSigner::from_hex(hex)?; // whose address the offer names
    /// let void = held.request(&Operation::Void, &authorizer).await?;
    /// assert!(check_lifecycle(&void.payment, &void.requirements, None).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request(
        &self,
        operation: &Operation,
        authorizer: &dyn Signer,
    ) -> Result<FacilitatorRequest, SignerError> {
        let consent = operation.consent(&self.terms.deployment);
        let signature = self.signed(&consent, authorizer).await?;
        let void = match operation {
            Operation::Capture { voids_rest: true, .. } => {
                Some(self.signed(&Consent::Void, authorizer).await?)
            }
            _ => None,
        };
        let payload =
            encode(&self.info, self.salt_nonce, operation, &signature, void.as_ref().map(AsRef::as_ref));
        Ok(FacilitatorRequest {
            payment: PaymentPayload {
                version: X402Version::V2,
                accepted: Accepted::Offer(Box::new(self.offer.clone())),
                payload,
                resource: None,
                extensions: JsonObject::new(),
                other: JsonObject::new(),
            },
            requirements: self.offer.clone(),
        })
    }

    async fn signed(&self, consent: &Consent, authorizer: &dyn Signer) -> Result<Bytes, SignerError> {
        sign(consent, self.hash, &self.offer.network, &self.terms, authorizer).await
    }
}

impl Collection {
    /// The payer's payment, completed with how much of it is charged, with the least fee and the consent of
    /// `authorizer`.
    ///
    /// # Errors
    /// [`SignerError`] when the key is out of reach.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, U256, auth_capture};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let mut request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # request.requirements.extra.insert("paymentFlow".to_owned(), "authorization".into());
    /// # let (payment, offer) = (request.payment, request.requirements);
    /// let raw = auth_capture::check_at_any_time(&payment, &offer)?;
    /// # let hex = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";
    /// let authorizer = LocalSigner::from_hex(hex)?; // whose address the offer names
    /// let half = raw.charged(&payment, U256::from(10_000), &authorizer).await?;
    /// assert_eq!(auth_capture::check_at_any_time(&half, &offer)?.amount(), U256::from(10_000));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn charged(
        &self,
        payment: &PaymentPayload,
        amount: U256,
        authorizer: &dyn Signer,
    ) -> Result<PaymentPayload, SignerError> {
        let fees = self.terms.fees;
        let fee = fees.least(amount, self.terms.deployment.fee_unit);
        let consent = Consent::Charge {
            amount,
            collector: self.collector(),
            collector_data_hash: alloy_primitives::keccak256(&self.signature),
            fee,
            fee_receiver: fees.recipient,
        };
        let authorizer_signature = sign(&consent, self.hash, &self.network, &self.terms, authorizer).await?;
        let order = ChargeOrder { amount, fee, fee_receiver: fees.recipient, authorizer_signature };
        let mut payment = payment.clone();
        order.complete(&mut payment.payload);
        Ok(payment)
    }
}

async fn sign(
    consent: &Consent,
    hash: B256,
    network: &Network,
    terms: &CaptureTerms,
    authorizer: &dyn Signer,
) -> Result<Bytes, SignerError> {
    let preimage = consent.preimage(hash, network, terms.operator);
    let preimage = preimage.ok_or_else(|| SignerError::Remote("must be for an EVM network".to_owned()))?;
    Ok(authorizer.sign(&preimage).await?.as_bytes().into())
}
