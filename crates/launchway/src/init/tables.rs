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
            let line = format!("{{ run = {}{} }},  # {place}", quoted(&value.run), tool.unwrap_or_default());
            match baseline.own.get(&value.run) {
                Some(reason) => writeln!(text, "    # Off, it {reason}\n    # {line}"),
                None => writeln!(text, "    {line}"),
            }
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
    } else {
        text.push_str("environment = [\n");
        for Found { value, place } in &set {
            let secret = if value.is_secret() { "" } else { ", secret = false" };
            let verb = if value.elsewhere.is_some() { "set only" } else { "read" };
            writeln!(
                text,
                "    {{ name = {}{secret}, meaning = \"{verb} in {place}\" }},",
                quoted(&value.name)
            )
            .ok();
        }
        text.push_str("]\n");
    }
    let rehearsed = rehearsed(findings, &set);
    if !rehearsed.is_empty() {
        writeln!(text, "\n[{table}.rehearse.environment]").ok();
    }
    for (name, value, origin) in rehearsed {
        entry(text, name, &quoted(&value), Some(origin));
    }
}

/// The variables of a rehearsal, each with its value and where that comes from.
fn rehearsed<'f>(findings: &'f Findings, needed: &[&'f Found<Variable>]) -> Vec<(&'f str, String, String)> {
    // The first is of the OpenTelemetry specification. The Rust SDK ignores it: only a service that reads it gets it.
    let ends_telemetry =
        |name: &str| name == "OTEL_SDK_DISABLED" || name.contains("DISABLE") && name.contains("TELEMETRY");
    let of_tests = |name: &str| findings.tests.environment.iter().find(|found| found.value.0 == name);
    let variable = |Found { value, place }: &&'f Found<Variable>| {
        let (text, origin) = match (&value.elsewhere, of_tests(&value.name)) {
            (Some(text), _) => (text.clone(), place.to_string()),
            (None, Some(found)) => (found.value.1.clone(), format!("{}, as in the tests", found.place)),
            (None, None) => (made_up(value), "made up".to_owned()),
        };
        (value.name.as_str(), text, origin)
    };
    let telemetry = findings.sources.variables.iter().filter(|found| ends_telemetry(&found.value.name));
    let telemetry = telemetry.map(|found| {
        let origin = format!("{}: a rehearsal sends no telemetry", found.place);
        (found.value.name.as_str(), "true".to_owned(), origin)
    });
    let others = needed.iter().filter(|found| !ends_telemetry(&found.value.name));
    others.map(variable).chain(telemetry).collect()
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

/// Guesses a value for a rehearsal from a variable's name.
fn made_up(variable: &Variable) -> String {
    let name = variable.name.as_str();
    let value = if name.contains("DATABASE_URL") || name.ends_with("DB_URL") {
        "sqlite::memory:"
    } else if name.contains("DSN") {
        "http://rehearsal@127.0.0.1:9/1"
    } else if variable.is_secret() {
        // Long enough for a key, and nothing that a scan for secrets reports.
        "rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehearsal-rehe"
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
    value.to_owned()
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
