//! Every command in the fenced blocks of the pages is run: here, by another test, or by `.ci/run`.

use std::path::Path;

use crate::support::{Run, program, skipped, try_program};
use serde_json::json;

const PAGES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/adopting.md",
    "docs/board.md",
    "docs/deployment.md",
    "docs/images.md",
    "docs/reference.md",
    "docs/rehearsal.md",
];

/// Who runs a command.
#[derive(Clone, Copy)]
enum By {
    /// The program, on this repository, with these arguments and this exit code.
    Here(&'static [&'static str], i32),
    /// The test in this file that has this in it.
    Test(&'static str, &'static str),
    /// This line of `.ci/run`.
    Ci(&'static str),
    /// A shell, in an empty repository; what it reads is an empty line.
    Shell,
    /// [`a_chat_message_is_made_of_the_events`].
    Jq,
}

const PICTURE: &str = "../../examples/picture.rs";
const DOCTOR: &str = "../../../crates/launchway/src/doctor/tests.rs";
const LAUNCHWAY: &str = "../../../crates/launchway/tests/cargo_launchway.rs";

const COMMANDS: [(&str, By); 23] = [
    ("cargo xtask rehearse", By::Ci("cargo xtask rehearse")),
    ("cargo xtask ci", By::Ci("cargo xtask ci --branch some-branch")),
    ("cargo xtask init ../your-service", By::Test("init.rs", "\"init\"")),
    ("cargo xtask init ../greeter", By::Test("init.rs", "\"init\"")),
    ("cargo launchway init ../greeter", By::Test(LAUNCHWAY, "\"init\"")),
    ("cargo launchway init ../greeter --explain", By::Test(LAUNCHWAY, "\"--explain\"")),
    (
        "cp /etc/ssl/certs/ca-certificates.crt xtask/rootfs/etc/ssl/certs/",
        By::Test(DOCTOR, "cp {} xtask/rootfs/etc/ssl/certs/"),
    ),
    ("cargo xtask secrets generate", By::Here(&["secrets", "generate"], 0)),
    ("cargo xtask test-coverage --shard 1/2", By::Test("shards.rs", "for number in 1..=2")),
    ("cargo xtask test-coverage --shard 2/2", By::Test("shards.rs", "for number in 1..=2")),
    (
        "cargo xtask test-coverage --merge target/xtask/shards",
        By::Test("shards.rs", "[\"test-coverage\", \"--merge\", \"target/xtask/shards\"]"),
    ),
    ("git switch master", By::Shell),
    ("export DOCKERHUB_USERNAME=…", By::Shell),
    ("read -rs DOCKERHUB_TOKEN && export DOCKERHUB_TOKEN", By::Shell),
    ("cargo xtask docker-build && cargo xtask push", By::Test("faults.rs", "run(\"push\")")),
    (
        "cargo xtask rehearse --job build --job deploy",
        By::Test("rehearse.rs", "[\"rehearse\", \"--job\", \"build\", \"--job\", \"deploy\"]"),
    ),
    ("cargo xtask rehearse --stay", By::Test("rehearse.rs", "\"--stay\"")),
    ("cargo xtask rehearse --drill list", By::Here(&["rehearse", "--drill", "list"], 0)),
    ("cargo xtask rehearse --drill crash", By::Test("rehearse.rs", "[\"rehearse\", \"--drill\", \"crash\"]")),
    ("cargo xtask rehearse --drill all", By::Ci("cargo xtask rehearse --drill all")),
    (
        "cargo xtask deploy --format json > deploy.jsonl",
        By::Test("commands.rs", "\"deploy\", \"--format\", \"json\""),
    ),
    ("jq --raw-output", By::Jq),
    ("script --quiet", By::Test(PICTURE, "a_screen_becomes_a_picture")),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The commands of the fenced blocks of a page: lines after a prompt, with those that continue them.
fn commands(page: &str) -> Vec<String> {
    let text = fs_err::read_to_string(root().join(page)).unwrap();
    let mut commands: Vec<String> = Vec::new();
    let (mut is_shell, mut is_open) = (false, false);
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_shell = ["console", "sh"].contains(&language);
        } else if is_shell && is_open {
            if let Some(command) = commands.last_mut() {
                command.extend(["\n", line]);
            }
        } else if is_shell && let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        } else {
            continue;
        }
        let command = commands.last().map_or("", String::as_str);
        is_open = is_shell && (command.ends_with('\\') || command.matches('\'').count() % 2 == 1);
    }
    let without_remark = |command: String| command.split("  #").next().unwrap_or_default().trim().to_owned();
    commands.into_iter().map(without_remark).collect()
}

/// Who runs it: the entry with the command itself, or with its beginning where it takes more than a line.
fn by(command: &str) -> Option<By> {
    let fits = |entry: &&(&str, By)| match entry.1 {
        By::Jq | By::Test(PICTURE, _) => command.starts_with(entry.0),
        _ => command == entry.0,
    };
    COMMANDS.iter().find(fits).map(|(_, by)| *by)
}

#[test]
fn every_command_in_the_pages_is_run() {
    let ci = fs_err::read_to_string(root().join(".ci/run")).unwrap();
    let mut count = 0;
    for page in PAGES {
        for command in commands(page) {
            count += 1;
            match by(&command) {
                None => panic!("{page}: nobody runs `{command}`"),
                Some(By::Ci(line)) => {
                    assert!(ci.lines().any(|found| found == line), ".ci/run lacks `{line}`");
                }
                Some(By::Test(file, part)) => {
                    let test = fs_err::read_to_string(root().join("xtask/tests/it").join(file)).unwrap();
                    assert!(test.contains(part), "{file} lacks {part}, which runs `{command}`");
                }
                Some(By::Here(arguments, code)) => {
                    let nothing = tempfile::tempdir().unwrap();
                    Run::new(root(), nothing.path(), arguments).finish().exits(code);
                }
                Some(By::Shell) => {
                    let dir = tempfile::tempdir().unwrap();
                    let repository =
                        "git init --quiet -b other . && git commit --quiet --allow-empty -m first";
                    let script = format!("{repository} && git branch master && echo | {{\n{command}\n}}");
                    program("bash", &["-c", &script], dir.path());
                }
                Some(By::Jq) => {}
            }
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn a_chat_message_is_made_of_the_events() {
    let command =
        commands("docs/reference.md").into_iter().find(|command| command.starts_with("jq ")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    if let Err(why) = try_program("jq", &["--version"], dir.path()) {
        return skipped("a_chat_message_is_made_of_the_events", &why);
    }
    let deployed = json!({
        "schema": 1,
        "event": "deployed",
        "kind": "deploy",
        "outcome": "rolled-back",
        "environment": "production",
        "url": "https://app.onrender.com/",
        "is_up": true,
        "live_commit": "0123456789abcdef0123456789abcdef01234567",
        "next": "it can wait: fix the cause, then run it again",
        "milliseconds": 1,
    });
    crate::schema::is_event(&deployed);
    let note = json!({ "schema": 1, "event": "note", "text": "not a word of it" });
    fs_err::write(dir.path().join("deploy.jsonl"), format!("{note}\n{deployed}\n")).unwrap();
    let said = program("bash", &["-c", &command], dir.path());
    assert_eq!(
        said.trim_end(),
        "deploy to production: rolled-back. https://app.onrender.com/ is up on 0123456789ab. it can wait: fix the cause, then run it again"
    );
}
