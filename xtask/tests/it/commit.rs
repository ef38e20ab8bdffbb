//! The image of a commit: the same bytes, whatever lies beside the commit and whatever the machine is set to.

use crate::support::{Fixture, program, skipped, try_program};

/// The digest of the image, and its tags.
fn built(fixture: &Fixture, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    fixture.xtask(&["docker-build"]).envs(variables).finish().exits(0);
    let index = fixture.json("target/xtask/image/index.json");
    let manifests = index["manifests"].as_array().unwrap();
    let tags =
        manifests.iter().filter_map(|it| it["annotations"]["org.opencontainers.image.ref.name"].as_str());
    (manifests[0]["digest"].as_str().unwrap().to_owned(), tags.map(str::to_owned).collect())
}

/// A build that looks for what it could find: a file beside it, and variables.
const CURIOUS: &str = r#"fn main() {
    let file = std::fs::read_to_string("../beside.local").unwrap_or_default();
    let names = ["CC", "CFLAGS", "BUILD_NUMBER", "GIT_DIR", "RUSTFLAGS", "LANG", "TZ", "SOURCE_DATE_EPOCH"];
    let values: Vec<_> = names.iter().map(|name| std::env::var(name).unwrap_or_default()).collect();
    println!("cargo::rustc-env=FOUND={file:?} {values:?}");
}
"#;

fn curious() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("app/build.rs", CURIOUS);
    fixture.replace(
        "app/src/main.rs",
        "fn main() {",
        "fn main() {\n    std::hint::black_box(env!(\"FOUND\"));",
    );
    fixture.append(".gitignore", "*.local\n");
    fixture.replace("Dockerfile", "COPY motd /etc/motd", "COPY files /etc/");
    fixture.write("files/motd", "hello\n");
    fixture.commit();
    fixture
}

#[test]
fn what_is_not_in_the_commit_does_not_reach_its_image() {
    let fixture = curious();
    let expected = built(&fixture, &[]);
    assert_eq!(expected.1, [fixture.head(), "latest".to_owned()]);
    for file in ["beside.local", "files/x.local", "files/by-user"] {
        fixture.write(file, "beside");
    }
    fixture.write(".git/info/exclude", "by-user\n");
    fs_err::create_dir_all(fixture.path("files/empty")).unwrap();
    for (name, value) in
        [("core.autocrlf", "true"), ("core.fileMode", "false"), ("status.showUntrackedFiles", "no")]
    {
        fixture.git(&["config", name, value]);
    }
    assert_eq!(built(&fixture, &[]), expected);
    // The tree of a dirty one is packed, and no commit's tag is put on it.
    fixture.write("files/motd", "changed\n");
    let dirty = built(&fixture, &[]);
    assert_eq!(dirty.1, [format!("{}-dirty", fixture.head())]);
    fixture.write("files/motd", "hello\n");
    assert_eq!(built(&fixture, &[]), expected, "nothing is left of the dirty one");
}

#[test]
fn no_variable_of_the_machine_reaches_the_image() {
    let fixture = curious();
    let expected = built(&fixture, &[]);
    let variables = [
        ("CARGO_PROFILE_RELEASE_LTO", "true"),
        ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
        ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
        ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Copt-level=0"),
        ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "false"),
        ("CARGO_BUILD_RUSTC", "false"),
        ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=0"),
        ("RUSTFLAGS", "-Copt-level=0"),
        ("RUSTC_WRAPPER", "false"),
        ("RUSTC_BOOTSTRAP", "1"),
        ("CC", "clang"),
        ("CFLAGS", "-O0"),
        ("BUILD_NUMBER", "7"),
        ("SOURCE_DATE_EPOCH", "7"),
        ("LANG", "tr_TR.UTF-8"),
        ("TZ", "UTC-13"),
    ];
    assert_eq!(built(&fixture, &variables), expected);
}

#[test]
fn a_setting_of_the_machine_is_left_out_or_named() {
    let fixture = curious();
    let expected = built(&fixture, &[]);
    // Beside the workspace, so above it.
    let place = fixture.path("../.cargo/config.toml");
    let set = |text: &str| {
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(&place, text).unwrap();
    };
    set(
        "[build]\nrustflags = ['-Copt-level=0']\njobs = 1\n[target.x86_64-unknown-linux-gnu]\nlinker = 'false'\n",
    );
    assert_eq!(built(&fixture, &[]), expected);
    set("[profile.release]\nopt-level = 0\n[env]\nBUILD_NUMBER = '7'\n");
    let place = fs_err::canonicalize(&place).unwrap().display().to_string();
    fixture.run(&["docker-build"]).exits(2).says(&[
        &format!("`profile.release` in {place}"),
        &format!("`env.BUILD_NUMBER` in {place}"),
        "remove them, or move them to the repository's `.cargo/config.toml`",
    ]);
    // What the commit sets is part of it.
    fs_err::remove_file(place).unwrap();
    fixture.write(".cargo/config.toml", "[env]\nBUILD_NUMBER = '7'\n");
    fixture.commit();
    let set = built(&fixture, &[]);
    assert_ne!(set.0, expected.0);
    assert_eq!(built(&fixture, &[("BUILD_NUMBER", "8")]), set);
}

