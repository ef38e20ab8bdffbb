use super::*;
use crate::table::{self, StepId};

const GOOD: &str = r#"
[workspace.metadata.pipeline]
package = "app"
branch = "main"
image = "docker.io/acme/app"
coverage = 80
target = "x86_64-unknown-linux-gnu"
[workspace.metadata.pipeline.deploy]
health = "/healthz"
version = "/version"
timeout = "10m"
environment = ["CIPHER_KEY"]
"#;

fn error(text: &str) -> String {
    format!("{:#}", Config::parse(text).unwrap_err())
}

#[test]
fn reads_a_manifest() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.engine, Engine::Builtin);
    assert_eq!(config.deploy.timeout, Duration::from_secs(600));
    assert!(config.deploy.test_error.is_none());
}

#[test]
fn every_error_names_its_key() {
    for (from, to, expected) in [
        ("coverage = 80", "coverage = 180", "`coverage` must be a percentage"),
        ("coverage = 80", "coverage = \"80\"", "coverage"),
        ("coverage = 80", "coverage = 80\ncolour = 1", "unknown field `colour`"),
        ("package = \"app\"", "", "`package` must be a name"),
        ("package = \"app\"", "package = \"a b\"", "`package` must be a name"),
        ("package = \"app\"", "package = \"app\"\nbinary = \"a b\"", "`binary` must be a name"),
        (
            "package = \"app\"",
            "package = \"app\"\ndockerfile = \"../Dockerfile\"",
            "`dockerfile` must be a path below",
        ),
        (
            "package = \"app\"",
            "package = \"app\"\nbuild.features = [\"--all\"]",
            "`build.features` contains `--all`",
        ),
        (
            "package = \"app\"",
            "package = \"app\"\nbuild.environment.RUSTFLAGS = \"-O\"",
            "`build.environment` sets `RUSTFLAGS`",
        ),
        (
            "package = \"app\"",
            "package = \"app\"\nrehearse.environment.\"A B\" = \"\"",
            "`rehearse.environment` contains `A B`",
        ),
        ("\"/healthz\"", "\"healthz\"", "`deploy.health` must be a path"),
        ("\"10m\"", "\"soon\"", "`soon` is not a duration"),
        ("\"10m\"", "\"0s\"", "`deploy.timeout`"),
        ("\"10m\"", "\"2h\"", "the deploy job could take"),
        ("\"10m\"", "\"500000000000 years\"", "the deploy job could take"),
        ("\"10m\"", "\"10m\"\nbake = \"6h\"", "GitHub stops a job after 360"),
        ("[\"CIPHER_KEY\"]", "[\"SECRET KEY\"]", "`SECRET KEY`, which is not a valid variable name"),
        ("[\"CIPHER_KEY\"]", "[\"GITHUB_X\"]", "GitHub reserves names that start with"),
        ("[\"CIPHER_KEY\"]", "[\"RENDER_API_KEY\"]", "which Render sets itself"),
        ("[\"CIPHER_KEY\"]", "[\"DOCKERHUB_TOKEN\"]", "which is the pipeline's own"),
        ("[\"CIPHER_KEY\"]", "[\"REGISTRY_TOKEN\"]", "which is the pipeline's own"),
        ("[\"CIPHER_KEY\"]", "[{ name = \"A\", secrte = true }]", "unknown field `secrte`"),
        ("[\"CIPHER_KEY\"]", "[1]", "a variable's name, or a table"),
        ("[\"CIPHER_KEY\"]", "[]\nsentry = { dsn = \"DSN\" }", "`deploy.sentry` needs the variable `DSN`"),
        (
            "[\"CIPHER_KEY\"]",
            "[]\nreports = { path = \"/r\", key = \"K\" }",
            "`deploy.reports` needs the variable `K`",
        ),
        (
            "[\"CIPHER_KEY\"]",
            "[]\ntest-error = { path = \"r\", key = \"K\" }",
            "`deploy.test-error` must be a path",
        ),
        (
            "[\"CIPHER_KEY\"]",
            "[]\nenvironment-name = { variable = \"T\" }",
            "`deploy.environment-name` needs the variable `T`",
        ),
        ("[\"CIPHER_KEY\"]", "[]\nenvironment-name = \"a b\"", "`deploy.environment-name` must be 1 to 64"),
        ("\"main\"", "\"it's\"", "`branch` may contain only letters"),
        ("\"main\"", "\"a..b\"", "not a valid branch name for git"),
        ("\"main\"", "\"-x\"", "not a valid branch name for git"),
        ("\"main\"", "\"/x\"", "not a valid branch name for git"),
        ("\"main\"", "\"x/\"", "not a valid branch name for git"),
        ("\"main\"", "\"a//b\"", "not a valid branch name for git"),
        ("\"main\"", "\"a/.b\"", "not a valid branch name for git"),
        ("\"main\"", "\"x.lock/y\"", "not a valid branch name for git"),
        ("\"main\"", "\"x.\"", "not a valid branch name for git"),
        ("\"main\"", "\"HEAD\"", "not a valid branch name for git"),
        ("acme/app\"", "Acme/App\"", "`image` must be a repository such as `docker.io/acme/app`: `Acme`"),
        ("acme/app\"", "acme/app:latest\"", "must name a repository only, without `latest`"),
        ("docker.io/acme", "https://docker.io/acme", "the address of a web page"),
        ("docker.io/acme", "docker.io:port/acme", "is not a registry's `host`"),
        ("docker.io/acme", "hub.docker.com/r/acme", "the address of a web page"),
        ("docker.io/acme/app", "docker.io/", "is not part of a repository's name"),
        ("x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu", "`target` is `x86_64-pc-windows-gnu`"),
        ("coverage = 80", "coverage = nan", "`coverage` must be a percentage"),
        ("coverage = 80", "coverage = -1", "`coverage` must be a percentage"),
        ("\"/version\"", "\"//example.com/version\"", "`deploy.version` must be a path"),
        ("\"/version\"", "\"/the version\"", "a path cannot contain ' '"),
        ("\"/version\"", "\"/version#commit\"", "a path cannot contain '#'"),
        ("\"10m\"", "\"10ms\"", "`deploy.timeout` must be at least 1s, but is 10ms"),
        ("\"10m\"", "\"10m\"\nbake = \"1day\"", "GitHub stops a job after 360"),
        ("\"10m\"", "\"10m\"\nbake = \"1ns\"", "`deploy.bake` must be at least 1s"),
        ("[\"CIPHER_KEY\"]", "[\"CIPHER_KEY\", \"CIPHER_KEY\"]", "lists `CIPHER_KEY` twice"),
        ("[\"CIPHER_KEY\"]", "[\"PORT\"]", "which Render sets itself"),
        ("branch = \"main\"", "", "missing field `branch`"),
        ("coverage = 80", "coverage = 80\ntest.packages = [\"a; b\"]", "`test.packages` lists `a; b`"),
        ("coverage = 80", "coverage = 80\nbuild.packages = [\"-y\"]", "`build.packages` lists `-y`"),
        ("coverage = 80", "coverage = 80\ntest.runner = \"jest\"", "unknown variant `jest`"),
        ("coverage = 80", "coverage = 80\ntest.shards = 0", "`test.shards` must be 1 to 256, but is 0"),
        ("coverage = 80", "coverage = 80\ntest.shards = 3", "set `test.runner = \"nextest\"`"),
    ] {
        is_refused(from, to, expected);
    }
}

