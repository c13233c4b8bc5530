//! How fast each store is on this machine: `cargo run --release -p tollway-ledger --features test-server --example
//! throughput`. One caller alone, then 64 or 256 at once.

#![expect(clippy::print_stdout, reason = "the numbers are the purpose")]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tollway_core::{AuthorizationKey, Fingerprint, Network, UnixTime};
use tollway_ledger::{
    Advance, Changed, Condition, Fate, Finish, Hold, Intent, IntentChange, IntentId, Ledger, LedgerError,
    MemoryLedger, NewHold, NewIntent, NewReservation, NewSettlement, NewTransaction, Opened, Role, Sent,
    SettlementState, Token, TransactionChange, TransactionState, open,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Task = tokio::task::JoinHandle<Result<Vec<Duration>, Failure>>;

const NOW: UnixTime = UnixTime(1_000);
const UNTIL: UnixTime = UnixTime(1_000_000);
const BATCH: u64 = 100;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    measure("memory", Arc::new(MemoryLedger::new())).await?;
    let folder = tempfile::tempdir()?;
    measure("sqlite", open(&format!("sqlite:{}", folder.path().join("ledger.db").display())).await?).await?;
    if let Some(server) = tollway_ledger::TestServer::start_new().await? {
        measure("postgres", open(&server.database().await?).await?).await?;
    }
    Ok(())
}

/// The life of a purchase: opened with what it counts in six windows, signed, paid.
async fn intents(ledger: Arc<dyn Ledger>, caller: String, rounds: u64) -> Result<Vec<Duration>, Failure> {
    let member = ledger.member_join(Role::Buyer, &caller, NOW, UNTIL).await?;
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let hold = |budget: &str| NewHold {
            hold: Hold { budget: format!("0xpayer|{budget}"), window: NOW, until: UNTIL, amount: 1.into() },
            limit: 1_000_000.into(),
        };
        let rules =
            ["org|*|day", "org|*|month", "team|*|day", "agent|*|hour", "agent|*|day", "agent|host|day"];
        let begun = Instant::now();
        let intent = Intent {
            id: IntentId(id),
            wallet: "0xpayer".to_owned(),
            agent: Some(caller.clone()),
            key: Some(format!("{caller}-{round}")),
            version: 0,
            holder: Some(member.clone()),
            is_open: true,
            repeat_until: NOW,
            due: NOW,
            created: NOW,
            until: UNTIL,
            holds: Vec::new(),
            body: "x".repeat(300),
        };
        let holds = rules.iter().map(|rule| hold(rule)).collect();
        let frozen = Condition::Absent { scope: "0xpayer|switch".to_owned(), name: "org".to_owned() };
        let new = NewIntent { intent, holds, conditions: vec![frozen], is_synced: false, now: NOW };
        let Opened::Fresh(row) = ledger.intent_open(new).await? else { return Err("not fresh".into()) };
        let signed = Intent { body: "x".repeat(1_500), ..row };
        let Changed::Done(row) = ledger.intent_put(IntentChange::new(signed, NOW)).await? else {
            return Err("not signed".into());
        };
        let paid = Intent { holder: None, is_open: false, ..row };
        ledger.intent_put(IntentChange::new(paid, NOW)).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

async fn measure(name: &str, ledger: Arc<dyn Ledger>) -> Result<(), Failure> {
    for (callers, rounds) in [(1, 200), (256, 40)] {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                tokio::spawn(reservations(Arc::clone(&ledger), format!("{callers}-{caller}"), rounds))
            })
            .collect();
        report(&format!("{name}: {callers} callers, reserve and finish"), tasks, begun).await?;
    }
    for (callers, rounds) in [(1, 400), (64, 100)] {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| tokio::spawn(intents(Arc::clone(&ledger), format!("{callers}-{caller}"), rounds)))
            .collect();
        report(&format!("{name}: {callers} callers, open, sign and pay"), tasks, begun).await?;
    }
    for (callers, rounds) in [(1, 5), (256, 40)] {
        let begun = Instant::now();
        let count = settlements(&ledger, callers, rounds).await?;
        println!("{name}: {callers} callers, a settlement's life: {}/s", per_second(count, begun.elapsed()));
    }
    Ok(())
}

