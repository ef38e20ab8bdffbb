//! The command line: a few words, parsed by hand.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::board::demo;
use crate::serve::Signals;
use crate::settings::{self, Environment, Settings, lookalikes};
use crate::{check, healthcheck, serve};

/// What `app --help` prints. The variables are described in [`crate::settings`].
const USAGE: &str = "\
Usage: app [serve | check [--deploy] [--json] | healthcheck | demo]

  serve          answer HTTP until SIGTERM or SIGINT (default)
  check          say what speaks against running with this environment: exit 0 or 1
    --deploy       by the rules of a PROD server, and look at what the service answers
    --json         an array of {id, severity, message, hint}
  healthcheck    ask the server on this machine whether it is well: exit 0 or 1
  demo           serve the release board with a made-up year, on this machine only; of the variables it reads PORT
  --help         this text
  --version      the version of this program

Environment:
  SERVER_TYPE    TEST or PROD; required
  HOSTS          hosts that the server answers to, comma-separated: example.com,.example.org,127.0.0.1
                 required in PROD; localhost,127.0.0.1,[::1] by default in TEST
  SECRET_KEY     key of all cryptographic signing, at least 50 characters
                 required in PROD; made up for each process in TEST
  SECRET_KEY_FALLBACKS
                 earlier keys, comma-separated: what they signed still counts
  SENTRY_DSN     where errors are reported; nowhere by default
  PORT           port to listen on; 8000 by default
  LISTEN         IP address to listen on; 0.0.0.0 by default
  DATABASE       file of the release board; in memory by default
  DRAIN          how long requests may take to finish once told to end; 20s by default, 1s to 300s
  APP_COMMIT, APP_IMAGE_DIGEST
                 what is running; set by whoever builds and starts the image
  RENDER_EXTERNAL_HOSTNAME
                 set by Render; added to HOSTS
  RENDER_SERVICE_ID
                 set by Render; the board counts the reports of this service

Exit codes: 0 done, 1 failed, 2 usage or settings.
";

/// Runs the program on its arguments (without its name), the reader of its environment, and the names in it.
///
/// Answers the exit code: 0 done, 1 failed, 2 usage or settings.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what speaks to the terminal")]
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

/// Serves a made-up board, as the process that its last deployment made live.
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

/// What the first argument asks for.
enum Command {
    Serve,
    Check { deploy: bool, json: bool },
    HealthCheck,
    Demo,
    Help,
    Version,
}

impl Command {
    /// Fails with the argument that means nothing here.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, OsString> {
        let Some(word) = arguments.next() else { return Ok(Self::Serve) };
        let command = match word.to_str() {
            Some("serve") => Self::Serve,
            Some("check") => return Self::check(arguments),
            Some("healthcheck") => Self::HealthCheck,
            Some("demo") => Self::Demo,
            Some("--help" | "-h") => Self::Help,
            Some("--version" | "-V") => Self::Version,
            _ => return Err(word),
        };
        arguments.next().map_or(Ok(command), Err)
    }

    fn check(arguments: impl Iterator<Item = OsString>) -> Result<Self, OsString> {
        let (mut deploy, mut json) = (false, false);
        for word in arguments {
            match word.to_str() {
                Some("--deploy") => deploy = true,
                Some("--json") => json = true,
                _ => return Err(word),
            }
        }
        Ok(Self::Check { deploy, json })
    }
}
