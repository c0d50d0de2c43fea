//! What is told of a run, as text and as JSON.

use std::fmt::Write;
use std::rc::Rc;

use serde::Serialize;

use super::super::report::{Failure, print, print_json};
use super::super::text::escape;
use super::checker::{Violation, ports_of};
use super::history::{Action, Answer, Given, KINDS, LeasedBy, Moment, Operation, Seen, Term};
use super::plan::{Plan, name, path};
use super::supervisor::Tally;

/// A run that is over.
pub(super) struct Summary<'a> {
    pub(super) plan: &'a Plan,
    pub(super) filesystem: Filesystem,
    pub(super) begin: Moment,
    pub(super) seconds: f64,
    pub(super) tally: Tally,
    /// Holders whose operations had too many possible orders to decide.
    pub(super) undecided: usize,
    pub(super) violation: Option<Violation>,
    /// The last operations.
    pub(super) recent: Vec<Rc<Operation>>,
}

/// What the registry was on.
#[derive(Serialize)]
pub(super) struct Filesystem {
    pub(super) name: Option<String>,
    /// Whether its locks may be trusted.
    pub(super) locks: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    clean: bool,
    seed: u64,
    workers: u32,
    kill_rate: f64,
    /// `null` where it was removed.
    directory: Option<&'a str>,
    filesystem: &'a Filesystem,
    range: Range,
    seconds: f64,
    per_second: f64,
    operations: serde_json::Map<String, serde_json::Value>,
    kills: u64,
    stops: u64,
    exhausted: u64,
    contended: u64,
    undecided: usize,
    violation: Option<Shown>,
}

#[derive(Serialize)]
struct Range {
    min: u16,
    max: u16,
}

#[derive(Serialize)]
struct Shown {
    kind: &'static str,
    detail: String,
    excerpt: Vec<Event>,
    beside: Vec<Event>,
}

#[derive(Serialize)]
struct Event {
    /// `null` for what was asked after the run.
    worker: Option<u32>,
    /// In seconds, from the run's beginning.
    start: f64,
    end: f64,
    action: String,
    /// `null` where the worker was killed meanwhile.
    answer: Option<String>,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6} to {:.6} s, ", self.start, self.end)?;
        match self.worker {
            Some(worker) => write!(f, "worker {worker}: ")?,
            None => f.write_str("afterwards: ")?,
        }
        let answer = self.answer.as_deref().unwrap_or("(it was killed)");
        write!(f, "{}: {}", self.action, escape(answer))
    }
}

