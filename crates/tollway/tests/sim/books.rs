//! What left the shops, held in the end against the chain and the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy_primitives::{B256, keccak256};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tollway_buyer::budget_prefix;
use tollway_core::{Amount, UnixTime};
use tollway_devnet::ACCOUNTS;
use tollway_evm::exact::{self, ExactPayment};
use tollway_evm::{Chain, U256};
use tollway_ledger::{Budget, Ledger, Settlement, SettlementQuery, SettlementState};

use crate::buyer::{BUDGET, BUDGET_ATOMIC, BUDGET_WINDOW, FRUGAL, Payer, PayerKind, SEEN_AT_ONCE};
use crate::shop::{OWED_IN_ALL_ATOMIC, Route};
use crate::world::{Market, PRICE_ATOMIC, Report, World};

/// Budgets count dollars in 18 decimals, of which the token has 6.
const COUNTED_AS: u64 = 1_000_000_000_000;
/// When every authorization has expired on a final block, after everything came to rest.
const DEAD_BY: Duration = Duration::from_secs(1_200);

/// Everything signed, by number.
#[derive(Debug, Default)]
pub(crate) struct Books {
    signed: Vec<Signed>,
    pub(crate) unasked: u64,
    pub(crate) over_budget: u64,
}

#[derive(Debug)]
struct Signed {
    purchase: u64,
    route: Route,
    payment: ExactPayment,
    /// Which payer, and when.
    by: (usize, UnixTime),
    /// The different answers that left a shop for it: a stored answer that leaves again is the same.
    answers: BTreeSet<Vec<u8>>,
}

impl Books {
    pub(crate) fn sign(
        &mut self,
        purchase: u64,
        route: Route,
        payment: &ExactPayment,
        by: (usize, UnixTime),
    ) -> usize {
        self.signed.push(Signed { purchase, route, payment: payment.clone(), by, answers: BTreeSet::new() });
        self.signed.len() - 1
    }

    pub(crate) fn left(&mut self, at: usize, status: StatusCode, body: &[u8]) {
        if status == StatusCode::OK {
            self.signed[at].answers.insert(body.to_vec());
        }
    }

    /// The whole truth, after everything has come to rest.
    pub(crate) async fn audit(&self, world: &World, journal: &dyn Ledger, report: &mut Report) {
        let (market, truth) = (&world.market, &world.market.truth);
        let used = self.used(truth).await;
        self.audit_purchases(&used, report);
        self.audit_budgets(&used, world, report).await;
        let settlements = all(journal).await;
        let unsettled = self.audit_journal(&used, &settlements, report);
        for at in unsettled {
            self.audit_unsettled(at, truth, report).await;
        }
        audit_proofs(&self.signed, &settlements, truth, report).await;
        let settled: U256 = settlements
            .iter()
            .filter(|row| matches!(row.state, SettlementState::Settled { .. }))
            .map(|row| row.amount.atomic())
            .sum();
        let by_rivals = U256::from(report.by_rivals * crate::world::PRICE_ATOMIC);
        let balance = market.token_balance(market.payee).await;
        if balance != settled + by_rivals {
            report.broken(format!(
                "the payee holds {balance}, the journal says {settled}, rivals paid {by_rivals}"
            ));
        }
    }

    async fn used(&self, truth: &Chain) -> Vec<bool> {
        let mut used = Vec::with_capacity(self.signed.len());
        for chunk in self.signed.chunks(100) {
            let payments: Vec<&ExactPayment> = chunk.iter().map(|signed| &signed.payment).collect();
            used.extend(exact::is_used(truth, &payments).await.expect("the truth is always there"));
        }
        used
    }

    fn audit_purchases(&self, used: &[bool], report: &mut Report) {
        let mut charges: BTreeMap<u64, usize> = BTreeMap::new();
        let (mut served, mut unpaid) = (BTreeSet::new(), 0_u64);
        for (at, (signed, used)) in self.signed.iter().zip(used).enumerate() {
            *charges.entry(signed.purchase).or_default() += usize::from(*used);
            if signed.answers.len() > 1 {
                report.broken(format!("{at}: one authorization, {} deliveries", signed.answers.len()));
            }
            if signed.answers.is_empty() {
                continue;
            }
            served.insert(signed.purchase);
            match signed.route {
                _ if *used => {}
                Route::Background => unpaid += 1,
                route => report.broken(format!(
                    "{at}: served by {route:?} and not paid: {}",
                    signed.payment.key().as_str()
                )),
            }
        }
        let twice = charges.iter().filter(|(_, charged)| **charged > 1);
        for (purchase, charged) in twice {
            report.broken(format!("purchase {purchase}: charged {charged} times"));
        }
        if unpaid * crate::world::PRICE_ATOMIC > OWED_IN_ALL_ATOMIC {
            report.broken(format!("{unpaid} background deliveries are unpaid: more than the limit"));
        }
        report.served = served.len() as u64;
        report.charged = charges.values().map(|charged| *charged as u64).sum();
        report.unpaid = unpaid;
        report.signed = self.signed.len() as u64;
    }

