//! Processes: told from each other by more than their numbers, which are given again.

use std::io;

use rustix::process::{Pid, test_kill_process};

use crate::term::Owner;

impl Owner {
    /// Returns the process `pid`, to be told from all others later.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such process, `InvalidInput` where this can be none, and what
    /// the system answers.
    ///
    /// [`Owner`] has an example.
    pub fn of(pid: u32) -> io::Result<Owner> {
        let number = number(pid).ok_or(io::ErrorKind::InvalidInput)?;
        if !exists(number) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Owner {
            pid,
            start: system::start(pid)?,
            boot: system::boot(),
            space: system::space(),
        })
    }

    /// Returns whether the process is known to have ended. Where that cannot be known (its number
    /// is of another container), it is not.
    pub(crate) fn is_dead(&self) -> bool {
        let boot = system::boot();
        if !self.boot.is_empty() && !boot.is_empty() && self.boot != boot {
            return true;
        }
        if self.space != system::space() {
            return false;
        }
        match number(self.pid) {
            Some(number) if exists(number) => {
                // Its number may be another one's by now.
                self.start != 0
                    && system::start(self.pid).is_ok_and(|start| start != 0 && start != self.start)
            }
            _ => true,
        }
    }
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Returns whether a process has this number. One of another user may not be signalled, and is
/// there.
fn exists(number: Pid) -> bool {
    !matches!(test_kill_process(number), Err(rustix::io::Errno::SRCH))
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::buffer::spare_capacity;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::retry_on_intr;

    /// Longest of the files that are read, bytes: 52 numbers of at most 20 digits, and a name.
    const LEN_MAX: usize = 4096;

    /// The field of `/proc/<pid>/stat` that says when the process was started, counted from the
    /// one behind the name (its man page: field 22, the name is field 2).
    const START: usize = 19;

    /// Returns when a process was started, in ticks since the boot.
    pub(super) fn start(pid: u32) -> io::Result<u64> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        parse_start(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// A name may contain anything, blanks and brackets too: it ends at the last bracket.
    pub(super) fn parse_start(stat: &[u8]) -> Option<u64> {
        let name = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(&stat[name + 1..]).ok()?;
        rest.split_ascii_whitespace().nth(START)?.parse().ok()
    }

    pub(super) fn boot() -> String {
        let id = read("/proc/sys/kernel/random/boot_id").ok();
        let id = id.and_then(|id| String::from_utf8(id).ok());
        id.unwrap_or_default().trim_end().to_owned()
    }

    /// Reads one of the kernel's short files, which come whole.
    fn read(path: &str) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        let mut bytes = Vec::with_capacity(LEN_MAX);
        retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut bytes)))?;
        Ok(bytes)
    }

    /// Returns what tells this name space of process numbers from others.
    pub(super) fn space() -> u64 {
        rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
    }
}

/// Elsewhere only whether there is such a process can be known without unsafe code.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) fn start(_: u32) -> io::Result<u64> {
        Ok(0)
    }

    pub(super) fn boot() -> String {
        String::new()
    }

    pub(super) fn space() -> u64 {
        0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_was_waited_for() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("it can be started");
        let owner = Owner::of(child.id()).expect("it lives");
        assert!(!owner.is_dead());
        child.kill().expect("it is this process's");
        child.wait().expect("it ends");
        assert!(owner.is_dead());
        let error = Owner::of(child.id()).expect_err("it has ended");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_number_that_is_another_ones_now_is_told() {
        let this = Owner::of(std::process::id()).expect("it lives");
        assert!(!this.is_dead());
        if cfg!(target_os = "linux") {
            let mut earlier = this.clone();
            earlier.start -= 1;
            assert!(earlier.is_dead(), "another process had this number");
            let mut boot = this.clone();
            boot.boot = "another".to_owned();
            assert!(boot.is_dead(), "no process outlives a boot");
            let mut container = earlier;
            container.space += 1;
            assert!(!container.is_dead(), "nobody here can tell");
        }
    }

    #[test]
    fn what_can_be_no_process_is_refused() {
        for pid in [0, u32::MAX, 1 << 31] {
            let error = Owner::of(pid).expect_err("no process");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{pid}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_may_contain_anything() {
        let stat = b"12 (a) S 1 (b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(system::parse_start(stat), Some(4711));
        for stat in [&b""[..], b"12 (a", b"12 (a) S 1"] {
            assert_eq!(system::parse_start(stat), None);
        }
    }
}
