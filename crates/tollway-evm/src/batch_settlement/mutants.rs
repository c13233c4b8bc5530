//! Every rule with its code, and that nothing may be changed in what was signed.

use serde_json::{Value, json};
use tollway_core::model::{Accepted, FacilitatorRequest, PaymentRequirements, SettleResponse, SupportedKind};
use tollway_core::{
    Amount, ChannelCodes, ChannelKey, ChannelScheme, ChannelSnapshot, JsonObject, Network, Price, Refusal,
    SchemeName, SellerScheme, Terms, UnixTime, X402Version, wire,
};

use super::{
    BatchPayload, BatchSettlement, ChannelConfig, ClaimEntry, MAX_CLAIMS, check, check_request, claim_gas,
    split_claims,
};
use crate::signature::PayerSignature;
use crate::{Address, AssetTable, B256, Signature, U256};

const VECTORS: &str = include_str!("../../tests/vectors/batch_settlement.json");
const NOW: UnixTime = UnixTime(1_750_000_000);
const STRANGER: &str = "0x00000000000000000000000000000000000000aa";

/// A payment of the published client by its name, as a request.
fn paid(name: &str) -> FacilitatorRequest {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let of = |list: &str| all[list].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    let vector = of("payments").or_else(|| of("refunds")).unwrap();
    let offer = &vector["offer"];
    let request = json!({
        "x402Version": 2, "paymentRequirements": offer,
        "paymentPayload": { "x402Version": 2, "accepted": offer, "payload": vector["payload"] },
    });
    wire::decode_facilitator_request(request.to_string().as_bytes()).unwrap()
}

/// What the published server asks for.
fn asked(name: &str) -> FacilitatorRequest {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let vector = all["requests"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    wire::decode_facilitator_request(vector["request"].to_string().as_bytes()).unwrap()
}

/// Puts a value at a path below an object; nothing there is absence.
fn put(object: &mut JsonObject, path: &str, value: Value) {
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = object;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        at = match parent.parse::<usize>() {
            Ok(_) => at,
            Err(_) => match at.get_mut(parent).unwrap() {
                Value::Array(items) => items[0].as_object_mut().unwrap(),
                other => other.as_object_mut().unwrap(),
            },
        };
    }
    match value {
        Value::Null => at.shift_remove(name),
        value => at.insert(name.to_owned(), value),
    };
}

fn refused(request: &FacilitatorRequest) -> Refusal {
    check(&request.payment, &request.requirements, Some(NOW)).unwrap_err()
}

/// The code and the field of what is wrong with a payment that is changed in one place.
fn told(name: &str, path: &str, value: Value) -> (String, String) {
    let mut request = paid(name);
    put(&mut request.payment.payload, path, value);
    let refusal = refused(&request);
    (refusal.code.as_str().replace("invalid_batch_settlement_evm_", ""), refusal.field)
}

/// Payment, what is changed in it, to which value, and the code and the field that tell it.
const RULES: &str = r#"
voucher | type | "cash" | payload_type | type
voucher | type | "claim" | claim_payload | claims
voucher | voucher | null | voucher_payload | voucher
voucher | channelConfig | [] | voucher_payload | channelConfig
voucher | channelConfig.payer | "0x12" | voucher_payload | channelConfig.payer
voucher | channelConfig.memo | "x" | voucher_payload | channelConfig.memo
voucher | channelConfig.withdrawDelay | "900" | voucher_payload | channelConfig.withdrawDelay
voucher | channelConfig.withdrawDelay | 1099511627776 | voucher_payload | channelConfig.withdrawDelay
voucher | voucher.maxClaimableAmount | "1e3" | voucher_payload | voucher.maxClaimableAmount
voucher | voucher.maxClaimableAmount | "340282366920938463463374607431768211456" | voucher_payload | voucher.maxClaimableAmount
voucher | voucher.signature | "00" | voucher_payload | voucher.signature
voucher | voucher.signature | LONG | voucher_payload | voucher.signature
voucher | voucher.channelId | "0x12" | channel_id_invalid | voucher.channelId
voucher | voucher.channelId | WORD | channel_id_mismatch | voucher.channelId
voucher | voucher.signature | WORD | voucher_signature | voucher.signature
voucher | voucher.maxClaimableAmount | "10001" | voucher_signature | voucher.signature
refund | amount | "0" | refund_amount_invalid | amount
refund | amount | "x" | refund_amount_invalid | amount
refund | voucher.channelId | null | refund_payload | voucher.channelId
deposit | deposit | null | deposit_payload | deposit
deposit | deposit.amount | "0" | deposit_payload | deposit.amount
deposit | deposit.authorization | {} | deposit_payload | deposit.authorization
deposit | TOKEN.validBefore | "1750000005" | payload_authorization_valid_before | TOKEN.validBefore
deposit | TOKEN.validAfter | "1750000001" | payload_authorization_valid_after | TOKEN.validAfter
deposit-permit2 | PERMIT.from | STRANGER | permit2_invalid_signature | PERMIT.from
deposit-permit2 | PERMIT.spender | STRANGER | permit2_invalid_spender | PERMIT.spender
deposit-permit2 | PERMIT.permitted.token | STRANGER | token_mismatch | PERMIT.permitted.token
deposit-permit2 | PERMIT.permitted.amount | "1" | permit2_amount_mismatch | PERMIT.permitted.amount
deposit-permit2 | PERMIT.witness.channelId | WORD | channel_id_mismatch | PERMIT.witness.channelId
deposit-permit2 | PERMIT.deadline | "1750000005" | permit2_deadline_expired | PERMIT.deadline
"#;

