//! The registry file: what stands in it, and what becomes of files that others wrote, changed,
//! damaged or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Call, Test, python_registry};

const BACKUP: &str = "port_registry.json.backup";

fn warns_of_take_over(claims: usize, backup: &str) -> String {
    format!(
        "warning: took [HOME]/.config/litellm/port_registry.json over: {claims} of its projects have \
         their ports here now\n\
         hint: the original is kept as [HOME]/.config/litellm/{backup}\n"
    )
}

/// Calls `list --json`; returns the claims, path by port, and standard error.
fn listed_and_told(call: Call<'_>) -> (BTreeMap<u64, String>, String) {
    let said = call.any_stdout().run();
    let json: serde_json::Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    let claims = json["claims"].as_array().expect("a list");
    let claims = claims
        .iter()
        .map(|claim| {
            let path = claim["path"].as_str().expect("a path");
            (claim["port"].as_u64().expect("a port"), path.to_owned())
        })
        .collect();
    (claims, said.stderr)
}

/// The claims alone.
fn listed(call: Call<'_>) -> BTreeMap<u64, String> {
    listed_and_told(call).0
}

fn list(test: &Test) -> Call<'_> {
    test.args(["list", "--json"])
}

/// Replaces text in the registry file, as another program may at any moment.
fn edit(test: &Test, from: &str, to: &str) {
    let old = String::from_utf8(test.read(test.registry())).expect("it is ASCII");
    assert!(old.contains(from), "{from} in {old}");
    test.write_registry(old.replacen(from, to, 1));
}

/// Appends a mapping, as a running copy of the Python system does.
fn add(test: &Test, path: &str, port: u16) {
    let mapping = format!(",\n    \"{path}\": {port}\n  }},\n  \"next");
    edit(test, "\n  },\n  \"next", &mapping);
}

/// Asserts that the file has these mappings and no others.
#[track_caller]
fn assert_mappings(test: &Test, expected: &[(&str, u16)]) {
    let mapping = |&(path, port): &(&str, u16)| (path.to_owned(), u64::from(port));
    assert_eq!(test.mappings(), expected.iter().map(mapping).collect());
}

#[test]
fn the_bytes_of_the_file_are_these() {
    let test = Test::of_projects(&["shop"]);
    test.project("caf\u{e9} \"\u{1f980}\"\n", test.port(1));
    let (first, second, next, last) = (test.port(0), test.port(1), test.port(2), test.port(7));
    let check = test.registry_json()["portclaim"]["check"].clone();
    let check = check.as_str().expect("a checksum");
    let expected = format!(
        r#"{{
  "version": "1.0",
  "port_range": {{
    "start": {first},
    "end": {last}
  }},
  "mappings": {{
    "[HOME]/shop": {first},
    "[HOME]/caf\u00e9 \"\ud83e\udd80\"\n": {second}
  }},
  "next_available": {next},
  "portclaim": {{
    "format": 1,
    "ports": "{first}-{second}",
    "check": "{check}"
  }}
}}"#
    );
    assert_eq!(test.text(test.registry()), expected);
}

#[test]
fn the_range_in_the_file_is_that_of_its_creation() {
    let test = Test::of_projects(&["shop"]);
    test.mkdir("blog");
    let port = test.port(5).to_string();
    test.args(["allocate", "blog", "--port-min", &port])
        .stdout(format!("{port}\n"))
        .run();
    assert_eq!(
        test.registry_json()["port_range"],
        json!({"start": test.port(0), "end": test.port(7)})
    );
    assert_eq!(test.registry_json()["next_available"], test.port(6));
}

#[test]
fn the_last_project_that_goes_leaves_empty_mappings() {
    let test = Test::of_projects(&["shop"]);
    test.args(["remove", "shop"]).any_stdout().run();
    let file = test.text(test.registry());
    assert!(file.contains("\"mappings\": {},\n"), "{file}");
    // The first eight bytes of sha256 of nothing.
    let own = "    \"ports\": \"\",\n    \"check\": \"e3b0c44298fc1c14\"\n";
    assert!(file.contains(own), "{file}");
}

