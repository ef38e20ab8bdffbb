use super::*;
use launchway_core::command::Call;
use launchway_core::exit::Exit;

/// A helper that is this shell script. A child writes it: were it open here, a fork elsewhere would make it busy.
pub(in super::super) fn install(folder: &Path, name: &str, script: &str) -> PathBuf {
    let program = folder.join(format!("docker-credential-{name}"));
    fs_err::write(folder.join("script"), format!("#!/bin/sh\n{script}\n")).unwrap();
    let to = program.to_str().unwrap();
    Call::new("install").args(["-m", "755", "script", to]).read(folder).unwrap();
    program
}

fn ask(script: &str, timeout: Duration) -> Result<Option<(String, Secret)>> {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", script);
    get(&Interrupt::default(), &program, "r.io", timeout)
}

#[test]
fn a_helper_reads_the_address_and_prints_a_login() {
    let script = r#"[ "$1" = get ] && read -r server || true
        echo "{\"ServerURL\":\"$server\",\"Username\":\"me at $server\",\"Secret\":\"hunter2\"}""#;
    let (username, secret) = ask(script, TIMEOUT).unwrap().unwrap();
    assert_eq!((username.as_str(), secret.expose()), ("me at r.io", "hunter2"));
    assert!(ask("echo '{}'", TIMEOUT).unwrap().is_none());
    let none = "echo 'credentials not found in native keychain'; exit 1";
    assert!(ask(none, TIMEOUT).unwrap().is_none());
}

#[test]
fn what_a_helper_prints_is_never_shown() {
    for (script, expected) in [
        ("echo hunter2; echo hunter2 >&2; exit 3", "exited with 3; its output is not shown"),
        ("echo 'hunter2 {'", "printed something other than a login"),
        ("echo '{\"Secret\": 7, \"hunter2\": 1}'", "printed something other than a login"),
        ("while echo hunter2; do :; done", "printed more than 65536 bytes"),
        ("kill -9 $$", "was killed by signal 9"),
    ] {
        let error = format!("{:#}", ask(script, TIMEOUT).unwrap_err());
        assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
    }
    let error = get(&Interrupt::default(), Path::new("/nonexistent"), "r.io", TIMEOUT).unwrap_err();
    assert!(error.to_string().contains("cannot be started"), "{error}");
}

#[test]
fn a_helper_that_hangs_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", "sleep 600 & echo $! >\"$0.pid\"; wait");
    let interrupt = Interrupt::default();
    // On a busy machine it may be ended before it has started anything.
    let started = [150, 1500, 15_000].into_iter().find_map(|milliseconds| {
        let error = get(&interrupt, &program, "r.io", Duration::from_millis(milliseconds)).unwrap_err();
        assert_eq!(error.to_string(), "did not respond in time");
        let pid = fs_err::read_to_string(dir.path().join("docker-credential-test.pid")).ok()?;
        pid.ends_with('\n').then_some(pid)
    });
    let pid = started.unwrap();
    let gone = || {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < deadline, "process {pid} is left");
        std::thread::sleep(Interrupt::TICK);
    }
    interrupt.set();
    let error = get(&interrupt, &program, "r.io", TIMEOUT).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
    // Its output is closed, yet it goes on.
    let error = ask("exec >&-; sleep 600", Duration::from_millis(150)).unwrap_err();
    assert_eq!(error.to_string(), "did not respond in time");
}

#[test]
fn a_helper_is_found_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let program = install(dir.path(), "test", "");
    let path = format!("/nonexistent:{}", dir.path().display());
    let path = Some(path.as_str());
    assert_eq!(find(path, "test"), Some(program));
    assert_eq!(find(path, "other"), None);
    assert_eq!(find(path, "/../docker-credential-test"), None);
}
