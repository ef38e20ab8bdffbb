//! What a rehearsal starts the service with.

use super::*;

/// The configuration from the table of the deploy on.
fn deploy(dir: &TempDir) -> String {
    let plan = plan(dir);
    tables(&plan).split_once("bake = \"30s\"\n").unwrap().1.to_owned()
}

#[test]
fn variables_that_the_service_needs_are_listed_with_their_place() {
    let main = r#"
fn main() {
    let key = std::env::var("SESSION_KEY").expect("SESSION_KEY");
    let name = std::env::var("SITE_NAME").unwrap();
    let level = std::env::var("LEVEL").unwrap_or_default();
    let address = format!("0.0.0.0:{}", std::env::var("HTTP_PORT").unwrap());
    route("/health", get(ok)).route("/version", get(version)); // { "commit": … }
}
struct Version { commit: String }
"#;
    let plan = plan(&repository(&[("src/main.rs", main)]));
    let (_, deploy) = tables(&plan).split_once("deploy]\n").unwrap();
    insta::assert_snapshot!(deploy, @r#"
    health = "/health"  # src/main.rs:7
    version = "/version"  # src/main.rs:7
    port = { variable = "HTTP_PORT", value = "$PORT" }  # src/main.rs:6
    timeout = "10m"
    bake = "30s"
    environment = [
        { name = "SESSION_KEY", meaning = "read in src/main.rs:3" },
        { name = "SITE_NAME", secret = false, meaning = "read in src/main.rs:4" },
    ]

    [package.metadata.pipeline.rehearse.environment]
    SESSION_KEY = "rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehe"  # made up
    SITE_NAME = "rehearsal"  # made up
    "#);
}

#[test]
fn a_rehearsal_sends_no_telemetry() {
    let main = "fn main() {\n    let off = env::var(\"OTEL_SDK_DISABLED\").ok().and_then(|s| s.parse::<bool>().ok()).unwrap_or(false);\n}\n";
    insta::assert_snapshot!(deploy(&repository(&[("src/main.rs", main)])), @r#"
    environment = []

    [package.metadata.pipeline.rehearse.environment]
    OTEL_SDK_DISABLED = "true"  # src/main.rs:2: a rehearsal sends no telemetry
    "#);
    let by_option =
        "struct Options {\n    #[arg(long, env = \"WEB_DISABLE_TELEMETRY\")]\n    quiet: bool,\n}\n";
    let deploy = deploy(&repository(&[("src/main.rs", by_option)]));
    assert!(deploy.contains("\nWEB_DISABLE_TELEMETRY = \"true\"  # src/main.rs:2: "), "{deploy}");
}

#[test]
fn what_the_tests_get_is_used_before_anything_is_made_up() {
    let main = "fn main() {\n    env::var(\"DATABASE_URL\")?;\n    env::var(\"ERRORS_DSN\")?;\n    env::var(\"API_TOKEN\")?;\n}\n";
    let workflow = "on: push\njobs:\n  test:\n    env:\n      DATABASE_URL: postgres://localhost:5432/web\n    steps:\n      - run: cargo test\n";
    let dir = repository(&[("src/main.rs", main), (".github/workflows/ci.yml", workflow)]);
    let deploy = deploy(&dir);
    let (_, rehearsed) = deploy.split_once("environment]\n").unwrap();
    insta::assert_snapshot!(rehearsed, @r#"
    DATABASE_URL = "postgres://localhost:5432/web"  # .github/workflows/ci.yml:5, as in the tests
    ERRORS_DSN = "http://rehearsal@127.0.0.1:9/1"  # made up
    API_TOKEN = "rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehe"  # made up
    "#);
}

const SETTINGS: &str = r#"
pub struct Settings { pub application: Application, pub cache: Option<String> }
pub struct Application {
    pub port: u16,
    pub base_url: String,
    #[serde(default)]
    pub title: String,
}
pub fn settings() -> Result<Settings, config::ConfigError> {
    let name = std::env::var("APP_ENVIRONMENT").unwrap_or_else(|_| "local".into());
    let name = match name.as_str() { "local" => "local", "production" => "production", _ => panic!() };
    let folder = std::path::Path::new("configuration");
    config::Config::builder()
        .add_source(config::File::from(folder.join("base.yaml")))
        .add_source(config::File::from(folder.join(format!("{name}.yaml"))))
        .add_source(config::Environment::with_prefix("APP").prefix_separator("_").separator("__"))
        .build()?
        .try_deserialize()
}
"#;
const BASE: &str = "application:\n  port: 8000\n";
const LOCAL: &str =
    "application:\n  base_url: \"http://127.0.0.1\"\n  title: here\ncache: redis\nunread: 1\n";
const PRODUCTION: &str = "application:\n  host: 0.0.0.0\n";
const IMAGE: &str = "FROM rust AS build\nFROM scratch\nCOPY --from=build /web /web\nCOPY configuration /configuration\nENV APP_ENVIRONMENT production\nENTRYPOINT [\"/web\"]\n";

#[test]
fn what_only_the_settings_of_another_environment_have_becomes_a_variable() {
    let of = |settings: &str, local: &str, image: &str| {
        deploy(&repository(&[
            ("src/settings.rs", settings),
            ("configuration/base.yaml", BASE),
            ("configuration/local.yaml", local),
            ("configuration/production.yaml", PRODUCTION),
            ("configuration/staging.yaml", "application:\n  port: 1\n"),
            ("Dockerfile", image),
        ]))
    };
    insta::assert_snapshot!(of(SETTINGS, LOCAL, IMAGE), @r#"
    environment = [
        { name = "APP_APPLICATION__BASE_URL", secret = false, meaning = "set only in configuration/local.yaml:2" },
    ]

    [package.metadata.pipeline.rehearse.environment]
    APP_APPLICATION__BASE_URL = "http://127.0.0.1"  # configuration/local.yaml:2
    "#);
    let names = |settings: &str| of(settings, LOCAL, IMAGE);
    // Without a separator of its own, the prefix ends with that of the keys.
    assert!(
        names(&SETTINGS.replace(".prefix_separator(\"_\")", "")).contains("\nAPP__APPLICATION__BASE_URL = ")
    );
    let nothing = "environment = []";
    for (why, settings, local, image) in [
        ("no variable sets a key below another", SETTINGS.replace(".separator(\"__\")", ""), LOCAL, IMAGE),
        (
            "the names are made in another way",
            SETTINGS.replace(".separator(", ".convert_case(c).separator("),
            LOCAL,
            IMAGE,
        ),
        (
            "the image selects the file itself",
            SETTINGS.to_owned(),
            LOCAL,
            &*IMAGE.replace("production", "local"),
        ),
        (
            "the image selects none",
            SETTINGS.to_owned(),
            LOCAL,
            &*IMAGE.replace("ENV APP_ENVIRONMENT production\n", ""),
        ),
        (
            "the field may be absent",
            SETTINGS.replace("base_url: String", "base_url: Option<String>"),
            LOCAL,
            IMAGE,
        ),
        ("the file is not YAML", SETTINGS.to_owned(), "a: [", IMAGE),
        ("nothing reads the common file", SETTINGS.replace("base.yaml", "all.yaml"), LOCAL, IMAGE),
    ] {
        assert_eq!(of(&settings, local, image), nothing, "{why}");
    }
}
