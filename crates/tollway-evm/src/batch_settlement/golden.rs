//! What the published client and server write, byte for byte.

use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::{Value, json};
use tollway_core::model::{
    Accepted, FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements,
};
use tollway_core::{
    Amount, Backing, BuyerChannel, BuyerChannelScheme, ChannelScheme, ClaimRow, CommitmentKind, JsonObject,
    UnixTime, X402Version, wire,
};

use super::payload::{BatchPayload, Deposit};
use super::{BatchSettlement, ChannelBuyer, ChannelConfig, check, check_request, consented};
use crate::signature::PayerSignature;
use crate::{AssetTable, LocalSigner, Signer};

const VECTORS: &str = include_str!("../../tests/vectors/batch_settlement.json");
/// Development keys, which hold nothing anywhere: the client's, and that of the receiver's authorizer.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const AUTHORIZER_KEY: &str = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";

fn vectors(of: &str) -> Vec<Value> {
    let mut all: Value = serde_json::from_str(VECTORS).unwrap();
    all[of].take().as_array().unwrap().clone()
}

fn key(hex: &str) -> Arc<dyn Signer> {
    Arc::new(LocalSigner::from_hex(hex).unwrap())
}

fn buyer(vector: &Value) -> ChannelBuyer {
    let buyer = ChannelBuyer::new(key(KEY), AssetTable::known());
    match vector["voucherKey"].as_str() {
        Some(hex) => buyer.with_voucher_key(key(hex)),
        None => buyer,
    }
}

