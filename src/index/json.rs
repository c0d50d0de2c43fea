//! The JSON that Python writes, as far as the registry file needs it: strings in ASCII,
//! objects whose members keep their order and their spelling.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::de::StrRead;
use serde_json::value::RawValue;

use crate::port::Port;

/// One member of an object. The text is that of the file, so that whatever is not
/// understood can be written back as it was.
pub(super) struct Member<'a> {
    /// The key. Not always UTF-8: Python spells a path of other bytes with lone
    /// surrogates, which stand here as three bytes each (WTF-8).
    pub(super) name: Cow<'a, [u8]>,
    /// The key's text, quotes included.
    pub(super) key: &'a str,
    /// The value's text.
    pub(super) value: &'a str,
}

/// Reads an object. `Ok` says that all of it is valid JSON, inner values included.
///
/// Like a Python dictionary, a key that comes twice has its first place and its last value.
pub(super) fn members<'a>(
    json: &mut serde_json::Deserializer<StrRead<'a>>,
) -> serde_json::Result<Vec<Member<'a>>> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members: Vec<Member<'de>> = Vec::new();
            let mut places: HashMap<Cow<'de, [u8]>, usize> = HashMap::new();
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                let (key, value) = (key.get(), value.get());
                let name = unquote(key.as_bytes())
                    .ok_or_else(|| serde::de::Error::custom("a key is no string"))?;
                match places.entry(name.clone()) {
                    Entry::Occupied(place) => members[*place.get()].value = value,
                    Entry::Vacant(place) => {
                        place.insert(members.len());
                        members.push(Member { name, key, value });
                    }
                }
            }
            Ok(members)
        }
    }

    json.deserialize_map(Object)
}

/// Returns what a JSON string says, `None` where `text` is none. `text` includes the
/// quotes, and may be any bytes.
pub(super) fn unquote(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    // Asked for bytes, serde_json lets lone surrogates pass; asked for a string, it
    // would refuse the whole file for one path.
    let mut json = serde_json::Deserializer::from_slice(text);
    let bytes = json.deserialize_bytes(Bytes).ok()?;
    json.end().ok()?;
    Some(Cow::Owned(bytes))
}

/// Returns the port that a value says: a number or, as hand-edited registries have it, a
/// string of one. The Python system gave out either.
pub(super) fn port(value: &[u8]) -> Option<Port> {
    let text = unquote(value).unwrap_or(Cow::Borrowed(value));
    // One port has one spelling; JSON has no such numbers in any case.
    if text.starts_with(b"0") {
        return None;
    }
    std::str::from_utf8(&text).ok()?.parse().ok()
}

/// Returns how deep the arrays and objects of a valid JSON text are nested.
pub(super) fn depth(value: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    if !value.starts_with(['[', '{']) {
        return 0;
    }
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Appends `text` as the JSON string that Python's `json` makes of it: ASCII only.
pub(super) fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c| !matches!(c, ' '..='~') || matches!(c, '"' | '\\')) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    push_escape(out, *unit);
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escape(out: &mut String, unit: u16) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.extend(char::from_digit(u32::from(unit >> shift & 15), 16));
    }
}

/// An object that is being written, laid out as by Python's `json.dump(indent=2)`.
pub(super) struct Object<'a> {
    out: &'a mut String,
    level: usize,
    empty: bool,
}

impl Object<'_> {
    /// Begins an object that has `level` others around it.
    pub(super) fn open(out: &mut String, level: usize) -> Object<'_> {
        out.push('{');
        Object {
            out,
            level,
            empty: true,
        }
    }

    /// Begins the next member. The caller appends its key, `: ` and its value.
    pub(super) fn member(&mut self) -> &mut String {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        self.break_line(self.level + 1);
        self.out
    }

    /// Ends the object.
    pub(super) fn close(mut self) {
        if !self.empty {
            self.break_line(self.level);
        }
        self.out.push('}');
    }

    fn break_line(&mut self, level: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", level));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        quote(&mut out, text);
        out
    }

    #[test]
    fn strings_are_those_of_python() {
        // By python3: json.dumps(text).
        for (text, json) in [
            ("", r#""""#),
            ("/home/a b/~", r#""/home/a b/~""#),
            ("\"\\/", r#""\"\\/""#),
            (
                "\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}",
                r#""\n\r\t\b\f\u0000\u001f\u007f""#,
            ),
            ("\u{e9}\u{d55c}\u{2028}", r#""\u00e9\ud55c\u2028""#),
            ("\u{1f600}\u{10ffff}", r#""\ud83d\ude00\udbff\udfff""#),
        ] {
            assert_eq!(quoted(text), json);
        }
    }

    #[test]
    fn lone_surrogates_are_read_as_they_are_and_pairs_joined() {
        let says = |text: &str| unquote(text.as_bytes()).map(Cow::into_owned);
        assert_eq!(says(r#""/p/\udcff""#), Some(b"/p/\xed\xb3\xbf".to_vec()));
        assert_eq!(says(r#""\ud83dx""#), Some(b"\xed\xa0\xbdx".to_vec()));
        assert_eq!(says(r#""\ud83d\n""#), Some(b"\xed\xa0\xbd\n".to_vec()));
        assert_eq!(
            says(r#""\ud83d\ud83d\uDE00""#),
            Some(b"\xed\xa0\xbd\xf0\x9f\x98\x80".to_vec())
        );
        for none in [
            "",
            "\"",
            "x",
            "8888",
            r#""\""#,
            r#""\x""#,
            r#""\u12""#,
            r#""a\n"b""#,
        ] {
            assert_eq!(says(none), None, "{none}");
        }
    }

    #[test]
    fn only_whole_numbers_are_ports() {
        for (text, number) in [
            ("1", 1),
            ("65535", 65535),
            ("\"20000\"", 20000),
            (r#""\u0038""#, 8),
        ] {
            assert_eq!(port(text.as_bytes()), Port::new(number), "{text}");
        }
        for text in [
            "0", "65536", "-1", "8888.0", "1e3", "null", "true", "\"\"", "\"08\"", "\" 8\"", "[8]",
            "{}", "",
        ] {
            assert_eq!(port(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, deep) in [
            ("1", 0),
            ("\"[\"", 0),
            ("[]", 1),
            (r#"{"[\"[": [1, {}, "]]"]}"#, 3),
            ("[[], {}, []]", 2),
        ] {
            assert_eq!(depth(text), deep, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(text: String) {
            let json = quoted(&text);
            prop_assert!(json.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(unquote(json.as_bytes()).expect("a string"), text.as_bytes());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (unquote(&bytes), port(&bytes), depth(&String::from_utf8_lossy(&bytes)));
        }
    }
}
