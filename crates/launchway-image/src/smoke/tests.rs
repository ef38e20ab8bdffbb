mod container;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::super::layer::{Entry, Kind, Owner};
use super::*;
use crate::testing::runner;
use launchway_core::command::Call;
use launchway_core::events::Event;

/// Answers its health path with `HEALTH`, and anything else with `VERSION` and then what it sees.
const SERVER: &str = r#"
use std::io::{Read, Write};
fn main() {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    println!("I listen on {}:{} as {}", of("LISTEN"), of("PORT"), of("MODE"));
    let listener = std::net::TcpListener::bind((of("LISTEN"), of("PORT").parse().unwrap())).unwrap();
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        let is_health = request[..read].starts_with(b"GET /healthz ");
        let (status, body) = if is_health { (of("HEALTH"), String::new()) } else { ("200".into(), of("VERSION")) };
        write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
    }
}
"#;

/// The compiled server; it is the same for every test.
fn server() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("server.rs"), SERVER).unwrap();
        Call::new("rustc").args(["--edition=2024", "-o", "server", "server.rs"]).read(dir.path()).unwrap();
        dir
    })
    .path()
}

/// A layer with the server at `/bin/server` and this script at `/bin/run`.
fn layers(dir: &Path, script: &str) -> Vec<Arc<Tar>> {
    let file = dir.join("run");
    fs_err::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    let entry = |kind| Entry { kind, owner: Owner::default(), mode: 0o755 };
    let entries = [
        ("bin", entry(Kind::Directory)),
        ("bin/run", entry(Kind::File(file))),
        ("bin/server", entry(Kind::File(server().join("server")))),
        ("start", entry(Kind::Link("/bin/run".to_owned()))),
    ];
    vec![Arc::new(Tar::pack(String::new(), entries.iter().map(|(path, entry)| (*path, entry))).unwrap())]
}

/// Starts the server at the port that its last argument names.
const BY_ARGUMENT: &str = "export PORT=\"${2#--port=}\"\ntest \"$#-$1\" = 2-serve || exit 3\n\
    trap 'kill $!; exit 0' TERM\n\"${0%/*}/server\" & wait";

/// Starts the server in the background and ends with 0 on SIGTERM.
const GOOD: &str = "trap 'kill $!; exit 0' TERM\n\"${0%/*}/server\" & wait";

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn service() -> Service {
    Service {
        health: "/healthz".to_owned(),
        version: Some("/version".to_owned()),
        commit: COMMIT.to_owned(),
        environment: vec![("MODE".to_owned(), "TEST".to_owned())],
        settings: "the settings".to_owned(),
        port: Port::Standard,
    }
}

struct Test {
    dir: TempDir,
    runner: Runner,
    smoke: Smoke,
}

impl Test {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner = runner(dir.path());
        let version = format!("VERSION={{\"commit\":\"{COMMIT}\"}}");
        let settings = Settings {
            entrypoint: Some(vec!["/bin/run".to_owned()]),
            env: vec!["HEALTH=200".to_owned(), version, "PORT=1".to_owned()],
            ..Settings::default()
        };
        let smoke = Smoke::of_layers(
            service(),
            dir.path().join("smoke"),
            Platform::Amd64,
            settings,
            Err("this is a test".to_owned()),
        );
        Self { dir, runner, smoke }
    }

    fn run(&self, script: &str) -> Result<()> {
        let result = self.smoke.run(&self.runner, &layers(self.dir.path(), script));
        assert!(!self.folder().exists(), "the unpacked layers are left");
        result
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("smoke")
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.program().settings
    }

    fn program(&mut self) -> &mut Program {
        match &mut self.smoke.subject {
            Subject::Program(program) => program,
            Subject::Container(_) => unreachable!("a smoke run of layers"),
        }
    }

    /// The message of a run that fails as a check.
    fn fails(&self, script: &str) -> String {
        let error = self.run(script).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed, "{error:#}");
        let message = format!("{error:#}");
        message.strip_prefix("the image failed its smoke run and was not written: ").unwrap().to_owned()
    }

    fn printed(&self) -> Vec<String> {
        let reported = self.runner.reporter.events().into_iter();
        reported
            .filter_map(|event| if let Event::Output { line } = event { Some(line) } else { None })
            .collect()
    }

    fn notes(&self) -> Vec<String> {
        let reported = self.runner.reporter.events().into_iter();
        reported
            .filter_map(|event| if let Event::Note { text } = event { Some(text) } else { None })
            .collect()
    }
}

