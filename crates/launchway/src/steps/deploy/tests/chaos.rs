//! Whatever goes wrong, and in whichever order: live and proved, or as before, or exit 6 with what is left. And never a secret.

use std::collections::BTreeMap;

use super::*;
use crate::testing::stub::{Chaos, Random};

const WANTED: [(&str, &str); 4] = VALUES;

#[derive(Clone, Debug, PartialEq)]
struct World {
    variables: BTreeMap<String, String>,
    digest: Option<String>,
    image: String,
}

fn world(stub: &Stub) -> World {
    let state = stub.state();
    let digest =
        state.live().map(|live| live["image"]["ref"].as_str().unwrap().split_once('@').unwrap().1.to_owned());
    World {
        variables: state.variables.iter().cloned().collect(),
        digest,
        image: state.service["imagePath"].as_str().unwrap().to_owned(),
    }
}

/// A service, its faults, and how they are to be met, all from one number.
fn spoiled(seed: u64) -> Stub {
    let stub = Stub::start();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..8 {
        random.below(2);
    }
    let mut state = stub.state();
    state.variables = vec![("OWN".to_owned(), "value-of-own".to_owned())];
    for (name, value) in WANTED {
        match random.below(3) {
            0 => {}
            1 => state.variables.push((name.to_owned(), value.to_owned())),
            _ => state.variables.push((name.to_owned(), format!("value-of-old-{name}"))),
        }
    }
    if random.below(6) == 0 {
        state.deploys.clear();
    }
    state.asked = [
        random.one_of(&[
            (201, true),
            (201, true),
            (202, true),
            (202, false),
            (502, true),
            (502, false),
            (409, false),
        ]),
        random.one_of(&[(201, true), (201, true), (202, true), (502, true)]),
    ]
    .into();
    let ends = ["live", "live", "live", "update_failed", "canceled", "update_in_progress", "being_blessed"];
    state.looks = ["queued", "update_in_progress", random.one_of(&ends)].into();
    state.later = ["update_in_progress", random.one_of(&["live", "live", "live", "update_failed"])].into();
    state.sha = random.one_of(&[Some(DIGEST), Some(DIGEST), Some(DIGEST), Some(OTHER), None]);
    state.cancel = random.one_of(&[200, 200, 400]);
    state.sticks = random.below(2) == 0;
    state.counted = random.one_of(&[None, Some(vec![(200, 100)]), Some(vec![(200, 50), (500, 50)])]);
    state.log = state.variables.iter().map(|(_, value)| value.clone()).chain([KEY.to_owned()]).collect();
    let left = u32::try_from(random.below(12)).unwrap();
    state.chaos = Some(Chaos { one_in: random.one_of(&[2, 5, 20]), left, random });
    drop(state);
    stub
}

/// What must hold of a whole attempt.
fn holds(seed: u64) -> Exit {
    let stub = spoiled(seed);
    let before = world(&stub);
    let mut ctx = context(&stub);
    ctx.config.deploy.timeout = Duration::from_millis(60);
    let interrupts = seed % 5 == 4;
    if interrupts {
        stub.state().interrupt = Some(ctx.interrupt.clone());
    }
    let attempt = recorded(&ctx, &Options::default());
    let exit = attempt.result.as_ref().err().map_or(Exit::Done, Exit::of);
    let said = attempt.result.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let after = world(&stub);
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
                    said.contains("release: ") || said.contains("our deploy may still go live"),
                    "{about}"
                );
            }
            assert!(said.contains("by hand: this service ends with the rehearsal"), "{about}");
        }
        Exit::Superseded => panic!("nobody else deploys; {about}"),
        _ => assert_eq!(after, before, "{about}"),
    }
    let mut text = format!("{said}{:?}{:?}", ctx.reporter.events(), attempt.record);
    for file in files(stub.folder.path()) {
        text += &fs_err::read_to_string(file).unwrap();
    }
    // Of the values, those of variables that the table calls secret, and those that are none of ours.
    let told = |name: &&String| ["SERVER_TYPE", "HOSTS"].contains(&name.as_str());
    let values = before.variables.iter().filter(|(name, _)| !told(name)).map(|(_, value)| value.as_str());
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
