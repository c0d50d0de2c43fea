//! `portclaim.toml`: a project's and the user's, and files that are none.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Call, NOBODY, Test, chmod, entries};

const USER: &str = ".config/litellm/portclaim.toml";
const PROJECT: &str = "shop/portclaim.toml";

/// A home with a project `shop` that has this file.
fn with_project(file: &str) -> Test {
    let test = Test::new();
    test.write(PROJECT, file);
    test
}

fn lines(test: &Test, indices: impl IntoIterator<Item = u16>) -> String {
    let lines = indices
        .into_iter()
        .map(|index| format!("{}\n", test.port(index)));
    lines.collect()
}

impl Test {
    /// Asserts that a call prints the ports of these indices, and nothing else.
    #[track_caller]
    fn tells<const ARGS: usize, const PORTS: usize>(
        &self,
        args: [&str; ARGS],
        indices: [u16; PORTS],
    ) {
        self.args(args).stdout(lines(self, indices)).run();
    }

    /// Prepares a call that no variable tells of a range.
    fn by_file<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call<'_> {
        self.args(args)
            .without_env("INTERCEPTOR_PORT_MIN")
            .without_env("INTERCEPTOR_PORT_MAX")
    }
}

#[test]
fn a_projects_services_are_what_it_is_given_ports_for() {
    let test = with_project("services = [\"web\", \"db\"]\n");
    test.project("shop/inner", test.port(0));
    for _ in 0..2 {
        test.tells(["allocate", "shop"], [1, 2]);
        test.args(["allocate"])
            .cwd("shop")
            .stdout(lines(&test, [1, 2]))
            .run();
    }
    test.tells(["show", "shop"], [1, 2]);
    assert_eq!(
        test.args(["show", "shop", "--json"]).json()["claims"][1]["service"],
        json!("db")
    );
    // Whoever names one means it.
    test.tells(["allocate", "shop", "--service", "x"], [3]);
    test.tells(["show", "shop", "--service", "db"], [2]);
    test.args(["allocate", "shop", "--count", "2"])
        .stderr("error: --count and --port are for one service at a time\nhint: name it: --service NAME\n")
        .code(2)
        .run();
    test.args(["remove", "shop"])
        .stdout(format!(
            "{} [HOME]/shop (web)\n{} [HOME]/shop (db)\n",
            test.port(1),
            test.port(2)
        ))
        .run();
    test.args(["env", "shop", "--allocate"])
        .stdout_has("export DB_PORT='")
        .stdout_has("export WEB_PORT='")
        .stdout_has("export X_PORT='")
        .run();
    test.assert_healthy();
}

#[test]
fn what_a_project_had_before_its_services_were_listed_is_given_back_with_them() {
    let test = Test::of_projects(&["shop"]);
    test.write(PROJECT, "services = [\"web\"]");
    test.tells(["allocate", "shop"], [1]);
    test.args(["remove", "shop"])
        .stdout(format!(
            "{} [HOME]/shop (web)\n{} [HOME]/shop\n",
            test.port(1),
            test.port(0)
        ))
        .run();
}

#[test]
fn a_pin_is_given_or_refused_with_its_holder() {
    let test = Test::new();
    let [first, pin, band] = [test.port(0), test.port(5), test.port(6)];
    let file =
        format!("services = [\"web\", \"db\"]\nport = {band}\n[pins]\ndb = {first}\nweb = {pin}\n");
    test.write(PROJECT, &file);
    test.tells(["allocate", "shop"], [5, 0]);
    test.tells(["allocate", "shop", "--service", "web"], [5]);
    test.write("blog/portclaim.toml", format!("port = {pin}"));
    test.args(["allocate", "blog"])
        .stderr_has(format!("error: port {pin} is taken by [HOME]/shop (web)\n"))
        .code(1)
        .run();
    // A flag is stronger.
    let port = test.port(3).to_string();
    test.tells(["allocate", "blog", "--port", &port], [3]);
    test.args(["allocate", "blog"])
        .stderr_has(format!("[HOME]/blog has port {port} already"))
        .stderr_has("hint: portclaim remove")
        .code(1)
        .run();
    test.tells(["show", "blog"], [3]);
    test.assert_healthy();
}

