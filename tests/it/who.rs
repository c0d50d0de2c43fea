//! Who has a port: the claim, the programs that listen, and whether they agree.

#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{NOBODY, Test, chmod, name_of, skip};
use crate::server::{self, Server};

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Asserts what `who` says of the first port in JSON, and its exit code.
#[track_caller]
fn assert_agree(test: &Test, agree: impl Into<Value>) -> Value {
    let agree = agree.into();
    let json = test
        .args(["who", &test.port(0).to_string(), "--json"])
        .code(i32::from(agree != json!(true)))
        .json();
    assert_eq!(json["agree"], agree, "{json}");
    json
}

#[test]
fn where_nobody_listens_there_is_nothing_to_disagree_about() {
    let test = Test::of_projects(&["shop"]);
    let (claimed, free) = (test.port(0), test.port(1));
    test.args(["who", &claimed.to_string()])
        .stdout(format!(
            "port:        {claimed}\n\
             claim:       [HOME]/shop\n\
             listener:    none\n\
             agree:       yes\n"
        ))
        .run();
    test.args(["who", &free.to_string()])
        .stdout(format!(
            "port:        {free}\n\
             claim:       none\n\
             listener:    none\n\
             agree:       yes\n"
        ))
        .run();
    assert_eq!(
        test.args(["who", &claimed.to_string(), "--json"]).json(),
        json!({
            "version": 1, "port": claimed,
            "claim": {"project": "[HOME]/shop", "name": "shop", "service": "", "term": "kept"},
            "listeners": [], "agree": true,
        })
    );
    assert_eq!(
        test.args(["who", &free.to_string(), "--json"]).json(),
        json!({"version": 1, "port": free, "claim": null, "listeners": [], "agree": true})
    );
}

#[test]
fn without_a_registry_there_is_an_answer_and_nothing_is_created() {
    let test = Test::new();
    test.args(["who", &test.port(0).to_string()])
        .stdout_has("claim:       none\n")
        .run();
    assert!(!test.root().exists());
}

#[test]
fn the_projects_own_server_agrees_and_is_described() {
    let test = Test::of_projects(&["shop"]);
    let port = test.port(0);
    let server = Server::start(port, &test.path("shop"));
    let (pid, command, user) = (server.pid(), server.command_name(), user());
    test.args(["who", &port.to_string()])
        .stdout(format!(
            "port:        {port}\n\
             claim:       [HOME]/shop\n\
             listener:    127.0.0.1\n\
             \x20 pid:       {pid}\n\
             \x20 command:   {command}\n\
             \x20 user:      {user}\n\
             \x20 directory: [HOME]/shop\n\
             \x20 project:   [HOME]/shop\n\
             agree:       yes\n"
        ))
        .run();
    let listeners = json!([{
        "address": "127.0.0.1", "pid": pid, "command": command, "user": user,
        "directory": "[HOME]/shop", "directory_deleted": false, "project": "[HOME]/shop",
    }]);
    assert_eq!(assert_agree(&test, true)["listeners"], listeners);
    let list = test.args(["list", "--json"]).json();
    assert_eq!(list["claims"][0]["listeners"], listeners);
    let check = test.args(["check", &port.to_string(), "--json"]).code(1);
    assert_eq!(check.json()["listeners"], listeners);
    let by = format!("{command} (pid {pid}, user {user})\n");
    test.args(["list"]).stdout_has(format!("\t{by}")).run();
    test.args(["check", &port.to_string()])
        .stdout_has(format!("in use by {by}"))
        .code(1)
        .run();
}

#[test]
fn a_server_belongs_to_the_innermost_project_around_it() {
    // The project of the port, where its server works, to which project that belongs.
    let table = [
        ("shop", "shop/src/deep", Some("shop"), true),
        ("shop", "shop-2", None, false),
        ("shop", ".", None, false),
        ("shop", "blog", Some("blog"), false),
        ("shop", "shop/vendor/lib", Some("shop/vendor"), false),
        ("shop", "link", Some("shop"), true),
    ];
    for (project, directory, belongs, agree) in table {
        let test = Test::of_projects(&[project, "blog", "shop/vendor"]);
        for name in ["shop/src/deep", "shop-2", "shop/vendor/lib"] {
            test.mkdir(name);
        }
        symlink("shop/src", test.path("link")).expect("a link can be made");
        let server = Server::start(test.port(0), &test.path(directory));
        let json = assert_agree(&test, agree);
        let belongs = belongs.map(|name| format!("[HOME]/{name}"));
        assert_eq!(
            json["listeners"][0]["project"],
            json!(belongs),
            "{directory}"
        );
        let mark = ", not of this project)\n";
        let (port, pid) = (test.port(0).to_string(), server.pid());
        for call in [test.args(["list"]), test.args(["check", &port]).code(1)] {
            let said = call.stdout_has(format!("(pid {pid}, ")).run().stdout;
            assert_eq!(said.contains(mark), !agree, "{directory}: {said}");
        }
        let shown = belongs.as_deref().unwrap_or("none");
        test.args(["who", &port])
            .stdout_has(format!("\n  project:   {shown}\nagree:"))
            .code(i32::from(!agree))
            .run();
    }
}

