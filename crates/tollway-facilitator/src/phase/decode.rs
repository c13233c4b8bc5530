//! Phase 1: bytes to the model. The body's size is bounded before this by the HTTP layer.

use tollway_core::model::FacilitatorRequest;
use tollway_core::wire::{self, WireError};

/// Decodes a request body of either version.
pub(crate) fn decode(body: &[u8]) -> Result<FacilitatorRequest, WireError> {
    wire::decode_facilitator_request(body)
}
