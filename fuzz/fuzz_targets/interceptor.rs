//! See `checks/interceptor.rs`.
#![no_main]

#[path = "../checks/interceptor.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::interceptor(data));
