//! The wallet: what it signs with, what it may agree to, and the ways to use it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Extensions;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tollway_core::extension::builder_code::BuilderCode;
use tollway_core::extension::sign_in::SignInProof;
use tollway_core::http_signature::MessageSigner;
use tollway_core::model::{PaymentRequired, SettleResponse};
use tollway_core::{Amount, BuyerScheme, ChannelKey, Clock};
use tollway_evm::Signer;
use tollway_evm::offer_receipt::Keys;
use tollway_ledger::{IntentId, Ledger};
use url::Url;

use crate::approve::Approver;
use crate::builder::{WalletBuilder, WalletError};
use crate::buy::{self, Asked, Bought, Purchased};
use crate::channel::answer::Told;
use crate::channel::lane;
use crate::channel::record::ChannelRecord;
use crate::channel::refund::{self, ChannelError};
use crate::credit::SellerCredit;
use crate::error::PaymentError;
use crate::http_clients::{HttpClients, Settings};
use crate::intent::book::Book;
use crate::intent::key::{PurchaseKey, Tool};
use crate::intent::reconcile::{Reconciled, confirm, reconcile_all};
use crate::intent::record::IntentRecord;
use crate::middleware::{self, PayingMiddleware};
use crate::offer_receipt;
use crate::origin;
use crate::pay_on::STREAM;
use crate::policy::Policy;
use crate::present::Patience;
use crate::quote::Quote;
use crate::selection::{self, JudgedOffer};
use crate::sign::SignedPayment;
use crate::sign_in;
use crate::spent::{Spent, Tally};

/// The longest that a request waits for another of the same purchase.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A payer: keys, and the policy they are used by. Cheap to clone; clones are one wallet.
///
/// ```
/// use tollway_buyer::{Policy, Wallet};
///
/// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// let wallet = Wallet::from_key(key)?;
/// let careful = Wallet::builder().key(key)?.policy(Policy::default().cap_per_payment("$0.05".parse()?)).build()?;
/// assert_eq!(wallet.address(), careful.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Wallet {
    inner: Arc<Inner>,
    agent: Option<Arc<str>>,
    /// Its own rules, if they are not those that it was built with.
    policy: Option<Arc<Policy>>,
}

pub(crate) struct Inner {
    pub(crate) address: Option<String>,
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) schemes: Vec<Arc<dyn BuyerScheme>>,
    pub(crate) policy: Policy,
    pub(crate) patience: Patience,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Option<Settings>,
    pub(crate) http: OnceLock<HttpClients>,
    pub(crate) book: Arc<Book>,
    pub(crate) terminal: Option<Arc<dyn Approver>>,
    pub(crate) tally: Tally,
    pub(crate) signs_in: bool,
    pub(crate) codes: Vec<BuilderCode>,
    pub(crate) message_signer: Option<MessageSigner>,
    pub(crate) keys: Keys,
}

impl Wallet {
    /// A wallet that pays with the account of `key`, a private key in hex, under the default policy.
    ///
    /// # Errors
    /// [`WalletError::Key`] if the key is not one.
    ///
    /// ```
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// let wallet = tollway_buyer::Wallet::from_key(key)?;
    /// assert!(tollway_buyer::Wallet::from_key("0x1234").is_err(), "too short");
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    pub fn from_key(key: &str) -> Result<Self, WalletError> {
        Self::builder().key(key)?.build()
    }

