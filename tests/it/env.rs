//! `portclaim env`: variables for other programs, and nothing from a path is executed by them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use serde_json::json;

use crate::harness::{Test, chmod, entries, skip};

/// Names of directories that would run `touch pwned`, or come out as something else, if a quote
/// were missing somewhere.
const HOSTILE: [&str; 24] = [
    "plain",
    "two words",
    "it's",
    "say \"x\"",
    "$(touch pwned)",
    "`touch pwned`",
    "'$(touch pwned)'",
    "\"$(touch pwned)\"",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "; touch pwned #",
    "& touch pwned &",
    "a\ntouch pwned\n",
    "\n# portclaim: end\ntouch pwned\n# portclaim: begin\n",
    "back\\slash",
    "at the end\\",
    "\\'; touch pwned; \\'",
    "\u{2018}; touch pwned; \u{2019}",
    "\u{201b}$(touch pwned)\u{201a}\u{201c}\u{201d}",
    "$HOME ${HOME} !! %HOME%",
    "(touch pwned)",
    "-n *? [a] {b,c} ~",
    "tab\tand\r\nbell\u{7}\u{1b}[31m",
    "caf\u{e9} \u{4e2d}\u{ff07}\u{85}",
];

/// Looks for a program, and does not start it: some write into the home directory at once.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Calls `script` for each of the names, which must print the project's path byte for byte and run
/// nothing. In it, `portclaim` is the binary and `dir` the directory.
fn all_come_back(test: &Test, script: &str, is_for: impl Fn(&str) -> bool) {
    for name in HOSTILE.into_iter().filter(|name| is_for(name)) {
        let dir = test.mkdir(name);
        let said = test
            .shell(script)
            .env("dir", &dir)
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(
            said.stdout,
            format!("[HOME]/{name}"),
            "{script}\n{}",
            said.stderr
        );
        assert!(
            !test.path("pwned").exists(),
            "{name:?} was executed: {script}"
        );
    }
}

#[test]
fn a_project_has_a_variable_for_each_service() {
    let test = Test::of_projects(&["shop"]);
    test.args(["allocate", "shop", "--service", "api-v2", "--service", "9p"])
        .any_stdout()
        .run();
    test.args(["allocate", "shop", "--service", "db", "--count", "3"])
        .any_stdout()
        .run();
    let [port, api, p9, db] = [0, 1, 2, 3].map(|index| test.port(index));
    test.args(["env", "shop"])
        .stdout(format!(
            "export API_V2_PORT='{api}'\nexport DB_PORT='{db}'\nexport DB_PORT_COUNT='3'\nexport PORT='{port}'\n\
             export _9P_PORT='{p9}'\nexport PORTCLAIM_PROJECT='[HOME]/shop'\n"
        ))
        .run();
    test.args(["env", "--format", "fish"])
        .cwd("shop")
        .stdout_has(format!("set -gx DB_PORT '{db}'\n"))
        .run();
    test.args(["env", "--format", "powershell"])
        .cwd("shop")
        .stdout_has(format!("$env:DB_PORT = '{db}'\n"))
        .run();
    test.args(["env", "--format", "dotenv"])
        .cwd("shop")
        .stdout_has(format!("\nDB_PORT={db}\n"))
        .run();
    let expected = json!({
        "version": 1, "PORT": port.to_string(), "API_V2_PORT": api.to_string(), "_9P_PORT": p9.to_string(),
        "DB_PORT": db.to_string(), "DB_PORT_COUNT": "3", "PORTCLAIM_PROJECT": "[HOME]/shop",
    });
    assert_eq!(test.args(["env", "shop", "--json"]).json(), expected);
    assert_eq!(
        test.args(["env", "shop", "--format", "json"]).json(),
        expected
    );
    // No variable of another project's.
    test.project("blog", test.port(6));
    test.args(["env", "blog"])
        .stdout(format!(
            "export PORT='{}'\nexport PORTCLAIM_PROJECT='[HOME]/blog'\n",
            test.port(6)
        ))
        .run();
}

