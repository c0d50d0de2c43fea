//! Registry files as Python and people write them.

mod generated;

use super::*;
use crate::project::Holder;

fn path(text: &str) -> ProjectPath {
    ProjectPath::from_normal(text).expect("normal")
}

fn port(number: u16) -> Port {
    Port::new(number).expect("port")
}

fn set(text: &str) -> PortSet {
    text.parse().expect("a set")
}

fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes()).expect(text)
}

fn damage(bytes: impl AsRef<[u8]>) -> Damage {
    Document::parse(bytes.as_ref()).expect_err("damage")
}

fn text(document: &Document) -> String {
    String::from_utf8(document.to_bytes()).expect("UTF-8")
}

fn mappings(document: &Document) -> Vec<(String, u16)> {
    let owned = |(path, port): (&ProjectPath, Port)| (path.as_str().to_owned(), port.get());
    document.mappings().map(owned).collect()
}

fn list(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
    pairs
        .iter()
        .map(|&(path, port)| (path.to_owned(), port))
        .collect()
}

/// By python3: `json.dumps({"version": "1.0", ..., "next_available": 8888}, indent=2)`.
const NEW: &str = r#"{
  "version": "1.0",
  "port_range": {
    "start": 8888,
    "end": 9999
  },
  "mappings": {},
  "next_available": 8888
}"#;

/// By python3, too: all that a path can contain, and unknown members.
const ODD: &str = r#"{
  "version": "2.0-beta",
  "port_range": {
    "start": "x",
    "end": null,
    "more": [
      1,
      2
    ]
  },
  "lone\udc80": [
    "\ud800",
    {
      "k\udfff": []
    }
  ],
  "mappings": {
    "/home/a/shop": 8888,
    "/caf\u00e9": 8889,
    "/\ud83d\ude00": 8890,
    "/del\u007f": 8891,
    "/a\"b\\c/d": 8892,
    "/n\nr\rt\tb\bf\f": 8893,
    "/\u0001\u001f\u0000": 8894,
    "/p/bad\udcff": 8895,
    "rel": 8896,
    "/str": "20000",
    "/null": null,
    "/f": 1.5,
    "/nested": {
      "a": [
        1,
        [],
        {}
      ]
    },
    "/\ud55c\u2028 ~": 8897
  },
  "next_available": 8898,
  "note": "\u00e9"
}"#;

#[test]
fn a_new_file_is_that_of_the_python_system() {
    let mut document = Document::new(PortRange::DEFAULT);
    assert_eq!(text(&document), NEW);
    assert_eq!(document, parse(NEW));
    assert!(!document.is_ours());

    document.assign([
        (path("/abs/resolved/path"), port(8888)),
        (path("/caf\u{e9}/\u{1f600}"), port(8890)),
    ]);
    document.set_next_available(port(8889));
    document.set_ours(set("8888-8890,8893"));
    let expected = r#"{
  "version": "1.0",
  "port_range": {
    "start": 8888,
    "end": 9999
  },
  "mappings": {
    "/abs/resolved/path": 8888,
    "/caf\u00e9/\ud83d\ude00": 8890
  },
  "next_available": 8889,
  "portclaim": {
    "format": 1,
    "ports": "8888-8890,8893"
  }
}"#;
    assert_eq!(text(&document), expected);
    assert_eq!(document, parse(expected));
    assert_eq!(document.ours(), Some(&set("8888-8890,8893")));
    assert!(!text(&document.without_own_key()).contains("portclaim"));
}

#[test]
fn what_python_wrote_is_written_back_byte_for_byte() {
    let document = parse(ODD);
    assert_eq!(text(&document), ODD);
    let expected = [
        ("/home/a/shop", 8888),
        ("/caf\u{e9}", 8889),
        ("/\u{1f600}", 8890),
        ("/del\u{7f}", 8891),
        ("/a\"b\\c/d", 8892),
        ("/n\nr\rt\tb\u{8}f\u{c}", 8893),
        ("/str", 20000),
        ("/\u{d55c}\u{2028} ~", 8897),
    ];
    assert_eq!(mappings(&document), list(&expected));
    let kept: Vec<_> = document
        .kept()
        .map(|kept| (kept.key, kept.why, kept.port.map(Port::get)))
        .collect();
    let expected = [
        (r"/\u0001\u001f\u0000", Unfit::NotNormal, Some(8894)),
        (r"/p/bad\udcff", Unfit::NotUtf8, Some(8895)),
        ("rel", Unfit::NotNormal, Some(8896)),
        ("/null", Unfit::NotAPort, None),
        ("/f", Unfit::NotAPort, None),
        ("/nested", Unfit::NotAPort, None),
    ];
    assert_eq!(
        kept,
        expected.map(|(key, why, port)| (key.to_owned(), why, port))
    );
}

