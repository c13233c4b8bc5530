//! Fuzzes the target `settle_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("settle_response", data));
