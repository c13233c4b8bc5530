//! `tollway capture`, `void`, `refund`, `status`: what a seller does with a payment of scheme `auth-capture` after it was
//! collected. The chain says how the payment looks, the seller's key consents, the facilitator does it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};
use tollway_core::wire::{decode_facilitator_request, encode_facilitator_request, parse_object};
use tollway_core::{Amount, Facilitator};
use tollway_evm::auth_capture::{HeldPayment, Operation, PaymentState, check_at_any_time};
use tollway_evm::{Bytes, Chain, U256};
use tollway_seller::HttpFacilitator;
use url::Url;

use crate::arguments::{amount, seconds, web_url};
use crate::config::read_bounded;
use crate::output::{Output, complain, start_logging};
use crate::signing::{SourceText, Unlock};

/// The longest file that is read.
const MAX_BYTES: usize = 64 * 1024;
/// Something was refused: nothing moved.
pub(crate) const REFUSED: u8 = 3;
/// It is not known yet what became of it.
pub(crate) const PENDING: u8 = 4;

/// Take some or all of a payment that is held.
///
/// FILE is the request that collected the payment, as JSON: paymentPayload and paymentRequirements. Before anything is
/// asked, what is asked is written to FILE.pending; while that is there, the same is asked again and nothing else, so
/// an answer that got lost takes nothing twice.
///
/// Exit codes: 0 done; 1 it could not be asked; 2 wrong usage; 3 refused, nothing moved; 4 not known yet: ask again.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Capture {
    /// How much, in atomic units; all that is held, if not given.
    #[arg(long, value_name = "ATOMIC", value_parser = amount)]
    amount: Option<Amount>,
    /// Give the rest back at once.
    #[arg(long, requires = "amount")]
    void_rest: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Give back all that is held of a payment.
///
/// FILE and exit codes are as with `tollway capture`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Void {
    #[command(flatten)]
    asking: Asking,
}

/// Give back some or all of what was taken of a payment.
///
/// It is paid from the facilitator's own account, so the facilitator does it only for sellers with which it has agreed on
/// that. FILE and exit codes are as with `tollway capture`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Refund {
    /// How much, in atomic units; all that can be given back, if not given.
    #[arg(long, value_name = "ATOMIC", value_parser = amount)]
    amount: Option<Amount>,
    #[command(flatten)]
    asking: Asking,
}

/// Tell how much of a payment is held, and how much was taken and can be given back.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    looking: Looking,
}

#[derive(Debug, clap::Args)]
struct Looking {
    /// The request that collected the payment.
    file: PathBuf,
    /// A node of the payment's network.
    #[arg(long, value_name = "URL")]
    rpc_url: Url,
    /// Seconds to wait for the node.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = seconds)]
    timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Asking {
    #[command(flatten)]
    looking: Looking,
    /// The facilitator that collected it.
    #[arg(long, value_name = "URL", value_parser = web_url)]
    facilitator: Url,
    /// Where the key is of the account that the offer names as receiverAuthorizer: env:NAME, file:PATH, keystore:NAME,
    /// web3signer:URL/ADDRESS, aws-kms:KEY or gcp-kms:RESOURCE.
    #[arg(long, value_name = "SOURCE", default_value = "env:TOLLWAY_KEY")]
    key: SourceText,
    #[command(flatten)]
    unlock: Unlock,
}

pub(crate) async fn capture(args: Capture) -> anyhow::Result<ExitCode> {
    args.asking.run(Wish::Capture { amount: args.amount, voids_rest: args.void_rest }).await
}

pub(crate) async fn void(args: Void) -> anyhow::Result<ExitCode> {
    args.asking.run(Wish::Void).await
}

pub(crate) async fn refund(args: Refund) -> anyhow::Result<ExitCode> {
    args.asking.run(Wish::Refund { amount: args.amount }).await
}

pub(crate) async fn status(args: Status) -> anyhow::Result<ExitCode> {
    start_logging(args.looking.json, "warn");
    let output = Output::new(args.looking.json);
    let held = args.looking.payment()?;
    let state = args.looking.state(&held).await?;
    let (capturable, refundable) = (state.balances.capturable, state.balances.refundable);
    let object = json!({
        "payment": held.hash, "payer": held.info.payer.to_checksum(None), "collected": state.is_collected,
        "capturable": capturable.to_string(), "refundable": refundable.to_string(),
        "captureDeadline": held.terms.capture_deadline, "refundDeadline": held.terms.refund_deadline,
    });
    let text = match state.is_collected {
        false => "not collected: nothing was ever held or charged for it".to_owned(),
        true => format!(
            "held {capturable} until {}, taken and not given back {refundable} until {}",
            held.terms.capture_deadline, held.terms.refund_deadline
        ),
    };
    output.result(&object, &text);
    Ok(ExitCode::SUCCESS)
}

/// What the seller wants, before the chain has said what there is.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Capture { amount: Option<Amount>, voids_rest: bool },
    Void,
    Refund { amount: Option<Amount> },
}

