//! Runs one drill, from its setup to its verdict.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::drill::{Drill, Fault, Side, Step, end};
use super::drilled_service::DrilledService;
use super::releases::Releases;
use super::xtask_process::{Ended, Running};
use crate::context::Context;
use crate::project::output;
use launchway_core::events::Drilled;
use launchway_core::events::milliseconds;
use launchway_core::exit::Exit;
use launchway_core::http::NetworkPolicy;
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use launchway_image::unpack::remove_unpacked;

/// What follows the manual steps of a run, which are those of a real one.
const NOTHING_LEFT: &str = "\n(a drill: nothing is left to do here, because its service ends with it)\n";

/// A drill that has run.
pub(super) struct Ran {
    pub(super) drilled: Drilled,
    /// What the run printed, as the person on call would see it.
    pub(super) printed: String,
}

/// Runs a drill. An error is one of the drill itself, not of the run that it observes.
pub(super) fn run(ctx: &Context, releases: &Releases, drill: &Drill, folder: &Path) -> Result<Ran> {
    let of_fakes = folder.join("fakes");
    // Each drill has its own service, with its own history.
    for left in [&of_fakes, &folder.join("history")] {
        if left.exists() {
            remove_unpacked(left)?;
        }
    }
    fs_err::create_dir_all(&of_fakes)?;
    let service = DrilledService::start(&ctx.config, &ctx.environment, releases, drill, &of_fakes)?;
    // From here on, nothing printed contains this drill's secrets.
    ctx.rehearsed(service.fakes.environment(), NetworkPolicy::Only(Vec::new()));
    let drilled = observe(&ctx.runner(), releases, drill, &service, folder);
    service.stop();
    drilled
}

fn observe(
    runner: &Runner,
    releases: &Releases,
    drill: &Drill,
    service: &DrilledService,
    folder: &Path,
) -> Result<Ran> {
    let mut remarks = Vec::new();
    let mut before = String::new();
    if drill.run == Step::Rollback {
        let deployed = Running::start(&runner.folder, "deploy", service.variables(drill, Step::Deploy)?)?;
        let deployed = deployed.finish(&runner.interrupt)?;
        if deployed.code != Some(0) {
            remarks.push("the deploy before it did not pass".to_owned());
        }
        before = deployed.text + "\n--- deployed; now the rollback ---\n";
    }
    let found = service.state();
    service.inject(releases, drill)?;
    let ended = run_step(runner, drill, service, &mut remarks)?;
    let mut ended = Ended { text: before + &ended.text, ..ended };
    remarks.extend(leads_out(&ended.text));
    if ended.code == Some(Exit::NotRolledBack.code().into()) {
        ended.text.push_str(NOTHING_LEFT);
    }
    service.settle();
    let after = service.state();
    let [live, variables, latest] = service.sides(&after, drill.after.variables);
    let expected = drill.expected(releases.is_dirty());
    let observed = end(ended.code, live, variables, latest);
    if variables == Side::Other {
        for (what, names) in [("written", service.written(&after)), ("astray", service.astray(&after))] {
            if !names.is_empty() {
                remarks.push(format!("variables {what}: {}", names.join(", ")));
            }
        }
    }
    if !drill.after.writes && drill.run == Step::Deploy && service.was_written() {
        remarks.push("something was written, but nothing should have been".to_owned());
    }
    if !(live == Side::New && drill.faults.iter().any(|fault| matches!(fault, Fault::Image(_)))) {
        remarks.extend(service.wrong_commit(releases, live));
    }
    // Twice if the first run was killed.
    let most = 1 + usize::from(drill.faults.iter().any(|fault| matches!(fault, Fault::Killed(_))));
    if drill.run == Step::Deploy && service.deploys() > most {
        remarks.push(format!("the release was deployed {} times", service.deploys()));
    }
    if service.lost() > 0 {
        remarks.push(format!("{} requests to the service were lost", service.lost()));
    }
    remarks.extend(secrets_shown(&output(&runner.folder), &ended.text, &service.secrets())?);
    let page = folder.join("drills").join(format!("{}.log", drill.name));
    runner.reporter.leave(&page, &ended.text)?;
    let drilled = Drilled {
        drill: drill.name.to_owned(),
        passed: expected == observed && remarks.is_empty(),
        expected,
        observed,
        milliseconds: milliseconds(ended.elapsed),
        before: service.shown(&found),
        after: service.shown(&after),
        page: page.display().to_string(),
        remarks,
    };
    Ok(Ran { drilled, printed: ended.text })
}

/// Runs the step, and again if the first run is killed. The output of the second run follows that of the first.
fn run_step(
    Runner { folder: root, interrupt, .. }: &Runner,
    drill: &Drill,
    service: &DrilledService,
    remarks: &mut Vec<String>,
) -> Result<Ended> {
    let start = || Running::start(root, drill.run.command(), service.variables(drill, drill.run)?);
    let mut running = start()?;
    let stop = drill.faults.iter().find_map(|fault| match fault {
        Fault::Interrupted(call) => Some((*call, Signal::INT)),
        Fault::Killed(call) => Some((*call, Signal::KILL)),
        _ => None,
    });
    let Some((call, signal)) = stop else { return running.finish(interrupt) };
    if reached(interrupt, service, &mut running)? {
        running.signal(signal);
        // The signal arrives before the response does.
        std::thread::sleep(Duration::from_millis(100));
    } else {
        remarks.push(format!("it never sent the request at which it should have been stopped: {call:?}"));
    }
    service.fakes.render.go_on();
    let first = running.finish(interrupt)?;
    if signal != Signal::KILL {
        return Ok(first);
    }
    if first.code.is_some() {
        remarks.push("it ended before it could be killed".to_owned());
    }
    // The abandoned deploy may still go live: the next run waits for that.
    service.settle();
    let second = start()?.finish(interrupt)?;
    Ok(Ended { text: format!("{}\n--- killed; run again ---\n{}", first.text, second.text), ..second })
}

/// Whether the run sent the request at which the fake stops.
fn reached(interrupt: &Interrupt, service: &DrilledService, running: &mut Running) -> Result<bool> {
    loop {
        if service.stopped(Duration::from_millis(20)) {
            return Ok(true);
        }
        interrupt.check()?;
        if running.has_ended()? {
            return Ok(false);
        }
    }
}

/// A remark if advice would lead out of the rehearsal. The manual steps, a list, are those of a real run.
fn leads_out(printed: &str) -> Option<String> {
    let outside = |line: &&str| {
        if line.trim_start().starts_with("- ") {
            return false;
        }
        let mut commands = line.split("cargo xtask ").skip(1);
        commands.any(|command| !command.starts_with("rehearse")) || line.contains("dashboard")
    };
    printed.lines().find(outside).map(|line| format!("it points outside the rehearsal: {}", line.trim()))
}

/// A remark for every place with a secret: what was printed, and the files that a run leaves.
fn secrets_shown(output: &Path, printed: &str, secrets: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    left(output, &mut files)?;
    let mut remarks = Vec::new();
    // Files of the run's last children may disappear in the meantime.
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

/// The files that a run can have left: not those of the fakes and the image, which it does not write.
fn left(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    const OTHERS: [&str; 6] = ["image", "fakes", "tools", "coverage", "cache", "layers"];

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
