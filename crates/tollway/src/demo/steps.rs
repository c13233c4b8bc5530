//! What the agent does, one step after the other, and the reconciliation at the end.

use std::time::Instant;

use anyhow::Context;
use http::{HeaderMap, Method};
use reqwest_middleware::ClientWithMiddleware;
use serde_json::{Value, json};
use tollway_buyer::{Paid, PaymentError, PaymentHeader, paid, payment_error};
use tollway_core::Amount;
use tollway_core::model::SettleResponse;
use tollway_devnet::genesis;
use tollway_evm::Signer;

use super::cheats;
use super::report::Step;
use super::world::World;
use crate::output::Output;

/// How an attempt ended, before the balances are looked at.
struct Attempt {
    status: u16,
    amount: Amount,
    settlement: Option<SettleResponse>,
    reason: Option<String>,
    header: Option<PaymentHeader>,
}

/// Runs every step; whether all went as expected and the books agree.
pub(crate) async fn run_steps(world: &World, output: Output) -> anyhow::Result<bool> {
    let mut run = Run::begin(world, output).await?;
    let client = cheats::wallet(world, "$1")?.client()?;
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;

    let get =
        run.step("paid GET", Method::GET, "/weather", 200, |url| buy(&client, Method::GET, url, "")).await?;
    let text = "Payments for machines should be exact, final and boring.";
    run.step("paid POST", Method::POST, "/summarize", 200, |url| buy(&client, Method::POST, url, text))
        .await?;
    run.step("paid GET, by result", Method::GET, "/search?results=3", 200, |url| {
        buy(&client, Method::GET, url, "")
    })
    .await?;

    let again = cheats::again(&get.header.context("the paid GET left no payment to present again")?)?;
    run.step("same payment again", Method::GET, "/weather", 402, |url| present(&plain, url, again)).await?;
    let required = cheats::offers(&plain, &world.url("/weather")).await?;
    let tampered = cheats::tampered(world, &required).await?;
    run.step("tampered signature", Method::GET, "/weather", 402, |url| present(&plain, url, tampered))
        .await?;
    let underpaid = cheats::underpaid(world, &required).await?;
    run.step("underpaid", Method::GET, "/weather", 402, |url| present(&plain, url, underpaid)).await?;
    let expired = cheats::expired(world, &required).await?;
    run.step("expired", Method::GET, "/weather", 402, |url| present(&plain, url, expired)).await?;
    run.step("above the agent's cap", Method::GET, "/report", 402, |url| buy(&client, Method::GET, url, ""))
        .await?;
    run.reconcile(&plain).await
}

struct Run<'a> {
    world: &'a World,
    output: Output,
    start: (Amount, Amount),
    steps: Vec<Step>,
}

impl<'a> Run<'a> {
    async fn begin(world: &'a World, output: Output) -> anyhow::Result<Self> {
        let mut run = Self { world, output, start: (Amount::ZERO, Amount::ZERO), steps: Vec::new() };
        run.start = run.balances().await?;
        Ok(run)
    }

    async fn balances(&self) -> anyhow::Result<(Amount, Amount)> {
        let buyer = self.world.balance(self.world.agent.address()).await?;
        Ok((buyer, self.world.balance(self.world.payee).await?))
    }

    async fn step<F, Fut>(
        &mut self,
        name: &'static str,
        method: Method,
        path: &str,
        expected: u16,
        attempt: F,
    ) -> anyhow::Result<Attempt>
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = anyhow::Result<Attempt>>,
    {
        self.output.progress(&format!("{name} …"));
        let url = self.world.url(path);
        let before = self.balances().await?;
        let began = Instant::now();
        let attempt = attempt(url.clone()).await.with_context(|| format!("step \"{name}\""))?;
        let latency_ms = began.elapsed().as_millis();
        let after = self.balances().await?;
        let step = Step {
            name,
            method: if method == Method::POST { "POST" } else { "GET" },
            url,
            status: attempt.status,
            expected,
            amount: attempt.amount,
            settlement: attempt.settlement.clone(),
            reason: attempt.reason.clone(),
            latency_ms,
            buyer: (before.0, after.0),
            seller: (before.1, after.1),
        };
        self.output.progress_done();
        let asset = genesis::USDC.to_string();
        self.output.result(&step.to_json(&asset, &self.world.network), &step.to_text());
        self.steps.push(step);
        Ok(attempt)
    }

