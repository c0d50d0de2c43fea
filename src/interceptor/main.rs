//! `portclaim-interceptor`: a proxy on the project's own port, which says to a language model's
//! server which project a request comes from, and changes nothing else.
//!
//! It sees the library as an embedder does. What the command line says and reads in the same
//! way is the same code, in `src/cli`.

use std::process::ExitCode;

mod admission;
mod answer;
mod args;
mod body;
mod dial;
mod forward;
mod headers;
mod hold;
mod identity;
mod junie;
mod kept;
mod key;
mod log;
mod metrics;
mod options;
mod peer;
mod serve;
mod setup;
mod target_url;
mod upstream;

#[path = "../cli/config.rs"]
mod config;
#[path = "../cli/global.rs"]
mod global;
#[path = "../cli/known.rs"]
mod known;
#[expect(dead_code, reason = "tables are the command line's")]
#[path = "../cli/listening.rs"]
mod listening;
#[path = "../cli/projects.rs"]
mod projects;
#[expect(dead_code, reason = "styled text is the command line's")]
#[path = "../cli/report.rs"]
mod report;
#[expect(dead_code, reason = "questions are the command line's")]
#[path = "../cli/settings.rs"]
mod settings;
#[path = "../cli/span.rs"]
mod span;
#[path = "../cli/stranger.rs"]
mod stranger;
#[expect(dead_code, reason = "lists of projects are the command line's")]
#[path = "../cli/target.rs"]
mod target;
#[expect(dead_code, reason = "lists are the command line's")]
#[path = "../cli/text.rs"]
mod text;

fn main() -> ExitCode {
    let cli = match args::Cli::read() {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error),
    };
    let done = match &cli.command {
        Some(args::Command::Setup(args)) => setup::run(&cli, args),
        None => serve::run(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::failure(&failure),
    }
}
