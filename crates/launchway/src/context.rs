//! What one run has. A command or a step takes it apart at its entry; functions below take what they need.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use reqwest::Url;

use crate::config::{self, Config, Variable};
use crate::git::Git;
use crate::project::{Project, output};
use crate::registry;
use crate::table::{self, JobId, SETTINGS, StepId};
use crate::tools::Machine;
use crate::turn::Turn;
use launchway_core::command::{is_token, withhold};
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::http::{Http, NetworkPolicy, base_url};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use launchway_core::secret::{Redactor, Secret};
use launchway_registry::{Access, Client, Session};

/// Everything that a run may know or touch.
pub(crate) struct Context {
    /// The workspace root.
    pub(crate) root: PathBuf,
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    pub(crate) git: Git,
    pub(crate) reporter: Reporter,
    pub(crate) interrupt: Interrupt,
    pub(crate) network: NetworkPolicy,
}

impl Context {
    /// Reads the workspace at `root`.
    pub(crate) fn read(root: PathBuf, reporter: Reporter, interrupt: Interrupt) -> Result<Self> {
        let (config, environment) = settings(&root, &reporter)?;
        let git = Git::read(&root)?;
        let network = NetworkPolicy::of(environment.get("XTASK_NETWORK"))?;
        Ok(Self { root, config, environment, git, reporter, interrupt, network })
    }

    /// The same workspace in a rehearsal: with these variables instead of the developer's, and only these addresses allowed.
    #[cfg(feature = "rehearsal")]
    pub(crate) fn rehearsed(&self, variables: Environment, network: NetworkPolicy) -> Self {
        let known = self.config.variables();
        let mut names: Vec<&str> = table::variable_names().collect();
        names.extend(known.iter().map(|variable| variable.name));
        let environment = self.environment.clone().without(&names).with(variables);
        // The developer's own are no less secret now.
        self.reporter.redact(self.redactor().and(redactor(&known, &environment)));
        Self {
            root: self.root.clone(),
            config: self.config.clone(),
            environment,
            git: self.git.clone(),
            reporter: self.reporter.clone(),
            interrupt: self.interrupt.clone(),
            network,
        }
    }

