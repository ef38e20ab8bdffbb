//! `cargo xtask rollback`: an earlier release live again, image and environment together, proved as a deploy is.
//!
//! Render's own rollback pulls a tag anew and leaves the bad settings for the next deploy to take up; this one asks for a
//! digest and writes the variables that were kept with the release.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use crate::context::Context;
use crate::registry;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::secret::Secret;
use launchway_registry::{Access, Digest, Reference, Repository, Tag};
use launchway_render::model::{Deploy, Phase};

use super::digest::Image;
use super::remote::{Release, Remote};
use super::snapshot::{self, Snapshot, Standing};
use super::{Action, Attempt, Kind, check_service, explained_as, proving, run_as, writing};

/// Where to go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum To {
    /// The release before the one that is live.
    #[default]
    Last,
    /// The beginning of a commit, 7 digits or more.
    Commit(String),
    Digest(Digest),
    /// Render's id, `dep-…`.
    Deploy(String),
}

impl FromStr for To {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with("sha256:") {
            return Ok(Self::Digest(text.parse()?));
        }
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if text.starts_with("dep-") && plain(text) {
            return Ok(Self::Deploy(text.to_owned()));
        }
        let sha = text.strip_suffix("-dirty").unwrap_or(text);
        if (7..=40).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Commit(text.to_owned()));
        }
        bail!(
            "`{text}` is no release: it must be a commit of at least 7 digits, a digest `sha256:…`, or a deploy `dep-…`"
        )
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("the release that was live before"),
            Self::Commit(commit) => write!(f, "the release of commit {commit}"),
            Self::Digest(digest) => write!(f, "{digest}, and look for it in the registry"),
            Self::Deploy(id) => write!(f, "what deploy {id} ran"),
        }
    }
}

/// What a rollback will do.
pub(crate) fn plan(ctx: &Context, to: &To, expect: Option<&str>) -> Vec<Action> {
    let mut actions =
        // It is urgent: nobody is waited for.
        vec![check_service(ctx), Action::NoteUnderWay { wait: false }, Action::ChooseRelease { to: to.clone() }];
    actions.extend(writing(ctx, &ctx.config.deploy.names(), expect));
    actions.extend(proving(ctx, None));
    actions
}

/// The actions with what they would change, as far as Render tells.
pub(crate) fn explained(ctx: &Context, actions: &[Action]) -> Vec<String> {
    explained_as(ctx, Kind::Rollback, actions)
}

/// Does exactly what was planned, or puts back what it has changed; errors as those of a deploy.
pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Attempt {
    run_as(ctx, Kind::Rollback, actions)
}

/// What a release is to run with: each variable's value, or `None` to take it away.
type Variables = Vec<(String, Option<Secret>)>;

impl To {
    /// The release, and the variables that were kept with it; none where nothing was kept here, which is told.
    pub(super) fn choose(&self, remote: &Remote<'_>) -> Result<(Release, Variables)> {
        let deploys = deploys(remote)?;
        let (release, id) = match self {
            Self::Last => {
                let found = last(&deploys, |id| snapshot::standing(remote.ctx, id) == Some(Standing::Failed));
                let found = found.ok_or_else(|| {
                    failed("there is no earlier release to go back to: name one with `--to`".to_owned())
                })?;
                (of(remote, found)?, Some(found.id.clone()))
            }
            Self::Deploy(id) => {
                let found = deploys.iter().find(|deploy| deploy.id == *id).ok_or_else(|| {
                    failed(format!("deploy {id} was never live on this service: `--to` takes one that was"))
                })?;
                (of(remote, found)?, Some(id.clone()))
            }
            Self::Digest(digest) => {
                let release = in_registry(remote, digest)?;
                let ran =
                    |deploy: &&Deploy| Release::of(deploy, None).is_some_and(|ran| release.is(&ran.digest));
                let id = deploys.iter().find(ran).map(|deploy| deploy.id.clone());
                (release, id)
            }
            Self::Commit(start) => by_commit(remote, &deploys, start)?,
        };
        if deploys.iter().any(|deploy| {
            deploy.status.phase() == Phase::Live
                && Release::of(deploy, None).is_some_and(|live| release.is(&live.digest))
        }) {
            remote.note("this release is the one that is live: it is deployed anew");
        }
        let kept = match &id {
            Some(id) => Snapshot::open(remote.ctx, id).unwrap_or_else(|error| {
                remote.note(format!("{error:#}"));
                None
            }),
            None => None,
        };
        let Some(kept) = kept else {
            remote.note(
                "the variables of this release were not kept on this machine: the image goes back, and the service keeps its environment",
            );
            return Ok((release, Vec::new()));
        };
        if kept.standing != Standing::Proved {
            remote.note("this release was found live by a deploy from here, not proved by one");
        }
        let commit = release.commit.or(kept.release.commit);
        Ok((Release { commit, ..release }, kept.variables.into_iter().collect()))
    }
}