#[test]
fn a_registry_that_the_python_system_wrote_is_taken_over() {
    let test = Test::new();
    let (a, b, c) = (
        test.port(1).to_string(),
        test.port(2).to_string(),
        test.port(4).to_string(),
    );
    let quoted = format!("\"{c}\"");
    let surrogate = test.port(3).to_string();
    let original = python_registry(
        (8888, 9999),
        [
            ("/p/shop", a.as_str()),
            // Outside the range.
            ("/p/low", "9"),
            ("/p/high", "65535"),
            // Two on one port: the first keeps it.
            ("/p/first", &b),
            ("/p/second", &b),
            ("/p/text", &quoted),
            ("/p/bad\\udcff", &surrogate),
            ("relative", "8895"),
            ("/p/null", "null"),
            ("/p/caf\\u00e9", "8896"),
        ],
        test.port(3),
    )
    .replace("\"1.0\"", "\"2.7\"")
    .replace(
        "\n}",
        ",\n  \"comment\": {\n    \"by\": [\n      1,\n      1e2\n    ]\n  }\n}",
    );
    serde_json::from_str::<&serde_json::value::RawValue>(&original).expect("it is JSON");
    test.write_registry(&original);

    let said = list(&test)
        .stderr(format!(
            "warning: the registry file gives port {b} to /p/second, but /p/first has it\n\
             hint: portclaim allocate /p/second gives it a new one\n\
             warning: the entry /p/bad\\udcff of the registry file is left as it is: its path is not UTF-8\n\
             warning: the entry relative of the registry file is left as it is: its path is not absolute and in normal form\n\
             warning: the entry /p/null of the registry file is left as it is: its value is no port\n\
             {}",
            warns_of_take_over(6, BACKUP)
        ));
    let expected: BTreeMap<u64, String> = [
        (9, "/p/low"),
        (8896, "/p/caf\u{e9}"),
        (u64::from(test.port(1)), "/p/shop"),
        (u64::from(test.port(2)), "/p/first"),
        (u64::from(test.port(4)), "/p/text"),
        (65535, "/p/high"),
    ]
    .map(|(port, path)| (port, path.to_owned()))
    .into();
    assert_eq!(listed(said), expected);
    assert_eq!(test.read(test.root().join(BACKUP)), original.as_bytes());
    assert_eq!(test.backups(), [BACKUP]);

    // All that it cannot use is kept, in its place and as it was spelled.
    let ports: BTreeSet<u64> = expected.keys().copied().collect();
    let taken_over = original
        .replace(&format!("    \"/p/second\": {b},\n"), "")
        .replace(&quoted, &c);
    let at = taken_over.rfind("\n}").expect("it has an end");
    // Lone surrogates are no JSON to serde_json.
    let file = test.text(test.registry());
    let check = file.split("\"check\": \"").nth(1).expect("a checksum");
    let check = &check[..16];
    let ranges = format!("9,8896,{a}-{b},{c},65535");
    assert_eq!(ports.len(), 6);
    assert_eq!(
        test.text(test.registry()),
        format!(
            "{},\n  \"portclaim\": {{\n    \"format\": 1,\n    \"ports\": \"{ranges}\",\n    \"check\": \"{check}\"\n  }}\n}}",
            &taken_over[..at]
        )
    );

    // It is told once.
    assert_eq!(listed(list(&test)), expected);
    for (path, port) in [("/p/low", "9"), ("/p/high", "65535"), ("/p/text", &c)] {
        test.args(["allocate", path])
            .stdout(format!("{port}\n"))
            .stderr(format!("warning: {path} does not exist\n"))
            .run();
    }
    // Port 3 belongs to whoever wrote the entry that cannot be a claim.
    test.args(["allocate", "/p/second"])
        .stdout(format!("{}\n", test.port(5)))
        .stderr("warning: /p/second does not exist\n")
        .run();
    assert_eq!(test.backups(), [BACKUP]);
}

#[test]
fn ports_of_entries_that_can_be_no_claims_do_not_count_as_available() {
    let test = Test::with_ports(2);
    let spared = test.port(0).to_string();
    test.write_registry(python_registry(
        (8888, 9999),
        [("/p/bad\\udcff", spared.as_str())],
        test.port(0),
    ));
    test.args(["index"]).any_stdout().any_stderr().run();
    let json = list(&test).json();
    assert_eq!(json["next_available"], test.port(1), "{json}");
    assert_eq!(json["available"], 1, "{json}");
    test.project("shop", test.port(1));
    let json = list(&test).json();
    assert_eq!(json["next_available"], json!(null), "{json}");
    assert_eq!(json["available"], 0, "{json}");
}

