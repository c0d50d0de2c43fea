//! Tests of `portclaim-interceptor` as its clients meet it: every byte of both sides is looked at.

#![expect(
    clippy::disallowed_methods,
    reason = "tests have sockets and files of their own"
)]

mod admission;
mod fuzzed;
mod identity;
mod message;
mod own;
mod pass;
mod proxy;
mod setup;
mod start;
mod streams;
mod tls;
mod trouble;
mod upgrade;
mod upstream;

#[expect(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../it/harness.rs"]
mod harness;
