//! Any file that Python can write, and any bytes.

use proptest::prelude::*;

use super::super::*;
use super::{mappings, parse, path, port, text};

/// A JSON value as Python has it: strings are code units, so surrogates may be alone.
#[derive(Clone, Debug)]
enum Json {
    Plain(&'static str),
    Int(i64),
    Text(Vec<u16>),
    List(Vec<Json>),
    Object(Vec<(Vec<u16>, Json)>),
}

/// `json.dumps(indent=2)`, written down a second time and as plainly as possible.
fn dumps(value: &Json, level: usize) -> String {
    let string = |units: &[u16]| -> String {
        let unit = |&unit: &u16| match unit {
            0x22 => "\\\"".to_owned(),
            0x5c => "\\\\".to_owned(),
            0x0a => "\\n".to_owned(),
            0x0d => "\\r".to_owned(),
            0x09 => "\\t".to_owned(),
            0x08 => "\\b".to_owned(),
            0x0c => "\\f".to_owned(),
            0x20..=0x7e => String::from_utf16_lossy(&[unit]),
            _ => format!("\\u{unit:04x}"),
        };
        format!("\"{}\"", units.iter().map(unit).collect::<String>())
    };
    let lines = |lines: Vec<String>, open: char, close: char| {
        if lines.is_empty() {
            return format!("{open}{close}");
        }
        let (outer, inner) = ("  ".repeat(level), "  ".repeat(level + 1));
        format!(
            "{open}\n{inner}{}\n{outer}{close}",
            lines.join(&format!(",\n{inner}"))
        )
    };
    match value {
        Json::Plain(text) => (*text).to_owned(),
        Json::Int(number) => number.to_string(),
        Json::Text(units) => string(units),
        Json::List(values) => lines(
            values.iter().map(|value| dumps(value, level + 1)).collect(),
            '[',
            ']',
        ),
        Json::Object(members) => {
            let member = |(key, value): &(Vec<u16>, Json)| {
                format!("{}: {}", string(key), dumps(value, level + 1))
            };
            lines(members.iter().map(member).collect(), '{', '}')
        }
    }
}

fn units() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        "(/[a-z.\u{e9}\u{1f600}\0-\u{7f}]{0,6}){0,3}"
            .prop_map(|text| text.encode_utf16().collect()),
        prop::collection::vec(
            prop_oneof![0u16..0x100, 0xd7f0u16..0xe010, any::<u16>()],
            0..6
        ),
    ]
}

fn unique(members: Vec<(Vec<u16>, Json)>) -> Vec<(Vec<u16>, Json)> {
    let mut seen = std::collections::HashSet::new();
    members
        .into_iter()
        .filter(|(key, _)| seen.insert(key.clone()))
        .collect()
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "1.5", "1e+16", "-0.0"])
            .prop_map(Json::Plain),
        (-2i64..70_000).prop_map(Json::Int),
        any::<i64>().prop_map(Json::Int),
        units().prop_map(Json::Text),
        (0u32..70_000).prop_map(|number| Json::Text(number.to_string().encode_utf16().collect())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
            prop::collection::vec((units(), inner), 0..4)
                .prop_map(|members| Json::Object(unique(members))),
        ]
    })
}

/// Any file that Python could have written, known members anywhere among others.
fn file() -> impl Strategy<Value = String> {
    let known = |name: &'static str| {
        prop::option::of(value().prop_map(move |value| (name.encode_utf16().collect(), value)))
    };
    let mappings = prop::collection::vec(
        (
            units(),
            prop_oneof![3 => (1i64..65536).prop_map(Json::Int), 1 => value()],
        ),
        0..8,
    );
    let mappings = mappings.prop_map(|members| {
        Some((
            "mappings".encode_utf16().collect(),
            Json::Object(unique(members)),
        ))
    });
    let members = (
        mappings,
        known("next_available"),
        known("portclaim"),
        known("version"),
        prop::collection::vec((units(), value()), 0..3),
    );
    members
        .prop_map(|(mappings, next, own, version, others)| {
            unique(
                [mappings, next, own, version]
                    .into_iter()
                    .flatten()
                    .chain(others)
                    .collect(),
            )
        })
        .prop_shuffle()
        .prop_map(|members| dumps(&Json::Object(members), 0))
}

proptest! {
    #[test]
    fn any_file_of_python_is_written_back_byte_for_byte(file in file()) {
        let document = Document::parse(file.as_bytes()).expect("sound");
        prop_assert_eq!(text(&document), file);
    }

    #[test]
    fn a_changed_document_reads_back_as_written(
        file in file(),
        claims in prop::collection::vec(("(/[^/\0.][^/\0]{0,4}){1,2}|/", 1u16..), 0..8),
        numbers: Vec<u16>,
        bound: u16,
    ) {
        let mut document = parse(&file);
        let kept: Vec<_> = document.kept().filter(|kept| kept.why != Unfit::NotAPort).collect();
        let claims: HashMap<String, u16> = claims.into_iter().collect();
        document.retain(|_, port| port.get() < bound);
        prop_assert!(document.mappings().all(|(_, port)| port.get() < bound));
        document.assign(claims.iter().map(|(text, number)| (path(text), port(*number))));
        document.set_next_available(port(bound.max(1)));
        let ports: PortSet = numbers.iter().copied().filter_map(Port::new).collect();
        document.set_ours(ports.clone());

        let again = Document::parse(&document.to_bytes()).expect("sound");
        prop_assert_eq!(&again, &document);
        let found: HashMap<_, _> = mappings(&again).into_iter().collect();
        prop_assert_eq!(found.len(), mappings(&again).len(), "no path twice");
        prop_assert!(claims.iter().all(|(path, port)| found.get(path) == Some(port)));
        prop_assert!(kept.iter().all(|one| again.kept().any(|other| other == *one)));
        prop_assert_eq!(again.ours(), Some(&ports));
        prop_assert_eq!(again.next_available(), Some(port(bound.max(1))));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn nor_does_a_sound_file_with_wrong_bytes(file in file(), at: prop::sample::Index, bytes: [u8; 2]) {
        let mut wrong = file.into_bytes();
        let at = at.index(wrong.len());
        wrong.splice(at..at, bytes);
        if let Ok(document) = Document::parse(&wrong) {
            let again = Document::parse(&document.to_bytes()).expect("sound");
            prop_assert_eq!(again.to_bytes(), document.to_bytes());
        }
    }
}
