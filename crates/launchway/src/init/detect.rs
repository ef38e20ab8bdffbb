//! Collects what a checkout reveals about its service, from git, `cargo metadata`, the Dockerfile, and the sources as
//! text.
//!
//! Nothing is compiled, and nothing but the list of the build's crates may need the network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::checks::Checks;
use super::code::Source;
use super::compiled::Compiled;
use super::dockerfile::Dockerfile;
use super::findings::{Found, Library, Link, Mount, Place, Port, Shipped, Sources};
use super::github::Workflows;
use super::packages::Packages;
use super::repository::{Package, Repository};
use super::test_services::TestSetup;
use super::{choose, github, port, settings, surroundings, variables, yaml};
use crate::git::Git;
use launchway_core::exit::{Exit, Failure};
use launchway_image::binary::Platform;
use launchway_image::final_stage::{Binaries, FinalStage, reasons};

/// Everything that is known about a service.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    pub(super) repository: Repository,
    /// Whether files differ from the commit or are untracked.
    pub(super) dirty: bool,
    /// Where the tables go: whether the Cargo root is a workspace.
    pub(super) workspace: bool,
    pub(super) lock: Option<Place>,
    /// The crates of the release build.
    pub(super) compiled: Compiled,
    pub(super) shipped: Found<Shipped>,
    pub(super) branch: Option<Found<String>>,
    pub(super) image: Option<Found<String>>,
    pub(super) dockerfile: Option<Dockerfile>,
    /// Why the builtin engine cannot follow the final stage, each reason with its line.
    pub(super) refusals: Vec<String>,
    /// Mounts of a compose file, which the image lacks.
    pub(super) mounts: Vec<Found<Mount>>,
    pub(super) build: Build,
    pub(super) libraries: Vec<Found<Library>>,
    pub(super) sources: Sources,
    pub(super) port: Option<Found<Port>>,
    /// Tracked files of variables.
    pub(super) dotenv: Vec<String>,
    pub(super) toolchain: Option<Found<String>>,
    /// Where the repository compiles for musl, which the pipeline does not.
    pub(super) musl: Option<Place>,
    pub(super) rust_version: Option<String>,
    /// The existing workflows, which stay.
    pub(super) workflows: Vec<String>,
    pub(super) tests: TestSetup,
    pub(super) checks: Checks,
    /// What was found and is not taken over, with the reason.
    pub(super) left: Vec<Found<String>>,
}

/// What the stages before the final one set for the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) environment: Vec<Found<(String, String)>>,
    pub(super) features: Vec<Found<String>>,
    pub(super) no_default_features: Option<Place>,
    pub(super) packages: Packages,
}

