use std::io::Write as _;
use std::net::TcpListener;

use super::*;
use crate::config::OwnCheck;
use crate::context::Context;
use launchway_core::environment::Environment;
use launchway_core::http::NetworkPolicy;

fn ctx(root: &Path, variables: &[(&str, &str)]) -> Context {
    Context::for_test(root, Environment::of(variables.iter().copied()))
}

#[test]
fn each_step_says_what_it_needs() {
    let ctx = ctx(Path::new("/w"), &[]);
    let lines = |step, engine| -> Vec<String> {
        Need::of(ctx.machine(), &ctx.config, step, engine).iter().map(Need::install_line).collect()
    };
    let of = |step| lines(step, Engine::Builtin);
    assert_eq!(of(StepId::Lint), ["rustup component add rustfmt", "rustup component add clippy"]);
    let coverage = ["rustup component add llvm-tools", "cargo install --locked cargo-llvm-cov@0.9.0"];
    assert_eq!(of(StepId::TestCoverage), coverage);
    assert_eq!(of(StepId::DockerBuild), ["rustup target add x86_64-unknown-linux-gnu"]);
    assert_eq!(lines(StepId::DockerBuild, Engine::Docker), Vec::<String>::new());
    assert_eq!(of(StepId::Deploy), Vec::<String>::new());
}

#[test]
fn the_pinned_tool_of_an_own_check_is_needed_and_can_be_installed() {
    let mut with = ctx(Path::new("/w"), &[]);
    with.config.lint.checks = vec![OwnCheck::of("cargo sqlx prepare --check", Some("sqlx-cli@0.8.2"))];
    let of_lint = Need::of(with.machine(), &with.config, StepId::Lint, Engine::Builtin);
    let need = of_lint.last().unwrap();
    assert_eq!(need.install_line(), "cargo install --locked sqlx-cli@0.8.2");
    assert!(need.may_install(with.machine()));
    assert!(
        Need::of(with.machine(), &with.config, StepId::TestCoverage, Engine::Builtin)
            .iter()
            .all(|other| other != need)
    );
    with.environment = Environment::of([("XTASK_INSTALL", "never")]);
    assert!(!need.may_install(with.machine()));
    let problem = "sqlx-cli 0.8.2 is not installed: `cargo install --locked sqlx-cli@0.8.2`";
    assert_eq!(need.problem(with.machine()), problem);
}