/// The deploys that are or were live, the newest first.
fn deploys(remote: &Remote<'_>) -> Result<Vec<Deploy>> {
    const YEAR: Duration = Duration::from_hours(366 * 24);
    let all = remote.api.deploys(SystemTime::now() - YEAR)?;
    Ok(all
        .into_iter()
        .filter(|deploy| matches!(deploy.status.phase(), Phase::Live | Phase::Deactivated))
        .collect())
}

/// The newest release before the live one that nobody has taken back.
///
/// A release that was replaced by the one before it was taken back, by an undo or by a rollback: to go forward to it
/// again is not to go back. That shows in Render's own list, also on a machine that has kept nothing.
fn last(deploys: &[Deploy], is_failed: impl Fn(&str) -> bool) -> Option<&Deploy> {
    let digest = |deploy: &Deploy| Release::of(deploy, None).map(|release| release.digest);
    let mut taken_back = Vec::new();
    for (place, deploy) in deploys.iter().enumerate() {
        let Some(here) = digest(deploy) else { continue };
        let next = place.checked_sub(1).and_then(|next| digest(&deploys[next]));
        let before = deploys.get(place + 1).and_then(digest);
        let was_replaced_by_its_predecessor = next.is_some_and(|next| next != here && Some(next) == before);
        let is_live = deploy.status.phase() == Phase::Live;
        if is_live || was_replaced_by_its_predecessor || is_failed(&deploy.id) {
            taken_back.push(here);
        } else if !taken_back.contains(&here) {
            return Some(deploy);
        }
    }
    None
}

/// What a deploy ran, with what the registry knows of it where that tells.
fn of(remote: &Remote<'_>, deploy: &Deploy) -> Result<Release> {
    let kept = snapshot::commit(remote.ctx, &deploy.id);
    let Some(release) = Release::of(deploy, kept) else {
        return Err(failed(format!(
            "Render does not tell the digest of deploy {}: name one with `--to sha256:…`",
            deploy.id
        )));
    };
    match in_registry(remote, &release.digest.parse()?) {
        Ok(found) => Ok(Release {
            platform: found.platform.or(release.platform),
            commit: release.commit.or(found.commit),
            ..release
        }),
        Err(error) if matches!(Exit::of(&error), Exit::Interrupted) => Err(error),
        // Render pulls it with a login of its own.
        Err(error) => {
            remote.ctx.reporter.skipped("digest in the registry", format!("{error:#}"));
            Ok(release)
        }
    }
}

fn in_registry(remote: &Remote<'_>, digest: &Digest) -> Result<Release> {
    let repository: Repository = remote.ctx.image().parse()?;
    let Image { platform, commit } = Image::read(remote.ctx, &repository, digest)?;
    Ok(Release { digest: digest.to_string(), platform, commit })
}

/// A release by its commit: one that was kept here, or what the commit's tag names in the registry.
fn by_commit(remote: &Remote<'_>, deploys: &[Deploy], start: &str) -> Result<(Release, Option<String>)> {
    let kept = snapshot::with_commit(remote.ctx, start);
    if let Some(found) = deploys.iter().find(|deploy| kept.contains(&deploy.id)) {
        return Ok((of(remote, found)?, Some(found.id.clone())));
    }
    let sha = start.strip_suffix("-dirty").unwrap_or(start);
    if sha.len() != 40 {
        return Err(failed(format!(
            "no release of commit {start} was kept here: name the commit in full, or a digest"
        )));
    }
    let (repository, tag): (Repository, Tag) = (remote.ctx.image().parse()?, start.parse()?);
    let named = registry::client(remote.ctx, Access::Pull)?.digest(&repository, &Reference::Tag(tag))?;
    let digest = named
        .ok_or_else(|| Failure::new(Exit::Registry, format!("the registry has no `{repository}:{start}`")))
        .or_exit(Exit::Registry)?;
    let release = Release { commit: Some(start.to_owned()), ..in_registry(remote, &digest)? };
    let ran = |deploy: &&Deploy| Release::of(deploy, None).is_some_and(|ran| release.is(&ran.digest));
    let id = deploys.iter().find(ran).map(|deploy| deploy.id.clone());
    Ok((release, id))
}

fn failed(message: String) -> anyhow::Error {
    Failure::new(Exit::DeployFailed, message).into()
}
