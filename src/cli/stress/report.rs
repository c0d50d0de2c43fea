//! What is told of a run, as text and as JSON.

use std::fmt::Write;
use std::rc::Rc;

use serde::Serialize;

use super::super::report::{Failure, print, print_json};
use super::super::text::escape;
use super::action::KINDS;
use super::checker::{Violation, ports_of};
use super::history::{Answer, Moment, Operation};
use super::plan::Plan;
use super::seen::Seen;
use super::supervisor::Tally;
use super::wording::Wording;

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
            directory: self.violation.is_some().then_some(&self.plan.directory),
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
            escape(&self.plan.directory)
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
                event.answer = Some(self.excerpt_of_list(all, violation));
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
        let words = Wording(self.plan);
        Event {
            worker: operation.worker,
            start: operation.start.seconds_since(self.begin),
            end: operation.end.seconds_since(self.begin),
            action: words.action(operation.action),
            answer: operation.answer.as_ref().map(|answer| words.answer(answer)),
        }
    }

    /// Returns the claims of a list that a violation is about.
    fn excerpt_of_list(&self, all: &[Seen], violation: &Violation) -> String {
        let words = Wording(self.plan);
        let others = violation.excerpt.iter();
        let ports: Vec<u16> = others.flat_map(|one| ports_of(one)).collect();
        let mut about: Vec<String> = Vec::new();
        for claim in all {
            if violation.holder == Some(claim.holder) || ports.contains(&claim.port) {
                about.push(words.seen(*claim));
            }
        }
        format!("{} claims, among them [{}]", all.len(), about.join(", "))
    }
}
