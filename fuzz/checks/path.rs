//! Any bytes as a project's path.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::Path;

use portclaim::ProjectPath;

use super::ground::Ground;

/// What comes out is a normal form that stays as it is. Of what exists it is the kernel's; of what
/// does not, the names one by one.
pub(crate) fn path(data: &[u8]) {
    expect_normal(data);
    TREE.with(|tree| {
        // As macOS has it: the temporary directory may lie behind a link.
        let root = tree.path().canonicalize().expect("it exists");
        let typed = [root.as_os_str().as_bytes(), b"/", data].concat();
        expect_normal(&typed);
        expect_kernels(&typed);
    });
    expect_names(data);
}

thread_local! {
    /// Directories and links to be met on the way.
    static TREE: Ground = {
        let ground = Ground::new();
        let inside = |name: &str| ground.path().join(name);
        std::fs::create_dir_all(inside("d/e")).expect("a directory");
        std::fs::write(inside("f"), "").expect("a file");
        for (name, target) in [
            ("l", "d"),
            ("m", "l/e"),
            ("d/u", ".."),
            ("d/e/v", "../../l/u/m"),
            ("n", "nothing/at/all"),
            ("o", "o"),
            ("p", "q"),
            ("q", "d/../p"),
        ] {
            symlink(target, inside(name)).expect("a link");
        }
        ground
    };
}

fn resolve(typed: &[u8]) -> Option<ProjectPath> {
    ProjectPath::resolve(OsStr::from_bytes(typed)).ok()
}

fn expect_normal(typed: &[u8]) {
    if let Some(project) = resolve(typed) {
        assert!(
            ProjectPath::from_normal(project.as_str()).is_ok(),
            "{project}"
        );
        let again = ProjectPath::resolve(project.as_str()).expect("a normal form is a path");
        assert_eq!(again, project);
    }
}

/// A path that the kernel can follow to its end.
fn expect_kernels(typed: &[u8]) {
    let Ok(kernels) = Path::new(OsStr::from_bytes(typed)).canonicalize() else {
        return;
    };
    let kernels = String::from_utf8(kernels.into_os_string().into_vec()).ok();
    let project = resolve(typed).map(|project| project.as_str().to_owned());
    assert_eq!(project, kernels, "{}", String::from_utf8_lossy(typed));
}

/// A path below a directory that does not exist.
fn expect_names(data: &[u8]) {
    const ROOT: &str = "no-such-directory-of-portclaim";
    let mut names: Vec<&[u8]> = vec![ROOT.as_bytes()];
    for name in data.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
        // From here on, the disk has a say.
        if names.is_empty() {
            return;
        }
    }
    let typed = [b"/", ROOT.as_bytes(), b"/", data].concat();
    if let Some(project) = resolve(&typed) {
        assert_eq!(
            project.as_str().as_bytes(),
            [b"/", names.join(&b'/').as_slice()].concat()
        );
    }
}