#[test]
fn what_is_pinned_is_given_to_no_other_service_by_chance() {
    let test = Test::new();
    let first = test.port(0);
    test.write(
        PROJECT,
        format!("services = [\"web\", \"db\"]\npins = {{ db = {first} }}"),
    );
    test.tells(["allocate", "shop"], [1, 0]);
}

#[test]
fn a_pin_that_another_service_of_the_project_has_is_told_to_be_that_ones() {
    let test = Test::new();
    test.mkdir("shop");
    let pin = test.port(0);
    let call = test.args(["allocate", "shop", "--service", "db"]);
    call.stdout(format!("{pin}\n")).run();
    test.write(
        "shop/portclaim.toml",
        format!("services = [\"web\", \"db\"]\npins = {{ web = {pin} }}\n"),
    );
    let call = test.args(["allocate", "shop"]).code(1);
    call.stderr_has(format!("port {pin} is taken by [HOME]/shop (db)"))
        .run();
}

#[test]
fn the_configuration_is_no_registry_file() {
    let test = Test::of_projects(&["shop"]);
    let written = "exclude-known = true\n";
    let path = test.write("port/portclaim.toml", written);
    let (to_it, by_name) = (
        test.path("port/link.json"),
        test.path("linked/portclaim.toml"),
    );
    symlink("portclaim.toml", &to_it).expect("it is not there");
    let kept = test.write("kept.toml", written);
    test.mkdir("linked");
    symlink(&kept, &by_name).expect("it is not there");
    for (registry, told) in [
        (&to_it, "port/portclaim.toml"),
        (&path, "port/portclaim.toml"),
        (&by_name, "linked/portclaim.toml"),
    ] {
        for args in [
            &["allocate", "shop"][..],
            &["list"],
            &["index"],
            &["doctor", "--fix"],
        ] {
            test.args(args)
                .env("PORT_REGISTRY_PATH", registry)
                .stderr_has(format!("[HOME]/{told}\" cannot be used"))
                .stderr_has("this name is that of the user's configuration")
                .stderr_has("hint: name the registry file: --registry FILE")
                .code(2)
                .run();
        }
    }
    assert_eq!(test.text(&path), written);
    assert_eq!(test.text(&kept), written);
    assert_eq!(entries(&test.path("port")), [to_it, path]);
}

#[test]
fn a_user_keeps_pins_and_automatic_ports_apart() {
    let test = Test::new();
    let user = format!("pins = \"{}-{}\"\n", test.port(0), test.port(2));
    test.write(USER, user);
    test.write(PROJECT, format!("port = {}", test.port(1)));
    test.write("blog/portclaim.toml", format!("port = {}", test.port(4)));
    test.mkdir("wiki");
    test.tells(["allocate", "wiki"], [3]);
    test.tells(["allocate", "shop"], [1]);
    test.args(["allocate", "blog"])
        .stderr(format!(
            "error: [HOME]/blog/portclaim.toml: [HOME]/blog is pinned to port {}, and [HOME]/{USER} lets pins be \
             in {}-{} only\nhint: change the pin, or the band; portclaim allocate --port gives \
             it the port all the same\n",
            test.port(4),
            test.port(0),
            test.port(2)
        ))
        .code(2)
        .run();
    // What it has already it keeps.
    let port = test.port(4).to_string();
    test.tells(["allocate", "blog", "--port", &port], [4]);
    test.tells(["allocate", "blog"], [4]);
    test.args(["list"])
        .stdout_has("Available ports:  3\n")
        .run();
    test.assert_healthy();
}