/// Reads a checkout; `package` and `binary` are the user's choice.
pub(super) fn detect(start: &Path, package: Option<&str>, binary: Option<&str>) -> Result<Findings> {
    let repository = Repository::find(start)?;
    let manifest = repository.manifest()?;
    let already = ["[workspace.metadata.pipeline]", "[package.metadata.pipeline]"];
    if already.iter().any(|table| manifest.contains(table)) {
        let place = repository.root().join("Cargo.toml");
        let message = format!("{} already configures a pipeline: run `cargo xtask`", place.display());
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let git = Git::read(&repository.top)?;
    let (dockerfile, text) = dockerfile(&repository).unzip();
    let shipped = choose::shipped(&repository, dockerfile.as_ref(), package, binary)?;
    let lock_path = repository.below("Cargo.lock");
    let lock = repository.text(&lock_path).filter(|_| repository.tracks(&lock_path));
    let lines = lock.as_deref().unwrap_or_default();
    let mut build = dockerfile.as_ref().map(build).unwrap_or_default();
    let compiled = Compiled::to_ship(&repository.root(), &shipped.value.package, &build, lines);
    let libraries = surroundings::libraries(lines, &lock_path, &compiled);
    // The tests are compiled too, on the same machine.
    let with_tests = compiled.with_tests(&repository.root(), lines);
    build.packages =
        Packages::find(&surroundings::libraries(lines, &lock_path, &with_tests), dockerfile.as_ref());
    // Docker follows whatever it likes.
    let text = text.filter(|_| dynamic(&libraries).is_none());
    let mut refusals = refusals(&repository, dockerfile.as_ref(), text.as_deref(), &shipped.value);
    let mounts = surroundings::mounts(&repository);
    let files = mounts.iter().filter(|mount| mount.value.file && dockerfile.is_some());
    refusals.extend(files.map(|Found { value: Mount { source, target, .. }, place }| {
        format!("{place}: a container has {source} mounted at {target}, which is not in the image")
    }));
    let workflows = Workflows::read(&repository);
    let code = sources(&repository, &shipped.value.package);
    let mut sources = variables::read(&code);
    let missing = settings::missing(&repository, &code, &sources.variables, dockerfile.as_ref());
    sources.variables.extend(missing);
    sources.services = variables::services(&tests(&repository));
    sources.port = sources.port.or_else(|| surroundings::port(&repository));
    let locked = |name: &str| surroundings::locked(lines, &lock_path, name).filter(|_| compiled.has(name));
    let rocket = locked("rocket");
    // These frameworks handle it unless they are told not to.
    let of_framework = ["rocket", "actix-web"]
        .into_iter()
        .find_map(|name| Some(Found::new(format!("handled by {name}"), locked(name)?)));
    sources.termination = sources.termination.or(of_framework);
    let port = port::find(&sources, dockerfile.as_ref(), rocket);
    let (image, unread) = github::pushed(&workflows);
    let image = image.or_else(|| {
        let Found { value: (owner, name), place } = repository.origin()?;
        Some(Found::new(format!("docker.io/{owner}/{name}"), place))
    });
    let mut tests = TestSetup::of_workflows(&workflows, rust_contains(&repository));
    let kinds: Vec<&str> = sources.services.iter().map(|found| found.value).collect();
    let mut left: Vec<Found<String>> = workflows.unread.iter().cloned().chain(unread).collect();
    tests.compile_offline(repository.files.iter().find(|path| path.contains(".sqlx/query-")));
    if let Some((path, text)) = surroundings::compose(&repository) {
        match yaml::parse(&text) {
            Ok(file) => tests.add_compose(&path, &file, &kinds),
            Err(reason) => left.push(Found::new(reason, Place::of(path))),
        }
    }
    let checks = Checks::find(&workflows, &repository.inside.to_string_lossy());
    left.extend(tests.left.iter().chain(&checks.left).cloned());
    left.extend(build.packages.add_workflows(&workflows));
    let of_machine = libraries
        .iter()
        .find(|found| found.value.krate == "openssl-sys" && found.value.link != Link::Bundled);
    if let Some(found) = of_machine {
        // Without it, the crate prefers the shared library if both exist.
        let pair = ("OPENSSL_STATIC".to_owned(), "1".to_owned());
        build.environment.push(Found::new(pair, found.place.clone()));
    }
    Ok(Findings {
        workspace: is_workspace(&manifest),
        lock: lock.as_ref().map(|_| Place::of(&lock_path)),
        branch: repository.branch(),
        build,
        compiled,
        libraries,
        dotenv: dotenv(&repository),
        toolchain: surroundings::toolchain(&repository),
        musl: surroundings::musl(&repository, dockerfile.as_ref()),
        rust_version: packages(&repository, &shipped.value.package)
            .first()
            .and_then(|package| package.rust_version.clone()),
        image,
        dirty: git.dirty,
        shipped,
        dockerfile,
        refusals,
        mounts,
        sources,
        port,
        workflows: workflows.paths,
        tests,
        checks,
        left,
        repository,
    })
}

impl Findings {
    /// What the tests connect to and nothing starts.
    pub(super) fn missing_services(&self) -> Vec<&Found<&'static str>> {
        self.sources.services.iter().filter(|found| !self.tests.provides(found.value)).collect()
    }

    /// The library that keeps the program from being static.
    pub(super) fn dynamic(&self) -> Option<&Found<Library>> {
        dynamic(&self.libraries)
    }
}

fn dynamic(libraries: &[Found<Library>]) -> Option<&Found<Library>> {
    libraries.iter().find(|found| found.value.link == Link::Dynamic)
}

fn is_workspace(manifest: &str) -> bool {
    manifest.lines().any(|line| {
        let line = line.trim();
        line.starts_with("[workspace]") || line.starts_with("[workspace.") || line.starts_with("workspace.")
    })
}

/// The Dockerfile in the Cargo root or the git root, and its text.
fn dockerfile(repository: &Repository) -> Option<(Dockerfile, String)> {
    let folders = [repository.inside.clone(), PathBuf::new()];
    let names = ["Dockerfile", "Containerfile", "dockerfile"];
    let places = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
    places.into_iter().find_map(|place| {
        let path = place.to_string_lossy().into_owned();
        let text = repository.text(&path).filter(|_| repository.tracks(&path))?;
        Some((Dockerfile::parse(&path, &text), text))
    })
}

/// Every reason why the builtin engine cannot follow the final stage.
fn refusals(
    repository: &Repository,
    dockerfile: Option<&Dockerfile>,
    text: Option<&str>,
    shipped: &Shipped,
) -> Vec<String> {
    let Some(dockerfile) = dockerfile else { return Vec::new() };
    let place = Path::new(&dockerfile.path);
    if place.parent() != Some(&repository.inside) {
        return vec![format!(
            "{}: it is outside the Cargo root, and the image is built only from files inside",
            dockerfile.path
        )];
    }
    let Some(text) = text else { return Vec::new() };
    let file = launchway_image::dockerfile::Dockerfile::new(&dockerfile.path, text);
    let all = || repository.cargo.packages.iter();
    let names = |own: bool| {
        let of = all().filter(move |package| (package.name == shipped.package) == own);
        let names = of.flat_map(Package::binaries).filter(|name| *name != shipped.binary);
        names.map(str::to_owned).collect()
    };
    let binaries = Binaries { shipped: shipped.binary.clone(), beside: names(true), others: names(false) };
    match FinalStage::parse_blind(&file, &binaries, Platform::Amd64) {
        Ok(_) => Vec::new(),
        Err(error) => reasons(&error),
    }
}