#[test]
fn a_project_at_the_root_is_around_everything() {
    let test = Test::new();
    test.args(["allocate", "/"]).any_stdout().run();
    let _server = Server::start(test.port(0), test.home());
    assert_eq!(assert_agree(&test, true)["listeners"][0]["project"], "/");
}

#[test]
fn who_listens_on_a_port_without_a_claim_agrees_with_nothing() {
    let test = Test::of_projects(&["blog", "shop"]);
    test.args(["remove", "blog"]).any_stdout().run();
    for (directory, project) in [("blog", json!(null)), ("shop", json!("[HOME]/shop"))] {
        let _server = Server::start(test.port(0), &test.path(directory));
        let json = assert_agree(&test, false);
        assert_eq!(json["claim"], json!(null));
        assert_eq!(json["listeners"][0]["project"], project);
        let said = test.args(["check", &test.port(0).to_string()]).code(1);
        let said = said.any_stdout().run().stdout;
        assert!(
            !said.contains("not of this project"),
            "there is none: {said}"
        );
    }
}

#[test]
fn one_stranger_among_the_listeners_is_enough() {
    let test = Test::of_projects(&["shop"]);
    let _own = Server::start(test.port(0), &test.path("shop"));
    assert_agree(&test, true);
    // This process, which works elsewhere.
    let Ok(_other) = TcpListener::bind(("::1", test.port(0))) else {
        return skip("two servers of one port", "this machine has no ::1");
    };
    let json = assert_agree(&test, false);
    let listeners = json["listeners"].as_array().expect("a list");
    assert!(listeners.len() >= 2, "{json}");
    test.args(["list"])
        .stdout_has("), ")
        .stdout_has(", not of this project)")
        .run();
}

#[test]
fn a_claim_that_is_not_settled_agrees_with_nobody_for_sure() {
    let test = Test::of_projects(&["shop"]);
    fs::remove_file(test.commit(test.port(0))).expect("it is ours");
    let unsettled = "claim:       not settled (portclaim doctor tells more)\n";
    let port = test.port(0).to_string();
    test.args(["who", &port]).stdout_has(unsettled).run();
    let _server = Server::start(test.port(0), &test.path("shop"));
    test.args(["who", &port])
        .stdout_has(unsettled)
        .stdout_has("agree:       unknown\n")
        .code(1)
        .run();
    assert_agree(&test, json!(null));
}

#[test]
fn names_that_a_terminal_would_obey_are_escaped() {
    let test = Test::new();
    let (name, shown) = (
        "a\nport: 1\u{1b}[31m\u{202e}",
        "a\\nport: 1\\u{1b}[31m\\u{202e}",
    );
    test.project(name, test.port(0));
    let _server = Server::start_called("x\ny\u{1b}[2J", test.port(0), &test.path(name));
    let said = test
        .args(["who", &test.port(0).to_string()])
        .stdout_has(format!("claim:       [HOME]/{shown}\n"))
        .stdout_has("  command:   x\\ny\\u{1b}[2J\n")
        .stdout_has(format!("  directory: [HOME]/{shown}\n"))
        .stdout_has(format!("  project:   [HOME]/{shown}\n"))
        .run();
    assert_eq!(said.stdout.lines().count(), 9, "{}", said.stdout);
    let json = assert_agree(&test, true);
    assert_eq!(json["listeners"][0]["directory"], format!("[HOME]/{name}"));
    assert_eq!(json["listeners"][0]["command"], "x\ny\u{1b}[2J");
}

#[test]
fn a_directory_that_is_not_utf_8_belongs_to_the_project_around_it() {
    let test = Test::of_projects(&["shop"]);
    let directory = test.path("shop").join(name_of(b"caf\xe9"));
    if fs::create_dir(&directory).is_err() {
        return skip("a directory that is not UTF-8", "this file system has none");
    }
    let _server = Server::start(test.port(0), &directory);
    let json = assert_agree(&test, true);
    assert_eq!(json["listeners"][0]["directory"], "[HOME]/shop/caf\u{fffd}");
}

