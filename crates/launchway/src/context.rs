//! The seams: what a step is given instead of reaching for it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use reqwest::Url;

use crate::config::Config;
use crate::git::Git;
use crate::table::{JobId, SETTINGS, StepId, VARIABLES, variable, variable_names};
use launchway_core::command::{Call, is_token, withhold};
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::http::{Http, Reach, base_url};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use launchway_core::secret::{Redactor, Secret};

use launchway_core::file::write_whole;

/// Everything that a step may know or touch.
pub(crate) struct Context {
    /// The workspace root.
    pub(crate) root: PathBuf,
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    pub(crate) git: Git,
    pub(crate) reporter: Reporter,
    pub(crate) interrupt: Interrupt,
    pub(crate) reach: Reach,
}

impl Context {
    /// Reads the workspace at `root`.
    pub(crate) fn read(root: PathBuf, reporter: Reporter, interrupt: Interrupt) -> Result<Self> {
        // A path that is shown is one to type.
        if std::env::current_dir().is_ok_and(|here| here == root) {
            reporter.set_root(&root);
        }
        // First: what goes wrong with the rest is told, too.
        let environment = Environment::read(&root, |name| variable(name).is_some())?;
        reporter.redact(redactor(&environment));
        let config = Config::read(&root.join("Cargo.toml"))?;
        let names = secret_names(&environment)
            .map(str::to_owned)
            .chain(variable_names())
            .chain(config.deploy.environment.clone());
        withhold(names.collect::<Vec<_>>(), Redactor::new(known_secrets(&environment)));
        let git = Git::read(&root)?;
        let reach = Reach::of(environment.get("XTASK_REACH"))?;
        Ok(Self { root, config, environment, git, reporter, interrupt, reach })
    }

    /// The same workspace in a rehearsal: with these variables instead of the developer's, and nothing else in reach.
    pub(crate) fn rehearsed(&self, variables: Environment, reach: Reach) -> Self {
        let names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        let environment = self.environment.clone().without(&names).with(variables);
        // The developer's own are no less secret now.
        self.reporter.redact(redactor(&self.environment).and(redactor(&environment)));
        Self {
            root: self.root.clone(),
            config: self.config.clone(),
            environment,
            git: self.git.clone(),
            reporter: self.reporter.clone(),
            interrupt: self.interrupt.clone(),
            reach,
        }
    }

    /// A context for tests, whose reporter remembers what it was told.
    #[cfg(test)]
    pub(crate) fn for_test(root: &Path, environment: Environment) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        Self {
            root: root.to_owned(),
            config: Config::read(&manifest).unwrap(),
            environment,
            git: Git {
                commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
                branch: Some("master".to_owned()),
                dirty: false,
                time: 1_767_225_600,
            },
            reporter: Reporter::new(launchway_core::events::Sink::Memory(Vec::new())),
            interrupt: Interrupt::default(),
            reach: Reach::Anywhere,
        }
    }

    /// `target/xtask`, where a run leaves its image, its logs and its records.
    pub(crate) fn output(&self) -> PathBuf {
        self.root.join("target/xtask")
    }

    /// Writes a text that the run leaves for others.
    pub(crate) fn leave(&self, path: &Path, text: &str) -> Result<()> {
        write_whole(path, self.reporter.redacted(text).as_bytes())
    }

    /// The same for JSON.
    pub(crate) fn leave_json(&self, path: &Path, json: &str) -> Result<()> {
        write_whole(path, self.reporter.shown_json(json).as_bytes())
    }

    /// `target/ci`, the target folder that clippy, the tests and the documentation share.
    pub(crate) fn ci_target(&self) -> PathBuf {
        self.root.join("target/ci")
    }

    /// The image's repository, without a tag: `PIPELINE_IMAGE`, or the configured one.
    pub(crate) fn image(&self) -> &str {
        self.environment.get("PIPELINE_IMAGE").unwrap_or(&self.config.image)
    }

    /// The commits after `previous`, as [`Git::since`] has them and a report or Sentry may have them.
    pub(crate) fn commits_since(&self, previous: Option<&str>) -> Vec<report::Commit> {
        let commits = self.git.since(&self.root, previous, report::MAX_COMMITS).into_iter();
        // Whoever wrote a secret into a commit shall not have it elsewhere as well.
        let shown = |commit: report::Commit| report::Commit {
            subject: self.reporter.redacted(&commit.subject),
            author: commit.author.map(|author| self.reporter.redacted(&author)),
            ..commit
        };
        commits.map(shown).collect()
    }

    /// The Render API: `RENDER_API_URL`, or the real one.
    pub(crate) fn render_url(&self) -> Result<Url> {
        base_url(
            "RENDER_API_URL",
            self.environment.get("RENDER_API_URL").unwrap_or("https://api.render.com/v1"),
        )
    }

    /// Where a run keeps what later runs go by; a rehearsal's go with it, and never pass for a real one's.
    pub(crate) fn kept(&self) -> PathBuf {
        if self.is_rehearsal() { self.output().join("rehearsal") } else { self.output() }
    }

    /// The command that runs a step again, from where this run is: no advice of a rehearsal leads out of it.
    pub(crate) fn again(&self, step: StepId) -> String {
        match step.job() {
            _ if !self.is_rehearsal() => format!("cargo xtask {step}"),
            // The registry of a rehearsal begins empty.
            JobId::Deploy => "cargo xtask rehearse --job build --job deploy".to_owned(),
            job => format!("cargo xtask rehearse --job {job}"),
        }
    }

    /// Whether the run is a rehearsal.
    pub(crate) fn is_rehearsal(&self) -> bool {
        matches!(self.reach, Reach::Only(_))
    }

    pub(crate) fn http(&self) -> Result<Http> {
        Http::through(self.reach.clone(), &self.environment)
    }

    /// The variable, or an error with [`Exit::Missing`] that says how to get it.
    pub(crate) fn required(&self, name: &str) -> Result<Secret> {
        let Some(secret) = self.environment.secret(name) else {
            let source = variable(name).map_or_else(String::new, |variable| format!(": {}", variable.source));
            return Err(Failure::new(Exit::Missing, format!("`{name}` is not set{source}")).into());
        };
        Ok(secret)
    }

    /// Runs children in the workspace root.
    pub(crate) fn runner(&self) -> Runner {
        Runner {
            folder: self.root.clone(),
            reporter: self.reporter.clone(),
            interrupt: self.interrupt.clone(),
        }
    }

    /// [`Runner::check`] in the workspace root.
    pub(crate) fn check(&self, call: &Call) -> Result<()> {
        self.runner().check(call)
    }

    /// [`Runner::check_in`].
    pub(crate) fn check_in(&self, folder: &Path, call: &Call) -> Result<()> {
        self.runner().check_in(folder, call)
    }
}

