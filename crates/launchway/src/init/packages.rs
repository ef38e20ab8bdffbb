//! The Debian packages that compiling needs: those of the C libraries in `Cargo.lock`, and those that the stages which
//! compile install, by their names on Debian.

use super::dockerfile::Dockerfile;
use super::findings::{Found, Library, Link, Place};
use super::github::Workflows;
use crate::config::is_debian_package;

/// The packages of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packages {
    /// What compiling needs, by its names on Debian.
    pub(super) needed: Vec<Found<String>>,
    /// What a stage installs besides, and compiling does without.
    pub(super) beside: Vec<Found<String>>,
    /// Names without a known package of Debian.
    pub(super) unknown: Vec<Found<String>>,
}

/// Packages that a stage installs for its other commands, or that belong to a C library which is not Debian's.
const BESIDE: [&str; 17] = [
    "apt-transport-https",
    "bash",
    "ca-certificates",
    "cargo",
    "curl",
    "git",
    "gnupg",
    "jq",
    "musl-dev",
    "musl-tools",
    "rustc",
    "rustup",
    "sudo",
    "tzdata",
    "unzip",
    "wget",
    "xz-utils",
];

/// Packages without headers that something is compiled with.
const TO_COMPILE: [&str; 17] = [
    "build-essential",
    "capnproto",
    "clang",
    "cmake",
    "flatbuffers-compiler",
    "g++",
    "gcc",
    "libclang1",
    "lld",
    "llvm",
    "make",
    "mold",
    "nasm",
    "perl",
    "pkg-config",
    "pkgconf",
    "protobuf-compiler",
];

/// Actions that install what something is compiled with, and the package for it.
const ACTIONS: [(&str, &str); 3] = [
    ("arduino/setup-protoc", "protobuf-compiler"),
    ("ilammy/setup-nasm", "nasm"),
    ("rui314/setup-mold", "mold"),
];

impl Packages {
    /// Those of the libraries first.
    pub(super) fn find(libraries: &[Found<Library>], dockerfile: Option<&Dockerfile>) -> Self {
        let mut found = Self::default();
        for library in libraries {
            for name in of_library(&library.value) {
                add(&mut found.needed, (*name).to_owned(), &library.place);
            }
        }
        for stage in dockerfile.iter().flat_map(|file| file.compiling()) {
            for run in stage.instructions.iter().filter(|instruction| instruction.keyword == "RUN") {
                let path = dockerfile.map_or("", |file| file.path.as_str());
                for command in run.commands() {
                    found.install(&command, &Place::line(path, run.line));
                }
            }
        }
        found
    }

    /// Adds what the jobs that run cargo install to compile with. The rest is listed: tests may need it.
    pub(super) fn add_workflows(&mut self, workflows: &Workflows) -> Vec<Found<String>> {
        let mut others = Vec::new();
        for job in workflows.jobs.iter().filter(|job| job.tests_changes) {
            let commands = || job.steps.iter().flat_map(|step| &step.commands);
            if !commands().any(|command| command.value.split_whitespace().any(|word| word == "cargo")) {
                continue;
            }
            let mut found = Self::default();
            for command in commands() {
                found.install(&command.value, &command.place);
            }
            for action in job.steps.iter().filter_map(|step| step.uses.as_ref()) {
                let name = action.value.split('@').next();
                if let Some((_, package)) = ACTIONS.iter().find(|(known, _)| name == Some(*known)) {
                    add(&mut found.needed, (*package).to_owned(), &action.place);
                }
            }
            for Found { value: name, place } in found.needed {
                if name.ends_with("-dev") || TO_COMPILE.contains(&name.as_str()) {
                    add(&mut self.needed, name, &place);
                } else {
                    let what = format!("the package {name}: `test.packages` lists what tests need");
                    add(&mut others, what, &place);
                }
            }
            for Found { value, place } in found.unknown {
                add(&mut self.unknown, value, &place);
            }
        }
        others
    }

    /// One command that may install packages.
    pub(super) fn install(&mut self, command: &str, place: &Place) {
        let Some((manager, names)) = installed(command) else { return };
        for name in names {
            // A version or a release of the package.
            let plain = name.split(['=', '/', '~', '@', '<', '>']).next().unwrap_or_default();
            let plain = plain.strip_suffix(":amd64").unwrap_or(plain);
            let on_debian = match manager {
                "apt-get" | "apt" => is_debian_package(plain).then(|| vec![plain]),
                "apk" => of_alpine(plain),
                _ => None,
            };
            match on_debian {
                Some(names) if names.is_empty() || BESIDE.contains(&names[0]) => {
                    add(&mut self.beside, plain.to_owned(), place);
                }
                Some(names) => {
                    for name in names {
                        add(&mut self.needed, name.to_owned(), place);
                    }
                }
                None => add(&mut self.unknown, format!("{name} ({manager})"), place),
            }
        }
    }
}

