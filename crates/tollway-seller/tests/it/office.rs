//! A shop that sells on credit, its accounts, and agents who sign their requests.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tollway_core::http_signature::{MessageSigner, SignedRequest, content_digest};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired};
use tollway_core::{CreditCommitment, JsonObject, ManualClock, SchemeName, UnixTime};
use tollway_ledger::Ledger;
use tollway_seller::{Accounts, CreditBook, CreditSeller, Paywall, PaywallBuilder};

use crate::doubles::Signed;
use crate::stall::{Answer, FaultyLedger, Handler, Stall, URL, content, faulty};

/// Noon of a day.
pub(crate) const NOON: UnixTime = UnixTime(1_767_268_800);
pub(crate) const DAY: u64 = 86_400;
pub(crate) const COVERED: [&str; 5] = ["@method", "@authority", "@path", "@query", "payment-signature"];

/// Accounts, their books, and the clock that they go by.
pub(crate) struct Office {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ledger: Arc<FaultyLedger>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) book: CreditBook,
}

/// Who signs.
pub(crate) fn acme() -> MessageSigner {
    MessageSigner::from_seed(&[7; 32])
}

pub(crate) fn globex() -> MessageSigner {
    MessageSigner::from_seed(&[8; 32])
}

fn x(signer: &MessageSigner) -> String {
    signer.public_key().to_jwk()["x"].as_str().unwrap().to_owned()
}

/// Two accounts with a line of five cents, whose price is a cent a request.
pub(crate) fn accounts() -> Accounts {
    let text = format!(
        r#"
        registration_url = "https://api.example.com/accounts"
        [creditor]
        name = "Example Shop Ltd"
        iban = "GB29NWBK60161331926819"
        bic = "NWBKGB2L"
        creditor_id = "GB98ZZZ09999999999"
        [[account]]
        id = "acme"
        limit = "$0.05"
        max_age_days = 30
        bill_every_days = 7
        keys = ["{}"]
        [account.bank]
        name = "Acme GmbH"
        iban = "DE89370400440532013000"
        mandate = {{ id = "M-1", signed_on = "2025-12-01" }}
        [[account]]
        id = "globex"
        limit = "$0.05"
        keys = ["{}"]
        [[account]]
        id = "initech"
        limit = "$1"
        agent = "https://localhost"
        [[account]]
        id = "hooli"
        limit = "$1"
        suspended = true
        keys = ["{}"]
        "#,
        x(&acme()),
        x(&globex()),
        x(&MessageSigner::from_seed(&[9; 32]))
    );
    Accounts::parse(&text).unwrap()
}

impl Office {
    pub(crate) fn open() -> Self {
        let (ledger, _) = faulty();
        let (clock, accounts) = (Arc::new(ManualClock::new(NOON)), Arc::new(accounts()));
        let book = CreditBook::new(Arc::clone(&accounts), ledger.clone(), clock.clone());
        Self { clock, ledger, accounts, book }
    }

    pub(crate) fn builder(&self) -> PaywallBuilder {
        Paywall::builder("https://api.example.com")
            .accept_by(SchemeName::BATCH_SETTLEMENT, "tollway:credit", "example-shop")
            .scheme(CreditSeller::new(Arc::clone(&self.accounts)))
            .facilitator(self.book.clone())
            .ledger(Arc::clone(&self.ledger) as Arc<dyn Ledger>)
            .clock(self.clock.clone())
    }

    pub(crate) async fn stall(&self) -> Stall {
        self.stall_with(content(Duration::ZERO)).await
    }

    pub(crate) async fn stall_with(&self, handler: Handler) -> Stall {
        Stall::with(self.builder(), |priced| priced, handler).await
    }

    pub(crate) fn later(&self, seconds: u64) {
        let now = tollway_core::Clock::now(&*self.clock);
        self.clock.set(now.plus_seconds(seconds));
    }

    pub(crate) fn now(&self) -> UnixTime {
        tollway_core::Clock::now(&*self.clock)
    }

    /// A commitment of `account`'s to what `stall` asks, not signed by anybody.
    pub(crate) fn commit(&self, stall: &Stall, account: &str, nonce: u64) -> Signed {
        commit_to(&stall.required(), account, nonce, self.now().plus_seconds(60))
    }

    /// Buys once, with a commitment of its own.
    pub(crate) async fn buy(
        &self,
        stall: &Stall,
        account: &str,
        signer: &MessageSigner,
        nonce: u64,
    ) -> Answer {
        present(stall, &self.commit(stall, account, nonce), signer, self.now()).await
    }

    /// What an account owes, in atomic units.
    pub(crate) async fn owed(&self, account: &str) -> String {
        self.book.standing(account).await.unwrap().owed().to_string()
    }

    pub(crate) async fn available(&self, account: &str) -> String {
        self.book.standing(account).await.unwrap().available.to_string()
    }
}

pub(crate) fn commit_to(
    required: &PaymentRequired,
    account: &str,
    nonce: u64,
    valid_before: UnixTime,
) -> Signed {
    let offer = required.accepts[0].clone();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    let commitment = CreditCommitment {
        account: account.to_owned(),
        amount: offer.amount,
        asset: offer.asset.clone(),
        nonce: bytes,
        valid_before,
    };
    Signed::of(PaymentPayload {
        version: required.version,
        accepted: Accepted::Offer(Box::new(offer)),
        payload: commitment.encode(),
        resource: required.resource.clone(),
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    })
}

pub(crate) async fn present(stall: &Stall, signed: &Signed, signer: &MessageSigner, at: UnixTime) -> Answer {
    send(stall, signed, (signer, &COVERED, at), (Method::GET, URL, ""), (Method::GET, "/data", "")).await
}

/// Signs one request, and sends another.
pub(crate) async fn send(
    stall: &Stall,
    payment: &Signed,
    (signer, covered, at): (&MessageSigner, &[&str], UnixTime),
    (method, url, body): (Method, &str, &str),
    sent: (Method, &str, &'static str),
) -> Answer {
    let (url, digest) = (url.parse().unwrap(), content_digest(body.as_bytes()));
    let mut headers = vec![(payment.name, payment.value.as_bytes())];
    let has_digest = covered.contains(&"content-digest");
    if has_digest {
        headers.push(("content-digest", digest.as_bytes()));
    }
    let request = SignedRequest { method: method.as_str(), url: &url, headers };
    let signature = signer.sign(&request, covered, at, 300).unwrap();
    let mut headers = vec![(payment.name, payment.value.as_str())];
    if has_digest {
        headers.push(("content-digest", &digest));
    }
    let added = signature.headers();
    headers.extend(added.iter().map(|(name, value)| (*name, std::str::from_utf8(value).unwrap())));
    stall.send(sent.0, sent.1, &headers, sent.2).await
}
