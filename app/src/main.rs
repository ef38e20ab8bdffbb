//! The service that the pipeline ships.

use std::process::ExitCode;

/// Not `#[tokio::main]`: Sentry's hub is inherited only by threads that start after it is set up.
fn main() -> ExitCode {
    // What is not UTF-8 arrives with replacement characters in it, and is refused by the rules of its variable.
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let names: Vec<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    app::cli::run(std::env::args_os().skip(1), &environment, &names)
}
