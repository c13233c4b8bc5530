//! Fuzzes the target `facilitator_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("facilitator_request", data));
