//! Gas a payment against how many are in one transaction, measured on anvil from receipts.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use anyhow::{Context, Result};
use serde_json::json;
use tollway_core::{Clock, SystemClock, wire};
use tollway_evm::{B256, Call, LocalSigner, Transaction, U256, batch, exact};

use super::anvil::{Anvil, Blocks};
use super::cell::Stage;
use super::chart::Curve;
use super::signed::{CHAIN_ID, Flaw, PAYERS, Signed, lanes};
use super::{Row, Rows};

/// Payments in a transaction.
const SIZES: [usize; 9] = [1, 2, 5, 10, 20, 50, 75, 100, 150];
const EACH: &str = "each by another payer";
const ONE: &str = "all by one payer";
const GAS_LIMIT: u64 = 1 << 24;
const GWEI: u128 = 1_000_000_000;

/// Two curves: payments by different payers, and by one.
pub(super) fn measure(stage: &Stage, rows: &mut Rows) -> Result<Vec<Curve>> {
    let (key, address) = lanes(1)?.pop().context("one key")?;
    let signer = LocalSigner::from_hex(&key)?;
    let curves = stage.runtime.block_on(async {
        let (anvil, payers, lanes) = (&stage.programs.anvil, stage.signed.payers(), [address]);
        let start = Anvil::start(anvil, Blocks::Held, payers, &lanes);
        let mut sender = Sender { anvil: start.await?, signer, nonce: 0 };
        // Whoever is paid for the first time costs more.
        sender.gas(&stage.signed, [PAYERS - 1]).await?;
        let mut curves = Vec::new();
        for name in [EACH, ONE] {
            let (mut points, mut next) = (Vec::new(), 0);
            for (turn, size) in SIZES.into_iter().enumerate() {
                // Payments of one payer are as far apart as there are payers; the first of each is the other curve's.
                let numbers =
                    (0..size).map(|at| if name == EACH { next + at } else { turn + (at + 1) * PAYERS });
                let gas = sender.gas(&stage.signed, numbers).await?;
                next += size;
                let size = f64::from(u32::try_from(size)?);
                points.push((size, gas / size));
            }
            curves.push((name.to_owned(), points));
        }
        Ok::<_, anyhow::Error>(curves)
    })?;
    for (name, points) in &curves {
        for (size, value) in points {
            let (system, params) = (name.clone(), format!("batch={size}"));
            rows.push(Row {
                bench: "settle",
                system,
                params,
                metric: "gas per payment",
                value: *value,
                unit: "gas",
            });
        }
    }
    Ok(curves)
}

struct Sender {
    anvil: Anvil,
    signer: LocalSigner,
    nonce: u64,
}

impl Sender {
    /// What one transaction with those payments uses.
    async fn gas(&mut self, signed: &Signed, numbers: impl IntoIterator<Item = usize>) -> Result<f64> {
        let now = SystemClock.now();
        let call = |number| {
            let request = wire::decode_facilitator_request(&signed.body(number, Flaw::None)?)?;
            Ok(exact::transfer_call(&exact::check(&request.payment, &request.requirements, now)?))
        };
        let mut calls = numbers.into_iter().map(call).collect::<Result<Vec<Call>>>()?;
        // As a lane does: one payment needs no batch.
        let call = if calls.len() == 1 { calls.remove(0) } else { batch(calls) };
        let transaction = Transaction {
            chain_id: CHAIN_ID,
            nonce: self.nonce,
            to: call.to,
            value: U256::ZERO,
            data: call.data,
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: 100 * GWEI,
            max_priority_fee_per_gas: GWEI,
        };
        let raw = transaction.sign(&self.signer).await?.raw;
        let hash: B256 = self.anvil.chain.send_raw(&raw).await?;
        self.anvil.chain.raw("evm_mine", json!([])).await?;
        self.nonce += 1;
        let receipt = self.anvil.chain.receipt(hash).await?.context("a mined transaction has a receipt")?;
        anyhow::ensure!(receipt.status(), "a transaction of the gas curve failed");
        Ok(f64::from(u32::try_from(receipt.gas_used)?))
    }
}
