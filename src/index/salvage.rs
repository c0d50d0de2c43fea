//! What can still be read of a registry file that is damaged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::json;
use crate::port::Port;
use crate::project::ProjectPath;

/// Reads every mapping that stands in `bytes`, whatever else does: each string that is a
/// path in normal form and is followed by a colon and a port. In the order of the file;
/// a path that comes twice has its first place and its last port.
///
/// The file may be cut off, have the rest of a longer one behind its end, or contain a
/// block of zeros; all of these were seen, left by writers that truncate and write in
/// place. A mapping that is cut inside its number is not taken for a lower port. Where two
/// files were mixed in the middle of a path, however, the path found may be nobody's.
///
/// The time is linear in the length.
pub(crate) fn salvage(bytes: &[u8]) -> Vec<(ProjectPath, Port)> {
    let mut found: Vec<(ProjectPath, Port)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut at = 0;
    while let Some(open) = position(bytes, at, |byte| byte == b'"') {
        let close = match string_end(bytes, open) {
            StringEnd::Closed(close) => close,
            StringEnd::Broken(there) => {
                at = there;
                continue;
            }
            StringEnd::Missing => break,
        };
        let Some((path, port, end)) = mapping(bytes, open, close) else {
            // Not behind the quote but at it: in the tail of another file, what seemed to
            // open a string may have closed one. In sound JSON this costs nothing, since
            // no text between two strings is an absolute path.
            at = close;
            continue;
        };
        at = end;
        match places.entry(path.as_str().to_owned()) {
            Entry::Occupied(place) => found[*place.get()].1 = port,
            Entry::Vacant(place) => {
                place.insert(found.len());
                found.push((path, port));
            }
        }
    }
    found
}

/// Reads the mapping whose path stands between these two quotes, and where it ends.
fn mapping(bytes: &[u8], open: usize, close: usize) -> Option<(ProjectPath, Port, usize)> {
    // Most strings of a file are no paths: those are not decoded. (`\/` is a slash, too.)
    if !matches!(bytes.get(open + 1), Some(b'/' | b'\\')) {
        return None;
    }
    let colon = position(bytes, close + 1, |byte| !is_space(byte))?;
    if bytes[colon] != b':' {
        return None;
    }
    let value = position(bytes, colon + 1, |byte| !is_space(byte))?;
    let end = if bytes[value] == b'"' {
        let StringEnd::Closed(end) = string_end(bytes, value) else {
            return None;
        };
        end + 1
    } else {
        // What follows shows that the number is whole.
        let end = position(bytes, value, |byte| !byte.is_ascii_digit())?;
        if !is_space(bytes[end]) && !matches!(bytes[end], b',' | b'}') {
            return None;
        }
        end
    };
    let port = json::port(&bytes[value..end])?;
    let path = String::from_utf8(json::unquote(&bytes[open..=close])?.into_owned()).ok()?;
    Some((ProjectPath::from_normal(path).ok()?, port, end))
}

/// How a string ends.
enum StringEnd {
    /// With a quote, at this place.
    Closed(usize),
    /// Not: at this place stands a character that no JSON string contains.
    Broken(usize),
    /// The file ends first.
    Missing,
}

/// Finds the end of the string that is opened at `open`.
fn string_end(bytes: &[u8], open: usize) -> StringEnd {
    let mut escaped = false;
    for (at, &byte) in bytes.iter().enumerate().skip(open + 1) {
        match byte {
            0..b' ' => return StringEnd::Broken(at),
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return StringEnd::Closed(at),
            _ => {}
        }
    }
    StringEnd::Missing
}

