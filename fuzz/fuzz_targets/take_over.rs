//! See `checks::take_over`.
#![no_main]

#[path = "../checks/mod.rs"]
#[expect(dead_code, unused_imports, reason = "one target, one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::take_over(data));
