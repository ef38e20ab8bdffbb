//! Checks of workflows that become `lint.checks`: subcommands of cargo and programs whose tool can be pinned.

use super::findings::Found;
use super::github::{Step, Workflows};
use crate::config::OwnCheck;

/// The checks, and what was found and is not taken over, with the reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) found: Vec<Found<OwnCheck>>,
    pub(super) left: Vec<Found<String>>,
}

/// A check that lint can run.
struct Tool {
    /// How its command line begins.
    begins: &'static str,
    /// One of these words makes the command a check; none means that it always is one.
    checks: &'static [&'static str],
    /// Words with which it changes files instead.
    changes: &'static [&'static str],
    package: &'static str,
    /// Where the workflow names no version.
    version: &'static str,
}

const TOOLS: [Tool; 10] = [
    Tool::of("cargo machete", &[], &["--fix"], "cargo-machete", "0.9.2"),
    Tool::of("cargo shear", &[], &["--fix"], "cargo-shear", "1.14.0"),
    Tool::of("cargo sort", &["--check", "-c"], &[], "cargo-sort", "2.1.4"),
    Tool::of("cargo audit", &[], &["fix"], "cargo-audit", "0.22.2"),
    Tool::of("cargo hack", &["check", "clippy"], &[], "cargo-hack", "0.6.46"),
    Tool::of("cargo vet", &[], &["init", "certify", "trust", "suggest"], "cargo-vet", "0.10.3"),
    Tool::of("cargo hakari", &["verify", "--diff"], &[], "cargo-hakari", "0.9.39"),
    Tool::of("typos", &[], &["-w", "--write-changes"], "typos-cli", "1.52.0"),
    Tool::of("taplo", &["--check", "lint", "check"], &[], "taplo-cli", "0.10.0"),
    Tool::of("dprint", &["check"], &[], "dprint", "0.64.3"),
];

/// Actions that run a check, and its command line.
const ACTIONS: [(&str, &str); 5] = [
    ("crate-ci/typos", "typos"),
    ("bnjbvr/cargo-machete", "cargo machete"),
    ("rustsec/audit-check", "cargo audit"),
    ("actions-rust-lang/audit", "cargo audit"),
    ("actions-rs/audit-check", "cargo audit"),
];

/// Subcommands of cargo that check nothing, or that the pipeline's own steps run.
const OTHERS: [&str; 40] = [
    "add",
    "b",
    "bench",
    "binstall",
    "build",
    "bump",
    "c",
    "check",
    "chef",
    "clean",
    "clippy",
    "cross",
    "deny",
    "doc",
    "fetch",
    "fmt",
    "generate-lockfile",
    "init",
    "install",
    "llvm-cov",
    "login",
    "make",
    "metadata",
    "new",
    "nextest",
    "package",
    "publish",
    "r",
    "release",
    "run",
    "set-version",
    "t",
    "tarpaulin",
    "test",
    "tree",
    "update",
    "vendor",
    "version",
    "xtask",
    "zigbuild",
];

impl Tool {
    const fn of(
        begins: &'static str,
        checks: &'static [&'static str],
        changes: &'static [&'static str],
        package: &'static str,
        version: &'static str,
    ) -> Self {
        Self { begins, checks, changes, package, version }
    }

    fn is_check(&self, command: &str) -> bool {
        let rest = command.strip_prefix(self.begins).filter(|rest| rest.is_empty() || rest.starts_with(' '));
        let has = |words: &[&str]| {
            words.iter().any(|word| rest.is_some_and(|rest| rest.split(' ').any(|w| w == *word)))
        };
        rest.is_some() && (self.checks.is_empty() || has(self.checks)) && !has(self.changes)
    }
}

impl Checks {
    /// `inside` is the Cargo root, relative to the git root.
    pub(super) fn find(workflows: &Workflows, inside: &str) -> Self {
        let mut checks = Self::default();
        for step in workflows.jobs.iter().filter(|job| job.tests_changes).flat_map(|job| &job.steps) {
            for command in &step.commands {
                checks.command(workflows, inside, step, command);
            }
            checks.action(workflows, step);
        }
        checks
    }

