use std::path::Path;

use super::*;
use crate::Access;
use crate::testing::{anonymous, plain, quick, repository, scripted, session};
use launchway_core::events::Event;
use launchway_core::exit::Exit;
use launchway_fakes::Reply;
use launchway_fakes::registry::{Fault, Scripted, UploadLocation};

/// Blobs of these contents, in files of a folder.
fn blobs(folder: &Path, contents: &[&[u8]]) -> Vec<Blob> {
    let file = |bytes: &&[u8]| {
        let digest = Digest::of(bytes);
        let path = folder.join(digest.hex());
        fs_err::write(&path, bytes).unwrap();
        Blob { digest, size: bytes.len() as u64, path, source: None }
    };
    contents.iter().map(file).collect()
}

fn upload(server: &Scripted, blobs: &[Blob]) -> (Result<Vec<Outcome>>, Vec<Event>) {
    let client = quick(session(anonymous()), Access::Push);
    (client.upload(&repository(server), blobs), client.session.reporter.events())
}

#[test]
fn what_is_there_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = plain();
    let blobs = blobs(dir.path(), &[b"layer", b"config"]);
    let (outcomes, events) = upload(&server, &blobs[..1]);
    assert_eq!(outcomes.unwrap(), [Outcome::Uploaded]);
    let lines = events.iter().filter(|event| matches!(event, Event::Note { .. })).count();
    assert_eq!(lines, 0, "the caller sums them up: {events:?}");
    let put = server.requests().into_iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(put.body, b"layer");
    assert_eq!(put.header("content-type"), "application/octet-stream");
    assert_eq!((put.header("content-length"), put.header("transfer-encoding")), ("5", ""));
    assert!(put.target.contains("?_state=0&digest=sha256%3A"), "{}", put.target);

    assert_eq!(upload(&server, &blobs).0.unwrap(), [Outcome::Present, Outcome::Uploaded]);
    assert_eq!(server.count("PUT", "uploads"), 2);
    assert!(upload(&server, &[]).0.unwrap().is_empty());
}

#[test]
fn many_blobs_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = plain();
    let contents: Vec<Vec<u8>> = (0..9_u8).map(|number| vec![number; 100_000]).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let blobs = blobs(dir.path(), &contents);
    upload(&server, &blobs[3..5]).0.unwrap();
    let outcomes = upload(&server, &blobs).0.unwrap();
    let present: Vec<usize> = (0..9).filter(|&place| outcomes[place] == Outcome::Present).collect();
    assert_eq!(present, [3, 4]);
}

#[test]
fn after_a_failure_the_whole_body_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = scripted({
        let failed = AtomicBool::new(false);
        move |request, _| {
            let fails = request.is("PUT", "uploads/") && !failed.swap(true, Ordering::Relaxed);
            fails.then(|| Reply::new(500))
        }
    });
    let blobs = blobs(dir.path(), &[b"layer"]);
    let (outcomes, events) = upload(&server, &blobs);
    assert_eq!(outcomes.unwrap(), [Outcome::Uploaded]);
    let bodies: Vec<Vec<u8>> = server
        .requests()
        .into_iter()
        .filter(|request| request.method == "PUT")
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies, [b"layer", b"layer"]);
    assert_eq!(server.count("POST", "uploads"), 2);
    assert!(
        format!("{events:?}").contains("responded with 500 Internal Server Error; trying again in"),
        "{events:?}"
    );
}

#[test]
fn a_location_may_be_absolute() {
    let dir = tempfile::tempdir().unwrap();
    let server = plain();
    server.registry().fault(Fault::Location(UploadLocation::Absolute));
    upload(&server, &blobs(dir.path(), &[b"layer"])).0.unwrap();
    let put = server.requests().into_iter().find(|request| request.method == "PUT").unwrap();
    assert!(put.target.starts_with("/v2/acme/app/blobs/uploads/"), "{}", put.target);
}

