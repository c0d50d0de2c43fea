//! What instructions put into a registry's directories. (README.md lists them.)

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use portclaim::DEFAULT_FILE_NAME;
use rustix::fs::Mode;

use super::super::ground::{commit_name, port, record_line};
use super::super::lines::Line;

/// How many of the projects hold their ports, whatever is put beside them.
pub(crate) const VALID: usize = 3;

pub(crate) fn project(number: usize) -> String {
    format!("/p/{number}")
}

/// The service of a project that has its port: the last one of the valid claims is a named one's.
pub(crate) fn service(number: usize) -> &'static str {
    if number == VALID - 1 { "web" } else { "" }
}

/// The record of a project, the same in every run. The valid claims are one for good, one for a time,
/// and one of a process that is gone.
pub(crate) fn line(number: usize) -> Vec<u8> {
    let line = record_line(
        port(number),
        &nonce(number),
        &project(number),
        service(number),
    );
    match number {
        1 => with_term(line, TTL),
        2 => with_term(line, OWNER),
        _ => line,
    }
}

/// A time that is over at once.
const TTL: &str = r#"{"ttl":0},"device":7"#;

/// A process of no boot.
const OWNER: &str = r#"{"owner":{"pid":1,"start":1,"boot":"-","space":1}}"#;

/// The same record, given so.
fn with_term(mut line: Vec<u8>, term: &str) -> Vec<u8> {
    line.truncate(line.len() - "}\n".len());
    line.extend(format!(",\"term\":{term}}}\n").bytes());
    line
}

/// The record of a lease.
pub(crate) fn lease(number: usize) -> Vec<u8> {
    let line = record_line(port(number), &nonce(80 + number), &project(number), "");
    with_term(line, r#""lease""#)
}

pub(crate) fn claim_path(root: &Path, number: usize) -> PathBuf {
    root.join(format!("ports/{}.claim", port(number)))
}

pub(crate) fn commit_path(root: &Path, number: usize) -> PathBuf {
    let name = commit_name(&project(number), service(number));
    root.join("projects").join(name)
}

fn nonce(number: usize) -> String {
    format!("{number:032x}")
}

/// Follows one instruction. What it cannot do here, it leaves. Returns the file that is held as a lease, with
/// the number of its port.
pub(crate) fn follow(root: &Path, mut line: Line<'_>) -> Option<(usize, File)> {
    let dir = match line.letter(b"pcsiqbr") {
        b'p' => "ports",
        b'c' => "projects",
        b's' => "staging",
        b'i' => "index",
        b'q' => "quarantine",
        b'b' => "backups",
        _ => "",
    };
    let path = path(root, dir, &mut line)?;
    let what = line.letter(b"fldnpschmrtoLbzeHTO");
    let is_valid = (0..VALID)
        .any(|number| path == claim_path(root, number) || path == commit_path(root, number));
    if is_valid && what != b'm' {
        return None;
    }
    // Never through a link that lies in the place of a directory: that leads anywhere.
    if fs::symlink_metadata(root.join(dir)).is_ok_and(|meta| meta.is_dir()) {
        let _ = put(root, &path, what, &mut line);
        if what == b'H' {
            return (0..10)
                .find(|&number| path == claim_path(root, number))
                .and_then(|number| Some((number, held(&path)?)));
        }
    }
    None
}

/// Opens a file and locks it, as who holds a lease does.
fn held(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Where an instruction puts something: a name that portclaim gives, or one that it does not.
fn path(root: &Path, dir: &str, line: &mut Line<'_>) -> Option<PathBuf> {
    let letter = line.letter(b"0123456789elwtncfbkaxzugvSIQB");
    let number = usize::from(letter.wrapping_sub(b'0'));
    if dir == "projects" && number < 10 {
        return Some(commit_path(root, number));
    }
    let name: OsString = match letter {
        b'0'..=b'9' => match dir {
            "ports" => format!("{}.claim", port(number)),
            "staging" => format!("{}-{}", port(number), nonce(number)),
            "index" => format!("claimed-{}-{}", port(number), nonce(number)),
            _ => number.to_string(),
        }
        .into(),
        b'e' => ".portclaim".into(),
        b'l' => "lock".into(),
        b'w' => "waiter".into(),
        b't' => "turn".into(),
        b'n' => "written".into(),
        b'c' => format!("changed-{}-{}", port(7), nonce(7)).into(),
        b'f' => DEFAULT_FILE_NAME.into(),
        b'b' => format!("{DEFAULT_FILE_NAME}.backup").into(),
        b'k' => "registry-1".into(),
        b'a' => "backup-1".into(),
        b'x' => "notes.txt".into(),
        b'z' => "08888.claim".into(),
        b'u' => OsStr::from_bytes(b"\xff\xfe").into(),
        b'g' => "g".repeat(255).into(),
        b'v' => "two\nlines".into(),
        // The directories in which there is no valid claim.
        _ if !dir.is_empty() => return None,
        b'S' => "staging".into(),
        b'I' => "index".into(),
        b'Q' => "quarantine".into(),
        _ => "backups".into(),
    };
    Some(root.join(dir).join(name))
}

fn put(root: &Path, path: &Path, what: u8, line: &mut Line<'_>) -> io::Result<()> {
    if what == b'm' {
        const MODES: [u32; 10] = [
            0o600, 0o400, 0, 0o644, 0o666, 0o777, 0o4755, 0o2700, 0o1600, 0o200,
        ];
        // Of a link, it would be the target's.
        if !path.is_symlink() {
            fs::set_permissions(path, Permissions::from_mode(MODES[line.digit()]))?;
        }
        return Ok(());
    }
    remove(path)?;
    match what {
        b'f' => return fs::write(path, line.text()),
        b'l' => return symlink(OsStr::from_bytes(line.text()), path),
        _ => {}
    }
    let number = line.digit();
    match what {
        b'd' => fs::create_dir(path),
        b'n' => fs::create_dir(path).and_then(|()| fs::write(path.join("inside"), "kept")),
        b'p' => Ok(rustix::fs::mkfifoat(
            rustix::fs::CWD,
            path,
            Mode::from_raw_mode(0o600),
        )?),
        b's' => UnixListener::bind(path).map(drop),
        b'c' => fs::write(path, self::line(number)),
        b'h' => fs::hard_link(claim_path(root, number), path),
        b't' => fs::write(path, &self::line(number)[..40]),
        b'o' => {
            let other = record_line(port(number), &nonce(77), &project(number), "");
            fs::write(path, other)
        }
        b'e' => fs::write(path, lease(number)),
        // The lease of the port whose name it has.
        b'H' => {
            let is_it = |number: &usize| path == claim_path(root, *number);
            (0..10)
                .find(is_it)
                .map_or(Ok(()), |number| fs::write(path, lease(number)))
        }
        b'T' => fs::write(
            path,
            with_term(
                record_line(port(number), &nonce(number), &project(number), ""),
                TTL,
            ),
        ),
        b'O' => fs::write(
            path,
            with_term(
                record_line(port(number), &nonce(number), &project(number), ""),
                OWNER,
            ),
        ),
        b'L' => fs::write(path, "{\"format\":2}\n"),
        b'b' => fs::write(path, "x".repeat(33 * 1024)),
        b'z' => fs::write(path, [0; 100]),
        _ => Ok(()),
    }
}

/// Removes whatever has the name.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