fn is_refused(from: &str, to: &str, expected: &str) {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD);
    assert!(error(&text).contains(expected), "{to}: {}", error(&text));
}

#[test]
fn an_own_check_or_a_port_that_cannot_work_is_named() {
    for (from, to, expected) in [
        (
            "coverage = 80",
            "coverage = 80\nlint.checks = [\"a | b\"]",
            "`lint.checks` contains `a | b`, but no shell",
        ),
        (
            "coverage = 80",
            "coverage = 80\nlint.checks = [1]",
            "a command line, or a table with `run` and `tool`",
        ),
        (
            "coverage = 80",
            "coverage = 80\ntest.environment.RUSTFLAGS = \"-O\"",
            "`test.environment` sets `RUSTFLAGS`",
        ),
        (
            "coverage = 80",
            "coverage = 80\ntest.services.db = { image = \"a b\", ports = [\"1:1\"] }",
            "`test.services.db.image` must be an image",
        ),
        ("coverage = 80", "coverage = 80\nlint.checks = [{ run = \"a\", tol = 1 }]", "unknown field `tol`"),
        (
            "\"10m\"",
            "\"10m\"\nport = { arguments = [\"--port\"] }",
            "`deploy.port` has `arguments` without `$PORT`",
        ),
        (
            "\"10m\"",
            "\"10m\"\nport = { variable = \"LISTEN_ON\", value = \":80\" }",
            "`deploy.port` has `value` without `$PORT`",
        ),
        (
            "\"10m\"",
            "\"10m\"\nport = \"80\"",
            "a port, or a table with `variable` and `value`, or one with `arguments`",
        ),
    ] {
        is_refused(from, to, expected);
    }
}

