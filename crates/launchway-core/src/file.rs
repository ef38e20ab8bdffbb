//! Writes files completely or not at all: beside their target, flushed to disk, then renamed.
//!
//! A path that the user names may lead elsewhere: a symbolic link is followed, and a device or a pipe is written to
//! directly.

use std::io::{BufWriter, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// The mode of a file that everybody may read, as far as the umask allows.
const PUBLIC: u32 = 0o666;

/// Writes these bytes into a file.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    write_with(path, PUBLIC, |file| Ok(file.write_all(contents)?))
}

/// Writes these bytes to a file that only its owner can read.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    write_with(path, 0o600, |file| Ok(file.write_all(contents)?))
}

/// Writes a file piece by piece.
pub fn write_pieces(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    write_with(path, PUBLIC, write)
}

/// Reads a text of at most so many bytes. A longer one is an error that names the file.
pub fn read_at_most(path: &Path, most: u64) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(most.saturating_add(1)).read_to_string(&mut text);
    let read = read.with_context(|| format!("{} cannot be read", path.display()))?;
    if read as u64 > most {
        bail!("{} is larger than {most} bytes", path.display());
    }
    Ok(text)
}

/// Checks that a file can be written here, as far as that can be known in advance.
pub fn check(path: &Path) -> Result<()> {
    Place::of(path).map(drop)
}

/// Moves a file that was written beside its target to the target.
pub fn put_in_place(beside: &Path, path: &Path) -> Result<()> {
    File::open(beside)?.sync_all()?;
    Ok(fs_err::rename(beside, path)?)
}

/// A file name beside a path. Removes what a killed process with our id left there.
pub fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    drop(fs_err::remove_file(&beside));
    beside
}

/// Removes what killed processes left beside their files, from a folder and its subfolders down to `depth`.
///
/// Files of running processes are kept. What cannot be read or removed is left: it only takes up space.
pub fn remove_leftovers(folder: &Path, depth: usize) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            remove_leftovers(&entry.path(), depth - 1);
        } else if kind.is_file() && entry.file_name().to_str().and_then(writer).is_some_and(is_gone) {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

/// The id of the process that writes a file beside another.
fn writer(name: &str) -> Option<Pid> {
    Pid::from_raw(name.strip_suffix(".part")?.rsplit_once('.')?.1.parse().ok()?)
}

fn is_gone(process: Pid) -> bool {
    test_kill_process(process) == Err(Errno::SRCH)
}

fn write_with(path: &Path, mode: u32, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let path = match Place::of(path)? {
        Place::File(path) => path,
        Place::Stream(path) => {
            let mut stream = BufWriter::new(OpenOptions::new().write(true).open(path)?);
            write(&mut stream)?;
            return Ok(stream.flush()?);
        }
    };
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let beside = beside(&path);
    let fill = || {
        // `create_new` follows no link that somebody else has created there.
        let mut file =
            BufWriter::new(OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?);
        write(&mut file)?;
        file.flush()?;
        put_in_place(&beside, &path)
    };
    let written = fill();
    if written.is_err() {
        // The first error is the one to report.
        drop(fs_err::remove_file(&beside));
    }
    written
}

/// What a path refers to.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file, or nothing yet.
    File(PathBuf),
    /// A device or a pipe.
    Stream(PathBuf),
}

