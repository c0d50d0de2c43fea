//! A registry on a file system that a program serves: sshfs, or one that bears its name.

use camino::Utf8Path;
use portclaim::{ErrorKind, Fate, Filesystem, Holder, Kept, ProjectPath, Prune, Registry, Request};

use crate::harness::{Test, skip};

/// Names the registry to the part of the test that runs where the file system is mounted.
const ROOT: &str = "PORTCLAIM_TEST_SSHFS_ROOT";

/// The name of the test, to run it again there.
const THIS: &str = "fuse::a_registry_on_sshfs_is_told_of_everywhere";

/// Mounts at `$HOME/at`: sshfs, which talks to its server through a pipe, so that nothing needs to
/// be reached; else a file system that shows a directory again, under the name of sshfs. Says
/// which, or why not.
const MOUNT: &str = r#"
mkdir "$HOME/served" "$HOME/at"
mounted() { grep -q " $HOME/at .* - fuse.sshfs " /proc/self/mountinfo; }
for server in /usr/lib/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/openssh/sftp-server; do
    if ! mounted && [ -x "$server" ] && command -v sshfs >"$HOME/said"; then
        printf '#!/bin/sh\nexec %s\n' "$server" >"$HOME/connect"
        chmod +x "$HOME/connect"
        sshfs -o "ssh_command=$HOME/connect" "localhost:$HOME/served" "$HOME/at" >"$HOME/said" 2>&1 || true
        ! mounted || echo "mounted: sshfs"
    fi
done
if ! mounted && command -v bindfs >"$HOME/said"; then
    bindfs -o subtype=sshfs "$HOME/served" "$HOME/at" >"$HOME/said" 2>&1 || true
    ! mounted || echo "mounted: bindfs"
fi
if ! mounted; then
    echo "unavailable: neither sshfs (with sftp-server) nor bindfs can be mounted: $(cat "$HOME/said")"
    exit 0
fi
trap 'umount "$HOME/at"' EXIT
"#;

/// Asks everything that tells of the file system.
const ASK: &str = r#"
registry="$HOME/at/registry/port_registry.json"
mkdir shop
say() { echo "== $*"; "$portclaim" --registry "$registry" "$@" 2>&1 || echo "exit code $?"; }
say allocate shop
say show shop
say doctor
say --json doctor
export PORTCLAIM_NO_NFS_WARNING=1
say allocate shop
say show shop
say doctor
echo "== library"
"$it" --exact "$this" --nocapture 2>&1
echo "== strace"
if command -v strace >"$HOME/said"; then
    locks() {
        strace -qq -f -e trace=flock -o "$HOME/trace" "$portclaim" --registry "$1" allocate shop >"$HOME/said"
        grep -c '^[0-9]* *flock(' "$HOME/trace" || true
    }
    # On a local disk there must be some, else the trace shows nothing.
    echo "here: $(locks "$HOME/local.json"), there: $("$portclaim" --registry "$registry" remove shop >"$HOME/said"; locks "$registry")"
else
    echo "none here"
fi
"#;

#[test]
fn a_registry_on_sshfs_is_told_of_everywhere() {
    if let Ok(root) = std::env::var(ROOT) {
        return the_library_tells(Utf8Path::new(&root));
    }
    let what = "a registry on sshfs";
    let test = Test::new();
    // Whatever is mounted in there, and whoever serves it, ends with the shell.
    let unshare = "unshare --mount --propagation private --pid --fork --kill-child --mount-proc";
    let script = format!("{MOUNT}{ASK}");
    let program = std::env::current_exe().expect("this program");
    let outer = format!(
        "why=$({unshare} true 2>&1) || {{ echo \"unavailable: no mount namespace: $why\"; exit 0; }}\n\
         exec {unshare} sh -euc \"$script\""
    );
    let call = test
        .shell(&outer)
        .env("script", script)
        .env("it", program)
        .env("this", THIS)
        .env(ROOT, test.path("at/registry"));
    let said = call.any_stdout().any_stderr().run().stdout;
    if let Some((_, why)) = said.split_once("unavailable: ") {
        return skip(what, why.trim());
    }
    let (mounted, answers) = said.split_once("== ").expect("answers");
    if mounted.trim() != "mounted: sshfs" {
        skip("sshfs itself", "bindfs takes its place");
    }
    let answers: Vec<&str> = answers.split("== ").collect();
    let [
        allocated,
        shown,
        found,
        found_json,
        allocated_quietly,
        shown_quietly,
        found_quietly,
        library,
        strace,
    ] = answers[..]
    else {
        panic!("{said}")
    };
    let port = test.port(0);
    let warning = "lies on a FUSE file system (fuse.sshfs): claims are safe";
    for answer in [allocated, shown, found] {
        assert!(answer.contains(warning), "{answer}");
    }
    for answer in [allocated, shown] {
        assert!(answer.contains(&format!("\n{port}\n")), "{answer}");
    }
    assert_eq!(allocated_quietly, format!("allocate shop\n{port}\n"));
    assert_eq!(shown_quietly, format!("show shop\n{port}\n"));
    for answer in [found, found_quietly] {
        assert!(
            answer.contains("found network-filesystem: [HOME]/at/registry: it lies on a file system (fuse.sshfs)"),
            "{answer}"
        );
        assert!(answer.ends_with("exit code 1\n"), "{answer}");
    }
    assert!(
        found_json.contains("\"network-filesystem\""),
        "{found_json}"
    );
    assert!(library.contains("1 passed"), "{library}");
    match strace.lines().nth(1) {
        Some("none here") => skip("whether a lock is taken on sshfs", "no strace here"),
        counts => {
            let counts = counts.and_then(|counts| counts.strip_prefix("here: "));
            let (here, there) = counts
                .and_then(|counts| counts.split_once(", there: "))
                .expect("counts");
            assert!(here.parse::<u32>().is_ok_and(|count| count > 0), "{strace}");
            assert_eq!(there, "0");
        }
    }
}

/// The part that the mount is there for.
fn the_library_tells(root: &Utf8Path) {
    let registry = Registry::open(root).expect("a registry");
    let filesystem = registry.filesystem().expect("readable").expect("it exists");
    let sshfs = Filesystem::Fuse {
        name: "fuse.sshfs".to_owned(),
    };
    assert_eq!(filesystem, sshfs);
    assert!(!filesystem.locks());
    assert_eq!(filesystem.to_string(), "a FUSE file system (fuse.sshfs)");
    // The only project, as the command line told it.
    let records: Vec<_> = registry
        .records()
        .expect("readable")
        .collect::<Result<_, _>>()
        .expect("readable");
    let [held] = &records[..] else {
        panic!("{records:?}")
    };
    let again = registry
        .claim(&Request::new(held.holder().clone()))
        .expect("its port");
    assert!(!again.is_new());
    // What needs locks, or to know that the registry is this machine's alone, is refused.
    let other = ProjectPath::from_normal("/nowhere").expect("a path");
    let prune = Prune::new(std::time::SystemTime::UNIX_EPOCH);
    for error in [
        registry.move_project(held.project(), &other).map(drop),
        registry.prune(&prune).map(drop),
    ] {
        let error = error.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::NoLocks, "{error}");
    }
    let forced = registry.prune(&prune.force(held.project().clone()));
    assert_eq!(
        forced.expect("it is looked for")[0].fate,
        Fate::Kept(Kept::There)
    );
    let other = registry
        .claim(&Request::new(Holder::new(other)).within(registry.range()))
        .expect("a port");
    assert!(other.is_new());
    assert_ne!(other.port(), held.port());
    other.release().expect("it is there");
}
