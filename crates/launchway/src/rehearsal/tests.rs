//! A rehearsal from the inside, where its secrets are known: nothing that it prints or leaves holds one.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::testing::git;
use launchway_core::command::Call;
use launchway_core::events::{Event, Reporter, Sink};
use launchway_core::interrupt::Interrupt;

mod chaos;

/// The small workspace of the whole-command tests, committed.
fn workspace(root: &Path) {
    let run = |call: Call| call.read(root).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/.");
    run(Call::new("cp").args(["-r".to_owned(), fixture.display().to_string(), ".".to_owned()]));
    for name in ["gitignore", "dockerignore"] {
        run(Call::new("mv").arg(name).arg(format!(".{name}")));
    }
    let git = |line: &str| git(root, &line.split(' ').collect::<Vec<_>>());
    git("init --quiet --initial-branch feature");
    git("add --all");
    git("commit --quiet --message first");
}

fn files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push((entry.path(), fs_err::read(entry.path()).unwrap()));
        }
    }
}

#[test]
fn no_secret_is_reported_or_left() {
    let dir = tempfile::tempdir().unwrap();
    workspace(dir.path());
    let reporter = Reporter::new(Sink::Memory(Vec::new()));
    let ctx = Context::read(dir.path().to_owned(), reporter, Interrupt::default()).unwrap();
    let folder = ctx.output().join("rehearsal");
    fs_err::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fakes = runtime.block_on(Fakes::start(&ctx.config, &ctx.environment, &folder)).unwrap();
    let secrets = fakes.secrets();
    assert!(secrets.iter().all(|secret| secret.len() >= 20), "each is found by its text");
    fakes.announce(&ctx.config, &ctx.reporter, &ctx.git);
    let request = Request {
        scope: Scope::Jobs(Some(vec![JobId::Build, JobId::Deploy])),
        trigger: Trigger::push(&ctx.config.branch),
        options: StepOptions::of_rehearsal(&ctx.config),
        explain: false,
        keep_going: false,
        reuse: false,
    };
    let played = rehearse(&ctx, &fakes, &request, &runtime);
    let kept = fakes.keep_transcripts(&ctx.reporter, &folder);
    // While the instance still lies there unpacked.
    let mut left = Vec::new();
    files(&ctx.output(), &mut left);
    // Layers, and the archives beside them, are compressed.
    let unpacked = left.iter().filter_map(|(path, bytes)| {
        let mut whole = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut whole).ok()?;
        Some((path.with_added_extension("unpacked"), whole))
    });
    let unpacked: Vec<_> = unpacked.collect();
    assert!(!unpacked.is_empty());
    left.extend(unpacked);
    fakes.stop(&runtime);
    let events = format!("{:#?}", ctx.reporter.events());
    played.and(kept).unwrap_or_else(|error| panic!("{error:#}: {events}"));
    let proofs: Vec<_> =
        ctx.reporter.events().into_iter().filter(|event| matches!(event, Event::Proof(_))).collect();
    let [Event::Proof(proof)] = proofs.as_slice() else { panic!("{events}") };
    assert!(proof.links.len() > 8 && proof.broken().next().is_none(), "{proof:?}");

    for part in ["run.json", "push.json", "deploy.log", "render.jsonl", "etc/motd"] {
        assert!(left.iter().any(|(path, _)| path.ends_with(part)), "no {part}");
    }
    // The report of the run: as it is kept here, and sent to a board, and as a line of the ledger in the registry.
    let report = left
        .iter()
        .find(|(path, _)| path.parent().is_some_and(|folder| folder.ends_with("rehearsal/history")));
    let (_, report) = report.expect("the history has no report");
    let in_registry = |path: &PathBuf| path.starts_with(folder.join("registry"));
    let holds = |bytes: &[u8]| bytes.windows(report.len()).any(|window| window == report.as_slice());
    assert!(left.iter().any(|(path, bytes)| in_registry(path) && holds(bytes)), "no ledger");
    for (place, secret) in secrets.iter().enumerate() {
        assert!(!events.contains(secret.as_str()), "secret {place} is shown: {events}");
        for (path, bytes) in &left {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "secret {place} is in {}", path.display());
        }
    }
    // That is the last line of defence, for what others print. Nothing of ours came so far.
    assert!(!events.contains("<redacted>"), "{events}");
}
