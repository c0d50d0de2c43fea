//! `portclaim allocate --follow-git`: a git repository that was moved, and nothing else, keeps its ports.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{NOBODY, Said, Test, chmod, skip};

/// What follows the error where it is not sure.
const UNSURE: &str = "if not, portclaim allocate without --follow-git gives it ports of its own";

impl Test {
    /// Makes a repository; git itself makes no other trait of it.
    fn repository(&self, name: &str) {
        self.mkdir(name);
        fs::create_dir(self.path(name).join(".git")).expect("it is new");
    }

    /// A registry of the repository `shop`, on the first port.
    fn of_repository() -> Test {
        let test = Test::new();
        test.repository("shop");
        test.args(["allocate", "shop"])
            .stdout(format!("{}\n", test.port(0)))
            .run();
        test
    }

    /// Asserts that the project is known as `from`, and that these ports went along.
    #[track_caller]
    fn assert_follows(&self, from: &str, project: &str, ports: &str, first: u16) {
        self.args(["allocate", project, "--follow-git"])
            .stdout(format!("{first}\n"))
            .stderr(format!(
                "warning: [HOME]/{from} was moved to [HOME]/{project}, and its ports with it: {ports}\n"
            ))
            .run();
        self.assert_shows(project, first);
        self.args(["allocate", project, "--follow-git"])
            .stdout(format!("{first}\n"))
            .run();
        self.assert_healthy();
    }

    /// Asserts that the project gets this port, a new one, without a word.
    #[track_caller]
    fn assert_is_new(&self, project: &str, port: u16) {
        self.args(["allocate", project, "--follow-git"])
            .stdout(format!("{port}\n"))
            .run();
        self.assert_healthy();
    }

    /// Asserts that nothing comes of it, for this reason.
    #[track_caller]
    fn assert_unsure(&self, from: &str, project: &str, why: &str) {
        let before = self.records();
        self.args(["allocate", project, "--follow-git"])
            .stderr(format!(
                "error: it is not sure that [HOME]/{project} was moved here from [HOME]/{from}: {why}\nhint: if it was \
                 moved: portclaim move [HOME]/{from} [HOME]/{project}; {UNSURE}\n"
            ))
            .code(1)
            .run();
        assert_eq!(self.records(), before);
    }

    /// Changes what the claims of a port say of the repository.
    fn forge(&self, port: u16, change: impl Fn(&mut Value)) {
        for path in [self.claim(port), self.commit(port)] {
            let bytes = fs::read(&path).expect("a record");
            let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
            change(&mut record["git"]);
            chmod(&path, 0o600);
            fs::write(&path, format!("{record}\n")).expect("it is ours");
        }
    }
}

#[test]
fn a_repository_that_was_moved_keeps_the_ports_of_all_its_services() {
    let test = Test::of_repository();
    test.service("shop", "web");
    test.rename("shop", "store");
    let ports = format!("{}, {} (web)", test.port(0), test.port(1));
    test.assert_follows("shop", "store", &ports, test.port(0));
    test.args(["show", "shop"]).any_stderr().code(1).run();
    assert_eq!(test.records().len(), 4, "two claims, two commits");
    // And again: what it is known by went along.
    test.mkdir("elsewhere");
    test.rename("store", "elsewhere/shop");
    test.assert_follows("store", "elsewhere/shop", &ports, test.port(0));
}

#[test]
fn the_service_that_is_asked_for_need_not_be_the_one_that_it_has() {
    let test = Test::of_repository();
    test.rename("shop", "store");
    test.args(["allocate", "store", "--service", "web", "--follow-git"])
        .stdout(format!("{}\n", test.port(1)))
        .stderr_has(format!("with it: {}\n", test.port(0)))
        .run();
    test.assert_shows("store", test.port(0));
    test.assert_healthy();
}