#[test]
fn the_first_command_takes_the_registry_over_whichever_it_is() {
    for args in [
        &["list"][..],
        &["show", "/p/shop"],
        &["allocate", "/p/shop"],
        &["check", "9"],
        &["who", "9"],
        &["remove", "/p/blog"],
        &["index"],
        &["doctor", "--fix"],
        &["allocate", "."],
    ] {
        let test = Test::new();
        let original = python_registry((8888, 9999), [("/p/shop", "9"), ("/p/blog", "11")], 12);
        test.write_registry(&original);
        let said = test
            .args(args)
            .code(i32::from(args[0] == "check"))
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(
            test.read(test.root().join(BACKUP)),
            original.as_bytes(),
            "{args:?}"
        );
        let told = said.stderr.matches("warning: took ").count();
        assert_eq!(told, 1, "{args:?} tells it once: {}", said.stderr);
        let claims = listed(list(&test));
        assert_eq!(claims[&9], "/p/shop", "{args:?}");
        assert_eq!(claims.contains_key(&11), args[0] != "remove", "{args:?}");
    }
}

#[test]
fn a_reset_takes_the_python_registry_with_it() {
    let test = Test::new();
    let original = python_registry((8888, 9999), [("/p/shop", "9"), ("/p/blog", "11")], 12);
    test.write_registry(&original);
    test.args(["reset", "--yes"])
        .stdout("released 2 ports; the old state is in [HOME]/.config/litellm/backups/1\n")
        .any_stderr()
        .run();
    assert_eq!(test.read(test.root().join(BACKUP)), original.as_bytes());
    assert!(listed(list(&test)).is_empty());
}

#[test]
fn a_backup_is_never_overwritten() {
    let test = Test::new();
    let root = test.root();
    test.write(root.join(BACKUP), "mine");
    test.write(root.join("port_registry.json.backup.1"), "mine too");
    fs::create_dir(root.join("port_registry.json.backup.2")).expect("it is new");
    let original = python_registry((8888, 9999), [("/p/shop", "9")], 12);
    test.write_registry(&original);
    list(&test)
        .stderr(warns_of_take_over(1, "port_registry.json.backup.3"))
        .json();
    assert_eq!(test.read(root.join(BACKUP)), b"mine");
    assert_eq!(
        test.read(root.join("port_registry.json.backup.1")),
        b"mine too"
    );
    assert_eq!(
        test.read(root.join("port_registry.json.backup.3")),
        original.as_bytes()
    );
    // The same file again is not kept twice.
    test.write_registry(&original);
    list(&test).any_stderr().json();
    assert_eq!(test.backups().len(), 4, "{:?}", test.backups());
}

#[test]
fn a_taken_over_registry_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let test = Test::new();
    test.write_registry(python_registry((8888, 9999), [("/p/shop", "9")], 12));
    test.args(["index"]).any_stdout().any_stderr().run();
    let mode = |path: &std::path::Path| {
        let meta = path.metadata().expect("it exists");
        meta.permissions().mode() & 0o777
    };
    for name in ["ports", "projects", "staging", "index"] {
        assert_eq!(mode(&test.root().join(name)), 0o700, "{name}");
    }
    for path in test.records().keys() {
        assert_eq!(mode(path) & !0o600, 0, "{path:?}");
    }
    assert_eq!(mode(&test.registry()), 0o600);
}

#[test]
fn sixteen_processes_at_once_take_a_registry_over_once() {
    for _ in 0..4 {
        let test = Test::with_ports(32);
        let ports: Vec<String> = (0..20).map(|index| test.port(index).to_string()).collect();
        let paths: Vec<String> = (0..20).map(|index| format!("/p/{index:02}")).collect();
        let mappings = paths.iter().zip(&ports);
        let original = python_registry(
            (8888, 9999),
            mappings
                .clone()
                .map(|(path, port)| (path.as_str(), port.as_str())),
            test.port(20),
        );
        test.write_registry(&original);
        let answers = test.at_once(paths[..16].iter().map(|path| ["show", path]));
        for (answer, port) in answers.iter().zip(&ports) {
            assert_eq!(answer.stdout.trim_end(), port, "{}", answer.stderr);
            assert_eq!(answer.code, Some(0), "{}", answer.stderr);
            let others = answer.stderr.contains(", but ");
            assert!(!others, "nobody else has a port: {}", answer.stderr);
        }
        let expected: BTreeMap<u64, String> = mappings
            .map(|(path, port)| (port.parse().expect("a port"), path.clone()))
            .collect();
        assert_eq!(listed(list(&test)), expected);
        assert_eq!(test.backups(), [BACKUP]);
        assert_eq!(test.read(test.root().join(BACKUP)), original.as_bytes());
        test.assert_healthy();
    }
}

