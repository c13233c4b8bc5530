//! Reading and writing the objects that are on every paid request's path.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::hint::black_box;

use anyhow::{Context, Result};
use serde_json::Value;
use tollway_core::wire;

use super::{Row, Rows, median};

const RUNS: usize = 21;
const OPERATIONS: u32 = 2_000;

/// Real payments as the published packages write them.
const VECTORS: &str = include_str!("../../../crates/tollway-core/tests/vectors/typescript.json");

/// Measures one object of each kind.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let payment = vector("payment-local-branded")?;
    let decode = || {
        let json = wire::decode_header("payment", payment.as_bytes())?;
        wire::decode_payment(&json)
    };
    let decoded = decode()?;
    row(rows, "payment header", "decode", || black_box(decode()).is_ok());
    row(rows, "payment header", "encode", || !black_box(wire::encode_payment_header(&decoded)).1.is_empty());

    let request = vector("verify-local-branded")?;
    row(rows, "facilitator request", "decode", || {
        black_box(wire::decode_facilitator_request(black_box(request.as_bytes()))).is_ok()
    });
    Ok(())
}

fn row(rows: &mut Rows, params: &str, metric: &'static str, mut operation: impl FnMut() -> bool) {
    let time = median(RUNS, || {
        for _ in 0..OPERATIONS {
            black_box(operation());
        }
    });
    rows.push(Row {
        bench: "codec",
        system: "tollway".to_owned(),
        params: params.to_owned(),
        metric,
        value: time.as_secs_f64() * 1e6 / f64::from(OPERATIONS),
        unit: "us/op",
    });
}

fn vector(name: &str) -> Result<String> {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS)?;
    let wire =
        vectors.iter().find(|vector| vector["name"] == name).and_then(|vector| vector["wire"].as_str());
    wire.map(str::to_owned).with_context(|| format!("there is no vector {name:?}"))
}
