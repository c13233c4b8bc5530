//! Starting a paywall: every fault of the configuration is found here, all at once, before anything is served.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tollway_core::model::{SupportedKind, SupportedResponse};
use tollway_core::{
    Facilitator, FacilitatorError, Network, OfferError, Price, SellerScheme, Terms, X402Version,
};
use tollway_evm::exact::ExactSeller;
use tollway_evm::offer_receipt::Issuer;
use tollway_ledger::{Ledger, MemoryLedger};

use crate::background::Debts;
use crate::base_url::PublicBase;
use crate::builder::{Accept, MAX_TIMEOUT_SECONDS, PaywallBuilder};
use crate::channel::Channels;
use crate::claim::ClaimWorker;
use crate::coin;
use crate::credit::{SECRET_NAME, Seal};
use crate::directory::Directories;
use crate::extension::Extensions;
use crate::keeper::Keeper;
use crate::membership::{Membership, bounded};
use crate::offer_receipt::OfferReceipt;
use crate::offers::Rail;
use crate::paywall::{Core, Paywall};
use crate::reservation::Reservations;
use crate::watch::Watches;

/// Between two attempts to reach the facilitator at the start.
const START_RETRY_WAIT: Duration = Duration::from_millis(250);

/// Everything that keeps a paywall from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// One sentence for each fault.
    pub faults: Vec<String>,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        write!(f, "the paywall cannot start, {count} fault{}:", if count == 1 { "" } else { "s" })?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
    }
}

impl std::error::Error for StartError {}

impl PaywallBuilder {
    /// Checks everything, asks the facilitator what it supports (specification v2, section 7.3), and
    /// starts.
    ///
    /// # Errors
    /// [`StartError`] with every fault found.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_seller::Paywall;
    /// let error = Paywall::builder("https://api.example.com").start().await.unwrap_err();
    /// assert_eq!(error.faults.len(), 2, "nothing is accepted, and nobody settles");
    /// # Ok(()) }
    /// ```
    pub async fn start(self) -> Result<Paywall, StartError> {
        let mut faults = Vec::new();
        let base = self.base(&mut faults);
        let mut watches = Watches::default();
        let mut rails = self.rails(&mut watches, &mut faults);
        match &self.facilitator {
            None => faults.push("facilitator: is required: set it with facilitator()".to_owned()),
            Some(facilitator) => match ask_supported(facilitator.as_ref(), self.start_deadline).await {
                Err(error) => faults.push(format!("facilitator: {error}")),
                Ok(supported) => match_supported(&mut rails, &supported, &mut faults),
            },
        }
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        let reservations = self.reservations().await;
        let joined = reservations.map_err(|fault| faults.push(format!("ledger: {fault}"))).ok();
        let (Some(base), Some(facilitator), Some((reservations, seal))) = (base, self.facilitator, joined)
        else {
            return Err(StartError { faults });
        };
        let directories = match rails.iter().any(|rail| rail.scheme.signed_request().is_some()) {
            true => Directories::new().map_err(|fault| faults.push(format!("directories: {fault}"))).ok(),
            false => None,
        };
        if !faults.is_empty() {
            return Err(StartError { faults });
        }
        watches.open(self.clock.as_ref()).await;
        let extensions = extensions(self.extensions, self.offer_issuer, self.receipt_issuer, &rails);
        let claims = ClaimWorker::new(
            Arc::clone(reservations.ledger()),
            Arc::clone(&facilitator),
            channel_schemes(&rails),
        );
        let claims = ClaimWorker {
            clock: Arc::clone(&self.clock),
            witness: self.channel_witness.clone(),
            policy: self.claim_policy,
            asked_within: self.limits.settle_timeout,
            ..claims
        };
        let core = Arc::new(Core {
            base,
            rails,
            facilitator,
            clock: self.clock,
            reservations,
            limits: self.limits,
            verify_permits: Semaphore::new(self.max_verifies.min(Semaphore::MAX_PERMITS)),
            cors: self.cors,
            request_uri: self.request_uri,
            stored: self.stored,
            identifier: self.identifier,
            debts: Debts::default(),
            seal,
            confirmation: self.confirmation,
            keys_only: self.keys_only,
            extensions,
            watches,
            channels: Channels::new(self.channel_rules, self.channel_witness),
            directories,
            claims,
            marks: AtomicU64::new(0),
            max_marks: self.max_marks,
            keeper: OnceLock::new(),
        });
        core.keeper.get_or_init(|| Keeper::start(&core));
        Ok(Paywall { core })
    }

