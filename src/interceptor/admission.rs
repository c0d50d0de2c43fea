//! Who may send requests: programs of this host, and no web page that somebody happens to look at.
//!
//! A page can make a browser send requests to a loopback address, by its number or by a name of its
//! own that it lets point there (DNS rebinding). The browser says which page it is for in `Origin`, and
//! which name it used in `Host`; neither can be changed by the page. Where there is no `Origin`, as for an
//! image, `Sec-Fetch-Site` says whether the page is another's.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;

/// How near the page is that a browser sends a request for.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose requests are passed on.
#[derive(Debug)]
pub(super) struct Admission {
    /// In lower case.
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Host,
    Origin,
}

impl Admission {
    /// Loopback names are let in, the address that it listens on if there is one, and what is named here.
    pub(super) fn new(address: Option<IpAddr>, hosts: &[String], origins: &[String]) -> Admission {
        let named = hosts.iter().map(|host| host.to_ascii_lowercase());
        let address = address.filter(|it| !it.is_unspecified());
        Admission {
            hosts: named.chain(address.map(|it| it.to_string())).collect(),
            origins: (origins.iter())
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    /// Judges a request by its headers, and by the address that it names in full if it does.
    pub(super) fn judge(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
    ) -> Result<(), Refused> {
        // None is sent by HTTP/1.0, which no browser speaks.
        for value in headers.get_all(HOST) {
            let host = value.to_str().ok().and_then(|text| text.parse().ok());
            if !host.is_some_and(|host| self.is_host(&host)) {
                return Err(Refused::Host);
            }
        }
        if authority.is_some_and(|host| !self.is_host(host)) {
            return Err(Refused::Host);
        }
        let is_let_in = |value: &[u8]| {
            let is_it = |origin: &String| value.eq_ignore_ascii_case(origin.as_bytes());
            self.origins.iter().any(is_it)
        };
        let mut origins = headers.get_all(ORIGIN).iter();
        if !origins.all(|value| is_let_in(value.as_bytes())) {
            return Err(Refused::Origin);
        }
        // A page's images come without an origin.
        let is_own = |value: &[u8]| matches!(value, b"none" | b"same-origin");
        let mut sites = headers.get_all(&FETCH_SITE).iter();
        if !headers.contains_key(ORIGIN) && !sites.all(|value| is_own(value.as_bytes())) {
            return Err(Refused::Origin);
        }
        Ok(())
    }

    fn is_host(&self, host: &Authority) -> bool {
        // No user in front of the name, and nothing but a port behind it.
        let name = host.host();
        let port = host.as_str().strip_prefix(name);
        let is_port = |port: &str| {
            let digits = port.strip_prefix(':').unwrap_or("x");
            port.is_empty() || digits.bytes().all(|it| it.is_ascii_digit())
        };
        if !port.is_some_and(is_port) {
            return false;
        }
        let name = name.trim_matches(['[', ']']);
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            return address.is_loopback() || self.hosts.contains(&address.to_string());
        }
        self.hosts.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn judged(admission: &Admission, fields: &[(HeaderName, &str)]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        admission.judge(&headers, None)
    }

    proptest! {
        #[test]
        fn whatever_a_host_is_called_only_loopback_is_let_in(host in "([a-zA-Z0-9.:@\\[\\]%_-]|localhost|127\\.0\\.0\\.1|::1)*") {
            if judged(&Admission::new(None, &[], &[]), &[(HOST, &host)]).is_ok() {
                // As a browser that followed the name would see it.
                let end = host.rfind(':').filter(|at| !host[*at..].contains(']'));
                let name = host[..end.unwrap_or(host.len())].trim_matches(['[', ']']);
                let is_loopback = |address: IpAddr| address.is_loopback();
                let is_address = name.parse().is_ok_and(is_loopback);
                prop_assert!(is_address || name.eq_ignore_ascii_case("localhost"), "{host}");
            }
        }
    }

    #[test]
    fn loopback_names_are_let_in_and_no_others() {
        let admission = Admission::new(None, &[], &[]);
        for host in [
            "127.0.0.1:8888",
            "127.0.0.1",
            "127.8.9.1:1",
            "localhost:8888",
            "LocalHost",
            "[::1]:8888",
        ] {
            assert_eq!(judged(&admission, &[(HOST, host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "192.168.1.2:8888",
            "0.0.0.0",
            "[::2]",
            "",
            "a b",
            "localhost.",
            "[::1]p",
            "localhost:http",
        ] {
            assert_eq!(
                judged(&admission, &[(HOST, host)]),
                Err(Refused::Host),
                "{host}"
            );
        }
        let two = [(HOST, "localhost"), (HOST, "evil.example")];
        assert_eq!(judged(&admission, &two), Err(Refused::Host));
        let full = "evil.example:80".parse().expect("an authority");
        assert_eq!(
            admission.judge(&HeaderMap::new(), Some(&full)),
            Err(Refused::Host)
        );
    }

    #[test]
    fn web_pages_are_let_in_by_name_only() {
        let strict = Admission::new(None, &[], &[]);
        for origin in ["http://localhost:3000", "https://evil.example", "null"] {
            let answer = judged(&strict, &[(ORIGIN, origin)]);
            assert_eq!(answer, Err(Refused::Origin), "{origin}");
        }
        let open = Admission::new(None, &[], &["http://localhost:3000/".to_owned()]);
        assert_eq!(judged(&open, &[(ORIGIN, "http://LOCALHOST:3000")]), Ok(()));
        assert_eq!(
            judged(&open, &[(ORIGIN, "http://localhost:3001")]),
            Err(Refused::Origin)
        );
    }

    #[test]
    fn other_names_are_let_in_where_they_are_named() {
        let address = "192.168.1.2".parse().expect("an address");
        let admission = Admission::new(Some(address), &["Dev.Box".to_owned()], &[]);
        assert_eq!(judged(&admission, &[(HOST, "192.168.1.2:8888")]), Ok(()));
        assert_eq!(judged(&admission, &[(HOST, "dev.box:1")]), Ok(()));
        assert_eq!(
            judged(&admission, &[(HOST, "192.168.1.3")]),
            Err(Refused::Host)
        );
        let all = Admission::new("0.0.0.0".parse().ok(), &[], &[]);
        assert_eq!(judged(&all, &[(HOST, "192.168.1.2")]), Err(Refused::Host));
    }
}