#[test]
fn a_file_of_another_form_keeps_all_but_its_white_space() {
    let document = parse(
        "\n{\"x\":{\"b\":[1,  2.50,1E5]},\t\"mappings\":{\"/caf\u{e9}\":1,\"r\u{e9}l\":[ ]},\"y\":\"\\/\"} ",
    );
    let expected = "{\n  \"x\": {\"b\":[1,  2.50,1E5]},\n  \"mappings\": {\n    \"/caf\\u00e9\": 1,\n    \"r\u{e9}l\": [ ]\n  },\n  \"y\": \"\\/\"\n}";
    assert_eq!(text(&document), expected);
    assert_eq!(parse(expected), document);
}

#[test]
fn each_damage_is_told() {
    for (bytes, expected) in [
        ("", Damage::Empty),
        (" \n", Damage::Empty),
        ("[]", Damage::NotAnObject),
        ("[1, 2", Damage::NotAnObject),
        ("null", Damage::NotAnObject),
        ("8888", Damage::NotAnObject),
        ("\"mappings\"", Damage::NotAnObject),
        ("{}", Damage::NoMappings),
        ("{\"version\": \"1.0\"}", Damage::NoMappings),
        ("{\"mappings\": []}", Damage::MappingsNotAnObject),
        ("{\"mappings\": null}", Damage::MappingsNotAnObject),
        ("{\"mappings\": \"{}\"}", Damage::MappingsNotAnObject),
        ("{\"mappings\": {}}}", Damage::ExtraData),
        ("{\"mappings\": {}}\n  }\n}", Damage::ExtraData),
        ("{\"mappings\": {}}\0", Damage::ExtraData),
    ] {
        assert_eq!(damage(bytes), expected, "{bytes:?}");
    }
    assert_eq!(
        damage(b"{\"mappings\": {\"/\xff\": 1}}"),
        Damage::NotUtf8(16)
    );
    assert_eq!(damage(b"\x7fELF\x02\x80"), Damage::NotUtf8(5));
    for bytes in [
        "\0\0\0\0",
        "\u{feff}{\"mappings\": {}}",
        "{\"mappings\": {},}",
        "{\"mappings\": {\"/a\": 08}}",
        "{\"mappings\": {\"/a\nb\": 8}}",
        "{\"mappings\": {\"/a\": NaN}}",
        "{\"mappings\": {}, \"x\": \"\\x\"}",
        "{1: 2}",
    ] {
        assert!(matches!(damage(bytes), Damage::NotJson(_)), "{bytes:?}");
    }
    for len in 1..ODD.len() {
        // serde_json does not say of "1." that its end is missing.
        if !ODD[..len].ends_with("1.") {
            assert_eq!(damage(&ODD[..len]), Damage::Torn, "{len}");
        }
    }
    assert_eq!(damage("[]").to_string(), "it is not a JSON object");
}

#[test]
fn deep_nesting_is_an_error_and_overflows_nothing() {
    let nested =
        |deep: usize, member: fn(&str) -> String| member(&("[".repeat(deep) + &"]".repeat(deep)));
    let members: [fn(&str) -> String; 3] = [
        |value| format!("{{\"mappings\": {{}}, \"x\": {value}}}"),
        |value| format!("{{\"mappings\": {{\"/a\": {value}}}}}"),
        |value| format!("{{\"mappings\": {{}}, \"portclaim\": {value}}}"),
    ];
    for member in members {
        assert!(Document::parse(nested(DEPTH_MAX, member).as_bytes()).is_ok());
        assert_eq!(damage(nested(DEPTH_MAX + 1, member)), Damage::TooDeep);
        assert_eq!(damage(nested(1_000_000, member)), Damage::TooDeep);
    }
    assert_eq!(
        damage(nested(1_000_000, str::to_owned)),
        Damage::NotAnObject
    );
    assert_eq!(damage("{\"a\":".repeat(1_000_000)), Damage::Torn);
    let deep_mappings = "{\"mappings\": ".repeat(1_000_000) + "{}" + &"}".repeat(1_000_000);
    assert_eq!(damage(deep_mappings), Damage::TooDeep);
}