    /// The chain, the buyer's receipts and the seller's own count must tell the same story.
    async fn reconcile(self, http: &reqwest::Client) -> anyhow::Result<bool> {
        let end = self.balances().await?;
        let spent = self.start.0.checked_sub(end.0).context("the buyer has more than before")?;
        let received = end.1.checked_sub(self.start.1).context("the seller has less than before")?;
        let receipts = self.steps.iter().filter(|step| step.settlement.as_ref().is_some_and(|s| s.success));
        let paid = receipts.clone().count();
        let believed = receipts.fold(Amount::ZERO, |sum, step| sum.checked_add(step.amount).unwrap_or(sum));
        let stats: Value =
            serde_json::from_str(&http.get(self.world.url("/stats")).send().await?.text().await?)?;
        let counted = |field: &str| -> u64 {
            let routes = stats["routes"].as_object();
            routes.map_or(0, |routes| routes.values().filter_map(|route| route[field].as_u64()).sum())
        };
        let (handled, sold) = (counted("handled"), counted("paid"));
        let steps_ok = self.steps.iter().all(Step::is_ok);
        let served_as_paid = u64::try_from(paid).is_ok_and(|paid| paid == handled && paid == sold);
        let ok = steps_ok && served_as_paid && spent == believed && received == believed;
        let refused = self.steps.len() - paid;
        let object = json!({ "summary": {
            "ok": ok, "paid": paid, "refused": refused,
            "buyerSpent": spent.to_string(), "sellerReceived": received.to_string(),
        }});
        let dollars = |amount: Amount| format!("${}", amount.to_decimal(6));
        let text = format!(
            "\n{}: {paid} paid, {refused} refused; on chain the buyer spent {} and the seller received {}; \
             receipts say {}, the seller served {handled} and counts {sold} paid",
            if ok { "The books agree" } else { "THE BOOKS DO NOT AGREE" },
            dollars(spent),
            dollars(received),
            dollars(believed),
        );
        self.output.result(&object, &text);
        Ok(ok)
    }
}

/// Buys with the agent's wallet: it may refuse, and then nothing is signed.
async fn buy(
    client: &ClientWithMiddleware,
    method: Method,
    url: String,
    body: &'static str,
) -> anyhow::Result<Attempt> {
    let refused = |reason: String| Attempt {
        status: 402,
        amount: Amount::ZERO,
        settlement: None,
        reason: Some(reason),
        header: None,
    };
    match client.request(method, &url).body(body).send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            let receipt = paid(&response).cloned();
            let settled = receipt.as_ref().and_then(|paid| paid.settlement.clone());
            let charged =
                |paid: &Paid| paid.settlement.as_ref().filter(|s| s.success).map(|_| paid.offer.amount);
            Ok(Attempt {
                status,
                amount: receipt.as_ref().and_then(charged).unwrap_or(Amount::ZERO),
                settlement: settled,
                reason: None,
                header: receipt.map(|paid| paid.header),
            })
        }
        Err(error) => match payment_error(&error) {
            Some(PaymentError::Denied(offers)) => {
                let reasons: Vec<String> = offers.iter().map(|judged| judged.decision.to_string()).collect();
                Ok(refused(format!("not signed: {}", reasons.join("; "))))
            }
            _ => Err(error.into()),
        },
    }
}

/// Presents a ready-made payment, as a cheat would.
async fn present(http: &reqwest::Client, url: String, headers: HeaderMap) -> anyhow::Result<Attempt> {
    let response = http.get(url).headers(headers).send().await?;
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await?).unwrap_or_default();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let reason = format!("refused: {} {}", text("field"), text("rule"));
    Ok(Attempt { status, amount: Amount::ZERO, settlement: None, reason: Some(reason), header: None })
}
