//! Scheme `batch-settlement`: what is asked of a facilitator about channels.
//!
//! - `verify`: would a deposit, a voucher or a refund hold, and how does its channel stand.
//! - `settle`: money put in, vouchers claimed, what was claimed paid out, what is left given back.
//! - `consent`: whom the facilitator signs for, where it is the receiver's authorizer.
//! - `looks`: questions about channels that wait together go out together.
//! - `witness`: the same for a seller in this process.
//!
//! Everything that moves money goes the way of every payment, through the journal and a lane; here is what comes before
//! and after. What a voucher, a claim or a proof is lives in `tollway-evm`.

mod consent;
mod looks;
mod settle;
mod verify;
mod wish;
mod witness;

use std::sync::Arc;

use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, FacilitatorError, Refusal, SchemeName};
use tollway_evm::batch_settlement::{MAX_CLAIMS, SETTLEMENT};
use tollway_evm::{Address, Chain, Signer};

pub(crate) use self::looks::Looks;
pub(crate) use self::settle::settle;
pub(crate) use self::verify::verify;
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::phase::matching;

/// How many channels are claimed in one transaction if nothing is said: what a node takes as one (128 KiB).
const USUAL_CLAIMS: usize = 250;

/// What an operator does of scheme `batch-settlement` on one network.
#[derive(Clone, Debug)]
pub struct ChannelSetup {
    /// The key that consents to claims and refunds for sellers that have none of their own: their channels name its account
    /// as the receiver's authorizer. None: they sign for themselves.
    pub authorizer: Option<Arc<dyn Signer>>,
    /// For whom it consents to refunds. To claims it does for everybody: they pay a receiver what its payer has signed.
    pub refunds_for: Vec<RefundsFor>,
    /// How many channels one claim may name.
    pub max_claims: usize,
}

/// A seller whose refunds the facilitator signs, and who may ask for them. A refund takes back what is not claimed yet, so
/// whoever could ask for one without the seller would have what was bought, and the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundsFor {
    /// The seller's account, which its channels pay.
    pub receiver: Address,
    /// The caller who asks. None: whoever asks without a key, which over HTTP is anybody; for engines that serve no strangers.
    pub caller: Option<String>,
}

/// What a network does with channels, where the contract is.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) setup: ChannelSetup,
    pub(crate) looks: Arc<Looks>,
}

/// Why a request goes no further.
#[derive(Debug)]
enum Stop {
    /// The request's fault.
    Refused(Refusal),
    /// Nobody knows.
    Unavailable(FacilitatorError),
}

impl Default for ChannelSetup {
    fn default() -> Self {
        Self { authorizer: None, refunds_for: Vec::new(), max_claims: USUAL_CLAIMS }
    }
}

impl ChannelSetup {
    /// The account that consents to claims and refunds, if this facilitator has its key.
    ///
    /// ```
    /// use tollway_facilitator::ChannelSetup;
    /// assert_eq!(ChannelSetup::default().authorizer(), None);
    /// ```
    pub fn authorizer(&self) -> Option<Address> {
        self.authorizer.as_ref().map(|key| key.address())
    }

    /// What is wrong with it, a sentence each.
    ///
    /// ```
    /// use tollway_facilitator::ChannelSetup;
    /// let setup = ChannelSetup { max_claims: 0, ..ChannelSetup::default() };
    /// assert_eq!(setup.faults(), ["batch_settlement: max_claims must be from 1 to 270"]);
    /// ```
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=MAX_CLAIMS).contains(&self.max_claims) {
            faults.push(format!("batch_settlement: max_claims must be from 1 to {MAX_CLAIMS}"));
        }
        if self.authorizer.is_none() && !self.refunds_for.is_empty() {
            faults.push("batch_settlement: refunds_for needs an authorizer that signs them".to_owned());
        }
        faults
    }
}

impl Channels {
    pub(crate) fn new(setup: ChannelSetup, calls: usize, most: usize) -> Self {
        Self { setup, looks: Arc::new(Looks::new(calls, most)) }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<FacilitatorError> for Stop {
    fn from(error: FacilitatorError) -> Self {
        Self::Unavailable(error)
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    /// One payment, judged as far as its own rules go: all that is left of it.
    Payment(T),
    /// Something about channels.
    Channels(Box<FacilitatorRequest>),
}

impl<T> Asked<T> {
    pub(crate) fn of(request: FacilitatorRequest, judge: impl FnOnce(&FacilitatorRequest) -> T) -> Self {
        match request.requirements.scheme == SchemeName::BATCH_SETTLEMENT {
            true => Self::Channels(Box::new(request)),
            false => Self::Payment(judge(&request)),
        }
    }
}

/// Whether channels are served on a network, and how: their contract must be there.
pub(crate) async fn begin(
    chain: &Chain,
    asked: Option<ChannelSetup>,
) -> Result<Option<ChannelSetup>, String> {
    let network = chain.network();
    let code = chain.code(SETTLEMENT).await.map_err(|error| format!("{network}: node: {error}"))?;
    match (code.is_empty(), asked) {
        (false, asked) => Ok(Some(asked.unwrap_or_default())),
        (true, None) => Ok(None),
        (true, Some(_)) => {
            Err(format!("{network}: batch_settlement: the contract is not there, at {SETTLEMENT}"))
        }
    }
}

/// The network that a request is for, and what it does with channels.
fn served<'a>(
    core: &'a Core,
    request: &FacilitatorRequest,
) -> Result<(&'a Arc<EvmNetwork>, &'a Channels), Refusal> {
    let network = matching::find(&core.networks, request)?;
    let channels = network.channels.as_ref().ok_or_else(|| {
        let rule = format!("has no channels: the contract is not on {}", network.network());
        Refusal::new(ErrorCode::UNSUPPORTED_SCHEME, "paymentRequirements.network", rule)
    })?;
    Ok((network, channels))
}