#[test]
fn newcomers_during_a_take_over_get_none_of_the_old_ports() {
    let test = Test::with_ports(32);
    let ports: Vec<String> = (0..12).map(|index| test.port(index).to_string()).collect();
    let paths: Vec<String> = (0..12).map(|index| format!("/p/{index:02}")).collect();
    let mappings = paths.iter().zip(&ports);
    let original = python_registry(
        (8888, 9999),
        mappings.map(|(path, port)| (path.as_str(), port.as_str())),
        // As if it had wrapped: the search begins at ports that are taken.
        test.port(0),
    );
    test.write_registry(&original);
    let newcomers: Vec<String> = (0..16).map(|index| format!("new{index}")).collect();
    for name in &newcomers {
        test.mkdir(name);
    }
    let answers = test.at_once(newcomers.iter().map(|name| ["allocate", name]));
    let told: BTreeSet<String> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.code, Some(0), "{}", answer.stderr);
            answer.stdout.trim_end().to_owned()
        })
        .collect();
    assert_eq!(told.len(), 16, "{told:?}");
    for port in &ports {
        assert!(!told.contains(port), "{port} is an old project's");
    }
    let claims = listed(list(&test));
    assert_eq!(claims.len(), 28, "{claims:?}");
    for (path, port) in paths.iter().zip(&ports) {
        assert_eq!(&claims[&port.parse().expect("a port")], path);
    }
    assert_eq!(test.backups(), [BACKUP]);
}

#[test]
fn what_a_running_python_copy_adds_becomes_a_claim() {
    let test = Test::of_projects(&["shop"]);
    let added = test.port(1);
    add(&test, "/p/py", added);
    test.args(["show", "/p/py"])
        .stdout(format!("{added}\n"))
        .stderr(format!(
            "warning: /p/py has port {added} now, as somebody wrote into the registry file\n"
        ))
        .run();
    assert!(test.claim(added).exists());
    test.assert_shows("/p/py", added);
    test.args(["allocate", "/p/py"])
        .stdout(format!("{added}\n"))
        .stderr("warning: /p/py does not exist\n")
        .run();
    assert!(test.backups().is_empty(), "nothing was taken over");
    test.assert_healthy();
}

#[test]
fn what_a_python_copy_added_is_seen_before_a_port_is_given_out() {
    let test = Test::of_projects(&["shop"]);
    let added = test.port(1);
    add(&test, "/p/py", added);
    test.mkdir("blog");
    test.args(["allocate", "blog"])
        .stdout(format!("{}\n", test.port(2)))
        .stderr_has("/p/py has port")
        .run();
    assert_mappings(
        &test,
        &[
            ("[HOME]/shop", test.port(0)),
            ("/p/py", added),
            ("[HOME]/blog", test.port(2)),
        ],
    );
}

#[test]
fn what_a_python_copy_gave_out_twice_is_reported_and_the_claim_counts() {
    let test = Test::of_projects(&["shop"]);
    let port = test.port(0);
    add(&test, "/p/py", port);
    test.args(["list"])
        .any_stdout()
        .stderr(format!(
            "warning: the registry file gives port {port} to /p/py, but [HOME]/shop has it\n\
             hint: portclaim allocate /p/py gives it a new one\n"
        ))
        .run();
    assert_mappings(&test, &[("[HOME]/shop", port)]);
    test.args(["allocate", "/p/py"])
        .stdout(format!("{}\n", test.port(1)))
        .any_stderr()
        .run();
}

