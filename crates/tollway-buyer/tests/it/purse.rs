//! A wallet whose signatures are counted, and the assets it knows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollway_buyer::{
    IntentRecord, IntentState, Patience, PaymentError, Policy, Wallet, WalletBuilder, payment_error,
};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{BoxFuture, BuyerScheme, Clock, Network, OfferedValue, SchemeName, SignError, UnixTime};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{Asset, AssetTable, LocalSigner};
use tollway_ledger::{IntentQuery, Ledger, MemoryLedger};

/// A key that everybody knows.
pub(crate) const KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// A dollar with 6 decimals.
pub(crate) const USDC: &str = "0x1111111111111111111111111111111111111111";
/// A dollar with 18 decimals.
pub(crate) const DAI: &str = "0x2222222222222222222222222222222222222222";
/// A euro with 6 decimals.
pub(crate) const EURC: &str = "0x3333333333333333333333333333333333333333";
/// Nobody knows what.
pub(crate) const UNKNOWN: &str = "0x4444444444444444444444444444444444444444";
/// Who is paid.
pub(crate) const SHOP: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// A wallet and its count of signatures.
pub(crate) struct Purse {
    pub(crate) wallet: Wallet,
    scheme: Arc<Counting>,
}

impl Purse {
    pub(crate) fn new(policy: Policy) -> Self {
        Self::with(policy, |settings| settings)
    }

    pub(crate) fn with(
        policy: Policy,
        http: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::made(policy, Duration::from_secs(20), http)
    }

    /// A purse that waits for at most `total`.
    pub(crate) fn waiting(total: Duration) -> Self {
        Self::made(Policy::default(), total, |settings| settings)
    }

    /// A purse that writes into `ledger`.
    pub(crate) fn lasting(ledger: &Arc<MemoryLedger>) -> Self {
        Self::of(|wallet| wallet.ledger(ledger.clone()).patience(patience(Duration::from_secs(20))))
    }

    /// A purse that writes into `ledger` and reads the time from `clock`.
    pub(crate) fn at(clock: Arc<dyn Clock>, ledger: &Arc<MemoryLedger>) -> Self {
        let patience = patience(Duration::from_secs(20));
        Self::of(|wallet| wallet.ledger(ledger.clone()).patience(patience).clock(clock))
    }

    /// A purse made as `make` says.
    pub(crate) fn of(make: impl FnOnce(WalletBuilder) -> WalletBuilder) -> Self {
        let signer = Arc::new(LocalSigner::from_hex(KEY).unwrap());
        let scheme = Arc::new(Counting {
            inner: ExactBuyer::new(signer, assets()),
            signatures: AtomicUsize::new(0),
            violations: AtomicUsize::new(0),
            watched: Mutex::default(),
        });
        let wallet = make(Wallet::builder().scheme(scheme.clone())).build();
        Self { wallet: wallet.unwrap(), scheme }
    }

    fn made(
        policy: Policy,
        total: Duration,
        http: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::of(|wallet| wallet.policy(policy).patience(patience(total)).http(http))
    }
}

fn patience(total: Duration) -> Patience {
    Patience { presentations: 3, answer: Duration::from_millis(600), total }
}

impl Purse {
    pub(crate) fn signatures(&self) -> usize {
        self.scheme.signatures.load(Ordering::SeqCst)
    }

    /// Holds every signature from now on against this policy and this ledger.
    pub(crate) fn watch(&self, policy: Policy, ledger: Arc<MemoryLedger>) {
        *self.scheme.watched.lock().unwrap() = Some((policy, ledger));
    }

    /// How many signatures were made that the policy does not allow, or that no budget held.
    pub(crate) fn violations(&self) -> usize {
        self.scheme.violations.load(Ordering::SeqCst)
    }

    /// Gets `url` with the paying client.
    pub(crate) async fn get(&self, url: &str) -> Result<reqwest::Response, reqwest_middleware::Error> {
        self.wallet.client().unwrap().get(url).send().await
    }

    /// Gets `url`, which must be refused before anything is signed.
    pub(crate) async fn refusal(&self, url: &str) -> String {
        let error = self.get(url).await.unwrap_err();
        assert!(payment_error(&error).is_some(), "{error:?}");
        assert_eq!(self.signatures(), 0);
        error.to_string()
    }
}

impl Default for Purse {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

/// The payment error in `result`.
pub(crate) fn error_of(result: &Result<reqwest::Response, reqwest_middleware::Error>) -> &PaymentError {
    payment_error(result.as_ref().unwrap_err()).unwrap()
}

pub(crate) fn assets() -> AssetTable {
    let asset = |symbol: &str, address: &str, decimals, is_usd| Asset {
        network: Network::evm(31337),
        symbol: symbol.to_owned(),
        address: address.parse().unwrap(),
        name: "USD Coin".to_owned(),
        version: "2".to_owned(),
        decimals,
        is_usd,
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    };
    AssetTable::known()
        .with(asset("USDC", USDC, 6, true))
        .with(asset("DAI", DAI, 18, true))
        .with(asset("EURC", EURC, 6, false))
}

/// Counts what is signed.
#[derive(Debug)]
struct Counting {
    inner: ExactBuyer,
    signatures: AtomicUsize,
    /// Signatures outside of what the policy allows, or without a hold in the ledger.
    violations: AtomicUsize,
    watched: Mutex<Option<(Policy, Arc<MemoryLedger>)>>,
}

impl Counting {
    /// Whether an intent is open for this very offer, with its budget held, and the policy allows it.
    async fn is_allowed(&self, required: &PaymentRequired, offer: &PaymentRequirements) -> bool {
        let Some((policy, ledger)) = self.watched.lock().unwrap().clone() else { return true };
        let url = required.resource.as_ref().unwrap().url.parse().unwrap();
        let query = IntentQuery { wallet: "wallet".to_owned(), limit: 1_000, ..IntentQuery::default() };
        let intents = ledger.intent_list(query).await.unwrap();
        let is_held = intents.iter().any(|intent| {
            let record = IntentRecord::read(intent).unwrap();
            let counted = intent
                .holds
                .iter()
                .all(|hold| hold.amount.to_string() == format!("{}000000000000", offer.amount));
            record.state == IntentState::Opened
                && record.offer == *offer
                && !intent.holds.is_empty()
                && counted
        });
        is_held && policy.decide(offer, self.value(offer).as_ref(), &url).is_allow()
    }
}

impl BuyerScheme for Counting {
    fn name(&self) -> &SchemeName {
        self.inner.name()
    }

    fn covers(&self, network: &Network) -> bool {
        self.inner.covers(network)
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        self.inner.value(offer)
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            if !self.is_allowed(required, offer).await {
                self.violations.fetch_add(1, Ordering::SeqCst);
            }
            let signed = self.inner.sign(required, offer, now).await;
            self.signatures.fetch_add(usize::from(signed.is_ok()), Ordering::SeqCst);
            signed
        })
    }
}