#[test]
fn a_user_keeps_picks_in_a_band() {
    let test = Test::new();
    let [low, first, last, high] = [2, 3, 5, 6].map(|index| test.port(index));
    test.write(USER, format!("picks = \"{first}-{last}\"\n"));
    for project in ["shop", "blog", "wiki", "store"] {
        test.mkdir(project);
    }
    test.tells(["allocate", "shop"], [3]);
    test.args(["list"])
        .stdout_has(format!("Port range:       {first}-{last}\n"))
        .stdout_has("Available ports:  2\n")
        .run();
    // A project's range is cut, and so is one that is leased from.
    test.write(
        "blog/portclaim.toml",
        format!("range = \"{low}-{}\"", first + 1),
    );
    test.by_file(["allocate", "blog"])
        .stdout(lines(&test, [4]))
        .run();
    let run = ["run", "--lease", "--", "sh", "-c", "echo $PORT"];
    test.args(run)
        .env("PATH", "/usr/bin:/bin")
        .stdout(lines(&test, [5]))
        .run();
    test.args(["allocate", "wiki", "--count", "2"])
        .stderr_has("2 free ports in a row")
        .code(1)
        .run();
    // Nothing is left of this one.
    test.write("wiki/portclaim.toml", format!("range = \"{high}-{high}\""));
    test.by_file(["allocate", "wiki"])
        .stderr(format!(
            "error: no port can be picked from {high}-{high}: [HOME]/{USER} lets picks be in {first}-{last} only\nhint: change the \
             range, or the band; portclaim allocate --port gives any port\n"
        ))
        .code(2)
        .run();
    let (bound, low) = (high.to_string(), low.to_string());
    test.args(["allocate", "store", "--port-min", &bound])
        .stderr_has(format!(
            "from {bound}-{}: [HOME]/{USER} lets picks be in",
            test.port(7)
        ))
        .code(2)
        .run();
    test.tells(["allocate", "store", "--port", &low], [2]);
    test.assert_healthy();
}

#[test]
fn a_band_for_picks_is_the_range_where_none_is_named() {
    let test = Test::new();
    let band = format!("{}-{}", test.port(3), test.port(5));
    test.write(USER, format!("picks = \"{band}\"\n"));
    test.by_file(["list"])
        .stdout_has(format!("Port range:       {band}\n"))
        .run();
    let bound = test.port(4).to_string();
    test.by_file(["list", "--port-min", &bound])
        .stdout_has(format!("Port range:       {bound}-{}\n", test.port(5)))
        .run();
}

#[test]
fn no_pin_is_in_the_band_for_picks() {
    let test = Test::new();
    let band = format!("{}-{}", test.port(3), test.port(5));
    let user = format!("picks = \"{band}\"\npins = \"{}\"\n", test.port(0));
    test.write(USER, &user);
    test.write(PROJECT, format!("port = {}", test.port(0)));
    test.tells(["allocate", "shop"], [0]);
    // Where pins may be anywhere else.
    test.write(USER, format!("picks = \"{band}\"\n"));
    test.write("blog/portclaim.toml", format!("port = {}", test.port(4)));
    test.args(["allocate", "blog"])
        .stderr(format!(
            "error: [HOME]/blog/portclaim.toml: [HOME]/blog is pinned to port {}, and [HOME]/{USER} lets no pin be in {band}\nhint: \
             change the pin, or the band; portclaim allocate --port gives it the port all the same\n",
            test.port(4)
        ))
        .code(2)
        .run();
    let port = test.port(4).to_string();
    test.tells(["allocate", "blog", "--port", &port], [4]);
    test.tells(["allocate", "blog"], [4]);
    test.write(
        "blog/portclaim.toml",
        format!("pins = {{ web = {} }}", test.port(7)),
    );
    test.tells(["allocate", "blog", "--service", "web"], [7]);
    test.assert_healthy();
}

#[test]
fn bands_from_which_nothing_can_be_picked_are_errors_with_the_line() {
    let test = Test::new();
    for (text, line, why) in [
        (
            "pins = \"20-30\"\npicks = \"30-40\"",
            2,
            "picks and pins have ports in common",
        ),
        (
            "picks = \"10-40\"\n\npins = \"20\"",
            1,
            "picks and pins have ports in common",
        ),
        (
            "# mine\nrange = \"10-19\"\npicks = \"20-30\"",
            3,
            "picks and range have no port in common",
        ),
        (
            "pins = \"1-9\"\npicks = \"30-20\"",
            2,
            "30-20 is no range of ports",
        ),
        ("picks = [20, 30]", 1, "expected a port or a range"),
        ("pins = \"1-9\"\npick = 20", 2, "unknown field `pick`"),
    ] {
        test.write(USER, text);
        for verb in ["allocate", "list"] {
            test.args([verb])
                .stderr_has(format!("error: [HOME]/{USER}:{line}: "))
                .stderr_has(why)
                .stderr_has("hint: ")
                .code(2)
                .run();
        }
    }
    // One port in common is enough; a project has no such member.
    test.write(
        USER,
        format!(
            "range = \"{0}\"\npicks = \"{0}\"\npins = {1}",
            test.port(0),
            test.port(1)
        ),
    );
    test.mkdir("blog");
    test.tells(["allocate", "blog"], [0]);
    test.write(PROJECT, "picks = \"20-30\"");
    test.args(["allocate", "shop"])
        .stderr_has(format!("error: [HOME]/{PROJECT}:1: unknown field `picks`"))
        .code(2)
        .run();
}

