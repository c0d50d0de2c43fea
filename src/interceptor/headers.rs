//! Which headers are of one connection and not of the message, and which say who a request comes from.

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// What is of one connection besides what `Connection` names (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The names that the Python interceptor gave identities, which its servers read.
pub(super) const IDENTITY: [HeaderName; 2] = [
    HeaderName::from_static("x-memory-user-id"),
    HeaderName::from_static("x-pycharm-instance"),
];

/// Where a request comes from, in a header and in a word that servers know.
pub(super) const SOURCE: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-source"),
    HeaderValue::from_static("pycharm-ai-chat"),
);

/// Where keys are, by the server that they are for.
const KEYS: [HeaderName; 5] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-litellm-api-key"),
];

/// What of a message is of its connection.
#[derive(Default)]
pub(super) struct Hop {
    /// The protocol that the connection is to change to. HTTP/2 is none: a client that offers it
    /// this way, as Java's does, goes on with HTTP/1.1 where it is not taken.
    pub(super) protocol: Option<HeaderValue>,
    /// Whether the reader takes fields behind the body.
    pub(super) takes_trailers: bool,
}

impl Hop {
    /// Takes it out of the headers. What `Connection` names goes as well, and the length of a body
    /// that comes in chunks: the chunks are right (RFC 9112, section 6.3).
    pub(super) fn take(headers: &mut HeaderMap) -> Hop {
        let mut hop = Hop::default();
        // Most messages have few of them: looking at each name is less than looking each up.
        let there =
            HOP_BY_HOP.map(|name| headers.keys().any(|there| *there == name).then_some(name));
        if there.iter().all(Option::is_none) {
            return hop;
        }
        hop.protocol = upgrade(headers);
        hop.takes_trailers =
            tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        for name in there.into_iter().flatten().chain(named) {
            headers.remove(name);
        }
        hop
    }
}

/// Returns whether the body is coded for the way in some other way than in chunks, once: it would not be the same without that.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = tokens(headers, &TRANSFER_ENCODING).filter(|coding| !coding.is_empty());
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) => !coding.eq_ignore_ascii_case("chunked"),
        (Some(_), Some(_)) => true,
    }
}

fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let is_meant = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let is_http2 = tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("h2c"));
    (is_meant && !is_http2).then(|| protocol.clone())
}

/// Asks for another protocol, or grants it.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Says that the body comes in chunks. Without it a GET would be taken to have none.
pub(super) fn set_chunked(headers: &mut HeaderMap) {
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
}

/// Asks for fields behind the body. Whoever sends `TE` names it in `Connection` (RFC 9110, section 10.1.4).
pub(super) fn set_takes_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONNECTION, HeaderValue::from_static("te"));
}

/// Returns whether the client sent a key. `Bearer` with nothing behind it is none: so an IDE sends an
/// empty field.
pub(super) fn has_key(headers: &HeaderMap) -> bool {
    let is_key = |name: &HeaderName| {
        headers.get_all(name).iter().any(|value| {
            let value = value.as_bytes().trim_ascii();
            !value.is_empty() && !value.eq_ignore_ascii_case(b"bearer")
        })
    };
    KEYS.iter().any(is_key)
}

/// Reads the name of a header that may say who a request comes from.
pub(super) fn identity_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| "this is no header's name".to_owned())?;
    let is_else = [HOST, CONTENT_LENGTH, EXPECT, TRAILER].contains(&name);
    if is_else || HOP_BY_HOP.contains(&name) || KEYS.contains(&name) {
        return Err("this header has another meaning".to_owned());
    }
    Ok(name)
}

/// Returns the words of a list that stands in one or several headers.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn what_is_of_the_connection_goes_and_all_else_stays() {
        let mut headers = map(&[
            ("connection", "close, X-Once"),
            ("connection", "x-twice"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-once", "1"),
            ("x-twice", "2"),
            ("trailer", "x-sum"),
            ("authorization", "Bearer k"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        let hop = Hop::take(&mut headers);
        assert!(hop.protocol.is_none() && hop.takes_trailers);
        for (codings, coded) in [
            ("chunked", false),
            ("Chunked, ", false),
            ("gzip, chunked", true),
            ("chunked, chunked", true),
            ("identity", true),
        ] {
            assert_eq!(
                is_coded(&map(&[("transfer-encoding", codings)])),
                coded,
                "{codings}"
            );
        }
        assert!(!is_coded(&HeaderMap::new()));
        let mut left: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["authorization", "set-cookie", "set-cookie", "trailer"]
        );
    }

    #[test]
    fn a_protocol_is_asked_for_by_two_headers() {
        let asks = |fields: &[(&str, &str)]| Hop::take(&mut map(fields)).protocol.is_some();
        assert!(asks(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket")
        ]));
        assert!(!asks(&[("upgrade", "websocket")]));
        assert!(!asks(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c")
        ]));
        let takes_trailers = |te| Hop::take(&mut map(&[("te", te)])).takes_trailers;
        assert!(takes_trailers("gzip;q=0.5, Trailers"));
        assert!(!takes_trailers("gzip"));
    }

    #[test]
    fn an_empty_key_is_none() {
        let has = |fields: &[(&str, &str)]| has_key(&map(fields));
        assert!(has(&[("authorization", "Bearer sk-1")]));
        assert!(has(&[("x-api-key", "1")]));
        assert!(!has(&[("authorization", "Bearer ")]));
        assert!(!has(&[("authorization", "")]));
        assert!(!has(&[("x-other", "1")]));
    }

    #[test]
    fn a_header_with_a_meaning_of_its_own_says_no_identity() {
        assert!(identity_name("x-sm-user-id").is_ok());
        for name in ["", "a b", "Host", "Authorization", "te", "content-length"] {
            assert!(identity_name(name).is_err(), "{name:?}");
        }
    }
}