#[test]
fn a_location_elsewhere_on_this_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = plain();
    let place = format!("http://{}/take", other.host());
    let server = scripted(move |request, _| {
        (request.method == "POST").then(|| Reply::new(202).header("Location", place.clone()))
    });
    let error = upload(&server, &blobs(dir.path(), &[b"layer"])).0.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(other.lines().is_empty());
    let nowhere = scripted(|request, _| (request.method == "POST").then(|| Reply::new(202)));
    let error = upload(&nowhere, &blobs(dir.path(), &[b"layer"])).0.unwrap_err();
    assert!(error.to_string().contains("sent no `Location`"), "{error}");
}

#[test]
fn one_refusal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = scripted(|request, _| {
        let denied =
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        (request.method == "POST").then(|| Reply::new(403).body(denied))
    });
    let contents: Vec<[u8; 1]> = (0..50).map(|number| [number]).collect();
    let contents: Vec<&[u8]> = contents.iter().map(<[u8; 1]>::as_slice).collect();
    let error = upload(&server, &blobs(dir.path(), &contents)).0.unwrap_err();
    assert!(error.to_string().contains("(DENIED: requested access to the resource is denied)"), "{error}");
    assert!(server.count("POST", "uploads") <= AT_ONCE, "{:?}", server.lines());
}

#[test]
fn a_repository_that_is_unknown_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = scripted(|request, _| (request.method == "POST").then(|| Reply::new(404)));
    let error = upload(&server, &blobs(dir.path(), &[b"layer"])).0.unwrap_err().to_string();
    assert!(error.contains("does not know the repository `acme/app`: create it there"), "{error}");
}

#[test]
fn a_file_that_changed_is_not_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let server = plain();
    let blobs = blobs(dir.path(), &[b"layer"]);
    fs_err::write(&blobs[0].path, b"other").unwrap();
    let error = upload(&server, &blobs).0.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    fs_err::remove_file(&blobs[0].path).unwrap();
    let error = upload(&server, &blobs).0.unwrap_err();
    assert!(error.to_string().contains(blobs[0].digest.hex()), "{error}");
}

#[test]
fn an_interrupt_breaks_off_an_upload() {
    let dir = tempfile::tempdir().unwrap();
    let server = plain();
    let session = session(anonymous());
    let interrupt = session.interrupt.clone();
    let blobs = blobs(dir.path(), &[b"layer"]);
    let client = Client::new(session.clone(), Access::Push);
    let mut body = Counted {
        file: fs_err::File::open(&blobs[0].path).unwrap(),
        sent: 0,
        digest: blobs[0].digest.clone(),
        progress: Arc::new(Progress::of(&blobs, &session.reporter)),
        interrupt: interrupt.clone(),
    };
    assert_eq!(body.read(&mut [0; 3]).unwrap(), 3);
    interrupt.set();
    body.read(&mut [0; 3]).unwrap_err();
    assert_eq!(Exit::of(&client.upload(&repository(&server), &blobs).unwrap_err()), Exit::Interrupted);
    assert!(server.lines().is_empty());
}

#[test]
fn progress_counts_a_blob_once_and_shows_a_rate() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(anonymous());
    let blobs = blobs(dir.path(), &[b"layer", b"config"]);
    let progress = Progress::of(&blobs, &session.reporter);
    progress.present(&blobs[1]);
    for bytes in [3, 5, 2] {
        std::thread::sleep(Progress::TICK);
        progress.now_at(&blobs[0].digest, bytes);
    }
    progress.now_at(&blobs[0].digest, 4);
    let lines: Vec<String> = session
        .reporter
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Progress(progress) => progress.text,
            other => panic!("{other:?}"),
        })
        .collect();
    let (sent, rates): (Vec<&str>, Vec<&str>) =
        lines.iter().map(|text| text.split_once(", ").unwrap()).unzip();
    assert_eq!(sent, ["9 B of 11 B", "11 B of 11 B", "8 B of 11 B"]);
    // 3 B after at least 100 ms.
    assert!((1..=30).any(|rate| rates[0] == format!("{rate} B/s")), "{rates:?}");
}

#[test]
fn a_large_blob_has_more_time() {
    assert_eq!(time_to_send(200_000_000), Duration::from_secs(2000));
}
