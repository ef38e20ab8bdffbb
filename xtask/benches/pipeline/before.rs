//! Compares this checkout with the commit that the pipeline's speed is measured against.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{cargo_free, seconds};

/// The last commit at which the pipeline was one crate and tested every tree each time.
const COMMIT: &str = "326687b";

/// How often commands under a minute are measured; the median counts.
const TIMES: usize = 3;

/// The clock ticks of `/proc`, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The wall time of a command, and the CPU time of it and its children.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// A cold build of the pipeline, and a build after a one-line change of the registry client, including its tests.
pub(crate) fn build(clone: &Path, folder: &Path) {
    let old = checkout(clone, folder);
    let target = folder.join("target");
    let cold = |tree: &Path, more: &str| {
        let cost = run(tree, &format!("build --locked --package xtask{more}"), Some(&target));
        fs_err::remove_dir_all(&target).expect("the build has made its folder");
        cost
    };
    let [mut before, mut now, mut whole] = [const { Vec::new() }; 3];
    for _ in 0..TIMES {
        before.push(cold(&old, ""));
        now.push(cold(clone, ""));
        whole.push(cold(clone, " --features launchway/default"));
    }
    print("cold build of xtask", &now, &before);
    print("the same with the rehearsal and init", &whole, &before);

    let edit = |tree: &Path, file: &str, package: &str| {
        let source = tree.join(file);
        let text = fs_err::read_to_string(&source).expect("the client is there");
        let line = format!("test --locked --no-run --package {package}");
        run(tree, &line, None);
        let costs = (0..TIMES).map(|number| {
            fs_err::write(&source, format!("{text}\n// {number}\n")).expect("the tree can be written");
            run(tree, &line, None)
        });
        let costs: Vec<Cost> = costs.collect();
        fs_err::write(&source, &text).expect("the tree can be written");
        costs
    };
    let before = edit(&old, "xtask/src/registry/client.rs", "xtask");
    let now = edit(clone, "crates/launchway-registry/src/client.rs", "launchway-registry");
    print("a line of the registry's client to tests", &now, &before);

    run(&old, "xtask", None);
    run(clone, "xtask", None);
    let start = |tree| (0..TIMES).map(|_| run(tree, "xtask", None)).collect::<Vec<Cost>>();
    print("cargo xtask, warm", &start(clone), &start(&old));
}

/// A rehearsal in a fresh clone, and a run of the pipeline without changes next to a warm one.
pub(crate) fn proof(clone: &Path, folder: &Path) {
    let old = checkout(clone, folder);
    let before = run(&old, "xtask rehearse", None);
    let now = run(clone, "xtask rehearse", None);
    print("a fresh clone to the proof", &[now], &[before]);
    let warm = run(clone, "xtask ci --fresh", None);
    let nothing: Vec<Cost> = (0..TIMES).map(|_| run(clone, "xtask ci", None)).collect();
    print("ci with nothing changed, beside a warm one", &nothing, &[warm]);
}

/// Checks the commit out into its own folder.
fn checkout(clone: &Path, folder: &Path) -> PathBuf {
    let old = folder.join("before");
    if !old.exists() {
        let add = cargo_free("git").line("worktree add --quiet --detach").args([old.as_os_str()]);
        add.line(COMMIT).in_folder(clone).ok();
    }
    old
}

fn run(tree: &Path, line: &str, target: Option<&Path>) -> Cost {
    let mut command = cargo_free("cargo").line(line).in_folder(tree);
    if let Some(target) = target {
        command = command.env("CARGO_TARGET_DIR", target);
    }
    let before = children();
    let (wall, _) = command.timed();
    Cost { wall, cpu: children().saturating_sub(before) }
}

/// The CPU time of all children that have ended.
fn children() -> Duration {
    let stat = fs_err::read_to_string("/proc/self/stat").expect("Linux has /proc");
    // After the program's name, which may contain anything: utime, stime, cutime and cstime are fields 14 to 17.
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks =
        fields.split(' ').skip(13).take(2).map(|field| field.parse::<f64>().expect("ticks are a number"));
    Duration::from_secs_f64(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

fn print(what: &str, now: &[Cost], before: &[Cost]) {
    let median = |costs: &[Cost], of: fn(&Cost) -> Duration| {
        let mut times: Vec<Duration> = costs.iter().map(of).collect();
        times.sort();
        times[times.len() / 2]
    };
    for (unit, of) in [("", (|cost| cost.wall) as fn(&Cost) -> Duration), (" of CPU", |cost| cost.cpu)] {
        let (now, before) = (median(now, of), median(before, of));
        let ratio = now.as_secs_f64() / before.as_secs_f64();
        println!("{what:<44} {:>9}{unit}  {ratio:.2} × {}", seconds(now), seconds(before));
    }
}
