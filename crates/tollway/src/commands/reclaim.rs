//! Money that a seller holds, from the buyer's side: `tollway pay --hold FILE` keeps what was signed before it is sent, and
//! `tollway reclaim FILE` takes back what nobody took in time.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tollway_core::model::{FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::wire::encode_facilitator_request;
use tollway_core::{BoxFuture, BuyerScheme, Network, OfferedValue, SchemeName, SignError, UnixTime};
use tollway_evm::auth_capture::{AuthCaptureBuyer, ReclaimError, check_at_any_time, reclaim};
use tollway_evm::{AssetTable, Chain, OwnError, Signer};
use url::Url;

use crate::arguments::seconds;
use crate::commands::hold::{PENDING, REFUSED, read_request};
use crate::output::{Output, start_logging};
use crate::signing::{SourceText, Unlock};

/// How long the node may take for one answer.
const NODE_DEADLINE: Duration = Duration::from_secs(20);

/// Take back what is still held of a payment of yours after its capture deadline.
///
/// FILE is what `tollway pay --hold FILE` has kept: paymentPayload and paymentRequirements as JSON. It is a transaction of
/// the payer's own account, which pays the gas; neither seller nor facilitator is asked. `tollway status` tells what is
/// held.
///
/// Exit codes: 0 it is back; 1 it could not be asked; 2 wrong usage; 3 nothing was sent, or nothing came back; 4 not known
/// yet: ask again.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The payment.
    file: PathBuf,
    /// A node of the payment's network.
    #[arg(long, value_name = "URL")]
    rpc_url: Url,
    /// Where the payer's key is: env:NAME, file:PATH, keystore:NAME, web3signer:URL/ADDRESS, aws-kms:KEY or
    /// gcp-kms:RESOURCE.
    #[arg(long, value_name = "SOURCE", default_value = "env:TOLLWAY_KEY")]
    key: SourceText,
    #[command(flatten)]
    unlock: Unlock,
    /// Seconds to wait until it is in a block.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds)]
    timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    let FacilitatorRequest { payment, requirements } = read_request(&args.file)?;
    let held = check_at_any_time(&payment, &requirements)
        .map_err(|refusal| anyhow::anyhow!("{}: {refusal}", args.file.display()))?;
    let key = args.unlock.open(&args.key).await.context("--key")?;
    let chain = Chain::connect(args.rpc_url.as_str(), &requirements.network, NODE_DEADLINE);
    let chain = chain.context("--rpc-url")?;
    let answer = reclaim(&chain, &*key, &held, Duration::from_secs(args.timeout)).await;
    let (outcome, code, amount, transaction) = match &answer {
        Ok(back) => ("done", ExitCode::SUCCESS, Some(back.amount.to_string()), Some(back.transaction)),
        Err(ReclaimError::NoEscrow | ReclaimError::Own(OwnError::Chain(_) | OwnError::Signer(_))) => {
            return Err(answer.err().map_or_else(|| anyhow::anyhow!("no answer"), Into::into));
        }
        Err(ReclaimError::Own(OwnError::Pending { transaction, .. })) => {
            ("pending", ExitCode::from(PENDING), None, Some(*transaction))
        }
        Err(_) => ("refused", ExitCode::from(REFUSED), None, None),
    };
    let message = answer.err().map(|error| error.to_string());
    let object = json!({
        "outcome": outcome, "operation": "reclaim", "amount": amount, "transaction": transaction,
        "message": message,
    });
    let done = || format!("reclaim {}: {}", amount.unwrap_or_default(), transaction.unwrap_or_default());
    output.result(&object, &message.map_or_else(done, |message| format!("reclaim: {message}")));
    Ok(code)
}

/// Scheme `auth-capture` with a memory: nothing that it signs leaves before it is in the file.
#[derive(Debug)]
pub(crate) struct Kept {
    scheme: AuthCaptureBuyer,
    file: PathBuf,
}

impl Kept {
    /// Keeps what `signer` signs in `file`, which must not be there yet: what is in it may be needed still.
    pub(crate) fn new(signer: Arc<dyn Signer>, assets: AssetTable, file: &Path) -> Self {
        Self { scheme: AuthCaptureBuyer::new(signer, assets), file: file.to_owned() }
    }

    fn keep(&self, request: &FacilitatorRequest) -> Result<(), SignError> {
        let text = Value::Object(encode_facilitator_request(request)).to_string();
        let kept = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.file)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        kept.map_err(|error| SignError::Signer(format!("--hold: {}: {error}", self.file.display())))
    }
}

impl BuyerScheme for Kept {
    fn name(&self) -> &SchemeName {
        self.scheme.name()
    }

    fn covers(&self, network: &Network) -> bool {
        self.scheme.covers(network)
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        self.scheme.value(offer)
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            let payment = self.scheme.sign(required, offer, now).await?;
            self.keep(&FacilitatorRequest { payment: payment.clone(), requirements: offer.clone() })?;
            Ok(payment)
        })
    }
}
