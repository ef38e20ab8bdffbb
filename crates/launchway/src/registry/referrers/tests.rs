use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::context::Context;
use crate::registry::Access;
use crate::registry::testing::{Reply, Server};
use launchway_core::environment::Environment;
use launchway_fakes::registry::{Auth, RegistryStandIn};

const IMAGE: &[u8] = b"an image";

fn image() -> Descriptor {
    Descriptor::of(MANIFEST, IMAGE)
}

fn artifacts() -> [Artifact; 2] {
    [("application/a", "a.json"), ("application/b", "b.json")]
        .map(|(kind, name)| Artifact::new(kind, name, name.as_bytes().to_vec(), &image()).unwrap())
}

/// What became of the documents, which must not be an error.
fn attach(ctx: &Context, artifacts: &[Artifact]) -> Attached {
    let repository: Repository = ctx.image().parse().unwrap();
    let client = Client::new(ctx, Access::Push).unwrap().hurried();
    client.attach(&repository, &image().digest, artifacts, &ctx.output().join("attest")).unwrap()
}

/// What became of the blobs, where all documents are attached.
fn attached(ctx: &Context, artifacts: &[Artifact]) -> Vec<Outcome> {
    let done = attach(ctx, artifacts);
    assert!(done.refused.is_empty(), "{done:?}");
    assert_eq!(done.present.len() + done.new.len(), artifacts.len(), "{done:?}");
    done.blobs.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Why none of the documents is attached, which must be the same for both.
fn refused(ctx: &Context) -> String {
    let done = attach(ctx, &artifacts());
    assert!(done.present.is_empty() && done.new.is_empty(), "{done:?}");
    let reasons: BTreeSet<String> =
        done.refused.values().map(|reason| reason.replace("b.json", "a.json")).collect();
    assert_eq!((done.refused.len(), reasons.len()), (2, 1), "{reasons:?}");
    reasons.into_iter().next().unwrap()
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
    let ctx = Context::for_test(dir.path(), environment);
    assert_eq!(attached(&ctx, &artifacts()), [Outcome::Uploaded; 3]);
    let repository: Repository = ctx.image().parse().unwrap();
    let client = Client::new(&ctx, Access::Pull).unwrap();
    let listed = client.listed_by_registry(&repository, &image().digest).unwrap();
    assert_eq!(listed, Some(artifacts().map(|artifact| artifact.manifest.digest).into()));
    assert_eq!(registry.digest_of("acme/app", tag(&image().digest).unwrap().to_string().as_str()), None);

    let before = registry.transcript().len();
    assert_eq!(attached(&ctx, &artifacts()), [Outcome::Present; 3]);
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
    assert_eq!(attached(&ctx, std::slice::from_ref(&first)), [Outcome::Uploaded; 2]);
    let both = [first, second];
    assert_eq!(
        attached(&ctx, &both),
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
    assert_eq!(attached(&ctx, &both), [Outcome::Present; 3]);
    assert_eq!(server.count("PUT", ""), puts, "nothing is sent again");
    // The documents lie there for people.
    assert_eq!(fs_err::read(dir.path().join("target/xtask/attest/a.json")).unwrap(), b"a.json");
}

/// The answer of a registry with a referrers API.
fn list(body: &impl ToString) -> Reply {
    Reply::new(200).header("Content-Type", INDEX).body(body.to_string())
}

#[test]
fn a_registry_without_a_list_of_its_own_gets_a_tag() {
    let page = "<html><title>Sign in</title></html>";
    let html = move || Reply::new(200).header("Content-Type", "text/html; charset=utf-8").body(page);
    for reply in [
        Reply::new(400),
        Reply::new(404).body(r#"{"errors":[{"code":"NOT_FOUND","message":"no such page"}]}"#),
        Reply::new(405),
        Reply::new(406),
        Reply::new(501),
        html(),
        Reply::new(200).header("Content-Type", "application/json").body(r#"{"manifests":[]}"#),
        list(&"{}"),
        list(&"[]"),
        list(&page),
        list(&r#"{"schemaVersion":2,"manifests":"none"}"#),
        Reply::new(303).header("Location", "/login?then=/v2/"),
        Reply::new(302).header("Location", "/v2/acme/app/referrers/loop"),
    ] {
        let dir = TempDir::new().unwrap();
        let shown = format!("{reply:?}");
        let server = Server::twisted(move |request, _| {
            if request.is("GET", "/login") {
                return Some(html());
            }
            request.is("GET", "referrers/").then(|| reply.clone())
        });
        let ctx = server.context(dir.path(), &[]);
        attached(&ctx, &artifacts());
        assert_eq!(index(&server)["manifests"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(attach(&ctx, &artifacts()).present.len(), 2, "{shown}");
    }
}

#[test]
fn a_list_that_cannot_be_read_stops_the_documents_and_nothing_else() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#;
    let huge = " ".repeat(usize::try_from(launchway_core::http::Http::LONGEST_TEXT).unwrap() + 1);
    for (reply, words) in [
        (Reply::new(403).body(denied), "(DENIED: not for you)"),
        (Reply::new(503), "answered 503 Service Unavailable"),
        (list(&huge), "sent more than 8388608 bytes"),
    ] {
        let dir = TempDir::new().unwrap();
        let server =
            Server::twisted(move |request, _| request.is("GET", "referrers/").then(|| reply.clone()));
        let reason = refused(&server.context(dir.path(), &[]));
        assert!(reason.contains(words), "{reason}");
        assert_eq!(server.count("PUT", "") + server.count("POST", ""), 0, "{reason}");
    }
}

#[test]
fn attached_is_what_the_list_of_the_registry_has() {
    let entry = |artifact: &Artifact| artifact.descriptor().unwrap();
    let [first, second] = artifacts();
    let nothing = json!({ "schemaVersion": 2, "manifests": null });
    let one = json!({ "schemaVersion": 2, "manifests": [entry(&first)] });
    let other = json!({ "schemaVersion": 2, "manifests": [entry(&second)] });
    let dir = TempDir::new().unwrap();
    let forgetful = Server::twisted(move |request, _| {
        // It says of itself that it will list what it takes.
        let (subject, digest) = (image().digest.to_string(), request.target.rsplit('/').next().unwrap());
        if request.is("PUT", "manifests/sha256:") {
            return Some(Reply::new(201).header("OCI-Subject", subject));
        }
        if request.is("HEAD", "manifests/sha256:") {
            return Some(Reply::new(200).header("Docker-Content-Digest", digest));
        }
        request.is("GET", "referrers/").then(|| list(&nothing))
    });
    let reason = refused(&forgetful.context(dir.path(), &[]));
    assert!(reason.contains("took a.json and does not list it; tried 5 times"), "{reason}");
    assert_eq!(forgetful.count("PUT", "manifests/sha256-"), 0, "clients would not look there");

    // It lists them in a while.
    let slow = Server::twisted({
        let both = json!({ "schemaVersion": 2, "manifests": [entry(&first), entry(&second)] });
        move |request, before| {
            let none = json!({ "schemaVersion": 2, "manifests": [] });
            request.is("GET", "referrers/").then(|| list(if before < 3 { &none } else { &both }))
        }
    });
    let done = attach(&slow.context(dir.path(), &[]), &artifacts());
    assert_eq!((done.new.len(), done.refused.len()), (2, 0), "{done:?}");

    // On two pages.
    let paged = Server::twisted(move |request, _| {
        let next = "</v2/acme/app/referrers/next?n=1>; rel=\"next\"";
        if request.is("GET", "referrers/next") {
            return Some(list(&other));
        }
        request.is("GET", "referrers/").then(|| list(&one).header("Link", next))
    });
    assert_eq!(attach(&paged.context(dir.path(), &[]), &artifacts()).present.len(), 2);
}

#[test]
fn no_refusal_of_a_document_is_an_error() {
    let invalid = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"unknown field subject"}]}"#;
    for (part, reply, words) in [
        ("manifests/sha256:", Reply::new(400).body(invalid), "(MANIFEST_INVALID: unknown field subject)"),
        (
            "manifests/sha256:",
            Reply::new(415),
            "answered 415 Unsupported Media Type when asked to attach a.json",
        ),
        ("manifests/sha256:", Reply::new(401), "wants a login to attach a.json"),
        ("manifests/sha256:", Reply::new(500), "answered 500 Internal Server Error; tried 5 times"),
        ("manifests/sha256-", Reply::new(415), "answered 415 Unsupported Media Type when asked to tag"),
        ("manifests/sha256-", Reply::new(403), "wants a login to tag"),
        ("blobs/uploads/", Reply::new(413), "answered 413 Payload Too Large"),
    ] {
        let dir = TempDir::new().unwrap();
        let server = Server::twisted(move |request, _| request.is("PUT", part).then(|| reply.clone()));
        let reason = refused(&server.context(dir.path(), &[]));
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn one_document_may_be_refused_and_the_other_attached() {
    let dir = TempDir::new().unwrap();
    let server = Server::twisted(|request, _| {
        let refused = request.is("PUT", artifacts()[0].manifest.digest.as_str());
        refused.then(|| Reply::new(400))
    });
    let done = attach(&server.context(dir.path(), &[]), &artifacts());
    assert_eq!((done.new, done.refused.keys().copied().collect::<Vec<_>>()), ([1].into(), vec![0]));
}

#[test]
fn a_broken_off_attachment_is_completed() {
    let dir = TempDir::new().unwrap();
    // The tag cannot be written the first time, although the manifests are there by then.
    let server = Server::twisted(|request, before| {
        (request.is("PUT", "manifests/sha256-") && before == 0).then(|| Reply::new(403))
    });
    let ctx = server.context(dir.path(), &[]);
    refused(&ctx);
    attached(&ctx, &artifacts());
    assert_eq!(index(&server)["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn an_interrupt_stays_one() {
    let dir = TempDir::new().unwrap();
    let server = Server::plain();
    let ctx = server.context(dir.path(), &[]);
    ctx.interrupt.set();
    let (repository, client) = (server.repository(), Client::new(&ctx, Access::Push).unwrap());
    let error = client.attach(&repository, &image().digest, &artifacts(), dir.path()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
}

#[test]
fn what_a_registry_gets_wrong_is_named() {
    let dir = TempDir::new().unwrap();
    let server = Server::plain();
    server.set_tag(&tag(&image().digest).unwrap().to_string(), b"{}");
    let reason = refused(&server.context(dir.path(), &[]));
    assert!(reason.contains("should list what refers to the image and is not an index"), "{reason}");
    assert_eq!(server.count("PUT", "manifests/sha256-"), 0, "what is not ours is not replaced");

    let server =
        Server::twisted(|request, _| request.is("HEAD", "manifests/sha256:").then(|| Reply::new(404)));
    let reason = refused(&server.context(dir.path(), &[]));
    assert!(reason.contains("took a.json and does not have it"), "{reason}");
}
