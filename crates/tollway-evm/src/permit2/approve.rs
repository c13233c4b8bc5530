//! The buyer's side of the extensions `eip2612GasSponsoring` and `erc20ApprovalGasSponsoring`: whether Permit2 may take what a
//! payment moves, and if it may not, the approval that is signed beside the payment: a signature where the token takes one,
//! else a transaction that the facilitator sends.
//!
//! What does not live here: what becomes of it, which is `sponsor`'s and `sponsored`'s, and approvals by a transaction that the
//! payer sends.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::sol;
use serde_json::{Value, json};
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{BoxFuture, JsonObject, Network, SignError, X402Version};

use super::sponsor::{EIP2612_GAS_SPONSORING, VERSION};
use super::sponsored::{self, ERC20_APPROVAL_GAS_SPONSORING};
use super::{METHOD, METHOD_FIELD, PERMIT2, SIGNED};
use crate::Signer;
use crate::eip712::Domain;
use crate::exact::parse_address;

sol! {
    /// EIP-2612: what the owner of a token signs.
    #[derive(Debug)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// What a payer must know of its tokens to approve Permit2 by a signature. With feature `rpc` a
/// [`Chain`](crate::Chain) is one.
pub trait Allowances: Send + Sync + fmt::Debug {
    /// Whether it knows `network`. It is asked before every other method.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::Network;
    /// use tollway_evm::permit2::Allowances;
    /// fn of<'a>(all: &'a [Arc<dyn Allowances>], network: &Network) -> Option<&'a Arc<dyn Allowances>> {
    ///     all.iter().find(|allowances| allowances.covers(network))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// How much of `owner`'s `token` Permit2 may take. It ends, with an answer or without.
    ///
    /// # Errors
    /// [`Unknown`]: nobody could say.
    ///
    /// ```
    /// use tollway_evm::{Address, U256, permit2::{Allowances, Unknown}};
    /// async fn is_short(
    ///     of: &dyn Allowances, token: Address, owner: Address, due: U256,
    /// ) -> Result<bool, Unknown> {
    ///     Ok(of.allowance(token, owner).await? < due)
    /// }
    /// ```
    fn allowance(&self, token: Address, owner: Address) -> BoxFuture<'_, Result<U256, Unknown>>;

    /// The number that `owner`'s next approval by signature must have (EIP-2612, `nonces`). It ends, with an answer or without.
    ///
    /// # Errors
    /// [`Unknown`]: nobody could say, or the token has no such number.
    ///
    /// ```
    /// use tollway_evm::{Address, U256, permit2::{Allowances, Unknown}};
    /// async fn is_new(of: &dyn Allowances, token: Address, owner: Address) -> Result<bool, Unknown> {
    ///     Ok(of.permit_nonce(token, owner).await? == U256::ZERO)
    /// }
    /// ```
    fn permit_nonce(&self, token: Address, owner: Address) -> BoxFuture<'_, Result<U256, Unknown>>;

    /// Signs the transaction that lets Permit2 take `amount` of the signer's `token`, instead of what it could take before, and
    /// sends it to nobody: the next of the signer's account, at the network's price. It ends, with an answer or without.
    ///
    /// # Errors
    /// [`Unknown`]: it cannot, or would not, which is what one says that does not know how.
    ///
    /// ```
    /// use tollway_evm::{Address, Bytes, Signer, U256, permit2::{Allowances, Unknown}};
    /// async fn raw(
    ///     of: &dyn Allowances, token: Address, signer: &dyn Signer, due: U256,
    /// ) -> Result<Bytes, Unknown> {
    ///     of.sign_approval(token, signer, due).await
    /// }
    /// ```
    fn sign_approval<'a>(
        &'a self,
        token: Address,
        signer: &'a dyn Signer,
        amount: U256,
    ) -> BoxFuture<'a, Result<Bytes, Unknown>> {
        let _ = (token, signer, amount);
        Box::pin(std::future::ready(Err(Unknown("transactions are not signed here".to_owned()))))
    }
}

/// Why an [`Allowances`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown: {0}")]
pub struct Unknown(pub String);

/// All that a buyer knows of allowances, by network.
pub(crate) type Known = Vec<Arc<dyn Allowances>>;

/// What Permit2 is to take, and until when the approval must be good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) amount: U256,
    pub(crate) deadline: U256,
}

/// [`attach_due`] for a payment of all that is offered.
pub(crate) async fn attach(
    payment: &mut PaymentPayload,
    offer: &PaymentRequirements,
    signer: &dyn Signer,
    known: &Known,
) -> Result<(), SignError> {
    // Without a deadline it is no payment by Permit2, and there is nothing to approve.
    let Some(deadline) = deadline(payment) else { return Ok(()) };
    let due = Due { amount: offer.amount.atomic(), deadline };
    attach_due(payment, offer, signer, known, due).await
}

