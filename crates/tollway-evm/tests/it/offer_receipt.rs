//! The extension `offer-receipt`: golden vectors of the published package, mutations of all of them, and our own.

use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};
use tollway_core::{Amount, Fingerprint, JsonObject, Network, UnixTime};
use tollway_evm::offer_receipt::{
    Binding, Facts, Issuer, JwsSigner, Keys, LocalJwsSigner, NAME, OfferTerms, ReceiptTerms, SignedOffer,
    SignedReceipt, Standing, declare_offers, offers_in, receipt_in,
};
use tollway_evm::{LocalSigner, Signer};

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SEED: &str = "4d5b5f5c9d2a1f0e8c7b6a594837261504f3e2d1c0bfae9d8c7b6a5948372615";
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn object(value: Value) -> JsonObject {
    value.as_object().unwrap().clone()
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../vectors/offer_receipt.json")).unwrap()
}

/// What a verifier that knows payTo and `keys` says of an artifact of `kind`.
fn verdict(kind: &str, signed: Value, keys: &Keys) -> Result<Standing, String> {
    let checked = match kind {
        "offer" => SignedOffer::read(object(signed)).and_then(|offer| offer.check(keys)),
        _ => SignedReceipt::read(object(signed)).and_then(|receipt| receipt.check(Some(&payee()), keys)),
    };
    checked.map_err(|error| error.to_string())
}

fn payee() -> String {
    LocalSigner::from_hex(KEY).unwrap().address().to_string()
}

fn issuers() -> [Issuer; 3] {
    [
        Issuer::eip712(Arc::new(LocalSigner::from_hex(KEY).unwrap())),
        Issuer::jws(Arc::new(LocalJwsSigner::es256k(KEY).unwrap())),
        Issuer::jws(Arc::new(LocalJwsSigner::ed25519(SEED).unwrap())),
    ]
}

fn offer() -> OfferTerms {
    OfferTerms {
        resource_url: "https://api.example.com/data".to_owned(),
        scheme: "exact".to_owned(),
        network: Network::evm(8453),
        asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
        pay_to: payee(),
        amount: Amount::from(10_000u64),
        valid_until: Some(UnixTime(1_750_000_600)),
    }
}

fn receipt() -> ReceiptTerms {
    ReceiptTerms {
        network: Network::evm(8453),
        resource_url: "https://api.example.com/data".to_owned(),
        payer: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".to_owned(),
        issued_at: UnixTime(1_750_000_000),
        transaction: Some(format!("0x{}", "ab".repeat(32))),
        binding: Some(Binding {
            asset: offer().asset,
            pay_to: payee(),
            amount: Amount::from(10_000u64),
            log_index: Some(3),
            request: Fingerprint::from_bytes([7; 32]),
        }),
    }
}

/// A future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn signed_offer(issuer: &Issuer) -> Value {
    now(issuer.sign_offer(&offer(), 0)).unwrap().unwrap().into()
}

fn signed_receipt(issuer: &Issuer) -> Value {
    now(issuer.sign_receipt(&receipt())).unwrap().unwrap().into()
}

#[test]
fn what_the_published_package_signs_is_read_and_checked() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 21);
    for vector in vectors {
        let (kind, expected) = (vector["kind"].as_str().unwrap(), vector["standing"].as_str().unwrap());
        let standing = verdict(kind, vector["signed"].clone(), &Keys::default()).unwrap();
        let said = match standing {
            Standing::PayTo => "payTo",
            Standing::Trusted => "trusted",
            Standing::Stranger(_) => "stranger",
            Standing::Unchecked(_) => "unchecked",
        };
        assert_eq!(said, expected, "{}", vector["name"]);
        if let Some(jwk) = vector.get("jwk") {
            let keys = Keys::default().read(jwk.to_string().as_bytes()).unwrap();
            assert_eq!(verdict(kind, vector["signed"].clone(), &keys), Ok(Standing::Trusted));
        }
    }
}

#[test]
fn an_account_that_is_known_to_be_the_sellers_is_trusted() {
    let stranger = vectors().into_iter().find(|vector| vector["name"] == "offer-eip712-stranger").unwrap();
    let account = LocalSigner::from_hex(SEED).unwrap().address();
    let said = verdict("offer", stranger["signed"].clone(), &Keys::default().account(account));
    assert_eq!(said, Ok(Standing::Trusted));
}

