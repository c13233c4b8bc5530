//! A devnet, and engines on it: as many as a test starts, on whatever ledger it gives them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket, ResponsePayload};
use alloy_transport::{TransportError, TransportFut};
use parking_lot::Mutex;
use serde_json::json;
use tollway_core::model::{FacilitatorRequest, PaymentRequired, SettleResponse};
use tollway_core::{
    Amount, BuyerScheme, Clock, JsonObject, Network, Price, SellerScheme, SystemClock, Terms, X402Version,
};
use tollway_devnet::{ACCOUNTS, Config, DevnetTransport, Fault, Grant, Handle, Mining, genesis};
use tollway_evm::exact::{ExactBuyer, ExactPayment, ExactSeller, check_at_any_time, transfer_call};
use tollway_evm::{
    Address, Asset, AssetTable, Chain, LocalSigner, Signer, Transaction, TransferMethod, U256,
};
use tollway_facilitator::{Engine, EngineBuilder, Limits, NetworkSetup};
use tollway_ledger::{Ledger, Settlement, SettlementId, SettlementState};
use tower::Service;

/// Which of the funded accounts plays whom.
pub(crate) const LANES: [usize; 2] = [1, 2];
pub(crate) const PAYER: usize = 3;
const RIVAL: usize = 6;

/// A chain, and what was asked of it.
pub(crate) struct World {
    pub(crate) devnet: Handle,
    pub(crate) chain: Chain,
    pub(crate) network: Network,
    pub(crate) payee: Address,
    pub(crate) asked: Asked,
    pub(crate) receipts: Receipts,
}

/// How often each method was called by engines. A batch counts once.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<BTreeMap<String, u64>>>);

impl Asked {
    pub(crate) fn of(&self, method: &str) -> u64 {
        self.0.lock().get(method).copied().unwrap_or_default()
    }

    /// What is asked for the sake of one payment, and not time and again.
    pub(crate) fn payments(&self) -> u64 {
        ["eth_call", "eth_simulateV1", "eth_getCode", "eth_estimateGas"]
            .map(|method| self.of(method))
            .iter()
            .sum()
    }

    pub(crate) fn all(&self) -> u64 {
        self.0.lock().values().sum()
    }
}

/// What engines were told of receipts. Told again, it is a node that has not heard of a reorganisation.
#[derive(Clone, Default)]
pub(crate) struct Receipts(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    is_repeated: bool,
    by_params: BTreeMap<String, ResponsePayload>,
}

impl Receipts {
    /// From now on what was told once is told again, or no longer.
    pub(crate) fn repeat(&self, is_repeated: bool) {
        self.0.lock().is_repeated = is_repeated;
    }

    fn pass(&self, params: &str, payload: &mut ResponsePayload) {
        let mut told = self.0.lock();
        match told.by_params.get(params).filter(|_| told.is_repeated) {
            Some(known) => *payload = known.clone(),
            None if payload.as_success().is_some_and(|receipt| receipt.get() != "null") => {
                told.by_params.insert(params.to_owned(), payload.clone());
            }
            None => {}
        }
    }
}

impl World {
    pub(crate) async fn open() -> Self {
        Self::with(Mining::Instant).await
    }

    pub(crate) async fn with(mining: Mining) -> Self {
        Self::with_config(Config { mining, ..Config::default() }).await
    }

    pub(crate) async fn with_config(config: Config) -> Self {
        let devnet = tollway_devnet::spawn(config).await.unwrap();
        let network = Network::evm(devnet.chain_id());
        let (asked, receipts) = (Asked::default(), Receipts::default());
        let chain = Chain::from_transport(devnet.transport(), &network, Duration::from_secs(5))
            .expect("an EVM network");
        let payee = LocalSigner::random().unwrap().address();
        Self { devnet, chain, network, payee, asked, receipts }
    }

