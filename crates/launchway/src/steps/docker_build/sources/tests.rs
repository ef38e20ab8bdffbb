use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use super::*;
use crate::context::Context;
use crate::git::Git;
use crate::testing::git;
use launchway_core::environment::Environment;
use launchway_core::interrupt::Interrupt;

/// A repository whose workspace is a folder in it.
fn workspace() -> (tempfile::TempDir, Context) {
    let dir = tempfile::tempdir().unwrap();
    let top = fs_err::canonicalize(dir.path()).unwrap();
    let root = top.join("web");
    for (path, text) in [
        ("shared/lib.rs", "shared\n"),
        ("web/Dockerfile", "FROM scratch\n"),
        ("web/rootfs/etc/motd", "hello\n"),
        ("web/rootfs/run", "#!/bin/sh\n"),
        ("web/rootfs/lines.txt", "one\r\ntwo\n$Id$\n"),
        ("web/.gitignore", "target\n*.local\n"),
        ("web/.gitattributes", "*.txt text eol=crlf ident filter=shout\nDockerfile export-ignore\n"),
    ] {
        fs_err::create_dir_all(top.join(path).parent().unwrap()).unwrap();
        fs_err::write(top.join(path), text).unwrap();
    }
    fs_err::set_permissions(root.join("rootfs/run"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("etc/motd", root.join("rootfs/link")).unwrap();
    git(&top, &["init", "--quiet"]);
    git(&top, &["add", "--all"]);
    git(&top, &["commit", "--quiet", "--message", "Begin"]);
    let mut ctx = Context::for_test(&root, Environment::default());
    ctx.git = Git::read(&root).unwrap();
    assert!(!ctx.git.dirty);
    (dir, ctx)
}

/// All that is in the folder of the sources: path, mode, and content or target.
fn checked_out(ctx: &Context) -> Vec<(String, u32, String)> {
    let sources = Sources::read(&ctx.root, &ctx.git).unwrap();
    drop(sources.checkout.run(&Interrupt::default()).unwrap());
    let mut found = Vec::new();
    let mut left = vec![sources.checkout.folder().to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let place = entry.unwrap().path();
            let metadata = place.symlink_metadata().unwrap();
            let name = place.strip_prefix(sources.checkout.folder()).unwrap().display().to_string();
            let text = if metadata.is_dir() {
                left.push(place);
                String::new()
            } else if metadata.is_symlink() {
                fs_err::read_link(place).unwrap().display().to_string()
            } else {
                fs_err::read_to_string(place).unwrap()
            };
            found.push((name, metadata.mode() & 0o777, text));
        }
    }
    found.sort();
    found
}

#[test]
fn the_files_are_those_of_the_commit_whatever_lies_beside_them() {
    let (dir, ctx) = workspace();
    let expected = checked_out(&ctx);
    let find = |path: &str| {
        expected.iter().find(|(name, ..)| name == path).map(|(_, mode, text)| (*mode, text.as_str()))
    };
    assert_eq!(find("web/rootfs/run"), Some((0o755, "#!/bin/sh\n")));
    assert_eq!(find("web/rootfs/etc"), Some((0o755, "")));
    assert_eq!(find("web/rootfs/link"), Some((0o777, "etc/motd")));
    assert_eq!(find("web/rootfs/lines.txt"), Some((0o644, "one\ntwo\n$Id$\n")), "as git stores it");
    assert_eq!(find("shared/lib.rs"), Some((0o644, "shared\n")));
    assert!(find("web/Dockerfile").is_some());

    // What git ignores, in each of its ways, and a folder without files.
    let top = dir.path();
    fs_err::write(top.join("excludes"), "").unwrap();
    fs_err::write(top.join(".git/info/exclude"), "/excludes\n/web/excluded\nby-user\n").unwrap();
    for path in ["web/rootfs/a.local", "web/rootfs/by-user", "web/excluded"] {
        fs_err::write(top.join(path), "x").unwrap();
    }
    fs_err::create_dir_all(top.join("web/rootfs/empty")).unwrap();
    fs_err::set_permissions(top.join("web/rootfs/etc/motd"), PermissionsExt::from_mode(0o600)).unwrap();
    fs_err::set_permissions(top.join("web/rootfs/etc"), PermissionsExt::from_mode(0o711)).unwrap();
    assert!(!Git::read(&ctx.root).unwrap().dirty);
    // Settings that change what a checkout looks like, or what git shows of it.
    for (name, value) in [
        ("core.autocrlf", "true"),
        ("core.eol", "crlf"),
        ("core.symlinks", "false"),
        ("core.fileMode", "false"),
        ("core.worktree", "/usr"),
        ("core.attributesFile", "/dev/null"),
        ("filter.shout.smudge", "tr a-z A-Z"),
        ("filter.shout.required", "true"),
        ("core.sparseCheckout", "true"),
    ] {
        git(top, &["config", name, value]);
    }
    assert_eq!(checked_out(&ctx), expected);
    let sources = Sources::read(&ctx.root, &ctx.git).unwrap();
    assert_eq!(sources.context.names("rootfs").unwrap(), ["etc", "lines.txt", "link", "run"]);
    assert_eq!(sources.context.text("rootfs/link").unwrap().unwrap(), "hello\n");
}

#[test]
fn a_file_that_stays_the_same_is_not_written_again() {
    let (dir, mut ctx) = workspace();
    let sources = Sources::read(&ctx.root, &ctx.git).unwrap();
    let inode =
        |path: &str| sources.context.place(path).metadata().map(|it| (it.ino(), it.mtime_nsec())).ok();
    let expected = checked_out(&ctx);
    let (motd, run) = (inode("rootfs/etc/motd"), inode("rootfs/run"));
    assert_eq!(checked_out(&ctx), expected);
    assert_eq!((inode("rootfs/etc/motd"), inode("rootfs/run")), (motd, run));
    // A build wrote there, and a file was changed without a trace in its size and time.
    let place = sources.context.place("rootfs/run");
    let time = place.metadata().unwrap().modified().unwrap();
    fs_err::write(&place, "#!/bin/no\n").unwrap();
    fs_err::OpenOptions::new().write(true).open(&place).unwrap().file().set_modified(time).unwrap();
    fs_err::write(sources.context.place("rootfs/made"), "").unwrap();
    fs_err::create_dir_all(sources.context.place("made/empty")).unwrap();
    assert_eq!(checked_out(&ctx), expected);
    assert_eq!(inode("rootfs/etc/motd"), motd);
    // A dirty tree: what git knows or would add, and nothing that it ignores.
    fs_err::write(dir.path().join("web/rootfs/run"), "#!/bin/sh -e\n").unwrap();
    fs_err::write(dir.path().join("web/rootfs/new"), "new\n").unwrap();
    fs_err::write(dir.path().join("web/x.local"), "ignored\n").unwrap();
    fs_err::remove_file(dir.path().join("shared/lib.rs")).unwrap();
    ctx.git = Git::read(&ctx.root).unwrap();
    assert!(ctx.git.dirty);
    let names: Vec<String> = checked_out(&ctx).into_iter().map(|(name, ..)| name).collect();
    assert!(
        names.contains(&"web/rootfs/new".to_owned()) && !names.contains(&"shared".to_owned()),
        "{names:?}"
    );
    assert!(!names.contains(&"web/x.local".to_owned()), "{names:?}");
    assert_eq!(inode("rootfs/etc/motd"), motd, "the same file of another origin");
    ctx.git.dirty = false;
    assert_eq!(checked_out(&ctx), expected);
}

#[test]
fn what_is_in_a_submodule_comes_from_the_commit_that_is_pinned() {
    let (dir, mut ctx) = workspace();
    let (other, _) = workspace();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    git(dir.path(), &[&add[..], &[other.path().to_str().unwrap(), "web/sub"]].concat());
    git(dir.path(), &["commit", "--quiet", "--message", "Add"]);
    ctx.git = Git::read(&ctx.root).unwrap();
    assert!(checked_out(&ctx).iter().any(|(name, ..)| name == "web/sub/web/rootfs/etc/motd"));
    let sources = Sources::read(&ctx.root, &ctx.git).unwrap();
    assert_eq!(sources.context.text("sub/web/rootfs/etc/motd").unwrap().unwrap(), "hello\n");
    git(dir.path(), &["submodule", "--quiet", "deinit", "--force", "web/sub"]);
    let error = Sources::read(&ctx.root, &ctx.git).unwrap_err();
    assert!(
        error.to_string().starts_with("the submodule `web/sub` is part of the commit but is not checked out")
    );
}

#[test]
fn what_the_image_needs_and_git_has_not_is_named() {
    let (dir, mut ctx) = workspace();
    git(dir.path(), &["rm", "--quiet", "--cached", "web/Dockerfile"]);
    git(dir.path(), &["commit", "--quiet", "--message", "Forget"]);
    fs_err::write(dir.path().join(".git/info/exclude"), "Dockerfile\n").unwrap();
    ctx.git = Git::read(&ctx.root).unwrap();
    assert!(!ctx.git.dirty);
    let error = crate::steps::docker_build::check(ctx.project(), launchway_image::Engine::Builtin)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "`Dockerfile` is not tracked by git in the workspace root: add and commit it");
}
