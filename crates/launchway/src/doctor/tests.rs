use super::*;
use launchway_core::events::Event;

fn reported(environment: Environment) -> (Result<()>, String) {
    reported_of(&context(environment))
}

fn context(environment: Environment) -> Context {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("PATH").unwrap();
    Context::for_test(root, Environment::of([("PATH", path.as_str())]).with(environment))
}

fn reported_of(ctx: &Context) -> (Result<()>, String) {
    let result = run(ctx);
    let text = ctx.reporter.events().into_iter().filter_map(|event| match event {
        Event::Page { text } => Some(text),
        _ => None,
    });
    (result, text.collect::<Vec<_>>().join("\n"))
}

#[test]
fn secrets_are_named_and_not_shown() {
    let (_, text) = reported(Environment::of([("CIPHER_KEY", "not-to-be-seen")]));
    assert!(!text.contains("not-to-be-seen"));
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("deploy: CIPHER_KEY").ends_with("  set"), "{text}");
    assert!(line("build: DOCKERHUB_TOKEN").contains("not set") && text.contains("(Docker Hub →"), "{text}");
    assert_eq!(text.matches("(Docker Hub →").count(), 1, "{text}");
    assert!(line("branch").ends_with("  ok          `main`"), "{text}");
    assert!(line("cargo ").contains("1.95.0"), "{text}");
}

#[test]
fn the_verdict_names_what_only_a_release_is_refused_for() {
    let verdict = |states: &[State]| {
        let line = |state: &State| Line {
            what: String::new(),
            state: *state,
            found: String::new(),
            fix: String::new(),
        };
        verdict(&states.iter().map(line).collect::<Vec<_>>(), false)
    };
    let complete = verdict(&[State::Set, State::Good]);
    assert!(complete.contains("Nothing is missing, not even for a release.\n"), "{complete}");
    assert!(complete.ends_with("only its use shows whether its\nvalue is right."), "{complete}");
    let (branch, tree) = (State::NoRelease("the release branch"), State::NoRelease("a clean tree"));
    let refused = verdict(&[State::Set, branch, tree]);
    let needs = "A release here needs the release branch and a clean tree.\n";
    assert!(refused.contains(needs) && !refused.contains("Nothing is missing"), "{refused}");
    assert!(refused.contains("Every variable that a release requires is set"), "{refused}");
    let unset = verdict(&[State::Unset, tree]);
    assert!(unset.contains("needs the variables that are not set and a clean tree.\n"), "{unset}");
    assert!(!unset.contains("Every variable"), "{unset}");
}

#[test]
fn a_tree_a_branch_and_an_id_that_a_release_is_refused_for_are_not_ok() {
    let mut ctx = context(Environment::of([("RENDER_SERVICE_ID", "xyz")]));
    ctx.git.dirty = true;
    ctx.git.branch = Some("feature".to_owned());
    ctx.config.image = PLACEHOLDER_IMAGE.to_owned();
    let (_, text) = reported_of(&ctx);
    for line in [
        "no release  `RENDER_SERVICE_ID` is not the id of a service",
        "no release  `feature`\n    build and deploy run on push to `main`",
        "no release  uncommitted changes",
        "no release  docker.io/acme/service",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_login_of_docker_is_shown_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cGFzc3dvcmQ="}}}"#;
    fs_err::write(dir.path().join("config.json"), config).unwrap();
    let folder = dir.path().to_str().unwrap();
    let (_, text) = reported(Environment::of([("DOCKER_CONFIG", folder)]));
    let line = text.lines().find(|line| line.contains("build: DOCKERHUB_TOKEN")).unwrap();
    let words = format!("`docker login`, in {folder}/config.json");
    assert!(line.contains("ok") && line.contains(&words), "{text}");
}

#[test]
fn packages_that_the_build_needs_are_named_and_fail_nothing() {
    let names = ["dpkg".to_owned(), "no-such-package".to_owned()];
    let path = std::env::var("PATH").unwrap();
    let line = |path: &str, names: &[String]| {
        let environment = Environment::of([("PATH", path)]);
        packages(Machine { root: Path::new("/"), environment: &environment, is_rehearsal: false }, names)
    };
    assert!(line(&path, &[]).is_none());
    let elsewhere = line("/nowhere", &names).unwrap();
    assert_eq!(
        (elsewhere.state, elsewhere.fix.as_str()),
        (State::Check, "the build needs what Debian calls dpkg, no-such-package")
    );
    if Call::new("dpkg-query").arg("--version").read(Path::new("/")).is_ok() {
        let here = line(&path, &names).unwrap();
        assert_eq!((here.state, here.found.as_str()), (State::Check, "not installed: no-such-package"));
        assert!(here.fix.starts_with("apt-get install no-such-package\n"), "{}", here.fix);
        assert_eq!(line(&path, &names[..1]).unwrap().state, State::Good);
    }
}

#[test]
fn ca_certificates_that_are_old_are_named_with_the_command_that_renews_them() {
    let dir = tempfile::tempdir().unwrap();
    let (root, of_machine) = (dir.path(), dir.path().join("machine.crt"));
    let later = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60);
    let line = |days| certificates(root, &of_machine, later(days));
    crate::testing::git(root, &["init", "--quiet"]);
    assert!(line(0).is_none());
    let path = root.join(OF_IMAGE).join(CERTIFICATES);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, "old").unwrap();
    crate::testing::git(root, &["add", "xtask"]);
    crate::testing::git(root, &["commit", "--quiet", "--message", "x"]);
    assert_eq!(line(300).unwrap().state, State::Good);
    let old = line(400).unwrap();
    let copy = format!("cp {} xtask/rootfs/etc/ssl/certs/\n", of_machine.display());
    assert!(old.state == State::Check && old.fix.contains(&copy), "{}", old.fix);
    fs_err::write(&of_machine, "new").unwrap();
    assert_eq!(line(400).unwrap().state, State::Check);
    // The machine has nothing newer.
    fs_err::write(&of_machine, "old").unwrap();
    assert_eq!(line(400).unwrap().state, State::Good);
}

#[test]
fn a_tool_that_cannot_be_had_is_missing() {
    let (result, text) = reported(Environment::of([("PATH", "/nowhere"), ("XTASK_INSTALL", "never")]));
    assert_eq!(Exit::of(&result.unwrap_err()), Exit::Missing);
    assert!(text.contains("cargo install --locked cargo-llvm-cov@"), "{text}");
}