    /// A wallet with settings of your own.
    ///
    /// ```
    /// use tollway_buyer::{Policy, Wallet};
    /// # let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    /// let policy = Policy::default().allow_host("api.example.com");
    /// let wallet = Wallet::builder().key(key)?.policy(policy.clone()).build()?;
    /// assert_eq!(*wallet.policy(), policy);
    /// # Ok::<(), tollway_buyer::WalletError>(())
    /// ```
    pub fn builder() -> WalletBuilder {
        WalletBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), agent: None, policy: None }
    }

    /// The address that pays, with its EIP-55 checksum, if the wallet has a signer of its own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(wallet().address(), Some("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    /// # Ok(()) }
    /// ```
    pub fn address(&self) -> Option<&str> {
        self.inner.address.as_deref()
    }

    /// The rules it pays by.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(*wallet().policy(), tollway_buyer::Policy::default());
    /// # Ok(()) }
    /// ```
    pub fn policy(&self) -> &Policy {
        self.policy.as_deref().unwrap_or(&self.inner.policy)
    }

    /// The same wallet under other rules: for an agent that has a level of its own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::Policy;
    /// let own = Policy::default().add_level("agent:scout").cap_per_payment("$0.01".parse()?);
    /// let scout = wallet().with_policy(own).as_agent("scout");
    /// assert!(!scout.judge(&required(), &url())?[0].decision.is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { policy: Some(Arc::new(policy)), ..self.clone() }
    }

    /// An HTTP client that pays for what answers 402 and the policy allows. What it returns instead of an
    /// answer, [`payment_error`](crate::payment_error) takes apart.
    ///
    /// # Errors
    /// [`WalletError::Http`] if this machine cannot make HTTP clients: TLS without roots, for one.
    ///
    /// ```no_run
    /// # async fn buy(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = wallet.client()?;
    /// println!("{}", client.get("https://api.example.com/data").send().await?.text().await?);
    /// # Ok(()) }
    /// ```
    pub fn client(&self) -> Result<ClientWithMiddleware, WalletError> {
        let unpaid = self.http().map_err(WalletError::Http)?.unpaid.clone();
        Ok(ClientBuilder::new(unpaid).with(self.middleware()?).build())
    }

    /// The middleware that [`Self::client`] is made of, for a client of your own.
    ///
    /// # Errors
    /// As for [`Self::client`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
    ///     .with(wallet().middleware()?)
    ///     .build();
    /// # Ok(()) }
    /// ```
    pub fn middleware(&self) -> Result<PayingMiddleware, WalletError> {
        Ok(PayingMiddleware::new(self.clone(), self.http().map_err(WalletError::Http)?.clone()))
    }

    /// Asks what `request` costs, and signs nothing.
    ///
    /// ```no_run
    /// # async fn ask(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = reqwest::Request::new(reqwest::Method::GET, "https://api.example.com/data".parse()?);
    /// for offer in wallet.quote(request).await?.offers {
    ///     println!("{offer}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PaymentError`] if the request fails, or its 402 could not be paid whatever it costs.
    pub async fn quote(&self, request: reqwest::Request) -> Result<Quote, PaymentError> {
        Quote::ask(self, request).await
    }

    /// What the wallet says to each offer of `required`, which was the answer to a request to `url`. Signs
    /// nothing.
    ///
    /// # Errors
    /// [`PaymentError`] if nothing of it may be paid whatever it costs: plaintext, or a resource elsewhere.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let judged = wallet().judge(&required(), &url())?;
    /// assert_eq!(judged[0].to_string(), "0.05 USDC on eip155:8453: allowed");
    /// let in_the_clear = "http://api.example.com/data".parse()?;
    /// assert!(wallet().judge(&required(), &in_the_clear).is_err());
    /// # Ok(()) }
    /// ```
    pub fn judge(&self, required: &PaymentRequired, url: &Url) -> Result<Vec<JudgedOffer>, PaymentError> {
        let (schemes, policy) = (&self.inner.schemes, self.policy());
        origin::check_secure(url)?;
        origin::check_resource(required, url, policy)?;
        let mut judged = selection::judge(&required.accepts, schemes, policy, url);
        offer_receipt::judge(&mut judged, required, url, (policy, &self.inner.keys, self.clock().now()));
        Ok(judged)
    }

    /// Buys what `required` asks for, which was the answer to a request to `url`: for transports that are not an HTTP client
    /// of this wallet's. Each call is a purchase of its own, with an intent that is written down before the payment is
    /// returned, and each payment can be charged: keep what is returned, and present it again rather than calling again. What
    /// its seller said of it, tell [`Self::settled`]; what the chain says of it is found without.
    ///
    /// # Errors
    /// [`PaymentError`]; nothing has been signed then that could be charged.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// let (name, value) = (payment.header.name(), payment.header.value());
    /// let request = http::Request::get(url().as_str()).header(name, value).body(())?;
    /// assert_eq!(payment.offer.amount.to_string(), "50000");
    /// # Ok(()) }
    /// ```
    pub async fn pay(&self, required: &PaymentRequired, url: &Url) -> Result<SignedPayment, PaymentError> {
        let asked = Asked {
            key: PurchaseKey::none(),
            method: None,
            url: url.clone(),
            tool: None,
            is_renewal: false,
            give_up: tokio::time::Instant::now(),
        };
        match buy::buy(self, &asked, required).await? {
            Purchased::Payment(bought) => {
                if let Some(work) = bought.work {
                    work.leave().await;
                }
                if let Some(lane) = bought.lane {
                    lane.leave().await;
                }
                Ok(bought.payment)
            }
            Purchased::Again => Err(PaymentError::Busy),
        }
    }

    /// Writes down what the seller told of `payment`, which [`Self::pay`] made: for transports that are not an HTTP client of
    /// this wallet's. It is the seller's word, and releases nothing that the payment counts in budgets.
    ///
    /// # Errors
    /// [`PaymentError::Ledger`], or that somebody is at it ([`PaymentError::Busy`]).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{IntentRecord, IntentState};
    /// use tollway_core::{Network, model::SettleResponse};
    /// let wallet = wallet();
    /// let payment = wallet.pay(&required(), &url()).await?;
    /// let told = SettleResponse::settled(Network::evm(8453), wallet.address().unwrap(), "0xabc");
    /// wallet.settled(&payment, &told).await?;
    /// let intent = wallet.ledger().intent_get(payment.intent.unwrap()).await?.unwrap();
    /// assert_eq!(IntentRecord::read(&intent).unwrap().state, IntentState::Paid);
    /// # Ok(()) }
    /// ```
    pub async fn settled(&self, payment: &SignedPayment, told: &SettleResponse) -> Result<(), PaymentError> {
        let Some(mut work) = buy::reopen(self.book(), payment, self.give_up()).await? else {
            return Ok(());
        };
        work.told(payment, told);
        if let Some(mut lane) = buy::lane_of(self, payment, self.give_up()).await? {
            match lane.settled(work.id(), told).await {
                Told::Charged(charged) if told.success => work.charged(charged),
                Told::Broken(why) => {
                    work.alarm(&why);
                    lane.give_up(&why);
                }
                _ => {}
            }
            lane.leave().await;
        }
        work.leave().await;
        Ok(())
    }

    /// Presents `payment`, which this wallet signed before, with `request`: when its fate is unknown, or after an approval that
    /// it lacked. It may go to the seller that asked for it, and to nobody else. It can be charged once, however often it is
    /// presented; nothing is signed. What became of it, [`paid`](crate::paid) tells of the answer.
    ///
    /// # Errors
    /// [`PaymentError`], as for a client of this wallet's.
    ///
    /// ```no_run
    /// # async fn again(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{PaymentError, payment_error};
    /// let client = wallet.client()?;
    /// let request = client.get("https://api.example.com/data").build()?;
    /// let Err(error) = client.execute(request.try_clone().unwrap()).await else { return Ok(()) };
    /// if let Some(PaymentError::Unresolved { payment, .. }) = payment_error(&error) {
    ///     println!("{}", wallet.present(request, payment).await?.status());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn present(
        &self,
        request: reqwest::Request,
        payment: &SignedPayment,
    ) -> Result<reqwest::Response, PaymentError> {
        origin::check_secure(request.url())?;
        let mut work = buy::reopen(self.book(), payment, self.give_up()).await?;
        let seen = work.as_ref().and_then(|work| buy::known_of(&work.record));
        if let Some(work) = &mut work {
            work.presenting();
        }
        let lane = buy::lane_of(self, payment, self.give_up()).await?;
        let bought = Bought { payment: payment.clone(), work, seen, lane };
        Ok(middleware::deliver(self, self.http()?, request, bought).await?.response())
    }

    /// The same wallet for an agent of its owner's: what it buys is counted as that agent's. A level of its own it gets by
    /// [`Self::with_policy`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let scout = wallet().as_agent("scout");
    /// let payment = scout.pay(&required(), &url()).await?;
    /// let intent = scout.ledger().intent_get(payment.intent.unwrap()).await?.unwrap();
    /// assert_eq!(intent.agent.as_deref(), Some("scout"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn as_agent(&self, name: &str) -> Self {
        let policy = Some(Arc::new(self.policy().clone().for_agent(name)));
        Self { inner: Arc::clone(&self.inner), agent: Some(name.into()), policy }
    }

    /// The agent that it buys for, if it is one's.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// assert_eq!(wallet().as_agent("scout").agent(), Some("scout"));
    /// # }
    /// ```
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Its name in its ledger: by default the payer's address in lower case.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// assert_eq!(wallet().name(), "0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.inner.book.wallet
    }

    /// Where it writes down what it buys.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wallet = wallet();
    /// assert_eq!(wallet.ledger().intent_count(wallet.name()).await?, 0);
    /// # Ok(()) }
    /// ```
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.inner.book.ledger
    }

    /// Waits until all is written down that nobody waits for otherwise: what sellers said, and that answers were read. A
    /// program that ends without it may be told again, by the same request, what it has bought already.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// wallet().flush().await;
    /// # }
    /// ```
    pub async fn flush(&self) {
        self.inner.book.flush().await;
    }

    /// Asks the wallet's nodes what became of every purchase that is open, the oldest `limit` of them, and of every deposit into
    /// a channel that is under way, now. What is provably dead counts in no budget any more, and as no exposure; what nobody
    /// can tell of stays counted. A wallet with nodes does so by itself, when a purchase is due.
    ///
    /// # Errors
    /// [`PaymentError::Ledger`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wallet = wallet();
    /// wallet.pay(&required(), &url()).await?;
    /// let seen = wallet.reconcile(100).await?;
    /// assert_eq!((seen.looked_at, seen.open), (1, 1), "it knows no node");
    /// # Ok(()) }
    /// ```
    pub async fn reconcile(&self, limit: u32) -> Result<Reconciled, PaymentError> {
        refund::look_at_deposits(self).await.map_err(PaymentError::Ledger)?;
        reconcile_all(self.book(), limit).await.map_err(PaymentError::Ledger)
    }

    /// Asks the wallet's nodes for one purchase, until they say what became of it or `patience` is over. What is known of it
    /// then; none if the purchase is not there.
    ///
    /// # Errors
    /// [`PaymentError::Ledger`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// let wallet = wallet();
    /// let payment = wallet.pay(&required(), &url()).await?;
    /// let known = wallet.confirm(payment.intent.unwrap(), Duration::ZERO).await?.unwrap();
    /// assert_eq!(known.chain, None, "it knows no node");
    /// # Ok(()) }
    /// ```
    pub async fn confirm(
        &self,
        intent: IntentId,
        patience: Duration,
    ) -> Result<Option<IntentRecord>, PaymentError> {
        confirm(self.book(), intent, patience).await.map_err(PaymentError::Ledger)
    }

    /// Lets the contract Permit2 take up to `amount` of this wallet's `token`, instead of what it could take before, by a
    /// transaction that the wallet's account pays for; waits for `patience` until it is in a block. No client of the wallet's
    /// does that by itself.
    ///
    /// # Errors
    /// [`ApproveError`](tollway_evm::permit2::ApproveError); a wallet without a signer of its own has none to ask.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tollway_evm::{Address, Chain, U256};
    /// # async fn allow(wallet: tollway_buyer::Wallet, chain: Chain, token: Address) -> Result<(), Box<dyn std::error::Error>> {
    /// let amount = U256::from(1_000_000);
    /// println!("approved by {}", wallet.approve(&chain, token, amount, Duration::from_secs(60)).await?);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "rpc")]
    pub async fn approve(
        &self,
        chain: &tollway_evm::Chain,
        token: tollway_evm::Address,
        amount: tollway_evm::U256,
        patience: Duration,
    ) -> Result<tollway_evm::B256, tollway_evm::permit2::ApproveError> {
        let missing = || tollway_evm::SignerError::Remote("the wallet has no signer of its own".to_owned());
        let signer = self.inner.signer.as_deref().ok_or_else(missing)?;
        tollway_evm::permit2::approve(chain, signer, token, amount, patience).await
    }

    /// Takes back what is still held of `payment`, of scheme `auth-capture`, after its capture deadline: by a transaction that
    /// the wallet's account pays for. It waits for `patience` until it is in a block.
    ///
    /// # Errors
    /// [`ReclaimError`](tollway_evm::auth_capture::ReclaimError); a payment of another scheme holds nothing.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// # async fn back(wallet: tollway_buyer::Wallet, chain: tollway_evm::Chain, payment: tollway_buyer::SignedPayment)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let back = wallet.reclaim(&chain, &payment, Duration::from_secs(60)).await?;
    /// println!("{} came back by {}", back.amount, back.transaction);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "rpc")]
    pub async fn reclaim(
        &self,
        chain: &tollway_evm::Chain,
        payment: &SignedPayment,
        patience: std::time::Duration,
    ) -> Result<tollway_evm::auth_capture::Reclaimed, tollway_evm::auth_capture::ReclaimError> {
        use tollway_core::wire;
        use tollway_evm::auth_capture::{self, ReclaimError};
        let missing = || tollway_evm::SignerError::Remote("the wallet has no signer of its own".to_owned());
        let signer = self.inner.signer.as_deref().ok_or_else(missing).map_err(tollway_evm::OwnError::from)?;
        let json = wire::decode_header(payment.header.name(), payment.header.value().as_bytes());
        let signed = json.and_then(|json| wire::decode_payment(&json)).ok();
        let held = signed.and_then(|signed| auth_capture::check_at_any_time(&signed, &payment.offer).ok());
        auth_capture::reclaim(chain, signer, &held.ok_or(ReclaimError::NothingHeld)?, patience).await
    }

    /// Every channel of this wallet's, the oldest first: what is in it, what was charged, and whether something is wrong.
    ///
    /// # Errors
    /// [`PaymentError::Ledger`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// for channel in wallet().channels().await? {
    ///     println!("{}: {} of {} spent at {}", channel.key, channel.charged, channel.balance, channel.url);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn channels(&self) -> Result<Vec<ChannelRecord>, PaymentError> {
        lane::list(self.book()).await.map_err(PaymentError::Ledger)
    }

    /// Asks the seller of a channel to give back what is left in it, or `amount` atomic units of that. What comes back counts
    /// as exposure until the chain says that it is back: for that the wallet needs a node.
    ///
    /// # Errors
    /// [`ChannelError`]; what a seller does not give back can be withdrawn without it, after the channel's delay.
    ///
    /// ```no_run
    /// # async fn back(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// for channel in wallet.channels().await? {
    ///     let told = wallet.refund_channel(&channel.key, None).await?;
    ///     println!("{} came back by {}", told.amount.unwrap_or_default(), told.transaction);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn refund_channel(
        &self,
        channel: &ChannelKey,
        amount: Option<Amount>,
    ) -> Result<SettleResponse, ChannelError> {
        refund::refund(self, channel, amount).await
    }

    /// Takes in what the wallet's nodes say of a channel now, and what is known of it then: after something was done to it on
    /// chain, such as a withdrawal. Without a node it stays as it is.
    ///
    /// # Errors
    /// [`ChannelError`].
    ///
    /// ```no_run
    /// # async fn look(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// for channel in wallet.channels().await? {
    ///     let seen = wallet.look_at_channel(&channel.key).await?;
    ///     println!("{}: {} is in it", seen.key, seen.balance);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn look_at_channel(&self, channel: &ChannelKey) -> Result<ChannelRecord, ChannelError> {
        refund::look_at(self, channel).await
    }

    /// Has `request` redeem `credit`, instead of being paid for: signs for this very request, within the next minute. It
    /// goes to the seller that gave the credit, and to nobody else. Send it with a client of this wallet's.
    ///
    /// # Errors
    /// [`PaymentError`]: the credit is somebody else's, or the request goes elsewhere. Nothing has been signed then.
    ///
    /// ```no_run
    /// # async fn again(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = wallet.client()?;
    /// let failed = client.get("https://api.example.com/data").send().await?;
    /// if let Some(credit) = tollway_buyer::credit(&failed) {
    ///     let mut request = client.get("https://api.example.com/data").build()?;
    ///     wallet.redeem(&credit, &mut request).await?;
    ///     println!("{}", client.execute(request).await?.text().await?);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn redeem(
        &self,
        credit: &SellerCredit,
        request: &mut reqwest::Request,
    ) -> Result<(), PaymentError> {
        credit.redeem(self.inner.signer.as_deref(), request, self.clock().now()).await
    }

    /// What has been signed since the wallet was made, by asset, in atomic units. For people to look at: it
    /// limits nothing.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wallet = wallet();
    /// wallet.pay(&required(), &url()).await?;
    /// assert_eq!(wallet.spent()[0].amount.to_string(), "50000");
    /// # Ok(()) }
    /// ```
    pub fn spent(&self) -> Vec<Spent> {
        self.inner.tally.sums()
    }

    /// Answers the challenge of `required` (extension `sign-in-with-x`), which was the answer to a request to `url`, whether or
    /// not the wallet signs in by itself: for who comes back for what it has bought. Its
    /// [`encode`](SignInProof::encode) is the value of the header `sign-in-with-x`. None if there is no challenge, or none
    /// that is for this very origin and for an account of this wallet's.
    ///
    /// # Errors
    /// [`PaymentError`]: plaintext, or a signer that failed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(wallet().prove(&required(), &url()).await?, None, "this seller asks for no proof");
    /// # Ok(()) }
    /// ```
    pub async fn prove(
        &self,
        required: &PaymentRequired,
        url: &Url,
    ) -> Result<Option<SignInProof>, PaymentError> {
        origin::check_secure(url)?;
        match &self.inner.signer {
            Some(signer) => sign_in::prove(required, url, &**signer, self.clock().now()).await,
            None => Ok(None),
        }
    }

    /// What `request` asks for.
    pub(crate) fn asked(&self, request: &reqwest::Request, extensions: &Extensions) -> Asked {
        Asked {
            key: PurchaseKey::of(request, extensions, self.agent()),
            method: Some(request.method().to_string()),
            url: request.url().clone(),
            tool: extensions.get::<Tool>().map(|tool| tool.name().to_owned()),
            is_renewal: request.headers().contains_key(STREAM),
            give_up: self.give_up(),
        }
    }

    /// Until when to wait for another request of the same purchase.
    pub(crate) fn give_up(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.inner.patience.total.min(LONGEST_WAIT)
    }

    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.inner.book
    }

    /// Who sits in front of the program, if somebody does.
    pub(crate) fn terminal(&self) -> Option<Arc<dyn Approver>> {
        self.inner.terminal.clone()
    }

    pub(crate) fn schemes(&self) -> &[Arc<dyn BuyerScheme>] {
        &self.inner.schemes
    }

    pub(crate) fn codes(&self) -> &[BuilderCode] {
        &self.inner.codes
    }

    pub(crate) fn tally(&self, payment: &SignedPayment) {
        self.inner.tally.add(payment);
    }

    pub(crate) fn signs_in(&self) -> bool {
        self.inner.signs_in
    }

    pub(crate) fn message_signer(&self) -> Option<&MessageSigner> {
        self.inner.message_signer.as_ref()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn patience(&self) -> Patience {
        self.inner.patience
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// The HTTP clients, made when first needed: a wallet that only signs has no use for them.
    pub(crate) fn http(&self) -> Result<&HttpClients, reqwest::Error> {
        if let Some(http) = self.inner.http.get() {
            return Ok(http);
        }
        let http = HttpClients::new(self.inner.settings.as_ref())?;
        Ok(self.inner.http.get_or_init(|| http))
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wallet").field(&self.inner.address).finish()
    }
}
