//! The house is in order: which room may look into which, how long a file may be, what no
//! file says.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

/// The rooms whose names are words of the trade: no disk, no network, no policy. They may
/// use each other.
const WORDS: [&str; 7] = [
    "error",
    "notice",
    "port",
    "project",
    "record",
    "repository",
    "term",
];

/// Each room, and the rooms that it may use besides the words. A room stands below those that it
/// uses, so no arrow turns back; see [`FACE`].
const ROOMS: &[(&str, &[&str])] = &[
    ("fs", &[]),
    ("net", &[]),
    ("protocol", &["fs", "net"]),
    ("index", &["fs", "protocol"]),
    ("place", &["fs", "protocol", "index"]),
    ("pick", &["net", "protocol", "index", "place"]),
    ("migrate", &["fs", "net", "protocol", "index", "place"]),
    (
        "registry",
        &["fs", "net", "protocol", "index", "place", "pick", "migrate"],
    ),
    ("claim", &["fs", "net", "protocol", "place", "registry"]),
    ("prune", &["fs", "net", "protocol", "place", "registry"]),
    ("follow", &["registry", "prune"]),
    (
        "repair",
        &[
            "fs", "net", "protocol", "index", "place", "migrate", "registry", "prune",
        ],
    ),
    (
        "reset",
        &["fs", "protocol", "index", "place", "migrate", "registry"],
    ),
];

/// The one arrow that turns back: a registry hands out claims, and a claim is released
/// through its registry.
const FACE: (&str, &str) = ("registry", "claim");

/// Longest file, in lines without its tests and examples.
const LINES_MAX: usize = 500;

/// What no file says: written apart, for this one does not say it either.
const FORBIDDEN: [&str; 8] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("dbg", "!"),
    concat!("todo", "!("),
    concat!("unimplemented", "!"),
    concat!("#[", "allow("),
    concat!("#![", "allow("),
];

fn root() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the Rust files under the directories of these names, relative to the project.
fn sources(directories: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    let mut left: Vec<Utf8PathBuf> = directories.iter().map(|name| root().join(name)).collect();
    while let Some(directory) = left.pop() {
        for entry in directory.read_dir_utf8().expect("a directory") {
            let path = entry.expect("an entry").into_path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension() == Some("rs") {
                let path = path.strip_prefix(root()).expect("it is below");
                files.push(path.to_string());
            }
        }
    }
    assert!(
        files.len() > directories.len(),
        "{directories:?}: {files:?}"
    );
    files.sort();
    files
}

/// Returns a file without the tests at its foot, and without comments.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in without_tests(text).lines() {
        code.push_str(line.split("//").next().unwrap_or(line));
        code.push('\n');
    }
    code
}

fn without_tests(text: &str) -> &str {
    let end = text
        .find("mod tests {")
        .and_then(|at| text[..at].rfind("#[cfg("))
        .unwrap_or(text.len());
    &text[..end]
}

/// Returns the lines of a file without the examples in its documentation, which are tests.
fn without_examples(text: &str) -> Vec<&str> {
    let mut is_example = false;
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let comment = line.trim_start().strip_prefix("///").unwrap_or_default();
        let is_fence = comment.trim_start().starts_with("```");
        if is_fence {
            // What is fenced otherwise, as "text", is no example.
            is_example = if is_fenced {
                is_example
            } else {
                comment.trim() == "```"
            };
            is_fenced = !is_fenced;
        }
        if !is_example {
            lines.push(line);
        }
        is_example &= is_fenced;
    }
    assert!(!is_fenced, "a fence that is not closed");
    lines
}

/// The room that a file under `src` belongs to.
fn room(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let end = path.find('/').unwrap_or(path.len());
    path[..end].trim_end_matches(".rs")
}

/// Returns the first names of the paths in `code` that begin with `prefix`: each of them where a
/// group follows.
fn first_names(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // Not the end of a longer word.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            names.insert(word(rest));
            continue;
        }
        let mut depth = 0;
        for (at, character) in rest.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(character, '{' | ',') {
                names.insert(word(rest[at + 1..].trim_start()));
            }
        }
    }
    names.remove("");
    names
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}

