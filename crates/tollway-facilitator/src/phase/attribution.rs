//! Beside phase 6: who took part in a payment, written behind the calldata of its settlement (extension `builder-code`,
//! ERC-8021). Contracts do not read it; payments with the same codes go into one transaction.

use alloy_primitives::Bytes;
use tollway_core::extension::builder_code::{Attribution, NAME};
use tollway_core::model::FacilitatorRequest;

use crate::Limits;

/// What goes behind the calldata: nothing, unless the operator has a code and the payment carries the extension.
pub(crate) fn suffix(request: &FacilitatorRequest, limits: &Limits) -> Bytes {
    let payment = &request.payment;
    match &limits.builder_code {
        Some(own) if payment.extensions.contains_key(NAME) => {
            let wallet = Some(own.clone());
            Attribution::of_payment(&payment.extensions, payment.version, wallet, None).suffix().into()
        }
        _ => Bytes::new(),
    }
}
