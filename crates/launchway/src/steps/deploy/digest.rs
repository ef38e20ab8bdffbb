//! Finds the image to deploy: always by digest, never by a tag that may move.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::http::Http;
use launchway_registry::oci::Descriptor;
use launchway_registry::{Client, Digest, Reference, Repository, Tag};

use super::release::Release;

/// Where the digest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `PIPELINE_DIGEST`: on GitHub, the output of the job that pushed.
    Given(Digest),
    /// The push record of this commit on this machine.
    Record(PathBuf),
    /// What the commit's tag points to in the registry.
    Registry(Tag),
}

impl Source {
    /// `PIPELINE_DIGEST` if set, else the push record if there is one, else the registry's `tag`.
    ///
    /// Fails with [`Exit::Usage`] if `PIPELINE_DIGEST` is not a digest.
    fn of(given: Option<&str>, record: PathBuf, tag: &str) -> Result<Self> {
        match given {
            Some(digest) => {
                digest.parse().map(Self::Given).context("`PIPELINE_DIGEST` is not valid").or_exit(Exit::Usage)
            }
            None if record.is_file() => Ok(Self::Record(record)),
            None => Ok(Self::Registry(tag.parse()?)),
        }
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

/// The release to deploy: the image of a commit, from the planned source.
#[derive(Clone, Debug)]
pub(super) struct ReleaseLookup {
    pub(super) source: Source,
    /// The commit's tag.
    tag: String,
    /// The repository that the pipeline ships.
    image: String,
    /// The command that pushes the image, in backticks.
    push: String,
}

impl ReleaseLookup {
    /// The image of `tag`. Its digest may be in `PIPELINE_DIGEST` or in the push record at `record`.
    pub(super) fn new(
        given: Option<&str>,
        record: PathBuf,
        tag: String,
        image: &str,
        push: &str,
    ) -> Result<Self> {
        let source = Source::of(given, record, &tag)?;
        Ok(Self { source, tag, image: image.to_owned(), push: format!("`{push}`") })
    }

    /// Finds the release, which the registry must have under the commit's tag, for Render's platform.
    ///
    /// If we cannot read the registry, as for a private repository without a login, that is reported and the digest is
    /// used unchecked: Render pulls with its own login.
    pub(super) fn release(&self, client: &Client, reporter: &Reporter) -> Result<Release> {
        let repository: Repository = self.image.parse()?;
        let tag: Tag = self.tag.parse()?;
        let push = &self.push;
        let commit = Some(self.tag.clone());
        let known = match &self.source {
            Source::Given(digest) => Some(digest.clone()),
            Source::Record(path) => Some(self.recorded(path)?),
            Source::Registry(_) => None,
        };
        let named = client.digest(&repository, &Reference::Tag(tag.clone()));
        let digest = match (known, named) {
            (known, Ok(Some(named))) if known.as_ref().is_none_or(|known| *known == named) => named,
            (Some(known), Ok(Some(named))) => {
                return Err(Failure::new(
                Exit::Registry,
                format!(
                    "`{repository}:{tag}` points to {named} in the registry instead of {known}: run {push} again"
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
                reporter.skipped("digest in the registry", format!("{error:#}"));
                return Ok(Release { digest: known.to_string(), platform: None, commit });
            }
            (None, Err(error)) => {
                return Err(error.context(format!(
                    "no image was pushed from this machine, and the registry has none: run {push} first"
                )));
            }
        };
        let image = Image::read(client, &repository, &digest)?;
        Ok(Release { digest: digest.to_string(), platform: image.platform, commit })
    }

    fn recorded(&self, path: &Path) -> Result<Digest> {
        let push = &self.push;
        let usage = |message: String| Err(Failure::new(Exit::Usage, message).into());
        let record: Record = serde_json::from_str(&fs_err::read_to_string(path)?)
            .with_context(|| format!("{} is not a push record: run {push} again", path.display()))
            .or_exit(Exit::Usage)?;
        if record.commit_tag != self.tag.parse()? {
            return usage(format!(
                "the pushed image belongs to `{}`, but this is `{}`: run {push} first",
                record.commit_tag, self.tag
            ));
        }
        if record.repository != self.image.parse()? {
            return usage(format!(
                "the image was pushed to `{}`, but the pipeline ships `{}`: run {push} first",
                record.repository, self.image
            ));
        }
        Ok(record.digest)
    }
}

/// The parts of an image that matter to Render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// The manifest for linux/amd64, if the digest is that of an index.
    pub(super) platform: Option<String>,
    /// The commit in its labels.
    pub(super) commit: Option<String>,
}

impl Image {
    /// The largest image that Render pulls, in compressed bytes: <https://render.com/docs/deploying-an-image>.
    const LARGEST: u64 = 10 << 30;

    /// Reads it. Fails with [`Exit::DeployFailed`] if Render could not run it, and with [`Exit::Registry`] if it does
    /// not exist.
    pub(super) fn read(client: &Client, repository: &Repository, digest: &Digest) -> Result<Self> {
        let unfit = |why: String| {
            Failure::new(Exit::DeployFailed, format!("Render cannot run `{repository}@{digest}`: {why}"))
        };
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

/// The part of a [`PushRecord`](crate::steps::push::PushRecord) that a deploy reads, whichever version wrote it.
#[derive(Deserialize)]
struct Record {
    repository: Repository,
    digest: Digest,
    commit_tag: Tag,
}

#[cfg(test)]
mod tests;
