//! One drill from its scene to its verdict.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::child::{Ended, Running};
use super::drill::{Break, Drill, Side, Step, words};
use super::releases::Releases;
use super::scene::Scene;
use crate::context::Context;
use launchway_core::events::Drilled;
use launchway_core::events::milliseconds;
use launchway_core::http::Reach;

/// Runs a drill; an error is one of the drill itself, and not of what it tries out.
pub(super) fn play(ctx: &Context, releases: &Releases, drill: &Drill, folder: &Path) -> Result<Drilled> {
    let stage = folder.join("stage");
    // Each drill is of a service of its own, with a history of its own.
    for left in [&stage, &folder.join("history")] {
        if left.exists() {
            fs_err::remove_dir_all(left)?;
        }
    }
    fs_err::create_dir_all(&stage)?;
    let scene = Scene::set(ctx, releases, drill, &stage)?;
    // From here on what is told cannot hold this scene's secrets.
    ctx.rehearsed(scene.stage.environment(), Reach::Only(Vec::new()));
    let told = tell(ctx, releases, drill, &scene, folder);
    scene.clear();
    told
}

fn tell(ctx: &Context, releases: &Releases, drill: &Drill, scene: &Scene, folder: &Path) -> Result<Drilled> {
    let mut remarks = Vec::new();
    let mut before = String::new();
    if drill.run == Step::Rollback {
        let deployed = Running::start(ctx, "deploy", scene.variables(ctx, Step::Deploy)?)?.finish(ctx)?;
        if deployed.code != Some(0) {
            remarks.push("the deploy before it did not pass".to_owned());
        }
        before = deployed.text + "\n--- deployed; now the rollback ---\n";
    }
    let found = scene.state();
    scene.break_it(releases, drill)?;
    let ended = run(ctx, drill, scene, &mut remarks)?;
    let ended = Ended { text: before + &ended.text, ..ended };
    scene.settle();
    let after = scene.state();
    let [live, variables, latest] = scene.sides(&after);
    let expected = drill.expected(ctx.git.dirty);
    let observed = words(ended.code, live, variables, latest);
    if variables == Side::Other {
        for (what, names) in [("written", scene.written(&after)), ("astray", scene.astray(&after))] {
            if !names.is_empty() {
                remarks.push(format!("variables {what}: {}", names.join(", ")));
            }
        }
    }
    if !drill.after.writes && drill.run == Step::Deploy && scene.was_written() {
        remarks.push("something was written, although nothing may be".to_owned());
    }
    if !(live == Side::New && drill.breaks.iter().any(|broken| matches!(broken, Break::Sick(_)))) {
        remarks.extend(scene.impostor(ctx, live));
    }
    // Twice where the first run was killed.
    let most = 1 + usize::from(drill.breaks.iter().any(|broken| matches!(broken, Break::Killed(_))));
    if drill.run == Step::Deploy && scene.deploys() > most {
        remarks.push(format!("the release was deployed {} times", scene.deploys()));
    }
    if scene.lost() > 0 {
        remarks.push(format!("{} requests of visitors were lost", scene.lost()));
    }
    remarks.extend(leads_out(&ended.text));
    remarks.extend(secrets_told(ctx, &ended.text, &scene.secrets())?);
    let log = folder.join("drills").join(format!("{}.log", drill.name));
    ctx.leave(&log, &ended.text)?;
    let passed = expected == observed && remarks.is_empty();
    if !passed {
        remarks.extend(last_lines(&ended.text));
    }
    Ok(Drilled {
        drill: drill.name.to_owned(),
        passed,
        expected,
        observed,
        milliseconds: milliseconds(ended.elapsed),
        before: scene.shown(&found),
        after: scene.shown(&after),
        remarks,
    })
}

/// Runs the step, and again where the first run is killed. What the last one printed comes after what the first did.
fn run(ctx: &Context, drill: &Drill, scene: &Scene, remarks: &mut Vec<String>) -> Result<Ended> {
    let start = || Running::start(ctx, drill.run.command(), scene.variables(ctx, drill.run)?);
    let mut running = start()?;
    let stop = drill.breaks.iter().find_map(|broken| match broken {
        Break::Interrupted(call) => Some((*call, Signal::INT)),
        Break::Killed(call) => Some((*call, Signal::KILL)),
        _ => None,
    });
    let Some((call, signal)) = stop else { return running.finish(ctx) };
    if reached(ctx, scene, &mut running)? {
        running.signal(signal);
        // The signal is there before the answer is.
        std::thread::sleep(Duration::from_millis(100));
    } else {
        remarks.push(format!("it never came to the call at which it was to be stopped: {call:?}"));
    }
    scene.stage.render.go_on();
    let first = running.finish(ctx)?;
    if signal != Signal::KILL {
        return Ok(first);
    }
    if first.code.is_some() {
        remarks.push("it ended before it could be killed".to_owned());
    }
    // The deploy that was left alone may still go live: the next one comes when it has.
    scene.settle();
    let second = start()?.finish(ctx)?;
    Ok(Ended { text: format!("{}\n--- killed; run again ---\n{}", first.text, second.text), ..second })
}

/// Whether the run came to the call at which the clock stops.
fn reached(ctx: &Context, scene: &Scene, running: &mut Running) -> Result<bool> {
    loop {
        if scene.stopped(Duration::from_millis(20)) {
            return Ok(true);
        }
        ctx.interrupt.check()?;
        if running.has_ended()? {
            return Ok(false);
        }
    }
}

/// A remark for every line that would lead whoever follows it out of the rehearsal.
fn leads_out(printed: &str) -> Option<String> {
    let outside = |line: &&str| {
        let mut commands = line.split("cargo xtask ").skip(1);
        commands.any(|command| !command.starts_with("rehearse")) || line.contains("dashboard")
    };
    printed.lines().find(outside).map(|line| format!("it leads out of the rehearsal: {}", line.trim()))
}

/// A remark for every place where a secret stands: what was printed, and the files that a run leaves.
fn secrets_told(ctx: &Context, printed: &str, secrets: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    left(&ctx.output(), &mut files)?;
    let mut remarks = Vec::new();
    // What the run's last children leave of themselves may go while it is looked at.
    let mut read = Vec::new();
    for file in files {
        match fs_err::read(&file) {
            Ok(bytes) => read.push((file, bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    for secret in secrets {
        if printed.contains(secret.as_str()) {
            remarks.push("a secret was printed".to_owned());
        }
        for (file, bytes) in &read {
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                remarks.push(format!("a secret is in {}", file.display()));
            }
        }
    }
    Ok(remarks)
}

/// The files that a run can have left: not those of the stand-ins and the image, which it does not write.
fn left(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    const OTHERS: [&str; 6] = ["image", "stage", "tools", "coverage", "cache", "layers"];

    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !OTHERS.iter().any(|other| entry.file_name() == *other) {
            left(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn last_lines(text: &str) -> Vec<String> {
    const LAST: usize = 12;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LAST)..).unwrap_or_default();
    last.iter().map(|line| format!("| {line}")).collect()
}