fn add(list: &mut Vec<Found<String>>, name: String, place: &Place) {
    if !list.iter().any(|known| known.value == name) {
        list.push(Found::new(name, place.clone()));
    }
}

/// The packages with which a library is compiled or linked.
fn of_library(library: &Library) -> &'static [&'static str] {
    match (library.krate.as_str(), library.link) {
        ("openssl-sys", Link::Bundled) => &["perl", "make"],
        ("openssl-sys", _) => &["libssl-dev", "pkg-config"],
        ("aws-lc-sys", _) => &["cmake"],
        ("pq-sys", Link::Dynamic) => &["libpq-dev"],
        ("mysqlclient-sys", Link::Dynamic) => &["default-libmysqlclient-dev", "pkg-config"],
        ("odbc-sys", _) => &["unixodbc-dev"],
        _ => &[],
    }
}

/// The package manager of a command, and the packages that it installs.
fn installed(command: &str) -> Option<(&'static str, Vec<&str>)> {
    const MANAGERS: [&str; 8] = ["apt-get", "apt", "apk", "dnf", "microdnf", "yum", "zypper", "pacman"];
    // Options whose value is a word of its own.
    const WITH_VALUE: [&str; 8] =
        ["-t", "--target-release", "-o", "-c", "--virtual", "-X", "--repository", "--default-release"];

    let words: Vec<&str> = command.split_whitespace().collect();
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let (at, manager) = words.iter().enumerate().find_map(|(at, word)| {
        let manager = MANAGERS.into_iter().find(|manager| base(word) == *manager)?;
        Some((at, manager))
    })?;
    let verb =
        words.iter().skip(at).position(|word| matches!(*word, "install" | "add" | "-S" | "-Sy" | "-Syu"))?;
    let mut names = Vec::new();
    let mut rest = words.into_iter().skip(at + verb + 1);
    while let Some(word) = rest.next() {
        if WITH_VALUE.contains(&word) {
            rest.next();
        } else if word.starts_with(['|', '&', '>', '<']) || word.contains('>') && word.starts_with(['1', '2'])
        {
            break;
        } else if !word.starts_with(['-', '.']) {
            names.push(word.trim_matches(['"', '\'']));
        }
    }
    Some((manager, names))
}

/// The packages of Alpine that Rust services are compiled with, and those of Debian for them; none where Debian needs
/// nothing of the kind.
const ALPINE: [(&str, &str); 55] = [
    ("musl musl-dev libc-dev libc6-compat gcompat libgcc libstdc++ rust cargo rustup file upx xz", ""),
    ("bash ca-certificates ca-certificates-bundle curl git jq openssl sudo tzdata unzip wget", ""),
    ("build-base alpine-sdk", "build-essential"),
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("make", "make"),
    ("cmake", "cmake"),
    ("perl", "perl"),
    ("python3", "python3"),
    ("nasm", "nasm"),
    ("yasm", "yasm"),
    ("mold", "mold"),
    ("lld", "lld"),
    ("clang", "clang"),
    ("clang-dev clang-libs clang-static", "libclang-dev"),
    ("llvm llvm-dev", "llvm-dev"),
    ("binutils", "binutils"),
    ("autoconf", "autoconf"),
    ("automake", "automake"),
    ("libtool", "libtool"),
    ("linux-headers", "linux-libc-dev"),
    ("pkgconfig pkgconf pkg-config", "pkg-config"),
    ("openssl-dev openssl-libs-static", "libssl-dev"),
    ("protobuf protoc", "protobuf-compiler"),
    ("protobuf-dev", "protobuf-compiler libprotobuf-dev"),
    ("capnproto capnproto-dev", "capnproto"),
    ("flatbuffers flatbuffers-dev", "flatbuffers-compiler"),
    ("postgresql-dev libpq-dev libpq postgresql-libs", "libpq-dev"),
    ("mariadb-dev mariadb-connector-c-dev mysql-dev", "default-libmysqlclient-dev"),
    ("sqlite-dev sqlite-static sqlite-libs", "libsqlite3-dev"),
    ("unixodbc-dev", "unixodbc-dev"),
    ("zlib zlib-dev zlib-static", "zlib1g-dev"),
    ("zstd-dev zstd-static", "libzstd-dev"),
    ("bzip2-dev bzip2-static", "libbz2-dev"),
    ("xz-dev xz-static", "liblzma-dev"),
    ("lz4-dev", "liblz4-dev"),
    ("curl-dev curl-static", "libcurl4-openssl-dev"),
    ("libgit2-dev", "libgit2-dev"),
    ("libssh2-dev", "libssh2-1-dev"),
    ("libsodium-dev libsodium-static", "libsodium-dev"),
    ("libffi-dev", "libffi-dev"),
    ("libxml2-dev", "libxml2-dev"),
    ("libpng-dev", "libpng-dev"),
    ("libwebp-dev", "libwebp-dev"),
    ("libjpeg-turbo-dev", "libjpeg-dev"),
    ("vips-dev", "libvips-dev"),
    ("fontconfig-dev", "libfontconfig-dev"),
    ("freetype-dev", "libfreetype-dev"),
    ("librdkafka-dev", "librdkafka-dev"),
    ("cyrus-sasl-dev", "libsasl2-dev"),
    ("krb5-dev", "libkrb5-dev"),
    ("opus-dev", "libopus-dev"),
    ("alsa-lib-dev", "libasound2-dev"),
    ("jemalloc jemalloc-dev", "libjemalloc-dev"),
    ("nodejs npm", "npm"),
];

