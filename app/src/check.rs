//! `app check`: what speaks against running with this environment, without network and without writing anything.
//!
//! The settings are read as the server reads them. With `--deploy` they are judged by the rules of a PROD server, as
//! Django's `check --deploy` does, and what the service answers is looked at in the process, header by header.
//!
//! The ids are Django's where Django has the check (`security.W009`), ours elsewhere:
//!
//! | id | about |
//! |---|---|
//! | `security.W004` | `Strict-Transport-Security` is missing or short, in PROD; without subdomains and preload, which are not ours |
//! | `security.W006`, `W019`, `W022`, `E024` | `X-Content-Type-Options`, `X-Frame-Options`, `Referrer-Policy`, `Cross-Origin-Opener-Policy` |
//! | `security.W009`, `W025` | `SECRET_KEY`, `SECRET_KEY_FALLBACKS` |
//! | `security.W018` | `SERVER_TYPE` is `TEST` |
//! | `security.W020` | `HOSTS` |
//! | `app.R101` | `SENTRY_DSN` |
//! | `app.R102` | `RENDER_EXTERNAL_HOSTNAME` |
//! | `app.R103` | `DATABASE` does not stay, or is no file |
//! | `app.R104` | `APP_COMMIT`, `APP_IMAGE_DIGEST` |
//! | `app.R105` | `PORT`, `LISTEN` |
//! | `app.R106` | the clock is off by years, so no signature would count |
//! | `app.R107` | `SSL_VERIFY` |
//! | `app.R108` | a variable that looks like one of ours |
//! | `app.R109`, `R110`, `R111` | `SERVER_TYPE`, `DRAIN`, `*` in `HOSTS` |
//! | `app.R112`, `R113` | a cookie is set; `Content-Security-Policy` |
//!
//! Not here, because there is nothing to check: sessions and CSRF (`W003`, `W010` to `W016`: there are no cookies), and
//! the redirect to TLS (`W008`: whoever ends TLS does that).

mod probe;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::settings::problem::id;
use crate::settings::{Environment, Problem, ServerType, Settings, lookalikes};

/// The begin of 2026, since 1970: a clock that is behind this is wrong.
const EARLIEST: Duration = Duration::from_hours(24 * 365 * 56 + 24 * 14);

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    id: &'static str,
    severity: Severity,
    /// What is wrong. Quotes no secret.
    message: String,
    /// What to do about it.
    hint: String,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Not to be run like this.
    Error,
    /// Allowed, and still worth a look.
    Warning,
}

impl Finding {
    fn new(severity: Severity, problem: Problem) -> Self {
        let Problem { id, variable, wrong, way_out } = problem;
        Self { id, severity, message: format!("{variable}: {wrong}"), hint: way_out }
    }
}

/// Everything that was found, errors first. `names` are the names of all variables that are set.
pub(crate) fn run(environment: &Environment, names: &[String], deploy: bool) -> Vec<Finding> {
    let settings = if deploy { Settings::read_strictly(environment) } else { Settings::read(environment) };
    let (problems, warnings) = match &settings {
        Ok(settings) => (Vec::new(), settings.warnings.clone()),
        Err(found) => (found.problems.clone(), found.warnings.clone()),
    };
    let strangers = lookalikes(names.iter().map(String::as_str));
    let stranger = if deploy { Severity::Error } else { Severity::Warning };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(problems.into_iter().map(|problem| Finding::new(Severity::Error, problem)));
    findings.extend(strangers.into_iter().map(|problem| Finding::new(stranger, problem)));
    findings.extend(warnings.into_iter().map(|problem| Finding::new(Severity::Warning, problem)));
    if deploy {
        findings.extend(server_type(environment));
        findings.extend(ssl_verify(environment));
        findings.extend(clock(SystemTime::now()));
        if let Ok(settings) = settings {
            findings.extend(probe::run(settings));
        }
    }
    // Stable: what was found first stays first.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether nothing that was found is an error.
pub(crate) fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

/// For people: each finding with its way out, and how many there are.
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
        return "nothing found\n".to_owned();
    }
    let lines: String = findings.iter().map(line).collect();
    let (errors, warnings) =
        (count(Severity::Error, "error", "errors"), count(Severity::Warning, "warning", "warnings"));
    format!("{lines}\n{errors}, {warnings}\n")
}

/// For programs: an array with an object for each finding.
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
    // A warning also where it is deployed: a server for trying things out is a server too, and all else is judged as in PROD.
    Some(Finding::new(
        Severity::Warning,
        Problem {
            id: id::DEBUG,
            variable: "SERVER_TYPE".to_owned(),
            wrong: "`TEST` makes up for settings that are missing".to_owned(),
            way_out: "set it to PROD for a server that the public reaches".to_owned(),
        },
    ))
}

/// The server checks certificates whatever this says; whoever sets it believes otherwise.
fn ssl_verify(environment: &Environment) -> Option<Finding> {
    let text = value(environment, "SSL_VERIFY").to_ascii_lowercase();
    matches!(text.as_str(), "false" | "0" | "no" | "off").then(|| {
        Finding::new(
            Severity::Error,
            Problem {
                id: id::SSL_VERIFY,
                variable: "SSL_VERIFY".to_owned(),
                wrong: "would let anybody pass for Sentry".to_owned(),
                way_out: "remove it: certificates are checked whatever it says".to_owned(),
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
                wrong: format!("says {}", humantime::format_rfc3339_seconds(now)),
                way_out: "set it: signatures count for five minutes".to_owned(),
            },
        )
    })
}

#[cfg(test)]
mod tests;