#[test]
fn ports_are_excluded_by_project_and_user() {
    let test = Test::new();
    let [a, b, c, d] = [0, 2, 3, 5].map(|index| test.port(index));
    test.write(USER, format!("exclude = [{a}, \"{b}-{c}\"]"));
    test.write(
        PROJECT,
        format!("services = [\"a\", \"b\", \"c\"]\nexclude = [\"{d}\"]"),
    );
    test.tells(["allocate", "shop"], [1, 4, 6]);
    test.args(["list"])
        .stdout_has("Available ports:  2\n")
        .run();
    let port = test.port(0).to_string();
    test.args(["allocate", "x", "--port", &port])
        .any_stderr()
        .stdout(lines(&test, [0]))
        .run();
    test.mkdir("y");
    test.args(["allocate", "y", "--count", "3"])
        .stderr_has("no 3 free ports in a row")
        .code(1)
        .run();
    test.tells(["allocate", "y", "--count", "1"], [7]);
    test.mkdir("z");
    test.tells(["allocate", "z"], [5]);
    test.mkdir("full");
    test.args(["allocate", "full"])
        .stderr_has("of 8 ports, 5 are claimed and 0 in use by programs without a claim, and 3 are excluded\n")
        .stderr_has("range in portclaim.toml")
        .code(1)
        .run();
    test.assert_healthy();
}

