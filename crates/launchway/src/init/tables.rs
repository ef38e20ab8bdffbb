//! The configuration of an adopted service, as text for its `Cargo.toml`.

use std::fmt::Write as _;

use super::baseline::Baseline;
use super::detect::Findings;
use super::findings::{Found, Port, Variable};
use super::own_image::OwnImage;
use super::test_services::TestSetup;
use crate::config::{PLACEHOLDER_IMAGE, TestService};

/// The tables, each value with the location that it comes from.
pub(super) fn text(
    findings: &Findings,
    own: Option<&OwnImage>,
    baseline: &Baseline,
    workflow: &str,
) -> String {
    let table = if findings.workspace { "workspace.metadata.pipeline" } else { "package.metadata.pipeline" };
    let shipped = &findings.shipped.value;
    let mut text = format!("\n# The pipeline's configuration, read by `cargo xtask`.\n[{table}]\n");
    let mut line = |key: &str, value: String, place: Option<String>| entry(&mut text, key, &value, place);
    line("package", quoted(&shipped.package), Some(findings.shipped.place.to_string()));
    if shipped.binary != shipped.package {
        line("binary", quoted(&shipped.binary), None);
    }
    for (key, found, otherwise) in
        [("branch", &findings.branch, "main"), ("image", &findings.image, PLACEHOLDER_IMAGE)]
    {
        match found {
            Some(found) => line(key, quoted(&found.value), Some(found.place.to_string())),
            None => line(key, quoted(otherwise), Some("unknown: replace it".to_owned())),
        }
    }
    writeln!(text, "{}", baseline.threshold).ok();
    let mut line = |key: &str, value: String, place: Option<String>| entry(&mut text, key, &value, place);
    line("target", quoted("x86_64-unknown-linux-gnu"), None);
    if let Some(found) = findings.dynamic() {
        let why = format!("{}: {} cannot be linked statically", found.place, found.value.krate);
        line("engine", quoted("docker"), Some(why));
    }
    match (own, &findings.dockerfile) {
        (Some(own), _) if own.path != "Dockerfile" => line("dockerfile", quoted(&own.path), None),
        (None, Some(file)) if !file.path.ends_with("Dockerfile") => {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            line("dockerfile", quoted(name), None);
        }
        _ => {}
    }
    if workflow != "main.yaml" {
        line("workflow", quoted(workflow), None);
    }
    build(&mut text, table, findings);
    lint(&mut text, table, findings, baseline);
    test(&mut text, table, &findings.tests);
    deploy(&mut text, table, findings);
    text
}

/// A value with its location.
fn entry(text: &mut String, key: &str, value: &str, place: Option<String>) {
    let comment = place.map(|place| format!("  # {place}")).unwrap_or_default();
    writeln!(text, "{key} = {value}{comment}").ok();
}

fn build(text: &mut String, table: &str, findings: &Findings) {
    let build = &findings.build;
    let packages = &build.packages.needed;
    if packages.is_empty()
        && build.features.is_empty()
        && build.environment.is_empty()
        && build.no_default_features.is_none()
    {
        return;
    }
    writeln!(text, "\n[{table}.build]").ok();
    if !packages.is_empty() {
        text.push_str("packages = [\n");
        for Found { value, place } in packages {
            writeln!(text, "    {},  # {place}", quoted(value)).ok();
        }
        text.push_str("]\n");
    }
    if build.no_default_features.is_some() {
        writeln!(text, "default-features = false").ok();
    }
    if !build.features.is_empty() {
        let names: Vec<String> = build.features.iter().map(|found| quoted(&found.value)).collect();
        writeln!(text, "features = [{}]", names.join(", ")).ok();
    }
    if !build.environment.is_empty() {
        let pairs: Vec<String> = build
            .environment
            .iter()
            .map(|found| format!("{} = {}", found.value.0, quoted(&found.value.1)))
            .collect();
        writeln!(text, "environment = {{ {} }}", pairs.join(", ")).ok();
    }
}

/// The checks that fail today, and those of the workflows.
fn lint(text: &mut String, table: &str, findings: &Findings, baseline: &Baseline) {
    let (off, checks) = (baseline.lines(), &findings.checks.found);
    if off.is_empty() && checks.is_empty() {
        return;
    }
    writeln!(text, "\n[{table}.lint]").ok();
    if !off.is_empty() {
        writeln!(text, "# Off until the reported problems are fixed.\n{off}").ok();
    }
    if !checks.is_empty() {
        text.push_str("checks = [\n");
        for Found { value, place } in checks {
            let tool = value
                .tool()
                .map(|(name, version)| format!(", tool = {}", quoted(&format!("{name}@{version}"))));
            writeln!(text, "    {{ run = {}{} }},  # {place}", quoted(&value.run), tool.unwrap_or_default())
                .ok();
        }
        text.push_str("]\n");
    }
}

