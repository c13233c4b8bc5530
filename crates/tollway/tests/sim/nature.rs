//! Blocks, and whatever goes wrong with nodes, disks and processes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollway_devnet::{ACCOUNTS, Fault};
use tollway_evm::exact::{self, ExactPayment};
use tollway_evm::{LocalSigner, Signer, Transaction, U256};

use crate::dice::Dice;
use crate::world::World;

/// How often, in ten thousand seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NatureRisk {
    pub(crate) reorg: u64,
    pub(crate) hold: u64,
    pub(crate) node: u64,
    pub(crate) disk_full: u64,
    pub(crate) kill: u64,
}

/// Runs for ever: a block every second, and now and then a misfortune.
pub(crate) async fn run(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.raise_the_dead();
        if world.is_calm.load(Ordering::Relaxed) {
            world.chain.mine();
            continue;
        }
        misfortune(&world);
        let (number, _) = world.chain.mine();
        world.market.dice.note(&format!("block {number}"));
    }
}

fn misfortune(world: &Arc<World>) {
    let (dice, risk) = (&world.market.dice, world.market.plan.nature);
    let faults = world.chain.faults();
    if dice.happens(risk.reorg) {
        let fault = Fault::Reorg { depth: 1 + dice.below(5), lost: dice.happens(5_000) };
        dice.note(&format!("{fault:?}"));
        faults.inject(fault);
    }
    if dice.happens(risk.hold) {
        faults.inject(Fault::Hold);
        let (world, pause) = (Arc::clone(world), Duration::from_secs(1 + dice.below(15)));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.chain.faults().inject(Fault::Release);
        });
    }
    if dice.happens(risk.node) {
        let fault = node_fault(dice);
        dice.note(&format!("{fault:?}"));
        faults.inject(fault);
    }
    if dice.happens(risk.disk_full) {
        let disks = [&world.facilitator_disk_full, &world.seller_disk_full];
        let disk = Arc::clone(disks[dice.below(2) as usize]);
        let pause = Duration::from_secs(1 + dice.below(6));
        dice.note("a disk is full");
        disk.store(true, Ordering::Relaxed);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            disk.store(false, Ordering::Relaxed);
        });
    }
    if dice.happens(risk.kill) {
        world.kill_one();
    }
}

/// Something that a node, or the way to it, may do.
fn node_fault(dice: &Dice) -> Fault {
    let methods = [
        "eth_sendRawTransaction",
        "eth_getTransactionReceipt",
        "eth_call",
        "eth_getBlockByNumber",
        "eth_getTransactionCount",
        "eth_getLogs",
    ];
    let any = || Some(methods[dice.below(methods.len() as u64) as usize].to_owned());
    let sent = || Some("eth_sendRawTransaction".to_owned());
    let some = 1 + dice.below(20);
    match dice.below(10) {
        0 | 1 => {
            let message = "internal error".to_owned();
            Fault::Error { method: any(), count: some, code: -32_603, message, http_status: None }
        }
        2 => Fault::Drop { count: 1 + dice.below(2) },
        3 => Fault::Duplicate { count: 1 + dice.below(3) },
        4 => Fault::Delay {
            method: any(),
            count: Some(some),
            delay_ms: dice.below(8_000),
            inbound: dice.happens(5_000),
        },
        5 => Fault::Mute { method: any(), count: Some(1 + dice.below(3)) },
        6 => Fault::AnswerLost {
            method: sent(),
            count: Some(1),
            silent: dice.happens(5_000),
            http_status: None,
        },
        7 => Fault::Stale { method: any(), count: Some(some), blocks: 1 + dice.below(5) },
        8 => Fault::FeeSpike { factor: 2 + dice.below(20), blocks: 1 + dice.below(8) },
        _ => Fault::Restart,
    }
}

/// Somebody who has seen an authorization sends it first. The money goes where it was to go.
pub(crate) async fn rival(world: Arc<World>, payment: ExactPayment) {
    let dice = &world.market.dice;
    tokio::time::sleep(dice.pause(Duration::from_secs(4))).await;
    let signer = LocalSigner::from_hex(&ACCOUNTS[9].secret_key.to_string()).expect("a key");
    let call = exact::transfer_call(&payment);
    let truth = &world.market.truth;
    let Ok(nonce) = truth.nonce(signer.address()).await else { return };
    let transaction = Transaction {
        chain_id: truth.chain_id(),
        nonce,
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: 200_000,
        max_fee_per_gas: 400_000_000_000,
        max_priority_fee_per_gas: 50_000_000_000,
    };
    let signed = transaction.sign(&signer).await.expect("a local key");
    dice.note("a rival sends what it has seen");
    drop(truth.send_raw(&signed.raw).await);
}
