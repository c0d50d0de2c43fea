//! README.md keeps its word: each of its blocks marked `console` runs as it is written.
//!
//! A block is a session of `sh` in an empty home directory. A line `$ COMMAND` is run, with the
//! built program in front in `PATH`; what follows is what it prints on standard output. In
//! comparing,
//!
//! - `...` alone on a line stands for any number of lines;
//! - white space at the end of a line does not count;
//! - `/home/you` stands for the home directory, in commands and in what they print;
//! - a number from the default range stands for a port: the first time for any port, then
//!   always for that one, and another number always for another port. (A program of this
//!   machine may use the port that the README shows.) A range like `8888-9999` stands for itself.
//!
//! A command may answer "no", which is the exit code 1. It may fail only where the README shows
//! what it says, by `2>&1`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use portclaim::{Port, PortRange};

use crate::harness::Running;
use crate::scene::PROGRAM;

/// How the home directory is called in the README.
const HOME: &str = "/home/you";

/// Longest that a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Ends what a command printed: no command prints this.
const END: char = '\u{1e}';

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    expected: Vec<String>,
}

/// Returns the steps of each `console` block, with the number of the line where it begins.
fn blocks(text: &str) -> Result<Vec<(usize, Vec<Step>)>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, begin)) = lines.next() {
        if line != "```console" && line.trim_start().starts_with("```") && line.contains("console")
        {
            return Err(format!("line {begin}: only ```console is run"));
        }
        let Some(mark) = line.strip_prefix("```") else {
            continue;
        };
        let mut steps: Vec<Step> = Vec::new();
        loop {
            let Some((line, number)) = lines.next() else {
                return Err(format!("line {begin}: the block has no end"));
            };
            if line == "```" {
                break;
            }
            if mark != "console" {
                continue;
            }
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    command: command.to_owned(),
                    expected: Vec::new(),
                });
            } else if let Some(step) = steps.last_mut() {
                step.expected.push(line.to_owned());
            } else {
                return Err(format!("line {number}: what is printed before a command"));
            }
        }
        if mark == "console" {
            if steps.is_empty() {
                return Err(format!("line {begin}: a block without a command"));
            }
            blocks.push((begin, steps));
        }
    }
    Ok(blocks)
}

/// Which port of this machine a port of the README stands for.
#[derive(Clone, Debug, Default)]
struct Ports(BTreeMap<Port, Port>);

impl Ports {
    fn learn(&mut self, written: Port, real: Port) -> bool {
        if let Some(&known) = self.0.get(&written) {
            return known == real;
        }
        let is_new = self.0.values().all(|&known| known != real);
        self.0.insert(written, real);
        is_new
    }

    /// Returns whether `real` is what `written` stands for, and learns the ports in it.
    fn same(&mut self, written: &str, real: &str) -> bool {
        let (written, real) = (pieces(written.trim_end()), pieces(real.trim_end()));
        written.len() == real.len()
            && written.iter().zip(&real).all(|pair| match pair {
                (&Piece::Port(written), &Piece::Port(real)) => self.learn(written, real),
                (written, real) => written == real,
            })
    }

    /// Returns a command with the ports of this machine.
    fn real(&self, command: &str) -> String {
        pieces(command)
            .iter()
            .map(|piece| match piece {
                Piece::Port(port) => self.0.get(port).unwrap_or(port).to_string(),
                Piece::Text(text) => (*text).to_owned(),
            })
            .collect()
    }

    /// Returns whether the lines are what the README shows, and learns the ports in them.
    fn all_same(&mut self, written: &[String], real: &[String]) -> bool {
        let Some((first, rest)) = written.split_first() else {
            return real.is_empty();
        };
        if first == "..." {
            return (0..=real.len()).any(|skipped| {
                let mut ports = self.clone();
                let same = ports.all_same(rest, &real[skipped..]);
                if same {
                    *self = ports;
                }
                same
            });
        }
        real.split_first()
            .is_some_and(|(line, others)| self.same(first, line) && self.all_same(rest, others))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Port(Port),
    Text(&'a str),
}

/// Takes a line apart into ports and what is between them.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |character: char| character.is_alphanumeric() || "-_.".contains(character);
        let is_in_word = rest.starts_with(is_word);
        let end = rest
            .find(|character| is_word(character) != is_in_word)
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        // A full stop may end a sentence; whatever else is in the word makes it no port.
        let number = piece.trim_end_matches('.');
        match number.parse::<Port>() {
            Ok(port) if PortRange::DEFAULT.contains(port) => {
                pieces.push(Piece::Port(port));
                pieces.push(Piece::Text(&piece[number.len()..]));
            }
            _ => pieces.push(Piece::Text(piece)),
        }
        rest = after;
    }
    pieces
}

/// A shell that is told one command after the other.
struct Shell {
    _child: Running,
    commands: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn start(home: &Path) -> Shell {
        let program = Path::new(PROGRAM).parent().expect("its directory");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![program.to_owned()];
        paths.extend(std::env::split_paths(&path));
        let child = Command::new("/bin/sh")
            .env_clear()
            .env("HOME", home)
            .env("PATH", std::env::join_paths(paths).expect("a search path"))
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = Running(child.expect("a shell"));
        let commands = child.stdin.take().expect("it is piped");
        let printed = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the shell, or with the test.
            for line in printed.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Shell {
            _child: child,
            commands,
            lines,
        }
    }

