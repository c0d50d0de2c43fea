//! What a process of its own resolves: in a directory that is deleted, on a disk that ignores case.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Output, Stdio};

use super::directory;
use crate::project::ProjectPath;

/// What each line of [`answer_standard_input`] starts with.
const MARK: &str = "portclaim: ";

/// No test, but what some tests start in another directory: resolves the lines of
/// standard input.
#[test]
#[ignore = "other tests start it"]
fn answer_standard_input() {
    let (input, mut output) = (io::stdin().lock(), io::stdout());
    if input.is_terminal() {
        return;
    }
    writeln!(output, "\n{MARK}ready").expect("write");
    for line in input.lines() {
        let answer = match ProjectPath::resolve(line.expect("read")) {
            Ok(path) => path.to_string(),
            Err(error) => format!("{error}: {}", error.io_error().expect("source")),
        };
        writeln!(output, "{MARK}{answer}").expect("write");
    }
}

/// Runs a shell script with `$1` as given and `$run` as the command that starts
/// [`answer_standard_input`], and returns its answers; `Err` is what went wrong before
/// it started.
fn answers(
    mut shell: Command,
    script: &str,
    argument: &str,
    lines: &[&str],
) -> Result<Vec<String>, String> {
    let (_, module) = module_path!().split_once("::").expect("module");
    let exe = std::env::current_exe().expect("path");
    let run = format!(
        "'{}' --exact {module}::answer_standard_input --ignored",
        exe.display()
    );
    let mut child = shell
        .args(["-ec", &format!("run=\"{run}\"\n{script}"), "sh", argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // The script may be over already.
    let _ = child
        .stdin
        .take()
        .expect("input")
        .write_all((lines.join("\n") + "\n").as_bytes());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("output");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    let mut answers = stdout
        .lines()
        .filter_map(|line| line.strip_prefix(MARK))
        .map(str::to_owned);
    if answers.next().is_none() {
        return Err(format!("{status}, {}", stderr.trim().replace('\n', "; ")));
    }
    assert!(status.success(), "{status}: {stdout}{stderr}");
    Ok(answers.collect())
}

#[test]
fn a_deleted_current_directory_is_an_error() {
    let (temp, base) = directory();
    fs::create_dir(temp.path().join("gone")).expect("directory");
    let script = "cd \"$1/gone\"; rmdir \"$1/gone\"; eval \"$run\"";
    let error = "failed to inspect .: the current directory has been deleted";
    assert_eq!(
        answers(
            Command::new("sh"),
            script,
            &base,
            &["", ".", "x", "..", "/no-such/x"]
        ),
        Ok([error, error, error, error, "/no-such/x"]
            .map(str::to_owned)
            .to_vec())
    );
}

/// Needs root, and a file system that ignores case; says so where there is none.
#[cfg(target_os = "linux")]
#[test]
fn a_real_disk_that_ignores_case_gives_each_directory_one_path() {
    let kinds = [
        (
            "ext4 with casefold",
            "mkfs.ext4 -q -O casefold -E encoding=utf8 \"$1/image\"
            mount -o loop \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"; chattr +F \"$1/at/dir\"",
        ),
        (
            "vfat",
            "mkfs.vfat \"$1/image\" >&2; mount -t vfat -o loop,utf8 \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"",
        ),
        (
            "NTFS through FUSE",
            "mkntfs -q -F \"$1/image\" >&2; lowntfs-3g -o ignore_case \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"",
        ),
    ];
    for (kind, make) in kinds {
        let (_temp, base) = directory();
        // Whatever is mounted in there, and whoever serves it, ends with the shell.
        let mut shell = Command::new("unshare");
        shell.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
        ]);
        let script = format!(
            "export PATH=\"$PATH:/usr/sbin:/sbin\"; truncate -s 32M \"$1/image\"; mkdir \"$1/at\"
            {make}
            cd \"$1/at/dir\"; mkdir -p Shop/Caf\u{e9} Shop/Deep; cd sHOP
            echo '{MARK}ready'; echo \"{MARK}$(ls ..)\"; echo \"{MARK}$(ls | grep -v -i deep)\"
            cat >../lines; while read -r line; do if [ -e \"$line\" ]; then echo \"$line\"; fi; done <../lines >../there
            eval \"$run\" <../there; cd /; umount \"$1/at\""
        );
        let dir = format!("{base}/at/dir");
        let absolute = [
            "Shop",
            "shop",
            "SHOP",
            "sHoP",
            "sHOP/deep/..",
            "./SHOP/../shop//",
        ]
        .map(|name| format!("{dir}/{name}"));
        let lines = [".", "../shop", "DEEP/.."]
            .into_iter()
            .chain(absolute.iter().map(String::as_str));
        let others = [
            "CAF\u{c9}",
            "caf\u{e9}",
            "Cafe\u{301}",
            "../SHOP/cAFe\u{301}",
            "Caf\u{e9}",
        ];
        let lines: Vec<&str> = lines.chain(others).collect();
        let mut output = io::stdout();
        match answers(shell, &script, &base, &lines) {
            Err(why) => writeln!(output, "skipped: no {kind} here: {why}").expect("write"),
            Ok(answers) => {
                let [shop, cafe, ready, answers @ ..] = &answers[..] else {
                    panic!("{answers:?}")
                };
                assert_eq!(ready, "ready");
                let (shops, cafes) = answers.split_at(9);
                let shop = format!("{dir}/{shop}");
                for (answer, line) in shops.iter().zip(&lines) {
                    assert_eq!(answer, &shop, "{kind}: {line}");
                }
                assert!(!cafes.is_empty());
                for answer in cafes {
                    assert_eq!(answer, &format!("{shop}/{cafe}"), "{kind}: {cafes:?}");
                }
                writeln!(
                    output,
                    "{kind}: {} spellings, {} of them not ASCII",
                    answers.len(),
                    cafes.len()
                )
                .expect("write");
            }
        }
    }
}