#[test]
fn a_block_goes_along_as_one() {
    let test = Test::new();
    test.repository("shop");
    test.args(["allocate", "shop", "--count", "3"])
        .any_stdout()
        .run();
    test.rename("shop", "store");
    let ports = [0, 1, 2, 3].map(|at| format!("{}\n", test.port(at)));
    test.args(["allocate", "store", "--count", "4", "--follow-git"])
        .stdout(ports.concat())
        .stderr_has(format!("{} (+2)\n", test.port(2)))
        .run();
    test.assert_healthy();
}

#[test]
fn a_linked_worktree_is_known_by_the_file_that_it_has() {
    let test = Test::of_repository();
    for (tree, index) in [("one", 1), ("two", 2)] {
        test.mkdir(tree);
        let link = format!(
            "gitdir: {}/shop/.git/worktrees/{tree}\n",
            test.home().display()
        );
        fs::write(test.path(tree).join(".git"), link).expect("a file");
        test.project(tree, test.port(index));
    }
    test.rename("two", "three");
    // As `git worktree move` does.
    fs::write(
        test.path("three/.git"),
        "gitdir: ../shop/.git/worktrees/two\n",
    )
    .expect("it is ours");
    test.assert_follows("two", "three", &test.port(2).to_string(), test.port(2));
    test.assert_shows("one", test.port(1));
    test.assert_shows("shop", test.port(0));
}

#[test]
fn what_git_itself_moves_is_known_again() {
    let test = Test::new();
    let git = Command::new("git").arg("--version").output();
    if !git.is_ok_and(|output| output.status.success()) {
        return skip("git's own moves", "git is not installed");
    }
    let script = r#"
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        for name in shop part; do
            git -c init.defaultBranch=main init -q $name
            git -C $name commit -q --allow-empty -m first
        done
        git -C shop -c protocol.file.allow=always submodule --quiet add "$HOME/part" part
        git -C shop worktree add -q ../tree
        for project in shop tree shop/part; do "$portclaim" allocate $project; done
        git -C shop worktree move ../tree ../branch
        git -C shop mv part lib
        for project in branch shop/lib; do "$portclaim" allocate $project --follow-git; done
        git clone -q shop clone
        "$portclaim" allocate clone --follow-git
        git -C shop gc -q
        mv shop store
        "$portclaim" allocate store --follow-git"#;
    let moved = |from: &str, to: &str| {
        format!("[HOME]/{from} was moved to [HOME]/{to}, and its ports with it")
    };
    test.shell(script)
        .stdout(
            [0, 1, 2, 1, 2, 3, 0]
                .map(|at| format!("{}\n", test.port(at)))
                .concat(),
        )
        .stderr_has(moved("tree", "branch"))
        .stderr_has(moved("shop/part", "shop/lib"))
        .stderr_has(moved("shop", "store"))
        .run();
    test.assert_healthy();
}

#[test]
fn a_project_inside_of_a_repository_is_followed_to_the_same_place_in_it() {
    let test = Test::new();
    test.repository("work/repo");
    for (project, index) in [("work/repo/a/api", 0), ("work/repo/b/api", 1)] {
        test.project(project, test.port(index));
    }
    test.rename("work/repo", "work/moved");
    test.assert_follows(
        "work/repo/b/api",
        "work/moved/b/api",
        &test.port(1).to_string(),
        test.port(1),
    );
    // The top, and another directory in it, are projects of their own.
    test.assert_is_new("work/moved", test.port(2));
    test.rename("work/moved/a/api", "work/moved/a/web");
    test.assert_is_new("work/moved/a/web", test.port(3));
    test.rename("work/moved/a/web", "work/moved/a/api");
    test.assert_follows(
        "work/repo/a/api",
        "work/moved/a/api",
        &test.port(0).to_string(),
        test.port(0),
    );
}

#[test]
fn without_the_flag_a_directory_that_is_new_gets_ports_of_its_own() {
    let test = Test::of_repository();
    test.rename("shop", "store");
    test.project("store", test.port(1));
    // With it, too, once it has one.
    test.assert_is_new("store", test.port(1));
    assert_eq!(test.records().len(), 4);
}

