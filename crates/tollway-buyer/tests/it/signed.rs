//! Signed offers and receipts: a wrong signature is never paid for, and a wrong receipt is told of.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use tollway_buyer::{Paid, Policy, paid};
use tollway_core::model::{PaymentRequired, PaymentRequirements, SettleResponse};
use tollway_core::{Clock, Fingerprint, JsonObject, SystemClock, UnixTime, wire};
use tollway_evm::offer_receipt::{
    Binding, Issuer, LocalJwsSigner, NAME, OfferTerms, ReceiptTerms, Standing, declare_offers,
    declare_receipt,
};
use tollway_evm::{LocalSigner, Signer};

use crate::purse::Purse;
use crate::shop::{Seen, Shop, challenge, sell, usdc};

const SELLER: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const TRANSACTION: &str = "0xabababababababababababababababababababababababababababababababab";

fn seller() -> LocalSigner {
    LocalSigner::from_hex(SELLER).unwrap()
}

fn issuer() -> Issuer {
    Issuer::eip712(Arc::new(seller()))
}

/// An offer that is paid to the seller's own account.
fn own(amount: u64) -> PaymentRequirements {
    PaymentRequirements { pay_to: seller().address().to_string(), ..usdc(amount) }
}

/// A future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a local signer answers at once"),
    }
}

fn soon() -> Option<UnixTime> {
    Some(SystemClock.now().plus_seconds(60))
}

fn sign(issuer: &Issuer, terms: &OfferTerms) -> JsonObject {
    now(issuer.sign_offer(terms, 0)).unwrap().unwrap()
}

fn declare(bill: &mut PaymentRequired, offers: Vec<JsonObject>) {
    bill.extensions.insert(NAME.to_owned(), declare_offers(offers).into());
}

/// A shop whose 402 is what `bill` makes of an honest one for a signed cent.
async fn shop(bill: impl Fn(&mut PaymentRequired, &OfferTerms) + Send + Sync + 'static) -> Shop {
    Shop::open(move |seen| {
        let mut required = seen.bill(vec![own(10_000)]);
        let url = required.resource.as_ref().unwrap().url.clone();
        let terms = OfferTerms::of(&required.accepts[0], &url, soon());
        bill(&mut required, &terms);
        Some(sell(seen, || challenge(&required)))
    })
    .await
}

async fn refusal(bill: impl Fn(&mut PaymentRequired, &OfferTerms) + Send + Sync + 'static) -> String {
    let shop = shop(bill).await;
    let error = Purse::default().refusal(&shop.url("/data")).await;
    assert!(shop.payments().is_empty());
    error
}

#[tokio::test]
async fn an_offer_that_the_payee_has_signed_is_paid_and_its_signature_kept() {
    let shop = shop(|bill, terms| declare(bill, vec![sign(&issuer(), terms)])).await;
    let purse = Purse::new(Policy::default().require_signed_offers());
    let response = purse.get(&shop.url("/data")).await.unwrap();
    let signed = paid(&response).unwrap().signed_offer.clone().unwrap();
    assert_eq!((signed.standing, signed.signed.terms().amount), (Standing::PayTo, usdc(10_000).amount));
    let payment = shop.seen().iter().find(|seen| seen.payment().is_some()).unwrap().decoded();
    assert_eq!(payment.extensions[NAME]["info"]["offers"].as_array().unwrap().len(), 1, "it is echoed whole");
}

#[tokio::test]
async fn whose_key_cannot_be_told_is_paid_unless_the_policy_requires_it() {
    let stranger = || Issuer::eip712(Arc::new(LocalSigner::random().unwrap()));
    let elsewhere = || {
        let signer = LocalJwsSigner::ed25519(&SELLER[2..]).unwrap().named("did:web:127.0.0.1#key-1");
        Issuer::jws(Arc::new(signer))
    };
    for (issuer, expected) in [(stranger(), "stranger"), (elsewhere(), "unchecked")] {
        let shop = shop(move |bill, terms| declare(bill, vec![sign(&issuer, terms)])).await;
        let response = Purse::default().get(&shop.url("/data")).await.unwrap();
        let standing = paid(&response).unwrap().signed_offer.clone().unwrap().standing;
        let said = match standing {
            Standing::Stranger(_) => "stranger",
            Standing::Unchecked(_) => "unchecked",
            other => panic!("{other}"),
        };
        assert_eq!(said, expected);
        let careful = Purse::new(Policy::default().require_signed_offers());
        let error = careful.refusal(&shop.url("/data")).await;
        assert!(error.contains("not signed by a key that is known"), "{error}");
    }
}

#[tokio::test]
async fn an_offer_that_is_over_is_not_paid() {
    let error = refusal(|bill, terms| {
        let over = OfferTerms { valid_until: Some(UnixTime(SystemClock.now().0 - 1)), ..terms.clone() };
        declare(bill, vec![sign(&issuer(), &over)]);
    })
    .await;
    assert!(error.contains("offer.validUntil: must not be over"), "{error}");
}

#[tokio::test]
async fn an_offer_signed_for_another_resource_is_not_paid() {
    for (url, rule) in [
        ("https://elsewhere.example/data", "must be of the seller that was asked"),
        ("/other", "must be the resource that the 402 is for"),
    ] {
        let error = refusal(move |bill, terms| {
            let home = terms.resource_url.trim_end_matches("/data");
            let resource_url = if url.starts_with('/') { format!("{home}{url}") } else { url.to_owned() };
            declare(bill, vec![sign(&issuer(), &OfferTerms { resource_url, ..terms.clone() })]);
        })
        .await;
        assert!(error.contains(&format!("offer.resourceUrl: {rule}")), "{error}");
    }
}

