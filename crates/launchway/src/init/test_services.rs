//! What the tests need besides the workspace, from workflows and compose files: `test.services` and `test.environment`.
//!
//! Whatever cannot be taken over is listed with the reason.

use std::collections::BTreeMap;

use super::findings::{Found, Place};
use super::github::{Job, Scope, Workflows};
use super::yaml::Node;
use crate::config::{Ports, TestService, check_test_services, check_test_variable};

/// What tests get.
#[derive(Clone, Debug, Default)]
pub(super) struct TestSetup {
    pub(super) services: Vec<Found<(String, TestService)>>,
    pub(super) environment: Vec<Found<(String, String)>>,
    /// What was found and is not taken over, with the reason.
    pub(super) left: Vec<Found<String>>,
}

/// What tests connect to, by words in the names of images.
const KINDS: [(&str, &[&str]); 4] = [
    ("PostgreSQL", &["postgres", "postgis", "pgvector", "timescale"]),
    ("MySQL", &["mysql", "mariadb", "percona"]),
    ("Redis", &["redis", "valkey", "keydb", "dragonfly"]),
    ("MongoDB", &["mongo"]),
];

impl TestSetup {
    /// `is_read` tells whether the Rust sources contain a name.
    pub(super) fn of_workflows(workflows: &Workflows, is_read: impl Fn(&str) -> bool) -> Self {
        let mut setup = Self::default();
        let jobs: Vec<&Job> =
            workflows.jobs.iter().filter(|job| job.tests_changes && tests(job).is_some()).collect();
        for job in &jobs {
            for (name, node) in &job.services {
                setup.service(job, name, node);
            }
        }
        // The job whose services are started.
        let job = jobs.iter().find(|job| !job.services.is_empty()).or(jobs.first());
        if let Some(job) = job {
            setup.environment(job, is_read);
            setup.threads(job);
            setup.preparations(job);
        }
        setup
    }

    /// Whether a kind of service is started.
    pub(super) fn provides(&self, kind: &str) -> bool {
        self.services.iter().any(|found| is_of(kind, &found.value.1.image))
    }

    fn service(&mut self, job: &Job, name: &str, node: &Node) {
        let line = node.get("image").map_or(node.line, |image| image.line);
        let place = Place::line(&job.path, line);
        match of_github(job, node) {
            Ok((service, left)) => {
                self.add(name, service, &place, left);
            }
            Err(reason) => self.left.push(Found::new(format!("the service {name}: {reason}"), place)),
        }
    }

    /// Adds a service unless the configuration would be rejected, or another one has its name.
    fn add(&mut self, name: &str, service: TestService, place: &Place, left: Vec<String>) {
        let same = self.services.iter().find(|known| known.value.0 == name);
        if let Some(Found { value: (_, known), place: other }) = same {
            if *known != service {
                let reason = format!("the service {name}: {other} has another one of this name");
                self.left.push(Found::new(reason, place.clone()));
            }
            return;
        }
        let all =
            self.services.iter().map(|found| found.value.clone()).chain([(name.to_owned(), service.clone())]);
        match check_test_services(&all.collect::<BTreeMap<_, _>>()) {
            Ok(()) => {
                self.services.push(Found::new((name.to_owned(), service), place.clone()));
                self.left.extend(
                    left.into_iter()
                        .map(|what| Found::new(format!("the service {name}: {what}"), place.clone())),
                );
            }
            Err(error) => self.left.push(Found::new(format!("the service {name}: {error}"), place.clone())),
        }
    }