    /// A context for tests, whose reporter keeps its events; configured like the small workspace of the tests.
    #[cfg(test)]
    pub(crate) fn for_test(root: &Path, environment: Environment) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/Cargo.toml");
        let config = Config::read(&manifest).unwrap();
        Self {
            root: root.to_owned(),
            git: Git {
                commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
                branch: Some(config.branch.clone()),
                dirty: false,
                time: 1_767_225_600,
            },
            config,
            environment,
            reporter: Reporter::new(launchway_core::events::Sink::Memory(Vec::new())),
            interrupt: Interrupt::default(),
            network: NetworkPolicy::Anywhere,
        }
    }

    /// What must not be shown of this run's environment.
    #[cfg(feature = "rehearsal")]
    pub(crate) fn redactor(&self) -> Redactor {
        redactor(&self.config.variables(), &self.environment)
    }

    /// The secrets of the environment that the table or the configuration names, with their names.
    pub(crate) fn named_secrets(&self) -> Vec<(&str, Secret)> {
        let secrets = self.config.variables().into_iter().filter(|variable| variable.secret);
        secrets.filter_map(|found| Some((found.name, self.environment.secret(found.name)?))).collect()
    }

    /// `target/xtask`, where a run leaves its image, its logs and its records.
    pub(crate) fn output(&self) -> PathBuf {
        output(&self.root)
    }

    /// The image's repository, without a tag: `PIPELINE_IMAGE`, or the configured one.
    pub(crate) fn image(&self) -> &str {
        self.environment.get("PIPELINE_IMAGE").unwrap_or(&self.config.image)
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
        if let Some(drill) = self.drill() {
            // A rehearsal without the fault would pass.
            return format!("cargo xtask rehearse --drill {drill}");
        }
        match step.job() {
            _ if !self.is_rehearsal() => format!("cargo xtask {step}"),
            // The registry of a rehearsal begins empty.
            JobId::Deploy => "cargo xtask rehearse --job build --job deploy".to_owned(),
            JobId::Rollback => "cargo xtask rehearse --drill rollback".to_owned(),
            job => format!("cargo xtask rehearse --job {job}"),
        }
    }

    /// The drill that this run is a part of.
    pub(crate) fn drill(&self) -> Option<&str> {
        self.environment.get(table::DRILL).filter(|_| self.is_rehearsal())
    }

    /// Whether the run is a rehearsal.
    pub(crate) fn is_rehearsal(&self) -> bool {
        matches!(self.network, NetworkPolicy::Only(_))
    }

    pub(crate) fn http(&self) -> Result<Http> {
        Http::through(self.network.clone(), &self.environment)
    }

    /// The turn of this run.
    pub(crate) fn turn(&self, name: &str) -> Result<Turn> {
        Turn::wait(&self.output(), name, &self.reporter, &self.interrupt)
    }

    /// A session with registries. A rehearsal ignores Docker's configuration.
    pub(crate) fn session(&self) -> Result<Session> {
        let docker_config =
            if self.is_rehearsal() { None } else { registry::docker_config(&self.environment) };
        Ok(Session {
            http: self.http()?,
            reporter: self.reporter.clone(),
            interrupt: self.interrupt.clone(),
            logins: registry::logins(self.image(), &self.environment, docker_config),
        })
    }

    /// A client with its own session.
    pub(crate) fn registry(&self, access: Access) -> Result<Client> {
        Ok(Client::new(self.session()?, access))
    }

    pub(crate) fn project(&self) -> Project<'_> {
        Project { root: &self.root, config: &self.config, git: &self.git }
    }

    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine { root: &self.root, environment: &self.environment, is_rehearsal: self.is_rehearsal() }
    }

    /// Runs children in the workspace root.
    pub(crate) fn runner(&self) -> Runner {
        Runner {
            folder: self.root.clone(),
            reporter: self.reporter.clone(),
            interrupt: self.interrupt.clone(),
        }
    }
}

/// Reads the configuration and the environment of the workspace at `root`, and redacts what is secret from now on.
pub(crate) fn settings(root: &Path, reporter: &Reporter) -> Result<(Config, Environment)> {
    // A path that is shown is one to type.
    if std::env::current_dir().is_ok_and(|here| here == root) {
        reporter.set_root(root);
    }
    let config = Config::read(&root.join("Cargo.toml"));
    let known = config.as_ref().map(Config::variables).unwrap_or_default();
    let environment = Environment::read(root, |name| is_known(&known, name))?;
    // First: an error in the configuration is printed, too.
    reporter.redact(redactor(&known, &environment));
    let names = secret_names(&known, &environment).chain(known.iter().map(|variable| variable.name));
    let names = names.map(str::to_owned).chain(table::variable_names().map(str::to_owned));
    let names: Vec<String> = names.collect();
    withhold(names, Redactor::new(known_secrets(&known, &environment)));
    Ok((config?, environment))
}

/// The root of the workspace: the nearest folder upwards from `start` whose `Cargo.toml` configures a pipeline.
pub(crate) fn find_root(start: &Path) -> Result<PathBuf> {
    let found = || -> Result<PathBuf> {
        for folder in start.ancestors() {
            let manifest = folder.join("Cargo.toml");
            if manifest.is_file() && config::is_root(&fs_err::read_to_string(&manifest)?) {
                // Variables and arguments of children name it.
                if folder.to_str().is_none() {
                    bail!("the path {} is not UTF-8: rename the folder", folder.display());
                }
                return Ok(folder.to_owned());
            }
        }
        bail!(
            "no `Cargo.toml` with `[workspace.metadata.pipeline]` or `[package.metadata.pipeline]` in {} or above it: go to the folder of a service, or set one up with `init`",
            start.display()
        )
    };
    found().or_exit(Exit::Usage)
}

