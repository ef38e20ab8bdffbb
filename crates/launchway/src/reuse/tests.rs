use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::TestRunner;
use crate::context::Context;
use crate::testing::git;
use launchway_core::environment::Environment;

/// A repository with one file, and the key of a step in it.
struct Tree {
    dir: tempfile::TempDir,
    ctx: Context,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "--quiet"]);
        fs_err::write(dir.path().join("lib.rs"), "one").unwrap();
        git(dir.path(), &["add", "."]);
        git(dir.path(), &["commit", "--quiet", "--message", "one"]);
        let path = std::env::var("PATH").unwrap();
        let ctx = Context::for_test(dir.path(), Environment::of([("PATH", path)]));
        Self { dir, ctx }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn key(&self, step: StepId) -> Key {
        Key::of(self.ctx.machine(), &self.ctx.config, step).unwrap().unwrap()
    }
}

#[test]
fn the_key_changes_with_all_that_a_step_reads() {
    let mut tree = Tree::new();
    let mut seen = vec![tree.key(StepId::Lint), tree.key(StepId::TestCoverage)];
    assert_ne!(seen[0], seen[1]);
    let is_new = |tree: &Tree, seen: &mut Vec<Key>, what: &str| {
        let key = tree.key(StepId::Lint);
        assert!(!seen.contains(&key), "{what}");
        seen.push(key);
    };
    tree.write("lib.rs", "two");
    is_new(&tree, &mut seen, "content");
    fs_err::set_permissions(tree.dir.path().join("lib.rs"), std::fs::Permissions::from_mode(0o755)).unwrap();
    is_new(&tree, &mut seen, "mode");
    tree.write("untracked.rs", "");
    is_new(&tree, &mut seen, "untracked file");
    fs_err::rename(tree.dir.path().join("untracked.rs"), tree.dir.path().join("other.rs")).unwrap();
    is_new(&tree, &mut seen, "name");
    fs_err::os::unix::fs::symlink("lib.rs", tree.dir.path().join("link.rs")).unwrap();
    is_new(&tree, &mut seen, "link");
    tree.write(".cargo/config.toml", "[build]\n");
    is_new(&tree, &mut seen, "cargo's configuration");
    // Another pinned tool, as in a newer pipeline.
    tree.write("target/xtask/tools/bin/zizmor", "#!/bin/sh\necho 'zizmor 0.0.0'\n");
    let program = tree.dir.path().join("target/xtask/tools/bin");
    fs_err::set_permissions(program.join("zizmor"), std::fs::Permissions::from_mode(0o755)).unwrap();
    tree.write(".gitignore", "/target\n");
    let before = tree.key(StepId::Lint);
    seen.push(before);
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    tree.ctx.environment = Environment::of([("PATH", path)]);
    is_new(&tree, &mut seen, "tool");
    tree.write("target/ignored", "");
    assert_eq!(tree.key(StepId::Lint), *seen.last().unwrap(), "what git ignores");
}

#[test]
fn a_tool_that_is_not_used_does_not_change_the_key() {
    let mut tree = Tree::new();
    let program = tree.dir.path().join("bin/cargo-nextest");
    let path = format!("{}/bin:{}", tree.dir.path().display(), std::env::var("PATH").unwrap());
    tree.ctx.environment = Environment::of([("PATH", path)]);
    let mut keys = Vec::new();
    for runner in [TestRunner::Cargo, TestRunner::Nextest] {
        tree.ctx.config.test.runner = runner;
        for version in ["0.0.1", "0.0.2"] {
            // Ignored: the tool itself is no file of the tree.
            tree.write(".gitignore", "/bin\n");
            tree.write("bin/cargo-nextest", &format!("#!/bin/sh\necho 'cargo-nextest {version}'\n"));
            fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            keys.push(tree.key(StepId::TestCoverage));
        }
    }
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[2], keys[3]);
}