#[test]
fn each_broken_rule_of_a_payment_is_named_by_field_and_code() {
    let rules = RULES
        .replace("TOKEN", "deposit.authorization.erc3009Authorization")
        .replace("PERMIT", "deposit.authorization.permit2Authorization")
        .replace("STRANGER", &json!(STRANGER).to_string())
        .replace("WORD", &json!(format!("0x{}", "11".repeat(32))).to_string())
        .replace("LONG", &json!(format!("0x{}", "00".repeat(5_000))).to_string());
    for rule in rules.trim().lines() {
        let [name, path, value, code, field] = rule.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{rule}")
        };
        let value = serde_json::from_str(value).unwrap();
        assert_eq!(told(name, path, value), (code.to_owned(), format!("payload.{field}")), "{rule:.100}");
    }
}

#[test]
fn each_term_of_the_offer_binds_the_channel() {
    let with = |change: &dyn Fn(&mut PaymentRequirements)| {
        let mut request = paid("deposit");
        change(&mut request.requirements);
        refused(&request).code.as_str().replace("invalid_batch_settlement_evm_", "")
    };
    let extra = |name: &'static str, value: Value| {
        with(&move |offer| {
            offer.extra.insert(name.to_owned(), value.clone());
        })
    };
    assert_eq!(with(&|offer| offer.pay_to = STRANGER.to_owned()), "receiver_mismatch");
    assert_eq!(with(&|offer| offer.asset = STRANGER.to_owned()), "token_mismatch");
    assert_eq!(extra("receiverAuthorizer", json!(STRANGER)), "receiver_authorizer_mismatch");
    assert_eq!(extra("receiverAuthorizer", json!(Address::ZERO)), "receiver_authorizer_mismatch");
    assert_eq!(extra("receiverAuthorizer", Value::Null), "receiver_authorizer_mismatch");
    assert_eq!(extra("withdrawDelay", json!(901)), "withdraw_delay_mismatch");
    assert_eq!(extra("name", json!("")), "missing_eip712_domain");
    assert_eq!(extra("assetTransferMethod", json!("permit2")), "permit2_authorization_required");
    assert_eq!(extra("assetTransferMethod", json!("cash")), "unsupported_asset_transfer_method");
    assert_eq!(with(&|offer| offer.network = Network::evm(1)), "network_mismatch");
    assert_eq!(with(&|offer| offer.scheme = SchemeName::EXACT), "scheme");

    let mut by_permit = paid("deposit-permit2");
    by_permit.requirements.extra.insert("assetTransferMethod".to_owned(), json!("eip3009"));
    assert!(refused(&by_permit).code.as_str().ends_with("erc3009_authorization_required"));
    // The terms of another chain are another channel.
    let mut moved = paid("voucher");
    let Accepted::Offer(accepted) = &mut moved.payment.accepted else { panic!("version 2") };
    (accepted.network, moved.requirements.network) = (Network::evm(1), Network::evm(1));
    assert!(refused(&moved).code.as_str().ends_with("channel_id_mismatch"));
}

