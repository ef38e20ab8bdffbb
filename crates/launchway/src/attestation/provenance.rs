//! The provenance: the commit, lock file, Dockerfile, base image and compiler of an image, as an in-toto statement.
//!
//! <https://slsa.dev/spec/v1.0/provenance>, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.
//! It is not signed, so it reaches level 1 at most: it records what was done, without proving who did it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Build, PROJECT};
use crate::project::Project;
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_image::Engine;
use launchway_image::layout::BaseRecord;
use launchway_registry::Digest;

/// The type of the predicate.
pub(crate) const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// The statement for an image with this digest, ending in a line break.
///
/// Omits `metadata`, which has times and the run's number: two builds of a commit must produce the same statement.
pub(crate) fn document(build: Build<'_>, image: &str, digest: &Digest) -> Result<String> {
    let Project { config, git, .. } = build.project;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image, "digest": { "sha256": digest.hex() } }],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": format!("{PROJECT}/build/v1"),
                "externalParameters": {
                    "commit": git.tag(),
                    "engine": build.engine.name(),
                    "target": config.target,
                },
                "resolvedDependencies": dependencies(build)?,
            },
            "runDetails": { "builder": { "id": builder(build.environment) } },
        },
    });
    // On one line, because each commit uploads its own.
    Ok(serde_json::to_string(&statement)? + "\n")
}

fn dependencies(build: Build<'_>) -> Result<Vec<Value>> {
    let Build { project: Project { root, config, git }, environment, engine, base } = build;
    let file = |name: &str| -> Result<Value> {
        let (digest, _) = Digest::of_file(&root.join(name)).or_exit(Exit::Usage)?;
        Ok(json!({ "name": name, "digest": { "sha256": digest.hex() } }))
    };
    let mut all = Vec::new();
    // No commit contains what a dirty tree was built from; the parameter says `-dirty`.
    if !git.dirty {
        let mut commit = json!({ "name": "source", "digest": { "gitCommit": git.commit } });
        if let Some(repository) = github(environment, "GITHUB_REPOSITORY") {
            commit["uri"] = format!("git+{repository}").into();
        }
        all.push(commit);
    }
    all.push(file("Cargo.lock")?);
    all.push(file(&config.dockerfile)?);
    if let Some(BaseRecord { name, digest, .. }) = base {
        all.push(json!({ "name": name, "digest": { "sha256": digest.hex() } }));
    }
    // The docker engine compiles with the toolchain of the Dockerfile's first stage.
    if engine == Engine::Builtin {
        let version = Call::new("rustc").arg("--version").read(root)?;
        // `rustc 1.95.0 (59807616e 2026-04-14)`.
        let number = version.split(' ').nth(1).context("`rustc --version` printed no version")?;
        all.push(json!({ "name": "rustc", "uri": format!("pkg:generic/rustc@{number}") }));
    }
    Ok(all)
}

/// Who ran the build: the workflow and its revision on GitHub, or somebody on their own machine.
fn builder(environment: &Environment) -> String {
    github(environment, "GITHUB_WORKFLOW_REF").unwrap_or_else(|| format!("{PROJECT}/builder/local"))
}

/// The URL of what one of GitHub's variables names (<https://docs.github.com/actions/reference/variables-reference>).
fn github(environment: &Environment, name: &str) -> Option<String> {
    let get = |name| environment.get(name);
    let path = get(name).filter(|_| get("GITHUB_ACTIONS") == Some("true"))?;
    Some(format!("{}/{path}", get("GITHUB_SERVER_URL").unwrap_or("https://github.com")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::context::Context;

    const IMAGE: &str = "docker.io/acme/app";

    fn statement(ctx: &Context, engine: Engine) -> Value {
        let digest = Digest::of(b"an image");
        let document = || document(Build::for_test(ctx, engine), IMAGE, &digest).unwrap();
        let text = document();
        assert_eq!(text, document(), "the same bytes each time");
        serde_json::from_str(&text).unwrap()
    }

    fn here(environment: Environment) -> Context {
        Context::for_test(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture"), environment)
    }

    #[test]
    fn it_names_what_the_image_was_made_from() {
        let ctx = here(Environment::default());
        let said = statement(&ctx, Engine::Builtin);
        assert_eq!(
            said["subject"],
            json!([{ "name": IMAGE, "digest": { "sha256": Digest::of(b"an image").hex() } }])
        );
        let build = &said["predicate"]["buildDefinition"];
        assert_eq!(
            build["externalParameters"],
            json!({ "commit": ctx.git.commit, "engine": "builtin", "target": ctx.config.target })
        );
        let all = build["resolvedDependencies"].as_array().unwrap();
        let names: Vec<&str> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["source", "Cargo.lock", "Dockerfile", "rustc"]);
        assert_eq!(all[0], json!({ "name": "source", "digest": { "gitCommit": ctx.git.commit } }));
        let lock = fs_err::read(ctx.root.join("Cargo.lock")).unwrap();
        assert_eq!(all[1]["digest"]["sha256"], Digest::of(&lock).hex());
        assert!(all[3]["uri"].as_str().unwrap().starts_with("pkg:generic/rustc@1."), "{}", all[3]);
        assert_eq!(
            said["predicate"]["runDetails"]["builder"]["id"],
            "https://launchway.invalid/builder/local"
        );
        // Defined in docs/images.md.
        assert_eq!(build["buildType"], "https://launchway.invalid/build/v1");
    }

    #[test]
    fn on_github_the_workflow_is_the_builder() {
        let workflow = "acme/app/.github/workflows/main.yaml@refs/heads/main";
        let variables = [("GITHUB_REPOSITORY", "acme/app"), ("GITHUB_WORKFLOW_REF", workflow)];
        let on = here(Environment::of(variables).with(Environment::of([("GITHUB_ACTIONS", "true")])));
        let said = statement(&on, Engine::Builtin)["predicate"].clone();
        assert_eq!(said["runDetails"]["builder"]["id"], format!("https://github.com/{workflow}"));
        let source = &said["buildDefinition"]["resolvedDependencies"][0];
        assert_eq!(source["uri"], "git+https://github.com/acme/app");
        // A developer's shell may set these variables too.
        assert!(builder(&Environment::of(variables)).ends_with("/local"));
    }

    #[test]
    fn it_says_no_more_than_is_known() {
        let mut ctx = here(Environment::default());
        ctx.git.dirty = true;
        let said = statement(&ctx, Engine::Docker);
        let build = &said["predicate"]["buildDefinition"];
        assert_eq!(build["externalParameters"]["commit"], format!("{}-dirty", ctx.git.commit));
        assert_eq!(build["resolvedDependencies"].as_array().unwrap().len(), 2, "{build}");
        let dir = tempfile::tempdir().unwrap();
        let ctx = Context::for_test(dir.path(), Environment::default());
        let build = Build::for_test(&ctx, Engine::Builtin);
        let error = document(build, IMAGE, &Digest::of(b"")).unwrap_err();
        assert!(format!("{error:#}").contains("Cargo.lock"), "{error:#}");
    }
}
