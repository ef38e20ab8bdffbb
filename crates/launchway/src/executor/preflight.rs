//! Finds every problem of the steps that will run, before any of them runs, and reports them together.

use anyhow::Result;

use super::plan::Options;
use crate::config::{Config, PLACEHOLDER_IMAGE, image};
use crate::context::Context;
use crate::needs::Need;
use crate::project::Project;
use crate::registry;
use crate::steps::docker_build;
use crate::table::rule::{Trigger, When};
use crate::table::{self, StepId};
use crate::tools::Machine;
use crate::workspace;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::is_loopback_host;
use launchway_image::Engine;

/// A problem that would end a run halfway, with a hint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

/// Installs whatever is missing and can be installed. All problems form one error. Its exit code is that of a missing
/// tool or credential, if there is one; nothing is installed if there is any problem.
pub(crate) fn check(ctx: &Context, trigger: &Trigger, steps: &[StepId], options: &Options) -> Result<()> {
    let mut problems = Vec::new();
    let with_tools: Vec<StepId> = steps.iter().copied().filter(|step| options.needs_tools(*step)).collect();
    let missing = needs(ctx.machine(), &ctx.config, &with_tools, options.image.engine, &mut problems);
    variables(ctx, steps, &mut problems);
    state(ctx, trigger, steps, &mut problems);
    sources(ctx.project(), steps, options.image.engine, &mut problems);
    if problems.is_empty() {
        for need in missing {
            match need.install(ctx.machine(), &ctx.runner()) {
                Err(error) if Exit::of(&error) != Exit::Missing => return Err(error),
                Err(error) => problems.push(Problem { exit: Exit::Missing, text: error.to_string() }),
                Ok(()) => {}
            }
        }
    }
    let Some(first) = problems.iter().min_by_key(|problem| problem.exit != Exit::Missing) else {
        return Ok(());
    };
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {}", problem.text)).collect();
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    let mut text = format!("nothing was run: {count}\n{}", lines.join("\n"));
    // On the release branch `ci` is a release, which a user who only wants the checks may not know.
    let is_release = [StepId::TestCoverage, StepId::Deploy].iter().all(|step| steps.contains(step));
    if is_release && !ctx.is_rehearsal() && ctx.environment.get("GITHUB_ACTIONS").is_none() {
        text.push_str("\nThis would be a release. The checks alone: `cargo xtask ci --job test`");
    }
    Err(Failure::new(first.exit, text).into())
}

/// Whether a variable of these steps is missing.
pub(crate) fn lacks_variables(ctx: &Context, steps: &[StepId]) -> bool {
    let mut problems = Vec::new();
    variables(ctx, steps, &mut problems);
    !problems.is_empty()
}

/// Separates what can be installed from problems.
fn needs(
    machine: Machine<'_>,
    config: &Config,
    steps: &[StepId],
    engine: Engine,
    problems: &mut Vec<Problem>,
) -> Vec<Need> {
    let mut missing = |text: String| problems.push(Problem { exit: Exit::Missing, text });
    let needs = Need::missing(machine, config, steps, engine).unwrap_or_else(|error| {
        missing(format!("{error:#}"));
        Vec::new()
    });
    let (can_be_had, cannot): (Vec<_>, Vec<_>) =
        needs.into_iter().partition(|need| need.may_install(machine));
    for need in cannot {
        missing(need.problem(machine));
    }
    can_be_had
}

fn variables(ctx: &Context, steps: &[StepId], problems: &mut Vec<Problem>) {
    let missing =
        steps.iter().flat_map(|step| ctx.config.required_by(*step)).filter(|name| !ctx.environment.has(name));
    let (logins, others): (Vec<&str>, Vec<&str>) = missing.partition(|name| table::is_login(name));
    if !logins.is_empty() {
        match ctx.session().and_then(|session| registry::missing_login(&session, ctx.image())) {
            Ok(texts) => {
                problems.extend(texts.into_iter().map(|text| Problem { exit: Exit::Missing, text }));
            }
            Err(error) => problems.push(Problem { exit: Exit::of(&error), text: format!("{error:#}") }),
        }
    }
    let on_github = ctx.environment.get("GITHUB_ACTIONS") == Some("true");
    for variable in others.into_iter().filter_map(|name| ctx.config.variable(name)) {
        // A value that is stored as the other kind looks right there, and is not found.
        let place =
            if on_github { format!("; add it in {}", variable.place_on_github()) } else { String::new() };
        problems.push(Problem {
            exit: Exit::Missing,
            text: format!("`{}` is not set: {}{place}", variable.name, variable.hint()),
        });
    }
}

