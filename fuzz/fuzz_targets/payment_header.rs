//! Fuzzes the target `payment_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("payment_header", data));
