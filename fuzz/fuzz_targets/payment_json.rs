//! Fuzzes the target `payment_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("payment_json", data));
