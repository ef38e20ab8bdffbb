use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::testing::git;

/// A repository with a file and a program, committed on `main`.
fn repository() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = fs_err::canonicalize(dir.path()).unwrap().join("work");
    fs_err::create_dir_all(&root).unwrap();
    git(&root, &["init", "--quiet", "--initial-branch", "main"]);
    fs_err::write(root.join("file"), "1\n").unwrap();
    fs_err::write(root.join("program"), "1\n").unwrap();
    fs_err::set_permissions(root.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::write(root.join(".gitignore"), "ignored\n").unwrap();
    symlink("file", root.join("link")).unwrap();
    git(&root, &["add", "--all"]);
    git(&root, &["commit", "--quiet", "--message", "Begin"]);
    (dir, root)
}

fn set(root: &Path, name: &str, value: &str) {
    git(root, &["config", name, value]);
}

fn is_dirty(root: &Path) -> bool {
    Git::read(root).unwrap().dirty
}

#[test]
fn a_dirty_tree_has_a_tag_of_its_own() {
    let clean = Git { commit: "a".repeat(40), branch: None, dirty: false, time: 0 };
    assert_eq!(clean.tag(), clean.commit);
    assert_eq!(Git { dirty: true, ..clean.clone() }.tag(), format!("{}-dirty", clean.commit));
    assert_eq!(clean.short(), "aaaaaaaaaaaa");
}

#[test]
fn no_setting_changes_what_is_read() {
    let (_dir, root) = repository();
    let plain = Git::read(&root).unwrap();
    let commits = plain.since(&root, None, 9);
    assert_eq!((plain.branch.as_deref(), plain.dirty), (Some("main"), false));
    assert_eq!((commits[0].subject.as_str(), commits[0].author.as_deref()), ("Begin", Some("Test")));
    // A commit that is signed, by nobody: git would print what it thinks of the signature.
    let object = git(&root, &["cat-file", "commit", "HEAD"]);
    let (head, message) = object.split_once("\n\n").unwrap();
    let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n bm9ib2R5\n -----END PGP SIGNATURE-----";
    fs_err::write(root.join("ignored"), format!("{head}\n{signature}\n\n{message}\n")).unwrap();
    let signed = git(&root, &["hash-object", "-t", "commit", "-w", "ignored"]);
    git(&root, &["update-ref", "refs/heads/main", &signed]);
    // Names that are more than one thing.
    for name in ["main", "HEAD", "heads/main"] {
        git(&root, &["update-ref", &format!("refs/tags/{name}"), &signed]);
    }
    for (name, value) in [
        ("log.showSignature", "true"),
        ("log.date", "relative"),
        ("log.follow", "true"),
        ("color.ui", "always"),
        ("color.status", "always"),
        ("core.quotePath", "true"),
        ("core.pager", "false"),
        ("format.pretty", "oneline"),
        ("i18n.logOutputEncoding", "UTF-16"),
        ("status.branch", "true"),
        ("status.showStash", "true"),
        ("diff.noprefix", "true"),
        ("core.warnAmbiguousRefs", "true"),
        ("alias.status", "!false"),
    ] {
        set(&root, name, value);
    }
    let read = Git::read(&root).unwrap();
    assert_eq!(read, Git { commit: signed.clone(), ..plain });
    assert_eq!(read.since(&root, None, 9), [Commit { sha: signed, ..commits[0].clone() }]);
}

#[test]
fn a_replaced_commit_is_the_one_it_names() {
    let (_dir, root) = repository();
    let first = Git::read(&root).unwrap();
    fs_err::write(root.join("file"), "2\n").unwrap();
    git(&root, &["commit", "--quiet", "--all", "--message", "Other"]);
    let second = git(&root, &["rev-parse", "HEAD"]);
    git(&root, &["reset", "--quiet", "--hard", &first.commit]);
    git(&root, &["replace", &first.commit, &second]);
    assert_eq!(Git::read(&root).unwrap(), first);
    assert_eq!(first.since(&root, None, 9)[0].subject, "Begin");
}

#[test]
fn no_setting_changes_what_clean_means() {
    for (name, value) in [
        ("status.showUntrackedFiles", "no"),
        ("core.fileMode", "false"),
        ("core.symlinks", "false"),
        ("core.ignoreCase", "true"),
        ("core.worktree", "/usr"),
        ("core.bare", "true"),
        ("core.fsmonitor", "true"),
        ("core.untrackedCache", "true"),
        ("diff.ignoreSubmodules", "all"),
        ("status.relativePaths", "false"),
    ] {
        let (_dir, root) = repository();
        set(&root, name, value);
        assert!(!is_dirty(&root), "{name}");
        let change = |change: &dyn Fn(), undo: &dyn Fn()| {
            change();
            assert!(is_dirty(&root), "{name} hides a change");
            undo();
            assert!(!is_dirty(&root), "{name}");
        };
        let write = |path: &str, text: &str| fs_err::write(root.join(path), text).unwrap();
        let remove = |path: &str| fs_err::remove_file(root.join(path)).unwrap();
        let mode =
            |mode| fs_err::set_permissions(root.join("file"), PermissionsExt::from_mode(mode)).unwrap();
        change(&|| write("FILE", "1\n"), &|| remove("FILE"));
        change(&|| mode(0o755), &|| mode(0o600));
        change(
            &|| {
                remove("link");
                write("link", "file");
            },
            &|| {
                remove("link");
                symlink("file", root.join("link")).unwrap();
            },
        );
        write("ignored", "");
        assert!(!is_dirty(&root), "{name}");
    }
}

