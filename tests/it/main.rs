//! Tests of the whole: the command line and the library as their users meet them.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the disk themselves"
)]

mod bad_input;
mod cli;
mod doctor;
mod harness;
mod registry_file;
