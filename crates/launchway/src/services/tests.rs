use std::io::Write as _;
use std::net::TcpListener;

use super::*;
use crate::config::Ports;
use launchway_core::events::{Reporter, Sink};
use launchway_core::interrupt::Interrupt;

fn service(here: u16) -> TestService {
    TestService {
        image: "postgres:16".to_owned(),
        environment: BTreeMap::from([("POSTGRES_PASSWORD".to_owned(), "a b".to_owned())]),
        ports: vec![Ports { here, inside: 5432 }],
        health: Some("pg_isready -U x".to_owned()),
    }
}

fn runner(folder: &Path) -> Runner {
    Runner {
        folder: folder.to_owned(),
        reporter: Reporter::new(Sink::Memory(Vec::new())),
        interrupt: Interrupt::default(),
    }
}

/// A port at which nothing responds.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn what_responds_is_used_and_what_does_not_is_started() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let [up, down] = [listener.local_addr().unwrap().port(), free_port()];
    let services = BTreeMap::from([("db".to_owned(), service(down)), ("mail".to_owned(), service(up))]);
    let [db, mail] = plan(Path::new("/w"), &services).try_into().unwrap();
    let shown =
        |plan: &Plan| plan.to_string().replace(&up.to_string(), "UP").replace(&down.to_string(), "DOWN");
    insta::assert_snapshot!(shown(&db), @r"
    docker run --detach --pull never --name launchway-test-db-d1bb8ca35467 --publish 127.0.0.1:DOWN:5432 --env 'POSTGRES_PASSWORD=a b' --health-cmd 'pg_isready -U x' --health-interval 2s --health-timeout 5s --health-retries 30 postgres:16
    wait up to 2m until it is healthy and responds at 127.0.0.1:DOWN; remove it after the tests
    ");
    assert_eq!(shown(&mail), "use the `mail` that responds at 127.0.0.1:UP");
    // Nothing is left to remove.
    let dir = tempfile::tempdir().unwrap();
    assert!(start(&[mail], &runner(dir.path())).unwrap().is_empty());
}

/// Listens after a moment, or says why not and ends; as `/bin/sh -c …` it is the command that looks after its health.
const SERVER: &str = r#"
use std::net::{TcpListener, TcpStream};
fn main() {
    if std::env::args().nth(1).as_deref() == Some("-c") {
        std::process::exit(i32::from(TcpStream::connect("127.0.0.1:5432").is_err()));
    }
    println!("mode {}", std::env::var("MODE").unwrap());
    if std::env::var("MODE").unwrap() == "broken" {
        eprintln!("no such database");
        std::process::exit(1);
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _listener = (std::env::var("MODE").unwrap() == "good").then(|| TcpListener::bind("0.0.0.0:5432").unwrap());
    loop {
        std::thread::park();
    }
}
"#;

fn docker(arguments: &[&str]) -> Result<String> {
    Call::new("docker").args(arguments.iter().copied()).read(Path::new("/"))
}

/// An image of the server in the engine, removed when this is dropped.
struct Image(String);

impl Image {
    fn new(dir: &Path) -> Self {
        fs_err::write(dir.join("server.rs"), SERVER).unwrap();
        let flags =
            ["--edition=2024", "-Ctarget-feature=+crt-static", "--target", "x86_64-unknown-linux-gnu"];
        Call::new("rustc").args(flags).args(["-o", "server", "server.rs"]).read(dir).unwrap();
        let tar = dir.join("server.tar");
        let mut builder = tar::Builder::new(fs_err::File::create(&tar).unwrap());
        for name in ["server", "bin/sh"] {
            builder.append_path_with_name(dir.join("server"), name).unwrap();
        }
        builder.into_inner().unwrap();
        let image = format!("localhost/launchway-test-service-{}:1", std::process::id());
        docker(&["import", "--change", "ENTRYPOINT [\"/server\"]", tar.to_str().unwrap(), &image]).unwrap();
        Self(image)
    }

    /// A service of it that behaves as told.
    fn service(&self, mode: &str) -> TestService {
        TestService {
            image: self.0.clone(),
            environment: BTreeMap::from([("MODE".to_owned(), mode.to_owned())]),
            ..service(free_port())
        }
    }

    /// The plan to start a container of it that behaves as told.
    fn plan(&self, root: &Path, mode: &str) -> Plan {
        let container = Container::of(root, "db", &self.service(mode));
        Plan::Start(Container { timeout: Duration::from_secs(15), ..container })
    }

    fn is_nothing_left(&self) -> bool {
        docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", self.0)]).unwrap().is_empty()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(docker(&["image", "rm", "--force", &self.0]));
    }
}

#[test]
fn a_container_is_up_for_the_tests_and_removed_however_they_end() {
    const TEST: &str = "a_container_is_up_for_the_tests_and_removed_however_they_end";
    let here = (std::env::consts::OS, std::env::consts::ARCH) == ("linux", "x86_64");
    if !here || local_engine(Path::new("/")).is_none() {
        return writeln!(std::io::stderr(), "SKIPPED: {TEST}: no Docker engine").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let image = Image::new(dir.path());
    assert!(has_image(dir.path(), &image.0) && !has_image(dir.path(), "launchway-of-nobody:1"));
    let runner = runner(dir.path());

    let plans = [image.plan(dir.path(), "good")];
    let Plan::Start(container) = &plans[0] else { unreachable!("it was planned to be started") };
    let running = start(&plans, &runner).unwrap();
    assert!(container.addresses.iter().all(is_open));
    assert_eq!(running[0].state().unwrap(), "running healthy");
    drop(running);
    assert!(image.is_nothing_left() && !container.addresses.iter().any(is_open));

    // What a killed run left does not pass for a service that somebody keeps.
    let services = BTreeMap::from([("db".to_owned(), image.service("good"))]);
    std::mem::forget(start(&plan(dir.path(), &services), &runner).unwrap());
    assert!(responds(&services["db"]) && !image.is_nothing_left());
    let plans = plan(dir.path(), &services);
    assert!(matches!(plans[..], [Plan::Start(_)]), "{plans:?}");
    drop(start(&plans, &runner).unwrap());
    assert!(image.is_nothing_left());

    let error = start(&[image.plan(dir.path(), "broken")], &runner).err().unwrap();
    assert_eq!(Exit::of(&error), Exit::Missing);
    let text = error.to_string();
    assert!(text.contains(&format!("`db` ({}) ended before it was ready:", image.0)), "{text}");
    assert!(text.contains("\n  mode broken") && text.contains("\n  no such database"), "{text}");
    assert!(image.is_nothing_left());

    let Plan::Start(deaf) = image.plan(dir.path(), "deaf") else {
        unreachable!("it was planned to be started")
    };
    let slow = [Plan::Start(Container { timeout: Duration::from_secs(1), ..deaf })];
    let text = start(&slow, &runner).err().unwrap().to_string();
    assert!(text.contains("was not ready after 1s:\n  mode deaf"), "{text}");
    assert!(image.is_nothing_left());

    // An interrupt while it gets up.
    let interrupt = runner.interrupt.clone();
    let waiter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        interrupt.set();
    });
    let error = start(&[image.plan(dir.path(), "deaf")], &runner).err().unwrap();
    waiter.join().unwrap();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
    assert!(image.is_nothing_left());
}