#[test]
fn packages_are_installed_where_something_compiles_and_only_on_a_ci_machine() {
    const TEST: &str = "packages_are_installed_where_something_compiles_and_only_on_a_ci_machine";

    let path = std::env::var("PATH").unwrap();
    let mut on_ci = ctx(Path::new("/"), &[("PATH", &path), ("CI", "true")]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    (on_ci.config.build.packages, on_ci.config.test.packages) = (names(&["no-such-package"]), names(&["jq"]));
    let of = |ctx: &Context, step, engine| -> Vec<Vec<String>> {
        let needs = Need::of(ctx.machine(), &ctx.config, step, engine).into_iter();
        let packages = needs.filter_map(|need| match need {
            Need::Packages(names) => Some(names),
            _ => None,
        });
        packages.collect()
    };
    let (builtin, docker) = (Engine::Builtin, Engine::Docker);
    let on_laptop = ctx_like(&on_ci, &[("PATH", &path)]);
    assert_eq!(of(&on_laptop, StepId::Lint, builtin), Vec::<Vec<String>>::new());
    if Need::packages(on_ci.machine(), &names(&["x"])).is_none() {
        return writeln!(std::io::stderr(), "SKIPPED: {TEST}: apt-get cannot run as root").unwrap();
    }
    let build = names(&["no-such-package"]);
    assert_eq!(of(&on_ci, StepId::Lint, docker), std::slice::from_ref(&build));
    assert_eq!(of(&on_ci, StepId::TestCoverage, docker), [build.clone(), names(&["jq"])]);
    assert_eq!(of(&on_ci, StepId::DockerBuild, builtin), std::slice::from_ref(&build));
    assert_eq!(of(&on_ci, StepId::DockerBuild, docker), Vec::<Vec<String>>::new());
    // Several steps need it, and one installs it.
    let steps = [StepId::Lint, StepId::DockerBuild];
    let missing = Need::missing(on_ci.machine(), &on_ci.config, &steps, builtin).unwrap();
    assert_eq!(
        missing.iter().filter(|need| **need == Need::Packages(build.clone())).count(),
        1,
        "{missing:?}"
    );
}

/// The same configuration on another machine.
fn ctx_like(other: &Context, variables: &[(&str, &str)]) -> Context {
    let mut ctx = ctx(Path::new("/"), variables);
    ctx.config = other.config.clone();
    ctx
}

#[test]
fn absent_packages_are_named_where_debian_is() {
    const TEST: &str = "absent_packages_are_named_where_debian_is";

    let names = ["dpkg".to_owned(), "no-such-package".to_owned()];
    let elsewhere = ctx(Path::new("/"), &[("PATH", "/nowhere")]);
    assert_eq!(absent(elsewhere.machine(), &names), None);
    let here = ctx(Path::new("/"), &[("PATH", &std::env::var("PATH").unwrap())]);
    match absent(here.machine(), &names) {
        Some(absent) => assert_eq!(absent, ["no-such-package"]),
        None => writeln!(std::io::stderr(), "SKIPPED: {TEST}: no dpkg-query").unwrap(),
    }
}

#[test]
fn a_service_that_does_not_run_is_named_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    let text = format!("image = \"postgres:16\"\nports = [\"{port}:5432\"]");
    let need = Need::Service("db".to_owned(), toml::from_str(&text).unwrap());
    let without_docker = ctx(Path::new("/"), &[("PATH", "/nowhere")]);
    assert!(need.is_here(without_docker.machine(), Path::new("")), "it responds, whoever started it");
    drop(nobody);
    assert!(
        !need.is_here(without_docker.machine(), Path::new("")) && !need.may_install(without_docker.machine())
    );
    assert_eq!(
        need.problem(without_docker.machine()),
        format!(
            "the tests need the service `db` (postgres:16), and nothing responds at 127.0.0.1:{port}: \
             start it, or install Docker, so that the pipeline can start it"
        )
    );
    assert_eq!(need.install_line(), "docker pull postgres:16");
    let mut rehearsal = ctx(Path::new("/"), &[("PATH", &std::env::var("PATH").unwrap())]);
    rehearsal.network = NetworkPolicy::Only(Vec::new());
    assert!(!need.may_install(rehearsal.machine()), "a pull leads out of a rehearsal");
    let mut configured = ctx(Path::new("/"), &[]);
    let Need::Service(name, service) = need.clone() else { unreachable!() };
    configured.config.test.services = [(name, service)].into();
    let of = |step| Need::of(configured.machine(), &configured.config, step, Engine::Builtin);
    assert!(of(StepId::TestCoverage).contains(&need) && !of(StepId::Lint).contains(&need));
}

#[test]
fn what_the_toolchain_has_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = ctx(dir.path(), &[]);
    let [llvm, target] =
        [Need::Component("llvm-tools"), Need::Target("x86_64-unknown-linux-musl".to_owned())];
    let rustlib = dir.path().join("lib/rustlib");
    for need in [&llvm, &target] {
        assert!(!need.is_here(ctx.machine(), dir.path()), "{need}");
    }
    fs_err::create_dir_all(rustlib.join("x86_64-unknown-linux-gnu/bin")).unwrap();
    fs_err::write(rustlib.join("x86_64-unknown-linux-gnu/bin/llvm-profdata"), "").unwrap();
    assert!(llvm.is_here(ctx.machine(), dir.path()) && !target.is_here(ctx.machine(), dir.path()));
    fs_err::create_dir_all(rustlib.join("x86_64-unknown-linux-musl/lib")).unwrap();
    assert!(target.is_here(ctx.machine(), dir.path()));
}

#[test]
fn only_a_toolchain_of_rustup_can_be_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let need = Need::Component("llvm-tools");
    let bare = ctx(dir.path(), &[("PATH", "/nowhere")]);
    assert!(!need.may_install(bare.machine()));
    assert!(
        need.problem(bare.machine()).contains("install Rust from https://rustup.rs"),
        "{}",
        need.problem(bare.machine())
    );

    fs_err::write(dir.path().join("rustup"), "").unwrap();
    let path = dir.path().to_str().unwrap();
    let with = ctx(dir.path(), &[("PATH", path)]);
    assert!(need.may_install(with.machine()));
    let never = ctx(dir.path(), &[("PATH", path), ("XTASK_INSTALL", "never")]);
    assert!(!need.may_install(never.machine()));
    assert_eq!(
        need.problem(never.machine()),
        "the Rust toolchain has no llvm-tools: `rustup component add llvm-tools`"
    );
}