    /// What was charged of what was signed in a window is within the budget; and in the end the budget counts just that.
    async fn audit_budgets(&self, used: &[bool], world: &World, report: &mut Report) {
        report.over_budget = self.over_budget;
        let mut charged: BTreeMap<(usize, UnixTime), u64> = BTreeMap::new();
        for (signed, used) in self.signed.iter().zip(used) {
            let (payer, at) = signed.by;
            *charged.entry((payer, BUDGET_WINDOW.at(at).0)).or_default() += u64::from(*used) * PRICE_ATOMIC;
        }
        let frugal = world.payers.iter().enumerate().filter(|(_, payer)| payer.kind == PayerKind::Frugal);
        for (at, payer) in frugal {
            let of = |window: UnixTime| charged.get(&(at, window)).copied().unwrap_or_default();
            for (_, window) in charged.keys().filter(|(payer, _)| *payer == at) {
                if of(*window) > BUDGET_ATOMIC {
                    report.broken(format!("payer {at}: charged {} in a window of {BUDGET}", of(*window)));
                }
            }
            for Budget { window, amount, .. } in counted(payer, &world.market).await {
                if amount != Amount::from(of(window) * COUNTED_AS) {
                    report.broken(format!(
                        "payer {at}: charged {}, counted {amount} in {window:?}",
                        of(window)
                    ));
                }
            }
        }
    }

    /// Each payment's end in the journal is what the chain says of its authorization. Those that were used although the
    /// journal does not say so.
    fn audit_journal(&self, used: &[bool], settlements: &[Settlement], report: &mut Report) -> Vec<usize> {
        let mut unsettled = Vec::new();
        let by_key: BTreeMap<_, _> =
            settlements.iter().map(|row| (row.key.as_str().to_owned(), row)).collect();
        for (at, (signed, used)) in self.signed.iter().zip(used).enumerate() {
            let row = by_key.get(signed.payment.key().as_str());
            match row.map(|row| &row.state) {
                Some(SettlementState::Settled { is_final, .. }) => {
                    report.settled += 1;
                    if !used {
                        report.broken(format!("{at}: the journal says settled, the chain does not"));
                    }
                    if !is_final {
                        report.broken(format!("{at}: settled, and never final"));
                    }
                }
                Some(state) if !state.is_ended() => report.broken(format!("{at}: no end: {state:?}")),
                _ if *used => unsettled.push(at),
                Some(_) | None => {}
            }
        }
        unsettled
    }

    /// A rival may send what never reached a facilitator, or what ended there before. Our own transactions may not.
    async fn audit_unsettled(&self, at: usize, truth: &Chain, report: &mut Report) {
        let found = uses(truth, &self.signed[at].payment).await;
        if found.is_empty() {
            report.broken(format!("{at}: used, and no block tells by what"));
        }
        for hash in found {
            let receipt = truth.receipt(hash).await.expect("the truth is always there").expect("included");
            if receipt.from == ACCOUNTS[9].address {
                report.by_rivals += 1;
            } else {
                report.broken(format!("{at}: paid in our transaction {hash}, and the journal does not know"));
            }
        }
    }
}

/// The transactions that used an authorization, however long ago.
async fn uses(truth: &Chain, payment: &ExactPayment) -> Vec<B256> {
    let event = keccak256("AuthorizationUsed(address,bytes32)");
    let topics = json!([event, payment.authorization.from.into_word(), payment.authorization.nonce]);
    let filter = json!([{ "address": payment.asset, "fromBlock": "0x0", "topics": topics }]);
    let logs = truth.raw("eth_getLogs", filter).await.expect("the truth is always there");
    let hash = |log: &Value| log["transactionHash"].as_str()?.parse().ok();
    logs.as_array().expect("a list").iter().filter_map(hash).collect()
}

async fn all(journal: &dyn Ledger) -> Vec<Settlement> {
    let mut rows: Vec<Settlement> = Vec::new();
    loop {
        let before = rows.last().map(|row| row.sequence);
        let query = SettlementQuery { before, limit: 500, ..SettlementQuery::default() };
        let page = journal.settlement_list(query).await.expect("the disk is well again");
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// The transaction that each settled row names holds its transfer, at the place it names.
/// What a payer's budget counts when everything that was signed is paid or dead.
async fn counted(payer: &Payer, market: &Market) -> Vec<Budget> {
    let wallet = payer.wallet(market);
    tokio::time::sleep(DEAD_BY).await;
    while wallet.reconcile(SEEN_AT_ONCE).await.expect("memory").looked_at > 0 {}
    payer.ledger.budget_list(&budget_prefix(FRUGAL), None, 1_000).await.expect("memory")
}

async fn audit_proofs(signed: &[Signed], settlements: &[Settlement], truth: &Chain, report: &mut Report) {
    let payments: BTreeMap<String, &ExactPayment> =
        signed.iter().map(|signed| (signed.payment.key().as_str().to_owned(), &signed.payment)).collect();
    let mut proofs = BTreeSet::new();
    for row in settlements {
        let SettlementState::Settled { transaction, log_index, .. } = &row.state else { continue };
        let payment = payments[row.key.as_str()];
        let hash = transaction.parse().expect("a hash");
        let receipt = truth.receipt(hash).await.expect("the truth is always there");
        let proof = receipt.as_ref().and_then(|receipt| {
            let logs: Vec<_> =
                receipt.inner.logs().iter().map(|log| (log.log_index, log.inner.clone())).collect();
            let logs = logs.iter().map(|(index, log)| (index.unwrap_or_default(), log));
            exact::prove_transfer(payment, logs)
        });
        if proof.map(|proof| proof.log_index) != Some(*log_index) {
            report.broken(format!(
                "{}: {transaction} does not prove it at {log_index}: {proof:?}",
                row.key.as_str()
            ));
        }
        if !proofs.insert((transaction.clone(), *log_index)) {
            report.broken(format!("{}: its proof proves another payment too", row.key.as_str()));
        }
    }
}
