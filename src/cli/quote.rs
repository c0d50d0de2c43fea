//! Variables as other programs read them. A path may contain anything but NUL, and whoever
//! evaluates what is printed here runs nothing of it.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use super::args::Format;
use super::text::quoted;
use super::variables::Variable;

/// Returns the variables in a format, one statement each. (JSON is printed elsewhere: it is no
/// text of statements.)
pub(super) fn statements(format: Format, variables: &[Variable]) -> String {
    let mut text = String::new();
    for Variable { name, value } in variables {
        // Writing to a string does not fail.
        let _ = match format {
            Format::Shell | Format::Json => writeln!(text, "export {name}={}", quoted(value)),
            Format::Fish => writeln!(text, "set -gx {name} {}", fish(value)),
            Format::Powershell => writeln!(text, "$env:{name} = {}", powershell(value)),
            Format::Dotenv => writeln!(text, "{name}={}", dotenv(value)),
            Format::Github => {
                let end = delimiter(value);
                writeln!(text, "{name}<<{end}\n{value}\n{end}")
            }
        };
    }
    text
}

/// Nothing is special between single quotes, but they themselves and a backslash.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Only single quotes are, and it takes the typographic ones for the plain one. Each is doubled.
fn powershell(value: &str) -> String {
    let mut quoted = String::from("'");
    for character in value.chars() {
        if matches!(character, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

/// What no reader takes for anything else stands as it is, for there are readers that take quotes
/// for part of the value. All else is quoted, on one line.
fn dotenv(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if value.bytes().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            // The backtick: a shell may read the file, too.
            '"' | '\\' | '$' | '`' => quoted.extend(['\\', character]),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a line that ends a value, and that nobody who chose the value could know.
fn delimiter(value: &str) -> String {
    loop {
        let end = format!("portclaim_{}", unguessable());
        if !value.contains(&end) {
            return end;
        }
    }
}

/// Returns 32 digits that nobody can foretell: two keyed hashes, and the keys are random.
pub(super) fn unguessable() -> String {
    let keys = RandomState::new();
    format!("{:016x}{:016x}", keys.hash_one(0), keys.hash_one(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_their_readers() {
        let hostile = "/a'b\"c$(x)`y`\\z;\n\u{2018}\u{2019}\u{201b}";
        for (quoted, expected) in [
            (
                quoted(hostile),
                "'/a'\\''b\"c$(x)`y`\\z;\n\u{2018}\u{2019}\u{201b}'",
            ),
            (
                fish(hostile),
                "'/a\\'b\"c$(x)`y`\\\\z;\n\u{2018}\u{2019}\u{201b}'",
            ),
            (
                powershell(hostile),
                "'/a''b\"c$(x)`y`\\z;\n\u{2018}\u{2018}\u{2019}\u{2019}\u{201b}\u{201b}'",
            ),
            (
                dotenv(hostile),
                "\"/a'b\\\"c\\$(x)\\`y\\`\\\\z;\\n\u{2018}\u{2019}\u{201b}\"",
            ),
            (dotenv("/home/a/shop-2.x"), "/home/a/shop-2.x"),
            (dotenv("8888"), "8888"),
            (dotenv("/a b"), "\"/a b\""),
        ] {
            assert_eq!(quoted, expected);
        }
    }

    #[test]
    fn a_delimiter_is_another_one_each_time() {
        assert_ne!(delimiter("x"), delimiter("x"));
        assert_eq!(delimiter("x").len(), "portclaim_".len() + 32);
    }
}
