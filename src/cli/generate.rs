//! `portclaim completions` and `portclaim man`: generated from the same types as the parser.

use clap::CommandFactory;

use super::args::Cli;
use super::report::{Failure, Outcome, print};

pub(super) fn completions(shell: clap_complete::Shell) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portclaim", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Yes)
}

pub(super) fn man() -> Result<Outcome, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::io("failed to write the man page", &error))?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(Outcome::Yes)
}
