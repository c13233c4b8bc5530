//! Tries every case of every row, and says what came of it.

use std::time::{Duration, Instant};

use reqwest_middleware::ClientWithMiddleware;
use serde_json::{Value, json};
use tollway_buyer::{paid, payment_error};
use tollway_seller::HoldState;

use crate::cases::Case;
use crate::node::Kind;
use crate::peers::Peer;
use crate::stand::{
    CHARGED_ATOMIC, ECHO, FAILS, HELD_AND_FAILS, HELD_BY_PERMIT2, PRICE_ATOMIC, Stand, our_client,
};
use crate::verdicts::{Expected, Row};

/// Servers that settle before the handler runs, and say so nowhere in their offers: a handler that fails is paid for.
const CHARGES_FIRST: [&str; 1] = ["mppx-server"];

/// Servers that have no way to charge less than the maximum: `upto` moves all of it.
const CHARGES_ALL: [&str; 1] = ["x402-axum"];

/// How often it is looked, every 20 ms, whether what was held is back.
const GIVING_BACK_TRIES: usize = 500;

/// One case of one row, tried or not.
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) case: Case,
    pub(crate) expected: Expected,
    /// What came of it; none if there was nothing to try.
    pub(crate) came: Option<Came>,
}

/// What came of a case.
#[derive(Debug)]
pub(crate) enum Came {
    /// Served once, and the money moved once.
    Pass,
    /// It did not, and why.
    Fail(String),
}

/// The matrix, and what it is tried on.
pub(crate) struct Matrix {
    pub(crate) stand: Stand,
}

impl Matrix {
    /// Starts ours, and those of theirs that are `wanted`; none if something is not installed.
    pub(crate) async fn open(kind: Kind, wanted: fn(&Peer) -> bool) -> Option<Self> {
        let started = Instant::now();
        let stand = Stand::open(kind, wanted).await?;
        eprintln!("everybody serves after {:.1?}", started.elapsed());
        Some(Self { stand })
    }

    /// Tries the rows that `which` wants.
    pub(crate) async fn run(&mut self, which: impl Fn(&Row) -> bool) -> Vec<Cell> {
        let started = Instant::now();
        let mut cells = Vec::new();
        let mut slowest = (Duration::ZERO, String::new());
        for row in Row::all().into_iter().filter(which) {
            for case in Case::ALL {
                let expected = row.expected(case);
                let mut came = None;
                if row.is_tried(case) {
                    let tried = Instant::now();
                    came = Some(self.pay(&row, case).await);
                    slowest = slowest.max((tried.elapsed(), name(&row, case)));
                }
                cells.push(Cell { row, case, expected, came });
            }
        }
        let tried = cells.iter().filter(|cell| cell.came.is_some()).count();
        eprintln!(
            "{tried} of {} cells tried in {:.1?}; slowest: {slowest:.1?}",
            cells.len(),
            started.elapsed()
        );
        cells
    }

    /// A paid POST of every client at our seller, and of ours at every seller: what is sent again with the payment is
    /// the whole request. And what a seller's handler fails at is not charged.
    pub(crate) async fn run_requests(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        let rows = Row::all().into_iter().filter(|row| row.facilitator.is_ours());
        for row in rows.filter(|row| !row.only_stranger().is_empty() && row.is_sold(Case::Eip3009)) {
            let body = "{\"a\":1}";
            let echo = json!({ "url": self.stand.route_url(&row, ECHO), "body": body });
            let (answer, moved) = self.request(&row, &echo).await;
            if let Came::Fail(why) = judged(&format!("sold {ECHO}{body}"), PRICE_ATOMIC, &answer, moved) {
                faults.push(format!("{}, POST: {why}", name(&row, Case::Eip3009)));
            }
            let fails = json!({ "url": self.stand.route_url(&row, FAILS) });
            let (answer, moved) = self.request(&row, &fails).await;
            let charged = if CHARGES_FIRST.contains(&row.server.id) { PRICE_ATOMIC } else { 0 };
            if moved != (charged, charged) || answer["status"] == 200 {
                faults.push(format!(
                    "{}, failing handler: moved {moved:?}; {answer}",
                    name(&row, Case::Eip3009)
                ));
            }
        }
        faults
    }

    async fn pay(&mut self, row: &Row, case: Case) -> Came {
        if case == Case::BatchSettlement {
            return self.spend_on_a_channel(row).await;
        }
        let request = json!({ "url": self.stand.url(row, case), "extended": case.is_extension() });
        let (answer, moved) = self.request(row, &request).await;
        let due = if case == Case::Upto && !CHARGES_ALL.contains(&row.server.id) {
            CHARGED_ATOMIC
        } else {
            PRICE_ATOMIC
        };
        let sold = format!("sold {}", case.route());
        let came = judged(&sold, due, &answer, moved);
        if case == Case::OfferReceipt && answer["receiptSigner"].is_null() {
            return Came::Fail(format!("no receipt that holds: {}", shown(&answer, moved)));
        }
        if matches!(came, Came::Fail(_)) {
            return came;
        }
        match case {
            Case::SignIn => self.come_back(row, &request, &sold).await,
            Case::AuthCapture if row.server.is_ours() => self.hold(row).await,
            _ => came,
        }
    }

    /// Who has bought is served again, and pays nothing.
    async fn come_back(&mut self, row: &Row, request: &Value, sold: &str) -> Came {
        let (answer, moved) = self.request(row, request).await;
        if answer["status"] == 200 && answer["body"] == sold && moved == (0, 0) {
            return Came::Pass;
        }
        Came::Fail(format!("came back: {}", shown(&answer, moved)))
    }

