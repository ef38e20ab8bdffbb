//! Attestations: what an image is made of (SBOM), and how it was made (provenance).
//!
//! Both are the same bytes for the same commit: no clock, no random number, no path of the machine.
//! Neither is signed.

pub(crate) mod provenance;
pub(crate) mod sbom;

/// The project's page that defines the terms in these documents.
///
/// The top-level domain is reserved and never resolves (RFC 2606, section 2), so nobody else can own the name. A
/// project with its own domain puts it here.
pub(crate) const PROJECT: &str = "https://launchway.invalid";

use anyhow::Result;

use crate::project::Project;
use launchway_core::environment::Environment;
use launchway_image::Engine;
use launchway_image::layout::BaseRecord;
use launchway_registry::Artifact;
use launchway_registry::Repository;
use launchway_registry::oci::{Descriptor, MANIFEST};

/// The build that produced an image.
#[derive(Clone, Copy)]
pub(crate) struct Build<'a> {
    pub(crate) project: Project<'a>,
    /// Names the workflow on GitHub.
    pub(crate) environment: &'a Environment,
    pub(crate) engine: Engine,
    pub(crate) base: Option<&'a BaseRecord>,
}

#[cfg(test)]
impl<'a> Build<'a> {
    /// A build without a base image.
    pub(crate) fn for_test(ctx: &'a crate::context::Context, engine: Engine) -> Self {
        Self { project: ctx.project(), environment: &ctx.environment, engine, base: None }
    }
}

/// The attestations of an image, or the reason why it has none.
pub(crate) fn attestations(
    build: Build<'_>,
    repository: &Repository,
    image: &Descriptor,
) -> Result<Result<Vec<Artifact>, &'static str>> {
    let Project { root, config, .. } = build.project;
    if !root.join("Cargo.lock").is_file() {
        return Ok(Err("without `Cargo.lock` the image's dependencies are unknown"));
    }
    if image.media_type != MANIFEST {
        return Ok(Err("the image is not in OCI format: build it again"));
    }
    let provenance = provenance::document(build, &repository.to_string(), &image.digest)?;
    Ok(Ok(vec![
        Artifact::new(SBOM, "sbom.cdx.json", sbom::document(root, config)?.into_bytes(), image)?,
        Artifact::new(PROVENANCE, "provenance.json", provenance.into_bytes(), image)?,
    ]))
}

/// The media type of `CycloneDX` in JSON, as registered with IANA.
pub(crate) const SBOM: &str = "application/vnd.cyclonedx+json";
/// The media type of an in-toto statement without an envelope, as in `docker buildx`.
pub(crate) const PROVENANCE: &str = "application/vnd.in-toto+json";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::context::Context;
    use launchway_core::environment::Environment;

    #[test]
    fn an_image_without_attestations_says_why() {
        let repository: Repository = "docker.io/acme/app".parse().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
        let made = |root: &Path, media_type: &str| {
            let ctx = Context::for_test(root, Environment::default());
            let build = Build::for_test(&ctx, Engine::Builtin);
            attestations(build, &repository, &Descriptor::of(media_type, b"{}")).unwrap()
        };
        let names = made(&root, MANIFEST).unwrap().iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names, ["sbom.cdx.json", "provenance.json"]);
        assert_eq!(made(&root, MANIFEST), made(&root, MANIFEST), "the same bytes each time");
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        assert!(made(&root, docker).unwrap_err().starts_with("the image is not in OCI format"));
        assert!(made(&root.join("app"), MANIFEST).unwrap_err().contains("without `Cargo.lock`"));
    }
}