fn position(bytes: &[u8], from: usize, is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.iter()
        .position(|&byte| is_it(byte))
        .map(|at| from + at)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::document::Document;
    use crate::port::PortRange;

    fn found(bytes: impl AsRef<[u8]>) -> Vec<(String, u16)> {
        salvage(bytes.as_ref())
            .into_iter()
            .map(|(path, port)| (path.as_str().to_owned(), port.get()))
            .collect()
    }

    fn list(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
        pairs
            .iter()
            .map(|&(path, port)| (path.to_owned(), port))
            .collect()
    }

    #[test]
    fn takes_paths_with_ports_and_nothing_else() {
        let text = r#"{"version": "/v", "start": 8888, "list": ["/l", 1], "mappings": {
            "/a" :8889, "/b":"20000", "\/c\u00e9\ud83d\ude00": 8890 , "rel": 1, "/d/": 1, "/e/../f": 1,
            "/g": 0, "/h": 65536, "/i": 88.5, "/j": -1, "/k": null, "/l": 8e3, "/m": "x", "/n\udcff": 1,
            "/\"q\"": 8891, "text: \"/no\": 8892,": 8893}}"#;
        let expected = [
            ("/a", 8889),
            ("/b", 20000),
            ("/c\u{e9}\u{1f600}", 8890),
            ("/\"q\"", 8891),
        ];
        assert_eq!(found(text), list(&expected));
    }

    #[test]
    fn a_path_that_comes_twice_has_its_first_place_and_its_last_port() {
        let text = r#"{"/a": 1, "/b": 2, "/a": 3, "/a": null}"#;
        assert_eq!(found(text), list(&[("/a", 3), ("/b", 2)]));
    }

    #[test]
    fn a_cut_number_is_not_taken_for_a_lower_port() {
        let text = "{\"mappings\": {\"/a\": 8888, \"/b\": 8889";
        assert_eq!(found(text), list(&[("/a", 8888)]));
        assert_eq!(found(format!("{text}\0\0\0")), list(&[("/a", 8888)]));
        assert_eq!(
            found(format!("{text}\n")),
            list(&[("/a", 8888), ("/b", 8889)])
        );
    }

    #[test]
    fn reads_on_in_the_tail_of_a_longer_file() {
        let new = r#"{"mappings": {"/new": 8888}, "next_available": 8889}"#;
        let expected = list(&[("/new", 8888), ("/old", 8890)]);
        // The tail begins: inside a path, at its closing quote, before its opening quote.
        for tail in [
            "ob/cut\": 8889,\n    \"/old\": 8890\n  }\n}",
            "ob/cut\": 8889, \"/old\": 8890}}",
            "\": 8889, \"/old\": 8890}}",
            " \"/old\": 8890}}",
            "9, \"/old\": 8890}}",
            "\\\": 8889,\n \"/old\": 8890}}",
        ] {
            assert_eq!(found([new, tail].concat()), expected, "{tail}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        assert_eq!(
            found(b"\xff\xfe{\"/a\xff\": 1, \"\xff\": 2, \"/b\": 3}"),
            list(&[("/b", 3)])
        );
        assert_eq!(found(b"\0\0\0\0/a\": 1,\n\"/b\": 3}"), list(&[("/b", 3)]));
        assert_eq!(found("{\"/a\nb\": 1, \"/c\": 3}"), list(&[("/c", 3)]));
        for nothing in [
            "",
            "\"",
            "\"\"",
            "\"/a",
            "\"/a\"",
            "\"/a\":",
            "\"/a\": \"1",
            "\"/a\" 1,",
            "/a: 1",
        ] {
            assert_eq!(found(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn the_time_is_linear() {
        // Each of these would take minutes if it were quadratic, and takes less than a second.
        let in_time = |bytes: &[u8]| {
            let begin = std::time::Instant::now();
            salvage(bytes);
            let start = bytes[..bytes.len().min(10)].escape_ascii();
            assert!(begin.elapsed().as_secs() < 60, "{start}");
        };
        let times = 300_000;
        for part in [
            "\"",
            "\"/",
            "\"/a\":",
            "\"/a\":\"",
            "\"/a\"   ",
            "\\\"",
            "\"/a\": 1",
            "\"/a\": \n",
            "\"\\",
        ] {
            in_time(part.repeat(times).as_bytes());
        }
        let spaces = " ".repeat(times);
        in_time(
            ["\"/a\"", &spaces, ":", &spaces, "\"", &spaces]
                .concat()
                .as_bytes(),
        );
    }

    proptest! {
        #[test]
        fn a_cut_file_gives_its_first_mappings(
            mappings in prop::collection::vec(("(/[^/\0.][^/\0]{0,8}){1,3}", 1u16..), 0..20),
            cut: prop::sample::Index,
        ) {
            let mut document = Document::new(PortRange::DEFAULT);
            document.assign(mappings.into_iter().map(|(path, port)| {
                let path = ProjectPath::from_normal(path).expect("normal");
                (path, Port::new(port).expect("port"))
            }));
            let bytes = document.to_bytes();
            let all: Vec<_> = document.mappings().map(|(path, port)| (path.clone(), port)).collect();
            let some = salvage(&bytes[..cut.index(bytes.len() + 1)]);
            prop_assert!(all.starts_with(&some));
            prop_assert_eq!(salvage(&bytes), all);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            salvage(&bytes);
        }

        #[test]
        fn nor_does_anything_like_a_registry(text in r#"(["/\\:,{}0-9a \n]|"/a": 8){0,80}"#) {
            salvage(text.as_bytes());
        }
    }
}