    /// Joins the sellers of the ledger, and learns the secret that they share.
    async fn reservations(&self) -> Result<(Arc<Reservations>, Seal), String> {
        let own = || Arc::new(MemoryLedger::default()) as Arc<dyn Ledger>;
        let ledger = self.ledger.clone().unwrap_or_else(own);
        let name = match &self.name {
            Some(name) => name.clone(),
            None => format!("seller-{:016x}", getrandom::u64().map_err(|error| error.to_string())?),
        };
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(|error| error.to_string())?;
        let secret = bounded(ledger.secret(SECRET_NAME, fresh)).await.map_err(|error| error.to_string())?;
        let membership = Membership::join(Arc::clone(&ledger), Arc::clone(&self.clock), &name).await;
        let membership = membership.map_err(|error| error.to_string())?;
        let clock = Arc::clone(&self.clock);
        let reservations = Reservations::new(ledger, membership, clock, self.max_reservations);
        let reservations = reservations.map_err(|error| error.to_string())?;
        Ok((Arc::new(reservations), Seal::new(secret)))
    }

    fn base(&self, faults: &mut Vec<String>) -> Option<PublicBase> {
        PublicBase::parse(&self.public_base_url)
            .map_err(|fault| faults.push(format!("public base URL {:?}: {fault}", self.public_base_url)))
            .ok()
    }

    fn rails(&self, watches: &mut Watches, faults: &mut Vec<String>) -> Vec<Rail> {
        if self.accepts.is_empty() {
            faults.push("nothing is accepted: add a network with accept()".to_owned());
        }
        if !self.homeless.is_empty() {
            faults.push("coins: must follow the accept() of their network".to_owned());
        }
        let needed = [
            ("max_timeout_seconds", self.max_timeout_seconds == 0),
            ("max_reservations", self.max_reservations == 0),
            ("max_verifies", self.max_verifies == 0),
        ];
        let zero = needed.iter().filter(|(_, is_zero)| *is_zero);
        faults.extend(zero.map(|(name, _)| format!("{name}: must be more than 0")));
        let rails = self.accepts.iter().map(|accept| self.rail(accept, watches));
        let rails: Vec<Rail> =
            rails.filter_map(|rail| rail.map_err(|fault| faults.push(fault)).ok()).collect();
        let held = rails.iter().filter_map(|rail| Some((rail.scheme.name(), rail.scheme.escrow()?)));
        for (name, escrow) in held {
            if !escrow.has_key() {
                faults.push(format!("scheme {name}: needs the key by which the seller consents"));
            }
        }
        let channels = rails.iter().filter(|rail| rail.scheme.channel().is_some());
        for rail in channels.filter(|_| self.confirmation.is_some()) {
            let (name, network) = (rail.scheme.name(), &rail.terms.network);
            if !self.channel_witness.as_ref().is_some_and(|witness| witness.covers(network)) {
                faults
                    .push(format!("confirm_settlements: scheme {name} on {network} needs channel_witness()"));
            }
        }
        if let Some(confirmation) = &self.confirmation {
            // What an account is charged is on no chain.
            let on_chain = rails.iter().filter(|rail| rail.scheme.signed_request().is_none());
            let networks = on_chain.map(|rail| &rail.terms.network);
            let unseen = networks.filter(|network| !confirmation.witness.covers(network));
            faults.extend(
                unseen.map(|network| format!("confirm_settlements: the witness has no node of {network}")),
            );
        }
        rails
    }

    fn rail(&self, accept: &Accept, watches: &mut Watches) -> Result<Rail, String> {
        let named = format!("accept({:?}, {:?})", accept.network, accept.pay_to);
        let network: Network =
            accept.network.parse().map_err(|error| match Network::from_v1_name(&accept.network) {
                Some(network) => format!("{named}: network {error}: write {:?}", network.as_str()),
                None => format!("{named}: network {error}"),
            })?;
        let fits =
            |scheme: &&Arc<dyn SellerScheme>| *scheme.name() == accept.scheme && scheme.covers(&network);
        let exact: Arc<dyn SellerScheme> = Arc::new(ExactSeller::new(self.assets.clone()));
        let Some(scheme) = self.schemes.iter().chain([&exact]).find(fits) else {
            return Err(format!("{named}: no scheme {} for this network is built in", accept.scheme));
        };
        // A timeout of 0 has its own fault, and must hide no other.
        let max_timeout_seconds = match self.max_timeout_seconds {
            0 => MAX_TIMEOUT_SECONDS,
            seconds => seconds,
        };
        let terms = Terms { network, pay_to: accept.pay_to.clone(), max_timeout_seconds };
        probe(scheme.as_ref(), &terms).map_err(|fault| format!("{named}: {fault}"))?;
        let coins = coin::on_rail(&accept.coins, scheme.as_ref(), &terms, watches);
        let coins = coins.map_err(|fault| format!("{named}: {fault}"))?;
        let usual = coin::usual(scheme.as_ref(), &terms);
        Ok(Rail {
            scheme: Arc::clone(scheme),
            terms,
            takes_v1: false,
            coins,
            usual,
            kind: None,
            understood: Vec::new(),
        })
    }
}

