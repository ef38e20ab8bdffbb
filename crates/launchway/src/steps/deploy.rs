//! Step: deploy. The pushed image, live on Render and proved by the app's own answer; or the service as it was.
//!
//! A deploy is a transaction. The service is read before anything is written, the difference is a plan with a hash,
//! variables are written one by one, the image is asked for by digest, only our own deploy is followed, and the running
//! app has to name its commit and to stay well. When any of that fails, variables and image go back; when even that
//! fails, the error is a page of facts for whoever finishes by hand.

mod apply;
mod base;
mod check;
mod digest;
mod ending;
mod plan;
mod proof;
mod record;
mod remote;
pub(crate) mod rollback;
mod snapshot;
mod transaction;
mod undo;
mod watch;
mod why;

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use reqwest::Url;
use serde::Serialize;

use crate::config::DeployConfig;
use crate::context::Context;
use crate::history;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::{Reach, is_loopback};
use launchway_render::image;

pub(crate) use record::Attempt;
use transaction::{Goal, Transaction};
use undo::Choice;

/// One thing that a deploy does. Its `Display` is its line in `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the service, and refuse one that cannot be deployed to.
    CheckService { service: String, image: String },
    /// Tell which deploys are under way.
    NoteUnderWay {
        /// Whether to give them a while to end: what they leave is what the plan begins with.
        wait: bool,
    },
    /// Find out which digest to deploy.
    ResolveDigest { source: digest::Source },
    /// Find out which release to go back to.
    ChooseRelease { to: rollback::To },
    /// Read the variables and make the plan; with a hash, stop where the plan has another one.
    Compare { names: Vec<String>, expect: Option<String> },
    /// Have the image's own program judge the environment that it is to run with.
    CheckApp { arguments: Vec<String> },
    /// Read everything again, and stop where it has changed.
    Confirm,
    /// Write those of the variables that differ.
    WriteVariables { names: Vec<String> },
    /// Ask for the image by its digest and take the deploy that this began.
    AskForDeploy { image: String },
    /// Take up a deploy that was asked for before.
    Attach { id: String },
    /// Follow that deploy to its end.
    Follow { timeout: Duration },
    /// Compare what Render runs with what was asked for.
    CompareDigest,
    /// Ask the running app who it is.
    AskApp { path: Option<String>, health: String, commit: Option<String> },
    /// Stay, and count the answers that are errors.
    Bake { health: String, version: Option<String>, time: Duration },
    /// Have the service's settings name the digest that runs.
    Reconcile,
    /// Keep the release and its environment for a rollback.
    Keep,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckService { service, image } => {
                write!(f, "check that service {service} is up and runs `{image}`")
            }
            Self::NoteUnderWay { wait: true } => {
                f.write_str("look for deploys that are under way, and wait a while for them to end")
            }
            Self::NoteUnderWay { wait: false } => f.write_str("look for deploys that are under way"),
            Self::ResolveDigest { source } => {
                write!(f, "take the digest from {source}, and look for it in the registry")
            }
            Self::ChooseRelease { to } => write!(f, "go back to {to}"),
            Self::Compare { names, expect } => {
                f.write_str("read all variables, and plan what changes")?;
                if !names.is_empty() {
                    write!(f, " of {}", names.join(", "))?;
                }
                match expect {
                    Some(hash) => write!(f, "; stop unless the plan is {hash}"),
                    None => Ok(()),
                }
            }
            Self::CheckApp { arguments } => write!(
                f,
                "run the image's program with `{}` and that environment; stop where it finds an error",
                arguments.join(" ")
            ),
            Self::Confirm => f.write_str("read it all again, and stop where it has changed"),
            Self::WriteVariables { names } if names.is_empty() => f.write_str("write no variables"),
            Self::WriteVariables { names } => {
                write!(f, "write those of these variables that differ: {}", names.join(", "))
            }
            Self::AskForDeploy { image } => write!(f, "ask for a deploy of `{image}@<digest>`"),
            Self::Attach { id } => write!(f, "take up deploy {id}"),
            Self::Follow { timeout } => {
                write!(
                    f,
                    "follow it until it is live, cancel it after {}",
                    humantime::format_duration(*timeout)
                )
            }
            Self::CompareDigest => {
                f.write_str("compare the digest that Render runs with the one that was asked for")
            }
            Self::AskApp { path: None, health, .. } => write!(
                f,
                "ask the app at `{health}` until it is healthy {} times in a row; its commit is not proved, because \
                 `deploy.version` is not configured",
                proof::IN_A_ROW
            ),
            Self::AskApp { path: Some(path), commit, .. } => {
                let commit = commit.as_deref().map_or_else(
                    || "the commit of that release".to_owned(),
                    |commit| format!("commit {}", short(commit)),
                );
                write!(
                    f,
                    "ask the app at `{path}` until it answers {commit} {} times in a row",
                    proof::IN_A_ROW
                )
            }
            Self::Bake { health, version, time } => {
                write!(f, "stay for {}, and ask `{health}` ", humantime::format_duration(*time))?;
                version.iter().try_for_each(|version| write!(f, "and `{version}` "))?;
                f.write_str("all the while")
            }
            Self::Reconcile => f.write_str("have the service's settings name that digest"),
            Self::Keep => f.write_str("keep the release and its variables, encrypted, for a rollback"),
        }
    }
}

