//! What nobody should do: each time a clear answer with the path in it, and no claim is lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::harness::{Call, NOBODY, Test, chmod, entries, is_root, name_of, python_registry, skip};

/// Writes a file with the mode of a claim.
fn write_private(test: &Test, path: &Path, bytes: impl AsRef<[u8]>) {
    test.write(path, bytes);
    chmod(path, 0o600);
}

/// Makes a FIFO, which std cannot.
fn mkfifo(test: &Test, path: &Path) {
    test.shell(&format!("mkfifo '{}'", path.display())).run();
}

#[test]
fn what_is_no_port_is_refused_wherever_a_port_is_expected() {
    let test = Test::new();
    for text in [
        "0",
        "65536",
        "abc",
        "99999999999999999999",
        "8888.0",
        "+8888",
        " 8888",
        "8888 ",
        "0x22b8",
        "1e3",
        "\u{661}",
    ] {
        for args in [
            &["check", text][..],
            &["who", text],
            &["list", "--port-min", text],
            &["list", "--port-max", text],
        ] {
            test.args(args)
                .stderr_has(format!(
                    "\"{}\" is no port: ports are the numbers 1 to 65535",
                    text.escape_debug()
                ))
                .code(2)
                .run();
        }
    }
    for text in ["", "-1"] {
        for args in [
            ["check", text].as_slice(),
            &["who", text],
            &["list", "--port-min", text],
            &["list", "--port-max", text],
        ] {
            test.args(args).stderr_has("error: ").code(2).run();
        }
    }
    assert!(!test.root().exists());
}

#[test]
fn the_edges_of_the_ports_are_ports() {
    let test = Test::new();
    for (min, max) in [("1", "1"), ("65535", "65535"), ("1", "65535")] {
        test.args(["list", "--port-min", min, "--port-max", max])
            .stdout_has(format!("Port range:       {min}-{max}\n"))
            .run();
    }
}

#[test]
fn a_range_that_is_upside_down_is_an_error_wherever_it_comes_from() {
    let test = Test::new();
    let says = |call: Call<'_>, range: &str| {
        call.stderr_has(format!("error: {range} is no range of ports: "))
            .stderr_has("--port-min")
            .stderr_has("INTERCEPTOR_PORT_MAX")
            .code(2)
            .run();
    };
    for command in ["allocate", "list", "doctor", "show"] {
        says(
            test.args([command, "--port-min", "9001", "--port-max", "9000"]),
            "9001-9000",
        );
        says(
            test.args([command])
                .env("INTERCEPTOR_PORT_MIN", "9001")
                .env("INTERCEPTOR_PORT_MAX", "9000"),
            "9001-9000",
        );
        // Against the default of the other end.
        says(
            test.args([command, "--port-min", "10000"])
                .without_env("INTERCEPTOR_PORT_MAX"),
            "10000-9999",
        );
        says(
            test.args([command, "--port-max", "8000"])
                .without_env("INTERCEPTOR_PORT_MIN"),
            "8888-8000",
        );
    }
    assert!(!test.root().exists());
}

#[test]
fn ports_that_need_privileges_are_counted_as_such() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if !first.is_ok_and(|text| text.trim_end().parse().is_ok_and(|first: u16| first > 3)) {
        skip("privileged ports", "this system has none");
        return;
    }
    let test = Test::new();
    if !test.admit(NOBODY, "privileged ports") {
        return;
    }
    chmod(test.home(), 0o777);
    test.args(["allocate", "--port-min", "1", "--port-max", "3"])
        .user(NOBODY)
        .stderr_has(
            "no port is left in the range 1-3: of 3 ports, 0 are claimed and 0 in use by programs without a \
             claim, and 3 need privileges to bind",
        )
        .code(1)
        .run();
    test.args(["check", "2"])
        .user(NOBODY)
        .stdout("2: not claimed, free, to bind it needs privileges\n")
        .run();
}

