//! A copy of the small workspace in a folder of its own, and the pipeline's program on it.

mod children;
pub(crate) mod gate;
pub(crate) mod registry;
mod run;
pub(crate) mod toolchain;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use children::{program, try_program};
pub(crate) use run::{Ran, Run, Running};

/// The small workspace as a git checkout of its own, committed on a feature branch.
pub(crate) struct Fixture {
    /// Removed with everything in it when the test ends.
    dir: TempDir,
}

impl Fixture {
    /// The branch it is on: not the one that releases.
    pub(crate) const BRANCH: &str = "feature";

    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Self { dir };
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/launchway/tests/fixture"),
            &fixture.root(),
        );
        // Under their real names they would hide files of the workspace that they lie in.
        for name in ["gitignore", "dockerignore"] {
            fs_err::rename(fixture.root().join(name), fixture.root().join(format!(".{name}"))).unwrap();
        }
        fixture.hide("cargo-deny", "cargo-deny 0.0.0");
        fixture.hide("zizmor", "zizmor 0.0.0");
        fixture.git(&["init", "--quiet", "--initial-branch", Self::BRANCH]);
        fixture.commit();
        fixture.run(&["workflow"]).exits(0);
        fixture.commit();
        fixture
    }

    /// A repository of these files alone, committed on its release branch.
    pub(crate) fn of(files: &[(String, &str)]) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fs_err::create_dir(fixture.dir.path().join("work")).unwrap();
        for (path, text) in files {
            let path = fixture.path(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        fixture.hide("cargo-deny", "cargo-deny 0.0.0");
        fixture.hide("zizmor", "zizmor 0.0.0");
        fixture.git(&["init", "--quiet", "--initial-branch", "main"]);
        fixture.commit();
        fixture
    }

    /// Another checkout of the same commit.
    pub(crate) fn cloned(&self) -> Self {
        let clone = Self { dir: tempfile::tempdir().unwrap() };
        let (from, to) = (self.root(), clone.root());
        program("git", &["clone", "--quiet", from.to_str().unwrap(), to.to_str().unwrap()], clone.dir.path());
        clone
    }

    /// The workspace root.
    pub(crate) fn root(&self) -> PathBuf {
        // What a process says of itself has no links in it.
        fs_err::canonicalize(self.dir.path()).unwrap().join("work")
    }

    /// A folder beside the workspace whose programs are found before all others; Docker's configuration lies there, too.
    pub(crate) fn tools(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// Puts a program of another version in front: whether the machine has the pinned one must not change a test.
    fn hide(&self, name: &str, version: &str) {
        self.put(name, &format!("echo '{version}'"));
    }

    /// Puts a program in front: a script.
    pub(crate) fn put(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;

        fs_err::create_dir_all(self.tools()).unwrap();
        let path = self.tools().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The pipeline's program with these arguments, ready to run.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Run {
        Run::new(&self.root(), &self.tools(), arguments)
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.xtask(arguments).finish()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        program("git", arguments, &self.root())
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Change"]);
    }

    /// The id of the commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).unwrap()
    }

    /// What the last run left of itself.
    pub(crate) fn record(&self) -> Value {
        self.json("target/xtask/run.json")
    }

    /// Every step of the last run with its outcome.
    pub(crate) fn outcomes(&self) -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let record = self.record();
        let steps =
            record["jobs"].as_array().unwrap().iter().flat_map(|job| job["steps"].as_array().unwrap());
        steps.map(|step| (word(&step["step"]), word(&step["outcome"]))).collect()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs_err::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs_err::write(self.path(path), text).unwrap();
    }

    /// Replaces text that must be there.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replacen(from, to, 1));
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        self.write(path, &(self.read(path) + text));
    }

    /// Waits until no process runs from the workspace or in it. One that stays is a failure that names it.
    pub(crate) fn is_left_alone(&self) {
        children::none_in(&self.root());
    }

    /// Whether the pipeline finds cargo-llvm-cov and what that needs; where it does not, says that the test is skipped.
    pub(crate) fn has_coverage(&self, test: &str) -> bool {
        let plan = self.run(&["test-coverage", "--explain"]).exits(0);
        let missing = plan.out.lines().find_map(|line| line.trim().strip_prefix("missing: "));
        if let Some(missing) = missing {
            skipped(test, missing);
        }
        missing.is_none()
    }
}

/// Every file under a folder with what is in it.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.append(&mut files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path(), fs_err::read(entry.path()).unwrap()));
        }
    }
    found
}

/// Says that a test did not run.
#[expect(clippy::explicit_write, reason = "the test runner swallows what `eprintln!` prints")]
pub(crate) fn skipped(test: &str, reason: &str) {
    use std::io::Write as _;

    writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}").unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs_err::copy(entry.path(), place).unwrap();
        }
    }
}
