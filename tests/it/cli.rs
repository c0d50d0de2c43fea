//! Every command: what it prints, where, and its exit code.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Said, Test, entries, name_of, python_registry, skip};

const NO_REGISTRY: &str = "HOME is not set";
const HINT_ALLOCATE: &str = "hint: portclaim allocate gives it one\n";

#[test]
fn allocate_prints_the_port_alone_and_the_same_one_again() {
    let test = Test::new();
    test.mkdir("shop");
    for _ in 0..3 {
        test.args(["allocate", "shop"])
            .stdout(format!("{}\n", test.port(0)))
            .run();
    }
    test.mkdir("blog");
    test.args(["allocate", "blog"])
        .stdout(format!("{}\n", test.port(1)))
        .run();
    test.args(["allocate", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn allocate_as_json_says_whether_the_port_is_new() {
    let test = Test::new();
    test.mkdir("shop");
    for new in [true, false] {
        assert_eq!(
            test.args(["allocate", "shop", "--json"]).json(),
            json!({
                "version": 1,
                "port": test.port(0),
                "project": "[HOME]/shop",
                "name": "shop",
                "service": "",
                "new": new,
            })
        );
    }
}

#[test]
fn the_current_directory_is_the_project_where_none_is_named() {
    let test = Test::new();
    test.mkdir("shop/src");
    let port = format!("{}\n", test.port(0));
    test.args(["allocate"]).cwd("shop").stdout(&port).run();
    test.args(["show", "."]).cwd("shop").stdout(&port).run();
    test.args(["show", ".."])
        .cwd("shop/src")
        .stdout(&port)
        .run();
    test.args(["show", "shop"]).stdout(&port).run();
    test.args(["remove"])
        .cwd("shop")
        .stdout(format!("{} [HOME]/shop\n", test.port(0)))
        .run();
}

#[test]
fn an_empty_path_is_the_current_directory() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let port = format!("{}\n", test.port(0));
    for command in ["allocate", "show"] {
        test.args([command, ""]).cwd("shop").stdout(&port).run();
    }
    test.args(["remove", ""]).cwd("shop").any_stdout().run();
}

#[test]
fn one_directory_is_one_project_however_it_is_typed() {
    let test = Test::new();
    test.mkdir("shop/src");
    test.mkdir("other");
    symlink("../shop/src", test.path("other/link")).expect("a link can be made");
    let port = format!("{}\n", test.port(0));
    test.args(["allocate", "shop"]).stdout(&port).run();
    let absolute = test.path("shop");
    for typed in [
        "shop/",
        "./shop",
        "shop/.",
        "shop//",
        "shop/../shop",
        "shop/src/..",
        // By the link's target, not by its name.
        "other/link/..",
        absolute.to_str().expect("UTF-8"),
    ] {
        test.args(["allocate", typed]).stdout(&port).run();
        test.args(["show", typed]).stdout(&port).run();
    }
    assert_eq!(
        test.mappings(),
        [("[HOME]/shop".to_owned(), u64::from(test.port(0)))].into()
    );
}

#[test]
fn a_tilde_is_a_name_like_any_other() {
    let test = Test::new();
    test.args(["allocate", "~"])
        .stdout(format!("{}\n", test.port(0)))
        .stderr("warning: [HOME]/~ does not exist\n")
        .run();
}

#[test]
fn allocate_warns_of_a_path_that_does_not_exist_and_works_all_the_same() {
    let test = Test::new();
    let port = format!("{}\n", test.port(0));
    test.args(["allocate", "nowhere/at/all"])
        .stdout(&port)
        .stderr("warning: [HOME]/nowhere/at/all does not exist\n")
        .run();
    test.args(["show", "nowhere/at/all"]).stdout(&port).run();
    test.mkdir("nowhere/at/all");
    test.args(["allocate", "nowhere/at/all"])
        .stdout(&port)
        .run();
}

#[test]
fn the_root_directory_can_be_a_project() {
    let test = Test::new();
    test.args(["allocate", "/"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
    test.args(["check", &test.port(0).to_string()])
        .stdout(format!("{}: claimed by / (/), free\n", test.port(0)))
        .code(1)
        .run();
}

#[test]
fn show_says_no_where_there_is_no_port_and_changes_nothing() {
    let test = Test::new();
    test.mkdir("shop");
    test.args(["show", "shop"])
        .stderr(format!("warning: [HOME]/shop has no port\n{HINT_ALLOCATE}"))
        .code(1)
        .run();
    assert_eq!(
        test.args(["show", "shop", "--json"])
            .stderr(format!("warning: [HOME]/shop has no port\n{HINT_ALLOCATE}"))
            .code(1)
            .json(),
        json!({"version": 1, "port": null, "project": "[HOME]/shop", "name": "shop", "service": ""})
    );
    assert!(!test.root().exists(), "a question creates nothing");
    test.project("shop", test.port(0));
    test.args(["show", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
    assert_eq!(
        test.args(["show", "shop", "--json"]).json(),
        json!({"version": 1, "port": test.port(0), "project": "[HOME]/shop", "name": "shop", "service": ""})
    );
}

#[test]
fn show_points_to_the_nearest_directory_above_that_has_a_port() {
    let test = Test::new();
    test.mkdir("a/b/c/d");
    test.project("a", test.port(0));
    test.project("a/b", test.port(1));
    test.args(["show", "a/b/c/d"])
        .stderr(format!(
            "warning: [HOME]/a/b/c/d has no port\n\
             hint: [HOME]/a/b above it has port {}: portclaim show [HOME]/a/b\n",
            test.port(1)
        ))
        .code(1)
        .run();
    test.args(["show"])
        .cwd("a/b/c")
        .stderr_has(format!("[HOME]/a/b above it has port {}", test.port(1)))
        .code(1)
        .run();
    assert_eq!(
        test.args(["show", "--json"])
            .cwd("a/b/c")
            .any_stderr()
            .code(1)
            .json()["port"],
        json!(null),
        "another project's port is no answer"
    );
}

#[test]
fn list_without_a_registry_shows_an_empty_one_and_creates_nothing() {
    let test = Test::new();
    let (first, range) = (test.port(0), test.range());
    test.args(["list"])
        .stdout(format!(
            "Registry file:    [HOME]/.config/litellm/port_registry.json\n\
             Port range:       {range}\n\
             Total ports:      8\n\
             Allocated ports:  0\n\
             Available ports:  8\n\
             Next available:   {first}\n\
             \n\
             PORT\tNAME\tPATH\tLISTENING\tBY\n"
        ))
        .run();
    assert_eq!(
        test.args(["list", "--json"]).json(),
        json!({
            "version": 1,
            "registry": "[HOME]/.config/litellm/port_registry.json",
            "range": {"min": first, "max": test.port(7)},
            "total": 8,
            "allocated": 0,
            "unreadable": 0,
            "available": 8,
            "next_available": first,
            "claims": [],
        })
    );
    assert_eq!(entries(test.home()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn list_is_sorted_by_port_and_counts_what_is_outside_of_the_range() {
    let test = Test::new();
    test.write_registry(python_registry(
        (test.port(0), test.port(7)),
        [
            ("/p/high", test.port(5).to_string().as_str()),
            ("/p/out", "9"),
            ("/p/low", test.port(1).to_string().as_str()),
        ],
        test.port(6),
    ));
    test.args(["index"]).any_stdout().any_stderr().run();
    let (low, high) = (test.port(1), test.port(5));
    let heading = format!(
        "Registry file:    [HOME]/.config/litellm/port_registry.json\n\
         Port range:       {}\n\
         Total ports:      8\n\
         Allocated ports:  3\n\
         Available ports:  6\n\
         Next available:   {}\n\
         \n\
         PORT\tNAME\tPATH\tLISTENING\tBY\n",
        test.range(),
        test.port(6)
    );
    test.args(["list"])
        .stdout(format!(
            "{heading}9\tout\t/p/out\tno\t\n{low}\tlow\t/p/low\tno\t\n{high}\thigh\t/p/high\tno\t\n"
        ))
        .run();
    let json = test.args(["list", "--json"]).json();
    assert_eq!(json["allocated"], 3);
    assert_eq!(json["available"], 6);
    assert_eq!(
        json["claims"],
        json!([
            {"port": 9, "name": "out", "path": "/p/out", "service": "", "term": "kept", "expires": null, "owner": null, "listening": false, "listeners": []},
            {"port": low, "name": "low", "path": "/p/low", "service": "", "term": "kept", "expires": null, "owner": null, "listening": false, "listeners": []},
            {"port": high, "name": "high", "path": "/p/high", "service": "", "term": "kept", "expires": null, "owner": null, "listening": false, "listeners": []},
        ])
    );
}

#[test]
fn a_full_range_has_no_next_port() {
    let test = Test::with_ports(1);
    test.project("shop", test.port(0));
    test.args(["list"])
        .stdout_has("Available ports:  0\nNext available:   none\n")
        .run();
    assert_eq!(
        test.args(["list", "--json"]).json()["next_available"],
        json!(null)
    );
}

#[test]
fn list_and_check_say_who_listens() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.project("blog", test.port(1));
    let _server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("the port is free");
    let port = test.port(0);
    let me = std::process::id();
    let json = test.args(["list", "--json"]).json();
    assert_eq!(json["claims"][0]["listening"], true, "{json}");
    assert_eq!(json["claims"][1]["listening"], false, "{json}");
    let check = test
        .args(["check", &port.to_string(), "--json"])
        .code(1)
        .json();
    assert_eq!(check["availability"], "in-use", "{check}");
    assert_eq!(check["free"], false, "{check}");
    if !cfg!(target_os = "linux") {
        skip("who listens", "only Linux tells");
        return;
    }
    // A child that another test forks at this moment has the socket as well, until it execs:
    // so this process is among those that listen, and need not be alone.
    let command = fs::read_to_string("/proc/self/comm").expect("Linux has it");
    let command = command.trim_end();
    let user = rustix::process::geteuid().as_raw();
    let directory = std::env::current_dir().expect("it exists");
    let listener = json!({
        "address": "127.0.0.1", "pid": me, "command": command, "user": user,
        "directory": directory, "directory_deleted": false, "project": null,
    });
    for listeners in [&json["claims"][0]["listeners"], &check["listeners"]] {
        let listeners = listeners.as_array().expect("a list");
        assert!(listeners.contains(&listener), "{listeners:?}");
    }
    let who = format!("{command} (pid {me}, user {user}, not of this project)");
    test.args(["list"]).stdout_has(&who).run();
    test.args(["check", &port.to_string()])
        .stdout_has(format!("{port}: claimed by shop ([HOME]/shop), in use by "))
        .stdout_has(&who)
        .code(1)
        .run();
}

#[test]
fn check_is_zero_only_for_a_port_that_is_free_and_unclaimed() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let (claimed, used, free) = (test.port(0), test.port(1), test.port(2));
    let _server = TcpListener::bind(("127.0.0.1", used)).expect("the port is free");
    test.args(["check", &claimed.to_string()])
        .stdout(format!("{claimed}: claimed by shop ([HOME]/shop), free\n"))
        .code(1)
        .run();
    test.args(["check", &used.to_string()])
        .stdout_has(format!("{used}: not claimed, in use"))
        .code(1)
        .run();
    test.args(["check", &free.to_string()])
        .stdout(format!("{free}: not claimed, free\n"))
        .run();
    assert_eq!(
        test.args(["check", &free.to_string(), "--json"]).json(),
        json!({
            "version": 1, "port": free, "free": true, "claim": null, "unsettled": false,
            "availability": "free", "listeners": [],
        })
    );
    assert_eq!(
        test.args(["check", &claimed.to_string(), "--json"])
            .code(1)
            .json(),
        json!({
            "version": 1, "port": claimed, "free": false,
            "claim": {"project": "[HOME]/shop", "name": "shop", "service": "", "term": "kept"},
            "unsettled": false, "availability": "free", "listeners": [],
        })
    );
}

#[test]
fn check_tells_of_a_claim_that_nobody_holds() {
    let test = Test::new();
    test.project("shop", test.port(0));
    fs::remove_file(test.commit(test.port(0))).expect("it is ours");
    let port = test.port(0);
    test.args(["check", &port.to_string()])
        .stdout(format!(
            "{port}: claimed, but not settled (portclaim doctor tells more), free\n"
        ))
        .code(1)
        .run();
    assert_eq!(
        test.args(["check", &port.to_string(), "--json"])
            .code(1)
            .json()["unsettled"],
        true
    );
}

#[test]
fn remove_says_what_was_removed_and_no_where_there_was_none() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.project("blog", test.port(1));
    let blog = fs::read(test.claim(test.port(1))).expect("it has a claim");
    test.args(["remove", "shop"])
        .stdout(format!("{} [HOME]/shop\n", test.port(0)))
        .run();
    test.args(["remove", "shop"])
        .stderr("warning: [HOME]/shop has no port\n")
        .code(1)
        .run();
    test.args(["show", "shop"]).any_stderr().code(1).run();
    assert_eq!(
        test.args(["remove", "shop", "--json"])
            .stderr("warning: [HOME]/shop has no port\n")
            .code(1)
            .json(),
        json!({"version": 1, "port": null, "project": "[HOME]/shop", "removed": []})
    );
    assert_eq!(
        fs::read(test.claim(test.port(1))).expect("it has a claim"),
        blog,
        "no other claim is touched"
    );
    assert_eq!(
        test.args(["remove", "blog", "--json"]).json(),
        json!({
            "version": 1,
            "port": test.port(1),
            "project": "[HOME]/blog",
            "removed": [{"port": test.port(1), "service": ""}]
        })
    );
    assert!(test.records().is_empty());
    assert!(test.mappings().is_empty());
}

#[test]
fn remove_does_not_need_the_directory_any_more() {
    let test = Test::new();
    test.project("shop", test.port(0));
    fs::remove_dir(test.path("shop")).expect("it is empty");
    test.args(["remove", "shop"])
        .stdout(format!("{} [HOME]/shop\n", test.port(0)))
        .run();
}

#[test]
fn reset_is_refused_where_nobody_can_be_asked() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let before = test.records();
    test.args(["reset"])
        .stdin("yes\n")
        .stderr(
            "error: a reset gives all ports back, and nobody can be asked: this is no terminal\n\
             hint: portclaim reset --yes does not ask\n",
        )
        .code(2)
        .run();
    assert_eq!(test.records(), before);
    assert!(!test.root().join("backups").exists());
}

#[test]
fn reset_moves_the_old_state_to_a_numbered_backup() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.project("blog", test.port(1));
    let before = test.records();
    test.args(["reset", "--yes"])
        .stdout("released 2 ports; the old state is in [HOME]/.config/litellm/backups/1\n")
        .run();
    assert!(test.records().is_empty());
    for (path, bytes) in &before {
        let kept = path.strip_prefix(test.root()).expect("it lies there");
        let kept = test.root().join("backups/1").join(kept);
        assert_eq!(&fs::read(&kept).expect("it is kept"), bytes, "{kept:?}");
    }
    test.args(["show", "shop"]).any_stderr().code(1).run();
    assert!(test.mappings().is_empty());
    assert_eq!(test.registry_json()["next_available"], test.port(0));

    // The search begins anew, and the first backup is left alone.
    test.project("new", test.port(0));
    assert_eq!(
        test.args(["reset", "--yes", "--json"]).json(),
        json!({
            "version": 1,
            "backup": "[HOME]/.config/litellm/backups/2",
            "released": [{"port": test.port(0), "project": "[HOME]/new", "service": ""}],
        })
    );
    let kept = entries(&test.root().join("backups/1/ports"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    test.project("new", test.port(0));
    test.args(["reset", "--yes"])
        .stdout("released 1 port; the old state is in [HOME]/.config/litellm/backups/3\n")
        .run();
}

#[test]
fn reset_of_nothing_says_so() {
    let test = Test::new();
    test.args(["reset", "--yes"])
        .stdout("there is no registry\n")
        .run();
    assert_eq!(
        test.args(["reset", "--yes", "--json"]).json(),
        json!({"version": 1, "backup": null, "released": []})
    );
    assert!(!test.root().exists());
}

#[test]
fn doctor_says_that_a_healthy_registry_is_healthy() {
    let test = Test::new();
    test.project("shop", test.port(0));
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args)
            .stdout("[HOME]/.config/litellm is healthy\n")
            .run();
    }
    assert_eq!(
        test.args(["doctor", "--json"]).json(),
        json!({"version": 1, "healthy": true, "findings": []})
    );
}

#[test]
fn index_writes_the_registry_file_and_prints_its_path() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.args(["index"])
        .stdout("[HOME]/.config/litellm/port_registry.json\n")
        .run();
    let before = test.mappings();
    fs::remove_file(test.registry()).expect("it is ours");
    test.args(["index"])
        .stdout("[HOME]/.config/litellm/port_registry.json\n")
        .run();
    assert_eq!(test.mappings(), before);
    assert_eq!(before.len(), 1);
    assert_eq!(
        test.args(["index", "--json"]).json(),
        json!({"version": 1, "registry": "[HOME]/.config/litellm/port_registry.json"})
    );
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    let test = Test::new();
    let help = test.args(["--help"]).any_stdout().run().stdout;
    for word in [
        "allocate",
        "show",
        "list",
        "remove",
        "check",
        "reset",
        "doctor",
        "index",
        "completions",
        "man",
        "--registry",
        "--port-min",
        "--port-max",
        "--json",
        "Exit status",
        "PORT_REGISTRY_PATH",
        "INTERCEPTOR_PORT_MIN",
        "INTERCEPTOR_PORT_MAX",
        "PORTCLAIM_NO_NFS_WARNING",
        "NO_COLOR",
    ] {
        assert!(help.contains(word), "{word} in:\n{help}");
    }
    test.args(["help"]).stdout(&help).run();
    let version = format!("portclaim {}\n", env!("CARGO_PKG_VERSION"));
    test.args(["--version"]).stdout(&version).run();
    test.args(["-V"]).stdout(&version).run();
    for command in [
        "allocate", "show", "list", "remove", "check", "reset", "doctor", "index",
    ] {
        test.args([command, "--help"])
            .stdout_has(format!("Usage: portclaim {command}"))
            .run();
    }
    // Neither asks for the environment.
    test.args(["--help"])
        .without_env("HOME")
        .env("INTERCEPTOR_PORT_MIN", "x")
        .stdout(&help)
        .run();
}

#[test]
fn whatever_cannot_be_parsed_is_a_usage_error() {
    let test = Test::new();
    let table: &[(&[&str], &str)] = &[
        (&[], "Usage: portclaim"),
        (
            &["frobnicate"],
            "error: unrecognized subcommand 'frobnicate'",
        ),
        (&["alocate"], "allocate"),
        (
            &["list", "--frobnicate"],
            "error: unexpected argument '--frobnicate'",
        ),
        (&["list", "x"], "error: unexpected argument 'x'"),
        (&["show", "a", "b"], "error: unexpected argument 'b'"),
        (&["check"], "<PORT>"),
        (&["completions"], "<SHELL>"),
        (&["completions", "tcsh"], "'tcsh'"),
        (&["--registry"], "--registry"),
        (&["list", "--registry"], "--registry"),
        (&["list", "--port-min"], "--port-min"),
        (&["list", "--yes"], "error: unexpected argument '--yes'"),
    ];
    for (args, part) in table {
        test.args(*args).stderr_has(*part).code(2).run();
    }
    assert!(!test.root().exists());
}

#[test]
fn a_script_completes_every_command_in_every_shell() {
    let test = Test::new();
    for (shell, part) in [
        ("bash", "complete -F _portclaim"),
        ("elvish", "edit:completion:arg-completer[portclaim]"),
        ("fish", "complete -c portclaim"),
        (
            "powershell",
            "Register-ArgumentCompleter -Native -CommandName 'portclaim'",
        ),
        ("zsh", "#compdef portclaim"),
    ] {
        let script = test
            .args(["completions", shell])
            .without_env("HOME")
            .any_stdout()
            .run()
            .stdout;
        for word in [part, "allocate", "doctor", "port-min", "fix", "yes"] {
            assert!(script.contains(word), "{word} for {shell} in:\n{script}");
        }
    }
}

#[test]
fn the_man_page_names_every_command_and_variable() {
    let test = Test::new();
    let page = test
        .args(["man"])
        .without_env("HOME")
        .any_stdout()
        .run()
        .stdout;
    for word in [
        ".TH portclaim 1",
        ".SH NAME",
        ".SH SYNOPSIS",
        "portclaim\\-allocate(1)",
        "portclaim\\-doctor(1)",
        "\\-\\-port\\-min",
        "PORT_REGISTRY_PATH",
        "Exit status",
    ] {
        assert!(page.contains(word), "{word} in:\n{page}");
    }
}

#[test]
fn flags_may_stand_anywhere_on_the_line() {
    let test = Test::new();
    test.mkdir("shop");
    let (min, max) = (test.port(2).to_string(), test.port(3).to_string());
    let registry = ["--registry", "elsewhere/r.json"];
    let range = ["--port-min", &min, "--port-max", &max];
    let port = format!("{min}\n");
    for args in [
        [&registry[..], &range, &["allocate", "shop"]].concat(),
        [&["allocate"], &registry[..], &["shop"], &range].concat(),
        [&range[..2], &["allocate", "shop"], &range[2..], &registry].concat(),
    ] {
        test.args(args).stdout(&port).run();
    }
    let joined = [
        "show".to_owned(),
        "--registry=elsewhere/r.json".to_owned(),
        format!("--port-min={min}"),
        "shop".to_owned(),
    ];
    test.args(joined).stdout(&port).run();
    for args in [
        ["--json", "show", "shop", "--registry", "elsewhere/r.json"],
        ["show", "--json", "shop", "--registry", "elsewhere/r.json"],
        ["show", "--registry", "elsewhere/r.json", "shop", "--json"],
    ] {
        assert_eq!(test.args(args).json()["port"], test.port(2));
    }
    assert!(
        test.path("elsewhere/ports")
            .join(format!("{min}.claim"))
            .exists()
    );
    assert!(!test.root().exists(), "the default registry is not touched");
}

#[test]
fn a_project_may_be_called_like_a_flag() {
    let test = Test::new();
    test.mkdir("--json");
    test.args(["allocate", "--", "--json"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_defaults() {
    let test = Test::new();
    test.mkdir("shop");
    let list = |call: crate::harness::Call<'_>| {
        let json = call.json();
        (
            json["registry"].as_str().expect("a path").to_owned(),
            json["range"]["min"].as_u64().expect("a port"),
            json["range"]["max"].as_u64().expect("a port"),
        )
    };
    let all = [
        "INTERCEPTOR_PORT_MIN",
        "INTERCEPTOR_PORT_MAX",
        "PORT_REGISTRY_PATH",
    ];
    let default = (
        "[HOME]/.config/litellm/port_registry.json".to_owned(),
        8888,
        9999,
    );
    let mut unset = test.args(["list", "--json"]);
    let mut empty = test.args(["list", "--json"]);
    let mut set = test.args(["list", "--json"]);
    let mut flags = test.args([
        "list",
        "--json",
        "--port-min",
        "21",
        "--port-max",
        "22",
        "--registry",
        "flag.json",
    ]);
    for name in all {
        unset = unset.without_env(name);
        empty = empty.env(name, "");
    }
    for (name, value) in all.iter().zip(["31", "32", "/nowhere/env.json"]) {
        set = set.env(name, value);
        flags = flags.env(name, value);
    }
    assert_eq!(list(unset), default);
    assert_eq!(list(empty), default, "an empty variable counts as unset");
    assert_eq!(list(set), ("/nowhere/env.json".to_owned(), 31, 32));
    assert_eq!(list(flags), ("./flag.json".to_owned(), 21, 22));
    // Each by itself.
    let one = test
        .args(["list", "--json"])
        .without_env("INTERCEPTOR_PORT_MAX")
        .env("INTERCEPTOR_PORT_MIN", "9000");
    assert_eq!(list(one), (default.0.clone(), 9000, 9999));
    let mixed = test
        .args(["list", "--json", "--port-max", "9001"])
        .env("INTERCEPTOR_PORT_MAX", "9999")
        .env("INTERCEPTOR_PORT_MIN", "9000");
    assert_eq!(list(mixed), (default.0, 9000, 9001));
}

#[test]
fn garbage_in_a_variable_is_an_error_that_names_the_variable() {
    let test = Test::new();
    for name in ["INTERCEPTOR_PORT_MIN", "INTERCEPTOR_PORT_MAX"] {
        for value in [
            "abc",
            "0",
            "65536",
            "-1",
            "8888.5",
            "1e3",
            "0x10",
            "99999999999999999999",
        ] {
            test.args(["allocate"])
                .env(name, value)
                .stderr(format!(
                    "error: \"{value}\" is no port: ports are the numbers 1 to 65535\n\
                     hint: correct or unset the variable {name}\n"
                ))
                .code(2)
                .run();
        }
        test.args(["list"])
            .env(name, name_of(b"\xff"))
            .stderr_has(name)
            .code(2)
            .run();
    }
    assert!(!test.root().exists());
}

#[test]
fn a_flag_hides_garbage_in_its_variable() {
    let test = Test::new();
    test.args(["list", "--port-min", "5"])
        .env("INTERCEPTOR_PORT_MIN", "abc")
        .stdout_has("Port range:       5-")
        .run();
}

#[test]
fn without_a_home_the_registry_must_be_named() {
    let test = Test::new();
    for args in [&["list"][..], &["allocate"], &["doctor"]] {
        for call in [
            test.args(args).without_env("HOME"),
            test.args(args).env("HOME", ""),
        ] {
            call.stderr_has(NO_REGISTRY)
                .stderr_has("--registry")
                .code(2)
                .run();
        }
    }
    test.args(["list"])
        .without_env("HOME")
        .env("PORT_REGISTRY_PATH", test.path("r.json"))
        .stdout_has("[HOME]/r.json")
        .run();
}

#[test]
fn a_registry_may_be_named_relative_to_the_current_directory() {
    let test = Test::new();
    test.mkdir("sub");
    let port = format!("{}\n", test.port(0));
    test.args(["allocate", "--registry", "r.json"])
        .cwd("sub")
        .stdout(&port)
        .run();
    test.args(["show", "sub", "--registry", "sub/r.json"])
        .stdout(&port)
        .run();
    let said = test
        .args(["index", "--registry", "r.json"])
        .cwd("sub")
        .any_stdout()
        .run();
    let named = test.path("sub").join(said.stdout.trim_end());
    assert!(named.exists(), "{named:?}");
}

#[test]
fn two_registries_in_two_directories_know_nothing_of_each_other() {
    let test = Test::new();
    test.mkdir("shop");
    test.mkdir("blog");
    let port = format!("{}\n", test.port(0));
    for (registry, project) in [("a/r.json", "shop"), ("b/r.json", "blog")] {
        test.args(["--registry", registry, "allocate", project])
            .stdout(&port)
            .run();
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.mkdir("blog");
    let port = test.port(0).to_string();
    for args in [
        &["list"][..],
        &["list", "--json"],
        &["show", "shop"],
        &["allocate", "shop"],
        &["allocate", "blog"],
        &["doctor"],
        &["doctor", "--json"],
        &["index"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
    ] {
        test.args(args).closed_stdout().run();
    }
    // The work is done, and whoever asks hears of it.
    test.args(["show", "blog"])
        .stdout(format!("{}\n", test.port(1)))
        .run();
    test.args(["check", &port]).closed_stdout().code(0).run();
}

#[test]
fn an_answer_that_cannot_be_printed_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        skip("a full standard output", "there is no /dev/full");
        return;
    }
    let test = Test::new();
    test.project("shop", test.port(0));
    for args in [
        "list",
        "list --json",
        "show shop",
        "allocate shop",
        "man",
        "completions bash",
    ] {
        test.shell(&format!("\"$portclaim\" {args} >/dev/full"))
            .stderr_has("error: ")
            .code(2)
            .run();
    }
}

#[test]
fn help_that_cannot_be_printed_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        skip("a full standard output", "there is no /dev/full");
        return;
    }
    let test = Test::new();
    for args in ["--help", "--version", "list --help"] {
        test.shell(&format!("\"$portclaim\" {args} >/dev/full"))
            .stderr_has("error: ")
            .code(2)
            .run();
    }
}

#[test]
fn closed_streams_do_no_harm() {
    let test = Test::new();
    test.project("shop", test.port(0));
    test.shell("\"$portclaim\" show shop 2>&-")
        .stdout(format!("{}\n", test.port(0)))
        .run();
    test.shell("\"$portclaim\" show nowhere 2>&-").code(1).run();
    test.shell("\"$portclaim\" allocate shop >&- 2>&- <&-")
        .run();
    assert_eq!(test.records().len(), 2, "one claim and its commit");
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let test = Test::new();
    test.project("shop", test.port(0));
    fs::remove_file(test.commit(test.port(0))).expect("it is ours");
    for args in [
        &["list"][..],
        &["doctor"],
        &["show", "nowhere"],
        &["--help"],
        &["frobnicate"],
        &["reset"],
    ] {
        let mut call = test
            .args(args)
            .env("TERM", "xterm-256color")
            .any_stdout()
            .any_stderr();
        let output = call.spawn().wait_with_output().expect("it ends");
        for stream in [output.stdout, output.stderr] {
            assert!(
                !stream.contains(&0x1b),
                "{args:?}: {}",
                String::from_utf8_lossy(&stream)
            );
        }
    }
}

/// Runs a command on a terminal, where one can be had; both streams come as one, with
/// carriage returns taken out.
fn on_terminal(test: &Test, command: &str, typed: &str, code: i32, colour: bool) -> Option<String> {
    // Without the terminal's echo, which comes in the middle of whatever is being printed.
    let script = format!("script --echo never -qec '\"$portclaim\" {command}' /dev/null");
    let has_script = test
        .shell("script --help || true")
        .any_stdout()
        .any_stderr()
        .run();
    if !has_script.stdout.contains("--echo") {
        skip(
            "a terminal",
            "there is no `script` of util-linux with --echo",
        );
        return None;
    }
    let mut call = test
        .shell(&script)
        .env("TERM", "xterm")
        .stdin(typed)
        .code(code);
    if !colour {
        call = call.env("NO_COLOR", "1");
    }
    Some(call.any_stdout().run().stdout.replace('\r', ""))
}

#[test]
fn on_a_terminal_list_is_a_table_with_a_bold_head() {
    let test = Test::new();
    if let Some(said) = on_terminal(&test, "list", "", 0, true) {
        assert!(said.ends_with("No project has a port.\n"), "{said:?}");
    }
    test.project("shop", test.port(0));
    test.project("m\u{fc}ller & s\u{f6}hne", test.port(1));
    let Some(said) = on_terminal(&test, "list", "", 0, true) else {
        return;
    };
    assert!(said.contains("\u{1b}[1m"), "{said:?}");
    assert!(!said.contains('\t'), "{said:?}");
    let Some(plain) = on_terminal(&test, "list", "", 0, false) else {
        return;
    };
    assert!(!plain.contains('\u{1b}'), "NO_COLOR is honoured: {plain:?}");
    let table: Vec<Vec<&str>> = plain
        .lines()
        .skip_while(|line| !line.contains("PORT"))
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let (first, second) = (test.port(0).to_string(), test.port(1).to_string());
    assert_eq!(
        table[0][..4],
        ["PORT", "NAME", "PATH", "LISTENING"],
        "{plain}"
    );
    assert_eq!(table[1][..2], [&first, "shop"], "{plain}");
    assert_eq!(
        table[2][..2],
        [&second, "m\u{fc}ller & s\u{f6}hne"],
        "{plain}"
    );
}

#[test]
fn on_a_terminal_reset_asks_and_only_yes_means_yes() {
    let test = Test::new();
    test.project("shop", test.port(0));
    for answer in ["no\n", "y\n", "\n", "yesterday\n", "\u{4}"] {
        let Some(said) = on_terminal(&test, "reset", answer, 1, false) else {
            return;
        };
        assert!(
            said.contains(
                "warning: this gives back the ports of all projects in [HOME]/.config/litellm\n"
            ),
            "{answer:?}: {said:?}"
        );
        assert!(
            said.contains("Are you sure? (yes/no): "),
            "{answer:?}: {said:?}"
        );
        assert!(
            said.contains("cancelled: nothing was changed"),
            "{answer:?}: {said:?}"
        );
        test.args(["show", "shop"])
            .stdout(format!("{}\n", test.port(0)))
            .run();
    }
    for answer in ["yes\n", "YES\n", " Yes \n"] {
        let said = on_terminal(&test, "reset", answer, 0, false).expect("there was one");
        assert!(
            said.contains("the old state is in [HOME]/.config/litellm/backups/"),
            "{answer:?}: {said:?}"
        );
        test.args(["show", "shop"]).any_stderr().code(1).run();
    }
}

#[test]
fn on_a_terminal_errors_are_coloured_unless_that_is_not_wanted() {
    let test = Test::new();
    for (colour, expected) in [(true, true), (false, false)] {
        let Some(said) = on_terminal(&test, "show nowhere", "", 1, colour) else {
            return;
        };
        assert_eq!(said.contains("\u{1b}["), expected, "{said:?}");
        assert!(said.contains("[HOME]/nowhere has no port"), "{said:?}");
    }
}

#[test]
fn names_are_printed_escaped_and_kept_as_they_are() {
    let test = Test::with_ports(16);
    // The name on disk, and as a terminal may see it.
    let table = [
        ("my shop", "my shop"),
        ("line\nbreak", "line\\nbreak"),
        ("tab\there", "tab\\there"),
        ("\u{1b}[31mred", "\\u{1b}[31mred"),
        ("bell\u{7}", "bell\\u{7}"),
        ("\u{9b}2J", "\\u{9b}2J"),
        ("gnp.\u{202e}exe", "gnp.\\u{202e}exe"),
        ("quo\"te's", "quo\"te's"),
        ("back\\slash", "back\\slash"),
        (
            "caf\u{e9} \u{4e2d}\u{6587} \u{1f980}",
            "caf\u{e9} \u{4e2d}\u{6587} \u{1f980}",
        ),
        ("-dash", "-dash"),
        (" ", " "),
    ];
    for (index, (name, shown)) in table.iter().enumerate() {
        let port = test.port(u16::try_from(index).expect("few"));
        test.mkdir(name);
        test.args(["allocate", "--", name])
            .stdout(format!("{port}\n"))
            .run();
        test.args(["show", "--", name])
            .stdout(format!("{port}\n"))
            .run();
        test.args(["check", &port.to_string()])
            .stdout(format!(
                "{port}: claimed by {shown} ([HOME]/{shown}), free\n"
            ))
            .code(1)
            .run();
        assert_eq!(
            test.args(["show", "--json", "--", name]).json()["name"],
            **name
        );
        assert_eq!(
            test.mappings().get(&format!("[HOME]/{name}")),
            Some(&u64::from(port))
        );
    }
    let list = test.args(["list"]).any_stdout().run().stdout;
    let rows: Vec<&str> = list
        .lines()
        .skip_while(|line| !line.starts_with("PORT"))
        .skip(1)
        .collect();
    assert_eq!(rows.len(), table.len(), "a row is a line: {list}");
    for (row, (_, shown)) in rows.iter().zip(&table) {
        let cells: Vec<&str> = row.split('\t').collect();
        assert_eq!(
            cells[1..4],
            [*shown, &format!("[HOME]/{shown}"), "no"],
            "{list}"
        );
    }
    for (name, shown) in table {
        test.args(["remove", "--", name])
            .stdout_has(format!(" [HOME]/{shown}\n"))
            .run();
        test.args(["remove", "--", name])
            .stderr(format!("warning: [HOME]/{shown} has no port\n"))
            .code(1)
            .run();
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_refused_with_its_bytes_escaped() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let before = (test.records(), test.read(test.registry()));
    let path = name_of(b"bad\xff\x1bname");
    for command in ["allocate", "show", "remove"] {
        for json in [false, true] {
            let mut args = vec![command.into(), path.clone()];
            if json {
                args.push("--json".into());
            }
            test.args(args)
                .stderr(
                    "error: the path \"[HOME]/bad\\xff\\x1bname\" cannot be used: it is not UTF-8\n\
                     hint: a project is known by its path, which must be UTF-8\n",
                )
                .code(2)
                .run();
        }
    }
    assert_eq!((test.records(), test.read(test.registry())), before);
    let dir = test.path(&path);
    if fs::create_dir(&dir).is_err() {
        skip("a directory that is not UTF-8", "this file system has none");
        return;
    }
    test.args(["allocate"])
        .cwd(&path)
        .stderr_has("bad\\xff\\x1bname")
        .code(2)
        .run();
    test.args([std::ffi::OsStr::new("--registry"), &path, "list".as_ref()])
        .stderr_has("bad\\xff\\x1bname")
        .code(2)
        .run();
}

#[test]
fn in_a_directory_that_was_deleted_only_the_current_directory_is_unknown() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let gone = |args: &str| {
        test.mkdir("gone");
        test.shell(&format!("cd gone; rmdir ../gone; \"$portclaim\" {args}"))
    };
    for args in ["allocate", "show", "remove", "allocate sub"] {
        gone(args)
            .stderr_has("error: ")
            .stderr_has("the current directory has been deleted")
            .stderr_has("hint: ")
            .code(2)
            .run();
    }
    gone("show \"$HOME/shop\"")
        .stdout(format!("{}\n", test.port(0)))
        .run();
    gone("list").stdout_has("[HOME]/shop").run();
    gone("doctor").stdout_has("healthy").run();
}

#[test]
fn ports_are_given_out_in_turn_and_a_freed_one_only_after_the_wrap() {
    let test = Test::with_ports(4);
    test.project("a", test.port(0));
    test.project("b", test.port(1));
    test.args(["remove", "a"]).any_stdout().run();
    test.project("c", test.port(2));
    test.args(["remove", "c"]).any_stdout().run();
    test.project("d", test.port(3));
    // Around the end: the lowest that is free.
    test.project("e", test.port(0));
    test.project("f", test.port(2));
    test.args(["remove", "e"]).any_stdout().run();
    test.project("g", test.port(0));
}

#[test]
fn the_port_that_was_freed_last_is_not_the_next_one() {
    let test = Test::new();
    test.project("a", test.port(0));
    test.args(["remove", "a"]).any_stdout().run();
    test.project("a", test.port(1));
    test.args(["remove", "a"]).any_stdout().run();
    test.project("b", test.port(2));
}

#[test]
fn a_next_port_outside_of_the_range_never_leaves_the_range() {
    let shapes = [
        "80", "1", "9", "65535", "0", "70000", "-5", "null", "\"8888\"", "1.5", "[]",
    ];
    for next in shapes {
        let test = Test::with_ports(3);
        let file = python_registry((8888, 9999), [("/p/old", "8890")], 1);
        test.write_registry(file.replace(
            "\"next_available\": 1",
            &format!("\"next_available\": {next}"),
        ));
        let mut ports = BTreeSet::new();
        for name in ["a", "b", "c"] {
            test.mkdir(name);
            let said = test
                .args(["allocate", name])
                .any_stdout()
                .any_stderr()
                .run();
            ports.insert(said.stdout.trim_end().parse::<u16>().expect("a port"));
        }
        let expected: BTreeSet<u16> = (0..3).map(|index| test.port(index)).collect();
        assert_eq!(ports, expected, "next_available is {next}");
        test.mkdir("d");
        test.args(["allocate", "d"])
            .stderr_has(format!("no port is left in the range {}", test.range()))
            .code(1)
            .run();
    }
}

#[test]
fn an_assignment_is_kept_whatever_the_range_is_now() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let (min, max) = (test.port(4).to_string(), test.port(5).to_string());
    let range = ["--port-min", &min, "--port-max", &max];
    for command in ["allocate", "show"] {
        test.args([&[command, "shop"], &range[..]].concat())
            .stdout(format!("{}\n", test.port(0)))
            .run();
    }
    test.mkdir("blog");
    test.args([&["allocate", "blog"], &range[..]].concat())
        .stdout(format!("{min}\n"))
        .run();
    test.args([&["list"], &range[..]].concat())
        .stdout_has("Total ports:      2\nAllocated ports:  2\nAvailable ports:  1\n")
        .run();
}

#[test]
fn an_assignment_is_kept_while_its_server_runs() {
    let test = Test::new();
    test.project("shop", test.port(0));
    let _server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    test.args(["allocate", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn ports_in_use_are_skipped() {
    let test = Test::new();
    let mut servers = vec![
        TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free"),
        TcpListener::bind(("0.0.0.0", test.port(1))).expect("it is free"),
    ];
    let mut next = 2;
    for address in ["::1", "::"] {
        match TcpListener::bind((address, test.port(next))) {
            Ok(server) => {
                servers.push(server);
                next += 1;
            }
            Err(error) => skip("a server on IPv6", &error.to_string()),
        }
    }
    test.project("shop", test.port(next));
    drop(servers);
    test.project("blog", test.port(next + 1));
}

#[test]
fn a_connection_that_waits_out_its_end_does_not_keep_a_port_busy() {
    let test = Test::new();
    let server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    let mut client = TcpStream::connect(("127.0.0.1", test.port(0))).expect("it listens");
    let (mut stream, _) = server.accept().expect("there is a client");
    // Whoever closes first has to wait: the server does.
    stream.write_all(b"bye").expect("it is connected");
    stream.shutdown(Shutdown::Both).expect("it is connected");
    // Dropped, it might live on in a child that another test starts at this moment.
    rustix::net::shutdown(&server, rustix::net::Shutdown::Both).expect("it listens");
    drop(server);
    let mut said = String::new();
    client.read_to_string(&mut said).expect("it is connected");
    assert_eq!(said, "bye");
    drop(client);
    test.project("shop", test.port(0));
}

#[test]
fn an_exhausted_range_says_which_and_how_its_ports_are_used() {
    let test = Test::with_ports(3);
    test.project("a", test.port(0));
    test.project("b", test.port(1));
    let _server = TcpListener::bind(("127.0.0.1", test.port(2))).expect("it is free");
    test.mkdir("c");
    let before = (test.records(), test.read(test.registry()));
    for args in [&["allocate", "c"][..], &["allocate", "c", "--json"]] {
        test.args(args)
            .stderr(format!(
                "error: no port is left in the range {}: of 3 ports, 2 are claimed and 1 in use by \
                 programs without a claim\n\
                 hint: give back ports that are not needed (portclaim list, portclaim remove PATH; portclaim prune for those of deleted directories), or \
                 widen the range with --port-min and --port-max or range in portclaim.toml\n",
                test.range()
            ))
            .code(1)
            .run();
    }
    assert_eq!((test.records(), test.read(test.registry())), before);
    test.args(["remove", "a"]).any_stdout().run();
    test.project("c", test.port(0));
}

#[test]
fn a_long_exhausted_range_is_counted_right() {
    let test = Test::with_ports(40);
    for index in 0..39 {
        test.project(&format!("p{index}"), test.port(index));
    }
    let _server = TcpListener::bind(("127.0.0.1", test.port(39))).expect("it is free");
    test.mkdir("late");
    test.args(["allocate", "late"])
        .stderr_has("of 40 ports, 39 are claimed and 1 in use by programs without a claim")
        .code(1)
        .run();
}

#[test]
fn a_range_of_one_port_is_a_range() {
    let test = Test::with_ports(1);
    test.project("a", test.port(0));
    test.mkdir("b");
    test.args(["allocate", "b"])
        .stderr_has(format!(
            "no port is left in the range {0}-{0}: of 1 ports, 1 are claimed and 0 in use",
            test.port(0)
        ))
        .code(1)
        .run();
    test.args(["remove", "a"]).any_stdout().run();
    test.project("b", test.port(0));
}

#[test]
fn a_claim_that_its_maker_did_not_finish_gives_way_when_the_range_is_exhausted() {
    let test = Test::with_ports(2);
    test.project("a", test.port(0));
    // Made, and killed before a word was written.
    test.write(test.claim(test.port(1)), "");
    test.project("b", test.port(1));
}

/// Runs one `allocate` for each project at once, and returns the ports that they were told.
fn allocated_at_once(test: &Test, projects: &[String]) -> Vec<u16> {
    let calls = projects.iter().map(|project| ["allocate", project]);
    let told = |said: Said| {
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
        said.stdout.trim_end().parse().expect("a port")
    };
    test.at_once(calls).into_iter().map(told).collect()
}

#[test]
fn projects_that_ask_at_once_get_a_port_each() {
    let test = Test::with_ports(32);
    let projects: Vec<String> = (0..32).map(|index| format!("p{index}")).collect();
    for project in &projects {
        test.mkdir(project);
    }
    let told = allocated_at_once(&test, &projects);
    let distinct: BTreeSet<u16> = told.iter().copied().collect();
    assert_eq!(distinct.len(), projects.len(), "{told:?}");
    for (project, port) in projects.iter().zip(&told) {
        assert_eq!(
            test.mappings()[&format!("[HOME]/{project}")],
            u64::from(*port)
        );
    }
    test.args(["doctor"]).stdout_has("healthy").run();
}

#[test]
fn a_project_that_asks_many_times_at_once_is_told_one_port() {
    let test = Test::new();
    test.mkdir("shop");
    let told = allocated_at_once(&test, &vec!["shop".to_owned(); 16]);
    let distinct: BTreeSet<u16> = told.iter().copied().collect();
    assert_eq!(distinct.len(), 1, "{told:?}");
    assert_eq!(test.records().len(), 2, "one claim and its commit");
    test.args(["doctor"]).stdout_has("healthy").run();
}