/// The secrets of an environment with these variables.
fn redactor(known: &[Variable<'_>], environment: &Environment) -> Redactor {
    Redactor::new(secret_names(known, environment).filter_map(|name| environment.secret(name)))
}

/// What is secret for sure: what the table and the configuration say, and the machine's tokens.
fn known_secrets<'e>(
    known: &'e [Variable<'_>],
    environment: &'e Environment,
) -> impl Iterator<Item = Secret> + 'e {
    let names = environment.names().filter(|name| is_known_secret(known, name));
    names.filter_map(|name| environment.secret(name))
}

/// Whether the table or the configuration has the variable. Without a configuration the table has to do.
fn is_known(known: &[Variable<'_>], name: &str) -> bool {
    known.iter().any(|variable| variable.name == name) || table::variable(name).is_some()
}

fn is_known_secret(known: &[Variable<'_>], name: &str) -> bool {
    known.iter().any(|variable| variable.name == name && variable.secret)
        || table::variable(name).is_some_and(|variable| variable.secret)
        || is_token(name)
}

/// The variables that are secret, and of `.env` all that are not known to be anything else.
fn secret_names<'e>(
    known: &'e [Variable<'_>],
    environment: &'e Environment,
) -> impl Iterator<Item = &'e str> {
    let is_setting = |name: &str| {
        is_known(known, name)
            || SETTINGS.contains(&name)
            || name.starts_with("XTASK_")
            || matches!(name, "PATH" | "HOME")
            || Redactor::is_ordinary(environment.get(name).unwrap_or_default())
    };
    environment.names().filter(move |name| {
        is_known_secret(known, name) || environment.is_from_file(name) && !is_setting(name)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_dotenv_holds_is_secret_unless_it_is_known_to_be_a_setting() {
        let dir = tempfile::tempdir().unwrap();
        let file = "DATABASE_URL=postgres://u:p@db/x\nALIAS=www.example.com\nPIPELINE_IMAGE=ghcr.io/a/image\n\
            XTASK_INSTALL=never-ever\nPORT=8000\nRENDER_API_KEY=key1\n";
        fs_err::write(dir.path().join(".env"), file).unwrap();
        let ctx = Context::for_test(dir.path(), Environment::default());
        let known = ctx.config.variables();
        let environment = Environment::read(dir.path(), |name| is_known(&known, name)).unwrap();
        let redactor = redactor(&known, &environment);
        let shown = redactor.redact(file);
        assert!(shown.starts_with("DATABASE_URL=<redacted>\nALIAS=www.example.com\n"), "{shown}");
        assert!(shown.ends_with(
            "IMAGE=ghcr.io/a/image\nXTASK_INSTALL=never-ever\nPORT=8000\nRENDER_API_KEY=<redacted>\n"
        ));
    }

    #[test]
    fn a_run_is_repeated_where_it_failed() {
        let mut ctx = Context::for_test(Path::new("/w"), Environment::of([(table::DRILL, "crash")]));
        assert_eq!(ctx.again(StepId::Deploy), "cargo xtask deploy");
        ctx.network = NetworkPolicy::Only(Vec::new());
        // Without the fault, a rehearsal of the jobs would pass.
        assert_eq!(ctx.again(StepId::Deploy), "cargo xtask rehearse --drill crash");
        ctx.environment = Environment::default();
        assert_eq!(ctx.again(StepId::Deploy), "cargo xtask rehearse --job build --job deploy");
    }

    #[test]
    fn a_rehearsal_does_not_look_at_dockers_configuration() {
        let mut ctx = Context::for_test(Path::new("/nowhere"), Environment::of([("HOME", "/h")]));
        assert!(ctx.session().unwrap().logins.docker_config.is_some());
        ctx.network = NetworkPolicy::Only(Vec::new());
        assert_eq!(ctx.session().unwrap().logins.docker_config, None);
    }

    #[test]
    fn the_root_is_found_from_below() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
        assert_eq!(find_root(&fixture.join("app/src")).unwrap(), fixture);
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
