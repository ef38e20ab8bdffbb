//! `cargo launchway`: sets a service up with `init`, and then runs its `xtask` from every folder.

fn main() -> std::process::ExitCode {
    launchway::cargo_main()
}