/// Returns what the crate's root makes public, with the room that it comes from.
fn re_exports() -> BTreeMap<String, String> {
    let code = code(&read("src/lib.rs"));
    let mut exports = BTreeMap::new();
    for line in code.split("pub use ").skip(1) {
        let line = line
            .split(';')
            .next()
            .expect("a statement")
            .replace('\n', " ");
        let (path, names) = line.rsplit_once("::").expect("a path");
        for name in names.trim_matches(['{', '}', ' ']).split(',') {
            exports.insert(name.trim().to_owned(), word(path));
        }
    }
    assert_eq!(exports.get("Port").map(String::as_str), Some("port"));
    assert_eq!(exports.get("Filesystem").map(String::as_str), Some("fs"));
    exports
}

/// Returns the rooms that a file uses.
fn uses(path: &str, text: &str, exports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = code(text);
    let mut names = first_names(&code, "crate::");
    // In a room's first file, the module above is the crate itself.
    if path.matches('/').count() == 1 || path.ends_with("/mod.rs") && path.matches('/').count() == 2
    {
        for line in code.lines().filter(|line| line.starts_with("use super::")) {
            names.extend(first_names(line, "super::"));
        }
    } else if path.starts_with("src/cli/") {
        names.extend(first_names(&code, "super::super::"));
    }
    names
        .into_iter()
        .map(|name| exports.get(&name).cloned().unwrap_or(name))
        .collect()
}

/// Returns the arrows between rooms that the table does not know.
fn strangers(path: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let room = room(path);
    let allowed = ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map_or(&[][..], |(_, allowed)| allowed);
    uses(path, text, exports)
        .into_iter()
        .filter(|used| {
            let used = used.as_str();
            used != room
                && !WORDS.contains(&used)
                && !allowed.contains(&used)
                && (room, used) != FACE
        })
        .map(|used| format!("{path} uses crate::{used}"))
        .collect()
}

#[test]
fn no_room_looks_into_one_above_it() {
    let exports = re_exports();
    let mut found = Vec::new();
    let mut rooms = BTreeSet::new();
    for path in sources(&["src"]) {
        let room = room(&path);
        if matches!(room, "lib" | "main" | "cli" | "interceptor") {
            continue;
        }
        let is_known = WORDS.contains(&room) || ROOMS.iter().any(|(name, _)| *name == room);
        assert!(is_known, "{path}: the table does not know this room");
        rooms.insert(room.to_owned());
        found.extend(strangers(&path, &read(&path), &exports));
    }
    assert_eq!(
        found, [""; 0],
        "the table in tests/it/tidy.rs says which may"
    );
    for (room, _) in ROOMS {
        assert!(rooms.contains(*room), "there is no room {room} any more");
    }
}

#[test]
fn the_table_of_rooms_has_no_arrow_that_turns_back() {
    for (at, (room, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            let below = ROOMS[..at].iter().any(|(name, _)| name == used);
            assert!(below, "{room} uses {used}, which does not stand below it");
        }
    }
}

#[test]
fn every_arrow_of_the_table_is_used() {
    let exports = re_exports();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources(&["src"]) {
        let names = uses(&path, &read(&path), &exports);
        used.entry(room(&path).to_owned())
            .or_default()
            .extend(names);
    }
    for (room, allowed) in ROOMS {
        for other in *allowed {
            assert!(used[*room].contains(*other), "{room} does not use {other}");
        }
    }
    assert!(used[FACE.0].contains(FACE.1), "{FACE:?}");
}

#[test]
fn the_command_line_sees_the_library_as_an_embedder_does() {
    for path in sources(&["src"]) {
        if !matches!(room(&path), "cli" | "main") {
            continue;
        }
        let text = read(&path);
        let inner = first_names(&code(&text), "crate::");
        assert!(
            inner.is_empty(),
            "{path} uses {inner:?} of the crate's inside"
        );
        assert!(!text.contains("#[path"), "{path}");
        if path == "src/main.rs" {
            assert!(
                text.contains("mod cli;"),
                "the command line is the program's alone"
            );
        }
    }
    assert!(
        !read("src/lib.rs").contains("mod cli"),
        "it is not the library's"
    );
}

#[test]
fn the_interceptor_sees_the_library_as_an_embedder_does() {
    for path in sources(&["src/interceptor"]) {
        let text = read(&path);
        let inner = first_names(&code(&text), "crate::");
        assert!(
            inner.is_empty(),
            "{path} uses {inner:?} of the crate's inside"
        );
        // Of other rooms it takes only what the command line says and reads in the same way.
        let paths = text.matches("#[path").count();
        let of_cli = text.matches("#[path = \"../cli/").count();
        assert_eq!(paths, of_cli, "{path}");
        assert!(paths == 0 || path == "src/interceptor/main.rs", "{path}");
    }
    for file in ["src/lib.rs", "src/main.rs", "src/cli/mod.rs"] {
        assert!(
            !read(file).contains("interceptor/"),
            "{file} brings it to others"
        );
    }
}

