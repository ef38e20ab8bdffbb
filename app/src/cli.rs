//! The command line, parsed by hand.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::time::SystemTime;

use crate::board::demo;
use crate::serve::Signals;
use crate::settings::{self, Environment, Settings, lookalikes};
use crate::{check, healthcheck, serve};

/// What `app --help` prints. The variables are described in [`crate::settings`].
const USAGE: &str = "\
Usage: app [serve | check [--deploy] [--json] | healthcheck | demo]

  serve          serve HTTP until SIGTERM or SIGINT (default)
  check          report problems with this environment: exit 0 or 1
    --deploy       apply the rules of a PROD server
    --json         print an array of {id, severity, message, hint}
  healthcheck    check that the server on this machine is healthy: exit 0 or 1
  demo           serve the release board with a year of sample data, on loopback only; reads PORT and no other variable
  --help         print this text
  --version      print the version

Environment:
  SERVER_TYPE    TEST or PROD; required
  HOSTS          hosts that requests may name, comma-separated: example.com,.example.org,127.0.0.1
                 required in PROD; localhost,127.0.0.1,[::1] by default in TEST
  SECRET_KEY     key of all cryptographic signing, at least 50 characters
                 required in PROD; generated at each start in TEST
  SECRET_KEY_FALLBACKS
                 earlier keys, comma-separated: their signatures are still accepted
  SENTRY_DSN     where to report errors; nowhere by default
  PORT           port to listen on; 8000 by default
  LISTEN         IP address to listen on; 0.0.0.0 by default
  DATABASE       file of the release board; kept in memory by default
  DRAIN          how long open requests may take to finish at shutdown; 20s by default, 1s to 300s
  APP_COMMIT, APP_IMAGE_DIGEST
                 the running commit and image; set when the image is built and deployed
  RENDER_EXTERNAL_HOSTNAME
                 set by Render; added to HOSTS
  RENDER_SERVICE_ID
                 set by Render; the board counts only the reports of this service

Exit codes: 0 done, 1 failed, 2 usage or settings.
";

/// Runs the program. `arguments` exclude its name; `names` are the names of all variables that are set.
///
/// Returns the exit code: 0 done, 1 failed, 2 usage or settings.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this module owns the terminal")]
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment,
    names: &[String],
) -> ExitCode {
    let outcome = match Command::parse(arguments) {
        Ok(Command::Serve) => serve(environment, names),
        Ok(Command::Check { deploy, json }) => {
            let findings = check::run(environment, names, deploy);
            let text = if json { check::json(&findings) } else { Ok(check::text(&findings)) };
            match text {
                Ok(text) => {
                    println!("{}", text.trim_end());
                    return if check::passes(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
                }
                Err(error) => Err((1, error.to_string())),
            }
        }
        Ok(Command::HealthCheck) => match settings::port(environment) {
            Ok(port) => healthcheck::run(port).map_err(|error| (1, error.to_string())),
            Err(problems) => Err((2, problems.to_string())),
        },
        Ok(Command::Demo) => demo(environment),
        Ok(Command::Help) => {
            print!("{USAGE}");
            Ok(())
        }
        Ok(Command::Version) => {
            println!("app {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Err(unknown) => Err((2, format!("unknown argument `{}`\n\n{USAGE}", unknown.display()))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("app: {}", message.trim_end());
            ExitCode::from(code)
        }
    }
}

fn serve(environment: &Environment, names: &[String]) -> Result<(), (u8, String)> {
    let signals = Signals::catch().map_err(|error| (1, error.to_string()))?;
    let mut settings = Settings::read(environment).map_err(|problems| (2, problems.to_string()))?;
    settings.warnings.extend(lookalikes(names.iter().map(String::as_str)));
    serve::run(&signals, &settings, Vec::new()).map_err(|error| (1, error.to_string()))
}

/// Serves a board of sample data, as the process that the last sample deployment made live.
fn demo(environment: &Environment) -> Result<(), (u8, String)> {
    const REPORTS: u32 = 1000;
    let signals = Signals::catch().map_err(|error| (1, error.to_string()))?;
    let reports = demo::reports(SystemTime::now().into(), REPORTS);
    let live = demo::live(&reports);
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "LISTEN" => Some("127.0.0.1".to_owned()),
        "APP_COMMIT" => live?.commit.clone(),
        "APP_IMAGE_DIGEST" => Some(live?.digest.clone()),
        "PORT" => environment("PORT"),
        _ => None,
    });
    let settings = settings.map_err(|problems| (2, problems.to_string()))?;
    serve::run(&signals, &settings, reports).map_err(|error| (1, error.to_string()))
}

/// A parsed command line.
enum Command {
    Serve,
    Check { deploy: bool, json: bool },
    HealthCheck,
    Demo,
    Help,
    Version,
}

impl Command {
    /// Fails with the first unknown argument. `--help` is accepted after a command too.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, OsString> {
        let Some(word) = arguments.next() else { return Ok(Self::Serve) };
        let command = match word.to_str() {
            Some("serve") => Self::Serve,
            Some("check") => return Self::check(arguments),
            Some("healthcheck") => Self::HealthCheck,
            Some("demo") => Self::Demo,
            Some("--version" | "-V") => Self::Version,
            _ if is_help(&word) => Self::Help,
            _ => return Err(word),
        };
        match arguments.next() {
            None => Ok(command),
            Some(word) if is_help(&word) => Ok(Self::Help),
            Some(word) => Err(word),
        }
    }

    fn check(arguments: impl Iterator<Item = OsString>) -> Result<Self, OsString> {
        let (mut deploy, mut json) = (false, false);
        for word in arguments {
            match word.to_str() {
                Some("--deploy") => deploy = true,
                Some("--json") => json = true,
                _ if is_help(&word) => return Ok(Self::Help),
                _ => return Err(word),
            }
        }
        Ok(Self::Check { deploy, json })
    }
}

fn is_help(word: &OsStr) -> bool {
    word == "--help" || word == "-h"
}
