//! See `checks::registry_file`.
#![no_main]

#[path = "../checks/mod.rs"]
#[expect(dead_code, unused_imports, reason = "one target, one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::registry_file(data));