#[test]
fn a_copy_a_clone_and_another_worktree_are_not_followed() {
    let test = Test::of_repository();
    test.shell("cp -a shop copy").run();
    test.repository("clone");
    test.assert_is_new("copy", test.port(1));
    test.assert_is_new("clone", test.port(2));
    // Nor is a copy that was made of it before it was deleted: on another file system, that is how it is moved.
    test.shell("cp -a shop later; rm -r shop").run();
    test.assert_is_new("later", test.port(3));
}

#[test]
fn another_file_system_is_another_repository() {
    let test = Test::of_repository();
    test.mkdir("disk");
    let script = "
        mount -t tmpfs none \"$HOME/disk\"
        mv shop disk/shop
        \"$portclaim\" allocate disk/shop --follow-git";
    if let Some(call) = test.mounting(script, "another file system") {
        call.stdout(format!("{}\n", test.port(1))).run();
    }
}

#[test]
fn an_inode_that_was_given_again_is_not_taken_for_the_same() {
    let test = Test::of_repository();
    fs::remove_dir_all(test.path("shop")).expect("it is ours");
    test.repository("store");
    let inode = fs::metadata(test.path("store/.git"))
        .expect("it is there")
        .ino();
    // Most file systems give it again sooner or later; here it has been.
    test.forge(test.port(0), |git| git["inode"] = json!(inode));
    test.assert_is_new("store", test.port(1));
    // What tells them apart is when they were made.
    let noted = fs::read(test.claim(test.port(1))).expect("a record");
    let noted: Value = serde_json::from_slice(&noted).expect("JSON");
    test.args(["remove", "store"]).any_stdout().run();
    test.forge(test.port(0), |git| *git = noted["git"].clone());
    test.assert_follows("shop", "store", &test.port(0).to_string(), test.port(0));
}

#[test]
fn a_claim_that_names_no_repository_is_not_followed() {
    let test = Test::of_projects(&["shop"]);
    test.repository("blog");
    test.project("blog", test.port(1));
    fs::create_dir(test.path("shop/.git")).expect("it is new");
    // It is said while there is something to be done.
    test.args(["allocate", "shop", "--follow-git"])
        .stdout(format!("{}\n", test.port(0)))
        .stderr(format!(
            "warning: [HOME]/shop was not in this git repository when it was given port {0}: it is not known again after a \
             move\nhint: portclaim remove, and then portclaim allocate --port {0}, notes it; portclaim move OLD NEW moves the \
             ports of any project\n",
            test.port(0)
        ))
        .run();
    test.rename("shop", "store");
    test.assert_is_new("store", test.port(2));
    test.rename("store", "shop");
    // As told.
    let port = test.port(0).to_string();
    test.args(["remove", "shop"]).any_stdout().run();
    test.args(["allocate", "shop", "--port", &port])
        .any_stdout()
        .run();
    test.args(["remove", "store"]).any_stdout().run();
    test.rename("shop", "store");
    test.assert_follows("shop", "store", &port, test.port(0));
}

#[test]
fn a_project_that_was_in_two_repositories_is_not_followed() {
    let test = Test::of_repository();
    fs::remove_dir_all(test.path("shop/.git")).expect("it is ours");
    fs::create_dir(test.path("shop/.git")).expect("it is new");
    test.service("shop", "web");
    test.rename("shop", "store");
    test.assert_is_new("store", test.port(2));
}

#[test]
fn a_project_in_no_repository_is_told_so() {
    let test = Test::new();
    test.mkdir("shop");
    let port = test.port(0);
    for _ in 0..2 {
        test.args(["allocate", "shop", "--follow-git"])
            .stdout(format!("{port}\n"))
            .stderr(
                "warning: [HOME]/shop is in no git repository that could be known again after a move\nhint: portclaim move OLD \
                 NEW moves the ports of any project\n",
            )
            .run();
    }
}