/// Calls each of the commands that use a registry.
fn every_command(test: &Test, expect: impl Fn(Call<'_>, &[&str])) {
    for args in [
        &["list"][..],
        &["allocate", "shop"],
        &["show", "shop"],
        &["remove", "shop"],
        &["check", "8888"],
        &["who", "8888"],
        &["index"],
        &["doctor"],
        &["doctor", "--fix"],
        &["reset", "--yes"],
    ] {
        expect(test.args(args), args);
    }
}

#[test]
fn a_registry_path_that_can_be_none_is_refused_by_every_command() {
    let test = Test::new();
    test.mkdir("dir");
    test.mkdir("shop");
    test.write("file", "mine");
    symlink("nowhere", test.path("dangling")).expect("a link can be made");
    symlink("loop", test.path("loop")).expect("a link can be made");
    symlink("dir", test.path("link-to-dir")).expect("a link can be made");
    mkfifo(&test, &test.path("fifo"));
    let _socket = UnixListener::bind(test.path("socket")).expect("a socket can be made");
    let before = entries(test.home());
    for (name, parts) in [
        ("dir", ["\"[HOME]/dir\"", "it is a directory"]),
        ("dir/", ["\"[HOME]/dir/\"", "it is a directory"]),
        ("new/", ["\"[HOME]/new/\"", "it is a directory"]),
        (
            "link-to-dir",
            ["\"[HOME]/link-to-dir\"", "it is a directory"],
        ),
        (
            "dangling",
            ["\"[HOME]/dangling\"", "it is a symbolic link to nothing"],
        ),
        (
            "loop",
            ["\"[HOME]/loop\"", "it is a symbolic link to nothing"],
        ),
        ("file/r.json", ["[HOME]/file", "Not a directory"]),
        ("file/r/r.json", ["[HOME]/file", "Not a directory"]),
    ] {
        every_command(&test, |call, _| {
            call.env("PORT_REGISTRY_PATH", test.path(name))
                .stderr_has("error: ")
                .stderr_has(parts[0])
                .stderr_has(parts[1])
                .stderr_has("hint: ")
                .code(2)
                .run();
        });
        assert_eq!(entries(test.home()), before, "{name}");
    }
    for name in ["fifo", "socket"] {
        for args in [
            &["list"][..],
            &["allocate", "shop"],
            &["show", "shop"],
            &["index"],
            &["doctor"],
        ] {
            test.args(args)
                .env("PORT_REGISTRY_PATH", test.path(name))
                .stderr_has(format!("[HOME]/{name}"))
                .stderr_has("error: ")
                .code(2)
                .run();
        }
        let kind = test.path(name).symlink_metadata().expect("it is there");
        assert!(!kind.is_file(), "{name} stays what it is");
    }
    assert_eq!(test.read("file"), b"mine");
}

#[test]
fn a_registry_is_not_called_like_one_of_its_directories() {
    let test = Test::new();
    for name in [
        "ports",
        "projects",
        "staging",
        "index",
        "quarantine",
        "missing",
        "running",
        "backups",
    ] {
        test.args(["list", "--registry", name])
            .stderr_has(format!("\"{name}\""))
            .stderr_has("this name is that of a directory of the registry")
            .code(2)
            .run();
    }
}

#[test]
fn a_device_is_never_replaced_by_a_registry() {
    let test = Test::new();
    if !is_root() {
        skip("a device as the registry file", "only root can make one");
        return;
    }
    test.mkdir("dev");
    test.mkdir("shop");
    test.shell("mknod dev/null c 1 3").run();
    let device = test.path("dev/null");
    for args in [
        &["list"][..],
        &["allocate", "shop"],
        &["index"],
        &["doctor", "--fix"],
    ] {
        test.args(args)
            .env("PORT_REGISTRY_PATH", &device)
            .stderr_has("[HOME]/dev/null")
            .code(2)
            .run();
        let kind = device.symlink_metadata().expect("it is there").file_type();
        assert!(kind.is_char_device(), "{args:?} replaced it");
    }
}

#[test]
fn a_registry_name_that_is_too_long_is_an_error() {
    let test = Test::new();
    let name = "a".repeat(300);
    test.args(["list", "--registry", &name])
        .stderr_has(&name)
        .stderr_has("error: ")
        .code(2)
        .run();
}

#[test]
fn a_project_path_that_is_too_long_is_an_error() {
    let test = Test::new();
    let long = "/a".repeat(3000);
    for command in ["allocate", "show", "remove"] {
        test.args([command, &long])
            .stderr_has("error: the path \"/a/a/a")
            .stderr_has("it is longer than the system allows")
            .code(2)
            .run();
    }
}

/// A script that fails unless three projects can be asked for.
fn reads_work(test: &Test) -> String {
    format!(
        "test \"$(\"$portclaim\" show shop)\" = {port}\n\
         test \"$(\"$portclaim\" allocate shop)\" = {port}\n\
         \"$portclaim\" list | grep -q wiki\n\
         ! \"$portclaim\" check {port} >/dev/null\n",
        port = test.port(0)
    )
}

/// Prepares a call of a shell script to which the registry is on a read-only file system.
fn read_only<'a>(test: &'a Test, script: &str) -> Option<Call<'a>> {
    let mount = "mount --bind \"$HOME/.config\" \"$HOME/.config\"\n\
                 mount -o remount,ro,bind \"$HOME/.config\"\n";
    test.mounting(&format!("{mount}{script}"), "a read-only file system")
}

#[test]
fn on_a_read_only_file_system_everything_can_be_read_and_nothing_is_changed() {
    let test = Test::of_three();
    test.mkdir("new");
    let before = test.records();
    let readable = reads_work(&test);
    let script = format!(
        "{readable}\
         \"$portclaim\" doctor | grep -q healthy\n\
         for command in 'allocate new' 'remove shop' 'reset --yes'; do\n\
             echo \"== $command\"\n\
             \"$portclaim\" $command 2>&1 && echo 0 || echo $?\n\
         done\n"
    );
    let Some(call) = read_only(&test, &script) else {
        return;
    };
    let said = call.any_stdout().run().stdout;
    for answer in said.split("== ").skip(1) {
        for part in [
            "[HOME]/.config/litellm",
            "Read-only file system",
            "hint: the registry must be writable for this",
        ] {
            assert!(answer.contains(part), "{part} in {answer}");
        }
        assert!(answer.ends_with("\n2\n"), "{answer}");
    }
    assert_eq!(said.matches("== ").count(), 3, "{said}");
    assert_eq!(test.records(), before);
    test.assert_healthy();
}

/// Writes the Python system's registry file of three projects, the third on the first one's port,
/// and returns its text.
fn python_projects(test: &Test) -> String {
    let mapping = |name, index| {
        let path = test.mkdir(name);
        let path = path.to_str().expect("UTF-8").to_owned();
        (path, test.port(index).to_string())
    };
    let mappings = [mapping("shop", 0), mapping("blog", 1), mapping("twin", 0)];
    let mappings = mappings.iter().map(|(path, port)| (&**path, &**port));
    let original = python_registry((test.port(0), test.port(7)), mappings, test.port(2));
    test.write_registry(&original);
    original
}

/// A script that runs these commands one after the other, and prints what each says.
fn one_by_one(commands: &[&str]) -> String {
    let run = |command: &&str| {
        format!(
            "echo '== {command}'; \"$portclaim\" {command} 2>&1 && echo 'exit 0' || echo \"exit $?\"\n"
        )
    };
    commands.iter().map(run).collect()
}

