//! Files of this repository: what they repeat of the pipeline is what the pipeline says.

use std::path::Path;

use crate::support::{Ran, Run};
use launchway_image::binary::Platform;
use launchway_image::build_context::{BuildContext, Node};
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{Arguments, Binaries, FinalStage, Inputs};
use launchway_image::{Engine, docker_engine};
use launchway_registry::oci::Settings;

#[test]
fn both_engines_follow_the_dockerfile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // What `COPY` needs is there; `target` would take long to list.
    let files = ["Dockerfile", "app/rootfs/etc/passwd"];
    let files = files.map(|path| (path.to_owned(), Node::File { is_program: false }));
    let context = BuildContext::new(root.to_owned(), files, move |path| Ok(fs_err::read(root.join(path))?));
    let binaries = Binaries { shipped: "app".to_owned(), ..Binaries::default() };
    launchway_image::check(&context, "Dockerfile", Engine::Builtin, &binaries, Platform::Amd64).unwrap();
    let file = Dockerfile::read(&context, "Dockerfile").unwrap();
    let arguments = Arguments::from([("COMMIT", "c0ffee".to_owned())]);
    docker_engine::check_without_buildx(&file).unwrap();
    let inputs = Inputs { arguments: &arguments, binaries: &binaries, platform: Platform::Amd64 };
    let stage = FinalStage::parse(&file, inputs, &Settings::default()).unwrap();
    assert_eq!(stage.settings.env[1..], ["APP_COMMIT=c0ffee"]);
    assert_eq!(stage.settings.labels["org.opencontainers.image.revision"], "c0ffee");
    assert_eq!(stage.settings.labels["org.opencontainers.image.version"], "unknown");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page(name: &str) -> String {
    fs_err::read_to_string(root().join(name)).unwrap()
}

/// The pipeline's program on this repository, in an environment without variables.
fn xtask(arguments: &[&str]) -> Ran {
    let nothing = tempfile::tempdir().unwrap();
    Run::new(root(), nothing.path(), arguments).finish()
}

/// The cells of the lines of a table, which are two spaces apart.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

/// The variables of each job, as the program lists them, with whether the job needs them.
fn variables() -> Vec<(String, String, bool)> {
    let listed = xtask(&["doctor"]);
    let of_line = |line: &str| {
        let [what, _, found, ..] = cells(line)[..] else { return None };
        let (job, name) = what.split_once(": ")?;
        Some((job.to_owned(), name.to_owned(), found == "needed for a release"))
    };
    let variables: Vec<_> = listed.out.lines().filter_map(of_line).collect();
    assert!(variables.len() > 4, "{}", listed.text());
    variables
}

#[test]
fn the_workflow_is_up_to_date() {
    xtask(&["workflow", "--check"]).exits(0);
}

