//! Named services, several at once, ports that are asked for, and blocks of ports.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::Test;
use crate::terms::{HOUR, let_pass};

fn lines(ports: impl IntoIterator<Item = u16>) -> String {
    let lines = ports.into_iter().map(|port| port.to_string() + "\n");
    lines.collect()
}

#[test]
fn each_service_of_a_project_has_a_port_of_its_own() {
    let test = Test::new();
    test.mkdir("shop");
    test.project("shop", test.port(0));
    let [web, db] = ["web", "db"].map(|name| ["allocate", "shop", "--service", name]);
    for _ in 0..2 {
        test.args(web).stdout(lines([test.port(1)])).run();
        test.args(db).stdout(lines([test.port(2)])).run();
    }
    test.args(["show", "shop", "--service", "db"])
        .stdout(lines([test.port(2)]))
        .run();
    test.assert_shows("shop", test.port(0));
    test.args(["list"])
        .stdout_has(format!("{}\tshop (web)\t[HOME]/shop\tno", test.port(1)))
        .run();
    test.args(["check", &test.port(2).to_string()])
        .stdout(format!(
            "{}: claimed by shop (db) ([HOME]/shop), free\n",
            test.port(2)
        ))
        .code(1)
        .run();
    // The Python system's readers see what they know; the rest stands under portclaim's own key.
    assert_eq!(test.mappings().len(), 1);
    let services = &test.registry_json()["portclaim"]["services"];
    let services = services.as_object().expect("an object");
    let services: Vec<(&str, u64)> = services
        .iter()
        .map(|(name, port)| {
            let name = name.rsplit('/').next().expect("a name");
            (name, port.as_u64().expect("a port"))
        })
        .collect();
    assert_eq!(
        services,
        [
            ("shop (db)", u64::from(test.port(2))),
            ("shop (web)", u64::from(test.port(1)))
        ]
    );
    test.assert_healthy();

    test.args(["remove", "shop", "--service", "web"])
        .stdout(format!("{} [HOME]/shop (web)\n", test.port(1)))
        .run();
    test.args(["show", "shop", "--service", "web"])
        .stderr(
            "warning: [HOME]/shop (web) has no port\nhint: portclaim allocate --service web gives it one\n",
        )
        .code(1)
        .run();
    test.assert_shows("shop", test.port(0));
    test.assert_healthy();
}

#[test]
fn several_services_are_given_ports_together_or_not_at_all() {
    let test = Test::with_ports(3);
    test.mkdir("shop");
    let all = ["allocate", "shop", "--service", "web", "--service", "db"];
    for _ in 0..2 {
        test.args(all)
            .stdout(lines([test.port(0), test.port(1)]))
            .run();
    }
    assert_eq!(
        test.args([
            "show",
            "shop",
            "--json",
            "--service",
            "db",
            "--service",
            "web",
            "--service",
            "db"
        ])
        .json(),
        json!({"version": 1, "claims": [
            {"port": test.port(1), "project": "[HOME]/shop", "name": "shop", "service": "db"},
            {"port": test.port(0), "project": "[HOME]/shop", "name": "shop", "service": "web"},
        ]})
    );
    // One port is left, and two are wanted.
    test.args(["allocate", "shop", "--service", "c", "--service", "d"])
        .stderr_has("no port is left")
        .code(1)
        .run();
    assert_eq!(test.records().len(), 4, "two claims, two commits");
    test.args(["allocate", "shop", "--service", "c"])
        .stdout(lines([test.port(2)]))
        .run();
    test.assert_healthy();
}

#[test]
fn many_processes_agree_on_the_ports_of_services() {
    let test = Test::new();
    test.mkdir("shop");
    let script = "for name in a b c d e f g h; do \"$portclaim\" allocate shop --service x --service y & done; wait";
    let said = test.shell(script).any_stdout().run();
    let mut ports: Vec<&str> = said.stdout.lines().collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 2, "{}", said.stdout);
    test.assert_healthy();
}

