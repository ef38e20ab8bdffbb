use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::environment::Environment;
use crate::registry::Access;
use crate::registry::testing::{Reply, Server};
use launchway_fakes::registry::{Auth, RegistryStandIn};

const IMAGE: &[u8] = b"an image";

fn image() -> Descriptor {
    Descriptor::of(MANIFEST, IMAGE)
}

fn artifacts() -> [Artifact; 2] {
    [("application/a", "a.json"), ("application/b", "b.json")]
        .map(|(kind, name)| Artifact::new(kind, name, name.as_bytes().to_vec(), &image()).unwrap())
}

fn attach(ctx: &crate::context::Context, artifacts: &[Artifact]) -> Result<Vec<Outcome>> {
    let repository: Repository = ctx.image().parse()?;
    let client = Client::new(ctx, Access::Push)?.hurried();
    let folder = ctx.output().join("attest");
    let done = client.attach(&repository, &image().digest, artifacts, &folder)?;
    Ok(done.blobs.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The index under the fallback tag.
fn index(server: &Server) -> Value {
    let seen = server.seen();
    let put = seen.iter().rfind(|request| request.is("PUT", "manifests/sha256-")).unwrap();
    assert_eq!(put.header("content-type"), INDEX);
    serde_json::from_slice(&put.body).unwrap()
}

#[test]
fn the_manifest_names_its_subject_and_has_no_configuration() {
    let [artifact, _] = artifacts();
    let manifest: Value = serde_json::from_slice(&artifact.manifest.bytes).unwrap();
    assert_eq!(
        manifest,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/a",
            // The digest is the one that the specification prints.
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
            },
            "layers": [{
                "mediaType": "application/a",
                "digest": Digest::of(b"a.json"),
                "size": 6,
                "annotations": { "org.opencontainers.image.title": "a.json" },
            }],
            "subject": image(),
        })
    );
    assert_eq!(artifacts()[0], artifact, "the same bytes each time");
}

#[test]
fn a_registry_that_knows_referrers_lists_them_itself() {
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blobs = dir.path().join("registry");
    let registry = runtime.block_on(RegistryStandIn::start(&blobs, Auth::Anonymous)).unwrap();
    let environment = Environment::of([
        ("PIPELINE_IMAGE", format!("{}/acme/app", registry.address())),
        ("DOCKER_CONFIG", "/nonexistent".to_owned()),
    ]);
    let ctx = crate::context::Context::for_test(dir.path(), environment);
    assert_eq!(attach(&ctx, &artifacts()).unwrap(), [Outcome::Uploaded; 3]);
    let repository: Repository = ctx.image().parse().unwrap();
    let listed = Client::new(&ctx, Access::Pull).unwrap().referrers(&repository, &image().digest).unwrap();
    assert_eq!(listed, artifacts().map(|artifact| artifact.manifest.digest).into());
    assert_eq!(registry.digest_of("acme/app", tag(&image().digest).unwrap().to_string().as_str()), None);

    let before = registry.transcript().len();
    assert_eq!(attach(&ctx, &artifacts()).unwrap(), [Outcome::Present; 3]);
    let asked: Vec<String> =
        registry.transcript()[before..].iter().map(|exchange| exchange.method.clone()).collect();
    assert_eq!(asked, ["GET"], "nothing is sent again");
}

#[test]
fn another_registry_gets_a_tag_that_lists_them() {
    let dir = TempDir::new().unwrap();
    let server = Server::plain();
    // Of another tool, with what we know nothing of.
    let other = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"other"), "size": 5, "platform": {} });
    let before =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other], "annotations": { "a": "b" } });
    let name = tag(&image().digest).unwrap().to_string();
    server.set_tag(&name, before.to_string().as_bytes());
    let ctx = server.context(dir.path(), &[]);
    let [first, second] = artifacts();
    assert_eq!(attach(&ctx, std::slice::from_ref(&first)).unwrap(), [Outcome::Uploaded; 2]);
    let both = [first, second];
    assert_eq!(
        attach(&ctx, &both).unwrap(),
        [Outcome::Present, Outcome::Present, Outcome::Uploaded],
        "only what was not there"
    );
    let index = index(&server);
    assert_eq!(index["annotations"], json!({ "a": "b" }));
    let entry = |artifact: &Artifact| {
        json!({
            "mediaType": MANIFEST,
            "digest": artifact.manifest.digest,
            "size": artifact.manifest.bytes.len(),
            "artifactType": artifact.kind,
        })
    };
    assert_eq!(index["manifests"], json!([other, entry(&both[0]), entry(&both[1])]));
    let puts = server.count("PUT", "");
    assert_eq!(attach(&ctx, &both).unwrap(), [Outcome::Present; 3]);
    assert_eq!(server.count("PUT", ""), puts, "nothing is sent again");
    // The documents lie there for people.
    assert_eq!(fs_err::read(dir.path().join("target/xtask/attest/a.json")).unwrap(), b"a.json");
}

#[test]
fn a_registry_that_does_not_know_the_request_for_a_list_gets_a_tag() {
    let dir = TempDir::new().unwrap();
    let server = Server::twisted(|request, _| request.is("GET", "referrers/").then(|| Reply::new(405)));
    attach(&server.context(dir.path(), &[]), &artifacts()).unwrap();
    assert_eq!(index(&server)["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_registry_that_takes_no_index_is_no_error() {
    let dir = TempDir::new().unwrap();
    let server =
        Server::twisted(|request, _| request.is("PUT", "manifests/sha256-").then(|| Reply::new(415)));
    let ctx = server.context(dir.path(), &[]);
    let repository: Repository = ctx.image().parse().unwrap();
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    let done = client.attach(&repository, &image().digest, &artifacts(), dir.path()).unwrap();
    assert!(done.new.is_empty());
    assert_eq!(done.refused.keys().collect::<Vec<_>>(), [&0, &1], "{done:?}");
    assert!(done.refused[&0].contains("answered 415 Unsupported Media Type when asked to tag"), "{done:?}");
}

#[test]
fn a_broken_off_attachment_is_completed() {
    let dir = TempDir::new().unwrap();
    // The tag cannot be written the first time, although the manifests are there by then.
    let server = Server::twisted(|request, before| {
        (request.is("PUT", "manifests/sha256-") && before == 0).then(|| Reply::new(403))
    });
    let ctx = server.context(dir.path(), &[]);
    assert_ne!(Exit::of(&attach(&ctx, &artifacts()).unwrap_err()), Exit::Done);
    attach(&ctx, &artifacts()).unwrap();
    assert_eq!(index(&server)["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn what_a_registry_gets_wrong_is_named() {
    let dir = TempDir::new().unwrap();
    let error = |server: &Server| {
        let error = attach(&server.context(dir.path(), &[]), &artifacts()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        format!("{error:#}")
    };
    let server = Server::plain();
    server.set_tag(&tag(&image().digest).unwrap().to_string(), b"{}");
    assert!(error(&server).contains("should list what refers to the image and is not an index"));
    assert_eq!(server.count("PUT", "manifests/sha256-"), 0, "what is not ours is not replaced");

    let server =
        Server::twisted(|request, _| request.is("GET", "referrers/").then(|| Reply::new(200).body("<html>")));
    assert!(error(&server).contains("sent no index"));

    let server =
        Server::twisted(|request, _| request.is("HEAD", "manifests/sha256:").then(|| Reply::new(404)));
    assert!(error(&server).contains("took a.json and does not have it"));
}
