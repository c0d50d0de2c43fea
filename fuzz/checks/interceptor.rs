//! Any bytes as the name that a request calls this host by, and as the name of a project.
//!
//! Apart from the other checks, because it needs what the interceptor brings.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use portclaim::ProjectPath;

#[path = "../../src/interceptor/admission.rs"]
mod admission;
#[path = "../../src/interceptor/identity.rs"]
mod identity;

use admission::{Admission, Refused};

/// The first line is a host or an origin, the rest a project's name.
pub(crate) fn interceptor(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n');
    let (line, name) = data.split_at(end.unwrap_or(data.len()));
    if let Ok(value) = HeaderValue::from_bytes(line) {
        expect_loopback(&value);
        expect_no_page(&value);
    }
    let name = String::from_utf8_lossy(name.get(1..).unwrap_or_default());
    if let Ok(project) = ProjectPath::from_normal(format!("/{name}")) {
        expect_word(&project);
    }
}

/// Only names that lead to this host, whoever resolves them, are let in.
fn expect_loopback(value: &HeaderValue) {
    let headers = HeaderMap::from_iter([(HOST, value.clone())]);
    if Admission::new(None, &[], &[])
        .judge(&headers, None)
        .is_err()
    {
        return;
    }
    let host = value.to_str().expect("what is let in is text");
    let end = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let name = host[..end.unwrap_or(host.len())].trim_matches(['[', ']']);
    let is_loopback = name.parse().is_ok_and(|it: IpAddr| it.is_loopback());
    assert!(
        is_loopback || name.eq_ignore_ascii_case("localhost"),
        "{host}"
    );
}

/// No web page is let in that nobody named.
fn expect_no_page(value: &HeaderValue) {
    let local = HeaderValue::from_static("localhost");
    let headers = HeaderMap::from_iter([(HOST, local), (ORIGIN, value.clone())]);
    let answer = Admission::new(None, &[], &[]).judge(&headers, None);
    assert_eq!(answer, Err(Refused::Origin));
}

/// An identity is a word that may stand in a header, whatever the project is called.
fn expect_word(project: &ProjectPath) {
    let word = identity::of_project(project);
    assert!(identity::as_header(&word).is_some(), "{word}");
    let is_of_it = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    assert!(word.bytes().all(is_of_it) && word.len() <= 60, "{word}");
    if let Some(old) = identity::legacy(project) {
        assert!(old.starts_with("pycharm-"), "{old}");
        assert!(HeaderValue::from_str(&old).is_ok(), "{old}");
    }
}
