//! Pushes with faults: how each ends, what its error says, and what `latest` names after it.

use std::time::Duration;

use super::registries::{DockerRegistry, Login, PASSWORD, basic, bearer, context};
use super::wire::{Break, Wire};
use super::*;
use launchway_fakes::registry::{Fault, ReferrersResponse, Scripted, UploadLocation};

/// A registry where `latest` names the image of an earlier commit, and a workspace with the image of the next.
struct Rig {
    dir: tempfile::TempDir,
    /// Where the registry itself is.
    host: String,
    old: Digest,
    new: Digest,
}

/// Text that gzip cannot make small: a body that takes more than one packet.
fn noise() -> String {
    (0..2000).map(|number: u32| Digest::of(&number.to_be_bytes()).hex().to_owned()).collect()
}

impl Rig {
    fn new(host: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut before = context(host, dir.path(), PASSWORD);
        before.git.commit = "1".repeat(40);
        let old = write_layout(dir.path(), &[&before.git.commit, "latest"], "an older one");
        push(&before).unwrap();
        let new = write_layout(dir.path(), &[COMMIT, "latest"], &noise());
        Self { dir, host: host.to_owned(), old, new }
    }

    /// What stands in the request that uploads the new image's layer, and in no other.
    fn layer(&self) -> String {
        let blobs = fs_err::read_dir(self.dir.path().join("target/xtask/image/blobs/sha256")).unwrap();
        let blobs = blobs.map(|entry| entry.unwrap());
        let layer = blobs.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap();
        format!("digest=sha256%3A{}", layer.file_name().to_str().unwrap())
    }

    /// Pushes the next image through `host`, with short timeouts.
    fn push(&self, host: &str) -> (Result<PushRecord>, Vec<String>) {
        let ctx = context(host, self.dir.path(), PASSWORD);
        let client = ctx.registry(Access::Push).unwrap();
        let client = client.with_backoff(Duration::from_millis(1)).with_timeout(Duration::from_millis(200));
        (push_with(&ctx, client), notes(&ctx))
    }

    /// What a tag names, by asking the registry itself.
    fn named(&self, tag: &str) -> Option<Digest> {
        let ctx = context(&self.host, self.dir.path(), PASSWORD);
        let repository = format!("{}/acme/app", self.host).parse().unwrap();
        ctx.registry(Access::Pull)
            .unwrap()
            .digest(&repository, &Reference::Tag(tag.parse().unwrap()))
            .unwrap()
    }

    /// The push through `host` must succeed, and a note must name the error.
    fn gets_through(&self, host: &str, note: &str) {
        let (pushed, notes) = self.push(host);
        pushed.unwrap_or_else(|error| panic!("{note}: {error:#}"));
        assert!(notes.iter().any(|text| text.contains(note)), "`{note}` is not in {notes:?}");
        let new = Some(self.new.clone());
        assert_eq!((self.named(COMMIT), self.named("latest")), (new.clone(), new), "{note}");
    }

    /// The push through `host` must fail with all of these words and leave `latest`, and another push must succeed.
    fn fails(&self, host: &str, words: &[&str]) {
        let error = self.push(host).0.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry, "{error:#}");
        let error = error.to_string().replace(self.old.as_str(), "OLD");
        for words in words {
            assert!(error.contains(words), "`{words}` is not in: {error}");
        }
        println!("{error}");
        assert_eq!(self.named("latest").as_ref(), Some(&self.old), "{error}");
        let pushed = self.push(&self.host).0.unwrap();
        assert_eq!(pushed.previous_latest.as_ref(), Some(&self.old));
        assert_eq!(self.named("latest").as_ref(), Some(&self.new));
    }
}

/// The fake registry with these faults, once `latest` is there.
fn broken(faults: &[Fault]) -> (Scripted, Rig) {
    let fake = bearer(Duration::from_secs(60));
    let rig = Rig::new(&fake.host());
    for fault in faults {
        fake.registry().fault(*fault);
    }
    (fake, rig)
}