#[test]
fn a_directory_that_may_be_there_still_keeps_its_ports() {
    let test = Test::new();
    test.repository("work/shop");
    test.project("work/shop", test.port(0));
    test.rename("work/shop", "store");
    // Whatever it is now.
    test.mkdir("work/shop");
    test.assert_unsure("work/shop", "store", "its directory is there");
    test.assert_shows("work/shop", test.port(0));
    fs::remove_dir(test.path("work/shop")).expect("it is empty");
    symlink("../store", test.path("work/shop")).expect("a link");
    test.assert_unsure("work/shop", "store", "its directory is there");
    fs::remove_file(test.path("work/shop")).expect("it is ours");
    symlink("nowhere", test.path("work/shop")).expect("a link");
    test.assert_unsure("work/shop", "store", "it is a link that leads to nothing");
    fs::remove_file(test.path("work/shop")).expect("it is ours");
    fs::remove_dir(test.path("work")).expect("it is empty");
    let why = "the directory around it does not exist either";
    test.assert_unsure("work/shop", "store", why);
    // As told.
    test.args(["move", "work/shop", "store"]).any_stdout().run();
    test.assert_is_new("store", test.port(0));
}

#[test]
fn the_move_that_is_proposed_is_one_that_a_shell_reads() {
    let test = Test::new();
    test.repository("my work/shop");
    test.project("my work/shop", test.port(0));
    test.rename("my work", "it's");
    let said = test
        .args(["allocate", "it's/shop", "--follow-git"])
        .any_stderr()
        .code(1)
        .run();
    let (_, hint) = said.stderr.split_once("if it was moved: ").expect("a hint");
    let (command, _) = hint.split_once("; if not").expect("a command");
    let command = command.replace("[HOME]", test.home().to_str().expect("UTF-8"));
    let script = command.replacen("portclaim", "\"$portclaim\"", 1);
    test.shell(&script).any_stdout().run();
    test.assert_shows("it's/shop", test.port(0));
}

#[test]
fn a_directory_that_cannot_be_looked_for_keeps_its_ports() {
    let test = Test::new();
    if !test.admit(NOBODY, "an unreadable home") {
        return;
    }
    chmod(test.home(), 0o777);
    test.repository("homes/a/shop");
    let allocate = |project: &str| {
        test.args(["allocate", project, "--follow-git"])
            .user(NOBODY)
    };
    allocate("homes/a/shop").any_stdout().run();
    test.rename("homes/a/shop", "homes/shop");
    chmod(&test.path("homes/a"), 0o700);
    allocate("homes/shop")
        .stderr_has("from [HOME]/homes/a/shop: it cannot be looked for: Permission denied")
        .stderr_has(UNSURE)
        .code(1)
        .run();
    // It need not be one that may be listed.
    chmod(&test.path("homes/a"), 0o711);
    allocate("homes/shop")
        .stdout(format!("{}\n", test.port(0)))
        .stderr_has("was moved to [HOME]/homes/shop")
        .run();
}

#[test]
fn a_project_that_cannot_be_looked_into_keeps_its_port_and_is_given_none_by_guessing() {
    let test = Test::new();
    if !test.admit(NOBODY, "a closed project") {
        return;
    }
    chmod(test.home(), 0o777);
    for project in ["shop", "blog"] {
        test.repository(project);
    }
    let allocate = |args: &[&str]| test.args([&["allocate"], args].concat()).user(NOBODY);
    let port = format!("{}\n", test.port(0));
    allocate(&["shop"]).stdout(&port).run();
    for project in ["shop", "blog"] {
        chmod(&test.path(project), 0o700);
    }
    allocate(&["shop", "--follow-git"])
        .stdout(&port)
        .stderr(
            "warning: it cannot be told in which git repository [HOME]/shop is: failed to inspect [HOME]/shop/.git: \
             Permission denied (os error 13)\nhint: portclaim move OLD NEW moves the ports of any project\n",
        )
        .run();
    allocate(&["blog", "--follow-git"])
        .stderr(
            "error: failed to inspect [HOME]/blog/.git\ncaused by: Permission denied (os error 13)\nhint: so it is not known \
             whether it was moved here; portclaim allocate without --follow-git gives it ports of its own\n",
        )
        .code(2)
        .run();
    assert_eq!(test.records().len(), 2);
}