#[test]
fn the_variables_of_a_hook_lead_nowhere_else() {
    let (fixture, other) = (curious(), Fixture::new());
    let expected = built(&fixture, &[]);
    let state =
        || other.git(&["for-each-ref"]) + &other.git(&["status", "--porcelain"]) + &other.read(".git/config");
    let before = state();
    let folder = other.path(".git").display().to_string();
    let (work, index, objects) =
        (other.path("").display().to_string(), format!("{folder}/index"), format!("{folder}/objects"));
    let variables = [
        ("GIT_DIR", folder.as_str()),
        ("GIT_WORK_TREE", &work),
        ("GIT_INDEX_FILE", &index),
        ("GIT_OBJECT_DIRECTORY", &objects),
        ("GIT_PREFIX", "app/"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.bare"),
        ("GIT_CONFIG_VALUE_0", "true"),
    ];
    assert_eq!(built(&fixture, &variables), expected);
    assert_eq!(state(), before);
    // Where the workspace is a linked worktree, its own commit counts.
    let linked = fixture.path("../linked");
    fixture.git(&["worktree", "add", "--quiet", "-b", "side", linked.to_str().unwrap()]);
    fs_err::write(linked.join("files/motd"), "side\n").unwrap();
    program("git", &["commit", "--quiet", "--all", "--message", "Side"], &linked);
    let head = program("git", &["rev-parse", "--short=12", "HEAD"], &linked);
    let plan =
        fixture.xtask(&["docker-build", "--explain", "--verbose"]).within(&linked).envs(&variables).finish();
    plan.exits(0).says(&[&format!(
        "check out the files of commit {head} to {}",
        linked.canonicalize().unwrap().display()
    )]);
}

#[test]
fn no_program_that_git_starts_sees_a_secret() {
    let fixture = Fixture::new();
    let place = fixture.path("../seen");
    let script = format!("#!/bin/sh\nenv >> {}\n", place.display());
    for path in [".git/hooks/post-index-change", ".git/hooks/post-checkout", ".git/monitor"] {
        fixture.write(path, &script);
        program("chmod", &["+x", path], &fixture.root());
    }
    let monitor = fixture.path(".git/monitor").display().to_string();
    fixture.git(&["config", "core.fsmonitor", &monitor]);
    // So that git refreshes its index.
    fixture.write("motd", &fixture.read("motd"));
    drop(fs_err::remove_file(&place));
    let secrets =
        [("CIPHER_KEY", "s3cret-key"), ("DOCKERHUB_TOKEN", "s3cret-token"), ("RENDER_API_KEY", "s3cret-api")];
    for command in [&[][..], &["doctor"], &["docker-build", "--explain"]] {
        drop(fixture.xtask(command).envs(&secrets).finish());
    }
    let seen = fs_err::read_to_string(&place).unwrap_or_default();
    assert!(!seen.contains("s3cret"), "{seen}");
}

#[test]
fn a_binary_that_names_its_build_folder_gets_a_warning() {
    const WARNING: &str = "warning: the binary contains the path";
    let fixture = Fixture::new();
    fixture.run(&["docker-build"]).exits(0).says_nothing_of(&[WARNING]);
    let naming = "fn main() {\n    std::hint::black_box(env!(\"CARGO_MANIFEST_DIR\"));";
    fixture.replace("app/src/main.rs", "fn main() {", naming);
    fixture.commit();
    fixture.run(&["docker-build"]).exits(0).says(&[&format!("{WARNING} target/xtask/source")]);
}

#[test]
fn under_sudo_the_checkout_may_belong_to_the_user_behind_it() {
    let fixture = Fixture::new();
    let root = fixture.root();
    if try_program("chown", &["-R", "12345", "."], &root).is_err() {
        return skipped("under_sudo_the_checkout_may_belong_to_the_user_behind_it", "only root may do that");
    }
    // The user may trust every folder.
    let run = || fixture.xtask(&["history"]).env("GIT_CONFIG_GLOBAL", "/dev/null");
    run().finish().exits(2).says(&["git does not trust", "dubious ownership"]);
    run().env("SUDO_UID", "12345").finish().exits(0);
}