#[test]
fn a_transient_error_does_not_end_a_push() {
    // One for the challenge, the look, the tag that is put, and the proof of it.
    let mut unread = [Fault::NoContentDigest; 5];
    unread[4] = Fault::Truncated;
    for (faults, note) in [
        (&[Fault::Unauthorized][..], "moved `latest`"),
        (&[Fault::TokensExpire], "moved `latest`"),
        (
            &[Fault::TooManyRequests { put: 1, retry_after: 0 }],
            "429 Too Many Requests (TOOMANYREQUESTS: too many requests); trying again in 0.0 s",
        ),
        (
            &[Fault::TooManyRequestsUntil],
            "429 Too Many Requests (TOOMANYREQUESTS: too many requests); trying again in 0.0 s",
        ),
        (
            &[Fault::BlobPutFails],
            "500 Internal Server Error (UNKNOWN: the upload could not be stored); trying again",
        ),
        (
            &[Fault::TagFails(COMMIT), Fault::TagFails("latest")],
            "503 Service Unavailable (UNKNOWN: try again later); trying again",
        ),
        (&[Fault::BlobStalls], "in the way; trying again"),
        (&[Fault::TagStalls("latest")], "in the way; trying again"),
        (&unread[..4], "moved `latest`"),
        (&unread, "; trying again in"),
        (&[Fault::Location(UploadLocation::Absolute)], "moved `latest`"),
    ] {
        let (fake, rig) = broken(faults);
        rig.gets_through(&fake.host(), note);
        let read =
            fake.registry().transcript().iter().any(|e| e.method == "GET" && e.path.contains("/manifests/"));
        assert_eq!(read, faults.contains(&Fault::NoContentDigest), "{faults:?}");
    }
}

#[test]
fn a_permanent_error_ends_a_push_before_latest_moves() {
    let untagged = "; the commit's tag is not in the registry; `latest` still points to OLD";
    let tagged = "; the commit's tag is in the registry; `latest` still points to OLD";
    for (faults, words) in [
        (&[Fault::Location(UploadLocation::Missing)][..], ["sent no `Location`", untagged]),
        (
            &[Fault::Location(UploadLocation::Inside)],
            ["redirects to `169.254.169.254`, an address inside", untagged],
        ),
        // Both blobs, five times each.
        (&[Fault::BlobPutFails; 10], ["(UNKNOWN: the upload could not be stored); tried 5 times", untagged]),
        (
            &[Fault::BlobClaimed],
            ["(MANIFEST_BLOB_UNKNOWN: blob unknown to registry: {\"digest\":\"sha256:", untagged],
        ),
        (&[Fault::TagRefused(COMMIT)], ["does not let this account tag", untagged]),
        (&[Fault::TagRefused("latest")], ["as `latest` (DENIED: requested access is denied)", tagged]),
        (
            &[Fault::TagFails("latest"); 5],
            ["503 Service Unavailable (UNKNOWN: try again later); tried 5 times", tagged],
        ),
        // For the challenge, the look, the tag that is put, and the proof of it, five times.
        (&[Fault::WrongContentDigest; 8], ["says that it points to sha256:000000", tagged]),
    ] {
        let (fake, rig) = broken(faults);
        rig.fails(&fake.host(), &words);
    }
}

