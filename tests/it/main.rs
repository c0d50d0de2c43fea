//! Tests of the whole: the command line and the library as their users meet them.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the disk themselves"
)]

mod bad_input;
mod cli;
mod config;
mod contention;
mod crash;
mod deferred;
mod doctor;
mod embed;
mod ended;
mod env;
mod follow;
mod foreign;
mod fuse;
mod fuzzed;
mod harness;
mod library;
mod merge;
mod moves;
mod prune;
mod readme;
mod registry_file;
mod repairs;
mod run;
mod scene;
mod server;
mod services;
mod stress;
mod terms;
mod tidy;
mod who;
