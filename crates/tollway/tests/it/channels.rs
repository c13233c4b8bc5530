//! A seller that is paid by channel, before our facilitator and a chain: what is charged off chain is what the books on chain
//! allow, from the first deposit to the last refund.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tollway_core::model::{PaymentPayload, PaymentRequired, SettleResponse};
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{Amount, Backing, BuyerChannel, BuyerChannelScheme, Clock, SchemeName, SystemClock};
use tollway_evm::batch_settlement::{BatchSettlement, ChannelBuyer, backings};
use tollway_evm::{LocalSigner, Signer};
use tollway_seller::{HttpFacilitator, Paywall};

use crate::market::{Market, account, assets, spawn, token_balance};

/// Who pays, and has tokens.
const PAYER: usize = 8;
const PRICE: u64 = 10_000;
const DEPOSIT: u64 = 100_000;

/// A shop beside the market's own, with the payer's one channel.
struct Shop {
    market: Market,
    url: String,
    scheme: ChannelBuyer,
    required: PaymentRequired,
    channel: BuyerChannel,
}

impl Shop {
    /// With a node of its own, or on the facilitator's word.
    async fn open(has_node: bool) -> Self {
        Self::with(has_node, |scheme| scheme).await
    }

    async fn with(has_node: bool, refine: fn(BatchSettlement) -> BatchSettlement) -> Self {
        let market = Market::open().await;
        let (known, network) = (assets(market.node.chain_id), market.node.network());
        let authorizer = Arc::new(LocalSigner::random().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let mut builder = Paywall::builder(&origin)
            .scheme(
                refine(BatchSettlement::new(known.clone()).with_key(authorizer))
                    .with_withdraw_delay_seconds(900),
            )
            .accept_by(SchemeName::BATCH_SETTLEMENT, network.as_str(), market.payee.to_string())
            .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
            .pending_wait_ms(50);
        if has_node {
            builder = builder.channel_witness(Arc::new(market.engine.clone()));
        }
        let paywall = builder.start().await.unwrap();
        let priced = paywall.price("$0.01").unwrap();
        spawn(listener, Router::new().route("/data", get(|| async { "data" }).layer(priced)));
        let url = format!("{origin}/data");
        let asked = reqwest::get(&url).await.unwrap();
        let json =
            wire::decode_header(PAYMENT_REQUIRED, asked.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
        let required = wire::decode_payment_required(&json).unwrap();
        let scheme = ChannelBuyer::new(Arc::new(account(PAYER)), known);
        let channel = BuyerChannelScheme::channel(&scheme, &required.accepts[0], 0).unwrap();
        Self { market, url, scheme, required, channel }
    }

    /// A voucher up to `ceiling`, with a deposit if there is one.
    async fn pay(&self, ceiling: u64, deposit: Option<u64>) -> (u16, Option<SettleResponse>) {
        self.send(self.signed(ceiling, deposit).await).await
    }

    async fn signed(&self, ceiling: u64, deposit: Option<u64>) -> PaymentPayload {
        let (offer, now) = (&self.required.accepts[0], SystemClock.now());
        let deposit = match deposit {
            None => None,
            Some(amount) => {
                let signed = self.scheme.sign_deposit(offer, &self.channel, amount.into(), now);
                Some(signed.await.unwrap())
            }
        };
        let channel = &self.channel;
        let signed =
            self.scheme.sign_voucher(&self.required, offer, channel, ceiling.into(), deposit.as_ref());
        signed.await.unwrap()
    }

    async fn refund(&self, charged: u64, amount: Option<u64>) -> (u16, Option<SettleResponse>) {
        let (offer, amount) = (&self.required.accepts[0], amount.map(Amount::from));
        let signed = self.scheme.sign_refund(&self.required, offer, &self.channel, charged.into(), amount);
        self.send(signed.await.unwrap()).await
    }

    async fn send(&self, payment: PaymentPayload) -> (u16, Option<SettleResponse>) {
        let (name, value) = wire::encode_payment_header(&payment);
        let response = reqwest::Client::new().get(&self.url).header(name, value).send().await.unwrap();
        let receipt = response.headers().get("payment-response").map(|header| {
            let json = wire::decode_header("PAYMENT-RESPONSE", header.as_bytes()).unwrap();
            wire::decode_settle_response(&json, &self.market.node.network()).unwrap()
        });
        (response.status().as_u16(), receipt)
    }

    /// What the contract says.
    async fn backing(&self) -> Backing {
        let id = self.channel.key.id().parse().unwrap();
        backings(&self.market.chain, &[id]).await.unwrap().remove(0)
    }

    async fn payer_has(&self) -> u64 {
        token_balance(&self.market.chain, account(PAYER).address()).await.to_string().parse().unwrap()
    }
}

async fn lives_and_ends(has_node: bool) {
    let shop = Shop::open(has_node).await;
    let before = shop.payer_has().await;
    let (status, receipt) = shop.pay(PRICE, Some(DEPOSIT)).await;
    let receipt = receipt.unwrap();
    assert_eq!((status, receipt.success, receipt.amount), (200, true, Some(DEPOSIT.to_string())));
    assert_eq!(shop.payer_has().await, before - DEPOSIT);
    for number in 2..=5 {
        let (status, receipt) = shop.pay(number * PRICE, None).await;
        let receipt = receipt.unwrap();
        assert_eq!((status, receipt.transaction.as_str()), (200, ""));
        assert_eq!(receipt.extra["channelState"]["balance"], DEPOSIT.to_string());
    }
    assert_eq!(shop.pay(5 * PRICE + 1, None).await.0, 402, "one unit more buys nothing");
    assert_eq!(shop.pay(15 * PRICE, None).await.0, 402);
    let mut backing = Backing { balance: DEPOSIT.into(), ..Backing::default() };
    assert_eq!(shop.backing().await, backing, "no voucher cost a transaction");
    // Some of it back, and the rest goes on.
    let (status, receipt) = shop.refund(5 * PRICE, Some(20_000)).await;
    assert_eq!((status, receipt.unwrap().amount), (200, Some("20000".to_owned())));
    (backing.balance, backing.claimed) = (80_000u64.into(), (5 * PRICE).into());
    backing.refund_nonce = 1u64.into();
    assert_eq!(shop.backing().await, backing);
    assert_eq!(shop.pay(6 * PRICE, None).await.0, 200);
    // All of it, and it begins again.
    assert_eq!(shop.refund(6 * PRICE, None).await.0, 200);
    assert_eq!(shop.payer_has().await, before - 6 * PRICE, "what was bought is what it cost");
    let backing = shop.backing().await;
    assert_eq!((backing.balance, backing.claimed), ((6 * PRICE).into(), (6 * PRICE).into()));
    assert_eq!(shop.pay(7 * PRICE, None).await.0, 402);
    assert_eq!(shop.pay(7 * PRICE, Some(DEPOSIT)).await.0, 200);
    assert_eq!(shop.backing().await.balance, (6 * PRICE + DEPOSIT).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_lives_and_ends_on_the_facilitators_word() {
    lives_and_ends(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_lives_and_ends_before_the_sellers_own_node() {
    lives_and_ends(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_below_what_its_seller_insists_on_is_refused_and_not_made() {
    let shop = Shop::with(false, BatchSettlement::enforcing_min_deposit).await;
    let before = shop.payer_has().await;
    let (name, value) = wire::encode_payment_header(&shop.signed(PRICE, Some(DEPOSIT - 1)).await);
    let refused = reqwest::Client::new().get(&shop.url).header(name, value).send().await.unwrap();
    assert_eq!(refused.status(), 402);
    let told = wire::decode_header(PAYMENT_REQUIRED, refused.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
    let told = wire::decode_payment_required(&told).unwrap().error;
    assert_eq!(told.as_deref(), Some("invalid_batch_settlement_evm_deposit_below_min_deposit"));
    assert_eq!(shop.payer_has().await, before);
    assert_eq!(shop.pay(PRICE, Some(DEPOSIT)).await.0, 200);
}
