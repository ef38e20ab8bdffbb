//! The service that the pipeline ships.

use std::process::ExitCode;

/// Not `#[tokio::main]`: only threads that start after Sentry is set up inherit its hub.
fn main() -> ExitCode {
    // Bytes that are not UTF-8 become replacement characters, which the variable's own rules reject.
    let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let names: Vec<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    app::cli::run(std::env::args_os().skip(1), &environment, &names)
}
