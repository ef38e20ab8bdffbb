//! Random faults of the fakes, some of them at once: live and proved, or as before, or exit 6 with what is left. And
//! never a secret.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use serde_json::json;

use super::*;
use crate::steps::deploy::{self, DeployPlan};
use crate::timings::Timings;
use launchway_fakes::render::{Call, Fault, ImageFault, Random};
use launchway_registry::Digest;

/// An app on the standard library alone, healthy, and of the commit that its image names.
const PROGRAM: &str = r#"
    use std::io::{Read, Write};
    fn main() {
        let listener = std::net::TcpListener::bind(format!("127.0.0.1:{}", std::env::var("PORT").unwrap())).unwrap();
        let body = format!("{{\"commit\":\"{}\"}}", std::env::var("APP_COMMIT").unwrap());
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read(&mut [0; 4096]).ok();
            let length = body.len();
            write!(stream, "HTTP/1.1 200 -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").ok();
        }
    }
"#;

/// The one layer of every image here, compiled once.
static LAYER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("app.rs"), PROGRAM).unwrap();
    launchway_core::command::Call::new("rustc")
        .args(["--edition=2024", "-Cstrip=symbols", "app.rs"])
        .read(dir.path())
        .unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(dir.path().join("app"), "app").unwrap();
    tar.into_inner().unwrap()
});

const EARLIER: &str = "1111111111111111111111111111111111111111";

/// Puts the image of a commit into the registry, and gives its digest.
fn keep(fakes: &Fakes, commit: &str) -> String {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/app"], "Env": [format!("APP_COMMIT={commit}")] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&LAYER)] },
    });
    let config = config.to_string().into_bytes();
    let described = |kind: &str, bytes: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(bytes), "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config), "layers": [described("layer.v1.tar", &LAYER)],
    });
    let manifest = manifest.to_string().into_bytes();
    fakes.registry.keep(Fakes::REPOSITORY, &[&config, &LAYER], &manifest, &[commit]).unwrap()
}

/// Up to three faults that somebody could meet on the same day.
fn faults(random: &mut Random, new: &str) -> Vec<Fault> {
    let call = |random: &mut Random| {
        random.one_of(&[Call::Service, Call::Variables, Call::Write, Call::Deploy, Call::Watch])
    };
    let number = random.below(4);
    let one = |random: &mut Random| match random.below(8) {
        0 => Fault::TooManyRequests(call(random)),
        1 => Fault::BadGateway { call: call(random), times: 2 },
        2 => Fault::Lost(call(random)),
        3 => Fault::Accepted,
        4 => Fault::After(Call::Deploy, Box::new(Fault::Forbidden(Call::Write))),
        5 => Fault::After(Call::Write, Box::new(Fault::BadGateway { call: Call::Write, times: 3 })),
        _ => {
            let image_faults = [
                ImageFault::Crashes,
                ImageFault::OutOfMemory,
                ImageFault::NeverHealthy,
                ImageFault::OtherCommit,
            ];
            Fault::Image(new.to_owned(), random.one_of(&image_faults))
        }
    };
    (0..number).map(|_| one(random)).collect()
}

/// What must hold of a deploy that meets the faults of this seed.
fn holds(seed: u64) -> Exit {
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut ctx = Context::for_test(dir.path(), Environment::default());
    let before = BTreeMap::from([
        ("ALIAS".to_owned(), "earlier.example.com".to_owned()),
        ("CIPHER_KEY".to_owned(), "the-key-of-before-0123456789".to_owned()),
        ("KEPT".to_owned(), "none-of-the-pipeline's".to_owned()),
    ]);
    let start = Fakes::start_with(&ctx.config, &ctx.environment, dir.path(), |options, _| {
        options.variables = before.clone().into_iter().collect();
        options.health_deadline = Duration::from_millis(800);
        options.retire_after = Duration::from_millis(50);
        options.max_shutdown_delay = Duration::from_secs(1);
        options.image_sticks = random.below(2) == 0;
        Ok(())
    });
    let fakes = runtime.block_on(start).unwrap();
    let (earlier, new) = (keep(&fakes, EARLIER), keep(&fakes, &ctx.git.commit));
    let first = format!("{}@{earlier}", fakes.repository);
    runtime.block_on(fakes.render.begin_with(&first, Duration::from_secs(30))).unwrap();
    let faults = faults(&mut random, &new);
    for fault in &faults {
        fakes.render.fault(fault.clone());
    }

    ctx = ctx.rehearsed(
        fakes.environment().with(Environment::of([("PIPELINE_DIGEST", &new)])),
        NetworkPolicy::Only(fakes.addresses().unwrap()),
    );
    // The image holds no program that could check it.
    ctx.config.deploy.check.clear();
    ctx.config.deploy.bake = Duration::from_millis(200);
    let options = deploy::Options::new(Timings::of_rehearsal(&ctx.config.deploy));
    let deployed = DeployPlan::new(&ctx, &options).unwrap().run(&ctx, &|_| ());
    while fakes.render.is_busy() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let exit = deployed.result.as_ref().err().map_or(Exit::Done, Exit::of);
    let said = deployed.result.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let (live, after) = (fakes.render.live().unwrap(), fakes.render.variables());
    let reported = format!("{said}{:#?}{:?}", ctx.reporter.events(), deployed.record);
    let about = format!("seed {seed}: {exit:?} after {faults:?}: {reported}\nafter {after:?}");
    match exit {
        Exit::Done => {
            assert_eq!(live, new, "{about}");
            let wanted = fakes.service.iter().map(|value| (value.name.clone(), value.value.clone()));
            assert_eq!(after, before.into_iter().chain(wanted).collect(), "{about}");
        }
        Exit::NotRolledBack => {
            for name in before.keys().chain(after.keys()) {
                assert!(
                    before.get(name) == after.get(name) || said.contains(name.as_str()),
                    "{name}: {about}"
                );
            }
            assert!(
                live == earlier || said.contains("release: ") || said.contains("may still go live"),
                "{about}"
            );
        }
        Exit::Superseded => panic!("nobody else deploys: {about}"),
        _ => assert_eq!((live, after), (earlier, before), "{about}"),
    }
    let mut left = Vec::new();
    files(&ctx.output(), &mut left);
    for secret in
        fakes.secrets().iter().map(String::as_str).chain(["the-key-of-before", "none-of-the-pipeline"])
    {
        assert!(!reported.contains(secret), "a secret is told: {about}");
        let found =
            left.iter().find(|(_, bytes)| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        assert!(found.is_none(), "a secret is in {}", found.unwrap().0.display());
    }
    fakes.stop(&runtime);
    exit
}

#[test]
fn a_deploy_is_a_transaction_with_the_fakes_too() {
    const SCHEDULES: u64 = 20;
    let (next, ends) = (Mutex::new(0..SCHEDULES), Mutex::new(BTreeMap::<u8, usize>::new()));
    std::thread::scope(|scope| {
        // Each waits most of the time.
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(seed) = { next.lock().unwrap().next() } {
                    let exit = holds(seed);
                    *ends.lock().unwrap().entry(exit.code()).or_default() += 1;
                }
            });
        }
    });
    // Every way to end was taken, or the schedules are too mild or too harsh to show anything.
    let ends = ends.into_inner().unwrap();
    for exit in [Exit::Done, Exit::DeployFailed, Exit::NotRolledBack] {
        assert!(ends.contains_key(&exit.code()), "{ends:?}");
    }
}
