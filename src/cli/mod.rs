//! The command line: sees only what the library makes public.

use std::cell::Cell;
use std::process::ExitCode;

use clap::Parser;
use portclaim::{Notice, Registry};

mod allocate;
mod args;
mod check;
mod claims;
mod config;
mod doctor;
mod env;
mod follow;
mod generate;
mod global;
mod index;
mod interceptor;
mod known;
mod later;
mod list;
mod listening;
mod marked;
mod moves;
mod program;
mod projects;
mod prune;
mod quick;
mod quote;
mod remove;
mod renew;
mod report;
mod reset;
mod run;
mod settings;
mod show;
mod span;
mod stranger;
mod stress;
mod target;
mod text;
mod variables;
mod who;

use args::{Cli, Command};
use report::{Failure, Outcome};
use settings::Settings;

pub(crate) fn main() -> ExitCode {
    let cli = match quick::parse(std::env::args_os().skip(1)).map_or_else(Cli::try_parse, Ok) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error),
    };
    match run(&cli) {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(failure) => report::failure(&failure),
    }
}

fn run(cli: &Cli) -> Result<Outcome, Failure> {
    match &cli.command {
        Command::Completions { shell } => return generate::completions(*shell),
        Command::Man => return generate::man(),
        Command::Stress(args) => return stress::run(cli, args),
        Command::Interceptor { args } => return Err(interceptor::become_it(&cli.global, args)),
        Command::StressWorker => return stress::run_worker(),
        _ => {}
    }
    let settings = Settings::resolve(&cli.global)?;
    let registry = settings.open()?;
    // Of a directory that the command is yet to make, nothing is known before.
    let is_unknown = Cell::new(!settings::warn_of_filesystem(&registry)?);
    let tell = || tell(&settings, &registry, &is_unknown);
    let answer = match &cli.command {
        // Everything is told before, because the command does not come back.
        Command::Run(args) => run::run(&settings, &registry, args, tell).map(Outcome::Code),
        Command::Allocate {
            target,
            count,
            port,
            ttl,
            owner_pid,
            follow_git,
        } => {
            let wanted = allocate::Wanted {
                count: *count,
                port: *port,
                ttl: *ttl,
                owner_pid: *owner_pid,
                follow_git: *follow_git,
            };
            allocate::run(&settings, &registry, target, &wanted)
        }
        Command::Renew { target, ttl } => renew::run(&settings, &registry, target, *ttl),
        Command::Show(target) => show::run(&settings, &registry, target),
        Command::Env(args) => env::run(&settings, &registry, args),
        Command::List => list::run(&settings, &registry),
        Command::Remove(target) => remove::run(&settings, &registry, target),
        Command::Move { old, new } => moves::run(&settings, &registry, old, new),
        Command::Prune(args) => prune::run(&settings, &registry, args),
        Command::Check { port } => check::run(&settings, &registry, *port),
        Command::Who { port } => who::run(&settings, &registry, *port),
        Command::Reset { yes } => reset::run(&settings, &registry, *yes),
        Command::Doctor { fix } => doctor::run(&settings, &registry, *fix),
        Command::Index { when_quiet } => index::run(&settings, &registry, *when_quiet),
        Command::Completions { .. }
        | Command::Man
        | Command::Interceptor { .. }
        | Command::Stress(_)
        | Command::StressWorker => Ok(Outcome::Yes),
    };
    tell();
    answer
}

/// Tells what the command met, and sees to it that a long registry file follows.
fn tell(settings: &Settings, registry: &Registry, is_filesystem_unknown: &Cell<bool>) {
    if is_filesystem_unknown.take() {
        // What keeps it from being known, the command has told.
        let _ = settings::warn_of_filesystem(registry);
    }
    let mut notices = registry.take_notices();
    let count = notices.len();
    notices.retain(|notice| !matches!(notice, Notice::IndexDeferred { .. }));
    if notices.len() < count {
        later::refresh(settings, registry);
    }
    report::notices(&notices);
}
