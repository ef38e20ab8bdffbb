//! The start of a deployment, for the board of the service that is live.

use std::time::Instant;

use anyhow::Result;
use launchway_report::{Report, SCHEMA, UnderWay};

use super::board::{self, Board};
use super::{actor, own, run_url, valid};
use crate::context::Context;
use crate::run_state::RunState;
use crate::steps::deploy::Start;

/// Sends the live service the report of a deployment's start. An outage does not fail the deployment.
///
/// The report is kept nowhere and never sent again: late, it would show a deployment that has ended.
pub(crate) fn begin(ctx: &Context, so_far: &RunState, start: &Start) {
    let key = start.key.clone();
    let key = |name: &str| key.map_or_else(|| ctx.config.secret(&ctx.environment, name), Ok);
    let Some(board) = super::board(start.plan.board.as_ref(), start.site.as_ref(), key) else { return };
    let end = Instant::now() + start.plan.start_timeout;
    match board.and_then(|board| send(ctx, &board, &report(ctx, so_far, start), end)) {
        Ok(None) => ctx.reporter.note("the board has the start of this deployment"),
        Ok(Some(refusal)) => ctx.reporter.skipped("start on the board", refusal),
        Err(error) => ctx.reporter.skipped("start on the board", format!("{error:#}")),
    }
}

fn send(ctx: &Context, board: &Board<'_>, report: &Report, end: Instant) -> Result<Option<String>> {
    let bytes = valid(&ctx.reporter.shown(report)?)?;
    board::send(&ctx.http()?, board, &report.id, &bytes, end)
}

fn report(ctx: &Context, so_far: &RunState, start: &Start) -> Report {
    let Context { root, git, environment, reporter, .. } = ctx;
    let Start { kind, environment: name, since, release, service, plan, .. } = start.clone();
    let commit = git.published_since(root, None, reporter).into_iter().next();
    Report {
        schema: SCHEMA,
        id: Report::start_id(&so_far.id),
        actor: actor(root, environment),
        url: run_url(environment).filter(|url| url.starts_with("https://")),
        service,
        rehearsal: ctx.is_rehearsal(),
        started: since,
        finished: since,
        commit: commit.unwrap_or_else(|| own(git)),
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: None,
        under_way: Some(UnderWay {
            run: so_far.id.clone(),
            kind,
            environment: name,
            since,
            until: since.after(plan.longest),
            release,
        }),
    }
}
