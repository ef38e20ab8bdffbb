//! Step: deploy. The pushed image, live on Render and proved by the app's own answer.
//!
//! The service is read before anything is written, variables are written one by one, the image is asked for by digest, and
//! only our own deploy is followed. Where a deploy fails, its error says what was left changed: nothing is put back yet.

mod digest;
mod proof;
mod transaction;

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use reqwest::Url;
use serde::Serialize;

use crate::context::Context;
use crate::http::is_loopback;
use crate::render::image;

use transaction::Transaction;

/// One thing that a deploy does. Its `Display` is its line in `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the service, and refuse one that cannot be deployed to.
    CheckService { service: String, image: String },
    /// Tell which deploys are under way.
    NoteUnderWay,
    /// Find out which digest to deploy.
    ResolveDigest { source: digest::Source },
    /// Write those of the variables that differ.
    WriteVariables { names: Vec<String> },
    /// Ask for the image by its digest and take the deploy that this began.
    AskForDeploy { image: String },
    /// Follow that deploy to its end.
    Follow { timeout: Duration },
    /// Compare what Render runs with what was asked for.
    CompareDigest,
    /// Ask the running app who it is.
    AskApp { path: String, commit: String },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckService { service, image } => {
                write!(f, "check that service {service} is up and runs `{image}`")
            }
            Self::NoteUnderWay => f.write_str("look for deploys that are under way"),
            Self::ResolveDigest { source } => write!(f, "take the digest from {source}"),
            Self::WriteVariables { names } if names.is_empty() => f.write_str("write no variables"),
            Self::WriteVariables { names } => {
                write!(f, "read all variables and write those of these that differ: {}", names.join(", "))
            }
            Self::AskForDeploy { image } => write!(f, "ask for a deploy of `{image}@<digest>`"),
            Self::Follow { timeout } => {
                write!(
                    f,
                    "follow it until it is live, cancel it after {}",
                    humantime::format_duration(*timeout)
                )
            }
            Self::CompareDigest => f.write_str("compare the digest that Render runs with it"),
            Self::AskApp { path, commit } => {
                write!(f, "ask the app at `{path}` until it answers commit {commit}")
            }
        }
    }
}

/// What a deploy achieved, for the run record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deployment {
    /// Render's id, `dep-…`.
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) digest: String,
    /// Where the app answers.
    pub(crate) url: String,
    /// The commit that the app itself answered.
    pub(crate) commit: String,
    /// Names, never values.
    pub(crate) variables_written: Vec<String>,
    pub(crate) milliseconds: u64,
}

/// What a deploy will do, from the configuration and local files only.
///
/// It needs no variable to be set and no image to be pushed, so that it can be explained before either.
pub(crate) fn plan(ctx: &Context) -> Result<Vec<Action>> {
    let deploy = &ctx.config.deploy;
    let service = ctx
        .environment
        .get("RENDER_SERVICE_ID")
        .map_or_else(|| "`RENDER_SERVICE_ID`".to_owned(), |id| format!("`{id}`"));
    let image = image::repository(ctx.image());
    Ok(vec![
        Action::CheckService { service, image: image.clone() },
        Action::NoteUnderWay,
        Action::ResolveDigest { source: digest::Source::of(ctx)? },
        Action::WriteVariables { names: deploy.environment.clone() },
        Action::AskForDeploy { image },
        Action::Follow { timeout: deploy.timeout },
        Action::CompareDigest,
        Action::AskApp { path: deploy.version.clone(), commit: ctx.git.short().to_owned() },
    ])
}

/// Does exactly what was planned.
///
/// An error carries [`Exit::DeployFailed`](crate::exit::Exit::DeployFailed) where the service is as it was,
/// [`Exit::NotRolledBack`](crate::exit::Exit::NotRolledBack) where it says what was left changed, and
/// [`Exit::Superseded`](crate::exit::Exit::Superseded) where somebody else's newer deploy won.
pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Result<Deployment> {
    run_at(ctx, actions, Pace::of(&ctx.render_url()?))
}

fn run_at(ctx: &Context, actions: &[Action], pace: Pace) -> Result<Deployment> {
    let mut transaction = Transaction::begin(ctx, pace)?;
    let done = actions.iter().try_for_each(|action| {
        ctx.interrupt.check()?;
        transaction.execute(action)
    });
    match done.and_then(|()| transaction.deployment()) {
        Ok(deployment) => Ok(deployment),
        Err(error) => Err(transaction.give_up(error)),
    }
}

/// How often and how long a deploy asks.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two looks at a deploy. Render allows 400 readings a minute.
    poll: Duration,
    /// The first wait before a call is made again.
    backoff: Duration,
    /// How long a deploy that Render took may be missing from its list, and how long traffic may take to switch.
    patience: Duration,
}

impl Pace {
    fn of(api: &Url) -> Self {
        if is_loopback(api) {
            // A stand-in answers in a millisecond.
            Self {
                poll: Duration::from_millis(200),
                backoff: Duration::from_millis(100),
                patience: Duration::from_secs(15),
            }
        } else {
            Self {
                poll: Duration::from_secs(3),
                backoff: Duration::from_secs(1),
                patience: Duration::from_mins(1),
            }
        }
    }
}

#[cfg(test)]
mod tests;
