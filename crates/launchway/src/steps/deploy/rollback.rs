//! `cargo xtask rollback`: makes an earlier release live again, image and environment together, with the proof of a
//! deploy.
//!
//! Render's own rollback pulls a tag again, and leaves the bad settings in place for the next deploy; this one requests
//! a digest and writes the variables that were kept with the release.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::table::RELEASE;
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_registry::{Digest, Reference, Repository, Tag};
use launchway_render::model::{Deploy, Phase};

use super::changes::{Wanted, reserved};
use super::digest::Image;
use super::interrupted::Ask;
use super::kept_release::{KeptRelease, Origin};
use super::release::Release;
use super::rollout::{Chosen, Rollout};
use super::shared_releases;
use super::target::Target;
use super::{Announce, Concluded, Kind, Timings, ask, explained, has_service, wanted};

/// The release to roll back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum To {
    /// The release before the live one.
    #[default]
    Last,
    /// The start of a commit, at least 7 digits.
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
            // Releases are kept under git's spelling; the form on GitHub accepts any.
            return Ok(Self::Commit(text.to_ascii_lowercase()));
        }
        bail!(
            "`{text}` is not a release: give a commit of at least 7 digits, a digest `sha256:…` or a deploy `dep-…`"
        )
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("the release that was live before"),
            Self::Commit(commit) => write!(f, "the release of commit {commit}"),
            Self::Digest(digest) => write!(f, "{digest}, and look it up in the registry"),
            Self::Deploy(id) => write!(f, "what deploy {id} ran"),
        }
    }
}

/// The caller's options for a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) to: To,
    /// Whether the service keeps the variables that it has.
    pub(crate) image_only: bool,
    /// The hash that the plan must have.
    pub(crate) expect: Option<String>,
}

impl Options {
    /// The arguments of the command that does the same again, whatever its plan.
    pub(crate) fn arguments(&self) -> String {
        let to = match &self.to {
            To::Last => String::new(),
            To::Commit(name) | To::Deploy(name) => format!(" --to {name}"),
            To::Digest(digest) => format!(" --to {digest}"),
        };
        to + if self.image_only { " --image-only" } else { "" }
    }
}

/// What a rollback will do.
#[derive(Clone, Debug)]
pub(crate) struct RollbackPlan {
    to: To,
    image_only: bool,
    rollout: Rollout,
}

impl fmt::Display for RollbackPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.rollout.first_lines();
        lines.push(format!("roll back to {}", self.to));
        lines.push(if self.image_only {
            "keep the variables that the service has".to_owned()
        } else {
            format!(
                "take its variables from those kept here or under the tag `{}:releases`",
                self.rollout.image
            )
        });
        lines.extend(self.rollout.request_lines());
        lines.extend(self.rollout.proof_lines());
        f.write_str(&lines.join("\n"))
    }
}

impl RollbackPlan {
    /// Plans from the configuration only. A rollback is urgent: it waits for no other deploy.
    pub(crate) fn new(ctx: &Context, options: Options, timings: Timings) -> Self {
        let Options { to, image_only, expect } = options;
        let shared = Rollout::new(ctx.project(), &ctx.environment, ctx.image(), Kind::Rollback, timings);
        Self { to, image_only, rollout: Rollout { expect, ..shared } }
    }

    /// The plan, with the changes to the service in its current state if Render lets us read that.
    pub(crate) fn explained(&self, ctx: &Context) -> Vec<String> {
        let changes = || {
            let target = Target::open(ctx, self.rollout.timings.hurried())?;
            self.rollout.preview(target, |target| self.choose(target))
        };
        explained(&self.to_string(), has_service(&ctx.network).then_some(changes))
    }

    /// Does exactly what is planned, or rolls back what it has changed; errors are those of a deploy.
    pub(crate) fn run(&self, ctx: &Context, announce: Announce<'_>) -> Concluded {
        self.run_with(ctx, announce, ask(ctx.is_rehearsal()))
    }

    pub(super) fn run_with(&self, ctx: &Context, announce: Announce<'_>, ask: Ask) -> Concluded {
        // The variables are those of the release.
        let target =
            wanted(&ctx.config, &ctx.environment, &[]).and_then(|_| Target::open(ctx, self.rollout.timings));
        match target {
            Ok(target) => self.rollout.run(target, (announce, ask), |target| self.choose(target)),
            Err(error) => self.rollout.refuse(&ctx.reporter, error),
        }
    }