impl Wish {
    fn operation(self, held: &HeldPayment, state: PaymentState) -> anyhow::Result<Operation> {
        ensure!(state.is_collected, "nothing was ever held or charged for this payment");
        let expected = state.balances;
        let within = |amount: Option<Amount>, most: U256, what: &str| {
            let amount = amount.map_or(most, Amount::atomic);
            ensure!(!amount.is_zero() && amount <= most, "there is {most} to {what}, not {amount}");
            Ok(amount)
        };
        Ok(match self {
            Self::Capture { amount, voids_rest } => {
                let amount = within(amount, expected.capturable, "take")?;
                let fees = held.terms.fees;
                let fee = fees.least(amount, held.terms.deployment.fee_unit);
                let voids_rest = voids_rest && amount < expected.capturable;
                Operation::Capture { amount, fee, fee_receiver: fees.recipient, expected, voids_rest }
            }
            Self::Void => {
                ensure!(!expected.capturable.is_zero(), "there is nothing held any more");
                Operation::Void
            }
            Self::Refund { amount } => {
                Operation::Refund { amount: within(amount, expected.refundable, "give back")?, expected }
            }
        })
    }
}

impl Looking {
    fn payment(&self) -> anyhow::Result<HeldPayment> {
        let request = read_request(&self.file)?;
        let FacilitatorRequest { payment, requirements } = &request;
        let collection = check_at_any_time(payment, requirements)
            .map_err(|refusal| anyhow::anyhow!("{}: {refusal}", self.file.display()))?;
        Ok(HeldPayment::of(&collection, requirements))
    }

    async fn state(&self, held: &HeldPayment) -> anyhow::Result<PaymentState> {
        let deadline = Duration::from_secs(self.timeout);
        let chain = Chain::connect(self.rpc_url.as_str(), &held.offer.network, deadline)?;
        chain.check_chain_id().await?;
        let question = PaymentState::question(held.terms.deployment.escrow, held.hash);
        let call = json!([{ "to": question.to, "data": question.data }, "latest"]);
        let answer = chain.raw("eth_call", call).await.context("the node does not tell")?;
        let answer: Bytes = serde_json::from_value(answer).context("the node does not tell")?;
        PaymentState::read(&answer).context("there is no escrow of this payment on the node's chain")
    }
}

impl Asking {
    async fn run(&self, wish: Wish) -> anyhow::Result<ExitCode> {
        start_logging(self.looking.json, "warn");
        let output = Output::new(self.looking.json);
        let facilitator = HttpFacilitator::new(self.facilitator.as_str())?;
        let pending = pending_file(&self.looking.file);
        // What was asked before and not answered comes first: it may have happened.
        let request = if pending.exists() {
            let file = pending.display();
            complain(&format!("{file}: what was asked before comes first, and nothing else is asked now"));
            read_request(&pending)?
        } else {
            let request = self.request(wish).await?;
            let text = Value::Object(encode_facilitator_request(&request)).to_string();
            std::fs::write(&pending, text).with_context(|| pending.display().to_string())?;
            request
        };
        let answer = facilitator.settle(request.clone()).await;
        let answer = answer.context("it is not known whether it happened: ask again, the same way")?;
        if answer.outcome() != Outcome::Pending {
            std::fs::remove_file(&pending).with_context(|| pending.display().to_string())?;
        }
        Ok(tell(output, &request, &answer))
    }

    async fn request(&self, wish: Wish) -> anyhow::Result<FacilitatorRequest> {
        let held = self.looking.payment()?;
        let key = self.unlock.open(&self.key).await.context("--key")?;
        let authorizer = held.terms.receiver_authorizer;
        if key.address() != authorizer {
            bail!("--key: must be the key of {authorizer}, which the offer names as receiverAuthorizer");
        }
        let operation = wish.operation(&held, self.looking.state(&held).await?)?;
        Ok(held.request(&operation, &*key).await?)
    }
}

fn tell(output: Output, request: &FacilitatorRequest, answer: &SettleResponse) -> ExitCode {
    let asked = |name: &str| request.payment.payload.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, amount) = (asked("type"), asked("amount"));
    let reason = answer.error_reason.as_ref().map(|code| code.as_str().to_owned());
    let (outcome, code, text) = match answer.outcome() {
        Outcome::Settled => ("done", ExitCode::SUCCESS, format!("{kind} {amount}: {}", answer.transaction)),
        Outcome::Pending => {
            let text =
                format!("{kind} {amount}: sent and not included yet ({}): ask again", answer.transaction);
            ("pending", ExitCode::from(PENDING), text)
        }
        _ => {
            let why = answer.error_message.clone().or_else(|| reason.clone()).unwrap_or_default();
            ("refused", ExitCode::from(REFUSED), format!("{kind} {amount}: refused: {why}"))
        }
    };
    let object = json!({
        "outcome": outcome, "operation": kind, "amount": amount, "transaction": answer.transaction,
        "reason": reason, "message": answer.error_message,
    });
    output.result(&object, &text);
    code
}

pub(super) fn read_request(path: &Path) -> anyhow::Result<FacilitatorRequest> {
    let named = || path.display().to_string();
    let file = std::fs::File::open(path).with_context(named)?;
    let bytes = read_bounded(file, MAX_BYTES).with_context(named)?;
    parse_object(&bytes, "file").with_context(named)?;
    decode_facilitator_request(&bytes).with_context(named)
}

fn pending_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pending");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::pending_file;

    #[test]
    fn what_is_pending_is_kept_beside_the_payment() {
        assert_eq!(pending_file("a/b.json".as_ref()), std::path::Path::new("a/b.json.pending"));
    }
}
