//! What a payment costs to read and to believe, on one core, without a chain.
//!
//! Measured: a `PAYMENT-SIGNATURE` header of x402 v2, base64 and JSON undone, then every rule of scheme `exact`
//! that needs nobody else, the signature last. Each payment is another one, so no cache helps.
//!
//! The floor is one recovery of a public key by libsecp256k1: whoever checks a payment does at least that. How
//! to read it: what is above the floor is ours to make cheaper, what is below is the curve's. The parts are
//! measured alone and need not add up: caches and branches are warmer than in the whole.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::hint::black_box;

use anyhow::{Context, Result, bail, ensure};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements, X402Version};
use tollway_core::{Clock, JsonObject, Price, SellerScheme, SystemClock, Terms, UnixTime, wire};
use tollway_evm::eip712::Domain;
use tollway_evm::exact::{self, ExactPayment, ExactSeller};
use tollway_evm::signature::{self, PayerSignature};
use tollway_evm::{AssetTable, B256, Signature};

use super::market::{account, block_on, sign};
use super::{Row, Rows, median};

/// Several times as many as any table of recent signatures holds: each round must recover all of them anew.
const PAYMENTS: usize = 20_000;
const RUNS: usize = 5;
const PARAMS: &str = "scheme=exact version=2";
const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// A signed payment at each stage of being checked.
struct Sample {
    header: String,
    payment: PaymentPayload,
    checked: ExactPayment,
    digest: B256,
    signature: Signature,
}

/// Measures the whole, its parts and the floor.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let offer = offer()?;
    let now = SystemClock.now();
    let domain = domain(&offer)?;
    let samples = samples(&offer, &domain, now)?;

    let whole = time(&samples, |sample| {
        let payment = decode(&sample.header);
        payment.is_some_and(|payment| exact::check(&payment, &offer, now).is_ok())
    })?;
    rows.push(row("tollway", "decode and check", whole, "us/payment"));
    rows.push(row("tollway", "payments", 1e6 / whole, "1/s"));

    let recover = |sample: &Sample| signature::recover(sample.digest, &sample.signature).is_ok();
    let floor = time(&samples, recover)?;
    rows.push(row("floor: one recover", "recover", floor, "us/payment"));
    rows.push(row("floor: one recover", "payments", 1e6 / floor, "1/s"));
    rows.push(row("tollway", "over the floor", whole - floor, "us/payment"));

    let part = time(&samples, |sample| decode(&sample.header).is_some())?;
    rows.push(row("tollway", "part: base64 and JSON", part, "us/payment"));
    let part = time(&samples, |sample| exact::check(&sample.payment, &offer, now).is_ok())?;
    rows.push(row("tollway", "part: all rules", part, "us/payment"));
    let part = time(&samples, |sample| {
        let digest =
            self::domain(&offer).map(|domain| domain.digest(&sample.checked.authorization.message()));
        digest.is_ok_and(|digest| digest == sample.digest)
    })?;
    rows.push(row("tollway", "part: EIP-712 digest", part, "us/payment"));

    let pure =
        time(&samples, |sample| sample.signature.recover_address_from_prehash(&sample.digest).is_ok())?;
    rows.push(row("k256 (pure Rust)", "recover", pure, "us/payment"));
    Ok(())
}

/// The median time of one operation, microseconds. All of them must succeed: an error is quick.
fn time(samples: &[Sample], operation: impl Fn(&Sample) -> bool) -> Result<f64> {
    ensure!(samples.iter().all(&operation), "an operation that is measured fails");
    let round = median(RUNS, || {
        for sample in samples {
            black_box(operation(black_box(sample)));
        }
    });
    Ok(round.as_secs_f64() * 1e6 / f64::from(u32::try_from(samples.len())?))
}

fn row(system: &str, metric: &'static str, value: f64, unit: &'static str) -> Row {
    Row { bench: "verify", system: system.to_owned(), params: PARAMS.to_owned(), metric, value, unit }
}

fn decode(header: &str) -> Option<PaymentPayload> {
    let json = wire::decode_header("PAYMENT-SIGNATURE", header.as_bytes()).ok()?;
    wire::decode_payment(&json).ok()
}

/// A cent in USDC on Base.
fn offer() -> Result<PaymentRequirements> {
    let terms = Terms { network: "eip155:8453".parse()?, pay_to: PAYEE.to_owned(), max_timeout_seconds: 300 };
    Ok(ExactSeller::new(AssetTable::known()).offer(&Price::Money("$0.01".parse()?), &terms)?)
}

fn domain(offer: &PaymentRequirements) -> Result<Domain> {
    let text = |field| offer.extra_str(field).context("the offer names its domain");
    let domain = Domain::new(&offer.network, offer.asset.parse()?, text("name")?, text("version")?);
    domain.context("an EVM network")
}

fn samples(offer: &PaymentRequirements, domain: &Domain, now: UnixTime) -> Result<Vec<Sample>> {
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(tollway_core::model::ResourceInfo::new("https://api.example.com/data")),
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let wallet = account(2, AssetTable::known())?;
    let url = "https://api.example.com/data";
    let headers = block_on(sign(&wallet, &required, url, PAYMENTS))??;
    let sample = |header: String| {
        let payment = decode(&header).context("what we signed is a payment")?;
        let checked = exact::check(&payment, offer, now)?;
        let digest = domain.digest(&checked.authorization.message());
        let PayerSignature::Key(signature) = checked.signature else { bail!("signed by a key") };
        Ok(Sample { header, payment, checked, digest, signature })
    };
    headers.into_iter().map(sample).collect()
}