#[test]
fn a_port_that_a_python_copy_took_away_and_gave_to_another_stays_the_first_ones() {
    let test = Test::of_projects(&["shop", "blog"]);
    let port = test.port(0);
    // `remove` of one, and after a wrap `allocate` for the other.
    let shop = test.path("shop");
    let shop = shop.to_str().expect("UTF-8");
    edit(&test, &format!("\"{shop}\": {port},\n    "), "");
    add(&test, "/p/py", port);
    test.args(["list"])
        .any_stdout()
        .stderr(format!(
            "warning: the registry file gives port {port} to /p/py, but [HOME]/shop has it\n\
             hint: portclaim allocate /p/py gives it a new one\n"
        ))
        .run();
    assert_mappings(
        &test,
        &[("[HOME]/shop", port), ("[HOME]/blog", test.port(1))],
    );
}

#[test]
fn a_claim_whose_port_another_wrote_in_front_of_it_stays_in_the_file() {
    let test = Test::of_projects(&["shop"]);
    let port = test.port(0);
    edit(
        &test,
        "\"mappings\": {\n",
        &format!("\"mappings\": {{\n    \"/p/py\": {port},\n"),
    );
    test.args(["list"])
        .any_stdout()
        .stderr_has(format!("the registry file gives port {port} to /p/py"))
        .run();
    assert_mappings(&test, &[("[HOME]/shop", port)]);
}

#[test]
fn what_a_python_copy_removed_comes_back() {
    let test = Test::of_projects(&["shop", "blog"]);
    let shop = test.path("shop");
    let shop = shop.to_str().expect("UTF-8");
    let entry = format!("\"{shop}\": {},\n    ", test.port(0));
    edit(&test, &entry, "");
    test.assert_shows("shop", test.port(0));
    test.args(["list"]).stdout_has("[HOME]/shop").run();
    // At the latest when the file is written anew.
    test.project("new", test.port(2));
    let expected: BTreeMap<String, u64> = ["shop", "blog", "new"]
        .iter()
        .zip(0..)
        .map(|(name, index)| (format!("[HOME]/{name}"), u64::from(test.port(index))))
        .collect();
    assert_eq!(test.mappings(), expected);
    edit(&test, &entry[..entry.len() - 5], "\"/p/x\": null");
    test.args(["index"]).any_stdout().any_stderr().run();
    assert_eq!(test.registry_json()["mappings"][shop], json!(test.port(0)));
}

#[test]
fn a_port_that_another_changed_in_the_file_is_reported_and_put_right() {
    let test = Test::of_projects(&["shop"]);
    edit(
        &test,
        &format!("\": {}\n", test.port(0)),
        &format!("\": {}\n", test.port(3)),
    );
    test.args(["list"])
        .stdout_has(format!("{}\tshop", test.port(0)))
        .stderr(format!(
            "warning: the registry file gives port {} to [HOME]/shop, which has port {}\n",
            test.port(3),
            test.port(0)
        ))
        .run();
    assert_mappings(&test, &[("[HOME]/shop", test.port(0))]);
    assert!(!test.claim(test.port(3)).exists());
}

#[test]
fn where_a_python_copy_went_on_the_search_goes_on() {
    let test = Test::of_projects(&["shop"]);
    edit(
        &test,
        &format!("\"next_available\": {}", test.port(1)),
        &format!("\"next_available\": {}", test.port(4)),
    );
    test.project("blog", test.port(4));
}

/// Contents that no registry has, and how the reason given begins.
fn damages() -> Vec<(Vec<u8>, &'static str)> {
    let sound = python_registry((8888, 9999), [("/p/kept", "9"), ("/p/too", "11")], 12);
    let longer = python_registry((8888, 9999), [("/p/a", "13")], 12);
    let tail = &sound[sound.len() - 90..];
    vec![
        (b"".to_vec(), "it is empty"),
        (b" \n\t ".to_vec(), "it is empty"),
        (vec![0; 512], "it is not JSON"),
        (
            b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe".to_vec(),
            "it is not UTF-8 from byte 10 on",
        ),
        (b"{}".to_vec(), "it has no \"mappings\""),
        (b"[]".to_vec(), "it is not a JSON object"),
        (b"null".to_vec(), "it is not a JSON object"),
        (b"8888".to_vec(), "it is not a JSON object"),
        (b"\"mappings\"".to_vec(), "it is not a JSON object"),
        (
            b"{\"mappings\": []}".to_vec(),
            "its \"mappings\" are not an object",
        ),
        (
            b"{\"mappings\": null}".to_vec(),
            "its \"mappings\" are not an object",
        ),
        (b"{\"mappings\": {}, }".to_vec(), "it is not JSON"),
        (b"hello".to_vec(), "it is not JSON"),
        (
            [longer.as_bytes(), tail.as_bytes()].concat(),
            "there is something else behind its end",
        ),
        (
            [b"\xef\xbb\xbf", sound.as_bytes()].concat(),
            "it is not JSON",
        ),
        (sound.replace('p', "\u{0}").into_bytes(), "it is not JSON"),
        ("[".repeat(100_000).into_bytes(), "it is not a JSON object"),
        (
            format!(
                "{{\"mappings\": {{}}, \"x\": {}{}}}",
                "[".repeat(2000),
                "]".repeat(2000)
            )
            .into_bytes(),
            "it is nested too deep",
        ),
    ]
}

