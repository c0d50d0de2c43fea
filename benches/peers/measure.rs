//! Runs tools by turns, and keeps what they told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{median, timed};
use crate::process::found;
use crate::tools::{Home, Tool};

/// What is wrong with the answers of so many processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) asked: usize,
    /// Told nothing, or what is no port of the range.
    pub(crate) failed: usize,
    /// Told a port that another project had been told.
    pub(crate) duplicates: usize,
    /// Told a project another port than before.
    pub(crate) changed: usize,
}

/// A tool, a home of its own, and what it told there.
pub(crate) struct Contestant<'a> {
    pub(crate) tool: &'a dyn Tool,
    pub(crate) home: Home,
    ports: HashMap<PathBuf, u16>,
    holders: HashMap<u16, PathBuf>,
    pub(crate) tally: Tally,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(tool: &'a dyn Tool, home: PathBuf) -> Contestant<'a> {
        Contestant {
            tool,
            home: Home::new(home, tool),
            ports: HashMap::new(),
            holders: HashMap::new(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn ask(&self, project: &Path) -> Command {
        capturing(self.tool.ask(&self.home, project))
    }

    /// Counts what was told to a project.
    pub(crate) fn record(&mut self, project: &Path, output: &Output) {
        self.tally.asked += 1;
        let printed = String::from_utf8_lossy(&output.stdout);
        let answer = self.tool.answer(project, &printed);
        let Some(port) = answer.filter(|_| output.status.success()) else {
            self.tally.failed += 1;
            return;
        };
        if let Some(before) = self.ports.insert(project.to_owned(), port)
            && before != port
        {
            self.tally.changed += 1;
        }
        let holder = self.holders.entry(port).or_insert(project.to_owned());
        if holder != project {
            self.tally.duplicates += 1;
        }
    }
}

fn capturing(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A program that does nothing.
pub(crate) fn floor() -> Command {
    capturing(Command::new(found("true")))
}

/// Medians of one comparison, one for each tool that took part.
pub(crate) struct Column {
    pub(crate) title: String,
    pub(crate) floor: Duration,
    pub(crate) cells: Vec<Option<Duration>>,
}

impl Column {
    fn new(title: String, mut floor: Vec<Duration>, times: Vec<Vec<Duration>>) -> Column {
        let middle = |times: &mut Vec<Duration>| (!times.is_empty()).then(|| median(times));
        Column {
            title,
            floor: median(&mut floor),
            cells: times
                .into_iter()
                .map(|mut times| middle(&mut times))
                .collect(),
        }
    }
}

/// Each that takes part asks `runs` times, for the project of that run's name; by turns.
pub(crate) fn one_by_one(
    title: String,
    runs: usize,
    contestants: &mut [Option<Contestant<'_>>],
    takes_part: impl Fn(&dyn Tool) -> bool,
    name: impl Fn(usize) -> String,
) -> Column {
    eprintln!("{title}");
    let mut nothing = Vec::new();
    let mut times = vec![Vec::new(); contestants.len()];
    for run in 0..runs {
        let mut command = floor();
        nothing.push(timed(|| {
            command.output().expect("runs");
        }));
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            let Some(contestant) = contestant.as_mut().filter(|one| takes_part(one.tool)) else {
                continue;
            };
            let project = contestant.tool.project(&contestant.home, &name(run));
            let mut command = contestant.ask(&project);
            let mut output = None;
            times.push(timed(|| output = Some(command.output().expect("runs"))));
            contestant.record(&project, &output.expect("it ran"));
        }
    }
    Column::new(title, nothing, times)
}

/// All commands at once: how long until the last has ended, and what each printed.
fn together(mut commands: Vec<Command>) -> (Duration, Vec<Output>) {
    let mut outputs = Vec::with_capacity(commands.len());
    let took = timed(|| {
        let start = |command: &mut Command| command.spawn().expect("starts");
        let children: Vec<Child> = commands.iter_mut().map(start).collect();
        for child in children {
            outputs.push(child.wait_with_output().expect("ends"));
        }
    });
    (took, outputs)
}

/// As many processes at once as there are projects.
pub(crate) fn burst(contestant: &mut Contestant<'_>, projects: &[PathBuf]) -> Duration {
    let commands = projects.iter().map(|project| contestant.ask(project));
    let (took, outputs) = together(commands.collect());
    for (project, output) in projects.iter().zip(&outputs) {
        contestant.record(project, output);
    }
    took
}

/// Bursts of `size` new projects, each in an empty home, and of the same projects once more.
pub(crate) fn bursts(
    size: usize,
    count: usize,
    tools: &[Box<dyn Tool>],
    root: &Path,
) -> ([Column; 2], Vec<Tally>) {
    let titles = [
        format!("{size} new projects at once"),
        format!("the same {size} again"),
    ];
    eprintln!("{}", titles[0]);
    let mut nothing = Vec::new();
    let mut new = vec![Vec::new(); tools.len()];
    let mut again = new.clone();
    let mut tallies = vec![Tally::default(); tools.len()];
    for burst_number in 0..count {
        nothing.push(together((0..size).map(|_| floor()).collect()).0);
        for (number, tool) in tools.iter().enumerate() {
            if !tool.allocates() {
                continue;
            }
            let home = root.join(format!("burst-{size}-{burst_number}-{number}"));
            let mut contestant = Contestant::new(tool.as_ref(), home);
            let projects: Vec<PathBuf> = (0..size)
                .map(|name| tool.project(&contestant.home, &name.to_string()))
                .collect();
            new[number].push(burst(&mut contestant, &projects));
            if tool.remembers() {
                again[number].push(burst(&mut contestant, &projects));
            }
            tallies[number].add(contestant.tally);
        }
    }
    let [first, second] = titles;
    (
        [
            Column::new(first, nothing.clone(), new),
            Column::new(second, nothing, again),
        ],
        tallies,
    )
}

impl Tally {
    pub(crate) fn add(&mut self, more: Tally) {
        self.asked += more.asked;
        self.failed += more.failed;
        self.duplicates += more.duplicates;
        self.changed += more.changed;
    }
}