impl Summary<'_> {
    fn operations(&self) -> u64 {
        self.tally.operations.iter().sum()
    }

    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let operations = self.operations() as f64;
        (operations / self.seconds.max(f64::EPSILON)).round()
    }

    /// Prints it all.
    pub(super) fn tell(&self, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&self.json());
        }
        print(&self.text())
    }

    fn json(&self) -> Told<'_> {
        let count = |(&kind, &count): (&&str, &u64)| (kind.to_owned(), count.into());
        let events = |all: &[Rc<Operation>]| all.iter().map(|one| self.event(one)).collect();
        let shown = |violation: &Violation| Shown {
            kind: violation.kind.name(),
            detail: violation.detail.clone(),
            excerpt: events(&violation.excerpt),
            beside: events(&violation.beside),
        };
        Told {
            clean: self.violation.is_none(),
            seed: self.plan.seed,
            workers: self.plan.workers,
            kill_rate: self.plan.kill_rate,
            directory: self.violation.is_some().then_some(&self.plan.root),
            filesystem: &self.filesystem,
            range: Range {
                min: *self.plan.ports().start(),
                max: *self.plan.ports().end(),
            },
            seconds: self.seconds,
            per_second: self.per_second(),
            operations: KINDS
                .iter()
                .zip(&self.tally.operations)
                .map(count)
                .collect(),
            kills: self.tally.kills,
            stops: self.tally.stops,
            exhausted: self.tally.exhausted,
            contended: self.tally.contended,
            undecided: self.undecided,
            violation: self.violation.as_ref().map(shown),
        }
    }

    fn text(&self) -> String {
        let tally = &self.tally;
        let mut text = String::new();
        if let Some(violation) = &self.violation {
            self.write_violation(&mut text, violation);
        }
        let word = if self.violation.is_none() {
            "clean: "
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{word}{} operations in {:.1} s ({} per second) on {}, {} kills, {} stops",
            self.operations(),
            self.seconds,
            self.per_second(),
            self.filesystem
                .name
                .as_deref()
                .unwrap_or("an unknown file system"),
            tally.kills,
            tally.stops,
        );
        let counts = KINDS.iter().zip(&tally.operations);
        let counts: Vec<String> = counts
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let _ = writeln!(
            text,
            "{}; answered with \"exhausted\" {} times, with \"contended\" {} times",
            counts.join(", "),
            tally.exhausted,
            tally.contended
        );
        if self.undecided > 0 {
            let _ = writeln!(
                text,
                "{} holders had too many possible orders to decide: use fewer workers",
                self.undecided
            );
        }
        text
    }

    fn write_violation(&self, text: &mut String, violation: &Violation) {
        let _ = writeln!(
            text,
            "violation: {}: {}",
            violation.kind.name(),
            escape(&violation.detail)
        );
        let _ = writeln!(
            text,
            "seed {}; the registry is kept in {}, with the last operations in history.txt",
            self.plan.seed,
            escape(&self.plan.root)
        );
        self.write_operations(text, violation, &violation.excerpt);
        if !violation.beside.is_empty() {
            let _ = writeln!(text, "beside it, on the same ports:");
            self.write_operations(text, violation, &violation.beside);
        }
    }

    fn write_operations(
        &self,
        text: &mut String,
        violation: &Violation,
        operations: &[Rc<Operation>],
    ) {
        for operation in operations {
            let mut event = self.event(operation);
            if let Some(Answer::Listed(all)) = &operation.answer {
                event.answer = Some(excerpt_of_list(all, violation));
            }
            let _ = writeln!(text, "  {event}");
        }
    }

    /// Returns the last operations, a line each, in the order of their starts.
    pub(super) fn history(&self) -> String {
        let mut text = String::new();
        for operation in &self.recent {
            let _ = writeln!(text, "{}", self.event(operation));
        }
        text
    }

    fn event(&self, operation: &Rc<Operation>) -> Event {
        Event {
            worker: operation.worker,
            start: operation.start.seconds_since(self.begin),
            end: operation.end.seconds_since(self.begin),
            action: action(operation.action),
            answer: operation.answer.as_ref().map(answer),
        }
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Claim { holder, ttl: None } => format!("claim {}", name(holder)),
        Action::Claim {
            holder,
            ttl: Some(ttl),
        } => format!("claim {} for {ttl} s", name(holder)),
        Action::ClaimSet { project } => format!("claim the services of {}", path(project)),
        Action::ClaimRow { project } => format!("claim a row for {}", path(project)),
        Action::Find { holder } => format!("find {}", name(holder)),
        Action::Release { holder } => format!("release {}", name(holder)),
        Action::ReleaseExactly { claim } => format!("release exactly {}", seen(claim)),
        Action::ReleaseRow { project } => format!("release the row of {}", path(project)),
        Action::Renew { claim, ttl } => format!("renew {} for {ttl} s", seen(claim)),
        Action::Lease { project, by } => {
            let by = match by {
                LeasedBy::Worker => "itself",
                LeasedBy::Child => "a child",
                LeasedBy::Survivor => "itself, after a child's end",
            };
            format!("lease for {}, held by {by}", path(project))
        }
        Action::EndLease { claim, killed } => {
            let how = if killed { " by a kill" } else { "" };
            format!("end{how} of the lease {}", seen(claim))
        }
        Action::Move { from, to } => format!("move {} to {}", path(from), path(to)),
        Action::Lookup { port } => format!("lookup {port}"),
        Action::State { port } => format!("state of {port}"),
        Action::List => "list".to_owned(),
        Action::ListLeases => "list of leases".to_owned(),
        Action::Repair => "repair".to_owned(),
        Action::Index => "index".to_owned(),
        Action::Check => "check".to_owned(),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Given(all) => {
            let all: Vec<String> = all.iter().map(given).collect();
            all.join("; ")
        }
        Answer::Exhausted { unbindable } => format!("exhausted ({unbindable} ports in use)"),
        Answer::Found(None) => "none".to_owned(),
        Answer::Found(Some(claim)) => seen(*claim),
        Answer::Released(all) if all.is_empty() => "there was none".to_owned(),
        Answer::Released(all) => format!("released {}", seen_all(all)),
        Answer::Superseded => "it is not there any more".to_owned(),
        Answer::Renewed(_) => "renewed".to_owned(),
        Answer::Leased(claim) => format!("leased {}", seen(*claim)),
        Answer::Ended => "ended".to_owned(),
        Answer::Moved(all) if all.is_empty() => "there was nothing to move".to_owned(),
        Answer::Moved(all) => format!("moved, now {}", seen_all(all)),
        Answer::Listed(all) | Answer::Leases(all) => format!("[{}]", seen_all(all)),
        Answer::Done => "done".to_owned(),
        Answer::Refused => "refused".to_owned(),
        Answer::Contended => "contended".to_owned(),
        Answer::Failed(why) => why.clone(),
    }
}

fn given(given: &Given) -> String {
    let when = if given.new { "new" } else { "as before" };
    format!("{}, {when}", seen(given.claim))
}

fn seen_all(all: &[Seen]) -> String {
    let all: Vec<String> = all.iter().map(|claim| seen(*claim)).collect();
    all.join(", ")
}

/// Returns the claims of a list that a violation is about.
fn excerpt_of_list(all: &[Seen], violation: &Violation) -> String {
    let others = violation.excerpt.iter();
    let ports: Vec<u16> = others.flat_map(|one| ports_of(one)).collect();
    let mut about: Vec<String> = Vec::new();
    for claim in all {
        if violation.holder == Some(claim.holder) || ports.contains(&claim.port) {
            about.push(seen(*claim));
        }
    }
    format!("{} claims, among them [{}]", all.len(), about.join(", "))
}

/// A claim in an excerpt: its port, whose it is, for how long, and the beginning of its nonce.
fn seen(claim: Seen) -> String {
    let term = match claim.term {
        Term::Kept => String::new(),
        Term::Ttl(ttl) => format!(" for {ttl} s"),
        Term::Lease => " as a lease".to_owned(),
    };
    let (port, name, nonce) = (claim.port, name(claim.holder), claim.nonce);
    format!("{port} of {name}{term} ({nonce:?})")
}
