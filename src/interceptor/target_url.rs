//! The address that requests go to, and how their path is put behind it: byte for byte, for a
//! target's path may hold a whole address of its own.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, InvalidUri, InvalidUriParts, Parts, PathAndQuery, Scheme};

/// An http or https address without user, query and fragment.
#[derive(Clone, Debug)]
pub(super) struct TargetUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without the slash at its end.
    path: String,
}

impl TargetUrl {
    /// Whether TLS leads there.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Returns whether requests for it come to whoever listens at this address.
    pub(super) fn leads_to(&self, address: SocketAddr) -> bool {
        let default = if self.is_https() { 443 } else { 80 };
        let host = self.authority.host().trim_matches(['[', ']']);
        let local = address.ip();
        let is_host = match host.parse::<IpAddr>() {
            Ok(host) => host == local || host.is_loopback() && local.is_unspecified(),
            Err(_) => {
                host.eq_ignore_ascii_case("localhost")
                    && (local.is_loopback() || local.is_unspecified())
            }
        };
        is_host && self.authority.port_u16().unwrap_or(default) == address.port()
    }

    /// Returns the address itself, without a path.
    pub(super) fn server(&self) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        built(parts)
    }

    /// Returns how a request calls it in `Host`.
    pub(super) fn host(&self) -> HeaderValue {
        let authority = self.authority.as_str();
        let default = if self.is_https() { ":443" } else { ":80" };
        HeaderValue::from_str(authority.strip_suffix(default).unwrap_or(authority))
            .expect("an authority is of visible ASCII")
    }

    /// Returns the path for a request that asks for `wanted`.
    pub(super) fn path_to(&self, wanted: Option<&PathAndQuery>) -> Result<Uri, InvalidUri> {
        match (self.path.as_str(), wanted) {
            ("", Some(wanted)) => Ok(wanted.clone().into()),
            (path, wanted) => {
                let wanted = wanted.map_or("/", PathAndQuery::as_str);
                PathAndQuery::try_from(format!("{path}{wanted}")).map(Uri::from)
            }
        }
    }

    /// Returns a path as a whole address.
    pub(super) fn absolute(&self, path: &Uri) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = path.path_and_query().cloned();
        built(parts)
    }
}

fn built(parts: Parts) -> Uri {
    let uri: Result<Uri, InvalidUriParts> = Uri::from_parts(parts);
    uri.expect("scheme, authority and path make an address")
}

impl Default for TargetUrl {
    /// Where the Python interceptor sent requests.
    fn default() -> TargetUrl {
        "http://localhost:8764".parse().expect("it is an address")
    }
}

impl FromStr for TargetUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<TargetUrl, String> {
        if text.contains('#') {
            return Err("an address of a server has no fragment".to_owned());
        }
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.query().is_some() {
            return Err("the query is the request's".to_owned());
        }
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("an address begins with http:// or https:// and a host".to_owned());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err("only http and https are spoken".to_owned());
        }
        if authority.as_str().contains('@') {
            return Err(
                "no user and password in the address: they would be logged by others".to_owned(),
            );
        }
        let path = parts.path_and_query.map_or(String::new(), |path| {
            path.as_str().trim_end_matches('/').to_owned()
        });
        Ok(TargetUrl {
            scheme,
            authority,
            path,
        })
    }
}

impl std::fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(target: &str, wanted: &str) -> String {
        let target: TargetUrl = target.parse().expect("an address");
        let wanted: PathAndQuery = wanted.parse().expect("a path");
        let path = target.path_to(Some(&wanted)).expect("a path");
        target.absolute(&path).to_string()
    }

    #[test]
    fn a_path_is_put_behind_the_target_byte_for_byte() {
        let cases = [
            ("http://h:1", "/v1/models", "http://h:1/v1/models"),
            ("http://h:1/", "/v1?a=b&c=%2F", "http://h:1/v1?a=b&c=%2F"),
            ("https://h/p/", "//x%2Fy/../z", "https://h/p//x%2Fy/../z"),
            (
                "https://h/v3/https://api.example.com/v1/",
                "/chat?userId=1",
                "https://h/v3/https://api.example.com/v1/chat?userId=1",
            ),
            ("http://[::1]:8/", "/", "http://[::1]:8/"),
        ];
        for (target, wanted, uri) in cases {
            assert_eq!(joined(target, wanted), uri);
        }
    }

    #[test]
    fn an_address_that_leads_back_is_known() {
        let leads = |target: &str, address: &str| {
            let target: TargetUrl = target.parse().expect("an address");
            target.leads_to(address.parse().expect("an address"))
        };
        assert!(leads("http://LocalHost:8888/v1", "127.0.0.1:8888"));
        assert!(leads("http://[::1]:8888", "[::1]:8888"));
        assert!(leads("http://127.0.0.1", "0.0.0.0:80"));
        assert!(leads("https://192.168.1.2", "192.168.1.2:443"));
        assert!(!leads("http://127.0.0.2:8888", "127.0.0.1:8888"));
        assert!(!leads("http://localhost:8764", "127.0.0.1:8888"));
        assert!(!leads("http://localhost:8888", "192.168.1.2:8888"));
        assert!(!leads("http://example.com:8888", "127.0.0.1:8888"));
    }

    #[test]
    fn a_host_is_called_without_the_port_that_is_meant_anyway() {
        for (target, host) in [
            ("http://h:80/v1", "h"),
            ("http://h:443", "h:443"),
            ("https://h:443", "h"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            let target: TargetUrl = target.parse().expect("an address");
            assert_eq!(target.host(), host);
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for text in [
            "",
            "localhost:8764",
            "/v1",
            "ftp://h/",
            "http://user:secret@h/",
            "http://h/?key=1",
            "http://h/#top",
            "http://",
            "http://h o/",
        ] {
            assert!(text.parse::<TargetUrl>().is_err(), "{text:?}");
        }
    }
}
