//! Reads what surrounds the sources: the lock file, the compose file, the toolchain file, settings.

use super::compiled::{Compiled, locked_name};
use super::detect::has_extension;
use super::dockerfile::Dockerfile;
use super::findings::{Found, Library, Link, Mount, Place};
use super::repository::Repository;

/// The C libraries among these crates, each with its line in `Cargo.lock`.
pub(super) fn libraries(lock: &str, path: &str, compiled: &Compiled) -> Vec<Found<Library>> {
    // Crates that link to nothing, or only to what every system has.
    const BESIDE: [&str; 24] = [
        "android_log-sys",
        "core-foundation-sys",
        "coreaudio-sys",
        "dirs-sys",
        "errno-dragonfly",
        "fsevent-sys",
        "hermit-sys",
        "inotify-sys",
        "io-kit-sys",
        "jni-sys",
        "js-sys",
        "kqueue-sys",
        "libbz2-rs-sys",
        "libz-rs-sys",
        "linux-raw-sys",
        "mach-sys",
        "ndk-sys",
        "objc-sys",
        "schannel-sys",
        "security-framework-sys",
        "system-configuration-sys",
        "web-sys",
        "windows-sys",
        "winreg-sys",
    ];
    let names: Vec<(usize, &str)> = lock
        .lines()
        .enumerate()
        .filter_map(|(line, text)| Some((line + 1, locked_name(text)?)))
        .filter(|(_, name)| compiled.has(name))
        .collect();
    let has = |name: &str| names.iter().any(|(_, known)| *known == name);
    let library = |name: &str| -> Option<(Link, &'static str)> {
        Some(match name {
            "openssl-sys" if has("openssl-src") => {
                (Link::Bundled, "compiled from source: needs perl and make")
            }
            "openssl-sys" => (
                Link::Machine,
                "needs libssl-dev and `OPENSSL_STATIC=1`, or the feature `vendored` of `openssl`",
            ),
            "pq-sys" if has("pq-src") => (Link::Bundled, "compiled from source: needs a C compiler"),
            "pq-sys" => (
                Link::Dynamic,
                "links to libpq, which has no complete static form in Debian: Docker builds the image, or turn on the feature `bundled` of `pq-sys`",
            ),
            "mysqlclient-sys" if has("mysqlclient-src") => {
                (Link::Bundled, "compiled from source: needs a C compiler and cmake")
            }
            "mysqlclient-sys" => (
                Link::Dynamic,
                "links to libmysqlclient, which has no static form: Docker builds the image, or turn on the feature `bundled` of `mysqlclient-sys`",
            ),
            "odbc-sys" => {
                (Link::Dynamic, "links to unixODBC, which loads drivers as it runs: Docker builds the image")
            }
            "rdkafka-sys" => {
                (Link::Bundled, "compiled from source, unless its feature `dynamic-linking` is on")
            }
            "libsqlite3-sys" => (Link::Bundled, "compiled from source where the feature `bundled` is on"),
            "aws-lc-sys" => {
                (Link::Bundled, "compiled from source: needs a C compiler, and cmake for some targets")
            }
            "ring" | "zstd-sys" | "libz-sys" | "libz-ng-sys" | "bzip2-sys" | "lzma-sys" | "liblzma-sys"
            | "onig_sys" | "libgit2-sys" | "libssh2-sys" | "curl-sys" | "librocksdb-sys"
            | "tikv-jemalloc-sys" | "libmimalloc-sys" | "lz4-sys" | "brotli-sys" | "blake3"
            | "libsodium-sys" | "libwebp-sys" => (Link::Bundled, "compiled from source: needs a C compiler"),
            name if (name.ends_with("-sys") || name.ends_with("_sys")) && !BESIDE.contains(&name) => {
                (Link::Machine, "unknown: it may link to a library of the machine")
            }
            _ => return None,
        })
    };
    let found = |(line, name): &(usize, &str)| {
        let (link, words) = library(name)?;
        let library = Library { krate: (*name).to_owned(), link, words };
        Some(Found::new(library, Place::line(path, *line)))
    };
    names.iter().filter_map(found).collect()
}

/// The packages of a lock file, with their lines.
pub(super) fn locked(lock: &str, path: &str, name: &str) -> Option<Place> {
    let wanted = format!("name = \"{name}\"");
    lock.lines().position(|line| line == wanted).map(|line| Place::line(path, line + 1))
}

/// The path and the text of the compose file.
pub(super) fn compose(repository: &Repository) -> Option<(String, String)> {
    let names = ["docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"];
    names.into_iter().find_map(|name| {
        let path = repository.below(name);
        let text = repository.text(&path)?;
        Some((path, text))
    })
}

/// The files and folders beside the Dockerfile that a compose file mounts.
pub(super) fn mounts(repository: &Repository) -> Vec<Found<Mount>> {
    let Some((path, text)) = compose(repository) else { return Vec::new() };
    let mount = |(number, line): (usize, &str)| {
        let line = line.trim().strip_prefix("- ")?.trim_matches(['"', '\'']);
        let (source, target) = line.split_once(":/")?;
        let source = source.strip_prefix("./")?.trim_end_matches('/').to_owned();
        let target = format!("/{}", target.split(':').next()?.trim_end_matches('/'));
        let plain = |text: &str| !text.is_empty() && !text.contains(['$', ' ', '*']) && !text.contains("..");
        let file = repository.tracks(&repository.below(&source));
        let mount = Mount { source, target, file };
        (plain(&mount.source) && plain(&mount.target))
            .then(|| Found::new(mount, Place::line(&path, number + 1)))
    };
    text.lines().enumerate().filter_map(mount).collect()
}

