//! A seller with a till: takes vouchers on channels as the scheme has it, and says of them what is so. What goes wrong on the
//! way, or what it says instead, is up to a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;
use tollway_core::model::{PaymentRequirements, SettleResponse};
use tollway_core::{
    Amount, Backing, ChannelKey, ChannelScheme, ChannelSnapshot, Clock, CommitmentKind, Network, Price,
    SellerScheme, SystemClock, Terms, X402Version, wire,
};
use tollway_evm::LocalSigner;
use tollway_evm::batch_settlement::BatchSettlement;

use crate::purse::{SHOP, USDC, assets};
use crate::shop::{Seen, challenge};

/// Who authorizes claims: the key of nobody's account.
const AUTHORIZER: &str = "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";

/// What the till knows of a channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) charged: u64,
    pub(crate) balance: u64,
    pub(crate) claimed: u64,
    pub(crate) signed: u64,
    pub(crate) proof: String,
    /// For what it was charged last, on which ceiling, and what was answered.
    last: Option<(String, u64, HeaderValue)>,
}

/// The till.
#[derive(Clone, Debug)]
pub(crate) struct Till {
    scheme: Arc<BatchSettlement>,
    pub(crate) rows: Arc<Mutex<BTreeMap<ChannelKey, Row>>>,
    /// What was charged, in order: for which path, and how much.
    pub(crate) charges: Arc<Mutex<Vec<(String, u64)>>>,
    deposits: Arc<Mutex<Vec<String>>>,
}

impl Till {
    pub(crate) fn new() -> Self {
        let key = Arc::new(LocalSigner::from_hex(AUTHORIZER).unwrap());
        Self {
            scheme: Arc::new(BatchSettlement::new(assets()).with_key(key)),
            rows: Arc::default(),
            charges: Arc::default(),
            deposits: Arc::default(),
        }
    }

    /// An offer of `amount` atomic units of USDC a request.
    pub(crate) fn offer(&self, amount: u64) -> PaymentRequirements {
        let extra = serde_json::json!({"name": "USD Coin", "version": "2"});
        let price = Price::Asset {
            amount: amount.into(),
            asset: USDC.to_owned(),
            extra: extra.as_object().unwrap().clone(),
        };
        let terms = Terms { network: Network::evm(31337), pay_to: SHOP.to_owned(), max_timeout_seconds: 60 };
        self.scheme.offer(&price, &terms).unwrap()
    }

    /// What was charged in all, of all channels.
    pub(crate) fn charged(&self) -> u64 {
        self.rows.lock().unwrap().values().map(|row| row.charged).sum()
    }

    /// How many deposits were made.
    pub(crate) fn deposits(&self) -> usize {
        self.deposits.lock().unwrap().len()
    }

