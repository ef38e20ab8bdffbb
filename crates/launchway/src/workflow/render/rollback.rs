//! The workflow that somebody starts on GitHub's page to roll back, or to deploy a release again.

use serde_saphyr::SpaceAfter;

use super::super::Place;
use super::super::model::{Field, Form, Input, Map, On, Workflow};
use super::super::pins::Pins;
use super::{Rule, compilation, defaults, job, one_at_a_time};
use crate::config::Config;
use crate::table::ROLLBACK;

pub(super) fn workflow(config: &Config, place: &Place, pins: &Pins<'_>) -> Workflow {
    let release = Field {
        description: "Commit of the release (empty: the one before the live one)",
        required: false,
        r#type: "string",
    };
    let on_branch = Rule::Branch(config.branch.clone());
    let job = job(&ROLLBACK, config, place, &on_branch, pins);
    Workflow {
        name: ROLLBACK.id.name(),
        on: SpaceAfter(On::Request { workflow_dispatch: Form { inputs: Map(vec![("release", release)]) } }),
        permissions: SpaceAfter(Map(Vec::new())),
        concurrency: SpaceAfter(one_at_a_time(Input::Flag(false))),
        env: SpaceAfter(compilation(place)),
        defaults: SpaceAfter(defaults(place)),
        jobs: Map(vec![(ROLLBACK.id.name(), SpaceAfter(job))]),
    }
}

#[cfg(test)]
mod tests;