#[test]
fn a_registry_that_refuses_attestations_gets_the_image_and_the_skip_is_named() {
    let (fake, rig) = broken(&[Fault::ArtifactRefused]);
    add_sources(rig.dir.path());
    let ctx = context(&fake.host(), rig.dir.path(), PASSWORD);
    let pushed = push(&ctx).unwrap();
    let skipped = |ctx: &Context| {
        let events = ctx.reporter.events().into_iter();
        events
            .filter_map(|event| match event {
                Event::CheckSkipped { check, reason } => Some(format!("{check}: {reason}")),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let expected = format!(
        "sbom.cdx.json: not attached to the image: the registry at {} refused to attach sbom.cdx.json: \
         400 Bad Request (MANIFEST_INVALID: manifest invalid)",
        fake.host()
    );
    assert_eq!(skipped(&ctx), [expected]);
    let types: Vec<&str> = pushed.referrers.iter().map(|referrer| referrer.artifact_type.as_str()).collect();
    assert_eq!(types, [attestation::PROVENANCE], "what is not there is not listed");
    assert_eq!(rig.named("latest").as_ref(), Some(&rig.new));
    // The next push attaches what is missing.
    let ctx = context(&fake.host(), rig.dir.path(), PASSWORD);
    assert_eq!((push(&ctx).unwrap().referrers.len(), skipped(&ctx).len()), (2, 0));
}

#[test]
fn no_refusal_of_an_artifact_stops_a_release() {
    for (method, part, status, body) in [
        ("PUT", "manifests/sha256:", 403, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#),
        ("PUT", "manifests/sha256:", 400, r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"no"}]}"#),
        ("PUT", "manifests/sha256:", 500, ""),
        ("PUT", "manifests/sha256-", 415, ""),
        ("GET", "referrers/", 403, ""),
        ("GET", "referrers/", 502, "<html>"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        add_sources(dir.path());
        let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
        let server =
            scripted(move |request, _| request.is(method, part).then(|| Reply::new(status).body(body)));
        let ctx = context_on(&server, dir.path(), &[]);
        let client = ctx.registry(Access::Push).unwrap().with_backoff(Duration::from_millis(1));
        let pushed = push_with(&ctx, client).unwrap();
        assert_eq!((pushed.latest, pushed.referrers.len()), (true, 0), "{part} {status}");
        assert_eq!(tagged(&server, "latest"), Some(digest), "{part} {status}");
        let skipped = |event: &Event| matches!(event, Event::CheckSkipped { reason, .. } if reason.contains(&status.to_string()) || status == 403);
        assert_eq!(ctx.reporter.events().iter().filter(|event| skipped(event)).count(), 2, "{part} {status}");
    }
}

#[test]
fn a_registry_with_ways_of_its_own_gets_the_release() {
    for (fault, attached, words) in [
        (Fault::Referrers(ReferrersResponse::Login), 2, ""),
        (Fault::Referrers(ReferrersResponse::Page), 2, ""),
        (Fault::Referrers(ReferrersResponse::Status(406)), 2, ""),
        (
            Fault::Referrers(ReferrersResponse::Status(403)),
            0,
            "does not let this account list the image's referrers",
        ),
        (Fault::Referrers(ReferrersResponse::Nothing), 0, "but does not list it; tried 5 times"),
        (Fault::SubjectUnknown, 0, "(unknown field `subject`)"),
    ] {
        let (fake, rig) = broken(&[fault]);
        add_sources(rig.dir.path());
        let ctx = context(&fake.host(), rig.dir.path(), PASSWORD);
        let client = ctx.registry(Access::Push).unwrap().with_backoff(Duration::from_millis(1));
        let pushed = push_with(&ctx, client).unwrap();
        assert_eq!((pushed.latest, pushed.referrers.len()), (true, attached), "{fault:?}");
        assert_eq!(rig.named("latest").as_ref(), Some(&rig.new), "{fault:?}");
        let events = format!("{:?}", ctx.reporter.events());
        assert_eq!(events.matches("not attached to the image").count(), 2 - attached, "{fault:?}");
        assert!(events.contains(words), "{fault:?}: {events}");
    }
}

#[test]
fn a_host_that_is_no_registry_is_sent_nothing() {
    let (fake, rig) = broken(&[Fault::Page]);
    let error = rig.push(&fake.host()).0.unwrap_err().to_string();
    assert!(error.contains("is not a registry") && error.contains("(Sign in)"), "{error}");
    assert!(error.ends_with("; nothing in the registry has changed"), "{error}");
}

#[test]
fn a_look_that_fails_changes_nothing() {
    let untouched = "; nothing in the registry has changed";
    let (fake, rig) = broken(&[]);
    let mut other = context(&fake.host(), rig.dir.path(), PASSWORD);
    // The commit's tag is taken by the older image.
    other.git.commit = "1".repeat(40);
    write_layout(rig.dir.path(), &[&other.git.commit, "latest"], "another");
    let taken = push(&other).unwrap_err();
    let wrong = context(&fake.host(), rig.dir.path(), "a-wrong-password");
    write_layout(rig.dir.path(), &[COMMIT, "latest"], "another");
    let wrong = push(&wrong).unwrap_err();
    for (error, words) in [(taken, "a commit tag never moves"), (wrong, "rejected the user name or token")] {
        assert_eq!(Exit::of(&error), Exit::Registry);
        let error = error.to_string();
        assert!(error.contains(words) && error.ends_with(untouched), "{error}");
        println!("{error}");
    }
    assert_eq!((rig.named(COMMIT), rig.named("latest")), (None, Some(rig.old)));
}

#[test]
fn a_wire_that_breaks_is_no_end() {
    for (place, fault, note) in [
        ("layer", Break::Cut, "; trying again in"),
        ("layer", Break::EarlyResponse, "; trying again in"),
        ("layer", Break::Stall, "in the way; trying again in"),
        ("layer", Break::ResponseLost, "; trying again in"),
        ("PUT /v2/acme/app/manifests/latest", Break::ResponseLost, "; trying again in"),
    ] {
        let (fake, rig) = broken(&[]);
        let needle = if place == "layer" { rig.layer() } else { place.to_owned() };
        let wire = Wire::to(&fake.host(), &needle, fault);
        rig.gets_through(&wire.host, note);
    }
}

/// As after `kill -9`: some blobs have arrived, a part of another too, and nobody cleaned up.
fn is_taken_up(host: &str) {
    let rig = Rig::new(host);
    let wire = Wire::to(host, &rig.layer(), Break::Gone);
    let words = ["; tried 5 times", "; the registry does not respond, so its state is unknown"];
    rig.fails(&wire.host, &words);
}

#[test]
fn a_push_that_was_killed_is_taken_up_again() {
    is_taken_up(&basic().host());
    if let Some(registry) =
        DockerRegistry::start("a_push_that_was_killed_is_taken_up_again", &Login::Htpasswd)
    {
        is_taken_up(&registry.host);
    }
}
