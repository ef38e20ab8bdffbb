//! What the pipeline costs beyond plain cargo: `cargo bench -p xtask --bench pipeline`, half an hour on two cores.
//!
//! `cargo bench -p xtask --bench pipeline -- image` takes one part: `cold`, `start`, `checks`, `image`; `build` and
//! `proof` beside the commit from which the speed is counted; or beside other tools `docker`, `registry` and `memory`,
//! which need a Docker Engine, `docker-registry` and skopeo.
//!
//! Everything is measured in a fresh clone, each figure beside the bare commands in the same run, because a ratio holds
//! where the machine's speed does not.
//!
//! What it printed on two quiet cores, November 2026:
//!
//! | figure | ours | beside |
//! |---|--:|---|
//! | `cargo xtask`, warm | 0.15 s | 8.66 × `cargo run` of an empty program |
//! | docker-build after one line, beyond cargo | 0.23 to 0.30 s | 0.30 to 0.71 × `docker build` of a `COPY` of the same program |
//! | the image | 4.5 MB | 0.47 × its stripped program |
//! | first push | 0.46 s, 4.64 MB | 5.64 × `skopeo copy`, 1.02 × its bytes; ours looks for secrets and attaches documents |
//! | the same push again | 0.25 s, 2.9 kB | 10.07 × `skopeo copy`, 0.75 × its bytes; ours asks git, cargo and rustc for what it attaches |
//! | push of a layer of 1 GiB | 23 MiB at most | |

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]
#![expect(clippy::expect_used, reason = "a figure that could not be taken is no figure")]

mod before;
mod others;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How often what takes less than a second is measured; the median counts.
const TIMES: usize = 11;

fn main() {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let parts: [(&str, Part); 9] = [
        ("build", before::build),
        ("proof", before::proof),
        ("cold", cold),
        ("start", start),
        ("checks", checks),
        ("image", image),
        ("docker", others::docker),
        ("registry", others::registry),
        ("memory", others::memory),
    ];
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let folder = std::env::temp_dir().join(format!("launchway-bench-{}", std::process::id()));
    let clone = folder.join("clone");
    cargo_free("git").args(["clone", "--quiet"]).args([workspace, &clone]).ok();
    // A branch on which nothing is released.
    cargo_free("git").args(["switch", "--quiet", "--create", "bench"]).in_folder(&clone).ok();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            part(&clone, &folder);
        }
    }
    fs_err::remove_dir_all(&folder).expect("the folder is ours");
}

/// Measures in a clone, with a folder for what stands beside it, and prints its figures.
type Part = fn(&Path, &Path);

/// What a fresh runner pays before the pipeline does anything.
fn cold(clone: &Path, _: &Path) {
    let (time, output) = cargo_free("cargo").line("build --locked --package xtask").in_folder(clone).timed();
    println!("cold build of xtask: {}, {} crates", seconds(time), compiled(&output));
}

/// What every command pays.
fn start(clone: &Path, folder: &Path) {
    let empty = folder.join("empty");
    cargo_free("cargo").args(["new", "--quiet", "--vcs", "none"]).args([&empty]).ok();
    let run = |line: &str, folder: &Path| cargo_free("cargo").line(line).in_folder(folder).timed().0;
    run("xtask", clone);
    run("run --quiet", &empty);
    let xtask = median(|| run("xtask", clone));
    compare(
        "cargo xtask, warm",
        xtask,
        "cargo run of an empty program",
        median(|| run("run --quiet", &empty)),
    );
}

/// What lint and test-coverage add to the checks themselves.
fn checks(clone: &Path, folder: &Path) {
    let tools = clone.join("target/xtask/tools");
    let install = format!("install --quiet --locked cargo-llvm-cov@0.9.0 --root {}", tools.display());
    cargo_free("cargo").line(&install).in_folder(clone).ok();
    cargo_free("cargo").line("xtask").in_folder(clone).ok();
    for state in ["cold", "warm", "after one line"] {
        if state == "after one line" {
            add_a_line(clone);
        }
        let bare = bare_checks(clone, &folder.join("bare"));
        let step = |step| cargo_free("cargo").args(["xtask", step]).in_folder(clone).timed().0;
        let (lint, coverage) = (step("lint"), step("test-coverage"));
        compare(&format!("lint, {state}"), lint, "fmt, clippy, doc", bare.0);
        compare(&format!("test-coverage, {state}"), coverage, "cargo test", bare.1);
    }
}

