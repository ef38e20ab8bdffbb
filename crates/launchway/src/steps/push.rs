//! Step: push. Sends the image in `target/xtask/image` to the registry: its blobs, its commit tag, its attestations
//! (SBOM and provenance), then `latest`.
//!
//! A commit tag never moves to another digest. `latest` moves last, to a digest that the registry has under the commit
//! tag. The step neither builds nor signs anything.

mod explain;
mod failure;
mod image;
mod record;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::attestation::{self, Build};
use crate::context::Context;
pub(crate) use explain::before_the_image;
use image::Image;
use launchway_core::events::{Reporter, milliseconds};
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::Secret;
use launchway_core::size;
use launchway_image::secret_scan;
use launchway_registry::oci::Descriptor;
use launchway_registry::{Access, Artifact, Client, Digest, Outcome, Reference, Repository, Tag};
pub(crate) use record::PushRecord;
#[cfg(feature = "rehearsal")]
pub(crate) use record::Referrer;

/// A push, in the order in which [`Self::run`] performs it and `Display` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushPlan {
    repository: Repository,
    image: Image,
    /// Whether the commit tag may move: the tag of a dirty tree says itself that it is not the commit.
    may_move: bool,
    attestations: Attestations,
    /// Whether `latest` will point to the image.
    moves_latest: bool,
    /// Where the record goes, for the deploy and for people.
    record: PathBuf,
}

/// What will be attached to the image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attestations {
    /// These artifacts, which are also left in the folder.
    Attach { artifacts: Vec<Artifact>, folder: PathBuf },
    /// Nothing, for this reason.
    Skip(&'static str),
}

/// Plans the push of this commit's image without contacting the registry.
///
/// Fails with [`Exit::Usage`] if the image is missing or of another commit, or if the tree is dirty and the registry is
/// not on this machine.
pub(crate) fn plan(ctx: &Context) -> Result<PushPlan> {
    let repository: Repository = ctx
        .image()
        .parse()
        .context("`image` in Cargo.toml (or PIPELINE_IMAGE) is not valid")
        .or_exit(Exit::Usage)?;
    if ctx.git.dirty && !repository.is_loopback() {
        let message = format!(
            "the tree differs from commit {}: commit or stash your changes, because only committed files are pushed to {}",
            ctx.git.short(),
            repository.registry()
        );
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let image = Image::read(&ctx.output().join("image"), &ctx.git.tag())
        .with_context(|| format!("no image of commit {} to push", ctx.git.short()))
        .or_exit(Exit::Usage)?;
    let subject = Descriptor::of(&image.manifest.media_type, &image.manifest.bytes);
    let build = Build {
        project: ctx.project(),
        environment: &ctx.environment,
        engine: image.engine,
        base: image.base.as_ref(),
    };
    let attestations = match attestation::attestations(build, &repository, &subject)? {
        Ok(artifacts) => Attestations::Attach { artifacts, folder: ctx.output().join("attest") },
        Err(reason) => Attestations::Skip(reason),
    };
    Ok(PushPlan {
        repository,
        may_move: ctx.git.dirty,
        attestations,
        moves_latest: image.is_latest && !ctx.git.dirty,
        record: record(&ctx.kept()),
        image,
    })
}

impl fmt::Display for PushPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(&[], &[]).join("\n"))
    }
}

impl PushPlan {
    /// The lines of the plan, with additional lines about the login and the blobs.
    fn lines(&self, login: &[String], blobs: &[String]) -> Vec<String> {
        let Self { repository, image, record, .. } = self;
        let (tag, digest) = (&image.commit_tag, &image.manifest.digest);
        let short = digest.short();
        let mut lines = vec![format!(
            "scan the {} parts of the image for secrets, keys, `.env` and `.git`",
            image.parts.len()
        )];
        lines.push(if self.may_move {
            format!("check {repository}:{tag}: it will point to {digest}")
        } else {
            format!("check {repository}:{tag}: it must be unused or point to {digest}")
        });
        lines.extend_from_slice(login);
        let sizes: Vec<String> =
            image.blobs.iter().map(|blob| format!("{} {}", blob.digest.short(), size(blob.size))).collect();
        lines.push(format!("upload to {repository} the missing blobs of {}", sizes.join(", ")));
        lines.extend_from_slice(blobs);
        lines.push(format!("tag {short} as {repository}:{tag} and verify it"));
        match &self.attestations {
            Attestations::Attach { artifacts, folder } => {
                let names: Vec<String> = artifacts
                    .iter()
                    .map(|artifact| format!("{} {}", artifact.name, artifact.manifest.digest.short()))
                    .collect();
                lines.push(format!(
                    "write them to {}, and attach to {repository}@{short}: {}",
                    folder.display(),
                    names.join(", ")
                ));
                lines.push(format!(
                    "  if the registry does not support referrers, list them under the tag {}",
                    Tag::of_referrers(digest)
                ));
            }
            Attestations::Skip(reason) => lines.push(format!("skip {ATTESTATIONS}: {reason}")),
        }
        if self.moves_latest {
            lines.push(format!("move {repository}:latest to {short} and verify it"));
        }
        lines.push(format!("write {}", record.display()));
        lines
    }

