//! Fuzzes the target `evm_signature`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("evm_signature", data));