#[test]
fn every_kind_of_damage_is_backed_up_and_mended_from_the_claims() {
    for (damage, why) in damages() {
        let test = Test::of_projects(&["shop", "blog"]);
        let before = test.records();
        test.write_registry(&damage);
        let (claims, stderr) = listed_and_told(list(&test)
            .stderr_has(format!(
                "warning: the registry file [HOME]/.config/litellm/port_registry.json is damaged ({why}"
            ))
            .stderr_has(format!(
                "hint: the damaged file is kept as [HOME]/.config/litellm/{BACKUP}\n"
            )));
        assert_eq!(
            stderr.matches("is damaged").count(),
            1,
            "it is told once: {stderr}"
        );
        for index in 0..2 {
            let name = ["[HOME]/shop", "[HOME]/blog"][usize::from(index)];
            let port = u64::from(test.port(index));
            assert_eq!(claims[&port], name, "{why}");
            assert_eq!(test.mappings()[name], port, "{why}");
        }
        assert_eq!(test.read(test.root().join(BACKUP)), damage, "{why}");
        for (path, bytes) in before {
            assert_eq!(test.read(path), bytes, "{why}");
        }
        list(&test).json();
        test.assert_healthy();
    }
}

#[test]
fn every_command_that_gives_or_names_a_port_survives_a_damaged_file() {
    for args in [
        &["list"][..],
        &["allocate", "new"],
        &["allocate", "shop"],
        &["show", "shop"],
        &["remove", "shop"],
        &["index"],
        &["reset", "--yes"],
        &["doctor", "--fix"],
    ] {
        let test = Test::of_projects(&["shop"]);
        test.mkdir("new");
        test.write_registry("{\"mappings\": {\"/p/x\": 9");
        test.args(args).any_stdout().any_stderr().run();
        test.args(["list"]).any_stdout().any_stderr().run();
        assert_eq!(
            test.read(test.root().join(BACKUP)),
            b"{\"mappings\": {\"/p/x\": 9",
            "{args:?}"
        );
        // A number at the very end may have been a longer one.
        assert!(!test.claim(9).exists(), "{args:?}");
    }
}

#[test]
fn a_registry_that_is_truncated_anywhere_loses_no_claim() {
    let test = Test::of_projects(&["shop", "blog"]);
    let sound = test.read(test.registry());
    let expected: BTreeMap<String, u64> = [
        ("[HOME]/shop".to_owned(), u64::from(test.port(0))),
        ("[HOME]/blog".to_owned(), u64::from(test.port(1))),
    ]
    .into();
    for len in (0..sound.len()).step_by(3).chain([sound.len() - 1]) {
        test.write_registry(&sound[..len]);
        test.args(["index"])
            .any_stdout()
            .stderr_has("is damaged")
            .run();
        assert_eq!(test.mappings(), expected, "cut at {len}");
        assert_eq!(test.read(test.root().join(BACKUP)), &sound[..len]);
        fs::remove_file(test.root().join(BACKUP)).expect("it is there");
    }
    assert_eq!(test.records().len(), 4);
}

#[test]
fn of_a_truncated_python_registry_is_kept_whatever_can_be_read() {
    let original = python_registry(
        (8888, 9999),
        [("/p/a", "8001"), ("/p/b", "8002"), ("/p/c", "8003")],
        8004,
    );
    let ends: Vec<usize> = ["8001", "8002", "8003"]
        .iter()
        .map(|port| original.find(port).expect("it is there") + 5)
        .collect();
    for len in (0..original.len()).step_by(5).chain(ends.iter().copied()) {
        let test = Test::new();
        test.write_registry(&original[..len]);
        let whole = ends.iter().filter(|&&end| end <= len).count();
        let expected: BTreeMap<u64, String> = [(8001, "/p/a"), (8002, "/p/b"), (8003, "/p/c")]
            [..whole]
            .iter()
            .map(|&(port, path)| (port, path.to_owned()))
            .collect();
        let (claims, stderr) = listed_and_told(list(&test).any_stderr());
        assert_eq!(claims, expected, "cut at {len}");
        assert!(stderr.contains("is damaged"), "cut at {len}: {stderr}");
        assert_eq!(
            test.read(test.root().join(BACKUP)),
            &original.as_bytes()[..len]
        );
    }
}

