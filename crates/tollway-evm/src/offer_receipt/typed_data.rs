//! The EIP-712 form: the types of the extension, and one of ours for what receipts bind beside them.
//!
//! All of it is signed off chain and never sent to one: the domains name chain 1 whatever the payment's network is.

use std::sync::LazyLock;

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};

use super::terms::{Binding, OfferTerms, ReceiptTerms, VERSION, fingerprint_text};

sol! {
    /// Section 4.3 of the extension.
    struct Offer {
        uint256 version;
        string resourceUrl;
        string scheme;
        string network;
        string asset;
        string payTo;
        string amount;
        uint256 validUntil;
    }

    /// Section 5.3 of the extension.
    struct Receipt {
        uint256 version;
        string network;
        string resourceUrl;
        string payer;
        uint256 issuedAt;
        string transaction;
    }

    /// Ours: the same, and the money and the request. What is not known is the empty text.
    struct BoundReceipt {
        uint256 version;
        string network;
        string resourceUrl;
        string payer;
        uint256 issuedAt;
        string transaction;
        string asset;
        string payTo;
        string amount;
        string logIndex;
        string request;
    }
}

static OFFER: LazyLock<B256> = LazyLock::new(|| separator("x402 offer"));
static RECEIPT: LazyLock<B256> = LazyLock::new(|| separator("x402 receipt"));
static BOUND: LazyLock<B256> = LazyLock::new(|| separator("Tollway receipt"));

/// The bytes whose keccak256 is signed for an offer.
pub(super) fn offer(terms: &OfferTerms) -> [u8; 66] {
    let message = Offer {
        version: U256::from(VERSION),
        resourceUrl: terms.resource_url.clone(),
        scheme: terms.scheme.clone(),
        network: terms.network.to_string(),
        asset: terms.asset.clone(),
        payTo: terms.pay_to.clone(),
        amount: terms.amount.to_string(),
        validUntil: U256::from(terms.valid_until.map_or(0, |until| until.0)),
    };
    preimage(*OFFER, &message)
}

/// The bytes whose keccak256 is signed for a receipt.
pub(super) fn receipt(terms: &ReceiptTerms) -> [u8; 66] {
    let message = Receipt {
        version: U256::from(VERSION),
        network: terms.network.to_string(),
        resourceUrl: terms.resource_url.clone(),
        payer: terms.payer.clone(),
        issuedAt: U256::from(terms.issued_at.0),
        transaction: terms.transaction.clone().unwrap_or_default(),
    };
    preimage(*RECEIPT, &message)
}

/// The bytes whose keccak256 is signed once more for a receipt that binds more than the standard has fields for.
pub(super) fn bound_receipt(terms: &ReceiptTerms, binding: &Binding) -> [u8; 66] {
    let message = BoundReceipt {
        version: U256::from(VERSION),
        network: terms.network.to_string(),
        resourceUrl: terms.resource_url.clone(),
        payer: terms.payer.clone(),
        issuedAt: U256::from(terms.issued_at.0),
        transaction: terms.transaction.clone().unwrap_or_default(),
        asset: binding.asset.clone(),
        payTo: binding.pay_to.clone(),
        amount: binding.amount.to_string(),
        logIndex: binding.log_index.map_or_else(String::new, |index| index.to_string()),
        request: fingerprint_text(&binding.request),
    };
    preimage(*BOUND, &message)
}

fn separator(name: &'static str) -> B256 {
    let chain_id = Some(U256::ONE);
    Eip712Domain::new(Some(name.into()), Some("1".into()), chain_id, None, None).separator()
}

fn preimage(separator: B256, message: &impl SolStruct) -> [u8; 66] {
    let mut preimage = [0; 66];
    preimage[..2].copy_from_slice(&[0x19, 0x01]);
    preimage[2..34].copy_from_slice(separator.as_slice());
    preimage[34..].copy_from_slice(message.eip712_hash_struct().as_slice());
    preimage
}

/// What is signed.
pub(super) fn digest(preimage: &[u8; 66]) -> B256 {
    keccak256(preimage)
}
