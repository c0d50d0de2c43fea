//! Whether a registry is as it must be after a command in it was killed or failed.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{self, Done};
use crate::registry::{self, Held, number, text};
use crate::scenario::{Scenario, Verb};
use crate::strace::{Action, Point, Run};

/// What a killed command had come to, as far as its project is concerned.
pub(crate) const NOTHING: &str = "nothing is held";
pub(crate) const HELD: &str = "held and not told";
pub(crate) const TOLD: &str = "held and told";

/// Calls that a signal can interrupt, and that are made again then.
const REPEATED: [&str; 11] = [
    "fchmod",
    "flock",
    "fsync",
    "getrandom",
    "linkat",
    "mkdirat",
    "open",
    "openat",
    "pread64",
    "renameat2",
    "write",
];

/// Calls by which records are read.
const READING: [&str; 5] = ["fstat", "open", "openat", "pread64", "read"];

/// What `doctor` finds that it cannot mend.
const BEYOND_REPAIR: [&str; 5] = [
    "later-format",
    "owner",
    "unusable-entry",
    "network-filesystem",
    "ephemeral-range",
];

/// What always lies in the registry's directory.
const OWN: [&str; 5] = [
    "index",
    portclaim::DEFAULT_FILE_NAME,
    "ports",
    "projects",
    "staging",
];

/// Where the Python system's file is kept, perhaps with a number.
const BACKUP: &str = "port_registry.json.backup";

/// What came of a point.
pub(crate) struct Verdict {
    pub(crate) faults: Vec<String>,
    pub(crate) is_reached: bool,
    /// One of [`NOTHING`], [`HELD`] and [`TOLD`].
    pub(crate) left: &'static str,
}

/// Looks at everything. The order of the commands that follow depends on `number`.
pub(crate) fn judge(
    scenario: &Scenario,
    point: &Point,
    run: &Run,
    dir: &Path,
    number: usize,
) -> Verdict {
    let mut judge = Judge {
        scenario,
        dir,
        faults: Vec::new(),
        held: registry::held(dir),
        is_mended: false,
        is_denied: point.action == Action::Fail("EACCES") && READING.contains(&point.call.as_str()),
    };
    let mut left = NOTHING;
    match &run.done {
        Ok(done) => {
            left = judge.left(done);
            judge.end(point, done);
            judge.disk(done);
            judge.follow_ups(number, done.code);
            judge.repair();
        }
        Err(why) => judge.faults.push(why.clone()),
    }
    Verdict {
        faults: judge.faults,
        is_reached: run.is_reached,
        left,
    }
}

struct Judge<'a> {
    scenario: &'a Scenario,
    dir: &'a Path,
    faults: Vec<String>,
    /// Who holds which port, as far as is known.
    held: Held,
    is_mended: bool,
    /// It was told that it may not read something. That something is another user's, and is
    /// passed over where it is one of many: until somebody looks once more, it is not shown.
    is_denied: bool,
}

