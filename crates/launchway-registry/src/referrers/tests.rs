use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::Access;
use crate::testing::{anonymous, plain, quick, repository, scripted, session};
use launchway_fakes::Reply;
use launchway_fakes::registry::{Auth, Scripted};

const IMAGE: &[u8] = b"an image";

fn image() -> Descriptor {
    Descriptor::of(MANIFEST, IMAGE)
}

fn artifacts() -> [Artifact; 2] {
    [("application/a", "a.json"), ("application/b", "b.json")]
        .map(|(kind, name)| Artifact::new(kind, name, name.as_bytes().to_vec(), &image()).unwrap())
}

/// A registry, and the folder that the attested documents are left in.
struct Rig {
    server: Scripted,
    folder: TempDir,
}

impl Rig {
    fn new(server: Scripted) -> Self {
        Self { server, folder: TempDir::new().unwrap() }
    }

    /// What became of the attestations, which must not be an error.
    fn attach(&self, artifacts: &[Artifact]) -> Attached {
        let client = quick(session(anonymous()), Access::Push);
        client.attach(&repository(&self.server), &image().digest, artifacts, self.folder.path()).unwrap()
    }

    /// What became of the blobs, where everything is attached.
    fn attached(&self, artifacts: &[Artifact]) -> Vec<Outcome> {
        let done = self.attach(artifacts);
        assert_eq!(done.artifacts.len(), artifacts.len(), "{done:?}");
        assert!(!done.artifacts.iter().any(|state| matches!(state, Attachment::Refused(_))), "{done:?}");
        done.blobs.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Why nothing is attached, which must be the same for both attestations.
    fn refused(&self) -> String {
        let states = self.attach(&artifacts()).artifacts;
        let [Attachment::Refused(one), Attachment::Refused(other)] = states.as_slice() else {
            panic!("{states:?}")
        };
        assert_eq!(*one, other.replace("b.json", "a.json"));
        one.clone()
    }
}

/// The index under the fallback tag.
fn index(server: &Scripted) -> Value {
    let seen = server.requests();
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
    let rig = Rig::new(Scripted::with_login(Auth::Anonymous).unwrap());
    assert_eq!(rig.attached(&artifacts()), [Outcome::Uploaded; 3]);
    let client = quick(session(anonymous()), Access::Pull);
    let listed = client.listed_by_registry(&repository(&rig.server), &image().digest).unwrap();
    assert_eq!(listed, Some(artifacts().map(|artifact| artifact.manifest.digest).into()));
    assert_eq!(rig.server.tag(Tag::of_referrers(&image().digest).to_string().as_str()), None);

    let before = rig.server.requests().len();
    assert_eq!(rig.attached(&artifacts()), [Outcome::Present; 3]);
    let sent: Vec<String> =
        rig.server.requests()[before..].iter().map(|request| request.method.clone()).collect();
    assert_eq!(sent, ["GET"], "nothing is sent again");
}

#[test]
fn another_registry_gets_a_tag_that_lists_them() {
    let server = plain();
    // Of another tool, with what we know nothing of.
    let other = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"other"), "size": 5, "platform": {} });
    let before =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other], "annotations": { "a": "b" } });
    server.registry().keep(Scripted::REPOSITORY, &[], b"other", &[]).unwrap();
    let name = Tag::of_referrers(&image().digest).to_string();
    server.set_tag(&name, before.to_string().as_bytes()).unwrap();
    let rig = Rig::new(server);
    let [first, second] = artifacts();
    assert_eq!(rig.attached(std::slice::from_ref(&first)), [Outcome::Uploaded; 2]);
    let both = [first, second];
    assert_eq!(
        rig.attached(&both),
        [Outcome::Present, Outcome::Present, Outcome::Uploaded],
        "only what was not there"
    );
    let index = index(&rig.server);
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
    let puts = rig.server.count("PUT", "");
    assert_eq!(rig.attached(&both), [Outcome::Present; 3]);
    assert_eq!(rig.server.count("PUT", ""), puts, "nothing is sent again");
    // The documents lie there for people.
    assert_eq!(fs_err::read(rig.folder.path().join("a.json")).unwrap(), b"a.json");
}

/// A response of a registry with a referrers API.
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
        Reply::new(307).header("Location", "http://referrers.test/list"),
    ] {
        let shown = format!("{reply:?}");
        let server = scripted(move |request, _| {
            if request.is("GET", "/login") {
                return Some(html());
            }
            request.is("GET", "referrers/").then(|| reply.clone())
        });
        let rig = Rig::new(server);
        rig.attached(&artifacts());
        assert_eq!(index(&rig.server)["manifests"].as_array().unwrap().len(), 2, "{shown}");
        assert_eq!(rig.attach(&artifacts()).artifacts, [Attachment::Present, Attachment::Present], "{shown}");
    }
}

