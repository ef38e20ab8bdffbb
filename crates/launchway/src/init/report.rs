//! Formats the findings for people, each with its location, and lists what is unknown.

use super::detect::Findings;
use super::findings::{Found, Library, Port, Variable};
use super::plan::{Origin, Plan};
use super::threshold::Threshold;
use crate::columns::folded;
use crate::config::PLACEHOLDER_IMAGE;

/// The findings as a table, then what is unknown.
pub(super) fn text(findings: &Findings) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |what: &str, value: String, place: String| {
        let repeated =
            rows.iter().rev().find(|row| !row[0].is_empty()).is_some_and(|row| row[0] == format!("  {what}"));
        let what = if repeated { String::new() } else { format!("  {what}") };
        rows.push([what, place, value]);
    };
    let Findings { repository, shipped, sources, .. } = findings;
    let root = if findings.workspace { "workspace" } else { "package" };
    let inside = if repository.inside.as_os_str().is_empty() {
        "the git root".to_owned()
    } else {
        format!("{}/", repository.inside.display())
    };
    row("Cargo root", format!("{inside}, a {root}"), repository.below("Cargo.toml"));
    let program = if shipped.value.package == shipped.value.binary {
        format!("package and binary `{}`", shipped.value.binary)
    } else {
        format!("package `{}`, binary `{}`", shipped.value.package, shipped.value.binary)
    };
    row("ships", program, shipped.place.to_string());
    for (what, found) in
        [("branch", &findings.branch), ("image", &findings.image), ("toolchain", &findings.toolchain)]
    {
        if let Some(found) = found {
            row(what, found.value.clone(), found.place.to_string());
        }
    }
    if let Some(version) = &findings.rust_version {
        row("rust-version", version.clone(), "Cargo.toml".to_owned());
    }
    for (what, value, place) in of_final_stage(findings) {
        row(what, value, place);
    }
    if let Some(place) = &findings.musl {
        let target = "x86_64-unknown-linux-gnu, also linked statically, instead of musl";
        row("target", target.to_owned(), place.to_string());
    }
    for (what, value, place) in of_build(findings) {
        row(what, value, place);
    }
    for (number, found) in sources.health.iter().enumerate() {
        row(if number == 0 { "health" } else { "or" }, found.value.clone(), found.place.to_string());
    }
    if let Some(found) = &sources.version {
        row("version", found.value.clone(), found.place.to_string());
    }
    if let Some(found) = &findings.port {
        row("port", found.value.to_string(), found.place.to_string());
    }
    if let Some(found) = &sources.loopback {
        row(
            "address",
            format!("{}, reachable only from the same machine", found.value),
            found.place.to_string(),
        );
    }
    if let Some(found) = &sources.termination {
        row("SIGTERM", found.value.clone(), found.place.to_string());
    }
    for Found { value: variable, place } in sources.variables.iter().filter(|found| found.value.needed) {
        row("variable", shown(variable), place.to_string());
    }
    for (place, names) in optional(&sources.variables) {
        row("optional", names, place);
    }
    for found in &sources.prefixes {
        row("variables", format!("{}…", found.value), found.place.to_string());
    }
    for found in &sources.services {
        row("tests need", found.value.to_owned(), found.place.to_string());
    }
    for Found { value: (name, service), place } in &findings.tests.services {
        row("test service", format!("{name}: {}", service.image), place.to_string());
    }
    for Found { value: (name, _), place } in &findings.tests.environment {
        row("tests get", name.clone(), place.to_string());
    }
    for Found { value, place } in &findings.checks.found {
        row("lint check", format!("`{}`", value.run), place.to_string());
    }
    for Found { value, place } in &findings.left {
        row("not adopted", value.clone(), place.to_string());
    }
    for path in &findings.dotenv {
        row("tracked", ".env, from which the pipeline would read its own variables".to_owned(), path.clone());
    }
    for path in &findings.workflows {
        row("workflow", "stays until you delete it".to_owned(), path.clone());
    }
    let unknown: String = unknown(findings).iter().map(|text| item(text)).collect::<Vec<_>>().concat();
    let unknown = if unknown.is_empty() { unknown } else { format!("\nunknown\n{unknown}") };
    format!("found\n{}{unknown}", table(&rows)).trim_end().to_owned()
}

/// Rows of three columns, the last of which wraps. A cell of the second that is longer than most has a line of its own.
fn table(rows: &[[String; 3]]) -> String {
    const LONG: usize = 22;

    let width = |column: usize, most: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count()).filter(|width| *width <= most);
        widths.max().unwrap_or_default()
    };
    let (first, second) = (width(0, usize::MAX), width(1, LONG));
    let start = first + 2 + second + 2;
    let row = |[what, place, value]: &[String; 3]| {
        let heading = format!("{what:<first$}  {place:<second$}  ");
        if place.chars().count() > second {
            format!("{}\n{}", heading.trim_end(), folded(&" ".repeat(start), start, value))
        } else {
            folded(&heading, start, value)
        }
    };
    rows.iter().map(row).collect::<Vec<_>>().concat()
}

