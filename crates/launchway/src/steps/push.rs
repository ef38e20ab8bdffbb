//! Step: push. The image in `target/xtask/image` goes to the registry: its blobs, its commit tag, what is said
//! of it (SBOM and provenance), then `latest`.
//!
//! A commit tag never moves to another digest, and `latest` moves last, to what the registry has proved to have.
//! It does not build anything, and it does not sign.

mod aftermath;
mod explain;
mod pushed;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::attest;
use crate::context::Context;
use crate::registry;
use crate::table::VARIABLES;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::secret::Secret;
use launchway_core::size;
use launchway_image::Engine;
use launchway_image::layout::{BaseRecord, Layout};
use launchway_image::secret_scan::{self, Part};
use launchway_registry::oci::Descriptor;
use launchway_registry::{
    Access, Artifact, Blob, Client, Digest, Manifest, Outcome, Reference, Repository, Tag,
};

/// One thing that a push does. `Display` is its line of `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Look for secrets in what would be sent.
    Guard { parts: Vec<Part> },
    /// Look what the commit tag names. One that names another digest already ends the push, unless it `may_move`.
    Look { repository: Repository, tag: Tag, digest: Digest, may_move: bool },
    /// Upload the blobs that the registry lacks.
    Upload { repository: Repository, blobs: Vec<Blob> },
    /// Make the commit tag name the manifest, and check it.
    Tag { repository: Repository, tag: Tag, manifest: Manifest },
    /// Attach documents to the image.
    Attach { repository: Repository, subject: Digest, artifacts: Vec<Artifact>, folder: PathBuf },
    /// Something that is not done, and why.
    Skip { check: &'static str, reason: &'static str },
    /// Make `latest` name the manifest, and check it.
    MoveLatest { repository: Repository, manifest: Manifest },
    /// Leave a record for the deploy and for people.
    Record { path: PathBuf },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard { parts } => {
                write!(
                    f,
                    "look for secrets, keys, `.env` and `.git` in the {} parts of the image",
                    parts.len()
                )
            }
            Self::Look { repository, tag, digest, may_move: false } => {
                write!(f, "look at {repository}:{tag}: it must be free or name {digest}")
            }
            Self::Look { repository, tag, digest, may_move: true } => {
                write!(f, "look at {repository}:{tag}: it will name {digest}")
            }
            Self::Upload { repository, blobs } => {
                let blobs: Vec<String> =
                    blobs.iter().map(|blob| format!("{} {}", blob.digest.short(), size(blob.size))).collect();
                write!(f, "upload to {repository} what it lacks of {}", blobs.join(", "))
            }
            Self::Tag { repository, tag, manifest } => {
                write!(f, "tag {} as {repository}:{tag} and verify it", manifest.digest.short())
            }
            Self::Attach { repository, subject, artifacts, .. } => {
                let names: Vec<String> = artifacts
                    .iter()
                    .map(|artifact| format!("{} {}", artifact.name, artifact.manifest.digest.short()))
                    .collect();
                write!(f, "attach to {repository}@{}: {}", subject.short(), names.join(", "))
            }
            Self::Skip { check, reason } => write!(f, "skip {check}: {reason}"),
            Self::MoveLatest { repository, manifest } => {
                write!(f, "move {repository}:latest to {} and verify it", manifest.digest.short())
            }
            Self::Record { path } => write!(f, "write {}", path.display()),
        }
    }
}

pub(crate) use explain::explained;
pub(crate) use pushed::{Pushed, Referrer};

