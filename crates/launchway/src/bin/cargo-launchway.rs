//! `cargo launchway`: adopts a service with `init`, and runs its `xtask` from any folder.

fn main() -> std::process::ExitCode {
    launchway::cargo_main()
}
