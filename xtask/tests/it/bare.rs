//! A bare machine: the toolchain lacks parts, and there are no certificates.

use std::path::Path;

use crate::support::{Fixture, Run, program};

/// A toolchain that says it lacks the target, the components and all, and a rustup that adds what it is asked for and
/// writes down what that was.
fn bare(fixture: &Fixture, rustup: &str) {
    let root = fixture.root();
    let found = |name: &str| program("sh", &["-c", &format!("command -v {name}")], &root);
    let sysroot = root.with_file_name("sysroot").display().to_string();
    let rustc = found("rustc");
    fixture.put(
        "rustc",
        &format!("if [ \"$*\" = '--print sysroot' ]; then echo {sysroot}; else exec {rustc} \"$@\"; fi"),
    );
    fixture.put("rustup", &format!("echo \"$*\" >> {sysroot}.log\n{}", rustup.replace("SYSROOT", &sysroot)));
    for program in ["cargo-fmt", "cargo-clippy"] {
        fixture.put(program, "exit 1");
    }
}

const ADDS: &str = "mkdir -p SYSROOT/lib/rustlib/$3/lib SYSROOT/bin\n\
    case $3 in rustfmt) touch SYSROOT/bin/rustfmt SYSROOT/bin/cargo-fmt;;\n\
    clippy) touch SYSROOT/bin/clippy-driver SYSROOT/bin/cargo-clippy;; esac";

fn asked(fixture: &Fixture) -> String {
    fs_err::read_to_string(fixture.root().with_file_name("sysroot.log")).unwrap_or_default()
}

fn installing(run: Run) -> Run {
    run.env("XTASK_INSTALL", "")
}

#[test]
fn what_the_toolchain_lacks_is_added_first() {
    let fixture = Fixture::new();
    bare(&fixture, ADDS);
    let missing = "the Rust toolchain cannot build for `x86_64-unknown-linux-gnu`: \
                   `rustup target add x86_64-unknown-linux-gnu`";
    fixture.run(&["docker-build"]).exits(3).says(&["nothing was run: 1 problem\n", missing]);
    fixture.run(&["docker-build", "--explain"]).exits(0).says(&[&format!("missing: {missing}")]);
    fixture.run(&["doctor"]).exits(3).says(&[missing, "`rustup component add clippy`"]);
    assert_eq!(asked(&fixture), "", "nothing may be installed");

    let explained = installing(fixture.xtask(&["docker-build", "--explain"])).finish().exits(0);
    explained.says(&["  install the target `x86_64-unknown-linux-gnu` into the Rust toolchain\n"]);
    installing(fixture.xtask(&["doctor"])).finish().says(&["installed when a step needs it"]);
    assert_eq!(asked(&fixture), "", "nothing was to run");

    let ran = installing(fixture.xtask(&["docker-build"])).finish().exits(0);
    let said = "installing the target `x86_64-unknown-linux-gnu` into the Rust toolchain, once";
    assert!(ran.out.find(said).unwrap() < ran.out.find("build: image").unwrap(), "{}", ran.text());
    // The step fails, as the clippy of this test is nothing, but all of its needs are there.
    installing(fixture.xtask(&["lint"])).finish().exits(1).says(&["installing rustfmt", "installing clippy"]);
    installing(fixture.xtask(&["docker-build"])).finish().exits(0).says_nothing_of(&["installing"]);
    let all = ["target add x86_64-unknown-linux-gnu", "component add rustfmt", "component add clippy", ""];
    assert_eq!(asked(&fixture), all.join("\n"));
}

#[test]
fn what_cannot_be_added_is_named_with_the_reason() {
    let fixture = Fixture::new();
    bare(&fixture, "echo 'error: could not download' >&2; exit 1");
    let ran = installing(fixture.xtask(&["docker-build"])).finish().exits(3);
    ran.says(&["nothing was run: 1 problem\n", "cannot be installed", "error: could not download"]);
    // It adds to a toolchain that is not the one in use.
    bare(&fixture, "true");
    let ran = installing(fixture.xtask(&["lint"])).finish().exits(3);
    ran.says(&["nothing was run: 2 problems\n", "the Rust on `PATH` was not installed by rustup"]);
    assert!(!fixture.exists("target/xtask/logs"), "nothing was run");
}