    /// An action, whose version is that of the tool for some of them.
    fn action(&mut self, workflows: &Workflows, step: &Step) {
        let Some(Found { value, place }) = &step.uses else { return };
        let (name, version) = value.split_once('@').unwrap_or((value, ""));
        let Some((_, run)) = ACTIONS.iter().find(|(action, _)| name.eq_ignore_ascii_case(action)) else {
            return;
        };
        let Some(tool) = TOOLS.iter().find(|tool| tool.begins == *run) else { return };
        // A token is for what the action reports to GitHub.
        if step.may_fail || step.with.entries().iter().any(|(key, _)| !key.to_lowercase().contains("token")) {
            let reason = format!("the action `{name}`: `lint.checks` can run `{run}` with what it is set to");
            return self.left.push(Found::new(reason, place.clone()));
        }
        let of_tag = Some(version.trim_start_matches('v'))
            .filter(|version| is_exact(version) && !run.contains("audit"));
        let version = of_tag.map(str::to_owned).or_else(|| pinned(workflows, tool.package));
        let version = version.unwrap_or_else(|| tool.version.to_owned());
        if let Ok(check) = OwnCheck::pinned(run, &format!("{}@{version}", tool.package))
            && self.found.iter().all(|known| known.value != check)
        {
            self.found.push(Found::new(check, place.clone()));
        }
    }

    fn command(&mut self, workflows: &Workflows, inside: &str, step: &Step, command: &Found<String>) {
        let line = command.value.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut leave = |reason: &str| {
            let shown: String = line.chars().take(60).collect();
            let left = Found::new(format!("`{shown}`: {reason}"), command.place.clone());
            if !self.left.iter().any(|known| known.value == left.value) {
                self.left.push(left);
            }
        };
        let Some(tool) = TOOLS.iter().find(|tool| tool.is_check(&line)) else {
            let mut words = line.split(' ').filter(|word| !word.starts_with('+'));
            let subcommand = if words.next() == Some("cargo") { words.next() } else { None };
            match subcommand {
                Some("sqlx") if line.contains("prepare") && line.contains("--check") => {
                    leave("it needs a database with the migrations, which lint does not have");
                }
                Some(name) if TOOLS.iter().any(|tool| tool.begins.strip_prefix("cargo ") == Some(name)) => {}
                Some(name) if name.starts_with('-') || name == "sqlx" || OTHERS.contains(&name) => {}
                Some(_) => leave("`lint.checks` can run it, with its `tool` and version"),
                None => {}
            }
            return;
        };
        if step.may_fail {
            return leave("the workflow goes on when it fails");
        }
        if step.folder != inside {
            return leave("it runs in another folder than the Cargo root");
        }
        let version = pinned(workflows, tool.package).unwrap_or_else(|| tool.version.to_owned());
        match OwnCheck::pinned(&line, &format!("{}@{version}", tool.package)) {
            Ok(check) if self.found.iter().any(|known| known.value == check) => {}
            Ok(check) => self.found.push(Found::new(check, command.place.clone())),
            Err(_) => leave("it needs a shell: put it into a script, and the script into `lint.checks`"),
        }
    }
}

/// The version of a tool that a workflow installs.
fn pinned(workflows: &Workflows, package: &str) -> Option<String> {
    let of_list = |text: &str| {
        let versions = text
            .split([',', ' ', '\n'])
            .filter_map(|word| word.trim().strip_prefix(package)?.strip_prefix('@'));
        versions.map(|version| version.trim_start_matches('v').to_owned()).find(|version| is_exact(version))
    };
    let of_command = |command: &str| {
        let mut words = command.split_whitespace();
        let is_install =
            words.clone().any(|word| word == package || word.starts_with(&format!("{package}@")))
                && ["install", "binstall"].iter().any(|verb| command.contains(verb));
        let after = command.replace('=', " ");
        let mut after = after.split_whitespace().skip_while(|word| !matches!(*word, "--version" | "--vers"));
        let version = || after.nth(1).filter(|version| is_exact(version)).map(str::to_owned);
        if is_install { words.find_map(of_list).or_else(version) } else { None }
    };
    workflows.jobs.iter().flat_map(|job| &job.steps).find_map(|step| {
        let expanded = |text: &str| step.scope.expand(text).ok();
        let of_action = step.with.get("tool").and_then(|node| of_list(&expanded(node.text()?)?));
        of_action.or_else(|| step.commands.iter().find_map(|command| of_command(&expanded(&command.value)?)))
    })
}

