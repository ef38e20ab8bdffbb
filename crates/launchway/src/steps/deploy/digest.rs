//! Which image to deploy: always by digest, never by a tag that may move.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::context::Context;
use crate::registry;
use crate::steps::push;
use crate::table::StepId;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::http::Http;
use launchway_registry::oci::Descriptor;
use launchway_registry::{Access, Digest, Reference, Repository, Tag};

use super::release::Release;

/// Where the digest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `PIPELINE_DIGEST`: on GitHub, the output of the job that pushed.
    Given(Digest),
    /// What the push of this commit left on this machine.
    Record(PathBuf),
    /// What the commit's tag names in the registry.
    Registry(Tag),
}

impl Source {
    /// An error with [`Exit::Usage`] when `PIPELINE_DIGEST` is set to something else than a digest.
    pub(super) fn of(ctx: &Context) -> Result<Self> {
        if let Some(digest) = ctx.environment.get("PIPELINE_DIGEST") {
            return digest
                .parse()
                .map(Self::Given)
                .context("`PIPELINE_DIGEST` is not valid")
                .or_exit(Exit::Usage);
        }
        let record = push::record(ctx);
        if record.is_file() { Ok(Self::Record(record)) } else { Ok(Self::Registry(ctx.git.tag().parse()?)) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(digest) => write!(f, "`PIPELINE_DIGEST`: {digest}"),
            Self::Record(path) => write!(f, "{}", path.display()),
            Self::Registry(tag) => write!(f, "the registry's tag `{tag}`"),
        }
    }
}

/// The release to deploy: this commit's image, which the registry must have under the commit's tag, for Render's platform.
///
/// Where we cannot look into the registry, as with a private repository and no login, that is reported and the digest
/// taken unchecked: Render pulls it with a login of its own.
pub(super) fn release(ctx: &Context, source: &Source) -> Result<Release> {
    let repository: Repository = ctx.image().parse()?;
    let tag: Tag = ctx.git.tag().parse()?;
    let push = push(ctx);
    let commit = Some(ctx.git.tag());
    let known = match source {
        Source::Given(digest) => Some(digest.clone()),
        Source::Record(path) => Some(recorded(ctx, path)?),
        Source::Registry(_) => None,
    };
    let named = registry::client(ctx, Access::Pull)
        .and_then(|client| client.digest(&repository, &Reference::Tag(tag.clone())));
    let digest = match (known, named) {
        (known, Ok(Some(named))) if known.as_ref().is_none_or(|known| *known == named) => named,
        (Some(known), Ok(Some(named))) => {
            return Err(Failure::new(
                Exit::Registry,
                format!(
                    "`{repository}:{tag}` names {named} in the registry instead of {known}: run {push} again"
                ),
            )
            .into());
        }
        (_, Ok(_)) => {
            return Err(Failure::new(
                Exit::Registry,
                format!("the registry has no `{repository}:{tag}`: run {push} first"),
            )
            .into());
        }
        (_, Err(error)) if Exit::of(&error) == Exit::Interrupted => return Err(error),
        (Some(known), Err(error)) => {
            ctx.reporter.skipped("digest in the registry", format!("{error:#}"));
            return Ok(Release { digest: known.to_string(), platform: None, commit });
        }
        (None, Err(error)) => {
            return Err(error.context(format!(
                "no image was pushed from this machine, and the registry does not name one: run {push} first"
            )));
        }
    };
    let image = Image::read(ctx, &repository, &digest)?;
    Ok(Release { digest: digest.to_string(), platform: image.platform, commit })
}

/// An image in the registry, as far as Render cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// The manifest for linux/amd64, where the digest is that of an index.
    pub(super) platform: Option<String>,
    /// The commit that its labels name.
    pub(super) commit: Option<String>,
}

impl Image {
    /// The most that Render pulls, in compressed bytes: <https://render.com/docs/deploying-an-image>.
    const LARGEST: u64 = 10 << 30;