/// Where neither file nor folder has a certificate.
fn without_certificates(run: Run, empty: &Path) -> Run {
    let empty = empty.to_str().unwrap();
    run.env("SSL_CERT_FILE", &format!("{empty}/none.pem")).env("SSL_CERT_DIR", empty)
}

#[test]
fn certificates_are_for_what_is_outside() {
    let fixture = Fixture::new();
    let empty = tempfile::tempdir().unwrap();
    let arguments = ["rehearse", "--job", "build", "--job", "deploy"];
    without_certificates(fixture.xtask(&arguments), empty.path()).finish().exits(0).says(&[": live"]);
    let rollback = fixture.xtask(&["rollback", "--to", "dep-1"]);
    let rollback = rollback.envs(&[("RENDER_API_KEY", "rnd_key"), ("RENDER_SERVICE_ID", "srv-1")]);
    without_certificates(rollback, empty.path()).finish().exits(3).says(&[
        "`https://api.render.com` cannot be contacted",
        "install the package `ca-certificates`",
        "`SSL_CERT_FILE`",
    ]);
}

#[test]
fn a_ci_machine_gets_the_packages_of_its_tests() {
    let fixture = Fixture::new();
    fixture.replace(
        "Cargo.toml",
        "[workspace.metadata.pipeline.deploy]",
        "[workspace.metadata.pipeline.test]\npackages = [\"a-registry\"]\n\n[workspace.metadata.pipeline.deploy]",
    );
    let log = fixture.root().with_file_name("apt.log").display().to_string();
    fixture.put("apt-get", &format!("echo \"$*\" >> {log}"));
    fixture.put("sudo", "if [ \"$1\" = -n ]; then shift; fi; exec \"$@\"");
    fixture.put("dpkg-query", &format!("grep --quiet \"install.* $3\" {log} && echo installed"));
    // The tests do not come into it: that none of the tools is here is what ends the run.
    fixture.put("cargo-llvm-cov", "echo cargo-llvm-cov 0.9.0; test \"$2\" = --version");
    let line = "  install a-registry with apt-get\n";
    let explained = |variables: &[(&str, &str)]| {
        fixture.xtask(&["test-coverage", "--explain"]).envs(variables).finish().exits(0)
    };
    explained(&[("CI", "true"), ("XTASK_INSTALL", "")]).says(&[line]);
    // A machine of one's own, and one that must not be changed.
    explained(&[("XTASK_INSTALL", "")]).says_nothing_of(&[line]);
    explained(&[("CI", "true")]).says_nothing_of(&[line]);
    assert!(!Path::new(&log).exists(), "nothing was to run");

    bare(
        &fixture,
        "mkdir -p SYSROOT/lib/rustlib/host/bin && touch SYSROOT/lib/rustlib/host/bin/llvm-profdata",
    );
    let run = fixture.xtask(&["test-coverage"]).envs(&[("CI", "true"), ("XTASK_INSTALL", "")]);
    run.finish().exits(1).says(&["installing a-registry with apt-get, once"]);
    let done = fs_err::read_to_string(log).unwrap();
    assert_eq!(done, "update --quiet\ninstall --quiet --yes --no-install-recommends a-registry\n");
}

#[test]
fn a_test_that_was_skipped_is_counted_as_skipped() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("a_test_that_was_skipped_is_counted_as_skipped") {
        return;
    }
    let skips = "\n#[test]\nfn pushes() {\n    use std::io::Write as _;\n    \
                 writeln!(std::io::stderr(), \"SKIPPED: pushes: no registry\").unwrap();\n}\n";
    fixture.run(&["test-coverage"]).exits(0);
    let before = fixture.record()["tests"].clone();
    fixture.append("app/src/lib.rs", skips);
    let ran = fixture.run(&["test-coverage"]).exits(0);
    let after = fixture.record()["tests"].clone();
    assert_eq!((&after["passed"], &after["skipped"]), (&before["passed"], &1.into()), "{after}");
    let words = format!("{} tests passed, 0 failed, 1 skipped\n", after["passed"]);
    assert_eq!(ran.out.matches(&words).count(), 2, "{}", ran.text());
    ran.says(&["skipped pushes: no registry", "without pushes"]);
}