#[test]
fn a_deleted_directory_belongs_where_it_was() {
    let test = Test::of_projects(&["shop"]);
    // Not deleted, whatever it is called.
    let called: PathBuf = test.mkdir("shop/old (deleted)");
    let server = Server::start(test.port(0), &called);
    let listener = &assert_agree(&test, true)["listeners"][0];
    assert_eq!(listener["directory"], "[HOME]/shop/old (deleted)");
    assert_eq!(listener["directory_deleted"], false);
    drop(server);
    // A build that empties its output, a worktree that is removed: the whole project, even.
    for name in ["shop/dist", "shop"] {
        let directory = test.mkdir(name);
        let _server = Server::start(test.port(0), &directory);
        fs::remove_dir_all(&directory).expect("it is ours");
        for again in [false, true] {
            if again {
                test.mkdir(name);
            }
            let listener = &assert_agree(&test, true)["listeners"][0];
            assert_eq!(listener["directory"], format!("[HOME]/{name}"));
            assert_eq!(listener["directory_deleted"], true);
            test.args(["who", &test.port(0).to_string()])
                .stdout_has(format!("  directory: [HOME]/{name} (deleted)\n"))
                .run();
        }
    }
}

#[test]
fn where_a_program_of_somebody_else_works_is_not_known() {
    let test = Test::new();
    if !test.admit(NOBODY, "a program of somebody else") {
        return;
    }
    chmod(test.home(), 0o777);
    test.mkdir("shop");
    let said = test.args(["allocate", "shop"]).user(NOBODY).any_stdout();
    said.run();
    let _server = Server::start(test.port(0), &test.path("shop"));
    let port = test.port(0);
    test.args(["who", &port.to_string()])
        .user(NOBODY)
        .stdout(format!(
            "port:        {port}\n\
             claim:       [HOME]/shop\n\
             listener:    127.0.0.1\n\
             \x20 pid:       unknown\n\
             \x20 command:   unknown\n\
             \x20 user:      0\n\
             \x20 directory: unknown\n\
             \x20 project:   unknown\n\
             agree:       unknown\n"
        ))
        .code(1)
        .run();
    let json = test
        .args(["who", &port.to_string(), "--json"])
        .user(NOBODY)
        .code(1)
        .json();
    assert_eq!(json["agree"], json!(null));
    assert_eq!(
        json["listeners"],
        json!([{
            "address": "127.0.0.1", "pid": null, "command": null, "user": 0,
            "directory": null, "directory_deleted": false, "project": null,
        }])
    );
    // Nor is it called a stranger.
    test.args(["list"])
        .user(NOBODY)
        .stdout_has("\tan unknown program (user 0)\n")
        .run();
}

#[test]
fn root_sees_where_everybody_works() {
    let test = Test::of_projects(&["shop", "blog"]);
    if !test.admit(NOBODY, "a program of nobody, seen by root") {
        return;
    }
    for (directory, agree) in [("shop", true), ("blog", false)] {
        let _server = Server::start_as(NOBODY, test.port(0), &test.path(directory));
        let listener = &assert_agree(&test, agree)["listeners"][0];
        assert_eq!(listener["user"], NOBODY);
        assert_eq!(listener["directory"], format!("[HOME]/{directory}"));
    }
}

#[test]
fn a_path_in_another_mount_namespace_is_not_taken_for_one_of_here() {
    let test = Test::of_projects(&["shop"]);
    // The same path twice: another directory there, and then the same one.
    for (script, agree) in [
        ("mount -t tmpfs none shop; cd shop; ", json!(null)),
        ("cd shop; ", json!(true)),
    ] {
        let serve = format!("{script} exec \"$server\" --exact {}", server::THIS);
        let Some(call) = test.mounting(&serve, "a server in a mount namespace") else {
            return;
        };
        let program = std::env::current_exe().expect("this program");
        let mut call = call
            .env("server", program)
            .env(server::PORT, test.port(0).to_string());
        let _server = Server::listening(call.running());
        let json = assert_agree(&test, agree.clone());
        let directory = agree.is_boolean().then_some("[HOME]/shop");
        assert_eq!(
            json["listeners"][0]["directory"],
            json!(directory),
            "{json}"
        );
        // It is known all the same that it is there.
        assert!(json["listeners"][0]["pid"].is_u64(), "{json}");
    }
}