    /// The bill, or the goods for what was paid, at `price`, of which a metered answer costs less.
    pub(crate) fn sell(&self, seen: &Seen, price: u64) -> Response {
        let offer = self.offer(price);
        if seen.payment().is_none() {
            return challenge(&seen.bill(vec![offer]));
        }
        let payment = seen.decoded();
        let scheme: &dyn ChannelScheme = &*self.scheme;
        let asked = match scheme.commitment(&payment, &offer, SystemClock.now()) {
            Ok(asked) => asked,
            Err(refusal) => return refuse(seen, offer, refusal.code.as_str()),
        };
        let (ceiling, mut rows) = (number(asked.ceiling), self.rows.lock().unwrap());
        let row = rows.entry(asked.channel.clone()).or_default();
        if let CommitmentKind::Refund { amount } = asked.kind {
            let left = row.balance - row.charged;
            let back = amount.map_or(left, number).min(left);
            if ceiling != row.charged {
                let corrected = scheme.corrected(&offer, &snapshot(&asked.channel, row));
                return refuse(seen, corrected, scheme.codes().mismatch.as_str());
            }
            row.balance -= back;
            row.claimed = row.charged;
            let moved = moved(&asked.payer, back);
            let told =
                scheme.receipt(&offer, &asked.payer, &snapshot(&asked.channel, row), None, Some(&moved));
            return answer("", &header(&told));
        }
        if let Some((path, on, told)) = &row.last
            && *path == seen.path
            && *on == ceiling
        {
            return answer(&seen.path, told);
        }
        if ceiling != row.charged + price {
            let corrected = scheme.corrected(&offer, &snapshot(&asked.channel, row));
            return refuse(seen, corrected, scheme.codes().mismatch.as_str());
        }
        let mut settled = None;
        if let CommitmentKind::Deposit { amount, key } = &asked.kind {
            let mut known = self.deposits.lock().unwrap();
            if !known.contains(&key.to_string()) {
                known.push(key.to_string());
                row.balance += number(*amount);
            }
            settled = Some(moved(&asked.payer, number(*amount)));
        }
        if ceiling > row.balance {
            let code =
                if row.balance == 0 { &scheme.codes().missing } else { &scheme.codes().exceeds_balance };
            return refuse(seen, offer, code.as_str());
        }
        let cost = cost_of(&seen.path, price);
        row.charged += cost;
        row.signed = ceiling;
        row.proof = asked.proof;
        self.charges.lock().unwrap().push((seen.path.clone(), cost));
        let charged = Some(Amount::from(cost));
        let told =
            scheme.receipt(&offer, &asked.payer, &snapshot(&asked.channel, row), charged, settled.as_ref());
        let told = header(&told);
        row.last = Some((seen.path.clone(), ceiling, told.clone()));
        answer(&seen.path, &told)
    }
}

/// `/metered/7`: a hundredth of the price for each. Everything else costs the price.
fn cost_of(path: &str, price: u64) -> u64 {
    match path.strip_prefix("/metered/") {
        Some(parts) => price * parts.parse::<u64>().unwrap() / 100,
        None => price,
    }
}

fn snapshot(channel: &ChannelKey, row: &Row) -> ChannelSnapshot {
    ChannelSnapshot {
        channel: channel.clone(),
        charged: row.charged.into(),
        backing: Backing { balance: row.balance.into(), claimed: row.claimed.into(), ..Backing::default() },
        signed: row.signed.into(),
        proof: row.proof.clone(),
    }
}

fn moved(payer: &str, amount: u64) -> SettleResponse {
    let settled = SettleResponse::settled(Network::evm(31337), payer, format!("0x{}", "ab".repeat(32)));
    SettleResponse { amount: Some(amount.to_string()), ..settled }
}

fn header(told: &SettleResponse) -> HeaderValue {
    wire::encode_settlement_header(told, X402Version::V2).1.parse().unwrap()
}

fn answer(path: &str, told: &HeaderValue) -> Response {
    let response = Response::builder().header(wire::PAYMENT_RESPONSE, told);
    response.body(Body::from(format!("goods at {path}"))).unwrap()
}

/// A 402 that says why.
pub(crate) fn refuse(seen: &Seen, offer: PaymentRequirements, error: &str) -> Response {
    let mut bill = seen.bill(vec![offer]);
    bill.error = Some(error.to_owned());
    challenge(&bill)
}

/// The same answer, which says something else of what was paid.
pub(crate) fn lying(mut response: Response, lie: impl Fn(&mut SettleResponse)) -> Response {
    let Some(value) = response.headers().get(wire::PAYMENT_RESPONSE) else { return response };
    let json = wire::decode_header("told", value.as_bytes()).unwrap();
    let mut told = wire::decode_settle_response(&json, &Network::evm(31337)).unwrap();
    lie(&mut told);
    response.headers_mut().insert(wire::PAYMENT_RESPONSE, header(&told));
    response
}

pub(crate) fn number(amount: Amount) -> u64 {
    amount.to_string().parse().unwrap()
}
