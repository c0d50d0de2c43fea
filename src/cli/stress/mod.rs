//! `portclaim stress`: is this file system fit for a registry?
//!
//! Real processes ([`worker`]) allocate, look up, lease, move, release and repair in a registry of their own;
//! some are killed or stopped at random instants ([`keeper`]). All that they are told is
//! written down ([`history`]), and [`checker`] looks for what cannot be.

use fastrand::Rng;
use portclaim::Registry;

use super::args::{Cli, StressArgs};
use super::report::{Failure, Outcome, print};

mod action;
mod answers;
mod checker;
mod children;
mod commands;
mod draw;
mod end;
mod ground;
mod history;
mod keeper;
mod leases;
mod names;
mod plan;
mod report;
mod seen;
mod supervisor;
mod wording;
mod worker;

use history::Moment;
use plan::Plan;
use report::{Filesystem, Summary};
use supervisor::Ran;

/// The subcommand that a worker is.
pub(super) const WORKER: &str = "stress-worker";

pub(super) fn run(cli: &Cli, args: &StressArgs) -> Result<Outcome, Failure> {
    if cli.global.registry.is_some() {
        return Err(
            Failure::new("a stress test uses no registry but its own").hint("use --dir DIR")
        );
    }
    let seed = args.seed.unwrap_or_else(|| fastrand::u32(..).into());
    let mut random = Rng::with_seed(seed);
    let needed = Plan::ports_needed(args.workers);
    let first_port = ground::free_ports(
        cli.global.port_min,
        cli.global.port_max,
        needed,
        &mut random,
    )?;
    let directory = ground::create(args.dir.as_deref(), seed)?;
    let found = Registry::open(directory.join(names::REGISTRY))?.filesystem()?;
    let filesystem = Filesystem {
        name: ground::filesystem(&directory).or_else(|| found.as_ref()?.name().map(str::to_owned)),
        locks: found.is_none_or(|found| found.locks()),
    };
    let begin = Moment::now();
    let plan = Plan {
        workers: args.workers,
        seed,
        kill_rate: args.kill_rate,
        directory: directory.to_string(),
        locks: filesystem.locks,
        first_port,
        until: Moment(begin.0 + args.seconds * 1_000_000_000),
    };
    if !cli.global.json {
        let (first, last) = (
            plan.ports().start().to_owned(),
            plan.ports().end().to_owned(),
        );
        print(&format!(
            "seed {seed}: {} workers, {} s, ports {first}-{last}, in {directory}\n",
            args.workers, args.seconds
        ))?;
    }
    let ran = supervisor::run(&plan).map_err(|why| {
        Failure::new(&why).hint(&format!(
            "the registry is kept in {directory}, the seed was {seed}"
        ))
    })?;
    let summary = judge(&plan, filesystem, begin, ran);
    if summary.violation.is_none() {
        ground::remove(&directory)?;
    } else {
        ground::keep(&directory, &summary.history())?;
    }
    summary.tell(cli.global.json)?;
    Ok(match summary.violation {
        None => Outcome::Yes,
        Some(_) => Outcome::No,
    })
}

/// The worker, as a subcommand of its own.
pub(super) fn run_worker() -> Result<Outcome, Failure> {
    worker::run()
}

/// Asks what is left, and draws the balance.
fn judge(plan: &Plan, filesystem: Filesystem, begin: Moment, ran: Ran) -> Summary<'_> {
    let seconds = Moment::now().seconds_since(begin);
    let Ran {
        tally,
        mut checker,
        violation,
    } = ran;
    let verdict = match violation {
        Some(violation) => Err(violation),
        None => end::inspect(plan, &mut checker).and_then(|()| checker.finish()),
    };
    Summary {
        plan,
        filesystem,
        begin,
        seconds,
        tally,
        undecided: *verdict.as_ref().unwrap_or(&0),
        recent: checker.recent(),
        violation: verdict.err(),
    }
}