    fn choose(&self, target: &Target<'_>) -> Result<Chosen> {
        let fetched = fetch_releases(target)?;
        let (release, id) = self.to.find(target)?;
        if self.image_only {
            target.note("only the image is rolled back: the service keeps its variables");
            return Ok(Chosen { release, wanted: Wanted::new() });
        }
        let kept = kept(target, id.as_deref(), fetched)?;
        let commit = release.commit.or(kept.release.commit);
        let release = Release { commit, ..release };
        let mut wanted: Wanted = kept.variables.into_iter().collect();
        let names = &self.rollout.variables;
        wanted.retain(|(name, _)| names.contains(name) && reserved([name.as_str()]).is_empty());
        Ok(Chosen { release, wanted })
    }
}

impl To {
    /// The release that `XTASK_RELEASE` names; nothing where it is not set or empty. Anything else is an error with
    /// [`Exit::Usage`].
    pub(crate) fn named(environment: &Environment) -> Result<Option<Self>> {
        let given = environment.get(RELEASE).map(str::trim).filter(|name| !name.is_empty());
        given
            .map(str::parse)
            .transpose()
            .with_context(|| format!("`{RELEASE}` is not valid"))
            .or_exit(Exit::Usage)
    }

    /// The release, and the deploy that ran it where Render lists one.
    pub(super) fn find(&self, target: &Target<'_>) -> Result<(Release, Option<String>)> {
        let deploys = deploys(target)?;
        let (release, id) = match self {
            Self::Last => {
                let found = last(&deploys, |id| target.kept.origin(id) == Some(Origin::Failed));
                let found = found.ok_or_else(|| {
                    failed("no earlier release to roll back to: name one with `--to`".to_owned())
                })?;
                (of(target, found)?, Some(found.id.clone()))
            }
            Self::Deploy(id) => {
                let found = deploys.iter().find(|deploy| deploy.id == *id).ok_or_else(|| {
                    failed(format!("deploy {id} was never live on this service: `--to` takes one that was"))
                })?;
                (of(target, found)?, Some(id.clone()))
            }
            Self::Digest(digest) => {
                let release = in_registry(target, digest)?;
                let id = kept_of(target, &deploys, &release);
                (release, id)
            }
            Self::Commit(start) => by_commit(target, &deploys, start)?,
        };
        if deploys.iter().any(|deploy| {
            deploy.status.phase() == Phase::Live
                && Release::of(deploy, None).is_some_and(|live| release.is(&live.digest))
        }) {
            target.note("this release is already live: deploying it again");
        }
        Ok((release, id))
    }
}

/// Adds the releases that other machines keep in the registry, and returns why they could not be read.
///
/// Only an interrupt is an error: what is kept here may be enough.
pub(super) fn fetch_releases(target: &Target<'_>) -> Result<Option<anyhow::Error>> {
    let client = target.registry.clone().with_deadline(Instant::now() + target.timings.ledger);
    match shared_releases::fetch(&client, target.image, &target.kept) {
        Err(error) if Exit::of(&error) == Exit::Interrupted => Err(error),
        Err(error) => Ok(Some(error)),
        Ok(()) => Ok(None),
    }
}

/// What was kept of a release. A release without its variables is an error, before anything is written.
fn kept(target: &Target<'_>, id: Option<&str>, unread: Option<anyhow::Error>) -> Result<KeptRelease> {
    let way_out = "`--image-only` rolls back the image only; the service keeps the variables that it has";
    let found = id.map(|id| target.kept.open(id)).transpose();
    let found = found.map_err(|error| failed(format!("{error:#}\n{way_out}")))?.flatten();
    if let Some(kept) = found {
        match kept.origin {
            Origin::Proved | Origin::Unknown => {}
            Origin::Found => target.note("a deploy found this release live, but none has proved it"),
            Origin::Failed => target.note("these variables are those of a deploy that failed"),
        }
        return Ok(kept);
    }
    let why = unread.map_or_else(String::new, |error| format!(", which could not be read: {error:#}"));
    let what = id.map_or_else(|| "this release".to_owned(), |id| format!("the release of {id}"));
    Err(failed(format!(
        "the variables of {what} are kept neither on this machine nor in the registry{why}\n{way_out}"
    )))
}

/// The deploys that are or were live, newest first.
fn deploys(target: &Target<'_>) -> Result<Vec<Deploy>> {
    const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
    let all = target.api.deploys(SystemTime::now() - YEAR)?;
    Ok(all
        .into_iter()
        .filter(|deploy| matches!(deploy.status.phase(), Phase::Live | Phase::Deactivated))
        .collect())
}

