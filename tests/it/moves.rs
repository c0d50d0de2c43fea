//! `portclaim move`: ports that go along with a project's directory.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Test, python_registry};

#[test]
fn a_project_that_moved_keeps_its_ports() {
    let test = Test::of_three();
    test.service("shop", "web");
    test.rename("shop", "store");
    test.args(["move", "shop", "store"])
        .stdout(format!(
            "{} [HOME]/shop -> [HOME]/store\n{} [HOME]/shop -> [HOME]/store (web)\n",
            test.port(0),
            test.port(3)
        ))
        .run();
    test.assert_shows("store", test.port(0));
    test.args(["show", "store", "--service", "web"])
        .stdout(format!("{}\n", test.port(3)))
        .run();
    test.args(["show", "shop"])
        .any_stderr()
        .any_stdout()
        .code(1)
        .run();
    assert_eq!(
        test.mappings().get("[HOME]/store"),
        Some(&test.port(0).into())
    );
    assert!(!test.mappings().contains_key("[HOME]/shop"));
    assert_eq!(test.records().len(), 8, "four claims, four commits");
    test.assert_healthy();
    // Whoever comes to the old place is another project.
    test.project("shop", test.port(4));
    test.assert_healthy();
}

#[test]
fn there_and_back_again() {
    let test = Test::of_three();
    for (from, to) in [("shop", "store"), ("store", "shop")] {
        test.args(["move", from, to])
            .stdout(format!("{} [HOME]/{from} -> [HOME]/{to}\n", test.port(0)))
            .any_stderr()
            .run();
    }
    test.assert_shows("shop", test.port(0));
    test.assert_healthy();
}

#[test]
fn a_move_is_told_as_json() {
    let test = Test::of_three();
    let json = test
        .args(["move", "shop", "blog2", "--json"])
        .stderr("warning: [HOME]/blog2 does not exist\n")
        .json();
    assert_eq!(json["from"], json!("[HOME]/shop"));
    assert_eq!(json["to"], json!("[HOME]/blog2"));
    let moved = json!([{"port": test.port(0), "service": ""}]);
    assert_eq!(json["moved"], moved);
    let json = test
        .args(["move", "shop", "blog2", "--json"])
        .stderr("warning: [HOME]/shop has no port\n")
        .code(1)
        .json();
    assert_eq!(json["moved"], json!([]));
}

#[test]
fn a_project_that_has_ports_already_is_named_and_nothing_is_moved() {
    let test = Test::of_three();
    test.service("blog", "web");
    test.service("shop", "db");
    let before = test.records();
    test.args(["move", "shop", "blog"])
        .stderr_has(format!(
            "error: [HOME]/blog has port {} already",
            test.port(1)
        ))
        .stderr_has(format!(
            "hint: nothing was moved: [HOME]/blog has {}, {} (web)",
            test.port(1),
            test.port(3)
        ))
        .code(1)
        .run();
    assert_eq!(test.records(), before);
    test.assert_healthy();
}

#[test]
fn services_that_only_one_of_two_projects_has_come_together() {
    // What a move leaves that was killed between two ports; the next one goes on.
    let test = Test::of_projects(&["shop"]);
    test.args(["allocate", "store", "--service", "web"])
        .any_stdout()
        .any_stderr()
        .run();
    test.args(["move", "shop", "store"])
        .any_stderr()
        .stdout(format!("{} [HOME]/shop -> [HOME]/store\n", test.port(0)))
        .run();
    test.mkdir("store");
    test.assert_shows("store", test.port(0));
    test.assert_healthy();
}

#[test]
fn a_block_moves_as_one() {
    let test = Test::of_projects(&["blog"]);
    test.mkdir("shop");
    test.args(["allocate", "shop", "--count", "3"])
        .any_stdout()
        .run();
    test.mkdir("store");
    test.args(["move", "shop", "store"])
        .stdout_has(format!(
            "{} [HOME]/shop -> [HOME]/store (+2)\n",
            test.port(3)
        ))
        .run();
    test.args(["allocate", "store", "--count", "4"])
        .stdout(
            [1, 2, 3, 4]
                .map(|index| format!("{}\n", test.port(index)))
                .concat(),
        )
        .run();
    test.assert_healthy();
}