/// The commands that are tried before a take-over, one by one.
fn before_take_over(test: &Test) -> String {
    let check = format!("check {}", test.port(1));
    let commands = ["list", "show shop", "show blog", "show twin", &check];
    one_by_one(&[&commands[..], &["allocate shop", "remove shop"]].concat())
}

/// Asserts that the registry file of [`python_projects`] was read as it is, though nothing could
/// be written, for this reason.
fn assert_read_as_it_is(test: &Test, said: &str, why: &str) {
    let answers: Vec<&str> = said.split("== ").skip(1).collect();
    assert_eq!(answers.len(), 7, "{said}");
    let [first, second, next] = [0, 1, 2].map(|index| test.port(index));
    let ports = format!(
        "PORT\tNAME\tPATH\tLISTENING\tBY\n{first}\tshop\t[HOME]/shop\tno\t\n{second}\tblog\t[HOME]/blog\tno\t\n"
    );
    let expected = [
        (
            format!(
                "Allocated ports:  2\nAvailable ports:  6\nNext available:   {next}\n\n{ports}"
            ),
            0,
        ),
        (format!("show shop\n{first}\n"), 0),
        (format!("show blog\n{second}\n"), 0),
        ("[HOME]/twin has no port\n".to_owned(), 1),
        (
            format!("{second}: claimed by blog ([HOME]/blog), free\n"),
            1,
        ),
        ("error: failed to ".to_owned(), 2),
        ("error: failed to ".to_owned(), 2),
    ];
    let warning = "warning: the registry file [HOME]/.config/litellm/port_registry.json could not be taken over: ";
    for (answer, (text, code)) in answers.iter().zip(expected) {
        assert!(answer.contains(&text), "{text} in {answer}");
        assert!(answer.ends_with(&format!("\nexit {code}\n")), "{answer}");
        assert!(answer.contains(why), "{answer}");
        assert_eq!(
            answer.matches(warning).count(),
            usize::from(code < 2),
            "{answer}"
        );
    }
}