fn required(offer: &Value) -> PaymentRequired {
    let required = json!({ "x402Version": 2, "accepts": [offer] }).to_string();
    wire::decode_payment_required(required.as_bytes()).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn amount(value: &Value) -> Amount {
    value.as_str().unwrap().parse().unwrap()
}

fn paid(offer: &PaymentRequirements, payload: JsonObject) -> PaymentPayload {
    PaymentPayload {
        version: X402Version::V2,
        accepted: Accepted::Offer(Box::new(offer.clone())),
        payload,
        resource: None,
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

/// Its channel, as the client names it.
fn channel(
    buyer: &ChannelBuyer,
    offer: &PaymentRequirements,
    vector: &Value,
) -> (ChannelConfig, BuyerChannel) {
    let salt: B256 = vector["salt"].as_str().unwrap().parse().unwrap();
    let config = buyer.config(offer, salt).unwrap();
    let key = config.key(&offer.network).unwrap();
    (config, BuyerChannel { key, terms: config.to_terms() })
}

#[test]
fn a_channel_has_the_name_that_the_published_package_gives_it() {
    let vectors = vectors("channels");
    assert!(vectors.len() >= 3);
    for vector in vectors {
        let config = ChannelConfig::read(vector["config"].as_object().unwrap()).unwrap();
        let network = vector["network"].as_str().unwrap().parse().unwrap();
        assert_eq!(config.key(&network).unwrap().id(), vector["channelId"], "{}", vector["name"]);
    }
}

#[test]
fn we_sign_what_the_published_client_signs_and_accept_what_it_sends() {
    let vectors = vectors("payments");
    assert!(vectors.len() >= 15);
    for vector in vectors {
        let name = &vector["name"];
        let (buyer, required) = (buyer(&vector), required(&vector["offer"]));
        let offer = &required.accepts[0];
        let (config, channel) = channel(&buyer, offer, &vector);
        let ceiling = amount(&vector["charged"]).checked_add(offer.amount).unwrap();
        let now = UnixTime(vector["now"].as_u64().unwrap());
        let ours = match vector["payload"]["deposit"]["amount"].as_str() {
            None => wait(buyer.sign_voucher(&required, offer, &channel, ceiling, None)).unwrap().payload,
            Some(deposited) => {
                let random = vector["random"].as_str().unwrap();
                let random: tollway_core::Amount = match random.strip_prefix("0x") {
                    None => random.parse().unwrap(),
                    Some(hex) => {
                        Amount::from_atomic(alloy_primitives::U256::from_str_radix(hex, 16).unwrap())
                    }
                };
                let random = B256::from(random.atomic());
                let deposited = deposited.parse().unwrap();
                let deposit: Deposit = wait(buyer.deposited(offer, &config, deposited, now, random)).unwrap();
                let voucher = wait(buyer.signed(offer, &config, ceiling)).unwrap();
                BatchPayload::Deposit { config, voucher, deposit }.encode()
            }
        };
        let theirs = vector["payload"].as_object().unwrap();
        assert_eq!(&ours, theirs, "{name}");
        let payment = paid(offer, theirs.clone());
        let checked = check(&payment, offer, Some(now)).unwrap();
        assert!(matches!(checked.signature, PayerSignature::Key(_)), "{name}");
        let seller = BatchSettlement::new(AssetTable::known());
        let said = seller.commitment(&payment, offer, now).unwrap();
        assert_eq!((said.channel, said.ceiling, said.is_proved), (channel.key, ceiling, true), "{name}");
        assert_eq!(said.proof, theirs["voucher"]["signature"].as_str().unwrap(), "{name}");
        let is_deposit = matches!(said.kind, CommitmentKind::Deposit { .. });
        assert_eq!(is_deposit, theirs.contains_key("deposit"), "{name}");
    }
}

#[test]
fn we_ask_for_refunds_as_the_published_client_does() {
    for vector in vectors("refunds") {
        let (buyer, required) = (buyer(&vector), required(&vector["offer"]));
        let offer = &required.accepts[0];
        let (_, channel) = channel(&buyer, offer, &vector);
        let asked = vector["amount"].as_str().map(|text| text.parse().unwrap());
        let charged = amount(&vector["charged"]);
        let ours = wait(buyer.sign_refund(&required, offer, &channel, charged, asked)).unwrap();
        assert_eq!(Value::Object(ours.payload.clone()), vector["payload"], "{}", vector["name"]);
        let seller = BatchSettlement::new(AssetTable::known());
        let said = seller.commitment(&ours, offer, UnixTime(0)).unwrap();
        assert_eq!(said.kind, CommitmentKind::Refund { amount: asked }, "{}", vector["name"]);
    }
}

#[test]
fn we_ask_a_facilitator_as_the_published_server_does_and_consent_as_its_key_does() {
    let vectors = vectors("requests");
    assert_eq!(vectors.len(), 5);
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let theirs = wire::decode_facilitator_request(vector["request"].to_string().as_bytes()).unwrap();
        let seller = BatchSettlement::new(AssetTable::known());
        let seller = match name.ends_with("-delegated") {
            true => seller,
            false => seller.with_key(key(AUTHORIZER_KEY)),
        };
        let told = vector["rows"].as_array().unwrap();
        let rows: Vec<ClaimRow> = told.iter().map(claim_row).collect();
        let ours: FacilitatorRequest = match name.split('-').next().unwrap() {
            "claim" => wait(seller.claim_request(&theirs.requirements, &rows)).unwrap(),
            "settle" => seller.settle_request(&theirs.requirements),
            _ => {
                let (row, backing) = (&rows[2], backing(&told[2]));
                let left = backing.balance.checked_sub(row.total).unwrap();
                wait(seller.refund_request(&theirs.requirements, row, &backing, left)).unwrap()
            }
        };
        assert_eq!(ours, theirs, "{name}");
        let key = key(AUTHORIZER_KEY);
        let whole = wait(consented(&theirs, Some(key.as_ref()))).unwrap();
        assert_eq!(whole.is_some(), name.ends_with("-delegated"), "{name}");
        let whole = whole.unwrap_or(theirs);
        assert!(check_request(&whole.payment, &whole.requirements).is_ok(), "{name}");
        assert_eq!(wait(consented(&whole, None)).unwrap(), None, "{name}: it has all");
    }
}

fn claim_row(row: &Value) -> ClaimRow {
    ClaimRow {
        terms: row["terms"].as_object().unwrap().clone(),
        signed: amount(&row["signed"]),
        proof: row["proof"].as_str().unwrap().to_owned(),
        total: amount(&row["total"]),
    }
}

fn backing(row: &Value) -> Backing {
    Backing {
        balance: amount(&row["balance"]),
        claimed: amount(&row["claimed"]),
        withdraw_requested_at: None,
        refund_nonce: amount(&row["refundNonce"]),
    }
}
