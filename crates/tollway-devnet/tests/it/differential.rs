//! What this chain answers is what anvil answers.
//!
//! Runs when TOLLWAY_ANVIL is the path of an anvil.
