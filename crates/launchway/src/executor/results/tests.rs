use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::context::Context;
use launchway_core::environment::Environment;
use launchway_registry::Digest;

fn passed(step: StepId) -> StepRecord {
    StepRecord::ran(step, SystemTime::UNIX_EPOCH, Duration::from_secs(2), Outcome::Passed)
}

#[test]
fn what_the_steps_found_out_is_in_it() {
    let ctx = Context::for_test(Path::new("/w"), Environment::default());
    let digest = Digest::of(b"image");
    let results = Results {
        tests: Some(Tests { passed: 12, failed: 2, skipped: 2 }),
        coverage: Some(CoverageRecord { lines: 10, covered: 9, threshold: 80.5 }),
        image: Some(Built {
            repository: "docker.io/acme/app".to_owned(),
            tags: Vec::new(),
            digest: digest.clone(),
            config: digest.clone(),
            layers: vec![1, 2],
            bytes: 9,
        }),
        ..Results::default()
    };
    let mut so_far = RunState::new(&ctx.git).unwrap();
    results.add_to(&mut so_far, &passed(StepId::TestCoverage));
    results.add_to(&mut so_far, &passed(StepId::DockerBuild));
    results.add_to(&mut so_far, &StepRecord::skipped(StepId::Push, "why".to_owned()));
    assert_eq!(so_far.tests, Some(Tests { passed: 12, failed: 2, skipped: 2 }));
    assert_eq!(so_far.coverage, Some(Coverage { covered: 9, lines: 10, threshold: 80 }));
    assert_eq!(so_far.steps[2].outcome, StepOutcome::Skipped);
    // GitHub drops an output that holds a secret, and the account is one.
    assert!(!so_far.to_line().unwrap().contains("acme"));
    let image = so_far.image.unwrap().named("docker.io/acme/app");
    assert_eq!((image.digest, image.bytes), (digest.to_string(), 3));
}
