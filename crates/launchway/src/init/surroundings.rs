//! Reads what surrounds the sources: the lock file, workflows, the toolchain file, `.env`.

use super::detect::has_extension;
use super::findings::{Found, Library, Mount, Place};
use super::repository::Repository;

/// The C libraries in `Cargo.lock`, each crate with its line.
pub(super) fn libraries(lock: &str, path: &str) -> Vec<Found<Library>> {
    // Crates that link to nothing, or only to what every system has.
    const BESIDE: [&str; 22] = [
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
        .filter_map(|(line, text)| Some((line + 1, text.strip_prefix("name = \"")?.strip_suffix('"')?)))
        .collect();
    let has = |name: &str| names.iter().any(|(_, known)| *known == name);
    let library = |name: &str| -> Option<(bool, &'static str)> {
        Some(match name {
            "openssl-sys" if has("openssl-src") => (true, "compiled from source: needs perl and make"),
            "openssl-sys" => {
                (false, "needs libssl-dev and `OPENSSL_STATIC=1`, or the feature `vendored` of `openssl`")
            }
            "pq-sys" => (false, "links to libpq, which Debian cannot link statically"),
            "mysqlclient-sys" => (false, "links to libmysqlclient"),
            "rdkafka-sys" => (true, "compiled from source, unless its feature `dynamic-linking` is on"),
            "libsqlite3-sys" => (true, "compiled from source where the feature `bundled` is on"),
            "aws-lc-sys" => (true, "compiled from source: needs a C compiler, and cmake for some targets"),
            "ring" | "zstd-sys" | "libz-sys" | "libz-ng-sys" | "bzip2-sys" | "lzma-sys" | "liblzma-sys"
            | "onig_sys" | "libgit2-sys" | "libssh2-sys" | "curl-sys" | "librocksdb-sys"
            | "tikv-jemalloc-sys" | "libmimalloc-sys" | "lz4-sys" | "brotli-sys" | "blake3"
            | "libsodium-sys" | "libwebp-sys" => (true, "compiled from source: needs a C compiler"),
            name if (name.ends_with("-sys") || name.ends_with("_sys")) && !BESIDE.contains(&name) => {
                (false, "unknown: it may link to a library of the machine")
            }
            _ => return None,
        })
    };
    let found = |(line, name): &(usize, &str)| {
        let (bundled, words) = library(name)?;
        let library = Library { krate: (*name).to_owned(), bundled, words };
        Some(Found::new(library, Place::line(path, *line)))
    };
    names.iter().filter_map(found).collect()
}

/// The packages of a lock file, with their lines.
pub(super) fn locked(lock: &str, path: &str, name: &str) -> Option<Place> {
    let wanted = format!("name = \"{name}\"");
    lock.lines().position(|line| line == wanted).map(|line| Place::line(path, line + 1))
}

/// Existing workflows that are not ours.
pub(super) fn workflows(repository: &Repository) -> Vec<String> {
    let is_workflow =
        |path: &&String| path.starts_with(".github/workflows/") && has_extension(path, &["yml", "yaml"]);
    repository.files.iter().filter(is_workflow).cloned().collect()
}

/// The image that a workflow pushes, without its tag.
pub(super) fn pushed(repository: &Repository, workflows: &[String]) -> Option<Found<String>> {
    let origin = repository.origin();
    let origin = origin.as_ref().map(|found| (found.value.0.as_str(), found.value.1.as_str()));
    workflows.iter().find_map(|path| {
        let text = repository.text(path)?;
        let text = origin.map_or_else(|| text.clone(), |origin| expanded(&text, origin));
        let mut in_list = false;
        text.lines().enumerate().find_map(|(number, line)| {
            let line = line.trim();
            let value = ["images:", "tags:", "image:"]
                .iter()
                .find_map(|key| line.trim_start_matches("- ").strip_prefix(key));
            let value = match value {
                Some(value) => {
                    let value = value.trim();
                    in_list = value.is_empty() || value == "|" || value == ">-";
                    value
                }
                None if in_list && !line.contains(": ") && !line.ends_with(':') => {
                    line.trim_start_matches("- ")
                }
                None => {
                    in_list = false;
                    line.strip_prefix("docker push ").or_else(|| line.strip_prefix("run: docker push "))?
                }
            };
            let image = image(value)?;
            Some(Found::new(image, Place::line(path, number + 1)))
        })
    })
}

/// An image's repository as written in a workflow.
fn image(text: &str) -> Option<String> {
    let text = text.trim_matches(['"', '\'', ' ']).split([',', ' ']).next().unwrap_or_default();
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let host = name.split('/').next().filter(|host| host.contains(['.', ':']));
    let parts = name.split('/').count();
    let plausible = host.map_or(parts == 2 && tag.is_some(), |_| parts > 2);
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./:".contains(c);
    if !plausible || !name.chars().all(is_part) {
        return None;
    }
    Some(if host.is_some() { name.to_owned() } else { format!("docker.io/{name}") })
}

/// Expands GitHub's expressions about the repository.
fn expanded(text: &str, origin: (&str, &str)) -> String {
    let mut text = text.to_owned();
    for (name, value) in [
        ("github.repository_owner", origin.0.to_owned()),
        ("github.repository", format!("{}/{}", origin.0, origin.1)),
    ] {
        text =
            text.replace(&format!("${{{{ {name} }}}}"), &value).replace(&format!("${{{{{name}}}}}"), &value);
    }
    text
}

/// The files and folders beside the Dockerfile that a compose file mounts.
pub(super) fn mounts(repository: &Repository) -> Vec<Found<Mount>> {
    let names = ["docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"];
    let found = names.into_iter().find_map(|name| {
        let path = repository.below(name);
        Some((repository.text(&path)?, path))
    });
    let Some((text, path)) = found else { return Vec::new() };
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
            let found = libraries(&lock.concat(), "Cargo.lock").into_iter();
            found.map(|f| format!("{} {} {}", f.value.krate, f.value.bundled, f.place)).collect::<Vec<_>>()
        };
        assert_eq!(of(&["serde", "openssl-sys"]), ["openssl-sys false Cargo.lock:4"]);
        assert_eq!(of(&["openssl-src", "openssl-sys"]), ["openssl-sys true Cargo.lock:4"]);
        assert_eq!(of(&["windows-sys", "linux-raw-sys", "odd-sys"]), ["odd-sys false Cargo.lock:6"]);
    }

    #[test]
    fn an_image_is_read_as_workflows_write_it() {
        for (text, expected) in [
            ("ghcr.io/acme/web:latest", Some("ghcr.io/acme/web")),
            ("acme/web:1", Some("docker.io/acme/web")),
            ("acme/web", None),
            ("type=ref,event=branch", None),
            ("v*", None),
            ("quay.io/${{ x }}/web", None),
        ] {
            assert_eq!(image(text).as_deref(), expected, "{text}");
        }
        assert_eq!(expanded("ghcr.io/${{ github.repository }}:1", ("a", "b")), "ghcr.io/a/b:1");
    }
}