    /// Reads it. What Render could not run is an error with [`Exit::DeployFailed`], what is not there one with
    /// [`Exit::Registry`].
    pub(super) fn read(ctx: &Context, repository: &Repository, digest: &Digest) -> Result<Self> {
        let unfit = |why: String| {
            Failure::new(Exit::DeployFailed, format!("Render cannot run `{repository}@{digest}`: {why}"))
        };
        let client = registry::client(ctx, Access::Pull)?;
        let manifest = |digest: &Digest| -> Result<Value> {
            let missing =
                || Failure::new(Exit::Registry, format!("the registry has no `{repository}@{digest}`"));
            let bytes = client.manifest(repository, digest)?.ok_or_else(missing)?;
            serde_json::from_slice(&bytes).context("a manifest is not JSON").or_exit(Exit::Registry)
        };
        let mut found = manifest(digest)?;
        let mut platform = None;
        if let Some(entries) = found["manifests"].as_array() {
            let fits = |entry: &&Value| {
                entry["platform"]["os"] == "linux" && entry["platform"]["architecture"] == "amd64"
            };
            let entry = entries
                .iter()
                .find(fits)
                .ok_or_else(|| unfit("it has no manifest for linux/amd64".to_owned()))?;
            let child: Digest =
                entry["digest"].as_str().unwrap_or_default().parse().or_exit(Exit::Registry)?;
            platform = Some(child.to_string());
            found = manifest(&child)?;
        }
        let sizes = found["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|layer| layer["size"].as_u64().unwrap_or_default());
        let size = sizes.fold(0, u64::saturating_add);
        if size > Self::LARGEST {
            return Err(
                unfit(format!("it has {size} bytes, but Render pulls at most {}", Self::LARGEST)).into()
            );
        }
        let config: Descriptor = serde_json::from_value(found["config"].clone())
            .context("a manifest names no configuration")
            .or_exit(Exit::Registry)?;
        if config.size > Http::LONGEST_TEXT {
            return Err(unfit("its configuration is too large".to_owned()).into());
        }
        let config: Value = serde_json::from_slice(&client.blob(repository, &config)?)
            .context("an image's configuration is not JSON")
            .or_exit(Exit::Registry)?;
        let word = |name: &str| config[name].as_str().unwrap_or("?").to_owned();
        let (os, architecture) = (word("os"), word("architecture"));
        if (os.as_str(), architecture.as_str()) != ("linux", "amd64") {
            return Err(unfit(format!(
                "it is for {os}/{architecture}, but Render's machines are linux/amd64"
            ))
            .into());
        }
        let label = config["config"]["Labels"]["org.opencontainers.image.revision"].as_str();
        let is_commit = |text: &&str| {
            let sha = text.strip_suffix("-dirty").unwrap_or(text);
            sha.len() == 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        Ok(Self { platform, commit: label.filter(is_commit).map(str::to_owned) })
    }
}

/// What brings the image; in a rehearsal, whose registry begins empty, only together with the deploy.
fn push(ctx: &Context) -> String {
    format!("`{}`", ctx.again(if ctx.is_rehearsal() { StepId::Deploy } else { StepId::Push }))
}

/// What a deploy reads of a [`PushRecord`](crate::steps::push::PushRecord), whichever version wrote it.
#[derive(Deserialize)]
struct Record {
    repository: Repository,
    digest: Digest,
    commit_tag: Tag,
}

fn recorded(ctx: &Context, path: &Path) -> Result<Digest> {
    let push = push(ctx);
    let usage = |message: String| Err(Failure::new(Exit::Usage, message).into());
    let record: Record = serde_json::from_str(&fs_err::read_to_string(path)?)
        .with_context(|| format!("{} is not a push record: run {push} again", path.display()))
        .or_exit(Exit::Usage)?;
    if record.commit_tag != ctx.git.tag().parse()? {
        return usage(format!(
            "the pushed image is that of `{}`, but this is `{}`: run {push} first",
            record.commit_tag,
            ctx.git.tag()
        ));
    }
    if record.repository != ctx.image().parse()? {
        return usage(format!(
            "the image was pushed to `{}`, but the pipeline ships `{}`: run {push} first",
            record.repository,
            ctx.image()
        ));
    }
    Ok(record.digest)
}

#[cfg(test)]
mod tests;