#[test]
fn a_project_without_a_port_is_given_one_only_where_that_is_wanted() {
    let test = Test::new();
    test.mkdir("shop/src");
    for format in ["shell", "fish", "powershell", "dotenv", "github"] {
        test.args(["env", "shop", "--format", format])
            .stderr("warning: [HOME]/shop has no port\nhint: portclaim allocate gives it one\n")
            .code(1)
            .run();
    }
    assert_eq!(
        test.args(["env", "shop", "--json"])
            .any_stderr()
            .code(1)
            .json(),
        json!({"version": 1, "PORTCLAIM_PROJECT": "[HOME]/shop"})
    );
    test.args(["env", "shop", "--write", "file"])
        .any_stderr()
        .code(1)
        .run();
    assert!(!test.root().exists() && !test.path("file").exists());
    for _ in 0..2 {
        test.args(["env", "shop", "--allocate"])
            .stdout_has(format!("export PORT='{}'\n", test.port(0)))
            .run();
    }
    test.args(["env", "shop/src"])
        .stderr_has("hint: [HOME]/shop above it has port")
        .code(1)
        .run();
    // What it has is enough: no further port is taken.
    test.args(["allocate", "blog", "--service", "web"])
        .any_stdout()
        .any_stderr()
        .run();
    test.args(["env", "blog", "--allocate"])
        .stdout(format!(
            "export WEB_PORT='{}'\nexport PORTCLAIM_PROJECT='[HOME]/blog'\n",
            test.port(1)
        ))
        .run();
}

#[test]
fn two_services_are_not_one_variable() {
    let test = Test::new();
    test.mkdir("shop");
    test.args(["allocate", "shop", "--service", "a-b", "--service", "A.b"])
        .any_stdout()
        .run();
    test.args(["env", "shop"])
        .stderr_has("the services a-b and A.b of [HOME]/shop would both be the variable A_B_PORT")
        .stderr_has("hint: ")
        .code(2)
        .run();
}

#[test]
fn a_shell_gets_back_each_byte_and_executes_nothing() {
    for shell in ["sh", "dash", "bash", "zsh", "ksh", "busybox sh"] {
        let program = shell.split(' ').next().expect("a word");
        if !is_installed(program) {
            skip(&format!("env for {program}"), "it is not installed");
            continue;
        }
        let test = Test::with_ports(40);
        // What follows a line feed at the end must come out, too.
        let script = format!(
            "exec {shell} -uc 'eval \"$(\"$portclaim\" env --allocate \"$dir\")\"; printf %s \"$PORTCLAIM_PROJECT\"; \
             test \"$PORT\" -gt 9999'"
        );
        all_come_back(&test, &script, |_| true);
        // The file that is not for shells is read by them all the same.
        let script = format!(
            "\"$portclaim\" env --format dotenv \"$dir\" > file\nexec {shell} -uc \
             'set -a; . ./file; printf %s \"$PORTCLAIM_PROJECT\"'"
        );
        all_come_back(&test, &script, |name| !name.contains(['\n', '\r']));
    }
}

#[test]
fn fish_gets_back_each_byte_and_executes_nothing() {
    if !is_installed("fish") {
        return skip("env for fish", "it is not installed");
    }
    let test = Test::with_ports(40);
    let script = "LC_ALL=C.UTF-8 exec fish --no-config -c '$portclaim env --allocate --format fish -- $dir | source; \
                  printf %s \"$PORTCLAIM_PROJECT\"; test \"$PORT\" -gt 9999'";
    all_come_back(&test, script, |_| true);
}

#[test]
fn powershell_gets_back_each_byte_and_executes_nothing() {
    if !is_installed("pwsh") {
        return skip("env for PowerShell", "pwsh is not installed");
    }
    let test = Test::with_ports(40);
    let script = "exec pwsh -NoProfile -Command '(& $env:portclaim env --allocate --format powershell -- $env:dir) \
                  -join \"`n\" | Invoke-Expression; [Console]::Out.Write($env:PORTCLAIM_PROJECT)'";
    // It takes the program's output apart into lines, whatever ends them.
    all_come_back(&test, script, |name| !name.contains('\r'));
}

#[test]
fn a_workflow_reads_back_each_byte() {
    let test = Test::with_ports(40);
    for name in HOSTILE {
        test.mkdir(name);
        let said = test
            .args(["env", "--allocate", "--format", "github", "--", name])
            .any_stdout()
            .run();
        let mut lines = said.stdout.split('\n');
        let mut variables = Vec::new();
        // As the runner reads it: lines up to the one that was announced.
        while let Some((variable, end)) = lines.next().and_then(|line| line.split_once("<<")) {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
            variables.push((variable, value.join("\n")));
        }
        assert_eq!(lines.next(), None, "{name:?}");
        assert_eq!(variables.len(), 2, "{name:?}");
        assert_eq!(variables[0].0, "PORT");
        assert_eq!(
            variables[1],
            ("PORTCLAIM_PROJECT", format!("[HOME]/{name}"))
        );
    }
}