#[test]
fn ports_of_known_use_are_excluded_as_a_set() {
    let test = Test::new();
    test.write(USER, "exclude-known = true\nrange = \"6664-6670\"");
    let free = |test: &Test| {
        let json = test.by_file(["list", "--json"]).json();
        assert_eq!(json["range"], json!({"min": 6664, "max": 6670}));
        json["available"].clone()
    };
    assert_eq!(free(&test), json!(2));
    test.write(USER, "exclude-known = false\nrange = \"6664-6670\"");
    assert_eq!(free(&test), json!(7));
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_files() {
    let test = Test::new();
    test.write(
        USER,
        format!("range = \"{}-{}\"", test.port(6), test.port(7)),
    );
    test.write(
        PROJECT,
        format!("range = \"{}-{}\"", test.port(4), test.port(5)),
    );
    test.mkdir("blog");
    test.by_file(["allocate", "blog"])
        .stdout(lines(&test, [6]))
        .run();
    test.by_file(["allocate", "shop", "--service", "a"])
        .stdout(lines(&test, [4]))
        .run();
    // The registry file shows the user's range, whatever a project has.
    assert_eq!(
        test.registry_json()["port_range"]["start"],
        json!(test.port(6))
    );
    let port = test.port(5).to_string();
    test.by_file(["allocate", "shop", "--service", "b", "--port-min", &port])
        .stdout(lines(&test, [5]))
        .run();
    test.tells(["allocate", "shop", "--service", "c"], [7]);
    let low = test.port(0).to_string();
    test.by_file(["allocate", "shop", "--service", "d", "--port-max", &low])
        .stderr_has("is no range of ports")
        .stderr_has("or range in portclaim.toml")
        .code(2)
        .run();
    test.assert_healthy();
}

#[test]
fn a_chosen_range_in_the_kernels_is_warned_of_when_a_port_of_it_is_given() {
    let Some(ephemeral) = portclaim::ephemeral_range() else {
        return crate::harness::skip("the kernel's range", "it is not known here");
    };
    let first = ephemeral.first().get();
    let test = with_project(&format!("range = \"{first}-{}\"", first.saturating_add(99)));
    let call = || test.by_file(["allocate", "shop"]).any_stdout();
    let warning =
        format!("overlaps {ephemeral}, from which the kernel takes ports for outgoing connections");
    call().stderr_has(warning).stderr_has("hint: ").run();
    call().run();
    test.mkdir("blog");
    test.tells(["allocate", "blog"], [0]);
}

#[test]
fn what_a_file_cannot_say_is_refused_with_the_line() {
    let test = Test::new();
    for (text, line, why) in [
        (
            "service = [\"web\"]",
            1,
            "unknown field `service`, expected one of `services`",
        ),
        ("\n\nrange = \"20-10\"", 3, "20-10 is no range of ports"),
        ("range = \"a\"", 1, "\"a\" is no port"),
        (
            "range = true",
            1,
            "expected a port or a range \"FIRST-LAST\"",
        ),
        ("exclude = [\n1,\n70000]", 3, "\"70000\" is no port"),
        ("exclude = [-1]", 1, "is no port"),
        ("exclude = 3306", 1, "invalid type"),
        ("port = 0", 1, "expected a nonzero u16"),
        ("port = \"3000\"", 1, "invalid type"),
        (
            "services = [\"web\", \"$(touch x)\"]",
            1,
            "cannot be a service",
        ),
        ("services = [\"\"]", 1, "cannot be a service"),
        ("services = [\"web+1\"]", 1, "cannot be a service"),
        ("[pins]\nweb = 1\n\"a b\" = 2", 3, "cannot be a service"),
        ("[pins]\nweb = 1\nweb = 2", 3, "duplicate key"),
        ("[pins]\nweb = \"x\"", 2, "invalid type"),
        ("registry = \"/elsewhere\"", 1, "unknown field `registry`"),
        ("exclude-known = true", 1, "unknown field `exclude-known`"),
        ("[x]\ny = 1", 1, "unknown field `x`"),
        ("range = ", 1, ""),
        ("\u{1b}[31m = 1", 1, ""),
        ("\"\\u001b[31m\" = 1", 1, "unknown field `\\u{1b}[31m`"),
        ("{\"a\": 1}", 1, ""),
        ("services = [\"web\"", 1, ""),
    ] {
        test.write(PROJECT, text);
        for verb in ["allocate", "show", "remove", "env"] {
            let said = test
                .args([verb, "shop"])
                .stderr_has(format!("error: [HOME]/{PROJECT}:{line}: "))
                .stderr_has(why)
                .stderr_has("hint: a project's portclaim.toml may have services")
                .code(2)
                .run();
            assert!(!said.stderr.contains('\u{1b}'), "{}", said.stderr);
        }
    }
    for (text, why) in [
        (
            "port = 1\n[pins]\nweb = 2\ndb = 1".to_owned(),
            "two services are pinned to port 1",
        ),
        (
            format!(
                "services = {:?}",
                (0..101)
                    .map(|number| format!("s{number}"))
                    .collect::<Vec<_>>()
            ),
            "at most 100 services",
        ),
    ] {
        test.write(PROJECT, text);
        test.args(["allocate", "shop"])
            .stderr_has(format!("error: [HOME]/{PROJECT}: "))
            .stderr_has(why)
            .code(2)
            .run();
    }
    assert!(!test.root().exists());
    test.write(USER, "# mine\nservices = [\"web\"]");
    for verb in ["allocate", "list", "doctor"] {
        test.args([verb])
            .stderr_has(format!(
                "error: [HOME]/{USER}:2: unknown field `services`, expected one of"
            ))
            .stderr_has("hint: the user's portclaim.toml, beside the registry file, may have range")
            .code(2)
            .run();
    }
}

#[test]
fn what_is_no_file_to_be_read_is_refused() {
    let test = Test::new();
    test.mkdir("shop");
    for (name, project) in [(PROJECT, "shop"), (USER, "blog")] {
        let refused = |why: &str| {
            test.args(["allocate", project])
                .stderr_has(format!(
                    "error: [HOME]/{name} cannot be used: {why}\nhint: "
                ))
                .code(2)
                .run();
        };
        test.write(name, vec![b'#'; 64 * 1024 + 1]);
        refused("it is longer than 64 KiB");
        test.write(name, b"# \xff\xfe");
        refused("it is not UTF-8");
        let path = test.path(name);
        fs::remove_file(&path).expect("it is there");
        fs::create_dir(&path).expect("a directory");
        refused("it is no regular file");
        fs::remove_dir(&path).expect("it is empty");
        test.shell("mkfifo \"$path\"").env("path", &path).run();
        refused("it is no regular file");
        fs::remove_file(&path).expect("it is there");
        // Deeper than any stack.
        test.write(name, "exclude = ".to_owned() + &"[".repeat(60_000));
        test.args(["allocate", project])
            .stderr_has(format!("error: [HOME]/{name}:1: "))
            .code(2)
            .run();
        fs::remove_file(&path).expect("it is there");
    }
    let real = test.write("real.toml", "services = [\"web\"]\n");
    symlink(&real, test.path(USER)).expect("a link");
    test.args(["list"])
        .stderr_has(format!(
            "[HOME]/{USER} cannot be used: it is a symbolic link"
        ))
        .code(2)
        .run();
    fs::remove_file(test.path(USER)).expect("it is there");
    symlink(&real, test.path(PROJECT)).expect("a link");
    test.args(["allocate", "shop", "--json"])
        .stdout_has("\"service\": \"web\"")
        .run();
    fs::remove_file(test.path(PROJECT)).expect("it is there");
    symlink("portclaim.toml", test.path(PROJECT)).expect("a link to itself");
    test.args(["allocate", "shop"])
        .stderr_has(format!(
            "error: failed to read [HOME]/{PROJECT}\ncaused by: "
        ))
        .code(2)
        .run();
}

#[test]
fn a_file_that_may_not_be_read_is_told_of_and_a_closed_directory_has_none() {
    let test = Test::new();
    if !test.admit(NOBODY, "unreadable configuration") {
        return;
    }
    let path = test.write(PROJECT, "");
    chmod(&path, 0o600);
    let registry = test.mkdir("theirs").join("reg.json");
    chmod(&test.path("theirs"), 0o777);
    let call = || {
        let registry = registry.to_str().expect("UTF-8");
        test.args(["allocate", "shop", "--registry", registry])
            .user(NOBODY)
    };
    call()
        .stderr_has(format!(
            "error: failed to read [HOME]/{PROJECT}\ncaused by: Permission denied"
        ))
        .stderr_has("hint: make the file readable")
        .code(2)
        .run();
    chmod(&test.path("shop"), 0o700);
    call().stdout(lines(&test, [0])).any_stderr().run();
}

#[test]
fn the_registrys_own_directory_is_a_project_without_a_file() {
    let test = Test::new();
    test.write(USER, "exclude-known = true");
    test.args(["allocate"])
        .cwd(".config/litellm")
        .stdout(lines(&test, [0]))
        .run();
}

#[test]
fn a_command_is_run_with_the_ports_that_the_file_lists() {
    let test = Test::new();
    let pin = test.port(5);
    let file = format!(
        "services = [\"web\", \"db\"]\nexclude = [{}]\npins = {{ db = {pin} }}\n",
        test.port(0)
    );
    test.write(PROJECT, file);
    let run = |flags: &[&str]| {
        let shell = ["--", "sh", "-c", "echo $PORT $WEB_PORT $DB_PORT"];
        test.args([&["run"], flags, &shell].concat())
            .env("PATH", "/usr/bin:/bin")
            .cwd("shop")
    };
    let web = test.port(1);
    run(&[]).stdout(format!("{web} {web} {pin}\n")).run();
    run(&["--service", "db"])
        .stdout(format!("{pin} {pin}\n"))
        .run();
    // What is leased is none of the project's own ports.
    let next = test.port(2);
    run(&["--lease", "--service", "db"])
        .stdout(format!("{next} {next}\n"))
        .run();
    test.tells(["allocate", "shop"], [1, 5]);
    test.args(["remove", "shop"]).any_stdout().run();
    test.args(["allocate", "shop", "--ttl", "1h"])
        .any_stdout()
        .run();
    let renewed = test.args(["renew", "shop", "--ttl", "2h", "--json"]).json();
    assert_eq!(renewed["claims"][1]["port"], json!(pin));
    test.assert_healthy();
}
