//! Fuzzes the target `canonical_url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("canonical_url", data));
