//! Fuzzes the target `verify_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("verify_response", data));