/// The newest release before the live one that was not rolled back.
///
/// A release that was replaced by its predecessor was rolled back, automatically or on request: returning to it would
/// be a step forward. Render's own list shows this, even to a machine that has kept nothing.
fn last(deploys: &[Deploy], is_failed: impl Fn(&str) -> bool) -> Option<&Deploy> {
    let digest = |deploy: &Deploy| Release::of(deploy, None).map(|release| release.digest);
    let mut rolled_back = Vec::new();
    for (place, deploy) in deploys.iter().enumerate() {
        let Some(here) = digest(deploy) else { continue };
        let next = place.checked_sub(1).and_then(|next| digest(&deploys[next]));
        let before = deploys.get(place + 1).and_then(digest);
        let was_replaced_by_its_predecessor = next.is_some_and(|next| next != here && Some(next) == before);
        let is_live = deploy.status.phase() == Phase::Live;
        if is_live || was_replaced_by_its_predecessor || is_failed(&deploy.id) {
            rolled_back.push(here);
        } else if !rolled_back.contains(&here) {
            return Some(deploy);
        }
    }
    None
}

/// What a deploy ran, with what the registry knows about it.
fn of(target: &Target<'_>, deploy: &Deploy) -> Result<Release> {
    let kept = target.kept.commit(&deploy.id);
    let Some(release) = Release::of(deploy, kept) else {
        return Err(failed(format!(
            "the digest of deploy {} is unknown: name one with `--to sha256:…`",
            deploy.id
        )));
    };
    match in_registry(target, &release.digest.parse()?) {
        Ok(found) => Ok(Release {
            platform: found.platform.or(release.platform),
            commit: release.commit.or(found.commit),
            ..release
        }),
        Err(error) if matches!(Exit::of(&error), Exit::Interrupted) => Err(error),
        // Render pulls with its own login.
        Err(error) => {
            target.reporter.skipped("digest in the registry", format!("{error:#}"));
            Ok(release)
        }
    }
}

fn in_registry(target: &Target<'_>, digest: &Digest) -> Result<Release> {
    let Image { platform, commit } = Image::read(&target.registry, &target.image.parse()?, digest)?;
    Ok(Release { digest: digest.to_string(), platform, commit })
}

/// A release by its commit: one that was kept here, or the one that the commit's tag points to in the registry.
fn by_commit(target: &Target<'_>, deploys: &[Deploy], start: &str) -> Result<(Release, Option<String>)> {
    let kept = target.kept.with_commit(start);
    if let Some(found) = newest_kept(target, deploys.iter().filter(|deploy| kept.contains(&deploy.id))) {
        return Ok((of(target, found)?, Some(found.id.clone())));
    }
    let sha = start.strip_suffix("-dirty").unwrap_or(start);
    if sha.len() != 40 {
        return Err(failed(format!(
            "no release of commit {start} is kept here or in the registry: give the full commit, or a digest"
        )));
    }
    let (repository, tag): (Repository, Tag) = (target.image.parse()?, start.parse()?);
    let named = target.registry.digest(&repository, &Reference::Tag(tag))?;
    let digest = named
        .ok_or_else(|| Failure::new(Exit::Registry, format!("the registry has no `{repository}:{start}`")))
        .or_exit(Exit::Registry)?;
    let release = Release { commit: Some(start.to_owned()), ..in_registry(target, &digest)? };
    let id = kept_of(target, deploys, &release);
    Ok((release, id))
}

/// The deploy with which the variables of this release are kept; else the newest one that ran it.
fn kept_of(target: &Target<'_>, deploys: &[Deploy], release: &Release) -> Option<String> {
    let ran = |deploy: &&Deploy| Release::of(deploy, None).is_some_and(|ran| release.is(&ran.digest));
    let mut ran = deploys.iter().filter(ran);
    newest_kept(target, ran.clone()).or_else(|| ran.next()).map(|deploy| deploy.id.clone())
}

/// The newest of these deploys of one release whose variables are kept: one that failed only if there is no other,
/// because its variables may be the reason.
fn newest_kept<'d>(target: &Target<'_>, deploys: impl Iterator<Item = &'d Deploy>) -> Option<&'d Deploy> {
    let kept: Vec<(&Deploy, Origin)> =
        deploys.filter_map(|deploy| Some((deploy, target.kept.origin(&deploy.id)?))).collect();
    let good = kept.iter().find(|(_, origin)| *origin != Origin::Failed);
    good.or(kept.first()).map(|(deploy, _)| *deploy)
}

fn failed(message: String) -> anyhow::Error {
    Failure::new(Exit::DeployFailed, message).into()
}