#[test]
fn what_is_left_out_follows_from_the_rest() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!((config.binary.as_str(), config.dockerfile.as_str()), ("app", "Dockerfile"));
    assert_eq!((config.build.profile.as_str(), config.build.folder()), ("release", "release"));
    let text =
        GOOD.replace("package = \"app\"", "package = \"app\"\nbinary = \"server\"\nbuild.profile = \"dev\"");
    let config = Config::parse(&text).unwrap();
    assert_eq!((config.package.as_str(), config.binary.as_str()), ("app", "server"));
    assert_eq!(config.build.folder(), "debug");
}

#[test]
fn a_single_package_names_itself() {
    let text = GOOD.replace("workspace.metadata", "package.metadata").replace("package = \"app\"\n", "");
    let config = Config::parse(&format!("[package]\nname = \"web\"\n{text}")).unwrap();
    assert_eq!((config.package.as_str(), config.binary.as_str()), ("web", "web"));
    assert!(is_root(&text) && is_root(GOOD) && !is_root("[workspace]"));
    let both = format!("[package]\nname = \"web\"\n{text}\n{GOOD}");
    assert!(error(&both).contains("both `[workspace.metadata.pipeline]` and"));
    assert!(error("[workspace]").contains("neither `[workspace.metadata.pipeline]` nor"));
}

#[test]
fn a_variable_is_secret_unless_it_says_otherwise() {
    let list = "[\"KEY\", { name = \"HOST\", secret = false, meaning = \"where\", example = \"a.example\" }]";
    let config = Config::parse(&GOOD.replace("[\"CIPHER_KEY\"]", list)).unwrap();
    let [key, host] = ["KEY", "HOST"].map(|name| config.variable(name).unwrap());
    assert!(key.secret && key.hint() == "listed in `deploy.environment`");
    assert!(!host.secret && host.hint() == "where (for example `a.example`)");
    let deploy = JobId::Deploy.job();
    assert_eq!(config.required(deploy), ["RENDER_API_KEY", "RENDER_SERVICE_ID", "KEY", "HOST"]);
    assert!(config.required(JobId::Test.job()).is_empty());
}

#[test]
fn the_login_is_named_for_the_registry_of_the_image() {
    let config = |image: &str, rest: &str| {
        let text = GOOD
            .replace("docker.io/acme/app", image)
            .replace("coverage = 80", &format!("coverage = 80\n{rest}"));
        Config::parse(&text).unwrap()
    };
    for (image, names, source) in [
        ("docker.io/acme/app", ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"], "Docker Hub →"),
        ("ghcr.io/acme/app", ["REGISTRY_USERNAME", "REGISTRY_TOKEN"], "GitHub →"),
        ("127.0.0.1:5000/app", ["REGISTRY_USERNAME", "REGISTRY_TOKEN"], "on 127.0.0.1:5000"),
    ] {
        let config = config(image, "");
        assert_eq!(config.required_by(StepId::Push), names);
        assert_eq!(config.optional_for(StepId::Deploy), names);
        let token = config.variable(names[1]).unwrap();
        assert!(token.secret && token.hint().contains(source), "{}", token.hint());
        assert_eq!(config.variables().iter().filter(|variable| table::is_login(variable.name)).count(), 2);
    }
    let without = config("registry.internal/app", "login = false");
    assert!(without.required_by(StepId::Push).is_empty() && without.optional_for(StepId::Deploy).is_empty());
    assert!(without.variable("REGISTRY_TOKEN").is_none());
}

#[test]
fn sentry_has_variables_where_it_is_configured() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.optional_for(StepId::Deploy), ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"]);
    assert!(config.variable("SENTRY_ORG").is_none());
    let config = Config::parse(&format!("{GOOD}sentry = {{ dsn = \"CIPHER_KEY\" }}\n")).unwrap();
    assert_eq!(config.optional_for(StepId::Deploy).len(), 5);
    assert!(config.variable("SENTRY_ORG").is_some());
}

#[test]
fn the_environment_has_a_name() {
    let name = |key: &str, value: Option<&'static str>| {
        let config = Config::parse(&format!("{GOOD}{key}\n")).unwrap();
        config.deploy.environment_name(|name| value.filter(|_| name == "CIPHER_KEY"))
    };
    assert_eq!(name("", None).unwrap(), "production");
    assert_eq!(name("environment-name = \"staging\"", None).unwrap(), "staging");
    let table = "environment-name = { variable = \"CIPHER_KEY\", names = { LIVE = \"production\" } }";
    assert_eq!(name(table, Some("LIVE")).unwrap(), "production");
    assert_eq!(name(table, Some("other")).unwrap(), "other");
    assert_eq!(name(table, None), None);
}