#[test]
fn a_channel_with_a_delay_that_the_contract_does_not_take_is_refused() {
    for delay in [899, 2_592_001] {
        let mut request = paid("voucher");
        request.requirements.extra.insert("withdrawDelay".to_owned(), json!(delay));
        put(&mut request.payment.payload, "channelConfig.withdrawDelay", json!(delay));
        let config = request.payment.payload["channelConfig"].as_object().unwrap();
        let id = ChannelConfig::read(config).unwrap().id(8453);
        put(&mut request.payment.payload, "voucher.channelId", json!(id));
        assert!(refused(&request).code.as_str().ends_with("withdraw_delay_out_of_range"));
    }
}

#[test]
fn nothing_that_was_signed_may_be_changed() {
    for (name, paths) in [
        (
            "deposit",
            &[
                "channelConfig.payer",
                "channelConfig.payerAuthorizer",
                "channelConfig.receiver",
                "channelConfig.receiverAuthorizer",
                "channelConfig.token",
                "channelConfig.withdrawDelay",
                "channelConfig.salt",
                "voucher.channelId",
                "voucher.maxClaimableAmount",
                "deposit.amount",
                "deposit.authorization.erc3009Authorization.validBefore",
                "deposit.authorization.erc3009Authorization.salt",
            ][..],
        ),
        (
            "deposit-permit2",
            &[
                "channelConfig.salt",
                "voucher.maxClaimableAmount",
                "deposit.amount",
                "deposit.authorization.permit2Authorization.from",
                "deposit.authorization.permit2Authorization.permitted.token",
                "deposit.authorization.permit2Authorization.permitted.amount",
                "deposit.authorization.permit2Authorization.spender",
                "deposit.authorization.permit2Authorization.nonce",
                "deposit.authorization.permit2Authorization.deadline",
                "deposit.authorization.permit2Authorization.witness.channelId",
            ][..],
        ),
    ] {
        let whole = paid(name);
        assert!(check(&whole.payment, &whole.requirements, Some(NOW)).is_ok());
        for path in paths {
            let mut request = whole.clone();
            let mut at = &Value::Object(request.payment.payload.clone());
            for part in path.split('.') {
                at = &at[part];
            }
            let changed = match at {
                Value::Number(number) => json!(number.as_u64().unwrap() + 1),
                Value::String(text) => {
                    // The last digit becomes another.
                    let (rest, last) = text.split_at(text.len() - 1);
                    json!(format!("{rest}{}", if last == "1" { "2" } else { "1" }))
                }
                other => panic!("{other}"),
            };
            put(&mut request.payment.payload, path, changed);
            match check(&request.payment, &request.requirements, Some(NOW)) {
                Err(_) => {}
                // A signature of nobody's is left to the payer's code: it is not the payer's key's any more.
                Ok(still) => {
                    let super::Purpose::Deposit(deposit) = still.purpose else { panic!("{name} {path}") };
                    assert!(matches!(deposit.signature, PayerSignature::Code(_)), "{name} {path}");
                }
            }
        }
    }
}

#[test]
fn a_vouchers_signature_is_kept_as_the_contract_takes_it() {
    let seller = BatchSettlement::new(AssetTable::known());
    let whole = paid("voucher");
    let theirs = whole.payment.payload["voucher"]["signature"].as_str().unwrap().to_owned();
    let parity = match theirs.ends_with("1b") {
        true => "00",
        false => "01",
    };
    let mut request = whole.clone();
    let short = format!("{}{parity}", &theirs[..theirs.len() - 2]);
    put(&mut request.payment.payload, "voucher.signature", json!(short));
    // With 0 or 1 at its end the contract would not take it, and the seller could claim nothing.
    let said = seller.commitment(&request.payment, &request.requirements, NOW).unwrap();
    assert_eq!(said.proof, theirs);
    // The malleable twin is the signature of nobody.
    put(&mut request.payment.payload, "voucher.signature", json!(twin(&theirs)));
    assert!(refused(&request).code.as_str().ends_with("voucher_signature"));
}

