//! Which jobs of the pipeline a request runs, and why the others are skipped.

use super::{Request, Scope};
use crate::table::{JobId, PIPELINE, StepId};
use launchway_core::events::Event;

/// A job that will run, or the reason why not.
pub(super) struct Selected {
    pub(super) id: JobId,
    pub(super) steps: Vec<StepId>,
    pub(super) skipped: Option<String>,
}

/// The jobs of the request, in the pipeline's order.
pub(super) fn select(branch: &str, request: &Request) -> Vec<Selected> {
    let wanted = match &request.scope {
        Scope::Step(step) => {
            return vec![Selected { id: step.job(), steps: vec![*step], skipped: None }];
        }
        Scope::Jobs(wanted) => wanted,
    };
    PIPELINE
        .iter()
        .map(|job| {
            let skipped = if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&job.id)) {
                Some("not selected by `--job`".to_owned())
            } else if job.when.allows(branch, &request.trigger) {
                None
            } else {
                Some(format!("runs on {}; this is {}", job.when.words(branch), request.trigger))
            };
            Selected { id: job.id, steps: job.steps.to_vec(), skipped }
        })
        .collect()
}

/// The event of a job that is skipped.
pub(super) fn skipped(job: JobId, reason: &str) -> Event {
    Event::JobSkipped { job: job.to_string(), title: job.job().title.to_owned(), reason: reason.to_owned() }
}