#[test]
fn a_disk_that_is_not_mounted_where_it_was_is_no_move() {
    let test = Test::new();
    for name in ["disk", "other"] {
        test.mkdir(name);
    }
    let script = "
        mount -t tmpfs none \"$HOME/disk\"
        mkdir -p \"$HOME/disk/shop/.git\"
        \"$portclaim\" allocate disk/shop
        mount --bind \"$HOME/disk\" \"$HOME/other\"
        ! \"$portclaim\" allocate other/shop --follow-git
        umount \"$HOME/disk\"
        ! \"$portclaim\" allocate other/shop --follow-git
        \"$portclaim\" show disk/shop";
    let Some(call) = test.mounting(script, "a disk under two names") else {
        return;
    };
    let port = test.port(0);
    let begin = "error: it is not sure that [HOME]/other/shop was moved here from [HOME]/disk/shop";
    call.stdout(format!("{port}\n{port}\n"))
        .stderr_has(format!("{begin}: its directory is there\n"))
        .stderr_has(format!(
            "{begin}: the directory around it lies on another device"
        ))
        .run();
}

#[test]
fn of_two_places_none_is_guessed() {
    let test = Test::of_repository();
    test.rename("shop", "store");
    test.project("store", test.port(1));
    test.rename("store", "market");
    let before = test.records();
    test.args(["allocate", "market", "--follow-git"])
        .stderr(format!(
            "error: the repository of [HOME]/market was at more than one place: [HOME]/shop, [HOME]/store\nhint: if it was \
             moved: portclaim move OLD [HOME]/market; {UNSURE}\n"
        ))
        .code(1)
        .run();
    assert_eq!(test.records(), before);
    test.args(["move", "store", "market"]).any_stdout().run();
    test.assert_is_new("market", test.port(1));
    test.assert_healthy();
}

#[test]
fn ports_that_it_has_by_now_are_not_given_up() {
    let test = Test::of_repository();
    test.rename("shop", "store");
    test.project("store", test.port(1));
    let before = test.records();
    test.args(["allocate", "store", "--service", "web", "--follow-git"])
        .stderr_has(format!(
            "error: [HOME]/store has port {} already",
            test.port(1)
        ))
        .stderr_has("hint: nothing was moved")
        .code(1)
        .run();
    assert_eq!(test.records(), before);
}

#[test]
fn what_a_killed_move_left_comes_after() {
    let test = Test::of_repository();
    test.service("shop", "web");
    test.rename("shop", "store");
    // As if it had been killed after the first of them.
    let web = test.port(1);
    test.args(["remove", "--service", "web", "shop"])
        .any_stdout()
        .run();
    test.args([
        "allocate",
        "store",
        "--service",
        "web",
        "--port",
        &web.to_string(),
    ])
    .stdout(format!("{web}\n"))
    .run();
    test.assert_follows("shop", "store", &test.port(0).to_string(), test.port(0));
    test.args(["show", "store", "--service", "web"])
        .stdout(format!("{web}\n"))
        .run();
}

#[test]
fn many_that_ask_at_once_are_told_the_same() {
    let test = Test::of_repository();
    for service in ["web", "db"] {
        test.service("shop", service);
    }
    test.rename("shop", "store");
    let script = "
        for _ in 1 2 3 4 5 6 7 8; do
            \"$portclaim\" allocate store --follow-git & \"$portclaim\" allocate store --follow-git --service db &
        done
        wait";
    let Said { stdout, stderr, .. } = test.shell(script).any_stdout().any_stderr().run();
    let mut told: Vec<&str> = stdout.lines().collect();
    assert_eq!(told.len(), 16, "{stderr}");
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [0, 2].map(|at| test.port(at).to_string()), "{stderr}");
    let moves = stderr.matches("was moved to [HOME]/store").count();
    assert_eq!((moves, stderr.lines().count()), (1, 1), "{stderr}");
    assert_eq!(test.records().len(), 6);
    test.assert_healthy();
}
