//! What was charged on channels is claimed: with rows as a shop has written them, by workers that share its ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tollway_core::{Amount, ChannelKey, ChannelWitness, Clock, Facilitator, ManualClock, UnixTime};
use tollway_evm::AssetTable;
use tollway_evm::batch_settlement::{BatchSettlement, ChannelConfig};
use tollway_ledger::{Channel, Ledger, MemoryLedger};
use tollway_seller::{ClaimCost, ClaimEnd, ClaimOutcome, ClaimPolicy, ClaimWorker};

use super::channel_double::{DELAY_SECONDS, DEPOSIT, Mishap, NOW, Node, PRICE, Payer, Shop, Vault, number};

/// After this all that a shop has written is due.
const LATER: UnixTime = UnixTime(NOW.0 + DELAY_SECONDS / 3);

/// A ledger with channels, and whom they are claimed from.
pub(crate) struct Books {
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Books {
    /// With `count` channels on each of which `PRICE` was charged, all due at `LATER`.
    pub(crate) async fn with(count: usize) -> Self {
        let ledger = Arc::new(MemoryLedger::new());
        let shared = Arc::clone(&ledger) as Arc<dyn Ledger>;
        let shop =
            Shop::open_with(|builder| builder.ledger(shared).claims(ClaimPolicy::default().by_hand())).await;
        let payer = Payer::funded(&shop).await;
        assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
        let books = Self { ledger, vault: Arc::clone(&shop.vault), clock: Arc::clone(&shop.clock) };
        let first = books.channel(&payer.channel.key).await;
        for salt in 1..count {
            books.copy(&first, salt).await;
        }
        books
    }

    /// Another payer's channel, as good as `model`.
    async fn copy(&self, model: &Channel, salt: usize) {
        let mut body: Value = serde_json::from_str(&model.body).unwrap();
        body["terms"]["salt"] = format!("0x{salt:064x}").into();
        let config = ChannelConfig::read(body["terms"].as_object().unwrap()).unwrap();
        let id = ChannelKey::new(format!("eip155:8453/{}", config.id(8453)));
        self.vault.change(&id, |backing| backing.balance = DEPOSIT.into());
        let copy = Channel { id, version: 0, body: body.to_string(), ..model.clone() };
        assert!(self.ledger.channel_put(copy, None, NOW).await.unwrap());
    }

    pub(crate) async fn channel(&self, key: &ChannelKey) -> Channel {
        self.ledger.channel_get("seller", key).await.unwrap().unwrap()
    }

    pub(crate) async fn all(&self) -> Vec<Channel> {
        self.ledger.channel_list("seller", None, 10_000).await.unwrap()
    }

    /// More is charged, as a shop writes it.
    async fn charge(&self, key: &ChannelKey, charged: u64) {
        let channel = Channel { charged: charged.into(), signed: charged.into(), ..self.channel(key).await };
        assert!(self.ledger.channel_put(channel, None, self.clock.now()).await.unwrap());
    }

    /// A process that claims by `policy`, and believes the facilitator.
    pub(crate) fn worker(&self, policy: ClaimPolicy) -> ClaimWorker {
        let scheme = BatchSettlement::new(AssetTable::known());
        let facilitator = Arc::clone(&self.vault) as Arc<dyn Facilitator>;
        ClaimWorker::new(Arc::clone(&self.ledger) as Arc<dyn Ledger>, facilitator, vec![Arc::new(scheme)])
            .with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .with_policy(policy)
    }

    /// One that has a node.
    pub(crate) fn seeing(&self, policy: ClaimPolicy) -> ClaimWorker {
        let node = Arc::new(Node(Arc::clone(&self.vault))) as Arc<dyn ChannelWitness>;
        self.worker(policy).with_witness(node)
    }

    /// How often each channel was named in claims.
    fn named(&self) -> BTreeMap<String, usize> {
        let mut named = BTreeMap::new();
        for (id, _) in self.vault.claims.lock().unwrap().iter().flatten() {
            *named.entry(id.clone()).or_default() += 1;
        }
        named
    }

    pub(crate) fn claims(&self) -> Vec<Vec<(String, u64)>> {
        self.vault.claims.lock().unwrap().clone()
    }

    pub(crate) fn payouts(&self) -> usize {
        self.vault.payouts.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) async fn is_all_claimed(&self) -> bool {
        self.all().await.iter().all(|channel| channel.claimed == channel.charged)
    }
}

/// As soon as anything is due.
pub(crate) fn eager() -> ClaimPolicy {
    ClaimPolicy::default().max_waiting(1)
}

pub(crate) fn ends(outcome: &ClaimOutcome, operation: &str) -> Vec<ClaimEnd> {
    let steps = outcome.steps.iter().filter(|step| step.operation == operation);
    steps.map(|step| step.end.clone()).collect()
}

#[tokio::test]
async fn six_hundred_channels_are_three_claims_and_one_payout() {
    let books = Books::with(600).await;
    let worker = books.seeing(eager());
    assert_eq!(worker.run_due().await.unwrap(), ClaimOutcome::default(), "nothing is due yet");
    books.clock.set(LATER);
    let outcome = worker.run_due().await.unwrap();
    let sizes: Vec<usize> = books.claims().iter().map(Vec::len).collect();
    assert_eq!(sizes, [250, 250, 100]);
    assert_eq!((books.payouts(), books.vault.paid()), (1, 600 * PRICE));
    let claimed = outcome.steps.iter().filter(|step| step.operation == "claim");
    assert_eq!(claimed.map(|step| number(step.amount)).sum::<u64>(), 600 * PRICE);
    assert!(books.is_all_claimed().await && books.named().values().all(|times| *times == 1));
    books.clock.set(LATER.plus_seconds(86_400));
    assert_eq!(worker.run_due().await.unwrap(), ClaimOutcome::default(), "and nothing is left");
    let report = worker.report().await.unwrap();
    assert!(report.is_whole);
    let [sum] = &report.sums[..] else { panic!("{report:?}") };
    assert_eq!((sum.channels, sum.unclaimed, sum.next_deadline), (600, 0, None));
    let total = Amount::from(600 * PRICE);
    assert_eq!((sum.charged, sum.claimed, sum.settled, sum.at_risk), (total, total, total, Amount::ZERO));
}

#[tokio::test]
async fn two_sellers_on_one_ledger_claim_each_channel_once() {
    let books = Books::with(120).await;
    books.clock.set(LATER);
    let policy = eager().max_channels_per_claim(10);
    let (one, other) = (books.seeing(policy.clone()), books.seeing(policy));
    for _ in 0..3 {
        let (first, second) = tokio::join!(one.run_due(), other.run_due());
        assert_eq!(first.unwrap().troubled + second.unwrap().troubled, 0);
    }
    assert!(books.is_all_claimed().await);
    let named = books.named();
    assert!(named.len() == 120 && named.values().all(|times| *times == 1), "{named:?}");
    assert_eq!(books.vault.paid(), 120 * PRICE);
}

#[tokio::test]
async fn a_claim_without_an_answer_is_asked_again_as_it_was() {
    let books = Books::with(3).await;
    books.clock.set(LATER);
    books.vault.then(Mishap::Silent);
    let outcome = books.seeing(eager()).run_due().await.unwrap();
    assert!(matches!(ends(&outcome, "claim")[..], [ClaimEnd::Pending(_)]), "{outcome:?}");
    assert!(books.seeing(eager()).list(None, 10).await.unwrap().iter().all(|channel| channel.is_claiming));
    // The process dies, and the payers go on.
    for channel in books.all().await {
        books.charge(&channel.id, 2 * PRICE).await;
    }
    books.clock.set(LATER.plus_seconds(400));
    books.seeing(eager()).run_due().await.unwrap();
    let claims = books.claims();
    assert_eq!((claims.len(), &claims[1]), (2, &claims[0]), "the same, not what was charged since");
    assert_eq!((books.vault.claimed(), books.vault.paid()), (3 * PRICE, 3 * PRICE));
    // What was charged since is claimed by itself.
    books.clock.set(LATER.plus_seconds(800));
    books.seeing(eager()).run_due().await.unwrap();
    assert!(books.is_all_claimed().await);
    assert_eq!((books.claims().len(), books.vault.paid()), (3, 6 * PRICE));
}

#[tokio::test]
async fn a_claim_that_happened_unheard_counts_once() {
    for has_node in [true, false] {
        let books = Books::with(3).await;
        let worker = || if has_node { books.seeing(eager()) } else { books.worker(eager()) };
        books.clock.set(LATER);
        books.vault.then(Mishap::Lost);
        worker().run_due().await.unwrap();
        assert_eq!((books.vault.claimed(), books.vault.paid()), (3 * PRICE, 0));
        books.clock.set(LATER.plus_seconds(400));
        worker().run_due().await.unwrap();
        assert!(books.is_all_claimed().await);
        assert_eq!(books.claims().len(), 1, "it was seen: nothing is asked again");
        assert_eq!((books.vault.claimed(), books.vault.paid()), (3 * PRICE, 3 * PRICE));
        let report = worker().report().await.unwrap();
        assert_eq!(
            (report.sums[0].claimed, report.sums[0].settled),
            ((3 * PRICE).into(), (3 * PRICE).into())
        );
    }
}

#[tokio::test]
async fn a_claim_is_believed_when_it_is_seen() {
    let books = Books::with(2).await;
    books.clock.set(LATER);
    books.vault.then(Mishap::Lie);
    let outcome = books.seeing(eager()).run_due().await.unwrap();
    assert!(matches!(ends(&outcome, "claim")[..], [ClaimEnd::Pending(_)]), "{outcome:?}");
    assert_eq!((books.payouts(), books.vault.claimed()), (0, 0));
    books.clock.set(LATER.plus_seconds(400));
    books.seeing(eager()).run_due().await.unwrap();
    assert!(books.is_all_claimed().await);
    assert_eq!(books.vault.paid(), 2 * PRICE);
}

#[tokio::test]
async fn a_channel_that_cannot_be_claimed_stops_no_other() {
    let books = Books::with(40).await;
    books.clock.set(LATER);
    let broken = books.all().await[17].id.clone();
    books.vault.broken.lock().unwrap().insert(broken.id().to_owned());
    let worker = books.seeing(eager());
    let outcome = worker.run_due().await.unwrap();
    let refused: Vec<_> =
        outcome.steps.iter().filter(|step| matches!(step.end, ClaimEnd::Refused(_))).collect();
    assert!(refused.len() == 1 && refused[0].channels == [broken.clone()], "{refused:?}");
    assert_eq!((books.vault.claimed(), books.vault.paid()), (39 * PRICE, 39 * PRICE));
    // From then on it is asked for alone, ever more rarely.
    let before = books.claims().len();
    for minute in 1..=60 {
        books.clock.set(LATER.plus_seconds(60 * minute));
        worker.run_due().await.unwrap();
    }
    let since = books.claims()[before..].to_vec();
    assert!(since.iter().all(|claim| claim.len() == 1 && claim[0].0 == broken.id()));
    assert!((10..=60).contains(&since.len()), "{}", since.len());
    books.vault.broken.lock().unwrap().clear();
    books.clock.set(LATER.plus_seconds(7_200));
    worker.run_due().await.unwrap();
    assert!(books.is_all_claimed().await);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let books = Books::with(10).await;
    let rows = books.all().await;
    for (row, body) in
        [(&rows[2], "no channel".to_owned()), (&rows[5], rows[5].body.replace("eip155:8453", "eip155:1"))]
    {
        let corrupt = Channel { body, ..row.clone() };
        assert!(books.ledger.channel_put(corrupt, None, NOW).await.unwrap());
    }
    books.clock.set(LATER);
    let worker = books.seeing(eager());
    assert_eq!(worker.run_due().await.unwrap().troubled, 2);
    assert_eq!((books.vault.claimed(), books.vault.paid()), (8 * PRICE, 8 * PRICE));
    let report = worker.report().await.unwrap();
    assert_eq!((report.unreadable, report.sums[0].channels), (2, 8));
}

#[tokio::test]
async fn claims_wait_for_company_for_value_and_for_age() {
    let books = Books::with(5).await;
    let policy = ClaimPolicy::default().max_waiting(6).value_at_risk("$0.06".parse().unwrap());
    let worker = books.seeing(policy.max_age_seconds(7_200));
    books.clock.set(LATER);
    let outcome = worker.run_due().await.unwrap();
    assert_eq!((outcome.steps.len(), outcome.deferred), (0, 5));
    let first = books.all().await[0].id.clone();
    books.charge(&first, 2 * PRICE).await;
    books.clock.set(LATER.plus_seconds(600));
    worker.run_due().await.unwrap();
    assert_eq!(books.vault.claimed(), 6 * PRICE, "six cents are at risk");
    books.charge(&first, 3 * PRICE).await;
    let row = books.channel(&first).await;
    let due = Channel { due: LATER.plus_seconds(700), ..row };
    assert!(books.ledger.channel_put(due, None, books.clock.now()).await.unwrap());
    for hour in 0..=2 {
        assert_eq!(books.vault.claimed(), 6 * PRICE, "{hour}");
        books.clock.set(LATER.plus_seconds(700 + 3_600 * hour));
        worker.run_due().await.unwrap();
    }
    assert_eq!(books.vault.claimed(), 7 * PRICE, "it has waited for two hours");
}

#[tokio::test]
async fn a_claim_that_costs_more_than_it_brings_waits_but_not_for_a_withdrawal() {
    let books = Books::with(5).await;
    let cost = ClaimCost { per_claim: "$0.06".parse().unwrap(), per_channel: "$0.001".parse().unwrap() };
    let worker = books.seeing(eager().costs(cost));
    books.clock.set(LATER);
    let outcome = worker.run_due().await.unwrap();
    assert_eq!((outcome.steps.len(), outcome.deferred), (0, 5));
    let first = books.all().await[0].id.clone();
    books.vault.change(&first, |backing| backing.withdraw_requested_at = Some(LATER));
    books.clock.set(LATER.plus_seconds(DELAY_SECONDS / 3));
    worker.run_due().await.unwrap();
    assert_eq!(books.claims(), [vec![(first.id().to_owned(), PRICE)]]);
    assert_eq!(books.vault.paid(), PRICE);
    books.charge(&books.all().await[1].id, 8 * PRICE).await;
    books.clock.set(LATER.plus_seconds(DELAY_SECONDS));
    worker.run_due().await.unwrap();
    assert!(books.is_all_claimed().await, "now it brings more");
}

#[tokio::test]
async fn a_payout_without_an_answer_is_asked_again_and_one_that_is_not_needed_is_done() {
    let books = Books::with(2).await;
    books.clock.set(LATER);
    let worker = books.seeing(eager());
    worker.claim(&[]).await.unwrap();
    assert_eq!((books.vault.claimed(), books.payouts()), (2 * PRICE, 0), "by hand it is two steps");
    books.vault.then(Mishap::Lost);
    let outcome = worker.settle().await.unwrap();
    assert!(matches!(ends(&outcome, "settle")[..], [ClaimEnd::Pending(_)]), "{outcome:?}");
    assert!(worker.report().await.unwrap().sums[0].is_payout_due);
    books.clock.set(LATER.plus_seconds(60));
    let outcome = worker.run_due().await.unwrap();
    assert_eq!(ends(&outcome, "settle"), [ClaimEnd::Done(String::new())], "somebody has had it paid out");
    assert!(!worker.report().await.unwrap().sums[0].is_payout_due);
    assert_eq!(books.vault.paid(), 2 * PRICE);
}

#[tokio::test]
async fn every_receiver_is_paid_out_however_many_there_are() {
    let books = Books::with(1).await;
    books.clock.set(LATER);
    let worker = books.seeing(eager());
    worker.claim(&[]).await.unwrap();
    let first = books.ledger.channel_list("seller-payout", None, 10).await.unwrap().remove(0);
    for number in 1..150 {
        let mut body: Value = serde_json::from_str(&first.body).unwrap();
        let receiver = format!("0x{number:040x}");
        body["offer"]["pay_to"] = receiver.as_str().into();
        let id = ChannelKey::new(format!("eip155:8453/{receiver}"));
        let copy = Channel { id, version: 0, body: body.to_string(), ..first.clone() };
        assert!(books.ledger.channel_put(copy, None, LATER).await.unwrap());
    }
    let outcome = worker.settle().await.unwrap();
    assert_eq!((ends(&outcome, "settle").len(), outcome.troubled), (150, 0));
}

#[tokio::test]
async fn a_refund_that_landed_right_after_a_look_is_seen_and_not_asked_for_again() {
    let books = Books::with(1).await;
    let worker = books.seeing(eager());
    let before = books.all().await.remove(0);
    books.vault.then(Mishap::Lost);
    let told = worker.refund(&before.id, Some(30_000u64.into())).await.unwrap().unwrap();
    assert!(matches!(told.end, ClaimEnd::Pending(_)), "{told:?}");
    // A request has looked in between, and saw the channel as it was.
    books.clock.set(LATER);
    let row = books.channel(&before.id).await;
    let [mut body, old] = [&row.body, &before.body].map(|body| serde_json::from_str::<Value>(body).unwrap());
    body["seen"] = old["seen"].clone();
    body["seen"]["at"] = LATER.0.into();
    assert!(books.ledger.channel_put(Channel { body: body.to_string(), ..row }, None, LATER).await.unwrap());
    let outcome = worker.run_due().await.unwrap();
    assert_eq!(ends(&outcome, "refund"), [], "{outcome:?}");
    assert_eq!(books.vault.paid(), PRICE, "what was charged is claimed with it and paid out");
}

#[tokio::test]
async fn what_nobody_uses_is_given_back_once() {
    let books = Books::with(3).await;
    let (week, day) = (7 * 86_400, 86_400);
    let worker = books.seeing(eager().idle_refund_seconds(week));
    books.clock.set(LATER);
    worker.run_due().await.unwrap();
    assert!(books.is_all_claimed().await);
    let used = books.all().await[0].clone();
    let used = Channel { used_at: NOW.plus_seconds(week), ..used };
    assert!(books.ledger.channel_put(used.clone(), None, LATER).await.unwrap());
    for offset in [week - day, week + 1] {
        books.clock.set(NOW.plus_seconds(offset));
        worker.sweep_all().await.unwrap();
        let outcome = worker.run_due().await.unwrap();
        let refunds = if offset < week { 0 } else { 2 };
        assert_eq!(ends(&outcome, "refund").len(), refunds, "{outcome:?}");
    }
    for channel in books.all().await {
        let left = if channel.id == used.id { DEPOSIT } else { PRICE };
        assert_eq!(number(books.vault.backing(channel.id.id()).balance), left);
    }
    worker.sweep_all().await.unwrap();
    assert!(worker.run_due().await.unwrap().steps.is_empty(), "what is empty is not given back again");
}

#[tokio::test]
async fn a_refund_without_an_answer_is_asked_again_as_it_was() {
    for mishap in [Mishap::Lost, Mishap::Silent] {
        let books = Books::with(1).await;
        let worker = books.seeing(eager());
        let key = books.all().await[0].id.clone();
        books.vault.then(mishap);
        let told = worker.refund(&key, Some(30_000u64.into())).await.unwrap().unwrap();
        assert!(matches!(told.end, ClaimEnd::Pending(_)), "{told:?}");
        books.clock.set(LATER);
        worker.run_due().await.unwrap();
        let backing = books.vault.backing(key.id());
        assert_eq!(
            (number(backing.balance), number(backing.refund_nonce)),
            (DEPOSIT - 30_000, 1),
            "{mishap:?}"
        );
        worker.run_due().await.unwrap();
        assert!(books.is_all_claimed().await);
        assert_eq!(books.vault.paid(), PRICE, "what was charged is claimed with it and paid out");
    }
}
