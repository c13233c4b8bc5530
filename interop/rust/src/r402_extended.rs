//! The extensions of `r402`, as its documentation uses them. Its client has no half of `payment-identifier`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use compact_str::CompactString;
use r402::http::X402Client;
use r402::http::server::X402Middleware;
use r402::protocol::payment::{Base64Bytes, SettleResponse};
use r402_extensions::siwx::{
    InMemoryPaidAddressStore, SiwxChain, SiwxClientExtension, SiwxOrigin, SiwxSigner,
};
use r402_extensions::{
    BuilderCodeClient, BuilderCodeExtension, OfferReceiptExtension, PaymentIdentifierExtension, SiwxError,
    create_eip712_offer_receipt_issuer, extract_receipt_from_settle_response,
    verify_receipt_signature_eip712,
};
use r402_http::server::SiwxGate;
use reqwest::header::HeaderMap;

use crate::{Result, Start};

/// A client that does its part of each.
pub(crate) fn extending(payments: X402Client, start: &Start) -> Result<X402Client> {
    Ok(payments
        .with_extension(BuilderCodeClient::try_new(["partner_agent"])?)
        .with_extension(SiwxClientExtension::new().with_signer(Wallet(start.signer()?))))
}

/// Routes that declare one each.
pub(crate) fn declaring(
    x402: &X402Middleware,
    start: &Start,
    url: &str,
) -> Result<Vec<(&'static str, X402Middleware)>> {
    let issuer: PrivateKeySigner = start.issuer_key.as_ref().ok_or("a server needs issuerKey")?.parse()?;
    let kid = format!("did:pkh:eip155:1:{}", issuer.address());
    let receipts = OfferReceiptExtension::new(Arc::new(create_eip712_offer_receipt_issuer(kid, issuer)));
    let gate = SiwxGate::new(SiwxOrigin::parse(url)?, InMemoryPaidAddressStore::new())
        .with_chain(SiwxChain::eip191(start.network.as_str()));
    Ok(vec![
        (
            "/payment-identifier",
            x402.clone().with_extension(PaymentIdentifierExtension::new().with_required(true)),
        ),
        ("/builder-code", x402.clone().with_extension(BuilderCodeExtension::try_new("partner_app")?)),
        ("/sign-in-with-x", x402.with_siwx(gate)),
        ("/offer-receipt", x402.clone().with_extension(receipts)),
    ])
}

/// Who signed the receipt of what was bought at `url`, if there is one and it holds.
pub(crate) fn receipt_signer(url: &str, headers: &HeaderMap) -> Option<String> {
    let bytes = Base64Bytes::from(headers.get("payment-response")?.as_bytes()).decode().ok()?;
    let settled: SettleResponse = serde_json::from_slice(&bytes).ok()?;
    let receipt = extract_receipt_from_settle_response(&settled)?;
    let verified = verify_receipt_signature_eip712(&receipt).ok()?;
    (verified.payload.resource_url == url).then(|| verified.signer.to_string())
}

/// A wallet that signs in.
struct Wallet(PrivateKeySigner);

impl SiwxSigner for Wallet {
    fn signature_type(&self) -> &'static str {
        "eip191"
    }

    fn address(&self) -> CompactString {
        self.0.address().to_string().into()
    }

    fn sign_message<'a>(
        &'a self,
        message: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<CompactString, SiwxError>> + Send + 'a>> {
        let signed = self.0.sign_message_sync(message.as_bytes());
        Box::pin(std::future::ready(
            signed.map(|signature| signature.to_string().into()).map_err(|_| SiwxError::Signature),
        ))
    }
}
