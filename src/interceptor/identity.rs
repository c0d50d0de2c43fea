//! Who a request comes from: a word for each project, which may stand in a header.

use std::fmt::Write;

use hyper::header::HeaderValue;
use portclaim::ProjectPath;
use sha2::{Digest, Sha256};

/// Longest part that comes from the project's name, bytes.
const NAME_MAX: usize = 40;

/// Bytes of the hash. Two of a thousand projects of one name meet by a chance of one in eight
/// thousand.
const HASH_LEN: usize = 4;

/// Returns the project's name in lower-case letters and digits of ASCII, with a hash of its path: two
/// projects of one name do not share a memory.
pub(super) fn of_project(project: &ProjectPath) -> String {
    let mut word = slug(project.name());
    let hash = Sha256::digest(project.as_str());
    for byte in &hash[..HASH_LEN] {
        let _ = write!(word, "{byte:02x}");
    }
    word
}

/// Returns the runs of letters and digits of a name, with a hyphen behind each.
fn slug(name: &str) -> String {
    let mut word = String::new();
    for run in name.split(|it: char| !it.is_ascii_alphanumeric()) {
        let left = NAME_MAX.saturating_sub(word.len() + 1);
        if !run.is_empty() && left > 0 {
            word.extend(run.chars().take(left).map(|it| it.to_ascii_lowercase()));
            word.push('-');
        }
    }
    if word.is_empty() {
        word.push_str("project-");
    }
    word
}

/// Returns the identity that the Python interceptor gave: `pycharm-` and the name up to its last dot. `None`
/// where it failed: such a name cannot stand in a header.
pub(super) fn legacy(project: &ProjectPath) -> Option<String> {
    let name = project.as_path().file_name().unwrap_or_default();
    let stem = match name.rfind('.') {
        // A dot at either end ends nothing.
        Some(at) if at > 0 && at + 1 < name.len() => &name[..at],
        _ => name,
    };
    let identity = format!("pycharm-{stem}");
    let is_plain = identity.bytes().all(|it| matches!(it, 0x20..=0x7e));
    is_plain.then_some(identity)
}

/// Returns a name as it may stand in a header; `None` where it may not.
pub(super) fn as_header(name: &str) -> Option<HeaderValue> {
    let is_plain = !name.is_empty() && name.bytes().all(|it| matches!(it, 0x21..=0x7e | b' '));
    (is_plain && name.trim() == name)
        .then(|| HeaderValue::from_str(name).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn project(path: &str) -> ProjectPath {
        ProjectPath::from_normal(path).expect("a path in its normal form")
    }

    #[test]
    fn a_name_is_told_in_letters_digits_and_hyphens() {
        // The first eight digits of sha256sum of the path.
        let cases = [
            ("/a/shop", "shop-06b75c53"),
            ("/b/shop", "shop-"),
            ("/a/My App.v2", "my-app-v2-"),
            ("/a/проект", "project-"),
            ("/a/--", "project-"),
            ("/", "project-8a5edab2"),
        ];
        for (path, start) in cases {
            let identity = of_project(&project(path));
            assert!(identity.starts_with(start), "{path}: {identity}");
            assert!(as_header(&identity).is_some(), "{identity}");
        }
        let long = of_project(&project(&format!("/{}", "x".repeat(200))));
        assert_eq!(long.len(), NAME_MAX + 2 * HASH_LEN);
    }

    proptest! {
        #[test]
        fn whatever_a_project_is_called_its_identity_is_one_word(name in "[^/\0]{1,300}") {
            prop_assume!(name != "." && name != "..");
            let identity = of_project(&project(&format!("/{name}")));
            let is_of_it = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
            prop_assert!(identity.bytes().all(is_of_it), "{identity}");
            prop_assert!(identity.len() <= NAME_MAX + 2 * HASH_LEN, "{identity}");
            prop_assert!(as_header(&identity).is_some());
        }
    }

    #[test]
    fn projects_of_one_name_are_told_apart() {
        let identities =
            ["/a/shop", "/b/shop", "/a/Shop", "/a/shop.web"].map(|path| of_project(&project(path)));
        for (at, one) in identities.iter().enumerate() {
            assert!(!identities[..at].contains(one), "{identities:?}");
        }
    }

    #[test]
    fn the_old_identity_is_the_stem_as_python_has_it() {
        let cases = [
            ("/a/my.app", Some("pycharm-my")),
            ("/a/my.app.lib", Some("pycharm-my.app")),
            ("/a/.hidden", Some("pycharm-.hidden")),
            ("/a/end.", Some("pycharm-end.")),
            ("/a/shop", Some("pycharm-shop")),
            ("/", Some("pycharm-")),
            ("/a/проект", None),
        ];
        for (path, identity) in cases {
            assert_eq!(legacy(&project(path)).as_deref(), identity, "{path}");
        }
    }

    #[test]
    fn what_would_break_a_header_is_none() {
        for name in ["", " a", "a ", "a\nb", "a\r\nx: y", "é", "\u{7f}"] {
            assert!(as_header(name).is_none(), "{name:?}");
        }
        assert!(as_header("Jane Doe").is_some());
    }
}