#[test]
fn the_twin_of_a_deposits_signature_is_the_signature_of_nobody() {
    for (name, kind, code) in [
        ("deposit", "erc3009Authorization", "receive_authorization_signature"),
        ("deposit-permit2", "permit2Authorization", "permit2_invalid_signature"),
    ] {
        let mut request = paid(name);
        let path = format!("deposit.authorization.{kind}.signature");
        let theirs = &request.payment.payload["deposit"]["authorization"][kind]["signature"];
        let twin = twin(theirs.as_str().unwrap());
        put(&mut request.payment.payload, &path, json!(twin));
        assert!(refused(&request).code.as_str().ends_with(code), "{name}");
    }
}

/// The malleable twin of a signature.
fn twin(text: &str) -> String {
    let signature = Signature::from_raw(&alloy_primitives::hex::decode(text).unwrap()).unwrap();
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order = U256::from_str_radix(order, 16).unwrap();
    let twin = Signature::new(signature.r(), order - signature.s(), !signature.v());
    alloy_primitives::hex::encode_prefixed(twin.as_bytes())
}

#[test]
fn a_voucher_of_an_account_without_a_key_is_for_its_code_to_judge() {
    let mut request = paid("voucher");
    put(&mut request.payment.payload, "channelConfig.payerAuthorizer", json!(Address::ZERO));
    let config = ChannelConfig::read(request.payment.payload["channelConfig"].as_object().unwrap()).unwrap();
    put(&mut request.payment.payload, "voucher.channelId", json!(config.id(8453)));
    let said = BatchSettlement::new(AssetTable::known());
    let said = said.commitment(&request.payment, &request.requirements, NOW).unwrap();
    assert!(!said.is_proved, "the payer's own key would not count either, once the account has code");
}

#[test]
fn a_deposit_below_the_least_is_refused_if_the_seller_wants_it_so() {
    let seller = BatchSettlement::new(AssetTable::known());
    let mut request = paid("deposit");
    request.requirements.extra.insert("minDeposit".to_owned(), json!("100001"));
    assert!(seller.commitment(&request.payment, &request.requirements, NOW).is_ok());
    let strict = seller.enforcing_min_deposit();
    let refusal = strict.commitment(&request.payment, &request.requirements, NOW).unwrap_err();
    assert!(refusal.code.as_str().ends_with("deposit_below_min_deposit"));
    request.requirements.extra.insert("minDeposit".to_owned(), json!("100000"));
    assert!(strict.commitment(&request.payment, &request.requirements, NOW).is_ok());
}

#[test]
fn each_broken_rule_of_a_sellers_request_is_named_by_field_and_code() {
    let whole = asked("claim");
    assert!(check_request(&whole.payment, &whole.requirements).is_ok());
    let word = format!("0x{}", "11".repeat(32));
    let cases = [
        ("claim", "claims", json!([]), "claim_payload", "claims"),
        (
            "claim",
            "claims.0.totalClaimed",
            json!("10001"),
            "charge_exceeds_signed_cumulative",
            "claims[0].totalClaimed",
        ),
        (
            "claim",
            "claims.0.voucher.maxClaimableAmount",
            json!("20000"),
            "voucher_signature",
            "claims[0].signature",
        ),
        ("claim", "claims.0.voucher.channel.salt", json!(word), "voucher_signature", "claims[0].signature"),
        (
            "claim",
            "claims.0.voucher.channel.receiverAuthorizer",
            json!(STRANGER),
            "voucher_signature",
            "claims[0].signature",
        ),
        (
            "claim",
            "claimAuthorizerSignature",
            Value::Null,
            "authorizer_not_configured",
            "claimAuthorizerSignature",
        ),
        ("claim", "claims.0.signature", json!("0x"), "claim_payload", "claims[0].signature"),
        (
            "refund",
            "refundAuthorizerSignature",
            Value::Null,
            "authorizer_not_configured",
            "refundAuthorizerSignature",
        ),
        (
            "refund",
            "claimAuthorizerSignature",
            Value::Null,
            "authorizer_not_configured",
            "claimAuthorizerSignature",
        ),
        ("refund", "amount", json!("0"), "refund_amount_invalid", "amount"),
        ("refund", "amount", Value::Null, "refund_payload", "amount"),
        ("refund", "refundNonce", json!("-1"), "refund_payload", "refundNonce"),
        ("refund", "refundNonce", Value::Null, "payload_type", "type"),
        ("refund", "voucher.channelId", json!(word), "channel_id_mismatch", "voucher.channelId"),
        ("refund", "claims.0.voucher.channel.salt", json!(word), "refund_payload", "claims"),
        ("settle", "receiver", json!("0x12"), "settle_payload", "receiver"),
        ("settle", "token", Value::Null, "settle_payload", "token"),
        ("settle", "type", json!("sweep"), "payload_type", "type"),
        ("settle", "type", json!("voucher"), "payload_type", "type"),
    ];
    for (name, path, value, code, field) in cases {
        let mut request = asked(name);
        put(&mut request.payment.payload, path, value.clone());
        let refusal = check_request(&request.payment, &request.requirements).unwrap_err();
        let told = (refusal.code.as_str().replace("invalid_batch_settlement_evm_", ""), refusal.field);
        assert_eq!(told, (code.to_owned(), format!("payload.{field}")), "{name} {path} {value}");
    }
}