#[tokio::test]
async fn terms_that_were_changed_after_they_were_signed_are_not_paid() {
    for (field, pay_to, amount) in
        [("payTo", Some("0x2222222222222222222222222222222222222222"), None), ("amount", None, Some(20_000))]
    {
        let error = refusal(move |bill, terms| {
            declare(bill, vec![sign(&issuer(), terms)]);
            let offer = &mut bill.accepts[0];
            offer.pay_to = pay_to.map_or_else(|| offer.pay_to.clone(), str::to_owned);
            offer.amount = amount.map_or(offer.amount, |amount: u64| amount.into());
        })
        .await;
        assert!(error.contains(&format!("offer.{field}: must be what the seller has signed")), "{error}");
    }
}

#[tokio::test]
async fn a_signature_that_is_there_and_wrong_is_not_paid() {
    let jws = Issuer::jws(Arc::new(LocalJwsSigner::es256k(SELLER).unwrap()));
    let error = refusal(move |bill, terms| {
        let other = sign(&jws, &OfferTerms { amount: 1u64.into(), ..terms.clone() });
        let mut signed = sign(&jws, terms);
        let (body, _) = signed["signature"].as_str().unwrap().rsplit_once('.').unwrap();
        let (_, signature) = other["signature"].as_str().unwrap().rsplit_once('.').unwrap();
        signed["signature"] = format!("{body}.{signature}").into();
        declare(bill, vec![signed]);
    })
    .await;
    assert!(error.contains("offer.signature: must be by the key that it names"), "{error}");
    let error = refusal(|bill, terms| {
        let mut signed = sign(&issuer(), terms);
        signed["signature"] = format!("0x{}", "00".repeat(65)).into();
        declare(bill, vec![signed]);
    })
    .await;
    assert!(error.contains("offer.signature: is not a valid secp256k1 signature"), "{error}");
}

/// The goods with a receipt that is what `change` makes of an honest one.
fn goods(seen: &Seen, change: impl Fn(&mut ReceiptTerms)) -> Response {
    let payment = seen.decoded();
    let payer = payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
    let url = format!("http://{}{}", seen.shop, seen.path);
    let offer = own(10_000);
    let mut terms = ReceiptTerms {
        network: offer.network.clone(),
        resource_url: url.clone(),
        payer: payer.clone(),
        issued_at: SystemClock.now(),
        transaction: Some(TRANSACTION.to_owned()),
        binding: Some(Binding {
            asset: offer.asset.clone(),
            pay_to: offer.pay_to.clone(),
            amount: offer.amount,
            log_index: Some(0),
            request: Fingerprint::of("GET", &url.parse().unwrap(), b""),
        }),
    };
    change(&mut terms);
    let receipt = now(issuer().sign_receipt(&terms)).unwrap().unwrap();
    let mut settled = SettleResponse::settled(offer.network, payer, TRANSACTION);
    settled.extensions.insert(NAME.to_owned(), declare_receipt(receipt).into());
    let (name, value) = wire::encode_settlement_header(&settled, payment.version);
    Response::builder().header(name, value).body(Body::from("goods")).unwrap()
}

async fn bought(change: impl Fn(&mut ReceiptTerms) + Send + Sync + 'static) -> Paid {
    let shop = Shop::open(move |seen| {
        let bill = seen.bill(vec![own(10_000)]);
        Some(if seen.payment().is_some() { goods(seen, &change) } else { challenge(&bill) })
    })
    .await;
    let response = Purse::default().get(&shop.url("/data")).await.unwrap();
    paid(&response).unwrap().clone()
}

#[tokio::test]
async fn a_receipt_that_fits_is_kept_with_whose_signature_it_is() {
    let paid = bought(|_| {}).await;
    assert_eq!(paid.suspicious, None);
    let receipt = paid.receipt.unwrap();
    assert_eq!(receipt.standing, Standing::PayTo);
    assert_eq!(receipt.signed.terms().transaction.as_deref(), Some(TRANSACTION));
}

#[tokio::test]
async fn a_receipt_for_something_else_is_told_of_and_not_kept() {
    type Change = fn(&mut ReceiptTerms);
    fn binding(terms: &mut ReceiptTerms) -> &mut Binding {
        terms.binding.as_mut().unwrap()
    }
    let changes: [(&str, Change); 9] = [
        ("network", |terms| terms.network = tollway_core::Network::evm(1)),
        ("resourceUrl", |terms| terms.resource_url.push_str("/other")),
        ("payer", |terms| terms.payer = "0x2222222222222222222222222222222222222222".to_owned()),
        ("issuedAt", |terms| terms.issued_at.0 -= 4_000),
        ("transaction", |terms| terms.transaction = Some(TRANSACTION.replace('a', "c"))),
        ("asset", |terms| binding(terms).asset = "0x2222222222222222222222222222222222222222".to_owned()),
        ("payTo", |terms| binding(terms).pay_to = "0x2222222222222222222222222222222222222222".to_owned()),
        ("amount", |terms| binding(terms).amount = 9_999u64.into()),
        ("request", |terms| binding(terms).request = Fingerprint::from_bytes([1; 32])),
    ];
    for (field, change) in changes {
        let paid = bought(change).await;
        let suspicious = paid.suspicious.unwrap();
        assert!(suspicious.contains(&format!("receipt.{field}: must be")), "{field}: {suspicious}");
        assert_eq!(paid.receipt, None);
    }
}
