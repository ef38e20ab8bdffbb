//! The files of a commit, as git stores them, and those of the working tree.

use std::ffi::OsStr;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::state::parts;
use super::{bytes, call};
use launchway_core::command::Group;
use launchway_core::exit::{Exit, Failure};
use launchway_core::plain::send_lines;

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative to the top of the checkout.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) content: Content,
}

/// What git records of a file besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Program,
    Link,
}

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An object of the repository of the checkout at `top`.
    Blob { top: PathBuf, id: String },
    /// A file, or a symbolic link whose target is its content.
    Place(PathBuf),
}

/// The files of a commit of the checkout at `top`, including those of its submodules.
///
/// Their content is what git stores: filters, line endings and modes of the working tree have no effect.
pub(crate) fn of_commit(top: &Path, commit: &str) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for Entry { mode, id, path } in entries(top, commit)? {
        let kind = match mode.as_str() {
            "100755" => Kind::Program,
            "120000" => Kind::Link,
            SUBMODULE => {
                let below = of_commit(&submodule(top, &path)?, &id)?.into_iter();
                files.extend(below.map(|file| File { path: path.join(&file.path), ..file }));
                continue;
            }
            _ => Kind::Plain,
        };
        files.push(File { path, kind, content: Content::Blob { top: top.to_owned(), id } });
    }
    Ok(files)
}

/// The submodules of a commit of the checkout at `top`, recursively: each path from the top, with the pinned commit.
pub(crate) fn submodules(top: &Path, commit: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for Entry { id, path, .. } in entries(top, commit)?.into_iter().filter(|entry| entry.mode == SUBMODULE) {
        let below = submodules(&submodule(top, &path)?, &id)?;
        let below = below.into_iter().map(|(inner, id)| (path.join(inner), id)).collect::<Vec<_>>();
        found.push((path, id));
        found.extend(below);
    }
    Ok(found)
}

/// The mode of a submodule.
const SUBMODULE: &str = "160000";

/// What git lists for a commit.
struct Entry {
    mode: String,
    id: String,
    path: PathBuf,
}

fn entries(top: &Path, commit: &str) -> Result<Vec<Entry>> {
    let listed = bytes(top, &call(top).args(["ls-tree", "-r", "-z", "--full-tree", commit]))?;
    let entry = |entry: &[u8]| {
        // `mode type id<TAB>path`
        let (words, path) = split(entry, b'\t').context("git listed a file without a name")?;
        let words = String::from_utf8_lossy(words);
        Ok(Entry {
            mode: words.split(' ').next().unwrap_or_default().to_owned(),
            id: words.split(' ').next_back().unwrap_or_default().to_owned(),
            path: PathBuf::from(OsStr::from_bytes(path)),
        })
    };
    parts(&listed).map(entry).collect()
}

/// The files of the working tree at `top` that git tracks or would add, including those of its submodules.
pub(crate) fn of_tree(top: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let listed = bytes(
        top,
        &call(top).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]),
    )?;
    for path in parts(&listed) {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let place = top.join(&path);
        // Removed, but the removal is not committed.
        let Ok(metadata) = place.symlink_metadata() else { continue };
        let kind = if metadata.is_symlink() {
            Kind::Link
        } else if metadata.is_dir() {
            // An empty folder is a submodule that is not checked out; an embedded repository is listed as `name/`.
            if place.join(".git").exists() {
                let below = of_tree(&place)?.into_iter();
                files.extend(below.map(|file| File { path: path.join(&file.path), ..file }));
            }
            continue;
        } else if metadata.permissions().mode() & 0o100 != 0 {
            Kind::Program
        } else {
            Kind::Plain
        };
        files.push(File { path, kind, content: Content::Place(place) });
    }
    Ok(files)
}

fn submodule(top: &Path, path: &Path) -> Result<PathBuf> {
    let place = top.join(path);
    if place.join(".git").exists() {
        return Ok(place);
    }
    let path = path.display();
    let message = format!(
        "the submodule `{path}` is part of the commit but is not checked out: `git submodule update --init --recursive`"
    );
    Err(Failure::new(Exit::Usage, message).into())
}

/// Reads the objects of one repository, in this order.
pub(crate) fn contents(
    top: &Path,
    ids: &[&str],
    mut each: impl FnMut(usize, Vec<u8>) -> Result<()>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut command = call(top).args(["cat-file", "--batch"]).command(top)?;
    command.stdin(Stdio::piped());
    let mut group = Group::spawn(command).context("git cannot be started")?;
    let (sender, said) = mpsc::channel();
    if let Some(stderr) = group.child.stderr.take() {
        send_lines(stderr, sender);
    }
    let (stdin, stdout) = (group.child.stdin.take(), group.child.stdout.take());
    let (mut stdin, stdout) = (stdin.context("git reads nothing")?, stdout.context("git prints nothing")?);
    let mut lines = ids.join("\n");
    lines.push('\n');
    std::thread::scope(|scope| {
        // Ends when git does.
        scope.spawn(move || drop(stdin.write_all(lines.as_bytes())));
        let mut stdout = BufReader::new(stdout);
        let read = ids.iter().enumerate().try_for_each(|(place, id)| each(place, content(&mut stdout, id)?));
        drop(stdout);
        read
    })
    .map_err(|error| match said.recv_timeout(Duration::from_millis(100)) {
        Ok(line) => error.context(format!("git says: {line}")),
        Err(_) => error,
    })
}

/// `id type size<LF>content<LF>`, or `id missing<LF>`
fn content(stdout: &mut impl std::io::BufRead, id: &str) -> Result<Vec<u8>> {
    let mut head = String::new();
    stdout.read_line(&mut head)?;
    let size: u64 = match head.trim_end().rsplit(' ').next().map(str::parse) {
        Some(Ok(size)) if head.starts_with(id) => size,
        _ => bail!(
            "object {id} is missing from the repository, which may be a partial clone. git says: {}",
            head.trim_end()
        ),
    };
    let mut bytes = Vec::new();
    stdout.by_ref().take(size + 1).read_to_end(&mut bytes)?;
    if bytes.pop() != Some(b'\n') || bytes.len() as u64 != size {
        bail!("git exited in the middle of object {id}");
    }
    Ok(bytes)
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..place)?, bytes.get(place + 1..)?))
}