impl Place {
    /// Follows the links of a path; fails if the result can neither be replaced nor written to.
    fn of(path: &Path) -> Result<Self> {
        /// Linux follows the same number.
        const LINKS: usize = 40;
        let mut place = path.to_owned();
        for _ in 0..LINKS {
            let above = place.parent().filter(|above| !above.as_os_str().is_empty());
            // A folder that does not exist yet contains no link.
            let Ok(folder) = fs_err::canonicalize(above.unwrap_or(Path::new("."))) else {
                return Ok(Self::File(place));
            };
            let there = match place.symlink_metadata() {
                Ok(there) => there.file_type(),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::File(place)),
                Err(error) => return Err(error).context(format!("cannot write {}", path.display())),
            };
            // An open file: if it is a regular file, a replacement would not reach its readers.
            if folder.starts_with("/proc") {
                if place.file_name().is_some_and(|name| name == "1" || name == "2") {
                    bail!("{} is where the run's output goes: name a file", path.display());
                }
                return Ok(Self::Stream(place));
            }
            if there.is_symlink() {
                place = folder.join(fs_err::read_link(&place)?);
            } else if there.is_file() {
                return Ok(Self::File(place));
            } else if there.is_dir() {
                bail!("{} is a folder: name a file", path.display());
            } else if there.is_block_device() || there.is_socket() {
                bail!("{} is a disk or a socket: name a file", path.display());
            } else {
                return Ok(Self::Stream(place));
            }
        }
        bail!("{} leads through too many links", path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::{FileType, Mode};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_beside_its_files_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("image/blobs");
        fs_err::create_dir_all(&blobs).unwrap();
        let mut child = crate::command::bare("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let kept =
            ["a.json", "a.part", &format!("b.{}.part", std::process::id())].map(|name| blobs.join(name));
        for path in &kept {
            fs_err::write(path, "").unwrap();
        }
        let left = [dir.path().join(format!("run.json.{gone}.part")), blobs.join(format!("c.{gone}.part"))];
        for path in &left {
            fs_err::write(path, "").unwrap();
        }
        remove_leftovers(dir.path(), 1);
        assert!(!left[0].exists() && left[1].exists(), "only as deep as asked");
        remove_leftovers(dir.path(), 3);
        assert!(!left[1].exists() && kept.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_text_that_is_too_long_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs_err::write(&path, "12345").unwrap();
        assert_eq!(read_at_most(&path, 5).unwrap(), "12345");
        let error = read_at_most(&path, 4).unwrap_err().to_string();
        assert_eq!(error, format!("{} is larger than 4 bytes", path.display()));
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        write_whole(&path, b"1").unwrap();
        write_whole(&path, b"2").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"2");
        write_pieces(&path, |file| {
            file.write_all(b"3")?;
            bail!("no more")
        })
        .unwrap_err();
        assert_eq!(fs_err::read(&path).unwrap(), b"2");
        assert_eq!(names(&dir.path().join("a")), ["b.json"]);
        // A folder is in the way.
        let error = write_whole(&dir.path().join("a"), b"3").unwrap_err().to_string();
        assert!(error.ends_with("/a is a folder: name a file"), "{error}");
        assert_eq!(names(dir.path()), ["a"]);
        write_private(&path, b"4").unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_stays_one_and_its_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::create_dir(at("far")).unwrap();
        for (target, link) in [("far/file", "link"), ("link", "to-link"), ("far/none", "dangling")] {
            symlink(target, at(link)).unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        for link in ["to-link", "dangling"] {
            write_whole(&at(link), link.as_bytes()).unwrap();
            assert!(at(link).is_symlink());
            assert_eq!(fs_err::read_to_string(at(link)).unwrap(), link);
        }
        assert_eq!(names(&at("far")), ["file", "none"]);
        assert_eq!(names(dir.path()), ["dangling", "far", "link", "loop", "to-link"]);
        write_whole(&at("loop"), b"").unwrap_err();
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, link) = (dir.path().join("pipe"), dir.path().join("link"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        symlink(&pipe, &link).unwrap();
        // Open for reading and writing, so that neither end waits for the other.
        let mut held = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        write_whole(&link, b"through").unwrap();
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
        let mut text = [0; 7];
        held.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"through");
        assert_eq!(names(dir.path()), ["link", "pipe"]);
    }

    #[test]
    fn a_device_is_written_to_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let null = dir.path().join("null");
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &null,
            FileType::CharacterDevice,
            Mode::RWXU,
            rustix::fs::makedev(1, 3),
        );
        if made.is_ok() {
            // A container or a mount may allow creating a device but not opening it.
            drop(write_whole(&null, b"nothing"));
            assert!(null.symlink_metadata().unwrap().file_type().is_char_device());
        } else {
            // Only root may create one.
            assert_eq!(Place::of(Path::new("/dev/null")).unwrap(), Place::Stream("/dev/null".into()));
        }
        assert_eq!(names(dir.path()).len(), usize::from(made.is_ok()));
    }

    #[test]
    fn an_open_file_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let open = File::create(&path).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        write_whole(Path::new(&format!("/dev/fd/{number}")), b"x").unwrap();
        // Still the same file: a process that has it open sees what was written.
        assert_eq!(open.metadata().unwrap().len(), 1);
        for own in ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"] {
            let error = check(Path::new(own)).unwrap_err().to_string();
            assert_eq!(error, format!("{own} is where the run's output goes: name a file"));
        }
    }
}