/// Signs the approval of Permit2 for exactly what is `due` and attaches it, if the 402 declares an extension for it and the
/// allowance is short. Where neither kind can be made the payment goes without: its seller says then what is missing.
pub(crate) async fn attach_due(
    payment: &mut PaymentPayload,
    offer: &PaymentRequirements,
    signer: &dyn Signer,
    known: &Known,
    due: Due,
) -> Result<(), SignError> {
    let declares = |name| payment.extensions.contains_key(name);
    let (by_signature, by_transaction) =
        (declares(EIP2612_GAS_SPONSORING), declares(ERC20_APPROVAL_GAS_SPONSORING));
    if payment.version != X402Version::V2 || !(by_signature || by_transaction) {
        return Ok(());
    }
    let Some(allowances) = known.iter().find(|allowances| allowances.covers(&offer.network)) else {
        return Ok(());
    };
    let Some(token) = token(offer) else { return Ok(()) };
    let told = allowances.allowance(token, signer.address()).await;
    if told.as_ref().is_ok_and(|allowance| *allowance >= due.amount) {
        return Ok(());
    }
    // Where nobody can say, a signature too many does no harm: it is for this amount alone.
    if by_signature && sign_permit(payment, offer, signer, allowances.as_ref(), due).await? {
        return Ok(());
    }
    // A transaction takes the account's next place: only where it is known to be needed.
    if by_transaction && told.is_ok() {
        sign_transaction(payment, token, due.amount, signer, allowances.as_ref()).await;
    }
    Ok(())
}

/// The approval by a signature (EIP-2612). False: the token has none, or nobody knows its number.
async fn sign_permit(
    payment: &mut PaymentPayload,
    offer: &PaymentRequirements,
    signer: &dyn Signer,
    allowances: &dyn Allowances,
    due: Due,
) -> Result<bool, SignError> {
    let Some((token, domain)) = domain(offer) else { return Ok(false) };
    let (owner, Due { amount, deadline }) = (signer.address(), due);
    let Ok(nonce) = allowances.permit_nonce(token, owner).await else { return Ok(false) };
    let message = Permit { owner, spender: PERMIT2, value: amount, nonce, deadline };
    let signature = signer.sign(&domain.preimage(&message)).await;
    let signature = signature.map_err(|error| SignError::Signer(error.to_string()))?;
    let info = json!({
        "from": owner.to_checksum(None), "asset": token.to_checksum(None), "spender": PERMIT2.to_checksum(None),
        "amount": amount.to_string(), "nonce": nonce.to_string(), "deadline": deadline.to_string(),
        "signature": hex::encode_prefixed(signature.as_bytes()), "version": VERSION,
    });
    merge(&mut payment.extensions, EIP2612_GAS_SPONSORING, info);
    Ok(true)
}

/// The approval by a transaction. Without one the payment goes as it is.
async fn sign_transaction(
    payment: &mut PaymentPayload,
    token: Address,
    due: U256,
    signer: &dyn Signer,
    allowances: &dyn Allowances,
) {
    let Ok(raw) = allowances.sign_approval(token, signer, due).await else { return };
    let info = json!({
        "from": signer.address().to_checksum(None), "asset": token.to_checksum(None),
        "spender": PERMIT2.to_checksum(None), "amount": due.to_string(),
        "signedTransaction": hex::encode_prefixed(raw), "version": sponsored::VERSION,
    });
    merge(&mut payment.extensions, ERC20_APPROVAL_GAS_SPONSORING, info);
}

/// Adds `info` to what the seller declared. What the seller said stays as it is.
fn merge(extensions: &mut JsonObject, name: &str, info: Value) {
    let Value::Object(info) = info else { return };
    let extension = extensions.entry(name).or_insert_with(|| json!({}));
    if !extension.is_object() {
        *extension = json!({});
    }
    let Some(extension) = extension.as_object_mut() else { return };
    let declared = extension.entry("info").or_insert_with(|| json!({}));
    match declared.as_object_mut() {
        Some(declared) => {
            for (field, value) in info {
                declared.entry(field).or_insert(value);
            }
        }
        None => *declared = info.into(),
    }
}

/// The token of an offer by Permit2, and the domain that it signs under, if the offer says so: then it has EIP-2612.
pub(super) fn domain(offer: &PaymentRequirements) -> Option<(Address, Domain)> {
    let named = |field| offer.extra_str(field).filter(|text| !text.is_empty());
    let token = token(offer)?;
    Some((token, Domain::new(&offer.network, token, named("name")?, named("version")?)?))
}

/// The token of an offer by Permit2.
fn token(offer: &PaymentRequirements) -> Option<Address> {
    let is_by_permit = offer.extra_str(METHOD_FIELD) == Some(METHOD);
    is_by_permit.then(|| parse_address(&offer.asset)).flatten()
}

/// The payment's own: neither is of use without the other.
fn deadline(payment: &PaymentPayload) -> Option<U256> {
    let text = payment.payload.get(SIGNED)?.get("deadline")?.as_str()?;
    U256::from_str_radix(text, 10).ok()
}
