//! Attestations: what an image is made of (SBOM), and how it was made (provenance).
//!
//! Both are the same bytes for the same commit: no clock, no random number, no path of the machine.
//! Neither is signed.

pub(crate) mod provenance;
pub(crate) mod sbom;

/// A page of the project that defines the words of these documents.
///
/// The top-level domain is reserved and never resolves (RFC 2606, section 2), so no one else can own the name; a
/// project with its own domain puts it here.
pub(crate) const PROJECT: &str = "https://launchway.invalid";

use anyhow::Result;

use crate::context::Context;
use launchway_image::Engine;
use launchway_image::layout::BaseRecord;
use launchway_registry::Artifact;
use launchway_registry::Repository;
use launchway_registry::oci::{Descriptor, MANIFEST};

/// The attestations of an image, or why it has none.
pub(crate) fn attestations(
    ctx: &Context,
    repository: &Repository,
    image: &Descriptor,
    engine: Engine,
    base: Option<&BaseRecord>,
) -> Result<Result<Vec<Artifact>, &'static str>> {
    if !ctx.root.join("Cargo.lock").is_file() {
        return Ok(Err("there is no `Cargo.lock` that lists what the image was built from"));
    }
    if image.media_type != MANIFEST {
        return Ok(Err("the image is not in OCI format: build it again"));
    }
    let provenance = provenance::document(ctx, engine, base, &repository.to_string(), &image.digest)?;
    Ok(Ok(vec![
        Artifact::new(SBOM, "sbom.cdx.json", sbom::document(ctx)?.into_bytes(), image)?,
        Artifact::new(PROVENANCE, "provenance.json", provenance.into_bytes(), image)?,
    ]))
}

/// The media type of `CycloneDX` in JSON, as registered with IANA.
pub(crate) const SBOM: &str = "application/vnd.cyclonedx+json";
/// The media type of an in-toto statement outside an envelope, as `docker buildx` has it.
pub(crate) const PROVENANCE: &str = "application/vnd.in-toto+json";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use launchway_core::environment::Environment;

    #[test]
    fn an_image_without_attestations_says_why() {
        let repository: Repository = "docker.io/acme/app".parse().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
        let made = |root: &Path, media_type: &str| {
            let ctx = Context::for_test(root, Environment::default());
            attestations(&ctx, &repository, &Descriptor::of(media_type, b"{}"), Engine::Builtin, None)
                .unwrap()
        };
        let names = made(&root, MANIFEST).unwrap().iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names, ["sbom.cdx.json", "provenance.json"]);
        assert_eq!(made(&root, MANIFEST), made(&root, MANIFEST), "the same bytes each time");
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        assert!(made(&root, docker).unwrap_err().starts_with("the image is not in OCI format"));
        assert!(made(&root.join("app"), MANIFEST).unwrap_err().contains("no `Cargo.lock`"));
    }
}
