//! Names from disk may contain anything; a terminal must not obey them.

use std::borrow::Cow;

/// Returns `text` with everything escaped that a terminal could act on: control characters,
/// line separators, and characters that turn the direction of writing.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_active(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns a word of a command that a hint names, as a shell reads it: quoted, where it must be.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+,:@".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escape(&quoted(text)).into_owned())
}

/// Returns text in single quotes: a shell finds nothing special between them, but they themselves.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns one line for each.
pub(super) fn lines<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for one in all {
        text.push_str(&one.to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
        for plain in [
            "/home/a/shop",
            "caf\u{e9} \u{4e2d} \u{1f980}",
            "quote\" \\ '",
        ] {
            assert_eq!(escape(plain), plain);
        }
        assert_eq!(escape("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(escape("\u{1b}[31mred"), "\\u{1b}[31mred");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(escape("gnp.\u{202e}exe"), "gnp.\\u{202e}exe");
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_more() {
        for plain in ["/home/a/shop-2.x", "caf\u{e9}", "web_1"] {
            assert_eq!(word(plain), plain);
        }
        for (text, expected) in [
            ("", "''"),
            ("/a b", "'/a b'"),
            ("/a'b", r"'/a'\''b'"),
            ("/$(x)", "'/$(x)'"),
            ("~", "'~'"),
            ("a\u{1b}[31m", "'a\\u{1b}[31m'"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
