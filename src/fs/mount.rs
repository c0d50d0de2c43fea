//! Which file system is this: may its locks be trusted?

use std::fmt;
use std::io;

use rustix::fd::AsFd;

/// What sort of file system a directory is on, as far as locks are concerned. Of a registry,
/// [`Registry::filesystem`](crate::Registry::filesystem) tells it.
///
/// `Display` gives words fit to follow "is on ".
///
/// # Examples
///
/// ```
/// use portclaim::Filesystem;
/// let home = Filesystem::Network { name: "nfs".to_owned() };
/// assert!(!home.locks());
/// assert_eq!(home.to_string(), "a network file system (nfs)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filesystem {
    /// One that this machine alone manages: a lock excludes everything that reaches it.
    Local {
        /// The system's name for it ("apfs"), where the system tells it for nothing.
        name: Option<String>,
    },
    /// One that other machines reach too: a network or a cluster file system.
    Network {
        /// The system's name for it: "nfs", "9p".
        name: String,
    },
    /// One that a program serves (FUSE). It may be local, and its locks may work; neither
    /// can be known, so it is treated like [`Network`](Filesystem::Network).
    Fuse {
        /// The system's name for it: "fuse.sshfs", "fuseblk", "virtiofs", or only "fuse".
        name: String,
    },
}

impl Filesystem {
    /// Returns the system's name for it, where it is known.
    ///
    /// # Examples
    ///
    /// ```
    /// let mount = portclaim::Filesystem::Fuse { name: "fuse.sshfs".to_owned() };
    /// assert_eq!(mount.name(), Some("fuse.sshfs"));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Filesystem::Local { name } => name.as_deref(),
            Filesystem::Network { name } | Filesystem::Fuse { name } => Some(name),
        }
    }

    /// Returns whether `flock` may be trusted here to exclude everything that reaches the
    /// file. Where not, it may succeed for two, fail, or wait for ever for a lock manager.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portclaim::Filesystem::Local { name: None }.locks());
    /// assert!(!portclaim::Filesystem::Fuse { name: "fuse".to_owned() }.locks());
    /// ```
    #[must_use]
    pub fn locks(&self) -> bool {
        !self.is_network()
    }

    /// Returns whether it counts as a network file system. Every FUSE file system does.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portclaim::Filesystem::Fuse { name: "fuse".to_owned() }.is_network());
    /// assert!(!portclaim::Filesystem::Local { name: None }.is_network());
    /// ```
    #[must_use]
    pub fn is_network(&self) -> bool {
        match self {
            Filesystem::Local { .. } => false,
            Filesystem::Network { .. } | Filesystem::Fuse { .. } => true,
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Filesystem::Local { .. } => "a local file system",
            Filesystem::Network { .. } => "a network file system",
            Filesystem::Fuse { .. } => "a FUSE file system",
        })?;
        match self.name() {
            Some(name) => write!(f, " ({})", name.escape_debug()),
            None => Ok(()),
        }
    }
}

/// Returns the file system that an open file or directory is on.
///
/// One call of `fstatfs`; only for FUSE is the table of mounts read as well.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn identify(dir: impl AsFd) -> io::Result<Filesystem> {
    let magic = linux::low_bits(rustix::fs::fstatfs(&dir)?.f_type);
    let mounted = if magic == linux::FUSE {
        linux::mounted_type(dir)
    } else {
        None
    };
    Ok(linux::classify(magic, mounted))
}