#[test]
fn what_cannot_be_moved_is_told() {
    let test = Test::of_three();
    let before = test.records();
    test.args(["move", "shop", "./shop"])
        .stderr_has("error: [HOME]/shop cannot be moved to where it is")
        .code(2)
        .run();
    test.args(["move", "nothing", "elsewhere"])
        .stderr("warning: [HOME]/nothing has no port\n")
        .code(1)
        .run();
    test.args(["move", "shop"]).any_stderr().code(2).run();
    test.args(["move"]).any_stderr().code(2).run();
    assert_eq!(test.records(), before);
    let empty = Test::new();
    empty
        .args(["move", "a", "b"])
        .stderr("warning: [HOME]/a has no port\n")
        .code(1)
        .run();
    assert!(!empty.root().exists(), "nothing is created for that");
}

#[test]
fn a_directory_that_is_a_link_to_its_new_place_is_named_as_it_was() {
    let test = Test::of_three();
    test.rename("shop", "store");
    symlink("store", test.path("shop")).expect("a link can be made");
    let old = test.path("shop");
    let old = old.to_str().expect("UTF-8");
    // Relative, it is what it leads to.
    test.args(["move", "shop", "store"])
        .stderr_has("cannot be moved to where it is")
        .stderr_has("write it as portclaim list shows it")
        .code(2)
        .run();
    test.args(["move", old, "store"])
        .stdout(format!("{} [HOME]/shop -> [HOME]/store\n", test.port(0)))
        .run();
    test.assert_shows("store", test.port(0));
    test.assert_healthy();
}

#[test]
fn names_that_a_terminal_obeys_are_escaped() {
    let test = Test::new();
    test.project("a\u{1b}[31m", test.port(0));
    test.mkdir("b\nc");
    test.args(["move", "a\u{1b}[31m", "b\nc"])
        .stdout(format!(
            "{} [HOME]/a\\u{{1b}}[31m -> [HOME]/b\\nc\n",
            test.port(0)
        ))
        .run();
}

#[test]
fn what_only_the_python_system_wrote_moves_too() {
    let test = Test::new();
    let shop = format!("{}/shop", test.home().display());
    let port = test.port(2).to_string();
    let range = (test.port(0), test.port(7));
    test.write_registry(python_registry(
        range,
        [(shop.as_str(), port.as_str())],
        test.port(3),
    ));
    test.mkdir("store");
    test.args(["move", "shop", "store"])
        .stdout(format!("{port} [HOME]/shop -> [HOME]/store\n"))
        .any_stderr()
        .run();
    assert_eq!(test.mappings().len(), 1);
    test.assert_shows("store", test.port(2));
    test.assert_healthy();
}

#[test]
fn an_older_copy_of_the_registry_file_brings_nothing_back() {
    let test = Test::of_three();
    let mut older = test.registry_json();
    test.args(["move", "shop", "store"])
        .any_stdout()
        .any_stderr()
        .run();
    // A running Python system adds something to what it read before.
    older["mappings"]["/elsewhere/p"] = json!(test.port(5));
    test.write_registry(serde_json::to_vec_pretty(&older).expect("JSON"));
    test.args(["list"]).any_stdout().any_stderr().run();
    test.mkdir("store");
    test.assert_shows("store", test.port(0));
    assert_eq!(
        test.mappings().get("[HOME]/store"),
        Some(&test.port(0).into())
    );
    test.assert_healthy();
}

#[test]
fn many_moves_at_once_leave_each_port_with_one_project() {
    let test = Test::of_three();
    for name in ["a", "b", "c", "d"] {
        test.mkdir(name);
    }
    let script = "
        for name in a b c d; do
            \"$portclaim\" move shop $name & \"$portclaim\" move blog $name & \"$portclaim\" allocate $name &
        done
        wait";
    test.shell(script).any_stdout().any_stderr().run();
    let mut held: Vec<u64> = test.mappings().into_values().collect();
    let all = held.len();
    held.sort_unstable();
    held.dedup();
    assert_eq!(held.len(), all, "one port, one project");
    for index in 0..3 {
        let port = u64::from(test.port(index));
        assert!(held.contains(&port), "{port} is lost: {held:?}");
    }
    assert_eq!(test.records().len(), 2 * all);
    test.assert_healthy();
}