/// What the tests need besides the workspace.
fn test(text: &mut String, table: &str, tests: &TestSetup) {
    if !tests.environment.is_empty() {
        writeln!(text, "\n[{table}.test.environment]").ok();
        for Found { value: (name, value), place } in &tests.environment {
            entry(text, name, &quoted(value), Some(place.to_string()));
        }
    }
    for Found { value: (name, TestService { image, environment, ports, health }), place } in &tests.services {
        writeln!(text, "\n[{table}.test.services.{name}]").ok();
        entry(text, "image", &quoted(image), Some(place.to_string()));
        if !environment.is_empty() {
            let pairs = environment.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
            writeln!(text, "environment = {{ {} }}", pairs.collect::<Vec<_>>().join(", ")).ok();
        }
        let ports: Vec<String> = ports.iter().map(|port| quoted(&port.to_string())).collect();
        writeln!(text, "ports = [{}]", ports.join(", ")).ok();
        if let Some(health) = health {
            writeln!(text, "health = {}", quoted(health)).ok();
        }
    }
}

fn deploy(text: &mut String, table: &str, findings: &Findings) {
    let sources = &findings.sources;
    writeln!(text, "\n[{table}.deploy]").ok();
    match sources.health.first() {
        Some(found) => writeln!(text, "health = {}  # {}", quoted(&found.value), found.place).ok(),
        None => writeln!(text, "health = \"/\"  # no health path was found").ok(),
    };
    if let Some(found) = &sources.version {
        writeln!(text, "version = {}  # {}", quoted(&found.value), found.place).ok();
    }
    match findings.port.as_ref().map(|found| (&found.value, &found.place)) {
        Some((Port::Fixed(port), place)) => drop(writeln!(text, "port = {port}  # {place}")),
        Some((Port::Variable { name, value }, place)) => {
            writeln!(text, "port = {{ variable = {}, value = {} }}  # {place}", quoted(name), quoted(value))
                .ok();
        }
        Some((Port::Arguments(words), place)) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            writeln!(text, "port = {{ arguments = [{}] }}  # {place}", words.join(", ")).ok();
        }
        Some((Port::Standard, _)) | None => {}
    }
    text.push_str("timeout = \"10m\"\nbake = \"30s\"\n");
    let set = needed(findings);
    if set.is_empty() {
        text.push_str("environment = []\n");
        return;
    }
    text.push_str("environment = [\n");
    for Found { value, place } in &set {
        let secret = if value.is_secret() { "" } else { ", secret = false" };
        writeln!(text, "    {{ name = {}{secret}, meaning = \"read in {place}\" }},", quoted(&value.name))
            .ok();
    }
    text.push_str("]\n");
    let rehearsed: Vec<String> = set
        .iter()
        .filter_map(|found| Some(format!("{} = {}", found.value.name, quoted(&rehearsal(&found.value)?))))
        .collect();
    if !rehearsed.is_empty() {
        writeln!(text, "\n[{table}.rehearse]\nenvironment = {{ {} }}", rehearsed.join(", ")).ok();
    }
}

/// The variables that the service requires to start.
pub(super) fn needed(findings: &Findings) -> Vec<&Found<Variable>> {
    let port = findings.port.as_ref().and_then(|found| match &found.value {
        Port::Variable { name, .. } => Some(name.as_str()),
        _ => None,
    });
    let needed = findings.sources.variables.iter().filter(|found| found.value.needed);
    needed.filter(|found| found.value.name != "PORT" && Some(found.value.name.as_str()) != port).collect()
}

/// Guesses a value for a rehearsal from a variable's name; the rehearsal generates secrets itself.
fn rehearsal(variable: &Variable) -> Option<String> {
    let name = variable.name.as_str();
    let value = if name.contains("DATABASE_URL") || name.ends_with("DB_URL") {
        "sqlite::memory:"
    } else if variable.is_secret() {
        return None;
    } else if name.ends_with("HOST") || name.contains("BIND") {
        "0.0.0.0"
    } else if name.contains("ADDR") || name.contains("LISTEN") {
        "0.0.0.0:8000"
    } else if name.ends_with("URL") {
        "http://127.0.0.1:9"
    } else if ["SECONDS", "TIMEOUT", "SIZE", "LIMIT", "PORT", "COUNT", "MAX", "MIN"]
        .iter()
        .any(|word| name.contains(word))
    {
        "10"
    } else {
        "rehearsal"
    };
    Some(value.to_owned())
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
