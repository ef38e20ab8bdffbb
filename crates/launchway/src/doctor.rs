//! `cargo xtask doctor`: what is installed and set, what is missing, and how to get it.

mod variables;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use reqwest::Url;

use crate::config::{Config, PLACEHOLDER_IMAGE, TestService, image};
use crate::context::Context;
use crate::executor::plan::{Options, Plan};
use crate::git::{self, Git};
use crate::needs::{self, Need};
use crate::project::Project;
use crate::registry::docker_login;
use crate::services;
use crate::steps::lint::DENY_CONFIG;
use crate::table::rule::{Trigger, When};
use crate::table::{PIPELINE, StepId};
use crate::tools::{self, DENY, Found, Machine, Tool};
use crate::workflow;
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure};
use launchway_image::Engine;

/// How much the subject of a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// A variable that has a value, which only a release tries.
    Set,
    /// Not here yet: the pipeline gets it when a step needs it.
    Later,
    /// Optional: the pipeline continues without it and says so.
    Without,
    /// Not where the pipeline looks for it, or old: a person should look.
    Check,
    /// A variable that only a release needs, and that is not set.
    Unset,
    /// Only a release is refused for this; it needs what is named here.
    NoRelease(&'static str),
    /// Required and missing.
    Missing,
    /// Required, and the configuration or the `Dockerfile` is wrong.
    Wrong,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Set => "set",
            Self::Later => "later",
            Self::Without => "optional",
            Self::Check => "check",
            Self::Unset => "not set",
            Self::NoRelease(_) => "no release",
            Self::Missing => "MISSING",
            Self::Wrong => "WRONG",
        }
    }
}

struct Line {
    what: String,
    state: State,
    found: String,
    fix: String,
}

/// Prints a line for everything that the pipeline needs.
///
/// Fails with [`Exit::Missing`] if `cargo xtask ci` could not run on a feature branch.
/// Shows what only a release needs too, but does not fail for it: most machines should not have it.
pub(crate) fn run(ctx: &Context) -> Result<()> {
    let mut lines = tools(ctx.machine(), &ctx.config);
    // If the configuration cannot be read, the step that needs it reports that.
    let by_docker = ctx.session().and_then(|session| docker_login(&session, ctx.image())).unwrap_or_default();
    lines.extend(variables::lines(&ctx.config, &ctx.environment, ctx.image(), by_docker.as_deref()));
    lines.extend(state(ctx.project(), &ctx.environment, ctx.image(), planned(ctx), &ctx.render_url()?));
    lines.push(workflows(ctx.project()));
    lines.extend(certificates(&ctx.root, Path::new(&format!("/{CERTIFICATES}")), SystemTime::now()));
    ctx.reporter.page(shown(&lines));
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let (missing, wrong) = (count(State::Missing), count(State::Wrong));
    if missing + wrong == 0 {
        let is_release = on_release_branch(&ctx.config, &ctx.environment, &ctx.git);
        ctx.reporter.page(format!("\n{}", verdict(&lines, is_release)));
    }
    if missing > 0 {
        return Err(Failure::new(
            Exit::Missing,
            format!("`cargo xtask ci` cannot run here: missing prerequisites: {missing}"),
        )
        .into());
    }
    if wrong > 0 {
        return Err(Failure::new(
            Exit::Usage,
            format!("`cargo xtask ci` cannot run here: invalid settings: {wrong}"),
        )
        .into());
    }
    Ok(())
}

/// What can run here, and what a release still needs.
fn verdict(lines: &[Line], on_release_branch: bool) -> String {
    let checks = if on_release_branch {
        "On this branch `cargo xtask ci` is a release. `cargo xtask ci --job test` runs\nthe checks alone; it and `cargo xtask rehearse` can run here."
    } else {
        "`cargo xtask ci` and `cargo xtask rehearse` can run here."
    };
    let is_unset = lines.iter().any(|line| line.state == State::Unset);
    let needs = lines.iter().filter_map(|line| match line.state {
        State::NoRelease(needed) => Some(needed),
        _ => None,
    });
    let needs: Vec<&str> =
        is_unset.then_some("the variables that are not set").into_iter().chain(needs).collect();
    let release = match needs.split_last() {
        None => "Nothing is missing, not even for a release.".to_owned(),
        Some((last, [])) => format!("A release here needs {last}."),
        Some((last, others)) => format!("A release here needs {} and {last}.", others.join(", ")),
    };
    let variables = if is_unset {
        "On GitHub, these variables are secrets and variables of the repository."
    } else {
        "Every variable that a release requires is set; only its use shows whether its\nvalue is right."
    };
    format!("{checks}\n{release}\n{variables}")
}