#[test]
fn a_key_that_comes_twice_has_its_first_place_and_its_last_value() {
    // By python3: json.dumps(json.loads(...), indent=2).
    let document = parse(
        r#"{"a": 1, "mappings": [], "b": 2, "mappings": {"/a": 1, "/b": 2, "/\u0061": 3, "/c": null, "/c": 4, "/b": null, "x\udcff": 1, "x\uDCFF": 2}, "a": 3, "portclaim": 1}"#,
    );
    let expected = r#"{
  "a": 3,
  "mappings": {
    "/a": 3,
    "/b": null,
    "/c": 4,
    "x\udcff": 2
  },
  "b": 2,
  "portclaim": 1
}"#;
    assert_eq!(text(&document), expected);
    assert_eq!(mappings(&document), list(&[("/a", 3), ("/c", 4)]));
}

#[test]
fn a_claim_takes_the_place_of_what_the_file_says_of_its_path() {
    let mut document =
        parse(r#"{"mappings": {"/a": 1, "rel": 7, "/b": null, "/c": "3", "/d": "4"}}"#);
    document.assign(
        [
            ("/new", 9),
            ("/c", 3),
            ("/b", 2),
            ("/newer", 10),
            ("/new", 11),
        ]
        .map(|(text, number)| (path(text), port(number))),
    );
    let expected = r#"{
  "mappings": {
    "/a": 1,
    "rel": 7,
    "/b": 2,
    "/c": 3,
    "/d": "4",
    "/newer": 10,
    "/new": 11
  }
}"#;
    assert_eq!(text(&document), expected);
    document.retain(|path, port| path.as_str() == "/d" || port.get() > 10);
    assert_eq!(
        text(&document),
        "{\n  \"mappings\": {\n    \"rel\": 7,\n    \"/d\": \"4\",\n    \"/new\": 11\n  }\n}"
    );
}

#[test]
fn what_the_file_lacks_is_added_where_python_has_it() {
    let mut document = parse(r#"{"version": 3, "mappings": {}, "x": 1}"#);
    assert_eq!(document.next_available(), None);
    document.set_ours(PortSet::new());
    document.set_next_available(port(7));
    let expected = r#"{
  "version": 3,
  "mappings": {},
  "next_available": 7,
  "x": 1,
  "portclaim": {
    "format": 1,
    "ports": ""
  }
}"#;
    assert_eq!(text(&document), expected);
    assert!(parse(expected).is_ours());
}

#[test]
fn a_file_says_more_than_the_claims_where_somebody_else_wrote_into_it() {
    let mut new = parse(NEW);
    new.assign([(path("/home/a/shop"), port(8888))]);
    assert!(new.has_more(), "a mapping that is not portclaim's");
    new.set_ours(set("8888"));
    new.set_checksum();
    assert!(!new.has_more());
    for file in [
        r#"{"mappings": {}, "note": "mine"}"#,
        r#"{"mappings": {"relative": 1}}"#,
        r#"{"mappings": {"/a": 0}}"#,
    ] {
        let mut document = parse(file);
        document.set_ours(PortSet::new());
        document.set_next_available(port(8888));
        document.set_checksum();
        assert!(document.has_more(), "{file}");
    }
}

#[test]
fn next_available_is_a_port_or_ignored() {
    for (value, expected) in [("1", Some(port(1))), ("65535", Some(port(65535)))] {
        assert_eq!(
            parse(&format!(
                "{{\"mappings\": {{}}, \"next_available\": {value}}}"
            ))
            .next_available(),
            expected
        );
    }
    for value in [
        "0", "65536", "-1", "8888.0", "\"8888\"", "null", "[8888]", "{}", "1e999",
    ] {
        let file = format!("{{\n  \"mappings\": {{}},\n  \"next_available\": {value}\n}}");
        let mut document = parse(&file);
        assert_eq!(document.next_available(), None, "{value}");
        assert_eq!(text(&document), file);
        document.set_next_available(port(5));
        assert_eq!(document.next_available(), Some(port(5)));
    }
}

