//! Compiles the binary: statically linked, free of traces of the machine, and determined by the commit alone.
//!
//! Cargo gets no variable that could change the binary. `cargo_settings` rejects those of the user's own cargo settings
//! that could.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::cargo_settings;
use super::sources::Sources;
use super::toolchain::Toolchain;
use crate::config::Config;
use crate::git;
use crate::project::Project;
use crate::workspace::Program;
use launchway_core::call;
use launchway_core::command::Call;

/// What cargo and rustup need from the environment: folders, access to registries, and how to report.
/// Sets `--target` even if it is the host's own: without it, the flags would apply to build scripts and macros too.
/// A trailing `*` stands for any ending.
const INHERITED: [&str; 29] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "CARGO_HOME",
    "CARGO_HTTP_*",
    "CARGO_NET_*",
    "CARGO_REGISTRIES_*",
    "CARGO_REGISTRY_*",
    "CARGO_TERM_*",
    "CARGO_BUILD_JOBS",
    "CARGO_LOG",
    "RUSTUP_*",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "GIT_SSH*",
    "GIT_SSL_*",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
];

/// `cargo build` of these programs, to run in the folder of the sources.
///
/// `--target` stands there even for the host's own: without it the flags would reach build scripts and macros too.
pub(super) fn call(
    project: Project<'_>,
    sources: &Sources,
    toolchain: &Toolchain,
    programs: &[Program],
) -> Result<Call> {
    let Project { root, config, git } = project;
    let Config { target, build, .. } = config;
    let settings = cargo_settings::read(target, sources, &toolchain.cargo_home)?;
    let mut flags = settings.flags;
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    let sysroot = &toolchain.sysroot;
    // The last match wins.
    let mut folders: Vec<(&Path, String)> = vec![
        (git::top(root).unwrap_or(root), "/repository".to_owned()),
        (sources.checkout.folder(), "/repository".to_owned()),
        (root, "/workspace".to_owned()),
        (sources.context.root(), "/workspace".to_owned()),
        (&toolchain.cargo_home, "/cargo".to_owned()),
        (sysroot, "/rust".to_owned()),
    ];
    // With the component `rust-src`, the compiler records the standard library's sources by their path on disk, and
    // without it by this one.
    let library = sysroot.join("lib/rustlib/src/rust");
    folders.extend(toolchain.commit.as_ref().map(|commit| (library.as_path(), format!("/rustc/{commit}"))));
    for (place, (folder, name)) in folders.iter().enumerate() {
        if folders.iter().skip(place + 1).all(|(later, _)| later != folder) {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        }
    }
    let profile = &build.profile;
    let mut call = call!("cargo build --profile {profile} --locked");
    let packages: BTreeSet<&str> = programs.iter().map(|program| program.package.as_str()).collect();
    for package in packages {
        call = call.args(["--package", package]);
    }
    for Program { binary, .. } in programs {
        call = call.args(["--bin", binary]);
    }
    call = build
        .with_features(call.args(["--target", target]))
        .inherit_only(&INHERITED)
        .envs(&build.environment);
    let mut call = call
        .env("CARGO_TARGET_DIR", root.join("target/image").display().to_string())
        // Overrides every configuration file, and keeps a path with a space as one flag.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        // For code that reads the time or the zone during compilation.
        .env("SOURCE_DATE_EPOCH", git.time.to_string())
        .env("TZ", "UTC");
    if let Some(linker) = settings.linker {
        call = call
            .env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace(['-', '.'], "_")), linker);
    }
    if let Some(pinned) = &toolchain.pinned {
        call = call.env("RUSTUP_TOOLCHAIN", pinned);
    }
    Ok(call)
}