/// One line for each, with its hint below it.
fn shown(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or_default();
    let shown = lines.iter().map(|Line { what, state, found, fix }| {
        let hints = if fix.is_empty() { String::new() } else { format!("\n{fix}").replace('\n', "\n    ") };
        let found = found.replace('\n', "\n    ");
        format!("{what:<width$}  {:<10}  {found}{hints}", state.word()).trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn tools(machine: Machine<'_>, config: &Config) -> Vec<Line> {
    let version = |program: &str| Call::new(program).arg("--version").read(machine.root).ok();
    let mut lines: Vec<Line> = ["cargo"]
        .into_iter()
        .map(|program| match version(program) {
            Some(found) => Line { what: program.to_owned(), state: State::Good, found, fix: String::new() },
            None => Line {
                what: program.to_owned(),
                state: State::Missing,
                found: "not found".to_owned(),
                fix: "rustup toolchain install".to_owned(),
            },
        })
        .collect();
    lines.extend(toolchain(machine, config));
    lines.extend(packages(machine, &config.build.packages));
    let has_rules = machine.root.join(DENY_CONFIG).is_file();
    let used = tools::all(config).into_iter().filter(|tool| *tool != DENY || has_rules);
    lines.extend(used.map(|tool| tool_line(machine, &tool)));
    lines.push(docker(machine.root, config.engine));
    let services = config.test.services.iter();
    lines.extend(services.map(|(name, service)| service_line(machine, name, service)));
    lines
}

/// The parts of the Rust toolchain that rustup can add.
fn toolchain(machine: Machine<'_>, config: &Config) -> Vec<Line> {
    let sysroot = needs::sysroot(machine.root).unwrap_or_default();
    let needs = PIPELINE.iter().flat_map(|job| job.steps);
    let needs = needs.flat_map(|step| Need::of(machine, config, *step, config.engine));
    let line = |need: Need| {
        let what = match &need {
            Need::Tool(_) | Need::Packages(_) | Need::Service(..) => return None,
            Need::Component(name) => (*name).to_owned(),
            Need::Target(target) => format!("target {target}"),
        };
        let (state, found, fix) = if need.is_here(machine, &sysroot) {
            (State::Good, "in the toolchain", String::new())
        } else if need.may_install(machine) {
            (State::Later, "installed when a step needs it", String::new())
        } else {
            (State::Missing, "not found", need.problem(machine))
        };
        Some(Line { what, state, found: found.to_owned(), fix })
    };
    needs.filter_map(line).collect()
}

/// The packages that compiling needs. It does not fail for them: the machine may have the same from elsewhere.
fn packages(machine: Machine<'_>, names: &[String]) -> Option<Line> {
    let all = names.join(", ");
    let (state, found, fix) = match needs::absent(machine, names) {
        _ if names.is_empty() => return None,
        None => (
            State::Check,
            "this machine has no Debian packages".to_owned(),
            format!("the build needs what Debian calls {all}"),
        ),
        Some(absent) if absent.is_empty() => (State::Good, all, String::new()),
        Some(absent) => {
            let fix = format!(
                "apt-get install {}\nif the build misses them: this machine may have the same from elsewhere",
                absent.join(" ")
            );
            (State::Check, format!("not installed: {}", absent.join(", ")), fix)
        }
    };
    Some(Line { what: "build packages".to_owned(), state, found, fix })
}

fn tool_line(machine: Machine<'_>, tool: &Tool) -> Line {
    let version = &tool.version;
    let found = match tool.find(machine) {
        Found::Pinned(program) => {
            let found = format!("{version} in {}", program.display());
            return Line { what: tool.name.to_string(), state: State::Good, found, fix: String::new() };
        }
        Found::Other(other) => format!("{other} is installed; the pipeline uses {version} only"),
        Found::Nowhere => format!("{version} not found"),
    };
    let (state, found, fix) = if !tool.required {
        let fix = format!("{}\nwithout {version}, `lint` skips its check", tool.install_line());
        (State::Without, found, fix)
    } else if machine.may_install() {
        (State::Later, format!("{version}, installed when `{}` runs", tool.step), String::new())
    } else {
        (State::Missing, found, tool.install_line())
    };
    Line { what: tool.name.to_string(), state, found, fix }
}

fn docker(root: &Path, engine: Engine) -> Line {
    let version = Call::new("docker").args(["version", "--format", "{{.Server.Version}}"]).read(root);
    let (state, found, fix) = match version {
        Ok(version) => (State::Good, format!("Engine {version}"), String::new()),
        Err(_) if engine == Engine::Docker => (
            State::Missing,
            "no Docker engine responds".to_owned(),
            "start Docker, or configure `engine = \"builtin\"`, which needs none".to_owned(),
        ),
        Err(_) => (
            State::Without,
            "no Docker engine responds".to_owned(),
            "not needed: the builtin engine builds the image".to_owned(),
        ),
    };
    Line { what: "docker".to_owned(), state, found, fix }
}

/// The services that tests need.
fn service_line(machine: Machine<'_>, name: &str, service: &TestService) -> Line {
    let need = Need::Service(name.to_owned(), service.clone());
    let (state, found, fix) = if services::responds(service) {
        let addresses = services::listed(&services::addresses(service));
        (State::Good, format!("responds at {addresses}"), String::new())
    } else if need.is_here(machine, Path::new("")) {
        (State::Good, format!("{}, started in Docker by `test-coverage`", service.image), String::new())
    } else if need.may_install(machine) {
        let found = format!("{}, pulled and started in Docker by `test-coverage`", service.image);
        (State::Later, found, String::new())
    } else {
        (State::Missing, "does not respond".to_owned(), need.problem(machine))
    };
    Line { what: format!("test service {name}"), state, found, fix }
}

/// Whether `cargo xtask ci` would be a release here.
fn on_release_branch(config: &Config, environment: &Environment, git: &Git) -> bool {
    When::Release.allows(&config.branch, &Trigger::read(environment, git, None))
}

fn state(
    project: Project<'_>,
    environment: &Environment,
    image: &str,
    planned: Line,
    render: &Url,
) -> Vec<Line> {
    let Project { config, git, .. } = project;
    let trigger = Trigger::read(environment, git, None);
    let releases = on_release_branch(config, environment, git);
    let line = |what: &str, found: String, fix: &str| Line {
        what: what.to_owned(),
        state: State::Good,
        found,
        fix: fix.to_owned(),
    };
    let words = When::Release.words(&config.branch);
    let branch = trigger.branch().map_or_else(|| trigger.to_string(), |branch| format!("`{branch}`"));
    let refused = |needed, line: Line| Line { state: State::NoRelease(needed), ..line };
    vec![
        if releases {
            line("branch", branch, "build and deploy run here")
        } else {
            let fix = format!("build and deploy run on {words}");
            refused("the release branch", line("branch", branch, &fix))
        },
        if git.dirty {
            let fix = "a release needs a clean tree; a rehearsal does not";
            refused("a clean tree", line("tree", "uncommitted changes".to_owned(), fix))
        } else {
            line("tree", "clean".to_owned(), "")
        },
        if image == PLACEHOLDER_IMAGE {
            let fix = "a placeholder: set your own in Cargo.toml";
            refused("an image of your own", line("image", image.to_owned(), fix))
        } else {
            line("image", image.to_owned(), "")
        },
        planned,
        line("Render", render.to_string(), ""),
    ]
}

/// Whether GitHub would run what the pipeline is now.
fn workflows(project: Project<'_>) -> Line {
    let outdated = workflow::outdated(project.root, project.config);
    let (state, found, fix) = if outdated.is_empty() {
        (
            State::Good,
            workflow::names(&project.config.workflow).map(|name| workflow::path(&name)).to_vec(),
            "",
        )
    } else {
        (State::Wrong, outdated, "not up to date: run `cargo xtask workflow`")
    };
    Line { what: "workflows".to_owned(), state, found: found.join("\n"), fix: fix.to_owned() }
}

/// Where the CA certificates of a machine are, and below the files of an image that `init` has written.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
const OF_IMAGE: &str = "xtask/rootfs";

/// Whether the image's CA certificates are old, if the repository has them. Those that this machine has too are not: there
/// is nothing newer to copy.
fn certificates(root: &Path, of_machine: &Path, now: SystemTime) -> Option<Line> {
    const OLD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    let path = format!("{OF_IMAGE}/{CERTIFICATES}");
    let own = fs_err::read(root.join(&path)).ok()?;
    // Not committed yet: just written.
    let changed = git::call(root).args(["log", "-1", "--format=%ct", "--", &path]).read(root).ok()?;
    let changed = changed.trim().parse().ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let is_old = changed.is_some_and(|changed| now.duration_since(changed).is_ok_and(|age| age > OLD));
    let date =
        changed.map_or_else(|| "now".to_owned(), |changed| humantime::format_rfc3339(changed).to_string());
    let date = date.split('T').next().unwrap_or_default();
    let (state, fix) = if is_old && fs_err::read(of_machine).ok().as_ref() != Some(&own) {
        let copy = format!("cp {} {OF_IMAGE}/etc/ssl/certs/", of_machine.display());
        (
            State::Check,
            format!("older than a year: {copy}\non a machine whose package ca-certificates is up to date"),
        )
    } else {
        (State::Good, String::new())
    };
    Some(Line { what: "CA certificates".to_owned(), state, found: format!("{path}, of {date}"), fix })
}

/// Whether the image can be planned, from the package to the last file that the `Dockerfile` copies.
fn planned(ctx: &Context) -> Line {
    let plan = image("PIPELINE_IMAGE", ctx.image())
        .and_then(|()| Plan::of(StepId::DockerBuild, ctx, &Options::of(&ctx.config)));
    let (state, found) = match plan {
        Ok(_) => {
            (State::Good, format!("`{}` with the {} engine", ctx.config.binary, ctx.config.engine.name()))
        }
        Err(error) => (
            if Exit::of(&error) == Exit::Missing { State::Missing } else { State::Wrong },
            format!("{error:#}"),
        ),
    };
    Line { what: "build".to_owned(), state, found, fix: String::new() }
}

#[cfg(test)]
mod tests;