/// Returns the file system that an open file or directory is on. Untested: written from
/// the manual page of `statfs(2)`.
#[cfg(target_vendor = "apple")]
pub(crate) fn identify(dir: impl AsFd) -> io::Result<Filesystem> {
    /// `MNT_LOCAL` of `<sys/mount.h>`: the file system is stored locally.
    const LOCAL: u32 = 0x1000;
    let stat = rustix::fs::fstatfs(dir)?;
    let name: Vec<u8> = stat
        .f_fstypename
        .iter()
        .flat_map(|byte| byte.to_ne_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    // "macfuse", "osxfuse": such a mount can call itself local.
    Ok(if name.contains("fuse") {
        Filesystem::Fuse { name }
    } else if stat.f_flags & LOCAL == 0 {
        Filesystem::Network { name }
    } else {
        Filesystem::Local { name: Some(name) }
    })
}

/// Returns the file system that an open file or directory is on: these systems are not
/// asked, and taken to be on their own.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn identify(_dir: impl AsFd) -> io::Result<Filesystem> {
    Ok(Filesystem::Local { name: None })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::File;
    use std::io::Read;

    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};

    use super::Filesystem;

    /// `f_type` of everything that goes through FUSE: `fuse`, `fuseblk` and `virtiofs`.
    pub(super) const FUSE: u32 = 0x6573_5546;

    /// How much of the table of mounts is read: some ten thousand lines.
    const TABLE_LEN_MAX: u64 = 4 << 20;

    /// Returns the lowest 32 bits of `f_type`, which is signed on most machines, and 64 bits
    /// wide on some: there, CIFS may come with its sign extended.
    pub(super) fn low_bits(f_type: impl Into<i128>) -> u32 {
        let [.., a, b, c, d] = f_type.into().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Returns the file system of this `f_type`; `mounted` is what the table of mounts
    /// calls it, and matters for FUSE only.
    pub(super) fn classify(magic: u32, mounted: Option<String>) -> Filesystem {
        let name = match magic {
            0x6969 => "nfs",
            0x517B => "smb",
            0xFF53_4D42 => "cifs",
            0xFE53_4D42 => "smb2",
            0x0102_1997 => "9p",
            0x00C3_6400 => "ceph",
            0x5346_414F | 0x6B41_4653 => "afs",
            0x7375_7245 => "coda",
            0x0BD0_0BD0 => "lustre",
            0x4750_4653 => "gpfs",
            0x1983_0326 => "beegfs",
            0xAAD7_AAEA => "panfs",
            0x786F_4256 => "vboxsf",
            0x2003_0528 => "orangefs",
            0x7461_636F => "ocfs2",
            0x0116_1970 => "gfs2",
            FUSE => {
                return Filesystem::Fuse {
                    name: mounted.unwrap_or_else(|| "fuse".to_owned()),
                };
            }
            _ => return Filesystem::Local { name: None },
        };
        Filesystem::Network {
            name: name.to_owned(),
        }
    }

    /// Returns what the table of mounts calls the file system of `file`. `None` where that
    /// cannot be found out: it is for messages only.
    pub(super) fn mounted_type(file: impl AsFd) -> Option<String> {
        let dev = rustix::fs::fstat(file).ok()?.st_dev;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let table = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(table)
            .take(TABLE_LEN_MAX)
            .read_to_end(&mut text)
            .ok()?;
        type_of_device(&text, (rustix::fs::major(dev), rustix::fs::minor(dev)))
    }

    /// Returns the type of the file system on `device` by the text of `mountinfo`, of
    /// which the end may be missing.
    ///
    /// A line is `36 35 98:0 /root /where options tag:1 tag:2 - type source options`, with
    /// any number of tags. Lines that are not are skipped.
    pub(super) fn type_of_device(table: &[u8], device: (u32, u32)) -> Option<String> {
        table
            .split_inclusive(|&byte| byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"))
            .find_map(|line| {
                let mut fields = line.split(|&byte| byte == b' ');
                let (major, minor) = str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
                if (major.parse(), minor.parse()) != (Ok(device.0), Ok(device.1)) {
                    return None;
                }
                // After the device come a root, a place and options, then tags; a place
                // may be called "-".
                let name = fields.skip(3).skip_while(|&field| field != b"-").nth(1)?;
                (!name.is_empty()).then(|| unescape(name))
            })
    }

    /// Returns `text` with `\040` and the like, as the kernel writes blanks and
    /// backslashes, turned back.
    fn unescape(text: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            let (byte, tail) = match *rest {
                [
                    b'\\',
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    ref tail @ ..,
                ] => ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail),
                _ => (first, tail),
            };
            bytes.push(byte);
            rest = tail;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_local_file_systems_have_locks() {
        let local = Filesystem::Local { name: None };
        assert!(local.locks() && !local.is_network());
        assert_eq!(local.name(), None);
        assert_eq!(local.to_string(), "a local file system");
        let apfs = Filesystem::Local {
            name: Some("apfs".to_owned()),
        };
        assert_eq!(apfs.to_string(), "a local file system (apfs)");
        for (filesystem, words) in [
            (
                Filesystem::Network {
                    name: "nfs".to_owned(),
                },
                "a network file system (nfs)",
            ),
            (
                Filesystem::Fuse {
                    name: "fuse.sshfs".to_owned(),
                },
                "a FUSE file system (fuse.sshfs)",
            ),
            (
                Filesystem::Fuse {
                    name: "fuse.\u{1b}".to_owned(),
                },
                r"a FUSE file system (fuse.\u{1b})",
            ),
        ] {
            assert!(!filesystem.locks() && filesystem.is_network());
            assert!(filesystem.name().is_some());
            assert_eq!(filesystem.to_string(), words);
        }
    }

    #[test]
    fn a_directory_and_a_file_are_identified() {
        let file = tempfile::tempfile().expect("file");
        let found = identify(&file).expect("identify");
        assert_eq!(
            found.locks(),
            matches!(found, Filesystem::Local { .. }),
            "{found}"
        );
        let temp = tempfile::tempdir().expect("directory");
        let dir = rustix::fs::open(
            temp.path(),
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        );
        identify(dir.expect("open")).expect("identify");
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    mod linux {
        use proptest::prelude::*;

        use super::super::Filesystem;
        use super::super::linux::*;

        #[test]
        fn each_magic_has_its_class() {
            for (magic, name) in [
                (0x6969, "nfs"),
                (0x517B, "smb"),
                (0xFF53_4D42, "cifs"),
                (0xFE53_4D42, "smb2"),
                (0x0102_1997, "9p"),
                (0x00C3_6400, "ceph"),
                (0x5346_414F, "afs"),
                (0x6B41_4653, "afs"),
                (0x7375_7245, "coda"),
                (0x0BD0_0BD0, "lustre"),
                (0x4750_4653, "gpfs"),
                (0x1983_0326, "beegfs"),
                (0xAAD7_AAEA, "panfs"),
                (0x786F_4256, "vboxsf"),
                (0x2003_0528, "orangefs"),
                (0x7461_636F, "ocfs2"),
                (0x0116_1970, "gfs2"),
            ] {
                let network = Filesystem::Network {
                    name: name.to_owned(),
                };
                assert_eq!(classify(magic, None), network);
                assert_eq!(classify(magic, Some("other".to_owned())), network);
            }
            for mounted in [None, Some("fuse.sshfs"), Some("fuseblk"), Some("virtiofs")] {
                let found = classify(FUSE, mounted.map(str::to_owned));
                assert_eq!(
                    found,
                    Filesystem::Fuse {
                        name: mounted.unwrap_or("fuse").to_owned()
                    }
                );
            }
            // ext4, XFS, btrfs, tmpfs, overlay, ZFS, nothing.
            for magic in [
                0xEF53,
                0x5846_5342,
                0x9123_683E,
                0x0102_1994,
                0x794C_7630,
                0x2FC1_2FC1,
                0,
            ] {
                assert_eq!(
                    classify(magic, None),
                    Filesystem::Local { name: None },
                    "{magic:#x}"
                );
            }
        }

        #[test]
        fn a_magic_of_any_width_and_sign_is_the_same() {
            assert_eq!(low_bits(0xFF53_4D42_u32), 0xFF53_4D42);
            assert_eq!(low_bits(0xFF53_4D42_i64), 0xFF53_4D42);
            assert_eq!(low_bits(0xFF53_4D42_u32.cast_signed()), 0xFF53_4D42);
            assert_eq!(
                low_bits(i64::from(0xFF53_4D42_u32.cast_signed())),
                0xFF53_4D42
            );
        }

        #[test]
        fn the_table_of_mounts_tells_the_type() {
            let table = b"\
                22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                \n\
                nonsense\n\
                23 27 0:40\n\
                24 27 0:40 / /cut rw -\n\
                25 27 0:40 / /cut rw shared:1\n\
                26 27 x:40 / /x rw - wrong wrong rw\n\
                27 27 0:-40 / /x rw - wrong wrong rw\n\
                28 27 0:4294967336 / /x rw - wrong wrong rw\n\
                29 27 0:40 / /mnt/a\\040b rw,nosuid shared:7 master:2 unbindable - fuse.sshfs me@host: rw,user_id=0\n\
                30 27 0:41 / - rw - fuse.my\\040fs\\134x\\9\\477 none rw\n\
                31 27 0:42 / /\xff\xfe rw - fuse.\xff none rw\n\
                32 27 8:1 /sub /d rw - fuseblk /dev/sda1 rw\n\
                33 27 0:43 / /late rw - fuse.ss";
            for (device, name) in [
                ((0, 21), Some("proc")),
                ((0, 40), Some("fuse.sshfs")),
                ((0, 41), Some(r"fuse.my fs\x\9\477")),
                ((0, 42), Some("fuse.\u{fffd}")),
                ((8, 1), Some("fuseblk")),
                // The line was cut off, and perhaps the name.
                ((0, 43), None),
                ((9, 9), None),
            ] {
                assert_eq!(type_of_device(table, device).as_deref(), name, "{device:?}");
            }
        }

        #[test]
        fn the_real_table_is_understood() {
            // Where it cannot be opened, nothing reads it either.
            let flags = rustix::fs::OFlags::RDONLY;
            if let Ok(table) =
                rustix::fs::open("/proc/self/mountinfo", flags, rustix::fs::Mode::empty())
            {
                assert_eq!(mounted_type(table).as_deref(), Some("proc"));
            }
        }

        proptest! {
            #[test]
            fn no_table_is_too_strange(table in "[0-3: \\-a\\\\\n]{0,200}") {
                let _ = type_of_device(table.as_bytes(), (0, 1));
            }
        }
    }
}