/// Outside a rehearsal, a release must be of the release branch and of a clean commit.
fn state(ctx: &Context, trigger: &Trigger, steps: &[StepId], problems: &mut Vec<Problem>) {
    let mut wrong = |text: String| problems.push(Problem { exit: Exit::Usage, text });
    if let Err(error) = image("PIPELINE_IMAGE", ctx.image()) {
        wrong(format!("{error:#}"));
    }
    let leaves_the_machine = |step: &StepId| match step {
        // A rollback is urgent and releases nothing of this tree: it runs from any branch.
        StepId::Lint | StepId::TestCoverage | StepId::DockerBuild | StepId::Rollback => false,
        StepId::Push => !is_local_image(ctx.image()),
        StepId::Deploy => !ctx.render_url().is_ok_and(|url| launchway_core::http::is_loopback(&url)),
    };
    if let Err(error) = ctx.render_url()
        && steps.iter().any(|step| matches!(step, StepId::Deploy | StepId::Rollback))
    {
        wrong(format!("{error:#}"));
    }
    if ctx.is_rehearsal() || !steps.iter().any(leaves_the_machine) {
        return;
    }
    if !When::Release.allows(&ctx.config.branch, trigger) {
        let words = When::Release.words(&ctx.config.branch);
        wrong(format!(
            "releases run on {words}, but this is {trigger}: `cargo xtask rehearse` tries one on this machine"
        ));
    }
    if ctx.image() == PLACEHOLDER_IMAGE {
        wrong(format!(
            "the image is still the placeholder `{PLACEHOLDER_IMAGE}`: set your own in Cargo.toml"
        ));
    }
    if ctx.git.dirty {
        wrong("the tree has uncommitted changes: commit or stash what `git status` lists".to_owned());
    }
}

/// Checks of the package and the `Dockerfile` that need no compilation.
fn sources(project: Project<'_>, steps: &[StepId], engine: Engine, problems: &mut Vec<Problem>) {
    if !steps.contains(&StepId::DockerBuild) {
        return;
    }
    let version = workspace::version(project.root, project.config);
    for result in [version.map(drop), docker_build::check(project, engine)] {
        if let Err(error) = result {
            problems.push(Problem { exit: Exit::of(&error), text: format!("{error:#}") });
        }
    }
}

