use serde_json::json;

use super::*;
use crate::testing::registry::{context_on, repository, scripted};
use launchway_fakes::Reply;
use launchway_fakes::registry::Scripted;

/// A registry with these documents, each under its digest.
fn registry(documents: Vec<Vec<u8>>) -> Scripted {
    scripted(move |request, _| {
        let found = documents.iter().find(|bytes| request.target.ends_with(Digest::of(bytes).as_str()))?;
        Some(Reply::new(200).body(found.clone()))
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn manifest(config: &[u8], layer: u64) -> Vec<u8> {
    let config = Descriptor::of(launchway_registry::oci::CONFIG, config);
    bytes(
        &json!({ "schemaVersion": 2, "config": config, "layers": [{ "size": layer, "digest": "sha256:1" }] }),
    )
}

fn read(documents: Vec<Vec<u8>>, digest: &Digest) -> Result<Image> {
    let server = registry(documents);
    let ctx = context_on(&server, Path::new("/nowhere"), &[]);
    let client = ctx.registry(launchway_registry::Access::Pull).unwrap();
    Image::read(&client, &repository(&server), digest)
}

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

fn config(architecture: &str) -> Vec<u8> {
    bytes(&json!({
        "os": "linux", "architecture": architecture,
        "config": { "Labels": { "org.opencontainers.image.revision": REVISION } },
    }))
}

#[test]
fn an_index_leads_to_the_manifest_that_render_runs() {
    let config = config("amd64");
    let child = manifest(&config, 5);
    let index = bytes(&json!({ "schemaVersion": 2, "manifests": [
        { "digest": Digest::of(b"arm"), "platform": { "os": "linux", "architecture": "arm64" } },
        { "digest": Digest::of(&child), "platform": { "os": "linux", "architecture": "amd64" } },
    ] }));
    let (platform, top) = (Digest::of(&child), Digest::of(&index));
    let documents = vec![config, child, index];
    let found = read(documents.clone(), &top).unwrap();
    assert_eq!(found, Image { platform: Some(platform.to_string()), commit: Some(REVISION.to_owned()) });
    let release = Release { digest: top.to_string(), platform: found.platform, commit: None };
    assert!(release.is(platform.as_str()) && release.is(top.as_str()) && !release.is(REVISION));
    // By itself it is the same image.
    assert_eq!(read(documents, &platform).unwrap().platform, None);
}

#[test]
fn what_render_cannot_run_is_not_deployed() {
    let (good, arm) = (config("amd64"), config("arm64"));
    let foreign = bytes(&json!({ "schemaVersion": 2, "manifests": [
        { "digest": Digest::of(b"arm"), "platform": { "os": "linux", "architecture": "arm64" } },
    ] }));
    for (documents, said) in [
        (vec![foreign], "it has no manifest for linux/amd64"),
        (vec![manifest(&arm, 5), arm], "it is for linux/arm64"),
        (vec![manifest(&good, 11 << 30), good], "Render pulls at most 10737418240"),
    ] {
        let digest = Digest::of(&documents[0]);
        let error = read(documents, &digest).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::DeployFailed);
        assert!(error.to_string().contains(said), "{error:#}");
    }
}

#[test]
fn what_is_not_there_or_not_itself_is_the_registrys_fault() {
    let absent = Digest::of(b"absent");
    let error = read(Vec::new(), &absent).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("the registry has no"), "{error:#}");
    let server = scripted(|_, _| Some(Reply::new(200).body("{}")));
    let ctx = context_on(&server, Path::new("/nowhere"), &[]);
    let client = ctx.registry(launchway_registry::Access::Pull).unwrap();
    let error = Image::read(&client, &repository(&server), &absent).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("instead of"), "{error:#}");
}