/// Where there is nobody of this image to run it, the other tests prove nothing.
fn is_skipped(test: &str) -> bool {
    use std::io::Write as _;

    let skipped = (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64");
    if skipped {
        writeln!(std::io::stderr(), "SKIPPED: {test}: this machine is not linux/amd64").unwrap();
    }
    skipped
}

#[test]
fn a_good_image_starts_answers_and_ends() {
    if is_skipped("a_good_image_starts_answers_and_ends") {
        return;
    }
    let mut test = Test::new();
    // Left by a run that was killed.
    fs_err::create_dir_all(test.folder().join("bin/run")).unwrap();
    test.run(GOOD).unwrap();
    let printed = test.printed();
    assert!(
        printed[0].starts_with("I listen on 127.0.0.1:") && printed[0].ends_with(" as TEST"),
        "{printed:?}"
    );
    assert!(!printed[0].contains(":1 "), "the image's own port is not free: {printed:?}");
    assert!(test.notes()[0].starts_with("smoke run: up in "), "{:?}", test.notes());
    // The other ways to name a program.
    for (name, folder) in [("run", "/"), ("./run", "/bin"), ("/start", "/bin")] {
        test.settings().entrypoint = None;
        test.settings().cmd = Some(vec![name.to_owned()]);
        test.settings().working_dir = folder.to_owned();
        test.run(&GOOD.replace("${0%/*}", if folder == "/" { "./bin" } else { "." })).unwrap();
    }
}

#[test]
fn a_port_may_be_an_argument() {
    if is_skipped("a_port_may_be_an_argument") {
        return;
    }
    let mut test = Test::new();
    let mut by_argument = |entrypoint: &[&str], cmd: &[&str], arguments: &[&str]| {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        test.settings().entrypoint = Some(words(entrypoint)).filter(|words| !words.is_empty());
        test.settings().cmd = Some(words(cmd));
        test.smoke.service.port = Port::Arguments { arguments: words(arguments) };
        test.run(BY_ARGUMENT)
    };
    by_argument(&["/bin/run", "serve"], &["--port=80"], &["--port=$PORT"]).unwrap();
    by_argument(&[], &["/bin/run", "serve", "--port=80"], &["serve", "--port=$PORT"]).unwrap();
    let error = by_argument(&["/bin/run"], &[], &["--port=$PORT"]).unwrap_err();
    assert!(format!("{error:#}").contains("it exited with 3"), "{error:#}");
}

#[test]
fn the_child_sees_the_images_environment_only() {
    if is_skipped("the_child_sees_the_images_environment_only") {
        return;
    }
    let test = Test::new();
    test.fails("env | sort; exit 3");
    let names: Vec<String> =
        test.printed().iter().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    assert_eq!(names, ["HEALTH", "LISTEN", "MODE", "PORT", "PWD", "VERSION"]);
}

#[test]
fn whatever_does_not_go_well_fails_the_check() {
    if is_skipped("whatever_does_not_go_well_fails_the_check") {
        return;
    }
    let test = Test::new();
    let early = test.fails("echo 'no such setting' >&2; exit 3");
    assert_eq!(
        early,
        "it exited with 3 before it responded at /healthz\n  If it lacks a setting, set it in the settings."
    );
    assert_eq!(test.printed(), ["no such setting"]);
    let late = test.fails(&GOOD.replace("exit 0", "exit 7"));
    assert_eq!(late, "it exited with 7 after SIGTERM instead of 0");

    let mut test = Test::new();
    test.settings().env[1] = "VERSION={\"commit\":\"old\"}".to_owned();
    let old = test.fails(GOOD);
    assert!(old.starts_with("/version returns commit `old` instead of `0123456789abcdef"), "{old}");
    test.settings().env[1] = "VERSION=hello".to_owned();
    assert_eq!(test.fails(GOOD), "/version does not return `{\"commit\": \"…\"}`");
    test.smoke.timeout = Duration::from_secs(2);
    test.settings().env[0] = "HEALTH=503".to_owned();
    assert_eq!(
        test.fails(GOOD),
        "/healthz does not respond with 2xx after 2s: it responds with 503 Service Unavailable"
    );
    test.settings().entrypoint = Some(vec!["/bin/none".to_owned()]);
    assert_eq!(test.fails(GOOD), "`/bin/none` is not in the image");
    test.settings().entrypoint = Some(vec!["none".to_owned()]);
    assert!(test.fails(GOOD).starts_with("`none` is not in the image's `PATH`, /usr/local/sbin:"));
    test.settings().entrypoint = None;
    assert_eq!(test.fails(GOOD), "the image has neither an `ENTRYPOINT` nor a `CMD`");
}

#[test]
fn a_program_that_does_not_end_is_ended_with_what_it_started() {
    if is_skipped("a_program_that_does_not_end_is_ended_with_what_it_started") {
        return;
    }
    let mut test = Test::new();
    test.smoke.timeout = Duration::from_secs(2);
    // Its own server ends by the signal; the shell and its `sleep` do not.
    let stubborn = "trap '' TERM\nsleep 600 & echo $!\n\"${0%/*}/server\" & wait";
    assert_eq!(test.fails(stubborn), "it did not exit within 2s of SIGTERM");
    let sleeper = test.printed().into_iter().find(|line| line.parse::<u32>().is_ok()).unwrap();
    let stat = || fs_err::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(10);
    while !(stat().is_empty() || stat().contains(") Z ")) {
        assert!(Instant::now() < end, "process {sleeper} is left");
        std::thread::sleep(Interrupt::TICK);
    }
}

#[test]
fn a_program_that_the_signal_ends_is_warned_of() {
    if is_skipped("a_program_that_the_signal_ends_is_warned_of") {
        return;
    }
    let test = Test::new();
    test.run("exec \"${0%/*}/server\"").unwrap();
    assert!(
        test.notes()[0].starts_with("warning: the service has no handler for SIGTERM"),
        "{:?}",
        test.notes()
    );
}

#[test]
fn an_image_for_another_machine_is_skipped_by_name() {
    let mut test = Test::new();
    let other = if std::env::consts::ARCH == "x86_64" { Platform::Arm64 } else { Platform::Amd64 };
    test.program().platform = other;
    test.smoke.run(&test.runner, &[]).unwrap();
    let reported = test.runner.reporter.events();
    let reason = format!("the image is for {other}, but this machine is ");
    assert!(
        matches!(&reported[..], [Event::CheckSkipped { check, reason: said }] if check == "smoke run" && said.starts_with(&reason)),
        "{reported:?}"
    );
}

#[test]
fn a_program_that_needs_the_images_own_files_is_skipped_by_name() {
    if is_skipped("a_program_that_needs_the_images_own_files_is_skipped_by_name") {
        return;
    }
    let mut test = Test::new();
    test.settings().entrypoint = Some(vec!["/bin/server".to_owned()]);
    test.run(GOOD).unwrap();
    let reported = format!("{:?}", test.runner.reporter.events());
    assert!(
        reported.contains("smoke run")
            && reported.contains("`/bin/server` is not a static program for linux/amd64"),
        "{reported}"
    );
}

#[test]
fn an_interrupt_is_no_fault_of_the_image() {
    let test = Test::new();
    test.runner.interrupt.set();
    assert_eq!(Exit::of(&test.run(GOOD).unwrap_err()), Exit::Interrupted);
    assert!(!test.folder().exists());
}
