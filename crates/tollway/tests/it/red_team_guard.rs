//! The red team's guard: every signature of a wallet, and what the rules say to it.
//!
//! The rules are the test's own and know nothing of the wallet's policy: a signature is judged by what was signed, as a
//! token would read it.

use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
use tollway_core::{BoxFuture, BuyerScheme, Network, OfferedValue, SchemeName, SignError, UnixTime};
use tollway_devnet::genesis;
use tollway_evm::exact::{self, ExactBuyer};
use tollway_evm::{Address, AssetTable, LocalSigner, Signature, Signer, SignerError, U256, permit2};

/// What a signed text begins with (EIP-191): no payment and no transaction does.
const TEXT: &[u8] = b"\x19Ethereum Signed Message:\n";

/// A payment that was signed: for which offer, and when.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(crate) payment: PaymentPayload,
    pub(crate) offer: PaymentRequirements,
    pub(crate) now: UnixTime,
}

/// What may be signed.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// These assets on the devnet, and of each at most this much a payment, atomic.
    pub(crate) assets: Vec<(String, u128)>,
    /// Who may be paid; none: anybody.
    pub(crate) payees: Option<Vec<String>>,
    /// Who must never be paid.
    pub(crate) never: Vec<String>,
    /// How long an authorization may live.
    pub(crate) seconds: u64,
    /// The most in all, atomic units together.
    pub(crate) in_all: u128,
    /// How many texts may be signed that say who is there, and can be nothing else.
    pub(crate) signs_in: usize,
}

impl Rules {
    /// Ten cents in the devnet's dollar, for ten minutes, and a dollar in all.
    pub(crate) fn careful() -> Self {
        let assets = vec![(genesis::USDC.to_string(), 100_000)];
        Self { assets, payees: None, never: Vec::new(), seconds: 600, in_all: 1_000_000, signs_in: 0 }
    }
}

/// Everything that a wallet's key has signed.
#[derive(Debug)]
pub(crate) struct Guard {
    signer: Arc<CountingSigner>,
    scheme: Arc<WatchedScheme>,
}

impl Guard {
    pub(crate) fn new(key: LocalSigner, assets: AssetTable) -> Self {
        let signer = Arc::new(CountingSigner { key, signed: Mutex::default() });
        let exact = ExactBuyer::new(signer.clone(), assets);
        Self { signer, scheme: Arc::new(WatchedScheme { exact, signings: Mutex::default() }) }
    }

    pub(crate) fn signer(&self) -> Arc<dyn Signer> {
        self.signer.clone()
    }

    pub(crate) fn scheme(&self) -> Arc<dyn BuyerScheme> {
        self.scheme.clone()
    }

    /// Every payment, in the order they were signed.
    pub(crate) fn payments(&self) -> Vec<Signing> {
        self.scheme.signings.lock().clone()
    }

    /// Every signature that the rules do not allow: what is no payment, and payments that break a rule.
    pub(crate) fn outside(&self, rules: &Rules) -> Vec<String> {
        let payments = self.payments();
        let is_payment = |signature: &Signature| {
            let text = format!("0x{}", hex::encode(signature.as_bytes()));
            payments.iter().any(|signing| signing.payment.payload["signature"] == text)
        };
        let signed = self.signer.signed.lock().clone();
        let mut strays: Vec<&[u8]> = signed
            .iter()
            .filter(|(_, signature)| !is_payment(signature))
            .map(|(preimage, _)| &**preimage)
            .collect();
        let texts = strays.iter().filter(|preimage| preimage.starts_with(TEXT)).count();
        if texts == rules.signs_in {
            strays.retain(|preimage| !preimage.starts_with(TEXT));
        }
        let mut faults: Vec<String> =
            strays.into_iter().map(|preimage| format!("no payment: {}", hex::encode(preimage))).collect();
        faults.extend(payments.iter().filter_map(|signing| Self::fault(signing, rules)));
        let sum: u128 =
            payments.iter().filter_map(|signing| terms(signing).ok()).map(|terms| terms.amount).sum();
        if sum > rules.in_all {
            faults.push(format!("{sum} in all, above {}", rules.in_all));
        }
        faults
    }

    /// The rule that a payment breaks.
    pub(crate) fn fault(signing: &Signing, rules: &Rules) -> Option<String> {
        let terms = match terms(signing) {
            Ok(terms) => terms,
            Err(why) => return Some(why),
        };
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let asset = terms.asset.to_string();
        let cap = rules.assets.iter().find(|(known, _)| same(known, &asset)).map(|(_, cap)| *cap);
        let is_payee = |payees: &Vec<String>| payees.iter().any(|payee| same(payee, &terms.to.to_string()));
        if terms.network != Network::evm(31_337) {
            return Some(format!("on {}", terms.network));
        }
        if cap.is_none_or(|cap| terms.amount > cap) {
            return Some(format!("{} of {asset}", terms.amount));
        }
        if rules.payees.as_ref().is_some_and(|payees| !is_payee(payees)) || is_payee(&rules.never) {
            return Some(format!("to {}", terms.to));
        }
        let most = U256::from(signing.now.plus_seconds(rules.seconds).0);
        (terms.until > most).then(|| format!("until {}", terms.until))
    }
}

/// What a token reads in a payment.
struct Terms {
    network: Network,
    asset: Address,
    to: Address,
    amount: u128,
    until: U256,
}

/// Reads what was signed. Its signature must be over these very fields, or it is something else.
fn terms(signing: &Signing) -> Result<Terms, String> {
    let Signing { payment, offer, .. } = signing;
    if let Ok(signed) = permit2::check_at_any_time(payment, offer) {
        let permit = signed.permit;
        return Ok(Terms {
            network: signed.network,
            asset: permit.token,
            to: permit.to,
            amount: permit.amount.try_into().unwrap_or(u128::MAX),
            until: permit.deadline,
        });
    }
    let signed =
        exact::check_at_any_time(payment, offer).map_err(|refusal| format!("unreadable: {refusal:?}"))?;
    let authorization = signed.authorization;
    Ok(Terms {
        network: signed.network,
        asset: signed.asset,
        to: authorization.to,
        amount: authorization.value.try_into().unwrap_or(u128::MAX),
        until: authorization.valid_before,
    })
}

/// A key that remembers what it signed.
#[derive(Debug)]
struct CountingSigner {
    key: LocalSigner,
    signed: Mutex<Vec<(Vec<u8>, Signature)>>,
}

impl Signer for CountingSigner {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        Box::pin(async move {
            let signature = self.key.sign(preimage).await?;
            self.signed.lock().push((preimage.to_vec(), signature));
            Ok(signature)
        })
    }
}

/// Scheme `exact`, which remembers what it was asked to pay.
#[derive(Debug)]
struct WatchedScheme {
    exact: ExactBuyer,
    signings: Mutex<Vec<Signing>>,
}

impl BuyerScheme for WatchedScheme {
    fn name(&self) -> &SchemeName {
        self.exact.name()
    }

    fn covers(&self, network: &Network) -> bool {
        self.exact.covers(network)
    }

    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue> {
        self.exact.value(offer)
    }

    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>> {
        Box::pin(async move {
            let payment = self.exact.sign(required, offer, now).await?;
            self.signings.lock().push(Signing { payment: payment.clone(), offer: offer.clone(), now });
            Ok(payment)
        })
    }
}