fn is_exact(version: &str) -> bool {
    version.split('.').count() == 3
        && version.chars().all(|c| c.is_ascii_digit() || c == '.')
        && version.split('.').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::github::tests::of;
    use super::*;

    fn checks(steps: &str) -> (Vec<String>, Vec<String>) {
        let steps: Vec<String> = steps.lines().map(|line| format!("      {line}\n")).collect();
        let steps = steps.concat();
        let Checks { found, left } =
            Checks::find(&of(&format!("on: push\njobs:\n  lint:\n    steps:\n{steps}")), "");
        let entry = |found: &Found<OwnCheck>| {
            let (name, version) = found.value.tool().unwrap();
            format!("{} {name}@{version} {}", found.value.run, found.place)
        };
        let left = left.iter().map(|left| format!("{} {}", left.place, left.value));
        (found.iter().map(entry).collect(), left.collect())
    }

    #[test]
    fn checks_are_taken_over_with_their_tool_and_its_version() {
        let (found, left) = checks(
            "- uses: taiki-e/install-action@v2\n  with:\n    tool: cargo-machete@0.8.0,typos\n- run: cargo machete\n- run: |\n    cargo install --locked cargo-sort --version 1.0.9\n    cargo sort -w --check\n    cargo fmt --check\n    cargo clippy -- -D warnings\n    cargo deny check\n- run: typos --config=typos.toml\n- run: cargo machete",
        );
        assert_eq!(
            found,
            [
                "cargo machete cargo-machete@0.8.0 ci.yml:8",
                "cargo sort -w --check cargo-sort@1.0.9 ci.yml:11",
                &format!("typos --config=typos.toml typos-cli@{} ci.yml:15", TOOLS[7].version),
            ]
        );
        assert_eq!(left, Vec::<String>::new());
    }

    #[test]
    fn an_action_that_runs_a_check_becomes_one() {
        let (found, left) = checks(
            "- uses: actions/checkout@v4\n- uses: crate-ci/typos@v1.29.4\n- uses: RustSec/audit-check@v2.0.0\n  with:\n    token: ${{ secrets.GITHUB_TOKEN }}\n- uses: bnjbvr/cargo-machete@main\n- uses: crate-ci/typos@v1.29.4\n  with:\n    files: ./docs",
        );
        let version = |at: usize| TOOLS[at].version;
        assert_eq!(
            found,
            [
                "typos typos-cli@1.29.4 ci.yml:6".to_owned(),
                format!("cargo audit cargo-audit@{} ci.yml:7", version(3)),
                format!("cargo machete cargo-machete@{} ci.yml:10", version(0)),
            ]
        );
        assert_eq!(
            left,
            ["ci.yml:11 the action `crate-ci/typos`: `lint.checks` can run `typos` with what it is set to"]
        );
        for (_, run) in ACTIONS {
            assert!(TOOLS.iter().any(|tool| tool.begins == run), "{run}");
        }
    }

    #[test]
    fn what_is_not_taken_over_has_its_reason() {
        let (found, left) = checks(
            "- run: cargo sqlx prepare --check -- --all-targets\n- run: cargo audit\n  continue-on-error: true\n- run: cargo machete || true\n- run: cargo sort\n  working-directory: crates/web\n- run: cargo sort --check\n  working-directory: crates/web\n- run: cargo +nightly udeps\n- run: typos --write-changes\n- run: cargo build",
        );
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(
            left,
            [
                "ci.yml:5 `cargo sqlx prepare --check -- --all-targets`: it needs a database with the migrations, which lint does not have",
                "ci.yml:6 `cargo audit`: the workflow goes on when it fails",
                "ci.yml:8 `cargo machete || true`: it needs a shell: put it into a script, and the script into `lint.checks`",
                "ci.yml:11 `cargo sort --check`: it runs in another folder than the Cargo root",
                "ci.yml:13 `cargo +nightly udeps`: `lint.checks` can run it, with its `tool` and version",
            ]
        );
    }

    #[test]
    fn every_tool_can_be_configured() {
        for tool in TOOLS {
            let line = [&[tool.begins], tool.checks].concat().join(" ");
            assert!(tool.is_check(&line), "{line}");
            OwnCheck::pinned(&line, &format!("{}@{}", tool.package, tool.version)).unwrap();
        }
    }
}