#[test]
fn a_file_keeps_all_but_the_block() {
    let test = Test::of_projects(&["shop"]);
    let block = format!(
        "# portclaim: begin\nPORT={}\nPORTCLAIM_PROJECT=[HOME]/shop\n# portclaim: end\n",
        test.port(0)
    );
    let write = || {
        test.args(["env", "--write", ".env.local"])
            .cwd("shop")
            .run()
    };
    write();
    assert_eq!(test.text("shop/.env.local"), block);
    for (old, new) in [
        ("SECRET=1", format!("SECRET=1\n{block}")),
        ("SECRET=1\n", format!("SECRET=1\n{block}")),
        (
            "\r\nA=\"\n# portclaim: begin\nPORT=1\nX\n# portclaim: end\n\n\nB",
            format!("\r\nA=\"\n{block}\n\nB"),
        ),
    ] {
        let path = test.write("shop/.env.local", old);
        chmod(&path, 0o640);
        write();
        assert_eq!(test.text("shop/.env.local"), new);
        let before = path.metadata().expect("it is there");
        assert_eq!(before.mode() & 0o7777, 0o640);
        // What is right already is not touched: a server that watches the file is not started anew.
        write();
        let after = path.metadata().expect("it is there");
        assert_eq!(
            (before.ino(), before.mtime_nsec()),
            (after.ino(), after.mtime_nsec())
        );
    }
    assert_eq!(entries(&test.path("shop")).len(), 1, "nothing else is left");
}

#[test]
fn a_block_that_a_hostile_path_is_in_is_found_again() {
    let test = Test::with_ports(40);
    for name in HOSTILE {
        test.mkdir(name);
        test.write("file", "A=1\n");
        for _ in 0..2 {
            test.args(["env", "--allocate", "--write", "file", "--", name])
                .run();
            let content = test.text("file");
            assert_eq!(content.lines().count(), 5, "{content}");
            assert!(
                content.starts_with("A=1\n# portclaim: begin\nPORT="),
                "{content}"
            );
        }
    }
}

#[test]
fn what_is_no_file_with_a_block_is_refused_and_stays() {
    let test = Test::of_projects(&["shop"]);
    let refused = |name: &str, why: &str| {
        test.args(["env", "shop", "--write", name])
            .stderr_has(why)
            .stderr_has("hint: ")
            .code(2)
            .run();
    };
    for text in [
        "A=1\n# portclaim: begin\nPORT=1\n",
        "# portclaim: end\n",
        "# portclaim: begin\n# portclaim: begin\n# portclaim: end\n",
    ] {
        let path = test.write("file", text);
        let before = path.metadata().expect("it is there").ino();
        refused("file", "error: file is left as it is: ");
        assert_eq!(test.text("file"), text);
        assert_eq!(path.metadata().expect("it is there").ino(), before);
    }
    test.write("target", "A=1\n");
    for target in ["target", "nowhere"] {
        symlink(target, test.path("link")).expect("a link");
        refused("link", "link is a symbolic link");
        assert!(test.path("link").is_symlink());
        fs::remove_file(test.path("link")).expect("it is there");
    }
    assert_eq!(test.text("target"), "A=1\n");
    test.shell("mkfifo fifo").run();
    refused("fifo", "fifo is no regular file");
    refused("shop", "shop is no regular file");
    for name in ["/", "..", "shop/"] {
        refused(name, "names no file");
    }
    test.write("long", vec![b'#'; 1024 * 1024 + 1]);
    refused("long", "longer than 1 MiB");
    test.args(["env", "shop", "--write", "no/file"])
        .stderr_has("failed to open the directory of no/file\ncaused by: No such file")
        .code(2)
        .run();
    for format in ["--format=shell", "--format=json", "--json"] {
        test.args(["env", "shop", "--write", "new", format])
            .stderr_has("--write writes the format dotenv")
            .code(2)
            .run();
    }
    test.args(["env", "shop", "--json", "--format", "fish"])
        .stderr("error: --json and --format name two formats\n")
        .code(2)
        .run();
    assert!(!test.path("new").exists());
}

#[test]
fn many_processes_write_one_block() {
    let test = Test::of_projects(&["shop"]);
    test.write(".env", "A=1\nB=2");
    let script =
        "for name in a b c d e f g h; do \"$portclaim\" env shop --write .env & done; wait";
    test.shell(script).run();
    let content = test.text(".env");
    assert!(
        content.starts_with("A=1\nB=2\n# portclaim: begin\n"),
        "{content}"
    );
    assert_eq!(content.lines().count(), 6, "{content}");
    let is_left = |path: &Path| path.as_os_str().as_bytes().contains(&b'-');
    let names = entries(test.home());
    assert!(
        !names
            .iter()
            .any(|path| is_left(Path::new(path.file_name().expect("a name")))),
        "{names:?}"
    );
}