#[test]
fn a_registry_on_a_read_only_file_system_is_read_before_it_was_taken_over() {
    let test = Test::new();
    let original = python_projects(&test);
    let Some(call) = read_only(&test, &before_take_over(&test)) else {
        return;
    };
    let said = call.any_stdout().run().stdout;
    assert_read_as_it_is(&test, &said, "Read-only file system");
    assert_eq!(test.read(test.registry()), original.as_bytes());
    assert_eq!(entries(&test.root()), [test.registry()]);
    test.args(["show", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .stderr_has("took [HOME]/.config/litellm/port_registry.json over: 2 of its projects")
        .run();
}

#[test]
fn a_registry_on_a_full_disk_is_read_before_it_was_taken_over() {
    for (what, option, fill) in [
        (
            "a full disk",
            "size=64k",
            "dd if=/dev/zero of=\"$HOME/.config/fill\" bs=4096 2>/dev/null || true",
        ),
        (
            "a disk without inodes",
            "nr_inodes=20",
            "number=0\n\
             while touch \"$HOME/.config/fill$number\" 2>/dev/null; do number=$((number + 1)); done",
        ),
    ] {
        let test = Test::new();
        let original = python_projects(&test);
        let script = format!(
            "cp -a \"$HOME/.config\" \"$HOME/copy\"\n\
             mount -t tmpfs -o {option} tmpfs \"$HOME/.config\"\n\
             cp -a \"$HOME/copy/.\" \"$HOME/.config\"\n\
             {fill}\n{}\
             cmp \"$HOME/.config/litellm/port_registry.json\" \"$HOME/copy/litellm/port_registry.json\"\n\
             rm \"$HOME/.config/fill\"*\n\
             test \"$(\"$portclaim\" show blog 2>/dev/null)\" = {}\n\
             \"$portclaim\" doctor >/dev/null\n",
            before_take_over(&test),
            test.port(1)
        );
        let Some(call) = test.mounting(&script, what) else {
            return;
        };
        let said = call.any_stdout().run().stdout;
        assert_read_as_it_is(&test, &said, "No space left on device");
        assert_eq!(test.read(test.registry()), original.as_bytes());
    }
}

#[test]
fn a_registry_that_may_not_be_written_is_read_before_it_was_taken_over() {
    let test = Test::new();
    if !test.admit(NOBODY, "a registry that may not be written") {
        return;
    }
    let original = python_projects(&test);
    let script = before_take_over(&test);
    let said = test.shell(&script).user(NOBODY).any_stdout().run().stdout;
    assert_read_as_it_is(&test, &said, "Permission denied");
    assert_eq!(test.read(test.registry()), original.as_bytes());
    assert_eq!(entries(&test.root()), [test.registry()]);
}

#[test]
fn what_others_wrote_is_read_where_it_cannot_become_claims() {
    let test = Test::of_three();
    let late = test.port(5);
    let mut file = test.registry_json();
    file["mappings"]["/p/late"] = late.into();
    // Theirs is the claim's port, whatever somebody wrote.
    file["mappings"]["/p/twin"] = test.port(0).into();
    let shop = test.path("shop");
    file["mappings"][shop.to_str().expect("UTF-8")] = test.port(6).into();
    test.write_registry(file.to_string());
    let script = one_by_one(&["list", "show /p/late", "show shop", "show /p/twin"]);
    let Some(call) = read_only(&test, &script) else {
        return;
    };
    let said = call.any_stdout().run().stdout;
    let answers: Vec<&str> = said.split("== ").skip(1).collect();
    for (answer, parts) in answers.iter().zip([
        [
            "Allocated ports:  4\n",
            &format!("{late}\tlate\t/p/late\t"),
            "exit 0\n",
        ],
        ["Read-only file system", &format!("{late}\n"), "exit 0\n"],
        ["show shop", &format!("{}\n", test.port(0)), "exit 0\n"],
        ["Read-only file system", "/p/twin has no port", "exit 1\n"],
    ]) {
        for part in parts {
            assert!(answer.contains(part), "{part} in {answer}");
        }
    }
    assert_eq!(answers.len(), 4, "{said}");
}

#[test]
fn a_damaged_registry_file_on_a_read_only_file_system_hides_no_claim() {
    let test = Test::of_three();
    let damaged = format!("{{\"mappings\": {{\"/p/late\": {}, \"", test.port(5));
    test.write_registry(&damaged);
    let Some(call) = read_only(&test, &one_by_one(&["list", "show /p/late", "show shop"])) else {
        return;
    };
    let said = call.any_stdout().run().stdout;
    for (answer, port) in said.split("== ").skip(1).zip([2, 5, 0]) {
        assert!(answer.contains(&test.port(port).to_string()), "{answer}");
        assert!(answer.ends_with("exit 0\n"), "{answer}");
    }
    assert!(said.contains("Allocated ports:  4\n"), "{said}");
    assert!(said.contains("could not be taken over"), "{said}");
    assert_eq!(test.read(test.registry()), damaged.as_bytes());
}

#[test]
fn on_a_full_disk_a_claim_fails_cleanly_and_all_others_stay() {
    let test = Test::of_three();
    for index in 0..20 {
        test.mkdir(format!("new{index}"));
    }
    let readable = reads_work(&test);
    // Space for no page, one page, two of them and so on: each step of a claim fails once.
    let script = format!(
        "state() {{ (cd \"$HOME/.config/litellm\"; ls -A ports projects staging; cat ports/* projects/*); }}\n\
         mkdir \"$HOME/copy\"\n\
         cp -a \"$HOME/.config/.\" \"$HOME/copy\"\n\
         mount -t tmpfs -o size=128k tmpfs \"$HOME/.config\"\n\
         cp -a \"$HOME/copy/.\" \"$HOME/.config\"\n\
         fill=\"$HOME/.config/fill\"\n\
         for free in 0 1 2 3 4 5 6; do\n\
             dd if=/dev/zero of=\"$fill\" bs=4096 2>/dev/null || true\n\
             pages=$(($(stat -c %s \"$fill\") / 4096))\n\
             truncate -s $(((pages - free) * 4096)) \"$fill\"\n\
             before=$(state)\n\
             code=0\n\
             port=$(\"$portclaim\" allocate \"new$free\" 2>\"$HOME/err\") || code=$?\n\
             echo \"== $free: exit $code, port ${{port:-none}}\"\n\
             cat \"$HOME/err\"\n\
             if test $code != 0; then\n\
                 test \"$before\" = \"$(state)\" || {{ echo CHANGED; state; }}\n\
                 \"$portclaim\" show \"new$free\" >/dev/null 2>&1 && echo HELD || true\n\
             else\n\
                 test \"$(\"$portclaim\" show \"new$free\")\" = \"$port\" || echo LOST\n\
             fi\n\
             rm \"$fill\"\n\
             {readable}\
             \"$portclaim\" allocate \"new$free\" >/dev/null\n\
             \"$portclaim\" remove \"new$free\" >/dev/null\n\
             \"$portclaim\" doctor >/dev/null || echo UNHEALTHY\n\
         done\n"
    );
    let Some(call) = test.mounting(&script, "a full disk") else {
        return;
    };
    let said = call.any_stdout().run().stdout;
    let turns: Vec<&str> = said.split("== ").skip(1).collect();
    assert_eq!(turns.len(), 7, "{said}");
    for word in ["CHANGED", "HELD", "LOST", "UNHEALTHY"] {
        assert!(!said.contains(word), "{word} in {said}");
    }
    let (failed, done): (Vec<&str>, Vec<&str>) = turns
        .iter()
        .partition(|turn| turn.contains(": exit 2, port none\n"));
    assert!(!failed.is_empty() && !done.is_empty(), "{said}");
    for turn in failed {
        for part in [
            "error: failed to ",
            "[HOME]/.config/litellm/",
            "caused by: No space left on device",
            "hint: free some space and try again",
        ] {
            assert!(turn.contains(part), "{part} in {turn}");
        }
    }
    for turn in done {
        assert!(turn.contains(": exit 0, port "), "{turn}");
    }
}

#[test]
fn where_no_file_can_be_made_a_claim_fails_cleanly_and_all_others_stay() {
    let test = Test::of_three();
    test.mkdir("new");
    let readable = reads_work(&test);
    let script = format!(
        "mkdir \"$HOME/copy\"\n\
         cp -a \"$HOME/.config/.\" \"$HOME/copy\"\n\
         mount -t tmpfs -o nr_inodes=40 tmpfs \"$HOME/.config\"\n\
         cp -a \"$HOME/copy/.\" \"$HOME/.config\"\n\
         number=0\n\
         while touch \"$HOME/.config/fill$number\" 2>/dev/null; do number=$((number + 1)); done\n\
         for free in 0 1 2 3; do\n\
             code=0\n\
             \"$portclaim\" allocate new 2>&1 || code=$?\n\
             echo \"exit $code\"\n\
             \"$portclaim\" remove new >/dev/null 2>&1 || true\n\
             {readable}\
             rm \"$HOME/.config/fill$free\"\n\
         done\n\
         \"$portclaim\" doctor --fix >/dev/null\n"
    );
    let Some(call) = test.mounting(&script, "a disk without inodes") else {
        return;
    };
    // Where the registry file cannot be written, that is a warning.
    let said = call.any_stdout().any_stderr().run().stdout;
    assert!(
        said.starts_with("error: failed to create [HOME]/.config/litellm/"),
        "{said}"
    );
    assert!(
        said.contains("caused by: No space left on device"),
        "{said}"
    );
    assert!(said.contains("exit 2\n"), "{said}");
    assert!(said.ends_with("exit 0\n"), "{said}");
}

#[test]
fn a_registry_out_of_reach_is_an_error_that_names_it() {
    let test = Test::new();
    if !test.admit(NOBODY, "an unreadable parent") {
        return;
    }
    test.write(
        "locked/inner/r.json",
        python_registry((8888, 9999), [], 8888),
    );
    let original = test.read("locked/inner/r.json");
    test.mkdir("shop");
    for (name, mode) in [
        ("locked", 0o000),
        ("locked", 0o600),
        ("locked/inner", 0o000),
    ] {
        chmod(&test.path(name), mode);
        for args in [
            &["list"][..],
            &["allocate", "shop"],
            &["show", "shop"],
            &["doctor"],
        ] {
            test.args(args)
                .user(NOBODY)
                .env("PORT_REGISTRY_PATH", test.path("locked/inner/r.json"))
                .stderr_has("error: failed to ")
                .stderr_has("[HOME]/locked/inner")
                .stderr_has("caused by: Permission denied")
                .stderr_has("hint: ")
                .code(2)
                .run();
        }
        chmod(&test.path(name), 0o755);
    }
    assert_eq!(test.read("locked/inner/r.json"), original);
    assert_eq!(entries(&test.path("locked/inner")).len(), 1);
}

#[test]
fn a_directory_that_may_not_be_written_gets_no_registry() {
    let test = Test::new();
    if !test.admit(NOBODY, "a parent that may not be written") {
        return;
    }
    test.mkdir("closed");
    test.mkdir("shop");
    test.args(["list", "--registry", "closed/r.json"])
        .user(NOBODY)
        .stdout_has("Allocated ports:  0")
        .run();
    for args in [&["allocate", "shop"][..], &["index"]] {
        test.args(args)
            .user(NOBODY)
            .env("PORT_REGISTRY_PATH", test.path("closed/r.json"))
            .stderr_has("[HOME]/closed")
            .stderr_has("caused by: Permission denied")
            .stderr_has("hint: the registry must be writable for this")
            .code(2)
            .run();
    }
    assert!(entries(&test.path("closed")).is_empty());
}

#[test]
fn a_registry_file_that_may_not_be_read_is_an_error_and_not_damage() {
    let test = Test::new();
    if !test.admit(NOBODY, "an unreadable registry file") {
        return;
    }
    let dir = test.mkdir("open");
    chmod(&dir, 0o777);
    let file = test.write(
        "open/r.json",
        python_registry((8888, 9999), [("/p/shop", "9")], 10),
    );
    let original = test.read(&file);
    chmod(&file, 0o000);
    for args in [
        &["list"][..],
        &["allocate", "shop"],
        &["show", "shop"],
        &["index"],
    ] {
        test.args(args)
            .user(NOBODY)
            .env("PORT_REGISTRY_PATH", &file)
            .stderr_has("error: failed to read [HOME]/open/r.json")
            .stderr_has("caused by: Permission denied")
            .stderr_has("hint: ")
            .code(2)
            .run();
    }
    assert_eq!(
        test.read(&file),
        original,
        "it is neither replaced nor moved"
    );
    assert!(!test.path("open/r.json.backup").exists());
}

/// What may lie where a claim should.
struct Intruder {
    name: &'static str,
    make: fn(&Test, &Path),
    /// The kind of the finding and what its text says.
    finding: (&'static str, &'static str),
    fixed: bool,
}

const INTRUDERS: [Intruder; 10] = [
    Intruder {
        name: "a directory",
        make: |test, path| {
            test.write(path.join("inside"), "x");
        },
        finding: ("damaged-claim", "a directory: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "a FIFO",
        make: mkfifo,
        finding: ("damaged-claim", "a special file: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "a socket",
        make: |_, path| drop(UnixListener::bind(path).expect("a socket can be made")),
        finding: ("damaged-claim", "a special file: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "a link to a file",
        make: |_, path| symlink("/etc/passwd", path).expect("a link can be made"),
        finding: ("damaged-claim", "a symbolic link: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "a link to another claim",
        make: |test, path| {
            let target = format!("{}.claim", test.port(0));
            symlink(target, path).expect("a link can be made");
        },
        finding: ("damaged-claim", "a symbolic link: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "a link to nothing",
        make: |_, path| symlink("/nowhere/at/all", path).expect("a link can be made"),
        finding: ("damaged-claim", "a symbolic link: it is not a regular file"),
        fixed: true,
    },
    Intruder {
        name: "ten megabytes",
        make: |test, path| {
            write_private(test, path, vec![b'x'; 10_000_000]);
        },
        finding: ("damaged-claim", "it is longer than any record"),
        fixed: true,
    },
    Intruder {
        name: "bytes",
        make: |test, path| {
            write_private(test, path, b"\xff\0\x1b[31m\n");
        },
        finding: ("damaged-claim", "it is no record: "),
        fixed: true,
    },
    Intruder {
        name: "nothing",
        make: |test, path| {
            write_private(test, path, "");
        },
        finding: ("damaged-claim", "it is empty"),
        fixed: true,
    },
    Intruder {
        name: "a later format",
        make: |test, path| {
            write_private(
                test,
                path,
                "{\"format\":7,\"everything\":\"is different\"}\n",
            );
        },
        finding: ("later-format", "in format 7"),
        fixed: false,
    },
];

/// What would show that somebody has followed a link to it.
fn passwd() -> (Vec<u8>, u32, i64) {
    let meta = fs::metadata("/etc/passwd").expect("every Unix has it");
    let bytes = fs::read("/etc/passwd").expect("everybody may read it");
    (bytes, meta.mode(), meta.mtime())
}

#[test]
fn whatever_lies_where_a_claim_should_nobody_is_given_its_port_and_no_other_claim_is_touched() {
    let untouched = passwd();
    for intruder in INTRUDERS {
        let what = intruder.name;
        let test = Test::of_three();
        let valid = test.records();
        let port = test.port(3);
        let path = test.claim(port);
        (intruder.make)(&test, &path);
        let shown = format!("[HOME]/.config/litellm/ports/{port}.claim");
        let intact = || {
            for (path, bytes) in &valid {
                assert_eq!(&test.read(path), bytes, "{what}");
            }
            for (name, index) in ["shop", "blog", "wiki"].iter().zip(0..) {
                test.assert_shows(name, test.port(index));
            }
            assert_eq!(passwd(), untouched, "{what}");
        };

        let list = test.args(["list"]).any_stdout().any_stderr().run();
        assert!(list.stdout.contains("\twiki\t"), "{what}: {}", list.stdout);
        if what != "nothing" {
            assert!(list.stderr.contains(&shown), "{what}: {}", list.stderr);
        }
        test.args(["check", &port.to_string()])
            .stdout_has(format!("{port}: claimed, but not settled"))
            .code(1)
            .run();
        test.args(["index"]).any_stdout().any_stderr().run();
        test.project("new", test.port(4));
        test.args(["remove", "new"]).any_stdout().run();
        intact();

        let doctor = test
            .args(["doctor"])
            .any_stdout()
            .any_stderr()
            .code(1)
            .run();
        let (kind, detail) = intruder.finding;
        let line = format!("found {kind}: {shown}: ");
        assert!(
            doctor.stdout.starts_with(&line),
            "{what}: {}",
            doctor.stdout
        );
        assert!(doctor.stdout.contains(detail), "{what}: {}", doctor.stdout);
        assert!(path.symlink_metadata().is_ok(), "{what}: it only looked");
        intact();

        let fix = test
            .args(["doctor", "--fix"])
            .code(i32::from(!intruder.fixed))
            .any_stdout()
            .any_stderr()
            .run();
        let word = if intruder.fixed { "fixed" } else { "found" };
        assert!(
            fix.stdout.starts_with(&format!("{word} {kind}: {shown}: ")),
            "{what}: {}",
            fix.stdout
        );
        assert_eq!(path.symlink_metadata().is_err(), intruder.fixed, "{what}");
        let kept = test.root().join("quarantine").join(format!("{port}.claim"));
        assert_eq!(
            kept.symlink_metadata().is_ok(),
            intruder.fixed && what != "nothing",
            "{what}"
        );
        intact();
        test.args(["doctor"])
            .code(i32::from(!intruder.fixed))
            .any_stdout()
            .run();
        assert_eq!(test.mappings().len(), 3, "{what}");
    }
}

#[test]
fn whatever_lies_where_a_projects_claim_was_it_gets_its_port_back() {
    let untouched = passwd();
    for intruder in INTRUDERS.iter().filter(|intruder| intruder.fixed) {
        let what = intruder.name;
        let test = Test::of_three();
        let path = test.claim(test.port(1));
        fs::remove_file(&path).expect("it is there");
        let valid: BTreeMap<PathBuf, Vec<u8>> = [0, 2]
            .into_iter()
            .flat_map(|index| [test.claim(test.port(index)), test.commit(test.port(index))])
            .map(|path| (path.clone(), test.read(path)))
            .collect();
        (intruder.make)(&test, &path);
        test.args(["show", "blog"]).any_stderr().code(1).run();
        let said = test
            .args(["doctor", "--fix"])
            .any_stdout()
            .any_stderr()
            .run();
        assert!(
            said.stdout.contains("fixed damaged-claim: "),
            "{what}: {}",
            said.stdout
        );
        test.assert_shows("blog", test.port(1));
        for (path, bytes) in valid {
            assert_eq!(test.read(path), bytes, "{what}");
        }
        test.assert_healthy();
        assert_eq!(passwd(), untouched, "{what}");
    }
}

#[test]
fn whatever_lies_where_a_projects_commit_was_it_gets_its_port_back() {
    let untouched = passwd();
    for intruder in INTRUDERS.iter().filter(|intruder| intruder.fixed) {
        let what = intruder.name;
        let test = Test::of_three();
        let path = test.commit(test.port(1));
        let valid: BTreeMap<PathBuf, Vec<u8>> = [0, 2]
            .into_iter()
            .flat_map(|index| [test.claim(test.port(index)), test.commit(test.port(index))])
            .map(|path| (path.clone(), test.read(path)))
            .collect();
        fs::remove_file(&path).expect("it is there");
        (intruder.make)(&test, &path);
        test.args(["list"])
            .stdout_has("\twiki\t")
            .any_stderr()
            .run();
        test.args(["show", "blog"]).any_stderr().code(1).run();
        let doctor = test
            .args(["doctor"])
            .any_stdout()
            .any_stderr()
            .code(1)
            .run();
        let shown = path.strip_prefix(test.home()).expect("it lies there");
        let line = format!("found damaged-commit: [HOME]/{}: ", shown.display());
        assert!(doctor.stdout.contains(&line), "{what}: {}", doctor.stdout);
        test.args(["doctor", "--fix"])
            .any_stdout()
            .any_stderr()
            .run();
        test.assert_shows("blog", test.port(1));
        for (path, bytes) in valid {
            assert_eq!(test.read(path), bytes, "{what}");
        }
        test.assert_healthy();
        assert_eq!(passwd(), untouched, "{what}");
    }
}

#[test]
fn a_commit_that_is_no_file_stands_in_nobody_elses_way() {
    for intruder in INTRUDERS.iter().filter(|intruder| intruder.fixed) {
        let what = intruder.name;
        let test = Test::of_three();
        let path = test.commit(test.port(1));
        fs::remove_file(&path).expect("it is there");
        (intruder.make)(&test, &path);
        // Either it works, or it says which file is in the way.
        let said = test.shell("\"$portclaim\" allocate blog && echo 0 || echo $?");
        let said = said.any_stdout().any_stderr().run();
        if said.stdout == "2\n" {
            let shown = path.strip_prefix(test.home()).expect("it lies there");
            assert!(
                said.stderr.contains(&format!("[HOME]/{}", shown.display())),
                "{what}: {}",
                said.stderr
            );
            assert!(said.stderr.contains("hint: "), "{what}: {}", said.stderr);
        } else {
            assert!(said.stdout.ends_with("\n0\n"), "{what}: {}", said.stdout);
        }
        test.mkdir("new");
        test.args(["allocate", "new"]).any_stdout().run();
        test.assert_shows("wiki", test.port(2));
    }
}

#[test]
fn a_claim_of_another_user_is_nobody_elses_port() {
    if !is_root() {
        skip("a claim of another user", "only root can give files away");
        return;
    }
    let test = Test::of_three();
    let valid = test.records();
    let port = test.port(3);
    let path = test.write(
        test.claim(port),
        format!(
            "{{\"format\":1,\"port\":{port},\"nonce\":\"{}\",\"project\":\"/p/theirs\",\"service\":\"\"}}\n",
            "12".repeat(16)
        ),
    );
    chmod(&path, 0o600);
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("we are root");
    test.project("new", test.port(4));
    test.args(["remove", "new"]).any_stdout().run();
    test.args(["doctor"])
        .stdout_has(format!(
            "found owner: [HOME]/.config/litellm/ports/{port}.claim: it belongs to user {NOBODY}, not to user 0\n"
        ))
        .stderr_has("hint: ")
        .code(1)
        .run();
    assert_eq!(test.records().len(), 7);
    test.args(["doctor", "--fix"])
        .any_stdout()
        .any_stderr()
        .run();
    for (path, bytes) in valid {
        assert_eq!(test.read(path), bytes);
    }
}

#[test]
fn a_claim_that_its_user_may_not_read_is_skipped_with_a_warning() {
    // Root's registry, and one claim in it that only root may read, seen by another user.
    let test = Test::new();
    if !test.admit(NOBODY, "an unreadable claim") {
        return;
    }
    chmod(test.home(), 0o777);
    for name in ["shop", "blog"] {
        test.mkdir(name);
        test.args(["allocate", name])
            .user(NOBODY)
            .any_stdout()
            .run();
    }
    let path = test.claim(test.port(0));
    std::os::unix::fs::chown(&path, Some(0), Some(0)).expect("we are root");
    let list = test
        .args(["list"])
        .user(NOBODY)
        .any_stdout()
        .any_stderr()
        .run();
    assert!(list.stdout.contains("\tblog\t"), "{}", list.stdout);
    assert!(
        list.stderr.contains(&format!(
            "[HOME]/.config/litellm/ports/{}.claim",
            test.port(0)
        )),
        "{}",
        list.stderr
    );
    test.args(["show", "blog"])
        .user(NOBODY)
        .stdout(format!("{}\n", test.port(1)))
        .run();
    test.mkdir("new");
    test.args(["allocate", "new"])
        .user(NOBODY)
        .stdout(format!("{}\n", test.port(2)))
        .any_stderr()
        .run();
    test.args(["doctor"])
        .user(NOBODY)
        .stdout_has(format!(
            "found owner: [HOME]/.config/litellm/ports/{}.claim: it belongs to user 0, not to user {NOBODY}\n",
            test.port(0)
        ))
        .any_stderr()
        .code(1)
        .run();
}

#[test]
fn a_record_that_its_user_may_not_read_stands_in_nobody_elses_way() {
    for is_claim in [true, false] {
        let test = Test::with_ports(3);
        if !test.admit(NOBODY, "an unreadable record") {
            return;
        }
        chmod(test.home(), 0o777);
        for name in ["shop", "blog", "new", "late"] {
            test.mkdir(name);
        }
        for name in ["shop", "blog"] {
            test.args(["allocate", name])
                .user(NOBODY)
                .any_stdout()
                .run();
        }
        let path = if is_claim {
            test.claim(test.port(0))
        } else {
            test.commit(test.port(0))
        };
        std::os::unix::fs::chown(&path, Some(0), Some(0)).expect("we are root");
        test.args(["allocate", "new"])
            .user(NOBODY)
            .stdout(format!("{}\n", test.port(2)))
            .any_stderr()
            .run();
        test.args(["show", "blog"])
            .user(NOBODY)
            .stdout(format!("{}\n", test.port(1)))
            .run();
        // Whether it could be swept is not known: so it counts.
        test.args(["allocate", "late"])
            .user(NOBODY)
            .stderr_has("of 3 ports, 3 are claimed")
            .code(1)
            .run();
        // Nor in the way of a repair, whatever became of the other file.
        if !is_claim {
            test.write(test.claim(test.port(0)), "damage\n");
        }
        test.write(test.claim(test.port(1)), "damage\n");
        test.args(["doctor", "--fix"])
            .user(NOBODY)
            .stdout_has("found owner: ")
            .any_stderr()
            .code(1)
            .run();
        test.args(["show", "blog"])
            .user(NOBODY)
            .stdout(format!("{}\n", test.port(1)))
            .run();
    }
}

#[test]
fn a_project_keeps_its_port_while_its_user_may_not_read_the_claim_or_the_commit() {
    for is_claim in [true, false] {
        let test = Test::new();
        if !test.admit(NOBODY, "an unreadable record") {
            return;
        }
        chmod(test.home(), 0o777);
        test.mkdir("shop");
        let told = format!("{}\n", test.port(0));
        let args = |args: &[&str]| test.args(args).user(NOBODY).any_stderr();
        args(&["allocate", "shop"]).stdout(&told).run();
        let path = if is_claim {
            test.claim(test.port(0))
        } else {
            test.commit(test.port(0))
        };
        let before = test.records();
        chmod(&path, 0);
        for verb in ["allocate", "show", "remove"] {
            args(&[verb, "shop"])
                .stderr_has("error: ")
                .stderr_has(path.file_name().expect("it has one").to_string_lossy())
                .code(2)
                .run();
        }
        // It is missing, and that is said.
        args(&["list"]).any_stdout().stderr_has("warning: ").run();
        args(&["list"])
            .stdout_has("Allocated ports:  0\nUnreadable:       1\nAvailable ports:  7\n")
            .run();
        args(&["doctor"])
            .stdout_has("found permissions: ")
            .stdout_has("its mode is 0000, not 0600\n")
            .code(1)
            .run();
        assert_eq!(path.metadata().expect("it is there").mode() & 0o7777, 0);
        args(&["doctor", "--fix"])
            .stdout_has("fixed permissions: ")
            .run();
        args(&["doctor"]).stdout_has("healthy").run();
        assert_eq!(test.records(), before);
        args(&["allocate", "shop"]).stdout(&told).run();
    }
}

#[test]
fn foreign_files_are_findings_and_harm_nobody() {
    let test = Test::of_three();
    let valid = test.records();
    let port = test.port(3);
    for name in [
        "README",
        "~lock",
        &format!("{port}.claim.bak"),
        &format!("0{port}.claim"),
        "x.claim",
    ] {
        test.write(test.root().join("ports").join(name), "mine");
    }
    test.args(["list"]).stdout_has("\twiki\t").run();
    test.project("new", port);
    let doctor = test
        .args(["doctor"])
        .any_stdout()
        .any_stderr()
        .code(1)
        .run();
    assert_eq!(
        doctor
            .stdout
            .matches("found foreign-file: [HOME]/.config/litellm/ports/")
            .count(),
        5,
        "{}",
        doctor.stdout
    );
    test.args(["doctor", "--fix"]).any_stdout().run();
    for (path, bytes) in valid {
        assert_eq!(test.read(path), bytes);
    }
    assert_eq!(test.read(test.root().join("quarantine/README")), b"mine");
}

#[test]
fn a_foreign_file_whose_name_is_not_utf_8_is_a_finding_and_harms_nobody() {
    let test = Test::of_three();
    let valid = test.records();
    for (dir, name) in [
        ("ports", &b"bad\xff.claim"[..]),
        ("projects", b"\xfe"),
        ("staging", b"\xfd"),
    ] {
        let path = test.root().join(dir).join(name_of(name));
        if fs::write(&path, "mine").is_err() {
            skip("a file name that is not UTF-8", "this file system has none");
            return;
        }
    }
    test.args(["list"]).stdout_has("\twiki\t").run();
    test.args(["check", &test.port(0).to_string()])
        .any_stdout()
        .code(1)
        .run();
    test.project("new", test.port(3));
    test.shell("\"$portclaim\" doctor --fix || test $? = 1")
        .any_stdout()
        .any_stderr()
        .run();
    for (path, bytes) in valid {
        assert_eq!(test.read(path), bytes);
    }
    let path = test.root().join("ports").join(name_of(b"worse\xff.claim"));
    fs::write(path, "mine").expect("the others could be made");
    test.args(["doctor"])
        .stdout_has("found foreign-file: [HOME]/.config/litellm/ports/worse")
        .any_stderr()
        .code(1)
        .run();
}

#[test]
fn a_directory_of_the_registry_that_is_none_is_an_error_that_names_it() {
    for name in ["ports", "projects", "staging", "index"] {
        for kind in ["file", "link", "dangling", "fifo"] {
            let test = Test::of_three();
            let path = test.root().join(name);
            let moved = test.path("moved");
            fs::rename(&path, &moved).expect("it can be moved");
            match kind {
                "file" => fs::write(&path, "mine").expect("it is gone"),
                "link" => symlink(&moved, &path).expect("it is gone"),
                "dangling" => symlink("/nowhere/at/all", &path).expect("it is gone"),
                _ => mkfifo(&test, &path),
            }
            for args in [
                &["list"][..],
                &["allocate", "shop"],
                &["show", "shop"],
                &["remove", "shop"],
            ] {
                test.args(args)
                    .stderr_has(format!("[HOME]/.config/litellm/{name}"))
                    .stderr_has("error: ")
                    .stderr_has("hint: ")
                    .code(2)
                    .run();
            }
            // Put back, everything is as it was.
            fs::remove_file(&path).expect("it is no directory");
            fs::rename(&moved, &path).expect("it can be moved");
            test.assert_healthy();
            assert_eq!(test.records().len(), 6, "{name}, {kind}");
        }
    }
}

#[test]
fn a_registry_full_of_intruders_is_mended_at_once() {
    let test = Test::with_ports(32);
    for (name, index) in ["shop", "blog", "wiki"].iter().zip(0..) {
        test.project(name, test.port(index));
    }
    let valid = test.records();
    for (intruder, index) in INTRUDERS.iter().zip(3..) {
        (intruder.make)(&test, &test.claim(test.port(index)));
    }
    test.args(["doctor"])
        .any_stdout()
        .any_stderr()
        .code(1)
        .run();
    let json = test
        .args(["doctor", "--fix", "--json"])
        .any_stderr()
        .code(1)
        .json();
    let findings = json["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), INTRUDERS.len(), "{json}");
    let left: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["fixed"] == false)
        .map(|finding| finding["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(left, ["later-format"]);
    for (path, bytes) in valid {
        assert_eq!(test.read(path), bytes);
    }
    assert_eq!(test.mappings().len(), 3);
}
