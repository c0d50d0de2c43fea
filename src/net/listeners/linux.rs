//! Who listens, as Linux tells it in `/proc`: `/proc/net/tcp` names the inode of each
//! socket, `/proc/PID/fd` the inodes that a process has open, `/proc/PID/cwd` where it works.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::Listener;
use crate::port::Port;

mod directory;

use directory::{Directory, read_directory};

/// How much of a table is read. The kernel lists sockets that listen before connections,
/// at 150 bytes each: this is room for some 50,000 of them.
const TABLE_LEN_MAX: u64 = 8 << 20;

/// How much of a process's name is read: the kernel gives 64 bytes at most.
const COMMAND_LEN_MAX: u64 = 256;

/// The room for names of a directory; one call fills it with some hundreds.
const NAMES_LEN: usize = 16 << 10;

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    port: Port,
    address: IpAddr,
    user: u32,
    inode: u64,
}

/// A process with a socket that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    command: Option<String>,
    directory: Option<Directory>,
}

/// Returns who listens on the ports that are `wanted`, in no order.
pub(super) fn listeners(wanted: &dyn Fn(Port) -> bool) -> io::Result<Vec<Listener>> {
    let proc = open_directory(rustix::fs::CWD, c"/proc")?;
    listeners_in(&proc, wanted)
}

/// The same of a directory that is laid out like `/proc`.
fn listeners_in(proc: &OwnedFd, wanted: &dyn Fn(Port) -> bool) -> io::Result<Vec<Listener>> {
    let mut table = read(proc, c"net/tcp", TABLE_LEN_MAX)?;
    match read(proc, c"net/tcp6", TABLE_LEN_MAX) {
        Ok(more) => table.push_str(&more),
        // No IPv6 on this machine.
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let sockets: Vec<Socket> = table
        .lines()
        .filter_map(parse_line)
        .filter(|socket| wanted(socket.port))
        .collect();
    let mut owners: HashMap<u64, Vec<Owner>> = sockets
        .iter()
        .map(|socket| (socket.inode, Vec::new()))
        .collect();
    if !owners.is_empty() {
        find_owners(proc, &mut owners)?;
    }
    Ok(sockets
        .iter()
        .flat_map(|socket| {
            let listener = |owner: Option<&Owner>| {
                let directory = owner.and_then(|owner| owner.directory.as_ref());
                Listener {
                    port: socket.port,
                    address: socket.address,
                    pid: owner.map(|owner| owner.pid),
                    command: owner.and_then(|owner| owner.command.clone()),
                    user: Some(socket.user),
                    directory: directory.map(|directory| directory.path.clone()),
                    directory_deleted: directory.is_some_and(|directory| directory.deleted),
                }
            };
            match owners.get(&socket.inode).map(Vec::as_slice) {
                None | Some([]) => vec![listener(None)],
                Some(owners) => owners.iter().map(|owner| listener(Some(owner))).collect(),
            }
        })
        .collect())
}

/// Reads a line of `/proc/net/tcp` or `tcp6`; `None` for one that is not of a socket that
/// listens (the heading, connections), and for one that is not understood.
fn parse_line(line: &str) -> Option<Socket> {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    const LISTENING: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTENING {
        return None;
    }
    let user = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket {
        port: Port::new(u16::from_str_radix(hexadecimal(port)?, 16).ok()?)?,
        address: parse_address(hexadecimal(address)?)?,
        user,
        inode,
    })
}

/// Passes on hexadecimal digits alone: `from_str_radix` would take a sign.
fn hexadecimal(text: &str) -> Option<&str> {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(text)
}