#[test]
fn a_commit_of_the_same_files_has_the_same_key() {
    let tree = Tree::new();
    tree.write("lib.rs", "two");
    let dirty = tree.key(StepId::TestCoverage);
    git(tree.dir.path(), &["commit", "--quiet", "--all", "--message", "two"]);
    assert_eq!(tree.key(StepId::TestCoverage), dirty);
}

#[test]
fn what_a_step_does_not_read_leaves_its_key_alone() {
    let mut tree = Tree::new();
    tree.write("README.md", "one");
    tree.write("docs/guide.md", "one");
    tree.ctx.config.lint.unread = vec!["README.md".to_owned(), "docs/".to_owned()];
    let (lint, tests) = (tree.key(StepId::Lint), tree.key(StepId::TestCoverage));
    tree.write("README.md", "two");
    tree.write("docs/guide.md", "two");
    assert_eq!(tree.key(StepId::Lint), lint);
    assert_ne!(tree.key(StepId::TestCoverage), tests);
    tree.write("docs.rs", "");
    assert_ne!(tree.key(StepId::Lint), lint);
}

#[test]
fn what_leaves_the_machine_has_no_key() {
    let tree = Tree::new();
    for step in [StepId::DockerBuild, StepId::Push, StepId::Deploy] {
        assert_eq!(Key::of(tree.ctx.machine(), &tree.ctx.config, step).unwrap(), None);
    }
    fs_err::remove_dir_all(tree.dir.path().join(".git")).unwrap();
    assert!(Key::of(tree.ctx.machine(), &tree.ctx.config, StepId::Lint).is_err());
}

#[test]
fn the_last_passes_are_kept_and_a_failure_is_forgotten() {
    let tree = Tree::new();
    let passed = |key: &str| Passed {
        key: Key(key.to_owned()),
        run: None,
        finished: Time::from_milliseconds(1_767_225_600_000),
        milliseconds: 61_000,
        commit: Some("0123456789ab".to_owned()),
        skipped: vec!["zizmor".to_owned()],
        tests: None,
        coverage: None,
    };
    let mut memory = Memory::read(&tree.ctx.output(), None);
    for number in 0..10 {
        memory.keep(StepId::Lint, passed(&number.to_string())).unwrap();
    }
    let mut memory = Memory::read(&tree.ctx.output(), None);
    assert_eq!(memory.find(StepId::Lint, &Key("9".to_owned())), Some(&passed("9")));
    assert_eq!(memory.find(StepId::Lint, &Key("1".to_owned())), None);
    assert_eq!(memory.find(StepId::TestCoverage, &Key("9".to_owned())), None);
    memory.forget(StepId::Lint, &Key("9".to_owned())).unwrap();
    assert_eq!(Memory::read(&tree.ctx.output(), None).find(StepId::Lint, &Key("9".to_owned())), None);
    assert_eq!(passed("9").to_string(), "passed on the same files at 2026-01-01T00:00:00.000Z in 61.0 s");
    let now = passed("9").finished.after(Duration::from_secs(12 * 60 + 59));
    assert_eq!(passed("9").words(now), "passed 12 min ago on 0123456789ab, took 61.0 s");
    assert_eq!(passed("9").remark(now), "12 min ago, took 61.0 s");
    let times = [0, 59, 3600, 47 * 3600, 48 * 3600].map(|seconds| ago(Duration::from_secs(seconds)));
    assert_eq!(times, ["0 s ago", "59 s ago", "1 h ago", "47 h ago", "2 days ago"]);
    tree.write("target/xtask/passed.json", "{ cut short");
    assert!(Memory::read(&tree.ctx.output(), None).find(StepId::Lint, &Key("8".to_owned())).is_none());
}

#[test]
fn a_terminal_is_no_input() {
    assert!(is_of_a_terminal("SSH_AUTH_SOCK") && is_of_a_terminal("TERM"));
    assert!(!is_of_a_terminal("RUSTFLAGS") && !is_of_a_terminal("CI") && !is_of_a_terminal("TERMINFO"));
}
