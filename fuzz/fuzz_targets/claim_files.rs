//! See `checks::claim_files`.
#![no_main]

#[path = "../checks.rs"]
#[expect(dead_code, reason = "one target, one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::claim_files(data));