/// Reads an address of one word (IPv4) or four (IPv6). The kernel prints the words as
/// numbers of its own byte order, while their bytes in memory are in network order.
fn parse_address(digits: &str) -> Option<IpAddr> {
    let word = |digits| Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(digits)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(digits.get(8 * index..8 * index + 8)?)?);
            }
            // An IPv6 socket bound to an IPv4 address is reached over IPv4 alone.
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Looks for processes that have the sockets open whose inodes are the keys of `owners`,
/// in every process that this one may look into.
fn find_owners(proc: &OwnedFd, owners: &mut HashMap<u64, Vec<Owner>>) -> io::Result<()> {
    let processes = open_directory(proc, c".")?;
    let mut names = Vec::with_capacity(NAMES_LEN);
    let mut processes = RawDir::new(&processes, names.spare_capacity_mut());
    let mut fd_names = Vec::with_capacity(NAMES_LEN);
    while let Some(entry) = processes.next() {
        let entry = entry?;
        if let Some(pid) = parse_number(entry.file_name().to_bytes()) {
            match find_owner(proc, entry.file_name(), pid, &mut fd_names, owners) {
                Ok(()) => {}
                Err(errno) if is_out_of_sight(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

/// Enters the process into `owners` at each socket it has open.
fn find_owner(
    proc: &OwnedFd,
    name: &CStr,
    pid: u32,
    names: &mut Vec<u8>,
    owners: &mut HashMap<u64, Vec<Owner>>,
) -> Result<(), Errno> {
    // The open directory stays that of this process: if it ends, reading fails, even when
    // its number has passed to another.
    let process = open_directory(proc, name)?;
    let fds = open_directory(&process, c"fd")?;
    let mut owner: Option<Owner> = None;
    let mut entries = RawDir::new(&fds, names.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        // Room for "socket:[18446744073709551615]"; what is longer is cut, and no match.
        let mut target = [0; 32];
        let len = match rustix::fs::readlinkat_raw(&fds, entry?.file_name(), &mut target) {
            Ok(len) => len,
            // "." and "..", and what has been closed meanwhile.
            Err(Errno::INVAL) => continue,
            Err(errno) if is_out_of_sight(errno) => continue,
            Err(errno) => return Err(errno),
        };
        let Some(inode) = target.get(..len).and_then(parse_socket_link) else {
            continue;
        };
        let Some(owners) = owners.get_mut(&inode) else {
            continue;
        };
        // One process may have a socket open under several numbers.
        if owners.last().is_none_or(|owner| owner.pid != pid) {
            let owner = owner.get_or_insert_with(|| Owner {
                pid,
                command: read_command(&process),
                directory: read_directory(proc, &process),
            });
            owners.push(owner.clone());
        }
    }
    Ok(())
}

/// Returns whether a process could not be looked into because it is somebody else's, or
/// ended while it was looked at.
fn is_out_of_sight(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::SRCH
    )
}

/// Reads what a descriptor of a socket links to: `socket:[INODE]`.
fn parse_socket_link(target: &[u8]) -> Option<u64> {
    parse_number(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// Reads decimal digits only.
fn parse_number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the name of a process; `None` where it ended.
fn read_command(process: &OwnedFd) -> Option<String> {
    let command = read(process, c"comm", COMMAND_LEN_MAX).ok()?;
    Some(command.strip_suffix('\n').unwrap_or(&command).to_owned())
}

fn open_directory(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Reads the first `len_max` bytes of a file, those that are no UTF-8 replaced.
fn read(at: impl AsFd, name: &CStr, len_max: u64) -> Result<String, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(at, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(len_max)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(all(test, not(loom)))]
#[expect(
    clippy::disallowed_methods,
    reason = "tests build a /proc of their own, and open sockets"
)]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

    /// A line of the table, with these fields.
    fn line(local: &str, state: &str, user: &str, inode: &str) -> String {
        format!(
            "   3: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user}        0 {inode} 1 0000000000000000 100 0 0 10 0"
        )
    }

    fn parsed(local: &str) -> Option<(String, u16)> {
        let socket = parse_line(&line(local, "0A", "1000", "12345"))?;
        assert_eq!((socket.user, socket.inode), (1000, 12345));
        Some((socket.address.to_string(), socket.port.get()))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_addresses() {
        for (local, address, port) in [
            ("0100007F:22B8", "127.0.0.1", 8888),
            ("0200007F:0050", "127.0.0.2", 80),
            ("00000000:FFFF", "0.0.0.0", 65535),
            ("0A00A8C0:0001", "192.168.0.10", 1),
            ("00000000000000000000000000000000:22B8", "::", 8888),
            ("00000000000000000000000001000000:22B8", "::1", 8888),
            (
                "B80D0120000000000000000034120000:22B8",
                "2001:db8::1234",
                8888,
            ),
            ("0000000000000000FFFF00000100007F:22B8", "127.0.0.1", 8888),
        ] {
            assert_eq!(parsed(local), Some((address.to_owned(), port)), "{local}");
        }
    }

    #[test]
    fn skips_what_is_no_listener_or_not_understood() {
        for local in [
            "0100007F",
            "0100007F:",
            ":22B8",
            "0100007F:0000",
            "0100007F:12345",
            "0100007F:22G8",
            "0100007F:+2B8",
            "+100007F:22B8",
            "0100007:22B8",
            "000000000000000000000000010000000:22B8",
            "0000000000000000000000000100é000:22B8",
        ] {
            assert_eq!(parsed(local), None, "{local}");
        }
        let good = line("0100007F:22B8", "0A", "0", "7");
        assert!(parse_line(&good).is_some());
        for bad in [
            HEADING.to_owned(),
            String::new(),
            line("0100007F:22B8", "01", "0", "7"),
            line("0100007F:22B8", "06", "0", "7"),
            line("0100007F:22B8", "0A", "-1", "7"),
            line("0100007F:22B8", "0A", "0", "x"),
            line("0100007F:22B8", "0A", "0", "99999999999999999999"),
        ] {
            assert_eq!(parse_line(&bad), None, "{bad}");
        }
        // Cut anywhere before the inode, by the bound on what is read: nothing, no panic.
        let end = good.find(" 7 ").expect("the inode");
        for len in 0..=end {
            assert_eq!(parse_line(&good[..len]), None);
        }
    }

    #[test]
    fn reads_links_of_sockets_only() {
        assert_eq!(parse_socket_link(b"socket:[12]"), Some(12));
        for target in [
            "socket:[12",
            "socket:[]",
            "socket:[+1]",
            "pipe:[12]",
            "/dev/null",
            "",
        ] {
            assert_eq!(parse_socket_link(target.as_bytes()), None, "{target}");
        }
    }

    /// The order and the merging are those of the function above this module.
    fn sorted(proc: &std::path::Path, wanted: &dyn Fn(Port) -> bool) -> Vec<Listener> {
        let proc = OwnedFd::from(File::open(proc).expect("the directory"));
        super::super::in_order(listeners_in(&proc, wanted).expect("the listeners"))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn joins_sockets_and_processes() {
        let proc = tempfile::tempdir().expect("a directory");
        let proc = proc.path();
        let table = [
            HEADING,
            &line("0100007F:22B9", "0A", "1000", "31"),
            &line("0100007F:22B8", "0A", "1000", "21"),
            &line("0100007F:22B8", "0A", "1000", "22"),
            &line("00000000:22BA", "0A", "0", "41"),
            &line("0100007F:22B8", "01", "1000", "23"),
            &line("00000000:0050", "0A", "0", "51"),
        ]
        .join("\n");
        let process = |pid: &str, command: &[u8], links: &[&str]| {
            let fds = proc.join(pid).join("fd");
            fs::create_dir_all(&fds).expect("a process");
            fs::write(proc.join(pid).join("comm"), command).expect("a name");
            for (number, link) in links.iter().enumerate() {
                symlink(link, fds.join(number.to_string())).expect("a descriptor");
            }
        };
        fs::create_dir(proc.join("net")).expect("net");
        fs::write(proc.join("net/tcp"), table).expect("the table");
        // Two sockets of one port, a worker that shares one, a name that is no UTF-8.
        process(
            "900",
            b"node\n",
            &["/dev/null", "socket:[21]", "socket:[22]", "socket:[21]"],
        );
        process("80", b"\xff\n\n", &["socket:[31]", "socket:[22]"]);
        process("7", b"other\n", &["socket:[51]", "pipe:[41]"]);
        process("self", b"node\n", &["socket:[21]"]);
        fs::create_dir(proc.join("1")).expect("a process without anything");

        let found: Vec<_> = sorted(proc, &|port| port.get() > 80)
            .into_iter()
            .map(|found| {
                (
                    found.port.get(),
                    found.address.to_string(),
                    found.pid,
                    found.command,
                    found.user,
                )
            })
            .collect();
        let row = |port, address: &str, pid, command: Option<&str>, user| {
            let command = command.map(str::to_owned);
            (port, address.to_owned(), pid, command, Some(user))
        };
        assert_eq!(
            found,
            [
                row(8888, "127.0.0.1", Some(80), Some("\u{fffd}\n"), 1000),
                row(8888, "127.0.0.1", Some(900), Some("node"), 1000),
                row(8889, "127.0.0.1", Some(80), Some("\u{fffd}\n"), 1000),
                row(8890, "0.0.0.0", None, None, 0),
            ]
        );
    }

    #[test]
    fn a_missing_table_is_an_error() {
        let proc = tempfile::tempdir().expect("a directory");
        let proc = OwnedFd::from(File::open(proc.path()).expect("the directory"));
        let error = listeners_in(&proc, &|_| true).expect_err("no table");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn finds_this_process_and_a_child_that_shares_the_socket() {
        let own = fs::read_to_string("/proc/self/comm").expect("the name");
        let own = own.trim_end().to_owned();
        for address in ["127.0.0.1", "::1"] {
            let listener = match TcpListener::bind((address, 0)) {
                Ok(listener) => listener,
                Err(error) => {
                    eprintln!("NOT TESTED: this machine has no {address}: {error}");
                    continue;
                }
            };
            let port = listener.local_addr().expect("an address").port();
            let shared = listener.try_clone().expect("a copy");
            let mut child = Command::new("sleep")
                .arg("60")
                .stdin(Stdio::from(OwnedFd::from(shared)))
                .spawn()
                .expect("sleep");
            let found = super::super::listeners(&|wanted| wanted.get() == port);
            child.kill().expect("killed");
            child.wait().expect("gone");
            let found = found.expect("the listeners");
            for (pid, command) in [(std::process::id(), own.as_str()), (child.id(), "sleep")] {
                // Others may be there: children of other tests, between fork and exec.
                let mut entries = found.iter().filter(|found| found.pid == Some(pid));
                let entry = entries.next().expect("an entry");
                assert_eq!(entries.count(), 0, "{found:?}");
                assert_eq!(entry.address.to_string(), address);
                assert_eq!(entry.command.as_deref(), Some(command));
                let user = rustix::process::geteuid().as_raw();
                assert_eq!(entry.user, Some(user));
            }
            assert!(found.is_sorted_by_key(|found| found.pid), "{found:?}");
        }
    }
}
