//! With a running Docker engine.

use std::io::Write as _;

use super::*;

/// Refuses to run where it may write or has rights, answers, and ends by SIGTERM unless it is `DEAF`.
const SERVER: &str = r#"
use std::io::{Read, Write};
unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}
extern "C" fn end(_: i32) {
    let code = std::env::var("CODE").map_or(0, |code| code.parse().unwrap());
    unsafe { _exit(code) }
}
fn main() {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    assert!(std::fs::write("/file", "").is_err(), "the root can be written");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{status}");
    }
    if of("DEAF").is_empty() {
        unsafe { signal(15, end) };
    }
    println!("I listen on {}:{} as {}", of("LISTEN"), of("PORT"), of("MODE"));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.is_empty() {
        println!("with {}", arguments.join(" "));
    }
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

fn docker(arguments: &[&str]) -> Result<String> {
    Call::new("docker").args(arguments.iter().copied()).read(Path::new("/"))
}

/// A workspace of its own, and an image of the server in the engine, removed when this is dropped.
struct Built {
    test: Test,
    image: String,
}

impl Built {
    fn new(tar: &Path, start: &str, name: &str, variables: &[&str]) -> Self {
        let test = Test::new();
        let image = format!("localhost/launchway-smoke-test-{}:{name}", std::process::id());
        let version = format!("VERSION={{\"commit\":\"{COMMIT}\"}}");
        let mut arguments = vec!["import".to_owned(), "--change".to_owned(), start.to_owned()];
        for variable in ["HEALTH=200", &version].iter().chain(variables) {
            let (name, value) = variable.split_once('=').unwrap();
            arguments.extend(["--change".to_owned(), format!("ENV {name}='{value}'")]);
        }
        arguments.extend([tar.display().to_string(), image.clone()]);
        docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        Self { test, image }
    }

    fn smoke(&self, platform: Platform) -> Smoke {
        Smoke::of_image(service(), self.test.dir.path(), platform, self.image.clone())
    }

    fn run(&self, timeout: Duration) -> Result<()> {
        let mut smoke = self.smoke(Platform::Amd64);
        smoke.timeout = timeout;
        let result = smoke.run(&self.test.runner, &[]);
        let left =
            docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", self.image)]).unwrap();
        assert_eq!(left, "", "a container is left");
        result
    }

    fn fails(&self, timeout: Duration) -> String {
        let error = self.run(timeout).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed, "{error:#}");
        format!("{error:#}")
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        drop(docker(&["image", "rm", "--force", &self.image]));
    }
}

#[test]
fn an_image_of_the_engine_starts_in_a_container_that_is_always_removed() {
    const TEST: &str = "an_image_of_the_engine_starts_in_a_container_that_is_always_removed";
    if is_skipped(TEST) {
        return;
    }
    if docker(&["version"]).is_err() {
        return writeln!(std::io::stderr(), "SKIPPED: {TEST}: no Docker engine").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("server.rs"), SERVER).unwrap();
    let flags = ["--edition=2024", "-Ctarget-feature=+crt-static", "--target", "x86_64-unknown-linux-gnu"];
    Call::new("rustc").args(flags).args(["-o", "server", "server.rs"]).read(dir.path()).unwrap();
    let tar = dir.path().join("server.tar");
    let mut builder = tar::Builder::new(fs_err::File::create(&tar).unwrap());
    builder.append_path_with_name(dir.path().join("server"), "server").unwrap();
    builder.into_inner().unwrap();
    let built =
        |name: &str, variables: &[&str]| Built::new(&tar, "ENTRYPOINT [\"/server\"]", name, variables);
    let timeout = Duration::from_secs(15);

    let good = built("good", &[]);
    good.run(timeout).unwrap();
    assert_eq!(good.test.printed(), ["I listen on 0.0.0.0:8000 as TEST"]);
    assert!(good.test.notes()[0].starts_with("smoke run: up in "), "{:?}", good.test.notes());
    // What a killed run left is no obstacle.
    let Subject::Container(container) = good.smoke(Platform::Amd64).subject else { unreachable!() };
    let (name, _) = (container.name(), docker(&["create", "--name", container.name(), &good.image]).unwrap());
    assert!(docker(&["inspect", name]).is_ok());
    good.run(timeout).unwrap();
    // The arguments of a port do not take the place of a program.
    for start in ["ENTRYPOINT [\"/server\"]", "CMD [\"/server\", \"--old\"]"] {
        let by_argument = Built::new(&tar, start, "argument", &[]);
        let mut smoke = by_argument.smoke(Platform::Amd64);
        smoke.service.port = Port::Arguments { arguments: vec!["--port=$PORT".to_owned()] };
        smoke.run(&by_argument.test.runner, &[]).unwrap();
        assert_eq!(by_argument.test.printed(), ["I listen on 0.0.0.0:8000 as TEST", "with --port=8000"]);
    }

    let code = built("code", &["LISTEN=x", "PORT=x", "CODE=7"]).fails(timeout);
    assert!(code.ends_with("it exited with 7 after SIGTERM instead of 0"), "{code}");
    let old = built("old", &["VERSION={\"commit\":\"old\"}"]).fails(timeout);
    assert!(old.contains("/version returns commit `old` instead of"), "{old}");
    let deaf = built("deaf", &["DEAF=1"]);
    let killed = deaf.fails(Duration::from_secs(1));
    assert!(killed.contains("it did not exit within 1s of `docker stop`, and was killed"), "{killed}");

    deaf.smoke(Platform::Arm64).run(&deaf.test.runner, &[]).unwrap();
    let reported = format!("{:?}", deaf.test.runner.reporter.events());
    assert!(
        reported.contains("the image is for linux/arm64, but the Docker engine's machine is linux/amd64"),
        "{reported}"
    );

    // An interrupt while it does not respond.
    let ill = built("ill", &["HEALTH=503"]);
    let interrupt = ill.test.runner.interrupt.clone();
    let (up, asked) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(20);
        while docker(&["ps", "--quiet", "--filter", "name=launchway-smoke-"]).unwrap().is_empty()
            && Instant::now() < end
        {
            std::thread::sleep(Interrupt::TICK);
        }
        interrupt.set();
        up.send(()).unwrap();
    });
    assert_eq!(Exit::of(&ill.run(timeout).unwrap_err()), Exit::Interrupted);
    asked.recv().unwrap();
    waiter.join().unwrap();
}
