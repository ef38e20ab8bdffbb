//! Proves that the image is reproducible: builds the commit twice, as two people would, and compares the bytes.
//!
//! The two builds differ in what differs between machines: the path of the checkout and its depth, the home and cargo's
//! home, the time zone, the locale, the umask, the user's name, and whether the toolchain has the component `rust-src`.
//! They share the machine, its user, the rest of its toolchain and cargo's downloads.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::context::Context;
use crate::git::{self, files::submodules};
use crate::steps::docker_build;
use launchway_core::command::{Call, ended};
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_core::secret::random_word;
use launchway_image::layout::Layout;
use launchway_registry::oci::Descriptor;

/// Builds the commit twice and compares; the first difference is an error with [`Exit::CheckFailed`].
///
/// With `explain`, only prints what it would do.
pub(crate) fn run(ctx: &Context, explain: bool) -> Result<()> {
    let temporary =
        Temporary(std::env::temp_dir().join(format!("launchway-reproducible-{}", random_word()?)));
    let sides = [("work", "home", false), ("a/longer/way/to/work", "somebody/elses/home", true)];
    let top = git::top(&ctx.root).unwrap_or(&ctx.root);
    let inside = ctx.root.strip_prefix(top)?;
    let sides = sides.map(|(work, home, is_second)| Side {
        work: temporary.0.join(work),
        workspace: temporary.0.join(work).join(inside),
        home: temporary.0.join(home),
        is_second,
    });
    let program = std::env::current_exe().context("this executable has no name")?.display().to_string();
    let mut repositories = vec![(PathBuf::new(), ctx.git.commit.clone())];
    if git::top(&ctx.root).is_some() {
        repositories.extend(submodules(top, &ctx.git.commit)?);
    }
    let calls = sides.each_ref().map(|side| {
        let clones = repositories.iter().flat_map(|(path, commit)| side.clone_calls(top, path, commit));
        (clones.collect::<Vec<_>>(), side.build_call(&ctx.environment, &program))
    });
    if explain {
        let lines =
            calls.iter().flat_map(|(clones, build)| clones.iter().chain([build])).map(Call::to_string);
        let lines: Vec<String> = lines.chain(["compare the two images".to_owned()]).collect();
        ctx.reporter.text(lines.join("\n"));
        return Ok(());
    }
    if ctx.git.dirty {
        ctx.reporter.note("the tree is dirty: the last commit is built twice");
    }
    fs_err::create_dir_all(&temporary.0)?;
    let sysroot = docker_build::sysroot(&ctx.root, &ctx.git)?;
    for (side, (clones, build)) in sides.iter().zip(&calls) {
        side.prepare(&ctx.environment, &sysroot)?;
        for call in clones {
            run_to_end(&ctx.runner(), call, &temporary.0)?;
        }
        run_to_end(&ctx.runner(), build, &side.workspace)?;
        // The build output is large, and only the image is compared.
        fs_err::remove_dir_all(side.workspace.join("target/image"))?;
    }
    let [one, two] = sides.map(|side| Layout::open(&side.workspace.join("target/xtask/image")));
    let (one, two) = (one?, two?);
    if let Some(difference) = compare(&one, &two)? {
        let message = format!("the image is not reproducible: {difference}");
        return Err(Failure::new(Exit::CheckFailed, message).into());
    }
    ctx.reporter.text(format!("the image is reproducible: both builds are {}", one.manifest.digest));
    Ok(())
}

/// One of the two builds.
struct Side {
    /// The top of the checkout.
    work: PathBuf,
    workspace: PathBuf,
    home: PathBuf,
    is_second: bool,
}

impl Side {
    /// Clones a repository of the checkout at `top`, from `path` in it.
    ///
    /// Checks out the commit by its id: the second build starts minutes later, and somebody may have committed in
    /// between.
    fn clone_calls(&self, top: &Path, path: &Path, commit: &str) -> [Call; 2] {
        let [from, to] = [top, &self.work].map(|folder| {
            let folder = if path.as_os_str().is_empty() { folder.to_owned() } else { folder.join(path) };
            folder.display().to_string()
        });
        [
            git::plain().args(["clone", "--quiet", "--no-checkout", &from, &to]),
            git::plain().args(["-C", &to, "checkout", "--quiet", "--detach", commit]),
        ]
    }

    fn build_call(&self, environment: &Environment, program: &str) -> Call {
        let own = self.home.join(".cargo");
        let (umask, zone, locale) =
            if self.is_second { ("077", "UTC-13", "tr_TR.UTF-8") } else { ("022", "UTC+11", "C") };
        let path = format!("{}:{}", own.join("bin").display(), environment.get("PATH").unwrap_or_default());
        let call = Call::new("sh")
            .args(["-c", &format!("umask {umask} && exec \"$@\""), "sh", program])
            .args(["docker-build", "--engine", "builtin"])
            .env("HOME", self.home.display().to_string())
            .env("CARGO_HOME", own.display().to_string())
            .env("RUSTUP_HOME", home(environment, "RUSTUP_HOME", ".rustup").display().to_string())
            .env("PATH", path)
            .env("TZ", zone)
            .env("LC_ALL", locale)
            .env("USER", format!("user-{umask}"));
        // This is not a workflow step: it writes no summary and no outputs.
        ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"]
            .iter()
            .fold(call, |call, name| call.env_remove(*name))
    }