/// What image and push add to the compilation.
fn image(clone: &Path, _: &Path) {
    for state in ["first", "again", "after one line"] {
        if state == "after one line" {
            add_a_line(clone);
        }
        // Compiled before, so that the step's time is that of a build which finds nothing to do, and the image.
        release_build(clone).ok();
        cargo_free("cargo").line("xtask rehearse --job build").in_folder(clone).ok();
        let (record, pushed) = (json(clone, "run.json"), json(clone, "push.json"));
        let nothing = median(|| release_build(clone).timed().0);
        let steps = &record["jobs"][1]["steps"];
        println!(
            "image and push, {state}: docker-build {} ms, of it cargo {} ms; push {} ms, {} bytes sent",
            steps[0]["milliseconds"],
            nothing.as_millis(),
            steps[1]["milliseconds"],
            pushed["bytes_sent"]
        );
    }
}

/// A line of code, so that the binary is another one each time.
fn add_a_line(clone: &Path) {
    let source = clone.join("app/src/lib.rs");
    let text = fs_err::read_to_string(&source).expect("the app has a library");
    let number = text.len();
    let line = format!("/// Changes the build.\npub const BENCH_{number}: usize = {number};\n");
    fs_err::write(&source, format!("{text}\n{line}")).expect("the clone can be written");
    let source = clone.join("app/src/main.rs");
    let text = fs_err::read_to_string(&source).expect("the app has a program");
    let used = format!("#[used]\nstatic BENCH_{number}: usize = app::BENCH_{number};\n\nfn main()");
    let used = text.replacen("fn main()", &used, 1);
    fs_err::write(&source, used).expect("the clone can be written");
}

/// The bare commands that lint and test-coverage stand for.
fn bare_checks(clone: &Path, target: &Path) -> (Duration, Duration) {
    let lint = [
        "fmt --all --check",
        "clippy --quiet --workspace --all-targets --locked -- -D warnings",
        "doc --quiet --workspace --no-deps --locked",
    ];
    let run = |line: &str| {
        cargo_free("cargo").line(line).env("CARGO_TARGET_DIR", target).in_folder(clone).timed().0
    };
    (lint.into_iter().map(run).sum(), run("test --quiet --workspace --locked"))
}

/// The pipeline's own release build, which finds nothing to do after the step.
fn release_build(clone: &Path) -> Run {
    let explained = cargo_free("cargo").line("xtask docker-build --explain").in_folder(clone).output();
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    let line =
        text.lines().find(|line| line.contains("cargo build --release")).expect("the plan compiles").trim();
    // As people would: pasted into a shell that knows `$'…'`.
    cargo_free("bash").args(["-c", line]).in_folder(clone)
}

fn json(clone: &Path, name: &str) -> serde_json::Value {
    let text =
        fs_err::read_to_string(clone.join("target/xtask").join(name)).expect("the run left its records");
    serde_json::from_str(&text).expect("a record is JSON")
}

fn compiled(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.trim_start().starts_with("Compiling "))
        .count()
}

fn compare(ours: &str, our_time: Duration, bare: &str, bare_time: Duration) {
    let ratio = our_time.as_secs_f64() / bare_time.as_secs_f64();
    println!("{ours:<36} {:>8}  {ratio:.2} × {bare} ({})", seconds(our_time), seconds(bare_time));
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES).map(|_| measure()).collect();
    times.sort();
    times[TIMES / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A command without what `cargo bench` adds to the environment, which would make cargo rebuild things.
#[expect(clippy::disallowed_methods, reason = "a bench has no `Call`; it cleans the environment itself")]
fn cargo_free(program: &str) -> Run {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO"
            || text == "LD_LIBRARY_PATH"
            || text.starts_with("CARGO_PKG")
            || text.starts_with("CARGO_MANIFEST")
            || text.starts_with("GIT_")
        {
            command.env_remove(&name);
        }
    }
    Run { command, folder: PathBuf::from(".") }
}

struct Run {
    command: Command,
    folder: PathBuf,
}

impl Run {
    fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    fn line(self, line: &str) -> Self {
        self.args(line.split(' '))
    }

    fn env(mut self, name: &str, value: &Path) -> Self {
        self.command.env(name, value);
        self
    }

    fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    fn output(mut self) -> Output {
        let output = self.command.current_dir(&self.folder).output().expect("the program can be started");
        assert!(
            output.status.success(),
            "{:?} ended with {}:\n{}{}",
            self.command,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn ok(self) {
        drop(self.output());
    }

    fn timed(self) -> (Duration, Output) {
        let start = Instant::now();
        let output = self.output();
        (start.elapsed(), output)
    }
}
