//! Where the time of a paid request goes: its parts alone, on one core, each beside the least that it could be.
//!
//! A part is measured with everything warm and need not add up with the others to the whole. Each voucher is another one,
//! so that no table of recent signatures helps.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements, X402Version};
use tollway_core::{
    Amount, Backing, ChannelScheme, ChannelSnapshot, Clock, JsonObject, Network, Price, SellerScheme,
    SystemClock, Terms, wire,
};
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::{Asset, AssetTable, B256, Signature, TransferMethod, signature};

use super::channels_agents::{
    CHAIN_ID, PRICE, RECEIVER, WITHDRAW_DELAY_SECONDS, agents, authorizer, domain, sign_vouchers,
    voucher_digest,
};
use super::channels_purse::Purse;
use super::{Row, Rows, median};

const AGENTS: usize = 1_000;
/// Of each: together several times as many as any table of recent signatures holds.
const VOUCHERS: usize = 12;
const RUNS: usize = 5;

/// One part, microseconds.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) ours_us: f64,
    /// The least that it could be, and what that is.
    pub(super) floor_us: f64,
    pub(super) floor: &'static str,
}

struct Sample {
    header: String,
    payment: PaymentPayload,
    digest: B256,
    signature: Signature,
}

/// The token of the devnet.
pub(super) fn assets() -> AssetTable {
    AssetTable::empty().with(Asset {
        network: Network::evm(CHAIN_ID),
        symbol: "USDC".to_owned(),
        address: tollway_devnet::genesis::USDC,
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: true,
        transfer_method: TransferMethod::Eip3009,
    })
}

/// The scheme, as the seller of this bench has it.
pub(super) fn scheme() -> Result<BatchSettlement> {
    Ok(BatchSettlement::new(assets())
        .with_key(Arc::new(authorizer()?))
        .with_withdraw_delay_seconds(u64::from(WITHDRAW_DELAY_SECONDS)))
}

/// All parts that need neither a socket nor a disk.
pub(super) fn run(rows: &mut Rows) -> Result<Vec<Part>> {
    let scheme = scheme()?;
    let network = Network::evm(CHAIN_ID);
    let terms = Terms { network, pay_to: RECEIVER.to_string(), max_timeout_seconds: 300 };
    let offer = scheme.offer(&Price::Money(PRICE.parse()?), &terms)?;
    let samples = samples(&offer)?;
    let (channel, now) = (scheme.channel().context("a scheme of channels")?, SystemClock.now());
    let bytes = |sample: &Sample| STANDARD.decode(&sample.header).is_ok();
    let reads = |sample: &Sample| decode(&sample.header).is_some();
    let judges =
        |sample: &Sample| channel.commitment(&sample.payment, &offer, now).is_ok_and(|said| said.is_proved);
    let recovers = |sample: &Sample| signature::recover(sample.digest, &sample.signature).is_ok();
    let (snapshot, payer) = (snapshot(channel, &samples, &offer)?, RECEIVER.to_string());
    let told = channel.receipt(&offer, &payer, &snapshot, Some(offer.amount), None);
    let tells = |_: &Sample| {
        let receipt = channel.receipt(&offer, &payer, &snapshot, Some(offer.amount), None);
        !wire::encode_settlement_header(&receipt, X402Version::V2).1.is_empty()
    };
    let text = serde_json::to_string(&wire::encode_settle_response(&told, X402Version::V2))?;
    let writes = |_: &Sample| !STANDARD.encode(&text).is_empty();
    let parts = vec![
        Part {
            name: "payment header: base64 and JSON",
            ours_us: time(&samples, reads)?,
            floor_us: time(&samples, bytes)?,
            floor: "base64 alone",
        },
        Part {
            name: "rules of the scheme, the signature last",
            ours_us: time(&samples, judges)?,
            floor_us: time(&samples, recovers)?,
            floor: "one recover by libsecp256k1",
        },
        Part {
            name: "receipt header: JSON and base64",
            ours_us: time(&samples, tells)?,
            floor_us: time(&samples, writes)?,
            floor: "base64 alone",
        },
    ];
    for part in &parts {
        for (system, value) in [("tollway", part.ours_us), (part.floor, part.floor_us)] {
            let (system, params) = (system.to_owned(), part.name.to_owned());
            rows.push(Row { bench: "channels", system, params, metric: "part", value, unit: "us" });
        }
    }
    Ok(parts)
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

fn decode(header: &str) -> Option<PaymentPayload> {
    let json = wire::decode_header("PAYMENT-SIGNATURE", header.as_bytes()).ok()?;
    wire::decode_payment(&json).ok()
}

fn snapshot(
    channel: &dyn ChannelScheme,
    samples: &[Sample],
    offer: &PaymentRequirements,
) -> Result<ChannelSnapshot> {
    let payment = &samples.first().context("a sample")?.payment;
    let said = channel.commitment(payment, offer, SystemClock.now())?;
    let backing = Backing { balance: Amount::from(100_000_000), ..Backing::default() };
    Ok(ChannelSnapshot {
        channel: said.channel,
        charged: said.ceiling,
        backing,
        signed: said.ceiling,
        proof: said.proof,
    })
}

fn samples(offer: &PaymentRequirements) -> Result<Vec<Sample>> {
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(tollway_core::model::ResourceInfo::new("http://127.0.0.1:65535/data")),
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let required = wire::encode_payment_required(&required, X402Version::V2);
    let domain = domain()?;
    let (resource, offer) = (required["resource"].to_string(), required["accepts"][0].to_string());
    let mut samples = Vec::with_capacity(AGENTS * VOUCHERS);
    for agent in agents(AGENTS)? {
        let signed = sign_vouchers(&agent, &domain, VOUCHERS)?;
        let purse = Purse::new("127.0.0.1", &resource, &offer, &agent, &signed);
        for (number, (ceiling, text)) in signed.iter().enumerate() {
            let header = purse.header(number).context("a voucher is there")?;
            let payment = decode(&header).context("what we signed is a payment")?;
            let digest = voucher_digest(&domain, agent.channel, *ceiling);
            samples.push(Sample { header, payment, digest, signature: text.parse()? });
        }
    }
    Ok(samples)
}
