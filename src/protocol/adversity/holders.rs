//! Who holds ports in the simulation.

use std::sync::LazyLock;

use super::super::testing::holder;
use crate::project::{Holder, ProjectPath};

/// All who take part: projects, and then services of the first one.
pub(super) const HOLDERS: [&str; 6] = ["/a", "/b", "/z", "/a (db)", "/a (web)", "/a (web+1)"];

/// The projects. The last one has a port, and is left alone.
pub(super) const PROJECTS: [&str; 3] = ["/a", "/b", "/z"];

/// Two projects that are given ports together.
pub(super) const PAIR: &[&str] = HOLDERS.split_at(2).0;

/// Two services that are given ports together.
pub(super) const SERVICES: &[&str] = HOLDERS.split_at(3).1.split_at(2).0;

/// A service with two ports in a row.
pub(super) const ROW: &[&str] = HOLDERS.split_at(4).1;

static TABLE: LazyLock<[Holder; 6]> = LazyLock::new(|| {
    let [a, b, z] = PROJECTS.map(holder);
    let service = |name| {
        let project = ProjectPath::from_normal("/a").expect("a path");
        Holder::of_service(project, name).expect("a name")
    };
    let web = service("web");
    let next = web.member(1);
    [a, b, z, service("db"), web, next]
});

/// The holder of this name.
pub(super) fn of(name: &str) -> &'static Holder {
    &TABLE[number(name)]
}

/// The name of a holder.
pub(super) fn name_of(holder: &Holder) -> &'static str {
    let at = TABLE.iter().position(|it| it == holder);
    HOLDERS[at.expect("one of the holders")]
}

/// The list of one holder.
pub(super) fn one(name: &str) -> &'static [&'static str] {
    let at = number(name);
    &HOLDERS[at..=at]
}

fn number(name: &str) -> usize {
    let at = HOLDERS.iter().position(|it| *it == name);
    at.expect("one of the holders")
}

#[test]
fn holders_go_by_their_names() {
    for name in HOLDERS {
        assert_eq!(of(name).to_string(), name);
        assert_eq!(name_of(of(name)), name);
    }
    assert_eq!(
        (SERVICES, ROW),
        (
            &["/a (db)", "/a (web)"][..],
            &["/a (web)", "/a (web+1)"][..]
        )
    );
}