#[test]
fn a_certain_port_is_given_or_refused_with_its_holder() {
    let test = Test::of_three();
    let port = test.port(5).to_string();
    test.mkdir("new");
    test.args(["allocate", "new", "--port", &port])
        .stdout(lines([test.port(5)]))
        .run();
    test.args(["allocate", "new", "--port", &port])
        .stdout(lines([test.port(5)]))
        .run();
    test.args(["allocate", "other", "--port", &port])
        .stderr_has(format!("error: port {port} is taken by [HOME]/new\n"))
        .code(1)
        .run();
    let another = test.port(6).to_string();
    test.args(["allocate", "new", "--port", &another])
        .stderr_has(format!("[HOME]/new has port {port} already"))
        .code(1)
        .run();
    test.args(["allocate", "--port", "0"])
        .stderr_has("is no port")
        .code(2)
        .run();
    test.assert_healthy();
}

#[test]
fn a_block_lies_in_a_row_and_grows_and_goes_as_one() {
    let test = Test::of_projects(&["shop"]);
    test.mkdir("blog");
    let count = |count: &str, ports: std::ops::Range<u16>| {
        test.args(["allocate", "blog", "--count", count])
            .stdout(lines(ports.map(|index| test.port(index))))
            .run();
    };
    count("3", 1..4);
    count("3", 1..4);
    count("5", 1..6);
    count("2", 1..3);
    test.assert_shows("blog", test.port(1));
    let all = test
        .args(["allocate", "blog", "--count", "1", "--json"])
        .json();
    assert_eq!(all["claims"][0]["new"], json!(false));
    test.args(["remove", "blog"])
        .stdout_has(format!("{} [HOME]/blog (+4)\n", test.port(5)))
        .run();
    assert_eq!(test.mappings().len(), 1);
    test.assert_healthy();
}

#[test]
fn a_block_that_cannot_grow_or_find_a_place_changes_nothing() {
    let test = Test::with_ports(6);
    test.args(["allocate", "a", "--count", "2"])
        .any_stderr()
        .any_stdout()
        .run();
    test.mkdir("b");
    let taken = test.port(3).to_string();
    test.args(["allocate", "b", "--port", &taken])
        .any_stdout()
        .run();
    let before = test.records();
    test.mkdir("a");
    test.args(["allocate", "a", "--count", "4"])
        .stderr_has(format!("port {taken} is taken by [HOME]/b"))
        .stderr_has("portclaim remove gives it back")
        .code(1)
        .run();
    test.mkdir("c");
    test.args(["allocate", "c", "--count", "3"])
        .stderr_has("there are no 3 free ports in a row")
        .code(1)
        .run();
    assert_eq!(test.records(), before);
    for nonsense in ["0", "101", "-1", "x", ""] {
        test.args(["allocate", "c", "--count", nonsense])
            .any_stderr()
            .code(2)
            .run();
    }
    test.args(["allocate", "c", "--count", "2"])
        .stdout(lines([test.port(4), test.port(5)]))
        .run();
    test.assert_healthy();
}

#[test]
fn a_block_does_not_grow_out_of_the_range() {
    let test = Test::with_ports(3);
    test.mkdir("a");
    let last = test.port(2).to_string();
    test.args(["allocate", "a", "--port", &last])
        .any_stdout()
        .run();
    test.args(["allocate", "a", "--count", "2"])
        .stderr_has("there are no 2 free ports in a row")
        .code(1)
        .run();
    test.args(["allocate", "a", "--count", "1"])
        .stdout(format!("{last}\n"))
        .run();
    test.assert_healthy();
}

#[test]
fn a_block_that_is_named_may_begin_in_the_range_and_end_behind_it() {
    let test = Test::with_ports(4);
    test.mkdir("a");
    let [last, behind] = [2, 3].map(|at| test.port(at));
    let named = last.to_string();
    let call = test.args(["allocate", "a", "--count", "2", "--port", &named]);
    let call = call.with_args(["--port-max", &named]);
    call.stdout(lines([last, behind])).run();
    test.assert_healthy();
}

#[test]
fn what_is_left_of_a_block_is_given_back_when_services_are_listed() {
    let test = Test::with_ports(4);
    test.mkdir("a");
    test.mkdir("b");
    test.args(["allocate", "a", "--count", "3", "--ttl", "1h"])
        .any_stdout()
        .run();
    let first = test.port(0);
    let_pass(&test, first, HOUR * 2);
    test.args(["allocate", "b", "--port", &first.to_string()])
        .any_stdout()
        .run();
    test.write("a/portclaim.toml", "services = [\"web\"]\n");
    test.args(["allocate", "a"]).any_stdout().run();
    test.args(["remove", "a"]).any_stdout().run();
    assert_eq!(test.records().len(), 2, "b's claim and commit");
    test.assert_healthy();
}