#[test]
fn imports_are_read_as_they_are_written() {
    let exports = BTreeMap::from([("Port".to_owned(), "port".to_owned())]);
    let text = "//! crate::comment\nuse crate::index::{self, present};\nuse crate::{\n    fs::Dir,\n    \
                net::{probe, listen}, Port,\n};\nuse super::migrate::Only;\nfn f() { crate::repair::f(xcrate::no) }\n\
                #[cfg(test)]\nmod tests {\n    use crate::reset;\n}\n";
    let names: Vec<String> = uses("src/pick.rs", text, &exports).into_iter().collect();
    assert_eq!(names, ["fs", "index", "migrate", "net", "port", "repair"]);
    let names: Vec<String> = uses("src/fs/os.rs", "use super::Dir;\n", &exports)
        .into_iter()
        .collect();
    assert_eq!(names, [""; 0], "a neighbour in the room");
    assert_eq!(
        strangers("src/pick.rs", text, &exports),
        [
            "src/pick.rs uses crate::fs",
            "src/pick.rs uses crate::migrate",
            "src/pick.rs uses crate::repair"
        ]
    );
    assert_eq!(
        strangers("src/port.rs", "use crate::fs::Dir;\n", &exports).len(),
        1
    );
}

#[test]
fn no_file_says_what_is_to_be_done_later() {
    let mut found = Vec::new();
    for path in sources(&["src", "tests", "benches"]) {
        for (line, number) in read(&path).lines().zip(1..) {
            for word in FORBIDDEN {
                if line.contains(word) {
                    found.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_file_says_first_what_it_is() {
    for path in sources(&["src", "tests", "benches"]) {
        let text = read(&path);
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 10,
            "{path}: {first:?}"
        );
    }
}

#[test]
fn no_file_is_long() {
    for path in sources(&["src"]) {
        let lines = without_examples(without_tests(&read(&path))).len();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines without its tests"
        );
    }
}

#[test]
fn examples_are_told_from_other_lines() {
    let text = "/// One.\n    /// ```\n    /// two();\n    /// ```\nthree();\n/// ```text\n/// four\n/// ```\n// ```\n";
    assert_eq!(
        without_examples(text),
        [
            "/// One.",
            "three();",
            "/// ```text",
            "/// four",
            "/// ```",
            "// ```"
        ]
    );
}

#[test]
fn the_version_is_in_the_changelog() {
    let version = concat!("## ", env!("CARGO_PKG_VERSION"));
    let changelog = read("CHANGELOG.md");
    let is_told = changelog
        .lines()
        .any(|line| line == "## Unreleased" || line.starts_with(version));
    assert!(
        is_told,
        "CHANGELOG.md has neither \"{version}\" nor \"## Unreleased\""
    );
}

/// Returns the directories of the machine where this was written that a text names.
fn machine_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for path in ["/work", "/root"] {
            for (at, _) in line.match_indices(path) {
                let is_inside =
                    |character: char| character.is_alphanumeric() || "~.-_$}".contains(character);
                let (before, after) = (&line[..at], &line[at + path.len()..]);
                if !before.ends_with(is_inside)
                    && !after.starts_with(|next: char| next != '/' && is_inside(next))
                {
                    found.push(format!("line {number}: {line}"));
                }
            }
        }
    }
    found
}

#[test]
fn the_documents_name_no_directory_of_the_machine_where_they_were_written() {
    for document in ["README.md", "DESIGN.md", "CHANGELOG.md", "Cargo.toml"] {
        assert_eq!(machine_paths(&read(document)), [""; 0], "{document}");
    }
}

#[test]
fn paths_of_the_machine_are_told_from_others() {
    for line in [
        "in /work/tree",
        "`/root`",
        "(/root/.cargo)",
        "see /work",
        "file:///work/x",
    ] {
        assert_eq!(machine_paths(line).len(), 1, "{line}");
    }
    for line in [
        "~/work/shop",
        "/home/a/work",
        "/workspace",
        "/rooted",
        "the root/work",
        "$HOME/work",
    ] {
        assert_eq!(machine_paths(line), [""; 0], "{line}");
    }
}
