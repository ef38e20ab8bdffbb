//! Which image to deploy: always by digest, never by a tag that may move.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::registry;
use crate::registry::reference::{Digest, Reference, Repository, Tag};
use crate::steps::push::{self, Pushed};

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

/// The digest to deploy: that of this commit's image, which the registry must have under the commit's tag.
///
/// Where the registry does not let us look, as with a private repository and no login, that is said and the digest
/// taken as it is: Render pulls it with a login of its own.
pub(super) fn digest(ctx: &Context, source: &Source) -> Result<Digest> {
    let repository: Repository = ctx.image().parse()?;
    let tag: Tag = ctx.git.tag().parse()?;
    let known = match source {
        Source::Given(digest) => Some(digest.clone()),
        Source::Record(path) => Some(recorded(ctx, path)?),
        Source::Registry(_) => None,
    };
    let named = registry::resolve(ctx, &repository, &Reference::Tag(tag.clone()));
    match (known, named) {
        (Some(known), Ok(Some(named))) if known == named => Ok(known),
        (None, Ok(Some(named))) => Ok(named),
        (Some(known), Ok(Some(named))) => Err(Failure::new(
            Exit::Registry,
            format!("`{repository}:{tag}` names {named} in the registry, and not {known}: run `cargo xtask push` again"),
        )
        .into()),
        (_, Ok(None)) => Err(Failure::new(
            Exit::Registry,
            format!("the registry has no `{repository}:{tag}`: run `cargo xtask push` first"),
        )
        .into()),
        (_, Err(error)) if Exit::of(&error) == Exit::Interrupted => Err(error),
        (Some(known), Err(error)) => {
            ctx.reporter.skipped("digest in the registry", format!("{error:#}"));
            Ok(known)
        }
        (None, Err(error)) => {
            Err(error.context("no image was pushed from here, and the registry does not tell: run `cargo xtask push` first"))
        }
    }
}

fn recorded(ctx: &Context, path: &Path) -> Result<Digest> {
    let usage = |message: String| Err(Failure::new(Exit::Usage, message).into());
    let record: Pushed = serde_json::from_str(&fs_err::read_to_string(path)?)
        .with_context(|| format!("{} is not a push record: run `cargo xtask push` again", path.display()))
        .or_exit(Exit::Usage)?;
    if record.commit_tag != ctx.git.tag().parse()? {
        return usage(format!(
            "the image that was pushed is that of `{}`, but this is `{}`: run `cargo xtask push` first",
            record.commit_tag,
            ctx.git.tag()
        ));
    }
    if record.repository != ctx.image().parse()? {
        return usage(format!(
            "the image was pushed to `{}`, but the pipeline ships `{}`: run `cargo xtask push` first",
            record.repository,
            ctx.image()
        ));
    }
    Ok(record.digest)
}
