//! `app check`: reports problems with the environment. Uses no network and writes nothing.
//!
//! The settings are read as the server reads them; with `--deploy` the rules of a PROD server apply, as in Django's
//! `check --deploy`.
//!
//! The ids are Django's where Django has the check (`security.W009`), ours elsewhere:
//!
//! | id | subject |
//! |---|---|
//! | `security.W009`, `W025` | `SECRET_KEY`, `SECRET_KEY_FALLBACKS` |
//! | `security.W018` | `SERVER_TYPE` is `TEST` |
//! | `security.W020` | `HOSTS` |
//! | `app.R101` | `SENTRY_DSN` |
//! | `app.R102` | `RENDER_EXTERNAL_HOSTNAME` |
//! | `app.R103` | `DATABASE` is not persistent, or not a file |
//! | `app.R104` | `APP_COMMIT`, `APP_IMAGE_DIGEST` |
//! | `app.R105` | `PORT`, `LISTEN` |
//! | `app.R106` | the clock is off by years, so every signature would be rejected |
//! | `app.R107` | `SSL_VERIFY` |
//! | `app.R108` | a misspelt variable |
//! | `app.R109`, `R110`, `R111` | `SERVER_TYPE`, `DRAIN`, `*` in `HOSTS` |
//!
//! Django's other checks do not apply: there are no sessions and no cookies (`W003`, `W010` to `W016`), the platform's
//! proxy redirects to TLS (`W008`), and tests hold the security headers (`W004`, `W006`, `W019`, `W022`, `E024`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::settings::problem::id;
use crate::settings::{Environment, Problem, ServerType, Settings, lookalikes};

/// From 1970 to the start of 2026: a clock that shows less is wrong.
const EARLIEST: Duration = Duration::from_secs((24 * 365 * 56 + 24 * 14) * 3600);

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    id: &'static str,
    severity: Severity,
    /// What is wrong. Quotes no secret.
    message: String,
    /// How to fix it.
    hint: String,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The server must not run like this.
    Error,
    /// Allowed but questionable.
    Warning,
}

impl Finding {
    fn new(severity: Severity, problem: Problem) -> Self {
        let message = problem.sentence();
        let Problem { id, hint, .. } = problem;
        Self { id, severity, message, hint }
    }
}

/// All findings, errors first. `names` are the names of all variables that are set.
pub(crate) fn run(environment: &Environment, names: &[String], deploy: bool) -> Vec<Finding> {
    let settings = if deploy { Settings::read_strictly(environment) } else { Settings::read(environment) };
    let (problems, warnings) = match &settings {
        Ok(settings) => (Vec::new(), settings.warnings.clone()),
        Err(found) => (found.problems.clone(), found.warnings.clone()),
    };
    let misspelt = lookalikes(names.iter().map(String::as_str));
    let severity = if deploy { Severity::Error } else { Severity::Warning };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(problems.into_iter().map(|problem| Finding::new(Severity::Error, problem)));
    findings.extend(misspelt.into_iter().map(|problem| Finding::new(severity, problem)));
    findings.extend(warnings.into_iter().map(|problem| Finding::new(Severity::Warning, problem)));
    if deploy {
        findings.extend(server_type(environment));
        findings.extend(ssl_verify(environment));
        findings.extend(clock(SystemTime::now()));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether no finding is an error.
pub(crate) fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

/// For people: each finding with its hint, and the totals.
pub(crate) fn text(findings: &[Finding]) -> String {
    let line = |Finding { id, severity, message, hint }: &Finding| {
        let word = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("{word:8}{id:15}{message}\n{:23}{hint}\n", "")
    };
    let count = |severity, one: &str, many: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        format!("{count} {}", if count == 1 { one } else { many })
    };
    if findings.is_empty() {
        return "no problems found\n".to_owned();
    }
    let lines: String = findings.iter().map(line).collect();
    let (errors, warnings) =
        (count(Severity::Error, "error", "errors"), count(Severity::Warning, "warning", "warnings"));
    format!("{lines}\n{errors}, {warnings}\n")
}

/// For programs: an array of findings.
pub(crate) fn json(findings: &[Finding]) -> serde_json::Result<String> {
    serde_json::to_string(findings)
}

fn value(environment: &Environment, name: &str) -> String {
    environment(name).unwrap_or_default().trim().to_owned()
}

fn server_type(environment: &Environment) -> Option<Finding> {
    if value(environment, "SERVER_TYPE") != ServerType::Test.to_string() {
        return None;
    }
    // Only a warning: a staging server may be deployed too, and the PROD rules apply to everything else.
    Some(Finding::new(
        Severity::Warning,
        Problem {
            id: id::DEBUG,
            variable: "SERVER_TYPE".to_owned(),
            wrong: "is `TEST`, which replaces missing settings with defaults".to_owned(),
            hint: "set it to PROD for a public server".to_owned(),
        },
    ))
}

/// The server verifies certificates regardless; a user who sets this expects otherwise.
fn ssl_verify(environment: &Environment) -> Option<Finding> {
    let text = value(environment, "SSL_VERIFY").to_ascii_lowercase();
    matches!(text.as_str(), "false" | "0" | "no" | "off").then(|| {
        Finding::new(
            Severity::Error,
            Problem {
                id: id::SSL_VERIFY,
                variable: "SSL_VERIFY".to_owned(),
                wrong: "asks for connections to Sentry without certificate checks".to_owned(),
                hint: "remove it: certificates are always checked".to_owned(),
            },
        )
    })
}

fn clock(now: SystemTime) -> Option<Finding> {
    (now < UNIX_EPOCH + EARLIEST).then(|| {
        Finding::new(
            Severity::Error,
            Problem {
                id: id::CLOCK,
                variable: "the clock".to_owned(),
                wrong: format!("shows {}", humantime::format_rfc3339_seconds(now)),
                hint: "set it: signatures are valid for five minutes".to_owned(),
            },
        )
    })
}

#[cfg(test)]
mod tests;