#[test]
fn a_claim_names_no_channel_twice_and_one_authorizer_only() {
    let mut twice = asked("claim");
    let claims = twice.payment.payload["claims"].as_array_mut().unwrap();
    claims.push(claims[0].clone());
    let refusal = check_request(&twice.payment, &twice.requirements).unwrap_err();
    assert_eq!(refusal.to_string(), "payload.claims: must name no channel twice");

    let mut others = asked("claim");
    let claims = others.payment.payload["claims"].as_array_mut().unwrap();
    claims[1]["voucher"]["channel"]["receiverAuthorizer"] = json!(STRANGER);
    let refusal = check_request(&others.payment, &others.requirements).unwrap_err();
    assert!(refusal.code.as_str().ends_with("authorizer_address_mismatch"), "{refusal}");

    let mut many = asked("claim");
    let claims = many.payment.payload["claims"].as_array_mut().unwrap();
    *claims = vec![claims[0].clone(); MAX_CLAIMS + 1];
    let refusal = check_request(&many.payment, &many.requirements).unwrap_err();
    assert!(refusal.rule.contains("the limit is"), "{refusal}");
}

#[test]
fn claims_are_split_by_authorizer_gas_and_rows() {
    let claim = |salt: u8, authorizer: u8| ClaimEntry {
        config: ChannelConfig {
            payer: Address::repeat_byte(1),
            payer_authorizer: Address::repeat_byte(1),
            receiver: Address::repeat_byte(2),
            receiver_authorizer: Address::repeat_byte(authorizer),
            token: Address::repeat_byte(4),
            withdraw_delay_seconds: 900,
            salt: B256::repeat_byte(salt),
        },
        max_claimable: 1,
        signature: vec![7; 65].into(),
        total_claimed: 1,
    };
    let claims: Vec<ClaimEntry> = (0..10).map(|salt| claim(salt, 3 + salt % 2)).collect();
    let sizes = |max_gas, most| -> Vec<usize> {
        split_claims(claims.clone(), max_gas, most).iter().map(Vec::len).collect()
    };
    assert_eq!(sizes(u64::MAX, 100), [5, 5]);
    assert_eq!(sizes(u64::MAX, 2), [2, 2, 2, 2, 1, 1]);
    assert_eq!(sizes(u64::MAX, 0), [1; 10]);
    let gas = claim_gas(&claims[..3]);
    assert_eq!(sizes(gas, 100), [3, 3, 2, 2]);
    assert_eq!(sizes(1, 100), [1; 10], "what is too dear alone is alone");
    for batch in split_claims(claims.clone(), gas, 100) {
        assert!(
            batch
                .windows(2)
                .all(|two| { two[0].config.receiver_authorizer == two[1].config.receiver_authorizer })
        );
    }
}