/// The workspace root: the nearest folder upwards from `start` whose `Cargo.toml` configures a pipeline.
pub(crate) fn find_root(start: &Path) -> Result<PathBuf> {
    let found = || -> Result<PathBuf> {
        for folder in start.ancestors() {
            let manifest = folder.join("Cargo.toml");
            if manifest.is_file()
                && fs_err::read_to_string(&manifest)?.contains("[workspace.metadata.pipeline]")
            {
                // Variables and arguments of children name it.
                if folder.to_str().is_none() {
                    bail!("the path {} is not UTF-8: rename the folder", folder.display());
                }
                return Ok(folder.to_owned());
            }
        }
        bail!(
            "no `Cargo.toml` with `[workspace.metadata.pipeline]` in {} or above it: run `cargo xtask` inside the workspace",
            start.display()
        )
    };
    found().or_exit(Exit::Usage)
}

/// The secrets of an environment.
pub(crate) fn redactor(environment: &Environment) -> Redactor {
    Redactor::new(secret_names(environment).filter_map(|name| environment.secret(name)))
}

/// What is secret for sure: what the pipeline's table says, and the machine's tokens.
fn known_secrets(environment: &Environment) -> impl Iterator<Item = Secret> {
    environment.names().filter(|name| is_known_secret(name)).filter_map(|name| environment.secret(name))
}

fn is_known_secret(name: &str) -> bool {
    variable(name).is_some_and(|variable| variable.sensitive) || is_token(name)
}

/// The variables that are secret, and of `.env` all that are not known to be anything else.
fn secret_names(environment: &Environment) -> impl Iterator<Item = &str> {
    let is_setting = |name: &str| {
        variable(name).is_some()
            || SETTINGS.contains(&name)
            || name.starts_with("XTASK_")
            || matches!(name, "PATH" | "HOME")
            || Redactor::is_ordinary(environment.get(name).unwrap_or_default())
    };
    environment
        .names()
        .filter(move |name| is_known_secret(name) || environment.is_from_file(name) && !is_setting(name))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_dotenv_holds_is_secret_unless_it_is_known_to_be_a_setting() {
        let dir = tempfile::tempdir().unwrap();
        let file = "DATABASE_URL=postgres://u:p@db/x\nHOSTS=www.example.com\nPIPELINE_IMAGE=ghcr.io/a/image\n\
            XTASK_INSTALL=never-ever\nPORT=8000\nRENDER_API_KEY=key1\n";
        fs_err::write(dir.path().join(".env"), file).unwrap();
        let redactor = redactor(&Environment::read(dir.path(), |name| variable(name).is_some()).unwrap());
        let shown = redactor.redact(file);
        assert!(shown.starts_with("DATABASE_URL=<redacted>\nHOSTS=www.example.com\n"), "{shown}");
        assert!(shown.ends_with(
            "IMAGE=ghcr.io/a/image\nXTASK_INSTALL=never-ever\nPORT=8000\nRENDER_API_KEY=<redacted>\n"
        ));
    }

    #[test]
    fn the_root_is_found_from_below() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(find_root(&here.join("src")).unwrap(), here.ancestors().nth(2).unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        let error = find_root(elsewhere.path()).unwrap_err();
        assert!(error.to_string().contains(&elsewhere.path().display().to_string()), "{error}");
        let odd = elsewhere.path().join(OsStr::from_bytes(b"odd\xff"));
        fs_err::create_dir(&odd).unwrap();
        fs_err::write(odd.join("Cargo.toml"), "[workspace.metadata.pipeline]").unwrap();
        let error = find_root(&odd).unwrap_err();
        assert!(error.to_string().ends_with("is not UTF-8: rename the folder"), "{error}");
    }
}