    /// Returns what a command prints, and its exit code.
    fn run(&mut self, command: &str) -> Result<(Vec<String>, i32), String> {
        // In braces, for a `cd` is to last; without the shell's own input, which is the commands.
        let text = format!("{{\n{command}\n}} </dev/null\nprintf '\\n{END}%s\\n' \"$?\"\n");
        let written = self.commands.write_all(text.as_bytes());
        written.map_err(|error| format!("the shell is gone: {error}"))?;
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            let line =
                line.map_err(|_| "it does not come to an end, or the shell did".to_owned())?;
            if let Some(code) = line.strip_prefix(END) {
                // The line feed in front is the mark's own, unless the last line had none.
                if lines.last().is_some_and(String::is_empty) {
                    lines.pop();
                }
                return Ok((lines, code.parse().expect("a number")));
            }
            lines.push(line);
        }
    }
}

/// Runs a block in a new home directory.
fn run(steps: &[Step]) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().canonicalize().expect("its real path");
    let shown = home.to_str().expect("UTF-8");
    let mut shell = Shell::start(&home);
    let mut ports = Ports::default();
    for Step { command, expected } in steps {
        let real = ports.real(command).replace(HOME, shown);
        let (printed, code) = shell
            .run(&real)
            .map_err(|error| format!("$ {command}\n{error}"))?;
        let printed: Vec<String> = printed
            .iter()
            .map(|line| line.replace(shown, HOME))
            .collect();
        if !ports.all_same(expected, &printed) {
            let (expected, printed) = (expected.join("\n"), printed.join("\n"));
            return Err(format!(
                "$ {command}\n-- is to print:\n{expected}\n-- and prints:\n{printed}\n-- {ports:?}"
            ));
        }
        if code > 1 && !command.contains("2>&1") || code > 125 {
            return Err(format!("$ {command}\nfailed, with the exit code {code}"));
        }
    }
    Ok(())
}

/// Runs all blocks of a text, and returns how many there are.
fn run_all(text: &str) -> Result<usize, String> {
    let blocks = blocks(text)?;
    for (line, steps) in &blocks {
        run(steps).map_err(|error| format!("the block in line {line}: {error}"))?;
    }
    Ok(blocks.len())
}

#[test]
fn the_readmes_console_blocks_run_as_they_are_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).expect("README.md");
    match run_all(&text) {
        Ok(count) => assert!(count > 0, "README.md has no block marked ```console"),
        Err(error) => panic!("README.md, {error}"),
    }
}

#[test]
fn a_true_session_passes() {
    let session = r#"
Text.

```sh
this is not run
```

```console
$ mkdir -p code/shop code/blog && cd code/shop
$ portclaim allocate
8888
$ portclaim allocate ~/code/blog
8889
$ portclaim show /home/you/code/shop
8888
$ portclaim list
Registry file:    /home/you/.config/litellm/port_registry.json
Port range:       8888-9999
...

PORT	NAME	PATH	LISTENING	BY
8888	shop	/home/you/code/shop	no
8889	blog	/home/you/code/blog	no
$ portclaim check 8889
8889: claimed by blog (/home/you/code/blog), free
$ portclaim remove /nowhere 2>/dev/null
$ printf 'no line feed'
no line feed
$ portclaim no-such-verb 2>&1
error: ...
...
```

```console
$ ls -A
$ echo "another home: $(pwd)"
another home: /home/you
```
"#;
    // Clap's words are its own.
    let session = session.replace("error: ...\n", "");
    assert_eq!(run_all(&session), Ok(2));
}

#[test]
fn the_ports_of_the_readme_may_be_others_here() {
    let session = |second: &str| {
        format!(
            "```console\n$ echo 9000 and 9001.\n8888 and 8889.\n$ echo 8889\n8889\n$ echo {second}\n{second}\n```\n"
        )
    };
    assert_eq!(
        run_all(&session("8888")),
        Ok(1),
        "9000 is 8888, and stays so"
    );
    let mut ports = Ports::default();
    assert!(ports.same("port 8888: free", "port 9000: free"));
    assert_eq!(
        ports.real("check 8888 8889 8888-9999 v8888"),
        "check 9000 8889 8888-9999 v8888"
    );
    assert!(!ports.same("8888", "8888"), "8888 is 9000");
    assert!(!ports.same("8889", "9000"), "8888 is 9000");
    assert!(!ports.same("8890-9999", "8891-9999"), "a range is itself");
    assert!(!ports.same("7000", "7001"), "no port of the range");
}

#[test]
fn a_session_that_is_not_true_fails() {
    for (session, why) in [
        ("$ echo one\ntwo\n", "and prints:\none"),
        ("$ echo one\n", "and prints:\none"),
        ("$ true\none\n", "is to print:\none"),
        (
            "$ printf 'a\\nb\\nc\\n'\na\n...\nb\n",
            "and prints:\na\nb\nc",
        ),
        ("$ echo 8888 8888\n8888 8889\n", "and prints:\n8888 8888"),
        ("$ echo 8888 8889\n8888 8888\n", "and prints:\n8888 8889"),
        ("$ portclaim alocate 2>/dev/null\n", "exit code 2"),
        ("$ no-such-command 2>&1\n...\n", "exit code 127"),
        ("$ exit 0\n", "the shell"),
        ("one\n$ echo one\n", "before a command"),
        ("", "without a command"),
    ] {
        let error = run_all(&format!("```console\n{session}```\n")).expect_err(session);
        assert!(error.contains(why), "{session}: {error}");
    }
    for (text, why) in [
        ("```console\n$ true\n", "has no end"),
        ("- ok:\n  ```console\n  $ true\n  ```\n", "line 2: only"),
        ("```console title\n$ true\n```\n", "line 1: only"),
    ] {
        let error = run_all(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}
