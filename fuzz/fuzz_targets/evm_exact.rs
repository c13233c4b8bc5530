//! Fuzzes the target `evm_exact`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::run("evm_exact", data));