/// The packages of Debian for one of Alpine.
fn of_alpine(name: &str) -> Option<Vec<&'static str>> {
    let (_, debian) = ALPINE.iter().find(|(alpine, _)| alpine.split(' ').any(|known| known == name))?;
    Some(debian.split_terminator(' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str) -> [Vec<String>; 3] {
        let mut found = Packages::default();
        found.install(command, &Place::line("Dockerfile", 3));
        let Packages { needed, beside, unknown } = found;
        [needed, beside, unknown].map(|list| list.into_iter().map(|found| found.value).collect())
    }

    #[test]
    fn packages_of_a_command_have_their_names_on_debian() {
        for (command, [needed, beside, unknown]) in [
            (
                "apt-get install -y --no-install-recommends libssl-dev pkg-config",
                ["libssl-dev pkg-config", "", ""],
            ),
            (
                "sudo -E apt-get -qq install libpq-dev=15.1-1 git cmake/bookworm-backports",
                ["libpq-dev cmake", "git", ""],
            ),
            (
                "apt install -t bookworm-backports clang:amd64 libssl-dev:arm64 $MORE",
                ["clang", "", "libssl-dev:arm64 (apt) $MORE (apt)"],
            ),
            ("apt-get install -y mold > /dev/null 2>&1", ["mold", "", ""]),
            ("apt-get install -y lld | tee log", ["lld", "", ""]),
            (
                "apk add --no-cache musl-dev openssl-dev pkgconfig protobuf-dev build-base",
                ["libssl-dev pkg-config protobuf-compiler libprotobuf-dev build-essential", "musl-dev", ""],
            ),
            (
                "apk --no-cache add --virtual .deps 'make~=4' ca-certificates foo-dev@testing",
                ["make", "ca-certificates", "foo-dev@testing (apk)"],
            ),
            ("dnf install -y openssl-devel", ["", "", "openssl-devel (dnf)"]),
            ("apt-get update", ["", "", ""]),
            ("cargo install apk", ["", "", ""]),
        ] {
            let words = |text: &'static str| text.split_terminator(' ').collect::<Vec<_>>().join(" ");
            assert_eq!(
                of(command).map(|list| list.join(" ")),
                [needed, beside, unknown].map(words),
                "{command}"
            );
        }
    }

    #[test]
    fn what_a_workflow_compiles_with_is_added() {
        let text = "on: push\njobs:\n  test:\n    steps:\n      - run: sudo apt-get update\n      - run: sudo apt-get install -y libpq-dev mold postgresql-client $X\n      - run: cargo test\n      - uses: arduino/setup-protoc@v3\n  site:\n    steps:\n      - run: sudo apt-get install -y libxml2-dev\n";
        let mut found = Packages::default();
        let others = found.add_workflows(&super::super::github::tests::of(text));
        let names = |list: &[Found<String>]| {
            list.iter().map(|found| format!("{} {}", found.place, found.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&found.needed),
            ["ci.yml:6 libpq-dev", "ci.yml:6 mold", "ci.yml:8 protobuf-compiler"]
        );
        assert_eq!(names(&found.unknown), ["ci.yml:6 $X (apt-get)"]);
        assert_eq!(
            names(&others),
            ["ci.yml:6 the package postgresql-client: `test.packages` lists what tests need"]
        );
    }

    #[test]
    fn the_table_has_each_name_once_and_debian_may_have_its_own() {
        let mut seen = Vec::new();
        for (alpine, debian) in ALPINE {
            for name in alpine.split(' ') {
                assert!(!seen.contains(&name), "{name}");
                seen.push(name);
            }
            assert!(debian.split_terminator(' ').all(is_debian_package), "{debian}");
        }
    }
}