/// The port in a file of settings: `port` of what is not a database's.
pub(super) fn port(repository: &Repository) -> Option<Found<u16>> {
    let is_settings = |path: &&String| {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let inside = repository.inside.to_string_lossy();
        let folder = folder.strip_prefix(&*inside).unwrap_or(folder).trim_matches('/');
        let name = path.rsplit('/').next().unwrap_or_default();
        let others = ["Cargo.toml", "deny.toml", "clippy.toml", "rustfmt.toml", "package.json"];
        has_extension(path, &["toml", "yaml", "yml", "json"])
            && matches!(folder, "" | "config" | "configuration" | "settings" | "conf")
            && !others.contains(&name)
            && !name.contains("compose")
    };
    repository.files.iter().filter(is_settings).find_map(|path| {
        let (line, port) = settings_port(&repository.text(path)?)?;
        Some(Found::new(port, Place::line(path, line)))
    })
}

/// The line and the value of `port = 8000`, `port: 8000` or `"port": 8000`, outside of what is called a database.
fn settings_port(text: &str) -> Option<(usize, u16)> {
    let elsewhere = ["database", "postgres", "mysql", "redis", "db", "smtp", "mail", "metrics"];
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (key, value) = line.split_once([':', '=']).unwrap_or((line, ""));
        let (key, value) = (key.trim().trim_matches('"'), value.trim().trim_matches([',', '"', ' ']));
        if line.starts_with('[') || value.is_empty() || value == "{" {
            section = key.trim_matches(['[', ']']).to_ascii_lowercase();
        } else if key.eq_ignore_ascii_case("port")
            && !elsewhere.iter().any(|word| section.contains(word))
            && let Some(port) = value.parse().ok().filter(|port| *port > 0)
        {
            return Some((number + 1, port));
        }
    }
    None
}

/// Where the repository compiles for musl: a command or a stage of the Dockerfile, or cargo's configuration.
pub(super) fn musl(repository: &Repository, dockerfile: Option<&Dockerfile>) -> Option<Place> {
    let of_stage = dockerfile.and_then(|file| {
        let is_musl = |base: &str| base.contains("musl") || base.contains("rust") && base.contains("alpine");
        let says = |text: &str| text.contains("x86_64-unknown-linux-musl");
        file.compiling().into_iter().find_map(|stage| {
            let named = stage.instructions.iter().find(|found| says(&found.text)).map(|found| found.line);
            let line = named.or_else(|| is_musl(&stage.base).then_some(stage.line))?;
            Some(Place::line(&file.path, line))
        })
    });
    // Not a table `[target.…-musl]`, which is for those who ask for that target.
    let is_target = |line: &str| line.trim_start().starts_with("target") && line.contains("linux-musl");
    let of_cargo = || {
        [".cargo/config.toml", ".cargo/config"].iter().find_map(|name| {
            let path = repository.below(name);
            let line = repository.text(&path)?.lines().position(is_target)?;
            Some(Place::line(&path, line + 1))
        })
    };
    of_stage.or_else(of_cargo)
}

/// The toolchain file and its channel.
pub(super) fn toolchain(repository: &Repository) -> Option<Found<String>> {
    let folders = repository.inside.ancestors();
    let places =
        folders.flat_map(|folder| ["rust-toolchain.toml", "rust-toolchain"].map(|name| folder.join(name)));
    places.into_iter().find_map(|place| {
        let path = place.to_string_lossy().into_owned();
        let text = repository.text(&path)?;
        let channel = text.lines().enumerate().find_map(|(line, text)| {
            let value = text.trim().strip_prefix("channel")?.trim_start().strip_prefix('=')?;
            Some((line + 1, value.trim().trim_matches(['"', '\'']).to_owned()))
        });
        let plain = || Some((1, text.lines().next()?.trim().to_owned()));
        let (line, channel) = channel.or_else(plain)?;
        Some(Found::new(channel, Place::line(&path, line)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_the_machine_differ_from_those_in_the_crate() {
        let of = |names: &[&str]| {
            let lock: Vec<String> =
                names.iter().map(|name| format!("[[package]]\nname = \"{name}\"\n")).collect();
            let lock = lock.concat();
            let found = libraries(&lock, "Cargo.lock", &Compiled::of_lock(&lock)).into_iter();
            found.map(|f| format!("{} {:?} {}", f.value.krate, f.value.link, f.place)).collect::<Vec<_>>()
        };
        assert_eq!(of(&["serde", "openssl-sys"]), ["openssl-sys Machine Cargo.lock:4"]);
        assert_eq!(of(&["openssl-src", "openssl-sys"]), ["openssl-sys Bundled Cargo.lock:4"]);
        assert_eq!(of(&["pq-sys"]), ["pq-sys Dynamic Cargo.lock:2"]);
        assert_eq!(of(&["pq-sys", "pq-src"]), ["pq-sys Bundled Cargo.lock:2"]);
        assert_eq!(of(&["windows-sys", "libbz2-rs-sys", "odd-sys"]), ["odd-sys Machine Cargo.lock:6"]);
    }

    #[test]
    fn a_port_is_found_in_settings() {
        for (text, expected) in [
            ("database:\n  port: 5432\napplication:\n  host: x\n  port: 8000 # ours\n", Some((5, 8000))),
            ("[default]\nport = 8001\n", Some((2, 8001))),
            ("{\n  \"port\": 8002,\n}", Some((2, 8002))),
            ("[redis]\nport = 6379\n", None),
            ("port: ${PORT}\n", None),
        ] {
            assert_eq!(settings_port(text), expected, "{text}");
        }
    }
}