/// What pushing the image of this commit takes; the registry is not asked yet.
///
/// An image that is missing or of another commit is an error with [`Exit::Usage`], and so is a dirty tree unless the
/// registry is on this machine.
pub(crate) fn plan(ctx: &Context) -> Result<Vec<Action>> {
    let repository: Repository = ctx
        .image()
        .parse()
        .context("`image` in Cargo.toml (or PIPELINE_IMAGE) is not valid")
        .or_exit(Exit::Usage)?;
    if ctx.git.dirty && !repository.is_loopback() {
        let message = format!(
            "the tree differs from commit {}: commit or stash, because only what a commit holds is pushed to {}",
            ctx.git.short(),
            repository.registry()
        );
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let image = read_layout(&ctx.output().join("image"), &ctx.git.tag())
        .with_context(|| format!("no image of commit {} to push", ctx.git.short()))
        .or_exit(Exit::Usage)?;
    let Image { commit_tag: tag, latest, engine, base, manifest, blobs, parts } = image;
    let digest = manifest.digest.clone();
    // A dirty tree's tag says itself that it is not what the commit holds, so it may name something else each time.
    let may_move = ctx.git.dirty;
    let mut actions = vec![
        Action::Guard { parts },
        Action::Look { repository: repository.clone(), tag: tag.clone(), digest, may_move },
        Action::Upload { repository: repository.clone(), blobs },
        Action::Tag { repository: repository.clone(), tag, manifest: manifest.clone() },
    ];
    let image = Descriptor::of(&manifest.media_type, &manifest.bytes);
    let (folder, subject) = (ctx.output().join("attest"), image.digest.clone());
    actions.push(match attest::documents(ctx, &repository, &image, engine, base.as_ref())? {
        Ok(artifacts) => Action::Attach { repository: repository.clone(), subject, artifacts, folder },
        Err(reason) => Action::Skip { check: "SBOM and provenance", reason },
    });
    if latest && !ctx.git.dirty {
        actions.push(Action::MoveLatest { repository, manifest });
    }
    actions.push(Action::Record { path: record(ctx) });
    Ok(actions)
}

/// Does what the plan says, in its order. A failure of the registry is an error with [`Exit::Registry`].
///
/// Every error says what the registry holds after it.
pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Result<Pushed> {
    run_with(ctx, registry::client(ctx, Access::Push)?, actions)
}

fn run_with(ctx: &Context, client: Client, actions: &[Action]) -> Result<Pushed> {
    let mut pushed = None;
    match carry_out(ctx, &client, actions, &mut pushed) {
        Ok(()) => pushed.context("nothing to push"),
        // Until the look is over, nothing was sent.
        Err(error) if pushed.is_none() => Err(aftermath::untouched(&error)),
        Err(error) => Err(aftermath::told(client, actions, &error)),
    }
}

fn carry_out(ctx: &Context, client: &Client, actions: &[Action], pushed: &mut Option<Pushed>) -> Result<()> {
    let started = Instant::now();
    let mut tagged = false;
    for action in actions {
        ctx.interrupt.check()?;
        match action {
            Action::Guard { parts } => secret_scan::scan(parts, &secrets(ctx), &ctx.interrupt)?,
            Action::Look { repository, tag, digest, may_move } => {
                tagged = look(client, repository, tag, digest, *may_move)?;
                *pushed = Some(Pushed::nothing_yet(repository, tag, digest));
            }
            Action::Upload { repository, blobs } => {
                let outcomes = if tagged {
                    // A registry takes a manifest only when it has its blobs.
                    vec![Outcome::Present; blobs.len()]
                } else {
                    client.upload(repository, blobs)?
                };
                looked(pushed)?.add(blobs, &outcomes);
            }
            Action::Tag { tag, .. } if tagged => ctx.reporter.note(format!("already there under `{tag}`")),
            Action::Tag { repository, tag, manifest } => {
                client.tag(repository, tag, manifest)?;
                ctx.reporter.note(format!("tagged `{tag}`"));
            }
            Action::Attach { repository, subject, artifacts, folder } => {
                let attached = client.attach(repository, subject, artifacts, folder)?;
                looked(pushed)?.attach(ctx, artifacts, attached);
            }
            Action::Skip { check, reason } => ctx.reporter.skipped(check, *reason),
            Action::MoveLatest { repository, manifest } => {
                let before = move_latest(ctx, client, repository, manifest)?;
                let pushed = looked(pushed)?;
                (pushed.latest, pushed.previous_latest) = (true, before);
            }
            Action::Record { path } => {
                let pushed = looked(pushed)?;
                pushed.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                ctx.leave_json(path, &serde_json::to_string_pretty(pushed)?)?;
            }
        }
    }
    if let Some(pushed) = pushed {
        ctx.reporter.note(pushed.to_string());
    }
    Ok(())
}

/// The secrets of the pipeline, by the names of their variables.
fn secrets(ctx: &Context) -> Vec<(&'static str, Secret)> {
    let sensitive = VARIABLES.iter().filter(|variable| variable.sensitive);
    sensitive.filter_map(|variable| Some((variable.name, ctx.environment.secret(variable.name)?))).collect()
}

/// The record of the last push.
pub(crate) fn record(ctx: &Context) -> PathBuf {
    ctx.kept().join("push.json")
}

fn looked(pushed: &mut Option<Pushed>) -> Result<&mut Pushed> {
    pushed.as_mut().context("a plan begins with a look at the commit tag")
}

/// Whether the tag names the digest already.
fn look(
    client: &Client,
    repository: &Repository,
    tag: &Tag,
    digest: &Digest,
    may_move: bool,
) -> Result<bool> {
    let named = client.digest(repository, &Reference::Tag(tag.clone()))?;
    if let Some(named) = &named
        && named != digest
        && !may_move
    {
        let message = format!(
            "`{repository}:{tag}` names {named} already, and this build made {digest}: a commit tag never moves. Make a \
             new commit, or remove the tag from the registry if nobody runs that image"
        );
        return Err(Failure::new(Exit::Registry, message).into());
    }
    Ok(named.as_ref() == Some(digest))
}

/// Moves `latest` and returns what it named before.
fn move_latest(
    ctx: &Context,
    client: &Client,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Option<Digest>> {
    let latest = Tag::latest();
    let before = client.digest(repository, &Reference::Tag(latest.clone()))?;
    if before.as_ref() == Some(&manifest.digest) {
        ctx.reporter.note("`latest` names it already");
        return Ok(before);
    }
    client.tag(repository, &latest, manifest)?;
    ctx.reporter.note(match &before {
        Some(before) => format!("moved `latest` from {}", before.short()),
        None => "tagged `latest`".to_owned(),
    });
    Ok(before)
}

/// An image on disk.
struct Image {
    commit_tag: Tag,
    latest: bool,
    engine: Engine,
    base: Option<BaseRecord>,
    manifest: Manifest,
    /// Layers, then the configuration, each once.
    blobs: Vec<Blob>,
    /// The same, for the guard.
    parts: Vec<Part>,
}

/// Reads the image from an OCI image layout, which must hold it under this tag.
fn read_layout(folder: &Path, tag: &str) -> Result<Image> {
    let layout = Layout::open(folder)?;
    ensure!(
        layout.tags.iter().any(|found| found == tag),
        "{} has no tag `{tag}`: run `cargo xtask docker-build` first",
        folder.display()
    );
    let (from, count) = match layout.base.clone() {
        Some(BaseRecord { repository, layers, .. }) => (Some(repository), layers),
        None => (None, 0),
    };
    let below: BTreeSet<&Digest> = layout.layers.iter().take(count).map(|layer| &layer.digest).collect();
    let mut seen = BTreeSet::new();
    let mut blobs = Vec::new();
    for blob in layout.blobs() {
        if seen.insert(&blob.digest) {
            blobs.push(Blob {
                digest: blob.digest.clone(),
                size: blob.size,
                path: layout.blob(&blob.digest),
                source: from.as_ref().filter(|_| below.contains(&blob.digest)).cloned(),
            });
        }
    }
    // The layers of the base are in a registry already, and nobody here can change them.
    let layers = layout.layers.iter().enumerate().skip(count);
    let mut parts: Vec<Part> =
        layers.map(|(place, layer)| Part::Layer(place + 1, layout.blob(&layer.digest))).collect();
    parts.push(Part::Config(layout.blob(&layout.config.digest)));
    Ok(Image {
        commit_tag: tag.parse()?,
        latest: layout.tags.iter().any(|found| found == "latest"),
        engine: layout.engine,
        base: layout.base.clone(),
        manifest: Manifest {
            digest: layout.manifest.digest.clone(),
            media_type: layout.manifest.media_type.clone(),
            bytes: layout.manifest_bytes.clone(),
        },
        blobs,
        parts,
    })
}

#[cfg(test)]
pub(crate) mod tests;
