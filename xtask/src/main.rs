//! `cargo xtask`: the pipeline of this workspace.

fn main() -> std::process::ExitCode {
    launchway::main()
}
