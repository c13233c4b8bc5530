//! Fuzzes the target `payment_required`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("payment_required", data));