#[test]
fn the_tail_of_a_longer_file_gives_its_mappings_back() {
    // What is left where a shorter file was written over a longer one in place.
    let test = Test::new();
    let old = python_registry(
        (8888, 9999),
        [
            ("/p/one", "8001"),
            ("/p/two", "8002"),
            ("/p/three", "8003"),
            ("/p/four", "8004"),
        ],
        8005,
    );
    let new = python_registry((8888, 9999), [("/p/one", "8001")], 8002);
    let mut mixed = old.clone().into_bytes();
    mixed[..new.len()].copy_from_slice(new.as_bytes());
    test.write_registry(&mixed);
    let (claims, stderr) = listed_and_told(list(&test).any_stderr());
    assert!(
        stderr.contains("there is something else behind its end"),
        "{stderr}"
    );
    for (port, path) in [(8001, "/p/one"), (8004, "/p/four")] {
        assert_eq!(
            claims.get(&port).map(String::as_str),
            Some(path),
            "{claims:?}"
        );
    }
}

#[test]
fn a_next_port_that_is_missing_or_none_is_no_damage() {
    let sound = python_registry((8888, 9999), [("/p/a", "8001")], 8002);
    for text in [
        sound.replace(",\n  \"next_available\": 8002", ""),
        sound.replace("8002", "\"8002\""),
        sound.replace("8002", "null"),
    ] {
        let test = Test::new();
        test.write_registry(&text);
        let (claims, stderr) = listed_and_told(list(&test).any_stderr());
        assert_eq!(claims, [(8001, "/p/a".to_owned())].into());
        assert!(!stderr.contains("damaged"), "{stderr}");
        assert_eq!(test.registry_json()["next_available"], test.port(0));
    }
}

#[test]
fn a_file_that_was_deleted_comes_back() {
    let test = Test::of_projects(&["shop", "blog"]);
    fs::remove_file(test.registry()).expect("it is there");
    test.assert_shows("shop", test.port(0));
    test.args(["list"]).stdout_has("[HOME]/blog").run();
    test.mkdir("new");
    let said = test.args(["allocate", "new"]).any_stdout().run();
    let new: u64 = said.stdout.trim_end().parse().expect("a port");
    let expected: BTreeMap<String, u64> = [
        ("[HOME]/shop", u64::from(test.port(0))),
        ("[HOME]/blog", u64::from(test.port(1))),
        ("[HOME]/new", new),
    ]
    .map(|(path, port)| (path.to_owned(), port))
    .into();
    assert_eq!(test.mappings(), expected);
    fs::remove_file(test.registry()).expect("it is there");
    test.args(["index"]).any_stdout().run();
    assert_eq!(test.mappings(), expected);
}

/// Removes these directories of a registry of three projects, calls, and expects every
/// project to have its port.
fn lost(dirs: &[&str], args: &[&str]) {
    let test = Test::of_projects(&["a", "b", "c"]);
    for dir in dirs {
        fs::remove_dir_all(test.root().join(dir)).expect("it is there");
    }
    let said = test.args(args).any_stdout().any_stderr().run();
    if matches!(args, ["show" | "allocate", _]) {
        assert_eq!(
            said.stdout,
            format!("{}\n", test.port(1)),
            "{args:?} without {dirs:?}: {}",
            said.stderr
        );
    }
    for (name, index) in ["a", "b", "c"].iter().zip(0..) {
        let said = test
            .args(["allocate", name])
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(
            said.stdout,
            format!("{}\n", test.port(index)),
            "{name} after {args:?} without {dirs:?}: {}",
            said.stderr
        );
    }
    test.args(["doctor", "--fix"])
        .any_stdout()
        .any_stderr()
        .run();
    test.assert_healthy();
    assert_eq!(listed(list(&test)).len(), 3);
}