#[test]
fn a_block_that_lies_elsewhere_is_not_told_for_a_certain_port() {
    let test = Test::with_ports(6);
    test.mkdir("a");
    test.args(["allocate", "a", "--count", "2"])
        .stdout(lines([test.port(0), test.port(1)]))
        .run();
    let wanted = test.port(3).to_string();
    test.args(["allocate", "a", "--count", "2", "--port", &wanted])
        .stderr_has(format!("has port {} already", test.port(0)))
        .code(1)
        .run();
    let first = test.port(0).to_string();
    test.args(["allocate", "a", "--count", "3", "--port", &first])
        .stdout(lines([test.port(0), test.port(1), test.port(2)]))
        .run();
}

#[test]
fn a_block_avoids_ports_that_programs_use() {
    let test = Test::with_ports(6);
    test.mkdir("a");
    let _server = TcpListener::bind(("127.0.0.1", test.port(1))).expect("it is free");
    test.args(["allocate", "a", "--count", "3"])
        .stdout(lines([test.port(2), test.port(3), test.port(4)]))
        .run();
    test.assert_healthy();
}

#[test]
fn many_processes_agree_on_a_block() {
    let test = Test::with_ports(24);
    test.mkdir("shop");
    let script = "for name in a b c d e f; do \"$portclaim\" allocate shop --count 4 > out.$name & done; wait; cat out.*";
    let said = test.shell(script).any_stdout().run();
    let answers: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(answers.len(), 24, "{}", said.stdout);
    assert!(
        answers.chunks(4).all(|one| one == &answers[..4]),
        "{}",
        said.stdout
    );
    test.assert_healthy();
}

#[test]
fn a_service_that_cannot_be_named_is_refused() {
    let test = Test::new();
    let long = "x".repeat(65);
    for name in [
        "", "a b", "$(id)", "-x", "a/b", "é", "a+1", "+1", ".", "a\nb", &long,
    ] {
        let flag = format!("--service={name}");
        for verb in ["allocate", "show", "remove"] {
            test.args([verb, &flag])
                .stderr_has("cannot be a service")
                .code(2)
                .run();
        }
    }
    test.args([
        "allocate",
        "--service",
        "a",
        "--service",
        "b",
        "--count",
        "2",
    ])
    .stderr_has("for one service at a time")
    .code(2)
    .run();
    assert!(!test.root().exists());
}

#[test]
fn a_service_whose_claim_is_torn_has_the_same_port_again() {
    let test = Test::of_three();
    test.service("shop", "web");
    std::fs::write(test.claim(test.port(3)), "{\"form").expect("it can be damaged");
    test.args(["doctor", "--fix"]).any_stdout().run();
    test.args(["show", "shop", "--service", "web"])
        .stdout(lines([test.port(3)]))
        .run();
    // Both files lost: the registry file knows.
    let commit = test.commit(test.port(3));
    std::fs::remove_file(commit).expect("it is there");
    std::fs::remove_file(test.claim(test.port(3))).expect("it is there");
    test.args(["allocate", "shop", "--service", "web"])
        .stdout(lines([test.port(3)]))
        .any_stderr()
        .run();
    test.assert_healthy();
}

#[test]
fn a_port_of_a_service_that_the_python_system_gives_away_is_reported() {
    let test = Test::of_projects(&["shop"]);
    test.service("shop", "web");
    let mut json = test.registry_json();
    json["mappings"]["/elsewhere/p"] = json!(test.port(1));
    test.write_registry(serde_json::to_vec_pretty(&json).expect("JSON"));
    test.args(["list"])
        .any_stdout()
        .stderr_has(format!(
            "the registry file gives port {} to /elsewhere/p, but [HOME]/shop (web) has it",
            test.port(1)
        ))
        .run();
    assert_eq!(test.mappings().len(), 1, "the claim counts");
    test.assert_healthy();
}