#[test]
fn a_key_of_another_domain_does_not_speak_for_this_one() {
    let kid = "did:web:elsewhere.example#key-1";
    let signer = LocalJwsSigner::ed25519(SEED).unwrap();
    let own = signer.kid().to_owned();
    let multibase = own.split('#').nth(1).unwrap();
    let document = json!({ "id": "did:web:elsewhere.example", "verificationMethod": [
        { "id": kid, "type": "Multikey", "publicKeyMultibase": multibase },
    ]});
    let keys = Keys::default().read(document.to_string().as_bytes()).unwrap();
    let signed = signed_offer(&Issuer::jws(Arc::new(signer.named(kid))));
    assert_eq!(verdict("offer", signed, &keys), Ok(Standing::Stranger(kid.to_owned())));
    let home = LocalJwsSigner::ed25519(SEED).unwrap().named("did:web:api.example.com#key-1");
    let document = json!({ "verificationMethod": [
        { "id": "did:web:api.example.com#key-1", "publicKeyMultibase": multibase },
    ]});
    let keys = Keys::default().read(document.to_string().as_bytes()).unwrap();
    let signed = signed_offer(&Issuer::jws(Arc::new(home)));
    assert_eq!(verdict("offer", signed, &keys), Ok(Standing::Trusted));
}

#[test]
fn es256k_by_the_account_of_pay_to_needs_no_key_at_hand() {
    let kid = format!("did:pkh:eip155:1:{}", payee());
    let issuer = Issuer::jws(Arc::new(LocalJwsSigner::es256k(KEY).unwrap().named(&kid)));
    assert_eq!(verdict("offer", signed_offer(&issuer), &Keys::default()), Ok(Standing::PayTo));
    let other = Issuer::jws(Arc::new(LocalJwsSigner::es256k(SEED).unwrap().named(&kid)));
    let error = verdict("offer", signed_offer(&other), &Keys::default()).unwrap_err();
    assert!(error.starts_with("offer.signature: must be by the account"), "{error}");
}

#[test]
fn no_changed_field_of_a_published_artifact_is_the_sellers() {
    let mut changed = 0;
    for vector in vectors().into_iter().filter(|vector| vector["signed"]["format"] == "eip712") {
        let kind = vector["kind"].as_str().unwrap();
        for (name, value) in vector["signed"]["payload"].as_object().unwrap() {
            let mut signed = vector["signed"].clone();
            signed["payload"][name] = match value {
                Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                Value::String(text) if name == "network" => text.replace("8453", "84532").into(),
                Value::String(text) if text.is_empty() => format!("0x{}", "cd".repeat(32)).into(),
                Value::String(text) => text
                    .replace('1', "2")
                    .replace('b', "c")
                    .replace("exact", "upto")
                    .replace("data", "date")
                    .into(),
                other => panic!("{other}"),
            };
            assert_ne!(signed, vector["signed"], "{name}");
            let said = verdict(kind, signed, &Keys::default());
            assert!(!said.as_ref().is_ok_and(Standing::is_sellers), "{} {name}: {said:?}", vector["name"]);
            changed += 1;
        }
    }
    assert_eq!(changed, 2 * (8 + 6 + 6));
}