/// Whether the image's registry is on this machine.
fn is_local_image(image: &str) -> bool {
    let registry = image.split('/').next().unwrap_or_default();
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    is_loopback_host(host)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::table::PIPELINE;
    use launchway_core::environment::Environment;

    fn all_steps() -> Vec<StepId> {
        PIPELINE.iter().flat_map(|job| job.steps).copied().collect()
    }

    /// Sets every variable.
    fn values() -> Vec<(String, String)> {
        let ctx = Context::for_test(Path::new("/w"), Environment::default());
        ctx.config.variables().iter().map(|variable| (variable.name.to_owned(), "x".to_owned())).collect()
    }

    /// A context in which every variable is set, some of them to these values.
    fn context(others: &[(&str, &str)]) -> Context {
        let others = Environment::of(others.iter().copied());
        Context::for_test(Path::new("/w"), Environment::of(values()).with(others))
    }

    fn texts(ctx: &Context, branch: &str) -> Vec<String> {
        let mut found = Vec::new();
        let steps = all_steps();
        variables(ctx, &steps, &mut found);
        state(ctx, &Trigger::push(branch), &steps, &mut found);
        found.into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut ctx = Context::for_test(root, Environment::of([("XTASK_INSTALL", "never")]));
        ctx.git.dirty = true;
        let error =
            check(&ctx, &Trigger::push("feature"), &all_steps(), &Options::of(&ctx.config)).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        let text = error.to_string();
        for name in PIPELINE.iter().flat_map(|job| ctx.config.required(job)) {
            assert!(text.contains(&format!("`{name}` is not set")), "{text}");
        }
        let checks = "The checks alone: `cargo xtask ci --job test`";
        for part in ["cargo-llvm-cov", "push to `main`", "git status", "nothing was run: ", checks] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_release_with_everything_has_no_problem() {
        let mut ctx = context(&[]);
        assert_eq!(texts(&ctx, "main"), Vec::<String>::new());
        let image = std::mem::replace(&mut ctx.config.image, PLACEHOLDER_IMAGE.to_owned());
        assert!(texts(&ctx, "main")[0].starts_with("the image is still the placeholder"));
        ctx.config.image = image;
        ctx.git.dirty = true;
        assert_eq!(texts(&ctx, "main").len(), 1);
        ctx.git.dirty = false;
        assert_eq!(texts(&ctx, "feature").len(), 1);
    }

    #[test]
    fn what_docker_login_left_is_as_good_as_the_variables() {
        let dir = tempfile::tempdir().unwrap();
        let write = |config: &str| fs_err::write(dir.path().join("config.json"), config).unwrap();
        let folder = dir.path().to_str().unwrap();
        let texts = |more: &[(&str, &str)]| {
            let mut ctx = context(&[]);
            let more =
                Environment::of(more.iter().copied()).with(Environment::of([("DOCKER_CONFIG", folder)]));
            ctx.environment = ctx.environment.without(&table::DOCKER_HUB_LOGIN).with(more);
            texts(&ctx, "main")
        };
        assert_eq!(texts(&[]).len(), 2);
        write(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cGFzc3dvcmQ="}}}"#);
        assert_eq!(texts(&[]), Vec::<String>::new());
        let another = texts(&[("PIPELINE_IMAGE", "ghcr.io/acme/app")]);
        assert!(another.len() == 2 && another[1].contains("`REGISTRY_TOKEN` is not set"), "{another:?}");
        assert!(another[1].contains("`write:packages`"), "where to get one at that registry: {another:?}");
        let own = texts(&[("REGISTRY_USERNAME", "me"), ("REGISTRY_TOKEN", "t")]);
        assert_eq!(own, Vec::<String>::new());
        let half = texts(&[("DOCKERHUB_USERNAME", "me")]);
        assert!(half.len() == 1 && half[0].starts_with("`DOCKERHUB_TOKEN` is not set"), "{half:?}");
        write("{");
        let broken = texts(&[]);
        assert!(broken.len() == 1 && broken[0].contains("is not a Docker configuration"), "{broken:?}");
    }

    #[test]
    fn what_stays_on_the_machine_may_come_from_any_branch() {
        let local = [("PIPELINE_IMAGE", "127.0.0.1:5000/a/b"), ("RENDER_API_URL", "http://127.0.0.1:1/v1")];
        let mut ctx = context(&local);
        ctx.git.dirty = true;
        assert_eq!(texts(&ctx, "feature"), Vec::<String>::new());
    }

    #[test]
    fn on_github_a_missing_value_is_named_with_its_place() {
        let mut ctx = context(&[("GITHUB_ACTIONS", "true")]);
        ctx.environment = ctx.environment.without(&["SERVER_MODE", "CIPHER_KEY"]);
        let [variable, secret] = texts(&ctx, "main").try_into().unwrap();
        assert!(
            variable.ends_with("; add it in Settings → Secrets and variables → Actions → Variables"),
            "{variable}"
        );
        assert!(
            secret.ends_with("; add it in Settings → Secrets and variables → Actions → Secrets"),
            "{secret}"
        );
    }

    #[test]
    fn a_wrong_address_is_found_before_anything_runs() {
        let ctx = context(&[("RENDER_API_URL", "http://example.com/v1")]);
        assert!(texts(&ctx, "main")[0].contains("`RENDER_API_URL`"));
    }
}