const FIRST_CALLS: [&[&str]; 5] = [
    &["list"],
    &["show", "b"],
    &["allocate", "b"],
    &["index"],
    &["doctor", "--fix"],
];

#[test]
fn where_claims_and_commits_are_deleted_the_file_gives_the_ports_back() {
    for args in FIRST_CALLS {
        lost(&["ports", "projects"], args);
        lost(&["ports", "projects", "staging", "index"], args);
    }
}

#[test]
fn where_the_claims_alone_are_deleted_every_project_gets_its_port_again() {
    for args in FIRST_CALLS {
        lost(&["ports"], args);
    }
}

#[test]
fn where_the_commits_alone_are_deleted_every_project_gets_its_port_again() {
    for args in FIRST_CALLS {
        lost(&["projects"], args);
    }
}

#[test]
fn one_claim_that_was_deleted_comes_back_with_its_port() {
    let test = Test::of_projects(&["a", "b", "c"]);
    fs::remove_file(test.claim(test.port(1))).expect("it is there");
    test.args(["allocate", "b"])
        .stdout(format!("{}\n", test.port(1)))
        .run();
    test.assert_healthy();
}

#[test]
fn a_file_that_was_copied_to_another_machine_brings_its_ports_along() {
    let old = Test::new();
    old.project("shop", old.port(0));
    let new = Test::new();
    new.write_registry(old.read(old.registry()));
    let (claims, _) = listed_and_told(list(&new).any_stderr());
    assert_eq!(
        claims.keys().copied().collect::<Vec<u64>>(),
        [u64::from(old.port(0))]
    );
}

#[test]
fn a_registry_file_that_is_a_symbolic_link_is_where_it_leads() {
    let test = Test::new();
    test.write(
        "dotfiles/ports.json",
        python_registry((8888, 9999), [("/p/shop", "9")], test.port(0)),
    );
    fs::create_dir_all(test.root()).expect("it is new");
    symlink("../../dotfiles/ports.json", test.registry()).expect("a link can be made");
    test.args(["show", "/p/shop"])
        .stdout("9\n")
        .any_stderr()
        .run();
    test.project("shop", test.port(0));
    let link = test.registry().symlink_metadata().expect("it is there");
    assert!(link.is_symlink(), "the link stays one");
    assert!(test.path("dotfiles/ports/9.claim").exists());
    assert!(test.path("dotfiles/ports.json.backup").exists());
    assert!(!test.root().join("ports").exists());
    let file = test.text("dotfiles/ports.json");
    assert!(file.contains("[HOME]/shop"), "{file}");
    test.args(["show", "shop", "--registry", "dotfiles/ports.json"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn the_file_of_a_reset_can_be_put_back() {
    let test = Test::of_projects(&["shop", "blog"]);
    test.args(["remove", "shop"]).any_stdout().run();
    test.project("shop", test.port(2));
    let before = test.mappings();
    test.args(["reset", "--yes"]).any_stdout().run();
    let kept = test.root().join("backups/1/port_registry.json");
    let file = test.text(&kept);
    assert!(
        !file.contains("portclaim"),
        "the Python system can read it: {file}"
    );
    fs::copy(&kept, test.registry()).expect("it can be copied");
    list(&test).stderr(warns_of_take_over(2, BACKUP)).json();
    assert_eq!(test.mappings(), before);
    test.assert_shows("shop", test.port(2));
    test.assert_healthy();
}

#[test]
fn the_whole_backup_of_a_reset_can_be_put_back() {
    let test = Test::of_projects(&["shop", "blog"]);
    let (before, claims) = (test.mappings(), test.records());
    test.args(["reset", "--yes"]).any_stdout().run();
    test.shell("cd \"$HOME/.config/litellm\" && cp -R backups/1/. .")
        .run();
    list(&test).any_stderr().json();
    assert_eq!(test.records(), claims);
    assert_eq!(test.mappings(), before);
    test.assert_healthy();
}

#[test]
fn a_file_of_a_later_format_is_not_taken_for_damage() {
    let test = Test::of_projects(&["shop"]);
    edit(&test, "\"format\": 1", "\"format\": 2");
    let (claims, stderr) = listed_and_told(list(&test).any_stderr());
    assert!(!stderr.contains("damaged"), "{stderr}");
    assert_eq!(claims.len(), 1);
}
