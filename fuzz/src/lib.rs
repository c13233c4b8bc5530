//! What must hold for every input a stranger can send: the bodies of the fuzz targets.
//!
//! Each target takes bytes and panics when a property does not hold. The properties: no decoder panics; what was
//! decoded is encoded and decoded to the same; a refusal names a field and stays short.

mod evm;
mod text;
mod wire;

/// A target: takes any bytes, panics on a broken property.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 13] = [
    ("amount", text::amount),
    ("canonical_url", text::canonical_url),
    ("evm_exact", evm::exact),
    ("evm_signature", evm::signature),
    ("facilitator_request", wire::facilitator_request),
    ("money", text::money),
    ("network", text::network),
    ("payment_header", wire::payment_header),
    ("payment_json", wire::payment_json),
    ("payment_required", wire::payment_required),
    ("settle_response", wire::settle_response),
    ("supported", wire::supported),
    ("verify_response", wire::verify_response),
];

/// Runs the target of this name on `data`.
///
/// # Panics
/// A property does not hold, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}