/// The package and its dependencies within the repository, itself first.
fn packages<'a>(repository: &'a Repository, package: &str) -> Vec<&'a Package> {
    let all = &repository.cargo.packages;
    let mut found: Vec<&Package> = all.iter().filter(|known| known.name == package).collect();
    let mut place = 0;
    while let Some(next) = found.get(place) {
        let paths = next.dependencies.iter().filter_map(|dependency| dependency.path.as_deref());
        let below = paths.filter_map(|path| all.iter().find(|package| package.folder() == path));
        let below: Vec<&Package> =
            below.filter(|package| !found.iter().any(|known| known.name == package.name)).collect();
        found.extend(below);
        place += 1;
    }
    found
}

/// The sources of the service: those of its package and of the package's dependencies within the repository.
fn sources(repository: &Repository, package: &str) -> Vec<Source> {
    let folders: Vec<&Path> = packages(repository, package).into_iter().map(Package::folder).collect();
    let others: Vec<&Path> = repository.cargo.packages.iter().map(Package::folder).collect();
    // A file belongs to the package in the nearest folder above it.
    let owner = |path: &Path| {
        others.iter().filter(|folder| path.starts_with(folder)).max_by_key(|f| f.as_os_str().len())
    };
    let is_test = |path: &Path| {
        path.components()
            .any(|part| ["tests", "benches", "examples"].iter().any(|name| part.as_os_str() == *name))
    };
    let files = repository.files.iter().filter(|file| {
        let path = repository.top.join(file);
        has_extension(file, &["rs"])
            && !is_test(Path::new(file))
            && owner(&path).is_some_and(|owner| folders.contains(owner))
    });
    let read = |file: &String| Some(Source::new(file.clone(), &repository.text(file)?));
    files.filter_map(read).collect()
}

/// Whether a path ends with one of these extensions.
pub(super) fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

/// The texts of all tests, with their files.
fn tests(repository: &Repository) -> Vec<(String, String)> {
    let read = |file: &String| {
        let text = repository.text(file)?;
        let whole = Path::new(file).components().any(|part| part.as_os_str() == "tests");
        Some((file.clone(), if whole { text } else { Source::new(file.clone(), &text).tests }))
    };
    let rust = repository.files.iter().filter(|file| has_extension(file, &["rs"]));
    rust.filter_map(read).filter(|(_, text)| !text.is_empty()).collect()
}

/// Whether a Rust file of the repository contains a name.
fn rust_contains(repository: &Repository) -> impl Fn(&str) -> bool {
    let rust = repository.files.iter().filter(|file| has_extension(file, &["rs"]));
    let texts: Vec<String> = rust.filter_map(|file| repository.text(file)).collect();
    move |name| texts.iter().any(|text| text.contains(name))
}

/// What the builder's stages set.
fn build(dockerfile: &Dockerfile) -> Build {
    let mut build = Build::default();
    for instruction in dockerfile.builders().flat_map(|stage| &stage.instructions) {
        let place = || Place::line(&dockerfile.path, instruction.line);
        if instruction.keyword == "ENV" {
            let compiles = |name: &str| {
                ["SQLX_", "OPENSSL_", "PKG_CONFIG", "RUSTFLAGS", "CC", "CXX"]
                    .iter()
                    .any(|word| name.starts_with(word))
            };
            let pairs = instruction.pairs().into_iter().filter(|(name, _)| compiles(name));
            build.environment.extend(pairs.map(|pair| Found::new(pair, place())));
        }
        if instruction.keyword != "RUN" {
            continue;
        }
        for command in instruction.commands() {
            let words: Vec<&str> = command.split_whitespace().collect();
            let has = |word: &str| words.contains(&word);
            if !has("cargo") {
                continue;
            }
            if has("--no-default-features") {
                build.no_default_features = Some(place());
            }
            let features = words.iter().enumerate().filter_map(|(at, word)| match word.split_once('=') {
                Some(("--features", value)) => Some(value),
                None if matches!(*word, "--features" | "-F") => words.get(at + 1).copied(),
                _ => None,
            });
            for feature in features.flat_map(|list| list.trim_matches(['"', '\'']).split([',', ' '])) {
                let feature = feature.to_owned();
                if !build.features.iter().any(|known| known.value == feature) {
                    build.features.push(Found::new(feature, place()));
                }
            }
        }
    }
    build
}

/// Tracked `.env` files.
fn dotenv(repository: &Repository) -> Vec<String> {
    let found =
        repository.files.iter().filter(|file| Path::new(file).file_name().is_some_and(|name| name == ".env"));
    found.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}