    /// Creates the home. Cargo's home is a different folder with the same content, so that nothing is downloaded again.
    fn prepare(&self, environment: &Environment, sysroot: &Path) -> Result<()> {
        let own = self.home.join(".cargo");
        let shared = home(environment, "CARGO_HOME", ".cargo");
        link_all(&shared, &own, "bin")?;
        link_all(&shared.join("bin"), &own.join("bin"), "rustc")?;
        // The same compiler, but it looks elsewhere for its libraries and for the sources of the standard library.
        let view = self.home.join("sysroot");
        link_all(&sysroot.join("lib/rustlib"), &view.join("lib/rustlib"), "src")?;
        if self.is_second {
            let sources = view.join("lib/rustlib/src/rust/library/std/src");
            fs_err::create_dir_all(&sources)?;
            // The compiler recognises by this file that they are there.
            fs_err::write(sources.join("lib.rs"), "")?;
        }
        let compiler = sysroot.join("bin/rustc");
        let script =
            format!("#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n", compiler.display(), view.display());
        let place = own.join("bin/rustc");
        fs_err::write(&place, script)?;
        Ok(fs_err::set_permissions(place, Permissions::from_mode(0o755))?)
    }
}

/// A folder with links to everything in another one except one name.
fn link_all(from: &Path, to: &Path, but: &str) -> Result<()> {
    fs_err::create_dir_all(to)?;
    if from.is_dir() {
        for entry in fs_err::read_dir(from)? {
            let entry = entry?;
            if entry.file_name() != but {
                symlink(entry.path(), to.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// The folder in a variable, or the one of this name in the home.
fn home(environment: &Environment, variable: &str, name: &str) -> PathBuf {
    let default = || Path::new(environment.get("HOME").unwrap_or_default()).join(name);
    environment.get(variable).map_or_else(default, PathBuf::from)
}

fn run_to_end(runner: &Runner, call: &Call, folder: &Path) -> Result<()> {
    let Runner { folder: root, reporter, interrupt } = runner;
    reporter.command(&call.to_string(), &call.short(root));
    let mut printed = Vec::new();
    let status = call.run(folder, interrupt, |line| {
        reporter.output(line);
        printed.push(line.to_owned());
    })?;
    if status.success() {
        return Ok(());
    }
    let tail = printed.split_off(printed.len().saturating_sub(20)).join("\n");
    Err(Failure::new(Exit::CheckFailed, format!("`{call}` {}:\n{tail}", ended(status))).into())
}

/// The first difference between two images, in words.
fn compare(one: &Layout, two: &Layout) -> Result<Option<String>> {
    if one.manifest == two.manifest {
        return Ok(None);
    }
    if one.layers.len() != two.layers.len() {
        return Ok(Some(format!("{} layers, then {}", one.layers.len(), two.layers.len())));
    }
    for (number, (left, right)) in one.layers.iter().zip(&two.layers).enumerate() {
        if left == right {
            continue;
        }
        let (left, right) = (files(one, left)?, files(two, right)?);
        let place = format!("layer {} of {}", number + 1, one.layers.len());
        for pair in left.iter().zip(&right) {
            if let Some(difference) = compare_files(pair.0, pair.1) {
                return Ok(Some(format!("{place}, {difference}")));
            }
        }
        return Ok(Some(match left.len().cmp(&right.len()) {
            std::cmp::Ordering::Equal => {
                format!("{place} contains the same files, compressed to different bytes")
            }
            _ => format!("{place} contains {} entries, then {}", left.len(), right.len()),
        }));
    }
    let config = |layout: &Layout| fs_err::read(layout.blob(&layout.config.digest));
    let (left, right) = (config(one)?, config(two)?);
    let name = if left == right { "the manifest" } else { "the configuration" };
    let (left, right) =
        if left == right { (one.manifest_bytes.clone(), two.manifest_bytes.clone()) } else { (left, right) };
    Ok(Some(bytes_differ(name, &left, &right)))
}

/// An entry of a layer.
struct File {
    path: String,
    header: Vec<u8>,
    contents: Vec<u8>,
}

fn files(layout: &Layout, layer: &Descriptor) -> Result<Vec<File>> {
    let blob = fs_err::File::open(layout.blob(&layer.digest))?;
    let mut archive = tar::Archive::new(GzDecoder::new(blob));
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Without the size and the checksum, which depend on the contents.
        let mut header = entry.header().clone();
        header.set_size(0);
        header.set_cksum();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents)?;
        files.push(File { path, header: header.as_bytes().to_vec(), contents });
    }
    Ok(files)
}

fn compare_files(one: &File, two: &File) -> Option<String> {
    if one.path != two.path {
        return Some(format!("`{}`, then `{}`", one.path, two.path));
    }
    if one.header != two.header {
        return Some(format!("`{}` has a different mode, owner or link", one.path));
    }
    (one.contents != two.contents)
        .then(|| bytes_differ(&format!("`{}`", one.path), &one.contents, &two.contents))
}

/// Where two texts start to differ, and the text there.
fn bytes_differ(name: &str, one: &[u8], two: &[u8]) -> String {
    let shorter = one.len().min(two.len());
    let offset = one.iter().zip(two).position(|(left, right)| left != right).unwrap_or(shorter);
    format!("{name} differs at byte {offset}: `{}`, then `{}`", excerpt(one, offset), excerpt(two, offset))
}

/// The bytes around an offset, as far as they are printable: a path of the machine is easy to spot.
fn excerpt(bytes: &[u8], offset: usize) -> String {
    let shown = bytes.iter().skip(offset.saturating_sub(16)).take(64);
    shown.map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }).collect()
}

/// A folder that is removed on drop.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is where the system cleans up by itself.
        drop(fs_err::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests;
