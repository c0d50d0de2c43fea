//! The key of requests that come without one: from a variable or a file, never from the command line, where
//! every user of the machine could read it.

#![expect(clippy::disallowed_methods, reason = "the file is the user's")]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hyper::header::HeaderValue;

use super::report::{Failure, warning};
use super::text::escape;

/// Longest file, bytes.
const LEN_MAX: u64 = 16 * 1024;

/// Returns what `Authorization` says for a key.
pub(super) fn authorization(key: &str, from: &str) -> Result<HeaderValue, Failure> {
    let refuse = |why: &str| {
        Failure::new(&format!("{from}: {why}"))
            .hint("a key is one line of letters, digits and signs")
    };
    let key = key.trim();
    if key.is_empty() {
        return Err(refuse("there is no key in it"));
    }
    let is_plain = key.bytes().all(|it| it.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {key}")).ok();
    let mut value = value
        .filter(|_| is_plain)
        .ok_or_else(|| refuse("what is in it is no key"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the key from a file. Others should not be able to.
pub(super) fn of_file(path: &Path) -> Result<HeaderValue, Failure> {
    let shown = path.display().to_string();
    let failed = |error: &std::io::Error| Failure::io(&format!("failed to read {shown}"), error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if metadata.mode() & 0o077 != 0 {
        warning(
            &format!("other users can read the key in {}", escape(&shown)),
            Some(&format!("chmod 600 {}", escape(&shown))),
        );
    }
    let mut text = String::new();
    file.take(LEN_MAX)
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    authorization(&text, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_and_is_not_shown() {
        let key = authorization(" sk-1\n", "k").unwrap_or_else(|_| panic!("it is a key"));
        assert_eq!(key.to_str().ok(), Some("Bearer sk-1"));
        assert!(!format!("{key:?}").contains("sk-1"));
        for text in ["", "\n", "two words", "a\nb", "é"] {
            assert!(authorization(text, "k").is_err(), "{text:?}");
        }
    }
}
