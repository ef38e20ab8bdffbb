//! Whatever goes wrong, and in whichever order: live and proved, or as before, or exit 6 with what is left. And never a secret.

use std::collections::BTreeMap;

use super::*;
use launchway_fakes::render::{Look, Random};

const WANTED: [(&str, &str); 4] = VALUES;

#[derive(Clone, Debug, PartialEq)]
struct World {
    variables: BTreeMap<String, String>,
    digest: Option<String>,
    image: String,
}

fn world(fixture: &Fixture) -> World {
    World { variables: fixture.variables(), digest: fixture.live(), image: fixture.service().image() }
}

/// A service and its faults, all from one number.
fn faulty(seed: u64) -> Fixture {
    let mut random = Random::new(seed);
    let mut variables = vec![("OWN".to_owned(), "value-of-own".to_owned())];
    for (name, value) in WANTED {
        match random.below(3) {
            0 => {}
            1 => variables.push((name.to_owned(), value.to_owned())),
            _ => variables.push((name.to_owned(), format!("value-of-old-{name}"))),
        }
    }
    let (is_first, image_sticks) = (random.below(6) == 0, random.below(2) == 0);
    let adapt = |options: &mut RenderOptions| options.image_sticks = image_sticks;
    let fixture = if is_first { Fixture::empty(adapt) } else { Fixture::start_with(adapt) };
    fixture.service().set_variables(variables.clone());
    let request = |status| Fault::once("POST", "/deploys", status, "");
    let (done, lost) = (Fault::Accepted, Fault::after("POST", "/deploys", 502, ""));
    let first = [
        None,
        None,
        Some(done.clone()),
        Some(request(202)),
        Some(lost.clone()),
        Some(request(502)),
        Some(request(409)),
    ];
    let back = [None, None, Some(done), Some(lost)];
    // Each is of one request: the second fault is that of the way back.
    for fault in [random.one_of(&first), random.one_of(&back)].into_iter().flatten() {
        fixture.fault(fault);
    }
    let ends = ["live", "live", "live", "update_failed", "canceled", "update_in_progress", "being_blessed"];
    let end = random.one_of(&ends);
    let sha = random.one_of(&[Some(DIGEST), Some(DIGEST), Some(DIGEST), Some(OTHER), None]);
    fixture.ours(|image| {
        image.looks(["queued", "update_in_progress", end]);
        image.sha = sha.map(str::to_owned);
    });
    let back = random.one_of(&["live", "live", "live", "update_failed"]);
    fixture.earlier(|image| image.looks(["update_in_progress", back]));
    let refused = random.one_of(&[false, false, true]);
    let counted = random.one_of(&[None, Some(vec![(200, 100)]), Some(vec![(200, 50), (500, 50)])]);
    fixture.script(|script| {
        script.refused_cancel = refused.then_some(Look::Status(end));
        script.counted = counted;
        script.log = variables.into_iter().map(|(_, value)| value).chain([KEY.to_owned()]).collect();
    });
    let left = u32::try_from(random.below(12)).unwrap();
    let one_in = random.one_of(&[2, 5, 20]);
    fixture.fault(Fault::Random { random, one_in, left });
    fixture
}

/// What must hold of a whole deployment.
fn holds(seed: u64) -> Exit {
    let fixture = faulty(seed);
    let before = world(&fixture);
    let mut ctx = fixture.context();
    // On a busy machine a shorter one lets no deploy go live.
    ctx.config.deploy.timeout = Duration::from_millis(600);
    if seed % 5 == 4 {
        fixture.interrupt(&ctx, Call::Watch);
    }
    let deployed = deploy(&ctx);
    let exit = deployed.result.as_ref().err().map_or(Exit::Done, Exit::of);
    let said = deployed.result.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let after = world(&fixture);
    let about =
        format!("seed {seed}: {exit:?}\n{said}\n{}\nbefore {before:?}\nafter  {after:?}", notes(&ctx));
    match exit {
        Exit::Done => {
            assert_eq!(after.digest.as_deref(), Some(DIGEST), "{about}");
            for (name, value) in WANTED {
                assert_eq!(after.variables.get(name).map(String::as_str), Some(value), "{about}");
            }
            assert_eq!(after.variables.get("OWN"), before.variables.get("OWN"), "{about}");
        }
        Exit::NotRolledBack => {
            for name in before.variables.keys().chain(after.variables.keys()) {
                let differs = before.variables.get(name) != after.variables.get(name);
                assert!(!differs || said.contains(name.as_str()), "{name} is not named; {about}");
            }
            if after.digest != before.digest {
                assert!(
                    ["release: ", "our deploy may still go live", "no earlier release"]
                        .iter()
                        .any(|left| said.contains(left)),
                    "{about}"
                );
            }
            assert!(said.contains("by hand: this service ends with the rehearsal"), "{about}");
        }
        Exit::Superseded => panic!("nobody else deploys; {about}"),
        _ => assert_eq!(after, before, "{about}"),
    }
    let mut text = format!("{said}{:?}{:?}", ctx.reporter.events(), deployed.record);
    for file in files(fixture.folder.path()) {
        text += &fs_err::read_to_string(file).unwrap();
    }
    // Of the values, those of secret variables and of unmanaged ones.
    let public = |name: &&String| ["SERVER_MODE", "ALIAS"].contains(&name.as_str());
    let values = before.variables.iter().filter(|(name, _)| !public(name)).map(|(_, value)| value.as_str());
    for secret in values.chain(["value-of-key", "value-of-dsn", KEY]) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    exit
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_deploy_is_a_transaction() {
    const SCHEDULES: u64 = 48;
    let mut ends: BTreeMap<u8, usize> = BTreeMap::new();
    for seed in 0..SCHEDULES {
        *ends.entry(holds(seed).code()).or_default() += 1;
    }
    // Every way to end was taken, or the schedules are too mild or too harsh to show anything.
    for exit in [Exit::Done, Exit::DeployFailed, Exit::NotRolledBack, Exit::Interrupted] {
        assert!(ends.contains_key(&exit.code()), "{ends:?}");
    }
}