#[test]
fn a_mark_in_the_index_hides_no_change() {
    for mark in ["--assume-unchanged", "--skip-worktree"] {
        let (_dir, root) = repository();
        git(&root, &["update-index", mark, "file"]);
        assert!(!is_dirty(&root), "{mark}");
        fs_err::write(root.join("file"), "changed\n").unwrap();
        assert!(is_dirty(&root), "{mark}");
    }
    // What a sparse checkout leaves out is no change.
    let (_dir, root) = repository();
    git(&root, &["sparse-checkout", "set", "--no-cone", "/program"]);
    assert!(!root.join("file").exists() && !is_dirty(&root));
}

#[test]
fn a_changed_submodule_is_a_change() {
    let (_dir, root) = repository();
    let (_other, other) = repository();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    git(&root, &[&add[..], &[other.to_str().unwrap(), "sub"]].concat());
    git(&root, &["commit", "--quiet", "--message", "Add"]);
    set(&root, "submodule.sub.ignore", "all");
    assert!(!is_dirty(&root));
    fs_err::write(root.join("sub/file"), "changed\n").unwrap();
    assert!(is_dirty(&root));
}

#[test]
fn git_starts_no_program_of_the_user() {
    let (_dir, root) = repository();
    let called = root.join("ignored");
    let program = root.join(".git/program");
    fs_err::write(&program, format!("#!/bin/sh\nenv > {}\n", called.display())).unwrap();
    fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    set(&root, "core.fsmonitor", program.to_str().unwrap());
    fs_err::create_dir_all(root.join(".git/hooks")).unwrap();
    fs_err::copy(&program, root.join(".git/hooks/post-index-change")).unwrap();
    // Stale in the index, so that git would like to write it.
    fs_err::write(root.join("file"), "1\n").unwrap();
    assert!(!is_dirty(&root));
    assert!(!called.exists(), "{}", fs_err::read_to_string(called).unwrap());
}

#[test]
fn git_gets_only_what_it_needs() {
    let (_dir, root) = repository();
    let seen =
        call(&root).args(["-c", "alias.show-environment=!env", "show-environment"]).read(&root).unwrap();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let names = seen.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let known = |name: &str| {
        INHERITED.contains(&name)
            || name.starts_with("GIT_")
            || ["LC_ALL", "PWD", "SHLVL", "_", "CARGO_TERM_COLOR"].contains(&name)
    };
    let others: Vec<&str> = names.filter(|name| !known(name)).collect();
    assert_eq!(others, Vec::<&str>::new());
}

#[test]
fn variables_of_a_hook_differ_from_those_of_the_user() {
    for name in
        ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0"]
    {
        assert!(launchway_core::command::is_of_a_hook(name), "{name}");
    }
    for name in ["GIT_CONFIG_PARAMETERS", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_QUARANTINE_PATH"] {
        assert!(launchway_core::command::is_of_a_hook(name), "{name}");
    }
    for name in ["GITHUB_SHA", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL", "PATH"] {
        assert!(!launchway_core::command::is_of_a_hook(name), "{name}");
    }
}

#[test]
fn each_refusal_has_git_s_words_and_a_way_out() {
    let refused = |root: &Path, words: &str, hint: &str| {
        let error = Git::read(root).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        let error = format!("{error:#}");
        assert!(error.contains(words) && error.contains(hint), "{error}");
        assert!(error.contains(&root.display().to_string()) || hint.contains("no commit"), "{error}");
    };
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), "fatal: not a git repository", "is not in a git checkout: run `git init`");
    let bare = dir.path().join("bare.git");
    git(dir.path(), &["init", "--quiet", "--bare", "bare.git"]);
    refused(&bare, "fatal:", "is a bare repository");
    git(dir.path(), &["init", "--quiet", "--initial-branch", "new", "unborn"]);
    refused(&dir.path().join("unborn"), "fatal: Needed a single revision", "branch `new` has no commits yet");
    let lost = dir.path().join("lost");
    fs_err::create_dir_all(&lost).unwrap();
    fs_err::write(lost.join(".git"), "gitdir: /nowhere\n").unwrap();
    refused(&lost, "fatal: not a git repository: /nowhere", "`git worktree repair`");
    let words = "fatal: detected dubious ownership in repository at '/w'\ngit config --global --add safe.directory /w";
    let error = refusal::error(Path::new("/w"), std::process::ExitStatus::default(), words).to_string();
    assert!(
        error.starts_with("git does not trust /w, which belongs to another user") && error.ends_with(words)
    );
    let (_dir, root) = repository();
    fs_err::write(root.join(".git/index"), "x").unwrap();
    refused(&root, "index file smaller than expected", "remove `.git/index`");
}

#[test]
fn a_detached_head_has_no_branch() {
    let (_dir, root) = repository();
    git(&root, &["checkout", "--quiet", "--detach"]);
    assert_eq!(Git::read(&root).unwrap().branch, None);
}
