use super::*;
use crate::git::Git;
use crate::testing::git;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What comes of the commit's file and of one of the machine's, in cargo's home and above the checkout.
fn read_both(own: &str, machine: &str) -> [Result<Settings, String>; 2] {
    ["home/config.toml", ".cargo/config.toml"].map(|place| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("work");
        for (path, text) in [(root.join(".cargo/config.toml"), own), (dir.path().join(place), machine)] {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let sources = Sources::of_folder(&root).unwrap();
        let read = read(TARGET, &sources, &dir.path().join("home"));
        read.map_err(|error| {
            assert_eq!(Exit::of(&error), Exit::Usage);
            error.to_string().replace(&dir.path().join(place).display().to_string(), "PLACE")
        })
    })
}

#[test]
fn a_setting_of_the_machine_that_reaches_the_bytes_is_named() {
    for (text, key) in [
        ("[profile.release]\nlto = true", "profile.release"),
        ("[profile.release.package.serde]\nopt-level = 1", "profile.release"),
        ("[profile.shipped]\ninherits = 'release'", "profile.shipped"),
        ("[env]\nCC = 'clang'", "env.CC"),
        ("[build]\nrustc = '/opt/rustc'", "build.rustc"),
        ("[build]\nfuture-key = 1", "build.future-key"),
        ("[patch.crates-io]\nserde = { path = '/x' }", "patch.crates-io"),
        ("[unstable]\nbuild-std = ['std']", "unstable.build-std"),
        (
            "[target.x86_64-unknown-linux-gnu.ssl]\nrustc-link-lib = ['ssl']",
            "target.x86_64-unknown-linux-gnu.ssl",
        ),
        ("[target.'cfg(unix)'.ssl]\nrustc-link-lib = ['ssl']", "target.cfg(unix).ssl"),
        ("[host]\nlinker = 'x'", "host.linker"),
        ("paths = ['/x']", "paths"),
    ] {
        for read in read_both("", text) {
            let error = read.unwrap_err();
            assert!(error.contains(&format!("\n  `{key}` in PLACE\n")), "{text}: {error}");
        }
    }
}

#[test]
fn a_setting_of_the_machine_that_reaches_no_byte_stays() {
    for text in [
        "[source.crates-io]\nreplace-with = 'mirror'\n[source.mirror]\nregistry = 'sparse+https://example.com/'",
        "[registries.own]\nindex = 'sparse+https://example.com/'\n[registry]\ndefault = 'own'",
        "[net]\ngit-fetch-with-cli = true\n[http]\nproxy = 'x'\n[term]\nverbose = true\n[alias]\nb = 'build'",
        "[build]\njobs = 1\nrustc-wrapper = 'sccache'\ntarget-dir = '/x'\nincremental = true",
        "[build]\nrustflags = ['-Ctarget-cpu=native']\n[target.x86_64-unknown-linux-gnu]\nrustflags = '-Cx'",
        "[target.'cfg(all())']\nrustflags = ['-Cx']\nrunner = 'x'",
        "[target.wasm32-unknown-unknown]\nlinker = 'x'",
        "[profile.dev]\nopt-level = 3",
    ] {
        for read in read_both("", text) {
            assert_eq!(read.unwrap(), Settings::default(), "{text}");
        }
    }
}

#[test]
fn what_the_commit_sets_is_followed() {
    for (own, flags) in [
        ("[build]\nrustflags = '--cfg tokio_unstable'", &["--cfg", "tokio_unstable"][..]),
        ("[build]\nrustflags = ['-Ca']\n[target.x86_64-unknown-linux-gnu]\nrustflags = ['-Cb']", &["-Cb"]),
        ("[target.aarch64-unknown-linux-gnu]\nrustflags = ['-Cb']", &[]),
        ("[profile.release]\nlto = true\n[env]\nA = '1'", &[]),
    ] {
        for read in read_both(own, "[build]\nrustflags = ['-Cmachine']") {
            assert_eq!(read.unwrap().flags, flags, "{own}");
        }
        // A copy of it is no other setting.
        assert!(read_both(own, own).iter().all(Result::is_ok));
    }
    for read in read_both("[target.'cfg(unix)']\nrustflags = ['-Ca']", "") {
        assert!(read.unwrap_err().contains("so write `target.x86_64-unknown-linux-gnu.rustflags`"));
    }
}

#[test]
fn a_linker_of_the_machine_is_not_used() {
    let machine =
        "[target.x86_64-unknown-linux-gnu]\nlinker = 'clang'\nrustflags = ['-Clink-arg=-fuse-ld=mold']";
    for read in read_both("", machine) {
        assert_eq!(read, Ok(Settings { flags: Vec::new(), linker: Some("cc") }));
    }
    for read in read_both("[target.x86_64-unknown-linux-gnu]\nlinker = 'own'", machine) {
        assert_eq!(read, Ok(Settings::default()));
    }
}

#[test]
fn what_a_file_includes_is_the_commit_s_or_the_machine_s() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs_err::canonicalize(dir.path()).unwrap().join("repository");
    let write = |path: &str, text: &str| {
        let place = top.join(path);
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(place, text).unwrap();
    };
    write("web/Cargo.toml", "");
    write(".gitignore", "local.toml\n");
    write("shared.toml", "[build]\nrustflags = ['-Cshared']\n[env]\nA = '1'\n");
    let includes = "include = ['../shared.toml', { path = 'local.toml', optional = true }]\n";
    // Above the workspace, as in a repository of many.
    write(".cargo/config.toml", &format!("{includes}[profile.release]\nlto = true\n"));
    let commit = || {
        git(&top, &["add", "--all"]);
        git(&top, &["commit", "--quiet", "--message", "Change"]);
    };
    git(&top, &["init", "--quiet"]);
    commit();
    let home = top.with_file_name("home");
    let read = || {
        let root = top.join("web");
        let git = Git::read(&root).unwrap();
        assert!(!git.dirty);
        let read = read(TARGET, &Sources::read(&root, &git).unwrap(), &home);
        read.map_err(|error| error.to_string())
    };
    assert_eq!(read().unwrap().flags, ["-Cshared"]);

    // Git ignores it, and cargo reads it beside the working tree's copy.
    write(".cargo/local.toml", "[profile.release]\nopt-level = 0\n");
    let error = read().unwrap_err();
    assert!(error.contains("\n  `profile.release` in ") && error.contains("/.cargo/local.toml\n"), "{error}");
    fs_err::remove_file(top.join(".cargo/local.toml")).unwrap();

    write("../home/config.toml", "include = 'more.toml'\n[net]\nretry = 3\n");
    write("../home/more.toml", "include = ['config.toml']\n[env]\nB = '1'\n");
    let error = read().unwrap_err();
    assert!(error.contains("\n  `env.B` in ") && error.contains("/home/more.toml\n"), "{error}");
    fs_err::remove_dir_all(&home).unwrap();

    write(".cargo/config.toml", "include = ['../../outside.toml']\n");
    commit();
    let error = read().unwrap_err();
    assert_eq!(
        error,
        "`.cargo/config.toml` includes `../../outside.toml`, which is outside the repository: move it inside"
    );
}