    /// The variables of the tests: all that the step sets, and of those around it what the sources or libraries read.
    fn environment(&mut self, job: &Job, is_read: impl Fn(&str) -> bool) {
        let Some(scope) = tests(job) else { return };
        let ports: Vec<String> = self
            .services
            .iter()
            .flat_map(|found| &found.value.1.ports)
            .map(|port| format!(":{}", port.here))
            .collect();
        for (name, variable) in &scope.env {
            let reaches = |value: &String| ports.iter().any(|port| value.contains(port));
            let of_library = matches!(
                name.as_str(),
                "DATABASE_URL"
                    | "SQLX_OFFLINE"
                    | "PGHOST"
                    | "PGPORT"
                    | "PGUSER"
                    | "PGPASSWORD"
                    | "PGDATABASE"
            );
            let is_wanted = variable.is_of_step
                || of_library
                || is_read(name)
                || variable.value.as_ref().is_ok_and(reaches);
            if !is_wanted || is_of_toolchain(name) {
                continue;
            }
            let place = variable.place.clone();
            match &variable.value {
                Err(expression) => {
                    let reason =
                        format!("the variable {name} of the tests: only GitHub knows `{expression}`");
                    self.left.push(Found::new(reason, place));
                }
                Ok(value) => match check_test_variable(name) {
                    Ok(()) => self.environment.push(Found::new((name.clone(), value.clone()), place)),
                    Err(error) => self
                        .left
                        .push(Found::new(format!("the variable {name} of the tests: {error}"), place)),
                },
            }
        }
    }

    /// How many tests may run at once: those that share a folder or a variable of the process disturb each other.
    fn threads(&mut self, job: &Job) {
        let commands = job.steps.iter().flat_map(|step| &step.commands);
        let limit = commands.filter(|command| is_test(&command.value)).find_map(|command| {
            let (_, rest) = command.value.split_once("--test-threads")?;
            let number = rest.trim_start_matches(['=', ' ']).split(' ').next()?.parse::<u16>().ok()?;
            Some(Found::new(number, command.place.clone()))
        });
        let name = "RUST_TEST_THREADS";
        if let Some(Found { value, place }) = limit
            && self.environment.iter().all(|found| found.value.0 != name)
        {
            self.environment.push(Found::new((name.to_owned(), value.to_string()), place));
        }
    }

    /// Has the macros of sqlx read the queries that the repository keeps: with the address of a database they would ask
    /// that, before any test has given it a schema.
    pub(super) fn compile_offline(&mut self, kept: Option<&String>) {
        let has = |name: &str| self.environment.iter().any(|found| found.value.0 == name);
        if let Some(path) = kept.filter(|_| has("DATABASE_URL") && !has("SQLX_OFFLINE")) {
            let folder = path.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder);
            let pair = ("SQLX_OFFLINE".to_owned(), "true".to_owned());
            self.environment.push(Found::new(pair, Place::of(format!("{folder}/"))));
        }
    }

    /// Commands before the tests that prepare what they connect to.
    fn preparations(&mut self, job: &Job) {
        const SIGNS: [&str; 8] =
            ["migrate", "migration", "psql", "mysql ", "init_db", "diesel ", "docker run", "compose up"];

        let commands = job.steps.iter().flat_map(|step| &step.commands);
        for command in commands.take_while(|command| !is_test(&command.value)) {
            let installs = ["cargo install", "apt-get", "cargo binstall"]
                .iter()
                .any(|word| command.value.contains(word));
            if !installs && SIGNS.iter().any(|sign| command.value.contains(sign)) {
                let shown: String = command.value.chars().take(60).collect();
                let reason = format!("`{shown}` prepares the tests: let them do it, or run it by hand");
                self.left.push(Found::new(reason, command.place.clone()));
            }
        }
    }

    /// Services of a compose file for these kinds, which the tests need and nothing starts yet.
    pub(super) fn add_compose(&mut self, path: &str, file: &Node, kinds: &[&str]) {
        for (name, node) in file.get("services").map(Node::entries).unwrap_or_default() {
            let Some(image) = node.get("image") else { continue };
            let text = defaults(image.text().unwrap_or_default()).unwrap_or_else(|text| text);
            if !kinds.iter().any(|kind| is_of(kind, &text) && !self.provides(kind)) {
                continue;
            }
            let place = Place::line(path, image.line);
            match of_compose(node) {
                Ok((service, left)) => self.add(name, service, &place, left),
                Err(reason) => self.left.push(Found::new(format!("the service {name}: {reason}"), place)),
            }
        }
    }
}