    /// Pushes the image. A failure of the registry is an error with [`Exit::Registry`].
    ///
    /// Every error says what the registry has afterwards.
    pub(crate) fn run(&self, ctx: &Context) -> Result<PushRecord> {
        self.run_with(ctx.registry(Access::Push)?, &ctx.named_secrets(), &ctx.reporter, &ctx.interrupt)
    }

    fn run_with(
        &self,
        client: Client,
        secrets: &[(&str, Secret)],
        reporter: &Reporter,
        interrupt: &Interrupt,
    ) -> Result<PushRecord> {
        let started = Instant::now();
        let is_tagged = interrupt
            .check()
            .and_then(|()| secret_scan::scan(&self.image.parts, secrets, interrupt))
            .and_then(|()| self.inspect(&client))
            .map_err(|error| failure::untouched(&error))?;
        self.send(&client, is_tagged, reporter, interrupt)
            .and_then(|record| self.leave(record, started, reporter))
            .map_err(|error| self.failure(client, &error))
    }

    /// Checks the commit tag: whether it already points to the image.
    fn inspect(&self, client: &Client) -> Result<bool> {
        let Self { repository, image, .. } = self;
        let (tag, digest) = (&image.commit_tag, &image.manifest.digest);
        let named = client.digest(repository, &Reference::Tag(tag.clone()))?;
        if let Some(named) = &named
            && named != digest
            && !self.may_move
        {
            let message = format!(
                "`{repository}:{tag}` already points to {named}, but this build produced {digest}: a commit tag never moves. Make \
                 a new commit, or remove the tag from the registry if no service runs that image"
            );
            return Err(Failure::new(Exit::Registry, message).into());
        }
        Ok(named.as_ref() == Some(digest))
    }

    fn send(
        &self,
        client: &Client,
        is_tagged: bool,
        reporter: &Reporter,
        interrupt: &Interrupt,
    ) -> Result<PushRecord> {
        let Self { repository, image, .. } = self;
        let (tag, manifest) = (&image.commit_tag, &image.manifest);
        let mut record = PushRecord::new(repository, tag, &manifest.digest);
        if is_tagged {
            // A registry accepts a manifest only if it has its blobs.
            record.add(&image.blobs, &vec![Outcome::Present; image.blobs.len()]);
            reporter.note(format!("already there under `{tag}`"));
        } else {
            record.add(&image.blobs, &client.upload(repository, &image.blobs)?);
            interrupt.check()?;
            client.tag(repository, tag, manifest)?;
            reporter.note(format!("tagged `{tag}`"));
        }
        interrupt.check()?;
        match &self.attestations {
            Attestations::Attach { artifacts, folder } => {
                let attached = client.attach(repository, &manifest.digest, artifacts, folder)?;
                record.attach(reporter, artifacts, attached);
            }
            Attestations::Skip(reason) => reporter.skipped(ATTESTATIONS, *reason),
        }
        if self.moves_latest {
            interrupt.check()?;
            record.previous_latest = self.move_latest(client, reporter)?;
            record.latest = true;
        }
        Ok(record)
    }

    /// Writes the record.
    fn leave(&self, mut record: PushRecord, started: Instant, reporter: &Reporter) -> Result<PushRecord> {
        record.milliseconds = milliseconds(started.elapsed());
        reporter.leave_json(&self.record, &serde_json::to_string_pretty(&record)?)?;
        reporter.note(record.to_string());
        Ok(record)
    }

    /// Moves `latest` and returns the digest that it pointed to before.
    fn move_latest(&self, client: &Client, reporter: &Reporter) -> Result<Option<Digest>> {
        let (latest, manifest) = (Tag::latest(), &self.image.manifest);
        let before = client.digest(&self.repository, &Reference::Tag(latest.clone()))?;
        if before.as_ref() == Some(&manifest.digest) {
            reporter.note("`latest` already points to it");
            return Ok(before);
        }
        client.tag(&self.repository, &latest, manifest)?;
        reporter.note(match &before {
            Some(before) => format!("moved `latest` from {}", before.short()),
            None => "tagged `latest`".to_owned(),
        });
        Ok(before)
    }
}

/// The name of the attestations when they are skipped.
const ATTESTATIONS: &str = "SBOM and provenance";

/// The record of the last push, in the folder of [`Context::kept`].
pub(crate) fn record(kept: &Path) -> PathBuf {
    kept.join("push.json")
}

#[cfg(test)]
pub(crate) mod tests;
