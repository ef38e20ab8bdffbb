use super::*;
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_core::exit::Exit;
use launchway_core::interrupt::Interrupt;

/// A helper that is this shell script. A child writes it: were it open here, a fork elsewhere would make it busy.
pub(in super::super) fn install(folder: &Path, name: &str, script: &str) -> PathBuf {
    let program = folder.join(format!("docker-credential-{name}"));
    fs_err::write(folder.join("script"), format!("#!/bin/sh\n{script}\n")).unwrap();
    let to = program.to_str().unwrap();
    Call::new("install").args(["-m", "755", "script", to]).read(folder).unwrap();
    program
}

fn ask(script: &str, patience: Duration) -> Result<Option<(String, Secret)>> {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", script);
    let ctx = Context::for_test(dir.path(), Environment::default());
    get(&ctx, &program, "r.io", patience)
}

#[test]
fn a_helper_reads_the_address_and_prints_a_login() {
    let script = r#"[ "$1" = get ] && read -r server || true
        echo "{\"ServerURL\":\"$server\",\"Username\":\"me at $server\",\"Secret\":\"hunter2\"}""#;
    let (username, secret) = ask(script, PATIENCE).unwrap().unwrap();
    assert_eq!((username.as_str(), secret.expose()), ("me at r.io", "hunter2"));
    assert!(ask("echo '{}'", PATIENCE).unwrap().is_none());
    let none = "echo 'credentials not found in native keychain'; exit 1";
    assert!(ask(none, PATIENCE).unwrap().is_none());
}

#[test]
fn what_a_helper_prints_is_never_shown() {
    for (script, expected) in [
        ("echo hunter2; echo hunter2 >&2; exit 3", "ended with exit status: 3; what it printed is not shown"),
        ("echo 'hunter2 {'", "did not answer as one"),
        ("echo '{\"Secret\": 7, \"hunter2\": 1}'", "did not answer as one"),
        ("while echo hunter2; do :; done", "printed more than 65536 bytes"),
        ("kill -9 $$", "ended with signal: 9"),
    ] {
        let error = format!("{:#}", ask(script, PATIENCE).unwrap_err());
        assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
    }
    let ctx = Context::for_test(Path::new("/"), Environment::default());
    let error = get(&ctx, Path::new("/nonexistent"), "r.io", PATIENCE).unwrap_err();
    assert!(error.to_string().contains("cannot be started"), "{error}");
}

#[test]
fn a_helper_that_hangs_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", "sleep 600 & echo $! >\"$0.pid\"; wait");
    let ctx = Context::for_test(dir.path(), Environment::default());
    let error = get(&ctx, &program, "r.io", Duration::from_millis(150)).unwrap_err();
    assert_eq!(error.to_string(), "did not answer in time");
    let pid = fs_err::read_to_string(dir.path().join("docker-credential-test.pid")).unwrap();
    let gone = || {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < deadline, "process {pid} is left");
        std::thread::sleep(Interrupt::TICK);
    }
    ctx.interrupt.set();
    let error = get(&ctx, &program, "r.io", PATIENCE).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
    // Its output is closed, yet it goes on.
    let error = ask("exec >&-; sleep 600", Duration::from_millis(150)).unwrap_err();
    assert_eq!(error.to_string(), "did not answer in time");
}

#[test]
fn a_helper_is_found_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", "");
    let path = format!("/nonexistent:{}", dir.path().display());
    let ctx = Context::for_test(dir.path(), Environment::of([("PATH", path)]));
    assert_eq!(find(&ctx, "test"), Some(program));
    assert_eq!(find(&ctx, "other"), None);
    assert_eq!(find(&ctx, "/../docker-credential-test"), None);
}