/// Whether an image is of this kind.
fn is_of(kind: &str, image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let words = KINDS.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, words)| words);
    // Not the exporters and clients beside them.
    words.iter().any(|word| name.contains(word))
        && !["exporter", "admin", "express", "backup"].iter().any(|word| name.contains(word))
}

/// The scope of the step that runs the tests of the workspace.
fn tests(job: &Job) -> Option<&Scope> {
    let step = job.steps.iter().find(|step| step.commands.iter().any(|command| is_test(&command.value)))?;
    Some(&step.scope)
}

fn is_test(command: &str) -> bool {
    let mut words = command.split_whitespace().skip_while(|word| *word != "cargo").skip(1);
    let subcommand = words.find(|word| !word.starts_with(['+', '-']));
    matches!(subcommand, Some("test" | "t" | "nextest" | "llvm-cov" | "tarpaulin"))
}

/// What the toolchain and the runner read, and the configuration has elsewhere.
fn is_of_toolchain(name: &str) -> bool {
    ["CARGO", "RUSTC", "RUSTUP", "RUSTDOC", "GITHUB_", "SCCACHE", "RUNNER_"]
        .iter()
        .any(|start| name.starts_with(start))
        || name.ends_with("FLAGS")
        || matches!(name, "RUST_BACKTRACE" | "CI")
}

/// A service of a workflow, and what of it is left out.
fn of_github(job: &Job, node: &Node) -> Result<(TestService, Vec<String>), String> {
    let expand =
        |text: &str| job.scope.expand(text).map_err(|expression| format!("only GitHub knows `{expression}`"));
    let text = |key: &str| node.get(key).and_then(Node::text).map(expand).transpose();
    let image = text("image")?.ok_or("it has no image")?;
    let mut environment = BTreeMap::new();
    for (name, value) in node.get("env").map(Node::entries).unwrap_or_default() {
        environment.insert(name.clone(), expand(value.text().unwrap_or_default())?);
    }
    if job.in_container {
        return Err("its job runs in a container, where tests reach it by its name".to_owned());
    }
    let ports = node.get("ports").map(Node::list).unwrap_or_default().iter().filter_map(Node::text);
    let ports = ports.map(|text| expand(text).and_then(|text| port(&text))).collect::<Result<Vec<_>, _>>()?;
    if ports.is_empty() {
        return Err("it has no port".to_owned());
    }
    let mut left = rest(node, &["image", "env", "ports", "options"]);
    let (health, options) = text("options")?.map(|text| health(&text)).unwrap_or_default();
    left.extend(options.into_iter().map(|option| format!("the option `{option}` is left out")));
    Ok((TestService { image, environment, ports, health: accepted(health, &mut left) }, left))
}