async fn report(what: &str, tasks: Vec<Task>, begun: Instant) -> Result<(), Failure> {
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let rate = per_second(latencies.len(), begun.elapsed());
    latencies.sort();
    let middle = latencies[latencies.len() / 2];
    let late = latencies[latencies.len() * 99 / 100];
    println!("{what}: {rate}/s, median {middle:?}, p99 {late:?}");
    Ok(())
}

fn per_second(count: usize, elapsed: Duration) -> u128 {
    count as u128 * 1_000_000 / elapsed.as_micros().max(1)
}

async fn reservations(
    ledger: Arc<dyn Ledger>,
    caller: String,
    rounds: u64,
) -> Result<Vec<Duration>, Failure> {
    let member = ledger.member_join(Role::Seller, &caller, NOW, UNTIL).await?;
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let key = AuthorizationKey::new(format!("eip155:8453/0xasset/0xpayer-{caller}/0xnonce-{round}"));
        let fingerprint = Fingerprint::of("GET", &"https://shop.example/data".parse()?, b"");
        let begun = Instant::now();
        let new = NewReservation {
            key: key.clone(),
            fingerprint,
            payer: caller.clone(),
            identifier: None,
            member: member.clone(),
            token: Token(round),
            valid_before: UNTIL,
            now: NOW,
            capacity: 1_000_000,
        };
        ledger.reservation_insert(new).await?;
        let finish = Finish {
            key,
            token: Token(round),
            fate: Fate::Delivered("0xhash".to_owned()),
            response: None,
            keep_until: UNTIL,
            owed_limits: None,
            now: NOW,
        };
        ledger.reservation_finish(finish).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

/// Accepted by many callers at once, signed in batches, settled, then final.
async fn settlements(ledger: &Arc<dyn Ledger>, callers: u64, rounds: u64) -> Result<usize, Failure> {
    let network = Network::evm(8453);
    let member = ledger.member_join(Role::Facilitator, &callers.to_string(), NOW, UNTIL).await?;
    let lane = format!("0xlane{callers}");
    let Some(lease) = ledger.lane_acquire(&network, &lane, &member, NOW).await? else { return Ok(0) };
    let inserts: Vec<_> = (0..callers)
        .map(|caller| {
            let (ledger, member, network) = (Arc::clone(ledger), member.clone(), network.clone());
            tokio::spawn(async move {
                let mut keys = Vec::new();
                for round in 0..rounds {
                    let key = AuthorizationKey::new(format!("eip155:8453/0xa/{callers}-{caller}/{round}"));
                    ledger.settlement_insert(new(key.clone(), &network, &member)).await?;
                    keys.push(key);
                }
                Ok::<_, LedgerError>(keys)
            })
        })
        .collect();
    let mut keys = Vec::new();
    for insert in inserts {
        keys.extend(insert.await??);
    }
    for (nonce, batch) in (0..).zip(keys.chunks(BATCH as usize)) {
        let hash = format!("0x{callers}-{nonce}");
        let transaction = NewTransaction {
            hash: hash.clone(),
            nonce,
            raw: vec![7; 300 * batch.len()],
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
        };
        let settlements = batch.iter().map(|key| (key.clone(), 1)).collect();
        ledger.settlement_sent(Sent { lease: lease.clone(), transaction, settlements, now: NOW }).await?;
        for (is_final, state) in [(false, TransactionState::Included), (true, TransactionState::Final)] {
            let step = |key: &AuthorizationKey| Advance {
                key: key.clone(),
                attempt: 1,
                to: SettlementState::Settled {
                    transaction: hash.clone(),
                    log_index: 1,
                    block_number: 1,
                    block_hash: "0xblock".to_owned(),
                    is_final,
                },
                deliveries: Vec::new(),
            };
            let change = TransactionChange { hash: hash.clone(), state };
            ledger.settlement_advance(batch.iter().map(step).collect(), vec![change], NOW).await?;
        }
    }
    Ok(keys.len())
}

fn new(key: AuthorizationKey, network: &Network, member: &tollway_ledger::Member) -> NewSettlement {
    NewSettlement {
        key,
        digest: [1; 32],
        payment: "x".repeat(1_200),
        network: network.clone(),
        asset: "0xasset".to_owned(),
        payer: "0xpayer".to_owned(),
        pay_to: "0xpayee".to_owned(),
        amount: 10_000.into(),
        caller: None,
        valid_before: UNTIL,
        confirmations: 1,
        member: member.clone(),
        now: NOW,
    }
}