    /// What was bought was held first, and taken when it was served: that much the books and the seller's own say. It is
    /// the same where Permit2 collects. And what the handler fails at goes back: it was held until then.
    async fn hold(&mut self, row: &Row) -> Came {
        let taken = self.stand.holds(HoldState::Captured).await;
        let request = json!({ "url": self.stand.route_url(row, HELD_BY_PERMIT2) });
        let (answer, moved) = self.request(row, &request).await;
        let by_permit2 = judged(&format!("sold {HELD_BY_PERMIT2}"), PRICE_ATOMIC, &answer, moved);
        if matches!(by_permit2, Came::Fail(_)) {
            return by_permit2;
        }
        if self.stand.holds(HoldState::Captured).await != taken + 1 {
            return Came::Fail(format!("no capture: {}", shown(&answer, moved)));
        }
        let (voided, before) =
            (self.stand.holds(HoldState::Voided).await, self.stand.books(row.client).await);
        let request = json!({ "url": self.stand.route_url(row, HELD_AND_FAILS) });
        let (answer, _) = self.request(row, &request).await;
        for _ in 0..GIVING_BACK_TRIES {
            let is_back = self.stand.books(row.client).await == before;
            if is_back && answer["status"] == 500 && self.stand.holds(HoldState::Voided).await == voided + 1 {
                return Came::Pass;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Came::Fail(format!("not given back: {answer}"))
    }

    /// What a request was answered with, and what it moved: so much less for the payer, so much more for the payee.
    async fn request(&mut self, row: &Row, request: &Value) -> (Value, (u64, u64)) {
        let before = self.stand.books(row.client).await;
        let answer = if row.client.is_ours() {
            we_pay(&our_client(request["extended"] == true), request).await
        } else {
            self.stand.stranger_pays(row.client, request)
        };
        let after = self.stand.books(row.client).await;
        (answer, (before.0.wrapping_sub(after.0), after.1.wrapping_sub(before.1)))
    }
}

/// What a client of ours is answered with.
pub(crate) async fn we_pay(client: &ClientWithMiddleware, request: &Value) -> Value {
    let url = request["url"].as_str().expect("a URL");
    let request = match request["body"].as_str() {
        None => client.get(url),
        Some(body) => client.post(url).header("content-type", "application/json").body(body.to_owned()),
    };
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let why = payment_error(&error).map_or_else(|| format!("{error:?}"), ToString::to_string);
            return json!({ "error": why });
        }
    };
    let status = response.status().as_u16();
    let paid = paid(&response).cloned();
    let settlement = paid.as_ref().and_then(|paid| paid.settlement.as_ref());
    let settlement = settlement.map(|settlement| {
        json!({
            "success": settlement.success,
            "transaction": settlement.transaction,
            "errorReason": settlement.error_reason.as_ref().map(ToString::to_string),
        })
    });
    let receipt = paid.as_ref().and_then(|paid| paid.receipt.as_ref()).map(|receipt| format!("{receipt:?}"));
    let suspicious = paid.and_then(|paid| paid.suspicious);
    let body = response.text().await.unwrap_or_default();
    json!({
        "status": status,
        "body": body,
        "settlement": settlement,
        "suspicious": suspicious,
        "receiptSigner": receipt,
    })
}

/// Every cell must be as the table says.
pub(crate) fn assert_as_said(cells: &[Cell]) {
    let wrong: Vec<_> = cells.iter().filter_map(surprise).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cells are not as said:\n{}",
        wrong.len(),
        cells.len(),
        wrong.join("\n")
    );
}

fn surprise(cell: &Cell) -> Option<String> {
    let name = name(&cell.row, cell.case);
    match (&cell.expected, &cell.came) {
        (Expected::Pass, Some(Came::Fail(why))) => Some(format!("{name}: must pass, but: {why}")),
        (Expected::Pass, None) => Some(format!("{name}: must pass, but there is nothing to try")),
        (Expected::Lacks { who, why }, Some(Came::Pass)) => {
            Some(format!("{name}: passes, though {} should lack it: {why}", peer_name(who)))
        }
        (Expected::Wrong { who, why }, Some(Came::Pass)) => {
            Some(format!("{name}: passes, though {who} should be wrong: {why}"))
        }
        (Expected::Wrong { who, .. }, None) => {
            Some(format!("{name}: nothing to try, so {who} is not shown wrong"))
        }
        _ => None,
    }
}

const fn peer_name(peer: &Peer) -> &'static str {
    peer.name
}

fn name(row: &Row, case: Case) -> String {
    let Row { client, server, facilitator } = row;
    format!("{} -> {} -> {}: {}", client.id, server.id, facilitator.id, case.heading())
}

/// Served as sold, with a receipt that says so, and the books agree: that much less here, that much more there.
fn judged(sold: &str, due: u64, answer: &Value, moved: (u64, u64)) -> Came {
    let served = answer["status"] == 200 && answer["body"] == sold;
    let told = answer["settlement"]["success"] == true && answer["suspicious"].is_null();
    if served && told && moved == (due, due) {
        return Came::Pass;
    }
    Came::Fail(shown(answer, moved))
}

pub(crate) fn shown(answer: &Value, moved: impl std::fmt::Debug) -> String {
    let mut answer = answer.clone();
    if let Some(headers) = answer.get_mut("headers").and_then(Value::as_object_mut) {
        headers.retain(|name, _| name.contains("payment"));
    }
    format!("moved {moved:?}; {answer}")
}