/// A service of a compose file, and what of it is left out.
fn of_compose(node: &Node) -> Result<(TestService, Vec<String>), String> {
    let expand = |text: &str| defaults(text).map_err(|text| format!("`{text}` needs a variable"));
    let image = expand(node.get("image").and_then(Node::text).unwrap_or_default())?;
    if let Some(key) = ["env_file", "build", "network_mode"].into_iter().find(|key| node.get(key).is_some()) {
        return Err(format!("it has `{key}`"));
    }
    let variables = node.get("environment").cloned().unwrap_or_default();
    let listed = variables.list().iter().filter_map(Node::text).map(|pair| pair.split_once('=').ok_or(pair));
    let mut environment = BTreeMap::new();
    for pair in listed {
        let (name, value) = pair.map_err(|name| format!("`{name}` comes from the environment"))?;
        environment.insert(name.to_owned(), expand(value)?);
    }
    for (name, value) in variables.entries() {
        environment.insert(name.clone(), expand(value.text().unwrap_or_default())?);
    }
    let ports = node.get("ports").map(Node::list).unwrap_or_default();
    let ports = ports.iter().map(|port_node| match port_node.text() {
        Some(text) => expand(text).and_then(|text| port(&text)),
        None => Err("its ports are in the long form".to_owned()),
    });
    let ports = ports.collect::<Result<Vec<_>, _>>()?;
    if ports.is_empty() {
        return Err("it has no port of the machine".to_owned());
    }
    // What belongs to other containers, or keeps data that tests do not need.
    let beside = [
        "container_name",
        "restart",
        "networks",
        "depends_on",
        "volumes",
        "hostname",
        "profiles",
        "labels",
        "expose",
        "logging",
        "platform",
    ];
    let known: Vec<&str> =
        ["image", "environment", "ports", "healthcheck"].into_iter().chain(beside).collect();
    let mut left = rest(node, &known);
    let mounts = node.get("volumes").map(Node::list).unwrap_or_default().iter().filter_map(Node::text);
    left.extend(
        mounts
            .filter(|text| text.starts_with(['.', '/', '~']))
            .map(|text| format!("the mount `{text}` is left out")),
    );
    let check = node.get("healthcheck").and_then(|check| check.get("test"));
    let health = check.and_then(|check| match (check.text(), check.list()) {
        (Some(line), _) => Some(line.to_owned()),
        (None, [kind, words @ ..]) if matches!(kind.text(), Some("CMD" | "CMD-SHELL")) => {
            Some(words.iter().filter_map(Node::text).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    });
    Ok((TestService { image, environment, ports, health: accepted(health, &mut left) }, left))
}

/// The keys of a service that have no counterpart.
fn rest(node: &Node, known: &[&str]) -> Vec<String> {
    let unknown = node.entries().iter().filter(|(key, _)| !known.contains(&key.as_str()));
    unknown.map(|(key, _)| format!("`{key}` is left out")).collect()
}

/// A command that GitHub passes on; without one, an open port is enough.
fn accepted(health: Option<String>, left: &mut Vec<String>) -> Option<String> {
    let health = health.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())?;
    if health.contains(['"', '\\', '$', '`']) || health.contains(char::is_control) {
        left.push(format!("the health check `{health}` is left out, and an open port is enough"));
        return None;
    }
    Some(health)
}

/// A port of the machine and the container's.
fn port(text: &str) -> Result<Ports, String> {
    let plain = text.strip_suffix("/tcp").unwrap_or(text);
    let plain = ["127.0.0.1:", "0.0.0.0:"].iter().find_map(|host| plain.strip_prefix(host)).unwrap_or(plain);
    if plain.parse::<u16>().is_ok() {
        return Err(format!("its port {plain} has no fixed port of the machine"));
    }
    plain.parse().map_err(|_| format!("its port `{text}` is not of the form `5432:5432`"))
}

/// The health check in the options of `docker create`, and the options that have no counterpart.
fn health(options: &str) -> (Option<String>, Vec<String>) {
    let mut words = super::dockerfile::split(options).into_iter();
    let (mut command, mut left) = (None, Vec::new());
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None if word.starts_with('-') => (word.clone(), words.next()),
            None => (word.clone(), None),
        };
        match option.as_str() {
            "--health-cmd" => command = value,
            // Its times are those of `test-coverage`, and its name is known to GitHub alone.
            "--health-interval"
            | "--health-timeout"
            | "--health-retries"
            | "--health-start-period"
            | "--name"
            | "--hostname"
            | "--network-alias" => {}
            _ => left.push(value.map_or(option.clone(), |value| format!("{option} {value}"))),
        }
    }
    (command, left)
}

/// A text of a compose file with the defaults of its variables; the error is the text if one has none.
fn defaults(text: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').ok_or_else(|| text.to_owned())?;
        let (_, default) =
            inside.split_once(":-").or_else(|| inside.split_once('-')).ok_or_else(|| text.to_owned())?;
        expanded += before;
        expanded += default;
        rest = after;
    }
    if rest.contains('$') { Err(text.to_owned()) } else { Ok(expanded + rest) }
}

#[cfg(test)]
mod tests;
