//! The buyer's side of extension `eip2612GasSponsoring`: whether Permit2 may take what a payment moves, and if it may not, the
//! approval that is signed beside the payment. It costs the payer no gas.
//!
//! What does not live here: what becomes of it, which is `sponsor`'s, and approvals by a transaction of the payer's own.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::{Address, U256, hex};
use alloy_sol_types::sol;
use serde_json::{Value, json};
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{BoxFuture, JsonObject, Network, SignError, X402Version};

use super::sponsor::{EIP2612_GAS_SPONSORING, VERSION};
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
}

/// Why an [`Allowances`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown: {0}")]
pub struct Unknown(pub String);

/// All that a buyer knows of allowances, by network.
pub(crate) type Known = Vec<Arc<dyn Allowances>>;

/// Signs the approval of Permit2 for exactly what `payment` moves and attaches it, if the 402 declares the extension and the
/// allowance is short. Where nobody knows the token's number the payment goes without: its seller says then what is missing.
pub(crate) async fn attach(
    payment: &mut PaymentPayload,
    offer: &PaymentRequirements,
    signer: &dyn Signer,
    known: &Known,
) -> Result<(), SignError> {
    if payment.version != X402Version::V2 || !payment.extensions.contains_key(EIP2612_GAS_SPONSORING) {
        return Ok(());
    }
    let Some(allowances) = known.iter().find(|allowances| allowances.covers(&offer.network)) else {
        return Ok(());
    };
    let Some((token, domain)) = domain(offer) else { return Ok(()) };
    let (owner, due) = (signer.address(), offer.amount.atomic());
    // Where nobody can say, an approval too many does no harm: it is for this amount alone.
    if allowances.allowance(token, owner).await.is_ok_and(|allowance| allowance >= due) {
        return Ok(());
    }
    let Ok(nonce) = allowances.permit_nonce(token, owner).await else { return Ok(()) };
    let Some(deadline) = deadline(payment) else { return Ok(()) };
    let message = Permit { owner, spender: PERMIT2, value: due, nonce, deadline };
    let signature = signer.sign(&domain.preimage(&message)).await;
    let signature = signature.map_err(|error| SignError::Signer(error.to_string()))?;
    let info = json!({
        "from": owner.to_checksum(None), "asset": token.to_checksum(None), "spender": PERMIT2.to_checksum(None),
        "amount": due.to_string(), "nonce": nonce.to_string(), "deadline": deadline.to_string(),
        "signature": hex::encode_prefixed(signature.as_bytes()), "version": VERSION,
    });
    if let Value::Object(info) = info {
        merge(&mut payment.extensions, info);
    }
    Ok(())
}

/// Adds `info` to what the seller declared. What the seller said stays as it is.
fn merge(extensions: &mut JsonObject, info: JsonObject) {
    let extension = extensions.entry(EIP2612_GAS_SPONSORING).or_insert_with(|| json!({}));
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
    if offer.extra_str(METHOD_FIELD) != Some(METHOD) {
        return None;
    }
    let named = |field| offer.extra_str(field).filter(|text| !text.is_empty());
    let token = parse_address(&offer.asset)?;
    Some((token, Domain::new(&offer.network, token, named("name")?, named("version")?)?))
}

/// The payment's own: neither is of use without the other.
fn deadline(payment: &PaymentPayload) -> Option<U256> {
    let text = payment.payload.get(SIGNED)?.get("deadline")?.as_str()?;
    U256::from_str_radix(text, 10).ok()
}