/// One of several sentences.
pub(super) fn item(text: &str) -> String {
    folded("  ", 4, text)
}

/// What the Dockerfile's final stage describes, and what of it needs a person.
fn of_final_stage(findings: &Findings) -> Vec<(&'static str, String, String)> {
    let Some(file) = &findings.dockerfile else { return Vec::new() };
    let mut rows = Vec::new();
    let mut row = |what: &'static str, value: String, place: String| rows.push((what, value, place));
    let stage = file.final_stage();
    let base = stage.map_or("", |stage| stage.base.as_str());
    let line = stage.map_or(1, |stage| stage.line);
    row("final stage", format!("from {base}"), format!("{}:{line}", file.path));
    let mut instructions = stage.into_iter().flat_map(|stage| &stage.instructions);
    let signal = instructions.find(|found| found.keyword == "STOPSIGNAL" && found.text != "SIGTERM");
    if let Some(found) = signal {
        let value = format!("{}, but the smoke run and Render send SIGTERM", found.text);
        row("stop signal", value, format!("{}:{}", file.path, found.line));
    }
    let mut known = "";
    for refusal in &findings.refusals {
        let (place, reason) = refusal.split_once(": ").unwrap_or(("", refusal));
        let (command, why) = reason.split_once("`: ").unwrap_or(("", reason));
        let shown = if why == known { format!("{command}`: likewise") } else { reason.to_owned() };
        row("not followed", shown, place.to_owned());
        known = why;
    }
    rows
}

/// What the build needs, and with which engine.
fn of_build(findings: &Findings) -> Vec<(&'static str, String, String)> {
    let build = &findings.build;
    let mut rows = Vec::new();
    let mut add = |what: &'static str, value: String, place: String| rows.push((what, value, place));
    for found in &build.environment {
        add("build", format!("{}={}", found.value.0, found.value.1), found.place.to_string());
    }
    if let Some(place) = &build.no_default_features {
        add("build", "without default features".to_owned(), place.to_string());
    }
    for found in &build.features {
        add("build", format!("feature {}", found.value), found.place.to_string());
    }
    for found in &build.packages.needed {
        add("build needs", format!("the package {}", found.value), found.place.to_string());
    }
    for found in &build.packages.beside {
        add("not needed", format!("the package {}, to compile", found.value), found.place.to_string());
    }
    for (place, names, words) in libraries(&findings.libraries) {
        add("C library", format!("{names}: {words}"), place);
    }
    if let Some(found) = findings.dynamic() {
        let why = format!("docker, because `{}` cannot be linked statically", found.value.krate);
        add("engine", why, found.place.to_string());
    }
    rows
}

/// The C libraries, those that require the same in one row, with the place of the first.
fn libraries(found: &[Found<Library>]) -> Vec<(String, String, &'static str)> {
    let mut rows: Vec<(String, String, &'static str)> = Vec::new();
    for Found { value: Library { krate, words, .. }, place } in found {
        match rows.iter_mut().find(|(_, _, known)| known == words) {
            Some((_, names, _)) => names.extend([", ", krate]),
            None => rows.push((place.to_string(), krate.clone(), words)),
        }
    }
    rows
}

/// What the repository does not reveal, and the consequences.
fn unknown(findings: &Findings) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut add = |text: &str| unknown.push(text.to_owned());
    if findings.branch.is_none() {
        add("the release branch: there is neither `origin/HEAD` nor a current branch");
    }
    if findings.image.is_none() {
        add("the image's name: neither `origin` nor a workflow reveals it");
    }
    if findings.sources.health.is_empty() {
        add("the health check path: `/` is used");
    }
    if findings.sources.version.is_none() {
        add(
            "a version path that returns `{\"commit\": \"…\"}`: without one, digest and health are the only proof of a deploy",
        );
    }
    if findings.port.is_none() {
        add("the port: neither the sources nor a Dockerfile set one");
    }
    if findings.sources.termination.is_none() {
        add(
            "a handler for SIGTERM: without one the service, as the first process of its container, ignores the signal and is killed",
        );
    }
    for found in &findings.build.packages.unknown {
        let Found { value, place } = found;
        add(&format!(
            "Debian's name of the package {value} in {place}: `build.packages` lists what compiling needs"
        ));
    }
    if findings.lock.is_none() {
        add("the locked versions: git tracks no `Cargo.lock`, without which no image is reproducible");
    }
    if !findings.libraries.is_empty() && !findings.compiled.is_certain {
        add(
            "which crates of `Cargo.lock` the build compiles: cargo cannot list them, so C libraries may be named that the service does not use",
        );
    }
    if findings.dirty {
        add(
            "which files belong to the service: the tree has uncommitted changes, and `init` writes only to a clean tree",
        );
    }
    unknown
}