#[test]
fn the_readme_shows_the_pipeline() {
    let (readme, variables) = (page("README.md"), variables());
    let jobs = xtask(&[]).exits(0);
    let mut count = 0;
    for line in jobs.out.lines().skip(1).take_while(|line| !line.is_empty()) {
        let cells = cells(line);
        let (job, [when, steps]) = (cells[0], cells[cells.len() - 2..].try_into().unwrap());
        let needs = if cells.len() == 4 { format!(" {}", cells[1]) } else { String::new() };
        let needed: Vec<String> = variables
            .iter()
            .filter(|(of, _, needed)| of == job && *needed)
            .map(|(_, name, _)| format!("`{name}`"))
            .collect();
        let needed = if needed.is_empty() { "none".to_owned() } else { needed.join(", ") };
        let row = format!("| {job} |{needs} | {when} | {steps} | {needed} |");
        assert!(readme.contains(&row), "README.md lacks: {row}");
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn the_guide_says_where_every_value_goes() {
    let (guide, workflow) = (page("docs/deployment.md"), page(".github/workflows/main.yaml"));
    for (job, name, needed) in variables() {
        let optional = if needed { "" } else { ", optional" };
        let is_variable = workflow.contains(&format!("{name}: ${{{{ vars.{name} }}}}"));
        let store = if is_variable { "variable" } else { "secret" };
        let row = format!("| `{name}` | {store} | {job}{optional} |");
        assert!(guide.contains(&row), "docs/deployment.md lacks: {row}");
    }
}

/// The service's variables, as the configuration lists them.
fn of_service() -> Vec<String> {
    let manifest = page("Cargo.toml");
    let (_, rest) = manifest.split_once("\nenvironment = [\n").unwrap();
    let (entries, _) = rest.split_once("\n]").unwrap();
    let name = |line: &str| {
        let (_, rest) = line.split_once("name = \"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    entries.lines().map(name).collect()
}

/// What ships is configuration: the library would otherwise fit this repository's service alone.
#[test]
fn the_crates_do_not_know_the_service() {
    const OF_THE_SERVICE: [&str; 5] = ["SERVER_TYPE", "\"HOSTS", "SECRET_KEY", "SENTRY_DSN", "launchway/app"];

    fn check(folder: &Path) -> usize {
        let check_one = |entry: std::io::Result<fs_err::DirEntry>| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return check(&path);
            }
            // A text; what is none contains no name.
            let text = String::from_utf8_lossy(&fs_err::read(&path).unwrap()).into_owned();
            let known = OF_THE_SERVICE.iter().find(|name| text.contains(**name));
            assert_eq!(known, None, "{}", path.display());
            1
        };
        fs_err::read_dir(folder).unwrap().map(check_one).sum()
    }

    let files = check(&root().join("crates"));
    assert!(files > 100, "only {files} files were searched");
}

#[test]
fn the_guide_lists_the_variables_that_a_deploy_writes_first() {
    let guide = page("docs/deployment.md");
    let (_, section) = guide.split_once("\n## 2. ").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let listed: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let written = of_service();
    assert_eq!(listed[..written.len()], written);
    let number = ["none", "first", "first two", "first three", "first four", "first five"][written.len()];
    let sentence = format!("A deploy writes the {number} to the service");
    assert!(section.contains(&sentence), "docs/deployment.md lacks: {sentence}");
}

#[test]
fn the_reference_shows_the_configuration_as_it_is() {
    let (reference, manifest) = (page("docs/reference.md"), page("Cargo.toml"));
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .skip_while(|line| *line != "[workspace.metadata.pipeline]")
            .take_while(|line| !line.starts_with("```") && !line.starts_with("[workspace.lints"))
            .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    assert_eq!(settings(&reference), settings(&manifest));
}

/// What the program says of a configuration.
fn configured(pipeline: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!("[workspace]\n[workspace.metadata.pipeline]\n{pipeline}");
    fs_err::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    Run::new(folder.path(), folder.path(), &["doctor"]).finish().text()
}

/// The rows of the reference's table of keys: key, type and default.
fn keys() -> Vec<(String, String, String)> {
    let reference = page("docs/reference.md");
    let (_, table) = reference.split_once("| key | type | default | meaning |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let plain = |cell: &str| cell.trim_matches([' ', '|', '*']).trim_matches('`').to_owned();
        (plain(cells[0]), plain(cells[1]), plain(cells[2]))
    };
    rows.map(row).collect()
}

/// The keys of a table are those that the program offers for one that it does not know.
#[test]
fn the_reference_lists_every_key_of_the_configuration() {
    let keys = keys();
    assert!(keys.len() > 30, "{keys:?}");
    for table in ["", "build.", "lint.", "test.", "deploy.", "rehearse."] {
        let said = configured(&format!("{table}surprise = 1"));
        let (_, expected) = said.split_once("unknown field `surprise`, expected ").expect(&said);
        let expected = expected.lines().next().unwrap();
        let mut offered: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let of_table =
            |key: &str| key.strip_prefix(table).filter(|name| !name.contains('.')).map(str::to_owned);
        let mut listed: Vec<String> = keys.iter().filter_map(|(key, ..)| of_table(key)).collect();
        offered.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, offered, "docs/reference.md lists other keys of `{table}`");
    }
}

#[test]
fn the_reference_gives_every_key_its_type() {
    for (key, kind, _) in keys() {
        let (wrong, expected) = match kind.as_str() {
            "text" if ["engine", "test.runner"].contains(&key.as_str()) => {
                ("\"surprise\"", "unknown variant `surprise`")
            }
            "text" | "time" => ("1", "expected a string"),
            "boolean" => ("1", "expected a boolean"),
            "number" => ("true", "expected f64"),
            "integer" => ("true", "expected u32"),
            "list" => ("true", "expected a sequence"),
            "map" => ("true", "expected a map"),
            "table" => ("true", "expected struct"),
            "text or table" => ("true", "expected a name, or a table"),
            "integer or table" => ("true", "a port, or a table with `variable`"),
            other => panic!("`{key}` has the type {other}, which the test does not know"),
        };
        let said = configured(&format!("{key} = {wrong}"));
        assert!(said.contains(expected), "docs/reference.md calls `{key}` a {kind}:\n{said}");
    }
}

#[test]
fn the_reference_says_which_keys_are_required() {
    const LEAST: [(&str, &str); 9] = [
        ("package", "'app'"),
        ("branch", "'main'"),
        ("image", "'docker.io/acme/app'"),
        ("coverage", "80"),
        ("target", "'x86_64-unknown-linux-gnu'"),
        ("deploy.environment", "[]"),
        ("deploy.health", "'/healthz'"),
        ("deploy.timeout", "'10m'"),
        ("rehearse.environment", "{}"),
    ];
    let least = |without: &str| -> String {
        let lines = LEAST.iter().filter(|(key, _)| *key != without);
        lines.map(|(key, value)| format!("{key} = {value}\n")).collect::<Vec<_>>().concat()
    };
    let is_refused = |text: &str| configured(text).contains("the pipeline's configuration in");
    assert!(!is_refused(&least("")), "{}", configured(&least("")));
    for (key, _, default) in keys() {
        let is_listed = LEAST.iter().any(|(least, _)| *least == key);
        let is_required = default.starts_with("required") && key != "deploy";
        assert!(is_listed || !is_required, "`{key}` is called required");
        if is_listed {
            assert_eq!(is_refused(&least(&key)), is_required, "docs/reference.md on `{key}`");
        }
    }
}

/// The version that the crates ask for, which adopters need; this repository pins a later one.
#[test]
fn the_readme_names_the_rust_that_is_required() {
    let manifest = page("Cargo.toml");
    let (_, rest) = manifest.split_once("\nrust-version = \"").unwrap();
    let version = rest.split('"').next().unwrap();
    let sentence = format!("[Rust](https://rustup.rs) {version} or later on Linux x86-64");
    assert!(page("README.md").contains(&sentence), "README.md lacks: {sentence}");
}

/// Every command of the program, with its subcommands.
fn commands() -> Vec<String> {
    let help = xtask(&["--help"]).exits(0);
    let (_, listed) = help.out.split_once("Commands:\n").unwrap();
    let names = listed.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_reference_lists_every_command() {
    let (reference, commands) = (page("docs/reference.md"), commands());
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        assert!(
            reference.contains(&format!("\n| `cargo xtask {command}")),
            "docs/reference.md lacks `{command}`"
        );
    }
}

/// Every command line that a page shows parses: an option that went is found here.
#[test]
fn the_commands_in_the_pages_exist() {
    let pages = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/deployment.md",
        "docs/rehearsal.md",
        "docs/images.md",
        "docs/reference.md",
    ];
    let mut lines: Vec<String> = Vec::new();
    for name in pages {
        for piece in page(name).split(['`', '\n']) {
            let Some(line) = piece.trim().trim_start_matches("$ ").strip_prefix("cargo xtask ") else {
                continue;
            };
            let line = line.split(['#', '&', '|', '>']).next().unwrap_or_default();
            lines.push(line.trim().to_owned());
        }
    }
    lines.sort();
    lines.dedup();
    assert!(lines.len() > 20, "{lines:?}");
    let known = commands();
    for line in lines.iter().filter(|line| !line.starts_with('<')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = words.first().copied().unwrap_or_default();
        assert!(known.iter().any(|known| known == command), "`cargo xtask {line}`: no such command");
        let mut help = words.clone();
        help.retain(|word| {
            !word.starts_with('-') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
        help.truncate(if command == "secrets" { 2 } else { 1 });
        help.push("--help");
        let help = xtask(&help).exits(0);
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let name = option.split('=').next().unwrap_or_default();
            assert!(help.out.contains(name), "`cargo xtask {line}`: no option `{name}`");
        }
    }
}

#[test]
fn the_pages_list_the_exit_codes() {
    let (reference, guide) = (page("docs/reference.md"), page("docs/deployment.md"));
    let help = xtask(&["--help"]).exits(0);
    let (_, codes) = help.out.split_once("Exit codes:\n").unwrap();
    let codes: Vec<_> = codes.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    assert!(codes.len() > 8, "{}", help.out);
    for (code, meaning) in codes {
        let row = format!("| {code} | {meaning} |");
        assert!(reference.contains(&row), "docs/reference.md lacks: {row}");
        let heading = format!("\n### {code}: {meaning}\n");
        assert!(guide.contains(&heading), "docs/deployment.md lacks: {heading}");
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn a_failure_names_a_heading_of_the_guide() {
    let failed = xtask(&["rehearse", "--drill", "earthquake"]).exits(2);
    let guide = failed.err.lines().find_map(|line| line.strip_prefix("  guide  ")).unwrap();
    let (file, wanted) = guide.split_once('#').unwrap();
    let page = page(file);
    let headings: Vec<String> = page.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    assert!(headings.iter().any(|heading| heading == wanted), "{file} has no `#{wanted}`: {headings:?}");
}

#[test]
fn the_docs_define_the_words_of_the_provenance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs_err::read_to_string(root.join("docs/images.md")).unwrap();
    for word in ["https://launchway.invalid/build/v1", "https://launchway.invalid/builder/local"] {
        assert!(page.contains(word), "{word}");
    }
}