/// The schemes of channels, each once.
fn channel_schemes(rails: &[Rail]) -> Vec<Arc<dyn SellerScheme>> {
    let channels = rails.iter().filter(|rail| rail.scheme.channel().is_some());
    channels.map(|rail| Arc::clone(&rail.scheme)).collect()
}

/// What is on every route.
fn extensions(
    mut extensions: Extensions,
    offers: Option<Issuer>,
    receipts: Option<Issuer>,
    rails: &[Rail],
) -> Extensions {
    if offers.is_none() && receipts.is_none() {
        return extensions;
    }
    let accounts: Vec<_> = [&offers, &receipts].into_iter().flatten().filter_map(Issuer::account).collect();
    for rail in rails {
        let pay_to = &rail.terms.pay_to;
        if accounts.iter().any(|account| !account.to_string().eq_ignore_ascii_case(pay_to)) {
            tracing::warn!(
                pay_to,
                "offers or receipts are not signed by payTo: buyers must be told whose key it is"
            );
        }
    }
    let least_seconds = rails.iter().map(|rail| rail.terms.max_timeout_seconds).max().unwrap_or_default();
    extensions.push(Arc::new(OfferReceipt::new(offers, receipts, least_seconds)));
    extensions
}

/// Makes a trial offer: a wrong address shows now. A network without a known dollar is no fault: prices on
/// it name their asset.
fn probe(scheme: &dyn SellerScheme, terms: &Terms) -> Result<(), String> {
    let Ok(dollar) = "$1".parse() else { return Ok(()) };
    match scheme.offer(&Price::Money(dollar), terms) {
        Ok(_) | Err(OfferError::UnknownAsset { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks until there is an answer or the deadline has passed.
async fn ask_supported(
    facilitator: &dyn Facilitator,
    deadline: Duration,
) -> Result<SupportedResponse, FacilitatorError> {
    let mut last =
        FacilitatorError::NoAnswer(format!("no answer to /supported within {} ms", deadline.as_millis()));
    let attempts = async {
        loop {
            match facilitator.supported().await {
                Ok(supported) => return Ok(supported),
                Err(error @ (FacilitatorError::BadAnswer { .. } | FacilitatorError::Refused { .. })) => {
                    return Err(error);
                }
                Err(error) => last = error,
            }
            tokio::time::sleep(START_RETRY_WAIT).await;
        }
    };
    match tokio::time::timeout(deadline, attempts).await {
        Ok(answer) => answer,
        Err(_) => Err(last),
    }
}

/// v2 is required of the facilitator; v1 is offered to buyers where it settles v1 too.
fn match_supported(rails: &mut [Rail], supported: &SupportedResponse, faults: &mut Vec<String>) {
    for rail in rails {
        let (scheme, network) = (rail.scheme.name(), &rail.terms.network);
        // A channel's vouchers are of the second version only.
        let is_channel = rail.scheme.channel().is_some();
        rail.takes_v1 = !is_channel && supported.supports(X402Version::V1, scheme, network);
        let is_ours = |kind: &&SupportedKind| {
            kind.version == X402Version::V2 && kind.scheme == *scheme && kind.network == *network
        };
        rail.kind = supported.kinds.iter().find(is_ours).cloned();
        rail.understood.clone_from(&supported.extensions);
        if !supported.supports(X402Version::V2, scheme, network) {
            let list: Vec<String> = supported
                .kinds
                .iter()
                .map(|kind| format!("{} on {} (v{})", kind.scheme, kind.network, kind.version.number()))
                .take(16)
                .collect();
            let has = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
            faults.push(format!("facilitator: does not settle {scheme} on {network} (v2); it settles {has}"));
        }
    }
}