    /// What an engine is given, with the first `lanes` lanes.
    pub(crate) fn setup(&self, lanes: usize) -> NetworkSetup {
        let (inner, asked, receipts) = (self.devnet.transport(), self.asked.clone(), self.receipts.clone());
        let counting = CountingBox(Counting { inner, asked, receipts });
        let chain = Chain::from_transport(counting, &self.network, Duration::from_secs(5)).unwrap();
        let signers = LANES.iter().take(lanes).map(|lane| Arc::new(account(*lane)) as Arc<dyn Signer>);
        NetworkSetup { chain, assets: self.assets(), signers: signers.collect() }
    }

    /// An engine with one lane, still to be started.
    pub(crate) fn engine(&self, ledger: &(impl Ledger + Clone + 'static)) -> EngineBuilder {
        Engine::builder().network(self.setup(1)).ledger(Arc::new(ledger.clone())).name("one").limits(quick())
    }

    pub(crate) fn assets(&self) -> AssetTable {
        let asset = |symbol: &str, address, name: &str, version: &str, transfer_method| Asset {
            network: self.network.clone(),
            symbol: symbol.to_owned(),
            address,
            name: name.to_owned(),
            version: version.to_owned(),
            decimals: 6,
            is_usd: true,
            transfer_method,
        };
        AssetTable::empty()
            .with(asset("USDC", genesis::USDC, "USDC", "2", TransferMethod::Eip3009))
            .with(asset("PUSD", genesis::PERMIT_USD, "Permit USD", "1", TransferMethod::Permit2))
            .with(asset("PLAIN", genesis::PLAIN_USD, "", "", TransferMethod::Permit2))
    }

    /// A fresh authorization of `amount` by `payer`.
    pub(crate) async fn pay(&self, payer: &LocalSigner, amount: u64) -> FacilitatorRequest {
        self.pay_with(payer, amount, JsonObject::new()).await
    }

    /// The same, on terms with something `extra`.
    pub(crate) async fn pay_with(
        &self,
        payer: &LocalSigner,
        amount: u64,
        extra: JsonObject,
    ) -> FacilitatorRequest {
        self.pay_by(Arc::new(payer.clone()), amount, extra).await
    }

    /// The same, by whoever signs.
    pub(crate) async fn pay_by(
        &self,
        payer: Arc<dyn Signer>,
        amount: u64,
        extra: JsonObject,
    ) -> FacilitatorRequest {
        let known = self.assets();
        let terms =
            Terms { network: self.network.clone(), pay_to: self.payee.to_string(), max_timeout_seconds: 300 };
        let asset = genesis::USDC.to_string();
        let price = Price::Asset { amount: Amount::from(amount), asset, extra };
        let offer = ExactSeller::new(known.clone()).offer(&price, &terms).unwrap();
        let required = PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: vec![offer.clone()],
            extensions: JsonObject::new(),
            other: JsonObject::new(),
        };
        let buyer = ExactBuyer::new(payer, known);
        let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
        FacilitatorRequest { payment, requirements: offer }
    }

    /// A payer with so much of the token.
    pub(crate) fn payer_with(&self, atomic: u64) -> LocalSigner {
        let payer = LocalSigner::random().unwrap();
        self.devnet.grant(payer.address(), Grant { wei: U256::ZERO, token_atomic: U256::from(atomic) });
        payer
    }

    /// What the payee has received.
    pub(crate) async fn received(&self) -> u64 {
        let data = format!("0x70a08231{:0>64}", format!("{:x}", self.payee));
        let word = self.chain.raw("eth_call", json!([{ "to": genesis::USDC, "data": data }, "latest"])).await;
        let word: U256 = serde_json::from_value(word.unwrap()).unwrap();
        word.to()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.devnet.faults().inject(fault);
    }

    /// How many transactions of a lane are included.
    pub(crate) async fn lane_nonce(&self, lane: usize) -> u64 {
        self.chain.nonce(ACCOUNTS[LANES[lane]].address).await.unwrap()
    }

