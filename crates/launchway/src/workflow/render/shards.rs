//! The jobs of a workflow whose tests are shared by several runners: lint, the shards, and the merge.
//!
//! The merge has the name that a branch rule requires. GitHub skips a job whose needs failed, and a skipped check counts
//! as passed; so the merge always runs, and fails unless every job that it needs succeeded.

use serde_saphyr::SpaceAfter;

use super::super::Place;
use super::super::model::{Command, Input, Job, Map, Needs, Step, Strategy};
use super::super::pins::{self, Pins};
use super::{
    Rule, action, cache, checkout, command, expression, install, install_for_checks, job, keep, outputs_of,
    passed, read_contents, restore_coverage, save_coverage,
};
use crate::config::Config;
use crate::table::{self, MERGE, NEEDS, RUN_STATE, SHARD, StepId};

const LINT: &str = "lint";
const SHARDS: &str = "shards";
/// Where `test-coverage --shard` leaves a shard, and where the merge finds them all.
const FOLDER: &str = "target/xtask/shards";

pub(super) fn jobs(
    row: &table::Job,
    config: &Config,
    place: &Place,
    on_branch: &Rule,
    pins: &Pins<'_>,
) -> Vec<(&'static str, SpaceAfter<Job>)> {
    let whole = || job(row, config, place, on_branch, pins);
    let before = |steps: &[StepId]| {
        let cache = cache(place, on_branch, pins);
        [checkout(row.id, pins), cache].into_iter().chain(install(steps, config, pins))
    };
    let lint = Job {
        name: LINT.to_owned(),
        services: Map(Vec::new()),
        outputs: outputs_of(&[("run_state", StepId::Lint)]),
        steps: before(&[StepId::Lint])
            .chain(install_for_checks(config, pins))
            .chain([
                Step::Command(command(config, StepId::Lint)),
                passed(place, pins),
                keep(LINT, row.id, place, pins),
            ])
            .collect(),
        ..whole()
    };
    let number = expression("matrix.shard");
    let shard = format!("{number}/{}", config.test.shards);
    let shards = Job {
        name: format!("shard {shard}"),
        permissions: Map(vec![read_contents()]),
        strategy: Some(Strategy {
            // One shard that fails says nothing of the tests in the others.
            fail_fast: false,
            matrix: Map(vec![("shard", (1..=config.test.shards).collect())]),
        }),
        outputs: Map(Vec::new()),
        steps: before(&[StepId::TestCoverage])
            .chain([
                test_coverage(config, vec![(SHARD, shard)]),
                hand_over(&number, place, pins),
                keep(&format!("shard-{number}"), row.id, place, pins),
            ])
            .collect(),
        ..whole()
    };
    let ended = [LINT, SHARDS].map(|job| format!("{job}={}", expression(format_args!("needs.{job}.result"))));
    let merge = Job {
        needs: Some(Needs::All(vec![LINT, SHARDS])),
        r#if: Some(expression("always()")),
        // A part of the tests, and a merge, ask GitHub for nothing.
        permissions: Map(vec![read_contents()]),
        services: Map(Vec::new()),
        steps: before(&[])
            .chain([
                restore_coverage(place, on_branch, pins),
                take_over(place, pins),
                test_coverage(
                    config,
                    vec![
                        (RUN_STATE, expression(format_args!("needs.{LINT}.outputs.run_state"))),
                        (MERGE, FOLDER.to_owned()),
                        (NEEDS, ended.join(" ")),
                    ],
                ),
                save_coverage(place, on_branch, pins),
                keep(row.id.name(), row.id, place, pins),
            ])
            .collect(),
        ..whole()
    };
    vec![(LINT, SpaceAfter(lint)), (SHARDS, SpaceAfter(shards)), (row.id.name(), SpaceAfter(merge))]
}

fn test_coverage(config: &Config, env: Vec<(&str, String)>) -> Step {
    let env = Map(env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    Step::Command(Command { env, ..command(config, StepId::TestCoverage) })
}

fn hand_over(number: &str, place: &Place, pins: &Pins<'_>) -> Step {
    let with = vec![
        ("name", Input::Text(format!("shard-{number}"))),
        ("path", Input::Text(place.below(FOLDER))),
        ("if-no-files-found", Input::Text("error".to_owned())),
        // A job that is run again uploads under the same name.
        ("overwrite", Input::Flag(true)),
        ("retention-days", Input::Number(7)),
    ];
    action("hand over the shard", pins.uses(pins::UPLOAD), with)
}

/// Each artifact holds a folder of its own, so that all fit into one. One that is missing is named by the merge.
fn take_over(place: &Place, pins: &Pins<'_>) -> Step {
    let with = vec![
        ("pattern", Input::Text("shard-*".to_owned())),
        ("path", Input::Text(place.below(FOLDER))),
        ("merge-multiple", Input::Flag(true)),
    ];
    action("get the shards", pins.uses(pins::DOWNLOAD), with)
}

#[cfg(test)]
mod tests;