impl Judge<'_> {
    fn expect(&mut self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(fault());
        }
    }

    fn left(&self, done: &Done) -> &'static str {
        match self.held.contains_key(&self.scenario.subject) {
            false => NOTHING,
            true if done.stdout.is_empty() => HELD,
            true => TOLD,
        }
    }

    /// The exit code, and what was said.
    fn end(&mut self, point: &Point, done: &Done) {
        let said = || format!("{done:?}");
        self.expect(!done.stderr.contains("panicked"), || {
            format!("a panic: {}", said())
        });
        if point.action == Action::Kill && done.is_killed() {
            return;
        }
        // That a command cannot be run is told as shells do.
        let runs = matches!(self.scenario.verb, Verb::Run | Verb::RunLeased);
        let is_known =
            matches!(done.code, Some(0..=2)) || runs && matches!(done.code, Some(126 | 127));
        self.expect(is_known, || {
            format!("the exit code is none of portclaim's: {}", said())
        });
        let must_cope =
            point.action == Action::Fail("EINTR") && REPEATED.contains(&point.call.as_str());
        self.expect(!must_cope || done.code == Some(0), || {
            format!("it was interrupted and gave up: {}", said())
        });
        match done.code {
            Some(0) => self.expect(self.answers(done), || {
                format!("that is no answer: {}", said())
            }),
            // Every scenario's command has something to do, and can do it.
            Some(1) => self.expect(self.can_say_no(point, done), || {
                format!("there was no reason to say no: {}", said())
            }),
            Some(2) => {
                let is_told = done.stderr.lines().any(|line| line.starts_with("error: "));
                self.expect(is_told, || format!("it failed without a word: {}", said()));
                let is_true = !done.stderr.contains("nothing was changed")
                    || self.held == self.scenario.before;
                self.expect(is_true, || format!("something was changed: {}", said()));
            }
            _ => {}
        }
    }

    /// Returns whether a command that succeeded has printed what it should.
    fn answers(&self, done: &Done) -> bool {
        let Scenario {
            verb,
            subject,
            target,
            before,
            ..
        } = self.scenario;
        match verb {
            Verb::Allocate | Verb::Run => printed_port(done).is_some(),
            // What `list`, which it runs, could not read is told of.
            Verb::RunLeased => {
                done.stdout.contains("(leased)") || done.stderr.contains("warning: ")
            }
            Verb::Remove => before
                .get(subject)
                .is_some_and(|port| done.stdout == format!("{port} {subject}\n")),
            Verb::Move => before
                .get(subject)
                .is_some_and(|port| done.stdout == format!("{port} {subject} -> {target}\n")),
            Verb::Follow => self.is_denied || before.get(subject).copied() == printed_port(done),
            // What it could not be sure of, it says.
            Verb::Prune => before.get(subject).is_some_and(|port| {
                let removed = format!("removed {subject} {port}\n");
                let unsure = ["kept", "missing"].map(|word| format!("{word} {subject} {port}: "));
                done.stdout.contains(&removed)
                    || unsure.iter().any(|begin| done.stdout.contains(begin))
                    || self.is_denied && done.stdout.is_empty()
            }),
            Verb::Reset => done.stdout.starts_with("released "),
            Verb::Mend => !done.stdout.is_empty(),
            // One that cannot be read is told of.
            Verb::List => {
                done.stderr.contains("warning: ")
                    || before.keys().all(|project| done.stdout.contains(project))
            }
            Verb::Index => done.stdout == format!("{}\n", registry::file(self.dir).display()),
        }
    }

    fn can_say_no(&self, point: &Point, done: &Done) -> bool {
        match self.scenario.verb {
            // What it could not mend, it lists.
            Verb::Mend => done.stdout.contains("found"),
            // A port that may not be bound is none that can be given out.
            Verb::Allocate | Verb::Run | Verb::RunLeased => {
                point.action == Action::Fail("EACCES")
                    && point.call == "bind"
                    && done.stderr.contains("no port is left")
            }
            // It lost the sight of the claim half-way: the port is given back all the same.
            Verb::Remove => self.is_denied && !self.held.contains_key(&self.scenario.subject),
            // It may not read the project's claim, and passes it over.
            Verb::Move => self.is_denied && self.held == self.scenario.before,
            // It could not look for the old place.
            Verb::Follow => {
                done.stderr.contains("error: it is not sure") && self.held == self.scenario.before
            }
            _ => false,
        }
    }

    /// What lies on the disk, before any other command.
    fn disk(&mut self, done: &Done) {
        let Scenario {
            verb,
            subject,
            target,
            before,
            due,
            ..
        } = self.scenario;
        let now = self.held.clone();
        if let (true, Some(port)) = (verb.allocates(), printed_port(done)) {
            self.expect(now.get(subject) == Some(&port), || {
                format!("told {port}, and not kept: {now:?}")
            });
        }
        for (project, port) in before {
            let is_kept = match now.get(project) {
                Some(there) => there == port,
                None => match verb {
                    Verb::Reset => true,
                    Verb::Remove | Verb::Prune => project == subject,
                    Verb::Move | Verb::Follow => {
                        project == subject && now.get(target) == Some(port)
                    }
                    _ => false,
                },
            };
            self.expect(is_kept, || format!("{project} had {port}: {now:?}"));
        }
        for (project, port) in &now {
            let is_new = !before.contains_key(project) && verb.allocates() && project == subject;
            let is_move = matches!(verb, Verb::Move | Verb::Follow);
            let moved = before.get(subject).filter(|_| is_move);
            let moved = moved.filter(|_| project == target && !now.contains_key(subject));
            // It may not read the project's claim, and passes it over.
            let is_new = is_new || *verb == Verb::Follow && self.is_denied && project == target;
            let is_given = before
                .get(project)
                .or(due.get(project))
                .or(moved)
                .map_or(is_new, |given| given == port);
            self.expect(is_given, || {
                format!("{project} has {port} by nobody's wish")
            });
        }
        if done.code == Some(0) {
            let is_gone = match verb {
                Verb::Remove => !now.contains_key(subject),
                Verb::Move | Verb::Follow => now.contains_key(target),
                Verb::Prune => !now.contains_key(subject) || !done.stdout.contains("removed "),
                Verb::Reset => now.is_empty() || self.is_denied,
                _ => true,
            };
            self.expect(is_gone, || format!("removed, and still there: {now:?}"));
        }
        if *verb == Verb::Reset {
            let archived = registry::archived(self.dir);
            let is_kept = |(project, port): (&String, &u16)| {
                now.get(project) == Some(port) || archived.get(project) == Some(port)
            };
            self.expect(before.iter().all(is_kept), || {
                format!("neither held nor in the backup: {archived:?}")
            });
        }
        match registry::mappings(self.dir) {
            Err(fault) => self.faults.push(fault),
            Ok(shown) => {
                let is_look_up = verb.allocates() && before.contains_key(subject);
                let must_show = done.code == Some(0)
                    && !self.is_denied
                    && !done.stderr.contains("could not be brought up to date")
                    && !done.stderr.contains("could not be taken over")
                    // It brings nothing up to date.
                    && !is_look_up;
                self.expect(!must_show || shown.as_ref() == Some(&now), || {
                    format!("the registry file shows {shown:?}, held are {now:?}")
                });
            }
        }
    }

    /// Runs a command that must succeed, or may answer no.
    fn run(&mut self, arguments: &[&str], codes: &[i32]) -> Option<Done> {
        let call = self.scenario.follow_up(arguments, self.dir);
        let done = match process::run(Command::new(&call[0]).args(&call[1..])) {
            Ok(done) => done,
            Err(why) => {
                self.faults.push(why);
                return None;
            }
        };
        let is_fine =
            done.code.is_some_and(|code| codes.contains(&code)) && !done.stderr.contains("error: ");
        self.expect(is_fine, || {
            format!("afterwards, {arguments:?} fails: {done:?}")
        });
        is_fine.then_some(done)
    }

    fn json(&mut self, arguments: &[&str], codes: &[i32]) -> Option<Value> {
        let done = self.run(&[arguments, &["--json"]].concat(), codes)?;
        let json = serde_json::from_str(&done.stdout);
        self.expect(json.is_ok(), || format!("no JSON: {done:?}"));
        json.ok()
    }

    /// The commands that anybody may call next, whichever comes first.
    fn follow_ups(&mut self, number: usize, code: Option<i32>) {
        let held = self.held.clone();
        let found = self.doctor("after the point", &["doctor"], &[0, 1]);
        let is_done = self.scenario.verb == Verb::Mend && code == Some(0);
        self.expect(!is_done || found.is_empty(), || {
            format!("said to be mended: {found:?}")
        });
        self.list_first();
        let (subject, newcomer) = (
            self.scenario.subject.as_str(),
            self.scenario.newcomer.as_str(),
        );
        for step in 0..4 {
            match (number + step) % 4 {
                0 => self.list("as a next command"),
                1 => self.allocate(subject),
                2 => self.allocate(newcomer),
                _ => self.check(&held),
            }
        }
        self.list("after all that");
        for project in [subject, newcomer] {
            let there = self.held.contains_key(project);
            self.expect(there, || {
                format!("{project} was given a port, and has none")
            });
        }
    }

    /// In a copy, for the rest is to find everything as it was left: a list shows what is so,
    /// and brings the registry file up to date.
    fn list_first(&mut self) {
        let copy = self.dir.join("copy");
        std::fs::create_dir(&copy).expect("it is new");
        if registry::root(self.dir).exists() {
            registry::copy(&registry::root(self.dir), &registry::root(&copy));
        }
        let mut judge = Judge {
            dir: &copy,
            faults: Vec::new(),
            held: self.held.clone(),
            ..*self
        };
        judge.list("at once");
        self.faults.append(&mut judge.faults);
    }

    /// All claims are listed, none twice, and the registry file shows them.
    fn list(&mut self, when: &str) {
        let Some(json) = self.json(&["list"], &[0]) else {
            return;
        };
        let claims = json["claims"].as_array().cloned().unwrap_or_default();
        let listed: Held = claims
            .iter()
            .map(|claim| (text(&claim["path"]), number(&claim["port"])))
            .collect();
        let mut ports: Vec<&u16> = listed.values().collect();
        ports.sort_unstable();
        ports.dedup();
        self.expect(ports.len() == claims.len(), || {
            format!("{when}: a port has two projects: {json}")
        });
        let (held, due) = (self.held.clone(), &self.scenario.due);
        for (project, port) in &held {
            self.expect(listed.get(project) == Some(port), || {
                format!("{when}: {project} holds {port}, listed are {listed:?}")
            });
        }
        for (project, port) in &listed {
            let is_due = held.contains_key(project) || due.get(project) == Some(port);
            self.expect(is_due, || {
                format!("{when}: {project} has {port} by nobody's wish")
            });
        }
        if self.scenario.is_take_over {
            let is_done = due
                .iter()
                .all(|(project, port)| listed.get(project) == Some(port));
            self.expect(is_done, || {
                format!("{when}: not all was taken over: {listed:?}")
            });
        }
        match registry::mappings(self.dir) {
            Ok(shown) => {
                let mut shown = shown.unwrap_or_default();
                if self.scenario.verb == Verb::Mend && !self.is_mended {
                    // By a hand that makes no marks: only a repair looks for such.
                    shown.retain(|project, port| {
                        listed.contains_key(project) || due.get(project) != Some(port)
                    });
                }
                let may_lag = self.is_denied && !self.is_mended;
                self.expect(may_lag || shown == listed, || {
                    format!("{when}: the registry file shows {shown:?}, held are {listed:?}")
                });
            }
            Err(fault) => self.faults.push(fault),
        }
        self.held = listed;
    }

    /// Who has a port is told it, whom one is due gets it, and everybody else one that is free.
    fn allocate(&mut self, project: &str) {
        let Some(done) = self.run(&["allocate", project], &[0]) else {
            return;
        };
        let Some(port) = printed_port(&done) else {
            self.faults.push(format!("no port: {done:?}"));
            return;
        };
        let has = self
            .held
            .get(project)
            .or(self.scenario.due.get(project))
            .copied();
        let is_free = !self
            .held
            .iter()
            .any(|(other, taken)| *taken == port && other != project);
        self.expect(is_free, || {
            format!("{project} was told another project's port: {done:?}")
        });
        self.expect(has.is_none_or(|has| has == port), || {
            format!("{project} had {has:?}: {done:?}")
        });
        self.held.insert(project.to_owned(), port);
    }

    /// Each port's project is told.
    fn check(&mut self, held: &Held) {
        for (project, port) in held.iter().take(2) {
            if let Some(json) = self.json(&["check", &port.to_string()], &[1]) {
                let is_told = text(&json["claim"]["project"]) == *project;
                self.expect(is_told, || format!("{project} holds {port}: {json}"));
            }
        }
    }

    fn doctor(&mut self, when: &str, arguments: &[&str], codes: &[i32]) -> Vec<Value> {
        let Some(json) = self.json(arguments, codes) else {
            return Vec::new();
        };
        let findings = json["findings"].as_array().cloned().unwrap_or_default();
        for finding in &findings {
            let is_known = !BEYOND_REPAIR.contains(&text(&finding["kind"]).as_str());
            self.expect(is_known, || format!("{when}: no repair can mend {finding}"));
        }
        findings
    }

    /// A repair mends all, loses nothing, and leaves nothing behind.
    fn repair(&mut self) {
        self.doctor("the repair", &["doctor", "--fix"], &[0]);
        let found = self.doctor("after the repair", &["doctor"], &[0]);
        self.expect(found.is_empty(), || format!("after the repair: {found:?}"));
        self.is_mended = true;
        self.list("after the repair");
        let root = registry::root(self.dir);
        for (name, may) in [
            ("staging", &[][..]),
            ("index", &["lock", "turn", "waiter", "written"][..]),
        ] {
            let names = registry::names(&root.join(name));
            let is_clean = names.iter().all(|name| may.contains(&name.as_str()));
            self.expect(is_clean, || format!("left behind in {name}/: {names:?}"));
        }
        let names = registry::names(&root);
        let extras = self.scenario.extras;
        let is_own = |name: &str| OWN.contains(&name) || extras.contains(&name);
        let original = registry::file(&self.scenario.template);
        // One that could not be read may be there twice.
        let (backups, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.starts_with(BACKUP));
        self.expect(others.iter().all(|name| is_own(name)), || {
            format!("left behind: {others:?}")
        });
        let is_original = |name: &String| registry::is_same(&root.join(name), &original);
        self.expect(
            backups.is_empty() != self.scenario.is_take_over && backups.iter().all(is_original),
            || format!("the original is not what was kept: {backups:?}"),
        );
    }
}

/// Returns the port that `allocate` printed, in full.
fn printed_port(done: &Done) -> Option<u16> {
    done.stdout.strip_suffix('\n')?.parse().ok()
}