#[test]
fn an_offer_has_what_a_channel_needs_or_is_not_made() {
    let terms = Terms {
        network: Network::evm(8453),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
        max_timeout_seconds: 300,
    };
    let price = Price::Money("$0.01".parse().unwrap());
    let seller = BatchSettlement::new(AssetTable::known());
    let offer = seller.offer(&price, &terms).unwrap();
    assert_eq!(
        (&offer.extra["withdrawDelay"], &offer.extra["minDeposit"]),
        (&json!(86_400), &json!("100000"))
    );
    assert!(offer.extra_str("receiverAuthorizer").is_none(), "the facilitator says");
    let kind = |extra: Value| SupportedKind {
        version: X402Version::V2,
        scheme: SchemeName::BATCH_SETTLEMENT,
        network: Network::evm(8453),
        extra: extra.as_object().unwrap().clone(),
    };
    for nobody in
        [json!({}), json!({ "receiverAuthorizer": Address::ZERO }), json!({ "receiverAuthorizer": 7 })]
    {
        assert!(seller.enhance(offer.clone(), &kind(nobody)).is_err());
    }
    let whole = seller.enhance(offer.clone(), &kind(json!({ "receiverAuthorizer": STRANGER }))).unwrap();
    let checksummed = STRANGER.parse::<Address>().unwrap().to_checksum(None);
    assert_eq!(whole.extra_str("receiverAuthorizer"), Some(checksummed.as_str()));
    for seconds in [899, 2_592_001] {
        assert!(seller.clone().with_withdraw_delay_seconds(seconds).offer(&price, &terms).is_err());
    }
    assert!(seller.clone().with_receiver_authorizer(Address::ZERO).offer(&price, &terms).is_err());
    let more = seller.with_min_deposit_times(100).offer(&price, &terms).unwrap();
    assert_eq!(more.extra["minDeposit"], "1000000");
}

#[test]
fn what_a_seller_tells_its_buyer_is_read_back_as_it_was_told() {
    let seller = BatchSettlement::new(AssetTable::known());
    let offer = paid("voucher").requirements;
    let key = ChannelKey::new(format!("eip155:8453/0x{}", "6f".repeat(32)));
    let backing = seller
        .backing(json!({
            "balance": "100", "totalClaimed": "7", "withdrawRequestedAt": 1_750_000_000u64, "refundNonce": "3",
        }).as_object().unwrap())
        .unwrap();
    let snapshot = ChannelSnapshot {
        channel: key.clone(),
        charged: Amount::from(9),
        backing,
        signed: Amount::from(10),
        proof: "0x1234".to_owned(),
    };
    let corrected =
        super::told::read(&offer.network, &seller.corrected(&offer, &snapshot).extra).unwrap().unwrap();
    assert_eq!((corrected.channel.as_ref(), corrected.total), (Some(&key), Some(Amount::from(9))));
    assert_eq!(corrected.backing, Some(backing));
    assert_eq!(corrected.proof, Some((Amount::from(10), "0x1234".to_owned())));
    assert_eq!(super::told::strip(&seller.corrected(&offer, &snapshot)), offer);

    let receipt = seller.receipt(&offer, "0xPayer", &snapshot, Some(Amount::from(2)), None);
    assert_eq!((receipt.transaction.as_str(), receipt.amount.as_deref()), ("", Some("")));
    let told = super::told::read(&offer.network, &receipt.extra).unwrap().unwrap();
    assert_eq!((told.charged, told.total, told.proof), (Some(Amount::from(2)), Some(Amount::from(9)), None));
    let settled = SettleResponse {
        amount: Some("100".to_owned()),
        ..SettleResponse::settled(offer.network.clone(), "0xpayer", "0xabcd")
    };
    let opened = seller.receipt(&offer, "0xPayer", &snapshot, Some(Amount::from(2)), Some(&settled));
    assert_eq!((opened.transaction.as_str(), opened.amount.as_deref()), ("0xabcd", Some("100")));
    assert_eq!(opened.payer.as_deref(), Some("0xPayer"));

    for broken in [
        json!(7),
        json!({ "balance": "1" }),
        json!({ "balance": 1.5, "totalClaimed": "0", "refundNonce": "0" }),
    ] {
        let extra = json!({ "channelState": broken });
        assert!(super::told::read(&offer.network, extra.as_object().unwrap()).is_err(), "{broken}");
    }
    let ChannelCodes { mismatch, busy, .. } = seller.codes();
    assert!(mismatch.is_known() && busy.is_known());
}

#[test]
fn every_payload_is_written_as_it_was_read() {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let payments = all["payments"].as_array().unwrap().iter().map(|one| &one["payload"]);
    let refunds = all["refunds"].as_array().unwrap().iter().map(|one| &one["payload"]);
    let requests = all["requests"].as_array().unwrap();
    let requests = requests.iter().map(|one| &one["request"]["paymentPayload"]["payload"]);
    for payload in payments.chain(refunds).chain(requests) {
        let read = BatchPayload::decode(payload.as_object().unwrap()).unwrap();
        assert_eq!(&Value::Object(read.encode()), payload);
    }
}
