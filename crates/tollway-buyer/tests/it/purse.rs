//! A wallet whose signatures are counted, and the assets it knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollway_buyer::{Patience, PaymentError, Policy, Wallet, payment_error};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{BoxFuture, BuyerScheme, Network, OfferedValue, SchemeName, SignError, UnixTime};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{Asset, AssetTable, LocalSigner};

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

    fn made(
        policy: Policy,
        total: Duration,
        http: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        let signer = Arc::new(LocalSigner::from_hex(KEY).unwrap());
        let scheme =
            Arc::new(Counting { inner: ExactBuyer::new(signer, assets()), signatures: AtomicUsize::new(0) });
        let patience = Patience { presentations: 3, answer: Duration::from_millis(600), total };
        let wallet =
            Wallet::builder().scheme(scheme.clone()).policy(policy).patience(patience).http(http).build();
        Self { wallet: wallet.unwrap(), scheme }
    }

    pub(crate) fn signatures(&self) -> usize {
        self.scheme.signatures.load(Ordering::SeqCst)
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
            let signed = self.inner.sign(required, offer, now).await;
            self.signatures.fetch_add(usize::from(signed.is_ok()), Ordering::SeqCst);
            signed
        })
    }
}