/// The service's optional variables: one row per file, each variable with its line number.
fn optional(variables: &[Found<Variable>]) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for Found { value, place } in variables.iter().filter(|found| !found.value.needed) {
        let place = place.to_string();
        let (file, line) = place.rsplit_once(':').unwrap_or((&place, ""));
        let name = format!("{}:{line}", value.name);
        match lines.last_mut() {
            Some((known, names)) if known == file => {
                names.push(' ');
                names.push_str(&name);
            }
            _ => lines.push((file.to_owned(), name)),
        }
    }
    lines
}

fn shown(variable: &Variable) -> String {
    let secret = if variable.is_secret() { ", secret, judging by its name" } else { "" };
    format!("{}{secret}", variable.name)
}

/// What `init` measures, and when: it takes minutes.
pub(super) fn measures(threshold: &Threshold) -> String {
    let mut text = "\nmeasure\n  fmt, clippy, doc and the checks of the workflows, before anything is written:\n  each that fails today is turned off, with the reason".to_owned();
    if *threshold == Threshold::ToMeasure {
        text.push_str("\n  the tests under coverage, afterwards: what they cover of the weakest\n  crate becomes the threshold");
    }
    text
}

/// What is left to do before a release.
pub(super) fn left(findings: &Findings, plan: &Plan, threshold: &Threshold) -> String {
    let mut lines = vec![
        "Review what was written with `git status` and `git diff`, and commit it.".to_owned(),
        "`cargo xtask doctor` lists the variables of a release; GitHub has secrets for them, and variables where `secret = false`.".to_owned(),
    ];
    if findings.image.is_none() {
        lines.push(format!(
            "Replace the image `{PLACEHOLDER_IMAGE}` in Cargo.toml by your own, then run `cargo xtask workflow`."
        ));
    }
    if let Origin::Path(path) = &plan.origin {
        lines.push(format!(
            "GitHub cannot build `xtask/`: it depends on Launchway in {}. Before you push, write `git = \"…\", rev = \"…\"` instead of `path` in xtask/Cargo.toml, with a repository that GitHub can read, and run `cargo fetch --manifest-path xtask/Cargo.toml`.",
            path.display()
        ));
    }
    match findings.port.as_ref().map(|found| &found.value) {
        Some(Port::Variable { name, value }) => {
            let value = value.replace("$PORT", "10000");
            lines.push(format!(
                "Set `{name}` to `{value}` on Render, whose services listen on port 10000 by default."
            ));
        }
        Some(Port::Fixed(port)) => {
            lines.push(format!("Set `PORT` to `{port}` on Render: the service always listens on that port."));
        }
        Some(Port::Arguments(words)) => lines.push(format!(
            "Let the Docker Command on Render end with `{}`: services there listen on port 10000 by default.",
            words.join(" ").replace("$PORT", "10000")
        )),
        Some(Port::Standard) | None => {}
    }
    if let Some(found) = findings.dynamic() {
        lines.push(format!(
            "Docker builds the image, here and on GitHub, because `{}` cannot be linked statically.",
            found.value.krate
        ));
    }
    if let Some(found) = &findings.sources.loopback {
        lines.push(format!(
            "{} sets {}, an address that Render cannot reach: make the service listen on 0.0.0.0.",
            found.place, found.value
        ));
    }
    if let Threshold::Unmeasured(reason) = threshold {
        lines.push(format!(
            "The coverage is not measured, {reason}: `cargo xtask ci` fails while its tests cannot pass."
        ));
    }
    // GitHub's runners have Docker.
    for found in findings.missing_services().into_iter().filter(|found| found.value != "Docker") {
        lines.push(format!(
            "The tests need {} ({}), which the workflow does not start yet.",
            found.value, found.place
        ));
    }
    let lines: Vec<String> = lines.iter().map(|line| item(line)).collect();
    format!("\nleft to do\n{}", lines.concat().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_place_has_a_line_of_its_own() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let long = ".github/workflows/pull-request-validation.yml:120";
        let rows = [row(["  a", "b.rs:1", "one"]), row(["", long, "two"])];
        assert_eq!(table(&rows), format!("  a  b.rs:1  one\n     {long}\n             two\n"));
    }
}
