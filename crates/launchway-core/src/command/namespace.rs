//! A program with a root folder, a user and a working folder of its own, as a container has them.
//!
//! It runs in a user namespace, which needs no privileges if the machine allows it at all. Without root's help, such a
//! namespace has a single user: the image's user is the one that runs this process. The caller, which prepares the root
//! folder, therefore gives the owner of each file the rights that the image's user has on it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where and as whom a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The folder that the program sees as `/`.
    pub root: PathBuf,
    /// The working folder, from there.
    pub folder: String,
    /// The number of the user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What every container has in `/dev`.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

impl Namespace {
    /// Whether this machine allows namespaces to the user who runs this; the error says why not. It is tried once.
    pub fn check() -> Result<(), String> {
        static TRIED: OnceLock<Result<(), String>> = OnceLock::new();

        TRIED.get_or_init(try_once).clone()
    }

    /// Makes the folders and files in the root folder that a container gets from its engine.
    pub fn prepare(root: &Path) -> io::Result<()> {
        for name in ["proc", "dev", "etc"] {
            let folder = root.join(name);
            match folder.symlink_metadata() {
                Ok(there) if there.is_dir() => {}
                // A link could lead out of the folder.
                Ok(_) => return Err(io::Error::other(format!("`/{name}` of the image is not a folder"))),
                Err(_) => fs_err::create_dir(folder)?,
            }
        }
        let put = |path: PathBuf, text: &str| match path.symlink_metadata() {
            Ok(_) => Ok(()),
            Err(_) => fs_err::write(path, text),
        };
        DEVICES.iter().try_for_each(|device| put(root.join("dev").join(device), ""))?;
        for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            let link = root.join("dev").join(name);
            if link.symlink_metadata().is_err() {
                symlink(format!("/proc/self/{target}"), link)?;
            }
        }
        put(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")
    }

    /// As arguments of our own program.
    pub(super) fn arguments(&self) -> [OsString; 4] {
        let Self { root, folder, uid, gid } = self;
        [root.into(), folder.into(), uid.to_string().into(), gid.to_string().into()]
    }

    /// What the arguments say.
    pub(super) fn read(arguments: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let root = arguments.next()?.into();
        let mut text = || arguments.next()?.into_string().ok();
        Some(Self { root, folder: text()?, uid: text()?.parse().ok()?, gid: text()?.parse().ok()? })
    }

    /// Moves this process, which has one thread, into the namespace.
    #[cfg(target_os = "linux")]
    pub(super) fn enter(&self) -> io::Result<()> {
        use rustix::mount::{mount_bind, mount_bind_recursive};
        use rustix::process::{chdir, chroot, getegid, geteuid};
        use rustix::thread::UnshareFlags;

        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        #[expect(deprecated, reason = "what makes it unsafe are shared descriptors, which stay shared here")]
        rustix::thread::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
        // user_namespaces(7): who is not root may map itself alone, and only after this.
        fs_err::write("/proc/self/setgroups", "deny")?;
        fs_err::write("/proc/self/uid_map", format!("{} {user} 1", self.uid))?;
        fs_err::write("/proc/self/gid_map", format!("{} {group} 1", self.gid))?;
        // They are seen here only: a namespace of another user passes none on.
        mount_bind_recursive("/proc", self.root.join("proc"))?;
        for device in DEVICES {
            mount_bind(Path::new("/dev").join(device), self.root.join("dev").join(device))?;
        }
        chroot(&self.root)?;
        chdir(if self.folder.is_empty() { "/" } else { self.folder.as_str() })?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn enter(&self) -> io::Result<()> {
        Err(io::Error::other("only Linux has user namespaces"))
    }
}

/// Starts our own program in a namespace with the machine's own root folder, where it ends at once.
fn try_once() -> Result<(), String> {
    let namespace = Namespace { root: "/".into(), folder: "/".to_owned(), uid: 65_532, gid: 65_532 };
    let Some(mut command) = super::launch::contained(&namespace, "") else {
        return Err("this program cannot start itself again".to_owned());
    };
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "this machine allows no user namespace ({})",
        said.trim().rsplit(": ").next().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_folder_gets_what_an_engine_adds_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        fs_err::write(dir.path().join("etc/hosts"), "mine").unwrap();
        Namespace::prepare(dir.path()).unwrap();
        assert_eq!(fs_err::read_to_string(dir.path().join("etc/hosts")).unwrap(), "mine");
        assert!(dir.path().join("dev/null").is_file() && dir.path().join("dev/stdout").is_symlink());
        // Nothing is made behind a link.
        let (other, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), other.path().join("dev")).unwrap();
        Namespace::prepare(other.path()).unwrap_err();
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_arguments_say_what_the_namespace_is() {
        let namespace = Namespace { root: "/r".into(), folder: "/srv".to_owned(), uid: 7, gid: 9 };
        assert_eq!(Namespace::read(&mut namespace.arguments().into_iter()), Some(namespace));
        assert_eq!(Namespace::read(&mut ["/r", "/", "x", "1"].map(OsString::from).into_iter()), None);
    }
}
