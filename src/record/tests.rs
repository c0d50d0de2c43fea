//! What a record says is what is read of it, and what is none is told.

use proptest::prelude::*;

use super::*;

fn record(path: &str) -> Record {
    let project = ProjectPath::from_normal(path).expect("path");
    Record::new(
        Port::new(8888).expect("port"),
        Nonce::from_bytes([0xab; 16]),
        Holder::new(project),
    )
}

#[test]
fn the_line_on_disk_is_this() {
    let line = r#"{"format":1,"port":8888,"nonce":"abababababababababababababababab","project":"/p/\"q\"\n","service":""}"#;
    assert_eq!(
        record("/p/\"q\"\n").encode(),
        format!("{line}\n").into_bytes()
    );
}

#[test]
fn the_device_is_in_the_line_where_it_is_known() {
    let plain = record("/p");
    let mut draft = Draft::from(plain.holder.clone());
    draft.device = Some(u64::MAX);
    let with = draft.record(plain.port, plain.nonce);
    let line = String::from_utf8(with.encode()).expect("text");
    assert!(
        line.ends_with(",\"service\":\"\",\"device\":18446744073709551615}\n"),
        "{line}"
    );
    assert_eq!(Record::decode(line.as_bytes()).expect("decodes"), with);
}

#[test]
fn the_repository_is_in_the_line_where_it_was_noted() {
    let plain = record("/p");
    let mut draft = Draft::from(plain.holder.clone());
    for (depth, text) in [
        (0, r#""git":{"inode":7,"born":18446744073709551615}}"#),
        (
            2,
            r#""git":{"inode":7,"born":18446744073709551615,"depth":2}}"#,
        ),
    ] {
        draft.repository = Some(Repository::new(7, u64::MAX, depth));
        let with = draft.record(plain.port, plain.nonce);
        let line = String::from_utf8(with.encode()).expect("text");
        assert!(line.ends_with(&format!(",{text}\n")), "{line}");
        assert_eq!(Record::decode(line.as_bytes()).expect("decodes"), with);
    }
}

#[test]
fn a_record_that_moves_is_another_holders_of_the_same_port_and_term() {
    let mut draft = Draft::from(record("/p/old").holder);
    draft.device = Some(1);
    draft.term = Term::Lease;
    let old = draft.record(Port::new(7).expect("port"), Nonce::from_bytes([1; 16]));
    let mut to = Draft::from(record("/p/new").holder);
    to.device = Some(2);
    to.repository = Some(Repository::new(7, 8, 0));
    let mut expected = to.clone();
    expected.term = Term::Lease;
    let nonce = Nonce::from_bytes([2; 16]);
    assert_eq!(old.moved(nonce, to), expected.record(old.port(), nonce));
}

#[test]
fn every_prefix_of_a_record_is_torn() {
    let bytes = record("/p/shop").encode();
    for len in 1..bytes.len() {
        assert_eq!(
            Record::decode(&bytes[..len]).expect_err("a prefix"),
            Corruption::Torn,
            "{len}"
        );
    }
    assert_eq!(Record::decode(b"").expect_err("nothing"), Corruption::Empty);
}

#[test]
fn a_later_format_is_told_from_damage() {
    let later = b"{\"format\":2,\"ports\":[1]}\n";
    assert_eq!(
        Record::decode(later).expect_err("later"),
        Corruption::NewerFormat(2)
    );
    let same_fields =
        b"{\"format\":3,\"port\":1,\"nonce\":\"\",\"project\":\"\",\"service\":\"\"}\n";
    assert_eq!(
        Record::decode(same_fields).expect_err("later"),
        Corruption::NewerFormat(3)
    );
    for damage in [
        "{}\n",
        "[]\n",
        "null\n",
        "{\"format\":1}\n",
        "\0\0\0\n",
        "\u{e9}\n",
        "{\"format\":0,\"port\":1,\"nonce\":\"\",\"project\":\"\",\"service\":\"\"}\n",
    ] {
        let error = Record::decode(damage.as_bytes()).expect_err(damage);
        assert!(
            matches!(error, Corruption::Invalid(_)),
            "{damage:?}: {error:?}"
        );
    }
}

#[test]
fn one_port_has_one_name() {
    assert_eq!(claim_port("8888.claim"), Port::new(8888));
    for name in [
        "08888.claim",
        "8888",
        "8888.claim.1",
        ".claim",
        "0.claim",
        "65536.claim",
        "+1.claim",
        "a.claim",
    ] {
        assert_eq!(claim_port(name), None, "{name}");
    }
}

#[test]
fn the_longest_path_fits_and_nothing_is_read_that_is_longer_than_a_record() {
    // PATH_MAX bytes, the longest that a path may have on Linux; each is escaped as six.
    let longest = record(&format!("/{}", "\u{1}".repeat(4095)));
    assert_eq!(Record::decode(&longest.encode()), Ok(longest));
    for (len, is_read) in [(LEN_MAX - 1, true), (LEN_MAX, true), (LEN_MAX + 1, false)] {
        let mut bytes = vec![b' '; len];
        bytes[len - 1] = b'\n';
        let error = Record::decode(&bytes).expect_err("blank");
        assert_eq!(error != Corruption::TooLong, is_read, "{len}: {error:?}");
    }
}

proptest! {
    #[test]
    fn a_record_reads_back_as_written(
        tail in "[^\0/]{1,60}",
        service in "\\PC{0,20}",
        port in 1u16..,
        nonce: [u8; 16],
        term in prop_oneof![Just(Term::Kept), Just(Term::Lease), any::<u64>().prop_map(Term::Ttl)],
        device: Option<u64>,
        git: Option<(u64, u64, u16)>,
    ) {
        prop_assume!(tail != "." && tail != "..");
        let project = ProjectPath::from_normal(format!("/{tail}")).expect("normal");
        let draft = Draft {
            holder: Holder::with_service(project, service),
            term,
            device,
            repository: git.map(|(inode, born, depth)| Repository::new(inode, born, depth)),
        };
        let record = draft.record(Port::new(port).expect("port"), Nonce::from_bytes(nonce));
        let line = record.encode();
        let path = serde_json::to_string(record.project().as_str()).expect("text is JSON");
        let path = format!(",\"project\":{path},");
        prop_assert!(memchr::memmem::find(&line, path.as_bytes()).is_some());
        prop_assert_eq!(Record::decode(&line).expect("decodes"), record);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Record::decode(&bytes);
    }
}