#[test]
fn each_field_that_is_wrong_is_refused_by_its_name() {
    let base = signed_offer(&issuers()[0]);
    let cases = [
        ("/format", json!("cose"), "offer.format: must be eip712 or jws"),
        ("/payload", Value::Null, "offer.payload: is required"),
        ("/payload/version", json!(2), "offer.payload.version: must be 1, not 2"),
        ("/payload/version", json!("1"), "offer.payload.version: "),
        ("/payload/resourceUrl", json!("not a url"), "offer.payload.resourceUrl: must be a URL"),
        (
            "/payload/resourceUrl",
            json!(format!("https://a.example/{}", "x".repeat(5000))),
            "offer.payload.resourceUrl: must be at most",
        ),
        ("/payload/scheme", json!(""), "offer.payload.scheme: must not be empty"),
        ("/payload/network", json!("base"), "offer.payload.network: "),
        ("/payload/network", json!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"), "offer.payload.payTo: "),
        ("/payload/asset", json!("a".repeat(257)), "offer.payload.asset: must be at most 256"),
        ("/payload/payTo", json!("0x12"), "offer.payload.payTo: "),
        ("/payload/amount", json!(10000), "offer.payload.amount: must be a string"),
        ("/payload/amount", json!("010000"), "offer.payload.amount: "),
        ("/payload/amount", json!("-1"), "offer.payload.amount: "),
        ("/payload/validUntil", json!(-1), "offer.payload.validUntil: must be a whole number"),
        ("/payload/validUntil", json!(1.5), "offer.payload.validUntil: must be a whole number"),
        ("/signature", json!("0x12"), "offer.signature: must be 0x and 130 hex digits"),
        ("/signature", json!(format!("0x{}", "00".repeat(65))), "offer.signature: is not a valid"),
        ("/signature", json!(format!("0x{}", "7f".repeat(65))), "offer.signature: must end in v"),
    ];
    for (pointer, value, expected) in cases {
        let mut signed = base.clone();
        *signed.pointer_mut(pointer).unwrap() = value;
        let error = verdict("offer", signed, &Keys::default()).unwrap_err();
        assert!(error.starts_with(expected), "{pointer}: {error}");
    }
}

#[test]
fn each_field_of_a_receipt_that_is_wrong_is_refused_by_its_name() {
    let base = signed_receipt(&issuers()[0]);
    let cases = [
        ("/payload/payer", json!(""), "receipt.payload.payer: must not be empty"),
        ("/payload/issuedAt", json!("now"), "receipt.payload.issuedAt: "),
        ("/payload/transaction", json!("0x12"), "receipt.payload.transaction: must be 0x and 64"),
        ("/payload/network", json!("stellar:pubnet"), "receipt.payload.network: must be an EVM network"),
        ("/binding/request", json!("0x12"), "receipt.binding.request: must be 0x and 64"),
        ("/binding/request", Value::Null, "receipt.binding.request: is required beside bindingSignature"),
        ("/binding/logIndex", json!("3"), "receipt.binding.logIndex: must be a whole number"),
        ("/bindingSignature", json!("0x"), "receipt.bindingSignature: must be 0x and 130"),
        (
            "/binding/asset",
            json!("0x2222222222222222222222222222222222222222"),
            "receipt.bindingSignature: must be by",
        ),
        (
            "/binding/payTo",
            json!("0x2222222222222222222222222222222222222222"),
            "receipt.bindingSignature: must be by",
        ),
        ("/binding/amount", json!("9999"), "receipt.bindingSignature: must be by"),
        ("/binding/logIndex", json!(4), "receipt.bindingSignature: must be by"),
        ("/binding/request", json!(format!("0x{}", "08".repeat(32))), "receipt.bindingSignature: must be by"),
        (
            "/payload/payer",
            json!("0x2222222222222222222222222222222222222222"),
            "receipt.bindingSignature: must be by",
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut signed = base.clone();
        *signed.pointer_mut(pointer).unwrap() = value;
        let error = verdict("receipt", signed, &Keys::default()).unwrap_err();
        assert!(error.starts_with(expected), "{pointer}: {error}");
    }
}

#[test]
fn what_is_not_signed_beside_the_standard_is_not_believed() {
    let mut stripped = object(signed_receipt(&issuers()[0]));
    stripped.shift_remove("bindingSignature");
    stripped["binding"]["amount"] = json!("1");
    let read = SignedReceipt::read(stripped).unwrap();
    assert_eq!(
        read.terms().binding,
        None,
        "fields that the standard's type does not cover say nothing alone"
    );
    assert_eq!(read.check(Some(&payee()), &Keys::default()), Ok(Standing::PayTo));
    assert!(read.check(None, &Keys::default()).is_ok_and(|standing| !standing.is_sellers()));
}

#[test]
fn a_malleable_twin_of_typed_data_is_refused() {
    let mut signed = signed_offer(&issuers()[0]);
    let text = signed["signature"].as_str().unwrap().to_owned();
    let order = tollway_evm::U256::from_str_radix(ORDER, 16).unwrap();
    let s = order - tollway_evm::U256::from_str_radix(&text[66..130], 16).unwrap();
    let v = if text.ends_with("1b") { "1c" } else { "1b" };
    signed["signature"] = format!("{}{s:064x}{v}", &text[..66]).into();
    let error = verdict("offer", signed, &Keys::default()).unwrap_err();
    assert!(error.starts_with("offer.signature: must have s in the lower half"), "{error}");
}

#[test]
fn a_jws_says_how_it_is_signed_and_says_it_once() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let text = signed_offer(&issuers()[2])["signature"].as_str().unwrap().to_owned();
    let parts: Vec<&str> = text.split('.').collect();
    let kid = LocalJwsSigner::ed25519(SEED).unwrap().kid().to_owned();
    let with_header = |header: Value| json!({ "format": "jws", "signature": format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1], parts[2]) });
    let cases = [
        (with_header(json!({ "alg": "none", "kid": kid })), "offer.signature.header.alg: must be ES256K"),
        (with_header(json!({ "alg": "HS256", "kid": kid })), "offer.signature.header.alg: "),
        (with_header(json!({ "alg": "EdDSA" })), "offer.signature.header.kid: is required"),
        (
            with_header(json!({ "alg": "EdDSA", "kid": kid, "crit": ["b64"], "b64": false })),
            "offer.signature.header.crit: ",
        ),
        (with_header(json!({ "alg": "ES256K", "kid": kid })), "offer.signature: must be by the key"),
        (
            with_header(json!({ "alg": "EdDSA", "kid": "did:key:zzzz" })),
            "offer.signature.header.kid: must be a did:key",
        ),
        (
            with_header(json!({ "alg": "EdDSA", "kid": "x".repeat(1025) })),
            "offer.signature.header.kid: must be at most",
        ),
        (
            json!({ "format": "jws", "signature": format!("{}.{}", parts[0], parts[1]) }),
            "offer.signature: must be a compact JWS",
        ),
        (
            json!({ "format": "jws", "signature": format!("{text}.x") }),
            "offer.signature: must be a compact JWS",
        ),
        (
            json!({ "format": "jws", "signature": format!("{}=.{}.{}", parts[0], parts[1], parts[2]) }),
            "offer.signature: must have a header",
        ),
        (
            json!({ "format": "jws", "signature": "x".repeat(12_289) }),
            "offer.signature: must be at most 12288",
        ),
        (json!({ "format": "jws", "signature": text, "payload": {} }), "offer.payload: must be left out"),
        (
            json!({ "format": "jws", "signature": format!("{}.{}.{}", parts[0], parts[1], &parts[2][..84]) }),
            "offer.signature: must have a signature of 64 bytes",
        ),
    ];
    for (signed, expected) in cases {
        let error = verdict("offer", signed, &Keys::default()).unwrap_err();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

#[test]
fn a_402_holds_at_most_64_signed_offers_and_one_that_is_broken_is_named() {
    let offer = object(signed_offer(&issuers()[0]));
    let declared =
        |offers: Vec<JsonObject>| JsonObject::from_iter([(NAME.to_owned(), declare_offers(offers).into())]);
    assert_eq!(offers_in(&declared(vec![offer.clone(); 64])).unwrap().len(), 64);
    let error = offers_in(&declared(vec![offer.clone(); 65])).unwrap_err();
    assert_eq!(error.field, "extensions.offer-receipt.info.offers");
    let mut broken = offer.clone();
    broken.insert("signature".to_owned(), json!(7));
    let error = offers_in(&declared(vec![offer, broken])).unwrap_err();
    assert_eq!(error.field, "extensions.offer-receipt.info.offers[1].signature");
    let odd = object(json!({ NAME: { "info": { "receipt": [] } } }));
    assert_eq!(receipt_in(&odd).unwrap_err().field, "extensions.offer-receipt.info.receipt");
}

#[test]
fn a_receipt_that_contradicts_what_is_known_says_in_which_field() {
    let (receipt, network, request) = (receipt(), Network::evm(1), Fingerprint::from_bytes([8; 32]));
    let other = Facts {
        resource_url: Some("https://api.example.com/other"),
        network: Some(&network),
        payer: Some("0x1"),
        asset: Some("0x2"),
        pay_to: Some("0x3"),
        amount: Some(Amount::from(1u64)),
        transaction: Some("0x4"),
        request: Some(request),
    };
    let fields: Vec<String> = receipt.contradictions(&other).into_iter().map(|error| error.field).collect();
    let expected = ["resourceUrl", "network", "payer", "transaction", "asset", "payTo", "amount", "request"];
    assert_eq!(fields, expected.map(|field| format!("receipt.{field}")));
    let same = Facts {
        resource_url: Some("https://API.example.com:443/data"),
        network: Some(&receipt.network),
        payer: Some(&receipt.payer.to_lowercase()),
        amount: Some(Amount::from(10_000u64)),
        request: Some(Fingerprint::from_bytes([7; 32])),
        ..Facts::default()
    };
    assert_eq!(receipt.contradictions(&same), []);
}

#[test]
fn typed_data_is_for_evm_networks_and_jws_for_all() {
    let mut elsewhere = offer();
    elsewhere.network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap();
    elsewhere.pay_to = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4".to_owned();
    let [typed, es256k, _] = issuers();
    assert_eq!(now(typed.sign_offer(&elsewhere, 0)).unwrap(), None);
    let signed = now(es256k.sign_offer(&elsewhere, 0)).unwrap().unwrap();
    assert_eq!(SignedOffer::read(signed).unwrap().terms(), &elsewhere);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned()), "[ -~äé☃\"\\\\]{1,60}"]
}