#[test]
fn a_member_portclaim_of_somebody_else_is_replaced_and_its_rest_kept() {
    for value in [
        "null",
        "\"8888\"",
        "[]",
        "{}",
        r#"{"format": 1}"#,
        r#"{"ports": "8888"}"#,
        r#"{"format": 2, "ports": "8888"}"#,
        r#"{"format": "1", "ports": "8888"}"#,
        r#"{"format": 1, "ports": [8888]}"#,
        r#"{"format": 1, "ports": 8888}"#,
        r#"{"format": 1, "ports": "8888-"}"#,
        r#"{"format": 1, "ports": "8888\udcff"}"#,
    ] {
        let file = format!("{{\n  \"portclaim\": {value},\n  \"mappings\": {{}}\n}}");
        let mut document = parse(&file);
        assert!(!document.is_ours(), "{value}");
        assert_eq!(text(&document), file);
        document.set_ours(set("1-2"));
        assert_eq!(parse(&text(&document)), document);
        assert!(
            text(&document).starts_with("{\n  \"portclaim\": {\n"),
            "its place"
        );
    }
    let mut document = parse(
        r#"{"portclaim": {"x\ud800": [1], "ports": "7", "y": null, "format": 1}, "mappings": {}}"#,
    );
    assert_eq!(document.ours(), Some(&set("7")));
    document.set_ours(set("7-8"));
    let expected = r#"{
  "portclaim": {
    "x\ud800": [1],
    "ports": "7-8",
    "y": null,
    "format": 1
  },
  "mappings": {}
}"#;
    assert_eq!(text(&document), expected);
    assert_eq!(
        text(&document.without_own_key()),
        "{\n  \"mappings\": {}\n}"
    );
}

#[test]
fn what_others_changed_in_the_mappings_shows() {
    let mut document = Document::new(PortRange::DEFAULT);
    document.assign([(path("/a"), port(1)), (path("/b"), port(2))]);
    document.set_ours(set("1-2"));
    assert!(parse(&text(&document)).is_edited(), "nothing is noted yet");
    document.set_checksum();
    let sound = text(&document);
    assert_eq!(parse(&sound), document);
    for (from, to, is_edited) in [
        ("\"/a\": 1", "\"/a\": 3", true),
        ("\"/a\"", "\"/c\"", true),
        ("\"/a\": 1,\n    \"/b\": 2", "\"/b\": 2, \"/a\": 1", true),
        ("\"/a\": 1,", "", true),
        ("\"check\"", "\"other\"", true),
        ("\"/a\": 1", "\"/a\": \"1\"", false),
        ("\"1.0\"", "\"1.1\"", false),
    ] {
        let changed = sound.replace(from, to);
        assert_ne!(changed, sound);
        assert_eq!(parse(&changed).is_edited(), is_edited, "{to}");
    }
}

#[test]
fn services_stand_in_portclaims_own_member() {
    let mut document = Document::new(PortRange::DEFAULT);
    document.set_ours(PortSet::new());
    let without = text(&document);
    let holder = Holder::with_service(path("/a"), "web".to_owned());
    let services = Services::from([(port(3), holder)]);
    document.set_services(services.clone());
    let own = "    \"services\": {\n      \"/a (web)\": 3\n    }\n";
    assert!(text(&document).contains(own), "{}", text(&document));
    assert_eq!(parse(&text(&document)).services(), &services);
    assert_eq!(parse(&text(&document)), document);
    document.set_services(Services::new());
    assert_eq!(text(&document), without);
}

#[test]
fn what_the_claims_do_not_say_is_told() {
    let mut document = Document::new(PortRange::DEFAULT);
    document.assign([(path("/a"), port(1))]);
    document.set_ours(set("1"));
    assert!(!document.has_more());
    let sound = text(&document);
    for more in ["\"/b\": 2", "\"relative\": 1"] {
        let more = sound.replace("\"/a\": 1", &format!("\"/a\": 1, {more}"));
        assert!(parse(&more).has_more(), "{more}");
    }
    let more = sound.replace("\"1.0\"", "\"1.0\", \"comment\": null");
    assert!(parse(&more).has_more(), "{more}");
    let less = sound.replace("\"next_available\": 8888,", "");
    assert!(!parse(&less).has_more(), "{less}");
}

#[test]
fn a_file_of_every_port_is_not_too_long() {
    // As long as a path in a registry is by any likelihood, and what stands around it.
    let mut blank = vec![b' '; 65_535 * 1_000];
    assert_eq!(damage(&blank), Damage::Empty);
    blank.resize(LEN_MAX, b' ');
    assert_eq!(damage(&blank), Damage::Empty);
    blank.push(b' ');
    assert_eq!(damage(&blank), Damage::TooLong);
}