#[test]
fn a_list_that_cannot_be_read_stops_the_attestations_and_nothing_else() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#;
    let huge = " ".repeat(usize::try_from(launchway_core::http::Http::LONGEST_TEXT).unwrap() + 1);
    for (reply, words) in [
        (Reply::new(403).body(denied), "(DENIED: not for you)"),
        (Reply::new(503), "responded with 503 Service Unavailable"),
        (list(&huge), "sent more than 8388608 bytes"),
    ] {
        let server = scripted(move |request, _| request.is("GET", "referrers/").then(|| reply.clone()));
        let rig = Rig::new(server);
        let reason = rig.refused();
        assert!(reason.contains(words), "{reason}");
        assert_eq!(rig.server.count("PUT", "") + rig.server.count("POST", ""), 0, "{reason}");
    }
}

#[test]
fn attached_is_what_the_list_of_the_registry_has() {
    let entry = |artifact: &Artifact| artifact.descriptor().unwrap();
    let [first, second] = artifacts();
    let nothing = json!({ "schemaVersion": 2, "manifests": null });
    let one = json!({ "schemaVersion": 2, "manifests": [entry(&first)] });
    let other = json!({ "schemaVersion": 2, "manifests": [entry(&second)] });
    let forgetful = scripted(move |request, _| {
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
    let rig = Rig::new(forgetful);
    let reason = rig.refused();
    assert!(reason.contains("accepted a.json but does not list it; tried 5 times"), "{reason}");
    assert_eq!(rig.server.count("PUT", "manifests/sha256-"), 0, "clients would not look there");

    // It lists them in a while.
    let slow = scripted({
        let both = json!({ "schemaVersion": 2, "manifests": [entry(&first), entry(&second)] });
        move |request, before| {
            let none = json!({ "schemaVersion": 2, "manifests": [] });
            request.is("GET", "referrers/").then(|| list(if before < 3 { &none } else { &both }))
        }
    });
    let done = Rig::new(slow).attach(&artifacts());
    assert_eq!(done.artifacts, [Attachment::New, Attachment::New], "{done:?}");

    // On two pages.
    let paged = scripted(move |request, _| {
        let next = "</v2/acme/app/referrers/next?n=1>; rel=\"next\"";
        if request.is("GET", "referrers/next") {
            return Some(list(&other));
        }
        request.is("GET", "referrers/").then(|| list(&one).header("Link", next))
    });
    assert_eq!(Rig::new(paged).attach(&artifacts()).artifacts, [Attachment::Present, Attachment::Present]);
}

#[test]
fn no_refusal_of_an_attestation_is_an_error() {
    let invalid = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"unknown field subject"}]}"#;
    for (part, reply, words) in [
        ("manifests/sha256:", Reply::new(400).body(invalid), "(MANIFEST_INVALID: unknown field subject)"),
        ("manifests/sha256:", Reply::new(415), "refused to attach a.json: 415 Unsupported Media Type"),
        ("manifests/sha256:", Reply::new(401), "requires a login to attach a.json"),
        ("manifests/sha256:", Reply::new(500), "responded with 500 Internal Server Error; tried 5 times"),
        ("manifests/sha256-", Reply::new(415), "refused to tag sha256:"),
        ("manifests/sha256-", Reply::new(403), "requires a login to tag"),
        ("blobs/uploads/", Reply::new(413), "413 Payload Too Large"),
    ] {
        let server = scripted(move |request, _| request.is("PUT", part).then(|| reply.clone()));
        let rig = Rig::new(server);
        let reason = rig.refused();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn one_attestation_may_be_refused_and_the_other_attached() {
    let server = scripted(|request, _| {
        let refused = request.is("PUT", artifacts()[0].manifest.digest.as_str());
        refused.then(|| Reply::new(400))
    });
    let done = Rig::new(server).attach(&artifacts());
    assert!(matches!(&done.artifacts[..], [Attachment::Refused(_), Attachment::New]), "{done:?}");
}

#[test]
fn a_broken_off_attachment_is_completed() {
    // The tag cannot be written the first time, although the manifests are there by then.
    let server = scripted(|request, before| {
        (request.is("PUT", "manifests/sha256-") && before == 0).then(|| Reply::new(403))
    });
    let rig = Rig::new(server);
    rig.refused();
    rig.attached(&artifacts());
    assert_eq!(index(&rig.server)["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn an_interrupt_stays_one() {
    let server = plain();
    let client = quick(session(anonymous()), Access::Push);
    client.session.interrupt.set();
    let (repository, dir) = (repository(&server), TempDir::new().unwrap());
    let error = client.attach(&repository, &image().digest, &artifacts(), dir.path()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
}

#[test]
fn what_a_registry_gets_wrong_is_named() {
    let server = plain();
    server.set_tag(&Tag::of_referrers(&image().digest).to_string(), b"{}").unwrap();
    let rig = Rig::new(server);
    let reason = rig.refused();
    assert!(reason.contains("should list the image's referrers but is not an index"), "{reason}");
    assert_eq!(rig.server.count("PUT", "manifests/sha256-"), 0, "what is not ours is not replaced");

    let server = scripted(|request, _| request.is("HEAD", "manifests/sha256:").then(|| Reply::new(404)));
    let rig = Rig::new(server);
    let reason = rig.refused();
    assert!(reason.contains("accepted a.json but does not have it"), "{reason}");
}