/// What is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deploy,
    Rollback,
}

impl From<Kind> for report::DeploymentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Deploy => Self::Deploy,
            Kind::Rollback => Self::Rollback,
        }
    }
}

/// What the command line says about a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The hash that the plan must have.
    pub(crate) expect: Option<String>,
    /// The deploy, `dep-…`, whose watch is taken up again.
    pub(crate) attach: Option<String>,
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
pub(crate) fn plan(ctx: &Context, options: &Options) -> Result<Vec<Action>> {
    let deploy = &ctx.config.deploy;
    let source = Action::ResolveDigest { source: digest::Source::of(ctx)? };
    let commit = Some(ctx.git.tag());
    if let Some(id) = &options.attach {
        if options.expect.is_some() || !id.starts_with("dep-") {
            let message = format!("`--attach {id}` takes the id of a deploy, `dep-…`, and no plan");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let mut actions = vec![check_service(ctx), source, Action::Attach { id: id.clone() }];
        actions.extend(proving(ctx, commit));
        return Ok(actions);
    }
    let mut actions = vec![check_service(ctx), Action::NoteUnderWay { wait: true }, source];
    actions.extend(writing(ctx, &deploy.names(), options.expect.as_deref()));
    if !deploy.check.is_empty() {
        let place = actions.iter().position(|action| *action == Action::Confirm).unwrap_or(actions.len());
        actions.insert(place, Action::CheckApp { arguments: deploy.check.clone() });
    }
    actions.extend(proving(ctx, commit));
    Ok(actions)
}

/// The actions of `--explain` with the plan for the service as it is now, where Render lets us read it.
pub(crate) fn explained(ctx: &Context, actions: &[Action]) -> Vec<String> {
    explained_as(ctx, Kind::Deploy, actions)
}

fn explained_as(ctx: &Context, kind: Kind, actions: &[Action]) -> Vec<String> {
    let mut lines: Vec<String> = actions.iter().map(ToString::to_string).collect();
    // A rehearsal that is only explained has started no service that could be read.
    let nobody_is_there = matches!(&ctx.reach, Reach::Only(bound) if bound.is_empty());
    if nobody_is_there || !actions.iter().any(|action| matches!(action, Action::Compare { .. })) {
        return lines;
    }
    let read = || -> Result<Vec<String>> {
        let mut transaction = Transaction::begin(ctx, kind, Pace::hurried())?;
        for action in
            actions.iter().take_while(|action| !matches!(action, Action::CheckApp { .. } | Action::Confirm))
        {
            let action = match action {
                // To explain is to show the plan, whichever was expected.
                Action::Compare { names, .. } => Action::Compare { names: names.clone(), expect: None },
                other => other.clone(),
            };
            transaction.execute(&action)?;
        }
        Ok(transaction.planned())
    };
    match read() {
        Ok(planned) => lines.extend(planned),
        Err(error) => {
            let why = format!("what that changes is not known: {error:#}");
            lines.extend(why.lines().map(str::to_owned));
        }
    }
    lines
}

fn check_service(ctx: &Context) -> Action {
    let service = ctx
        .environment
        .get("RENDER_SERVICE_ID")
        .map_or_else(|| "`RENDER_SERVICE_ID`".to_owned(), |id| format!("`{id}`"));
    Action::CheckService { service, image: image::repository(ctx.image()) }
}

/// From the plan to a deploy that Render took.
fn writing(ctx: &Context, names: &[String], expect: Option<&str>) -> [Action; 4] {
    [
        Action::Compare { names: names.to_vec(), expect: expect.map(str::to_owned) },
        Action::Confirm,
        Action::WriteVariables { names: names.to_vec() },
        Action::AskForDeploy { image: image::repository(ctx.image()) },
    ]
}

/// From that deploy to one that is proved.
fn proving(ctx: &Context, commit: Option<String>) -> Vec<Action> {
    let deploy = &ctx.config.deploy;
    let mut actions = vec![
        Action::Follow { timeout: deploy.timeout },
        Action::CompareDigest,
        Action::AskApp { path: deploy.version.clone(), health: deploy.health.clone(), commit },
    ];
    if !deploy.bake.is_zero() {
        actions.push(Action::Bake {
            health: deploy.health.clone(),
            version: deploy.version.clone(),
            time: deploy.bake,
        });
    }
    actions.extend([Action::Reconcile, Action::Keep]);
    actions
}

/// Does exactly what was planned, or puts back what it has changed.
///
/// An error carries [`Exit::DeployFailed`] where the service is as it was, [`Exit::NotRolledBack`] where it says what is
/// left changed, [`Exit::Superseded`] where somebody else's newer deploy won, and [`Exit::Interrupted`] where the run was
/// asked to end and the service is as it was.
pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Attempt {
    run_as(ctx, Kind::Deploy, actions)
}

fn run_as(ctx: &Context, kind: Kind, actions: &[Action]) -> Attempt {
    // Without a valid address nothing is asked, and the attempt says so itself.
    let pace = ctx.render_url().map_or_else(|_| Pace::hurried(), |url| Pace::of(&url));
    let goal = Goal { kind, pace, ask: Choice::on_terminal };
    record::attempt(ctx, &goal, actions)
}

/// The first twelve digits of a commit, and whether its tree was dirty.
fn short(commit: &str) -> String {
    let (sha, dirty) = commit.strip_suffix("-dirty").map_or((commit, ""), |sha| (sha, "-dirty"));
    sha.chars().take(12).collect::<String>() + dirty
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
    /// How long a deploy that is under way is waited for.
    queue: Duration,
    /// How long an undo tries to put back the variables, whatever Render answers.
    undo: Duration,
    /// The longest bake.
    bake: Duration,
}

// The time that the configuration allows around the deploys of a job covers everything that is waited for.
const _: () = {
    let Pace { patience, queue, undo, .. } = Pace::RENDER;
    assert!(2 * patience.as_secs() <= DeployConfig::AROUND_A_DEPLOY.as_secs());
    let all = queue.as_secs() + patience.as_secs() + 2 * undo.as_secs() + history::LONGEST.as_secs();
    assert!(all <= DeployConfig::AROUND_ALL.as_secs());
};

impl Pace {
    /// Render's own.
    const RENDER: Self = Self {
        poll: Duration::from_secs(3),
        backoff: Duration::from_secs(1),
        patience: Duration::from_mins(1),
        queue: Duration::from_mins(2),
        // Two windows of the rate limit.
        undo: Duration::from_mins(2),
        bake: Duration::MAX,
    };

    fn of(api: &Url) -> Self {
        if is_loopback(api) {
            // A stand-in answers in a millisecond, and nobody else uses it.
            Self {
                poll: Duration::from_millis(250),
                backoff: Duration::from_millis(100),
                patience: Duration::from_secs(5),
                queue: Duration::from_secs(5),
                undo: Duration::from_secs(5),
                bake: Duration::from_secs(1),
            }
        } else {
            Self::RENDER
        }
    }

    /// For what somebody waits for at the prompt.
    fn hurried() -> Self {
        Self {
            poll: Duration::from_millis(200),
            backoff: Duration::from_millis(100),
            patience: Duration::from_secs(5),
            queue: Duration::ZERO,
            undo: Duration::from_secs(5),
            bake: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