    /// A stranger sends the payment's own call.
    pub(crate) async fn front_run(&self, request: &FacilitatorRequest) -> String {
        let call = transfer_call(&payment(request));
        let rival = Transaction {
            chain_id: self.devnet.chain_id(),
            nonce: self.chain.nonce(ACCOUNTS[RIVAL].address).await.unwrap(),
            to: call.to,
            value: U256::ZERO,
            data: call.data,
            gas_limit: 200_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
        };
        let signed = rival.sign(&account(RIVAL)).await.unwrap();
        self.chain.send_raw(&signed.raw).await.unwrap().to_string()
    }

    pub(crate) fn mine(&self, blocks: usize) {
        for _ in 0..blocks {
            self.devnet.mine();
        }
    }
}

/// Limits under which a test is over soon.
pub(crate) fn quick() -> Limits {
    Limits {
        settle_deadline: Duration::from_millis(400),
        rebroadcast_every: Duration::from_millis(50),
        member_ttl: Duration::from_secs(3),
        ..Limits::default()
    }
}

pub(crate) fn account(index: usize) -> LocalSigner {
    LocalSigner::from_hex(&ACCOUNTS[index].secret_key.to_string()).unwrap()
}

pub(crate) fn payment(request: &FacilitatorRequest) -> ExactPayment {
    check_at_any_time(&request.payment, &request.requirements).unwrap()
}

pub(crate) fn id(request: &FacilitatorRequest) -> SettlementId {
    SettlementId::of(&payment(request).key())
}

/// The settlement, once `is_so` holds for it.
pub(crate) async fn until(
    ledger: &impl Ledger,
    request: &FacilitatorRequest,
    is_so: impl Fn(&Settlement) -> bool,
) -> Settlement {
    let mut last = None;
    for _ in 0..1_500 {
        last = ledger.settlement_find(id(request)).await.unwrap();
        if let Some(found) = last.as_ref().filter(|found| is_so(found)) {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 15 s; it is {last:?}");
}

pub(crate) async fn until_settled(ledger: &impl Ledger, request: &FacilitatorRequest) -> String {
    let settled = until(ledger, request, |found| is_settled(&found.state)).await;
    match settled.state {
        SettlementState::Settled { transaction, .. } => transaction,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_settled(state: &SettlementState) -> bool {
    matches!(state, SettlementState::Settled { .. })
}

pub(crate) fn is_pending(answer: &SettleResponse) -> bool {
    answer.error_reason.as_ref().is_some_and(|code| code.as_str() == "settlement_pending")
}

#[derive(Clone)]
struct Counting {
    inner: DevnetTransport,
    asked: Asked,
    receipts: Receipts,
}

/// Named apart so that alloy's blanket implementation for transports applies to one type only.
#[derive(Clone)]
struct CountingBox(Counting);

impl Service<RequestPacket> for CountingBox {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.inner.poll_ready(context)
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let method = match &request {
            RequestPacket::Single(single) => single.method().to_owned(),
            RequestPacket::Batch(batch) => {
                batch.first().map(|one| one.method().to_owned()).unwrap_or_default()
            }
        };
        *self.0.asked.0.lock().entry(method).or_default() += 1;
        let params: Vec<_> = request
            .requests()
            .iter()
            .filter(|one| one.method() == "eth_getTransactionReceipt")
            .map(|one| (one.id().clone(), one.params().map(ToString::to_string).unwrap_or_default()))
            .collect();
        let (answer, receipts) = (self.0.inner.call(request), self.0.receipts.clone());
        Box::pin(async move {
            let mut answer = answer.await?;
            let responses = match &mut answer {
                ResponsePacket::Single(one) => std::slice::from_mut(one),
                ResponsePacket::Batch(all) => all.as_mut_slice(),
            };
            for response in responses {
                if let Some((_, params)) = params.iter().find(|(id, _)| *id == response.id) {
                    receipts.pass(params, &mut response.payload);
                }
            }
            Ok(answer)
        })
    }
}