proptest! {
    #[test]
    fn whatever_we_sign_is_read_as_it_was_signed(
        (path, scheme, asset) in ("[a-z0-9/?=&%]{0,40}", "[a-z-]{1,20}", texts()),
        (chain, amount, until) in (any::<u64>(), any::<u128>(), proptest::option::of(1..=u64::MAX)),
    ) {
        let terms = OfferTerms {
            resource_url: format!("https://api.example.com/{path}"),
            scheme,
            network: Network::evm(chain),
            asset,
            pay_to: payee(),
            amount: amount.to_string().parse().unwrap(),
            valid_until: until.map(UnixTime),
        };
        for (at, issuer) in issuers().iter().enumerate() {
            let signed = SignedOffer::read(now(issuer.sign_offer(&terms, at)).unwrap().unwrap()).unwrap();
            prop_assert_eq!(signed.terms(), &terms);
            prop_assert_eq!(signed.check(&Keys::default()).unwrap().is_sellers(), at < 2);
        }
    }

    #[test]
    fn no_changed_character_of_a_signed_receipt_is_the_sellers(which in 0usize..3, at in any::<proptest::sample::Index>(), to in 33u8..127) {
        let signed = signed_receipt(&issuers()[which]).to_string();
        let mut bytes = signed.clone().into_bytes();
        let at = at.index(bytes.len());
        if bytes[at].eq_ignore_ascii_case(&to) {
            return Ok(());
        }
        bytes[at] = to;
        let Ok(object) = tollway_core::wire::parse_object(&bytes, "receipt") else { return Ok(()) };
        let Ok(read) = SignedReceipt::read(object) else { return Ok(()) };
        let said = read.check(Some(&payee()), &Keys::default());
        // The standard's part of a receipt whose binding was taken off is still the seller's; it binds no more.
        let is_less = read.terms().binding.is_none();
        prop_assert!(is_less || !said.as_ref().is_ok_and(Standing::is_sellers), "{at}: {said:?}\n{signed}");
    }

    #[test]
    fn no_text_panics(format in "eip712|jws|[ -~]{0,6}", signature in "[ -~]{0,300}|0x[0-9a-f]{130}|[A-Za-z0-9_.-]{0,300}", json in "[ -~]{0,80}") {
        let signed = object(json!({ "format": format, "signature": signature, "payload": { "version": 1, "network": json } }));
        let _ = SignedOffer::read(signed.clone());
        let _ = SignedReceipt::read(signed);
        let _ = Keys::default().read(json.as_bytes());
    }
}
