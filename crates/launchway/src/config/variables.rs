//! The variables of a run: the pipeline's own, which the table lists, and the service's, which the configuration lists.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use anyhow::Result;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::login::Login;
use super::{Config, DeployConfig};
use crate::table::{self, Job, JobId, StepId};
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure};
use launchway_core::secret::Secret;
use launchway_registry::Digest;

/// An entry of `deploy.environment`: a name, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceVariable {
    pub(crate) name: String,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
    /// What the service uses it for.
    pub(crate) meaning: String,
    /// A value, or where to get one.
    pub(crate) example: String,
}

/// `deploy.environment-name`: a name, or a table that maps a variable of the service to names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnvironmentName {
    Fixed(String),
    /// The name for the variable's value; the value itself if the table has none.
    Of {
        variable: String,
        names: BTreeMap<String, String>,
    },
}

impl Default for EnvironmentName {
    fn default() -> Self {
        Self::Fixed("production".to_owned())
    }
}

/// A variable that a step reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
    meaning: &'a str,
    /// Where to get a value.
    source: Cow<'a, str>,
    /// Where the workflow gets it on GitHub, as an expression.
    pub(crate) on_github: Cow<'a, str>,
}

impl Variable<'_> {
    /// Its meaning and source, for the message that it is not set.
    pub(crate) fn hint(&self) -> String {
        match (self.meaning, &*self.source) {
            ("", "") => "listed in `deploy.environment`".to_owned(),
            (words, "") | ("", words) => words.to_owned(),
            (meaning, source) => format!("{meaning} ({source})"),
        }
    }
}

impl Config {
    /// Every variable that a job reads.
    pub(crate) fn variables(&self) -> Vec<Variable<'_>> {
        let of_service = self.deploy.environment.iter().map(Variable::from);
        let login = self.login();
        let of_pipeline = table::VARIABLES.iter().filter(|own| match own.name {
            name if table::SENTRY.contains(&name) => self.deploy.sentry.is_some(),
            name if table::is_login(name) => login.is_some_and(|login| login.names().contains(&name)),
            _ => true,
        });
        of_pipeline.map(|own| Variable::of_pipeline(own, login)).chain(of_service).collect()
    }

    /// The login for the image's registry, unless that requires none.
    fn login(&self) -> Option<Login<'_>> {
        self.login.then(|| Login::of(&self.image))
    }

    /// The variable of this name, if a job reads it.
    pub(crate) fn variable(&self, name: &str) -> Option<Variable<'_>> {
        self.variables().into_iter().find(|variable| variable.name == name)
    }

    /// The value of a variable, or an error with [`Exit::Missing`] and its source.
    pub(crate) fn secret(&self, environment: &Environment, name: &str) -> Result<Secret> {
        let Some(secret) = environment.secret(name) else {
            let hint = self.variable(name);
            let hint = hint.map_or_else(String::new, |variable| format!(": {}", variable.hint()));
            return Err(Failure::new(Exit::Missing, format!("`{name}` is not set{hint}")).into());
        };
        Ok(secret)
    }

    /// The variables that a job requires.
    pub(crate) fn required(&self, job: &Job) -> Vec<&str> {
        let of_service = match job.id {
            // A rollback writes the values that were kept with the release.
            JobId::Test | JobId::Build | JobId::Rollback => &[],
            JobId::Deploy => self.deploy.environment.as_slice(),
        };
        job.variables
            .iter()
            .filter_map(|name| self.own(name))
            .chain(of_service.iter().map(|variable| variable.name.as_str()))
            .collect()
    }

    /// The optional variables of a job; each documents what is skipped without it.
    pub(crate) fn optional(&self, job: &Job) -> Vec<&str> {
        let of_service = match job.id {
            JobId::Test | JobId::Build | JobId::Deploy => &[],
            // One of them signs the reports.
            JobId::Rollback => self.deploy.environment.as_slice(),
        };
        let of_service = of_service.iter().map(|variable| variable.name.as_str());
        of_service.chain(job.optional.iter().filter_map(|name| self.own(name))).collect()
    }

    /// The required variables of its job that a step reads.
    pub(crate) fn required_by(&self, step: StepId) -> Vec<&str> {
        if step.reads_variables() { self.required(step.job().job()) } else { Vec::new() }
    }

    /// The optional variables of its job that a step reads.
    pub(crate) fn optional_for(&self, step: StepId) -> Vec<&str> {
        if step.reads_variables() { self.optional(step.job().job()) } else { Vec::new() }
    }

    /// The service's variables for the smoke run: those of `rehearse.environment`, and generated keys.
    ///
    /// The keys are always the same: nothing else signs with them, and the plan must not change from run to run.
    pub(crate) fn smoke_environment(&self) -> Vec<(String, String)> {
        let configured = &self.rehearse.environment;
        let keys = self.deploy.keys().into_iter().filter(|key| !configured.contains_key(*key));
        let keys = keys
            .map(|key| (key.to_owned(), Digest::of(format!("smoke run {key}").as_bytes()).hex().to_owned()));
        let configured = configured.iter().map(|(name, value)| (name.clone(), value.clone()));
        configured.chain(keys).collect()
    }

    /// The name of one of the table's variables in this configuration; `None` if it does not apply.
    fn own(&self, name: &'static str) -> Option<&'static str> {
        match table::LOGIN.iter().position(|of_login| *of_login == name) {
            Some(place) => self.login()?.names().get(place).copied(),
            None if table::SENTRY.contains(&name) => self.deploy.sentry.is_some().then_some(name),
            None => Some(name),
        }
    }
}

impl DeployConfig {
    /// The names of the service's variables.
    pub(crate) fn names(&self) -> Vec<String> {
        self.environment.iter().map(|variable| variable.name.clone()).collect()
    }

    /// The name of the environment, for these values of the service's variables.
    pub(crate) fn environment_name<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        match &self.environment_name {
            EnvironmentName::Fixed(name) => Some(name.clone()),
            EnvironmentName::Of { variable, names } => {
                let value = value(variable)?;
                Some(names.get(value).map_or(value, String::as_str).to_owned())
            }
        }
    }

    /// The variables that hold signing keys: any long random word is a valid value.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = [&self.reports, &self.test_error]
            .into_iter()
            .flatten()
            .map(|signed| signed.key.as_str())
            .collect();
        keys.dedup();
        keys
    }
}

impl<'a> Variable<'a> {
    /// Where a run on GitHub looks for the value, for a message that it is not there.
    pub(crate) fn place_on_github(&self) -> String {
        let store = match self.on_github.split_once('.') {
            Some(("vars", _)) => "Variables",
            _ => "Secrets",
        };
        format!("Settings → Secrets and variables → Actions → {store}")
    }

    fn of_pipeline(own: &'a table::Variable, login: Option<Login<'_>>) -> Self {
        let place = login.and_then(|login| login.place(own.name).map(|place| (login, place)));
        let (source, on_github) = match place {
            Some((login, place)) => {
                let [source, on_github] = [login.sources(), login.on_github()].map(|both| {
                    let [username, token] = both;
                    if place == 0 { username } else { token }
                });
                (source, on_github)
            }
            None => (Cow::Borrowed(own.source), Cow::Owned(format!("secrets.{}", own.name))),
        };
        Self { name: own.name, secret: own.secret, meaning: own.meaning, source, on_github }
    }
}

impl<'a> From<&'a ServiceVariable> for Variable<'a> {
    fn from(of_service: &'a ServiceVariable) -> Self {
        let source = match of_service.example.as_str() {
            "" => Cow::Borrowed(""),
            example => Cow::Owned(format!("for example `{example}`")),
        };
        let ServiceVariable { name, secret, meaning, .. } = of_service;
        // GitHub masks the value of a secret in every log: a masked `PROD` would make them hard to read.
        let store = if *secret { "secrets" } else { "vars" };
        Self { name, secret: *secret, meaning, source, on_github: Cow::Owned(format!("{store}.{name}")) }
    }
}

impl<'de> Deserialize<'de> for ServiceVariable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            #[serde(default = "secret")]
            secret: bool,
            #[serde(default)]
            meaning: String,
            #[serde(default)]
            example: String,
        }
        fn secret() -> bool {
            true
        }
        text_or_table(
            deserializer,
            "a variable's name, or a table with `name`, `secret`, `meaning` and `example`",
            |name| Self { name, secret: true, meaning: String::new(), example: String::new() },
            |Table { name, secret, meaning, example }| Self { name, secret, meaning, example },
        )
    }
}

impl<'de> Deserialize<'de> for EnvironmentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            variable: String,
            #[serde(default)]
            names: BTreeMap<String, String>,
        }
        text_or_table(
            deserializer,
            "a name, or a table with `variable` and `names`",
            Self::Fixed,
            |table: Table| Self::Of { variable: table.variable, names: table.names },
        )
    }
}

/// Reads a value that is either a string or a table. Unlike an untagged enum, it reports the key that is wrong.
pub(super) fn text_or_table<'de, D: Deserializer<'de>, T: Deserialize<'de>, V>(
    deserializer: D,
    expected: &'static str,
    of_text: impl FnOnce(String) -> V,
    of_table: impl FnOnce(T) -> V,
) -> Result<V, D::Error> {
    struct TextOrTable<T, F, G> {
        expected: &'static str,
        of_text: F,
        of_table: G,
        table: PhantomData<T>,
    }
    impl<'de, T: Deserialize<'de>, V, F: FnOnce(String) -> V, G: FnOnce(T) -> V> Visitor<'de>
        for TextOrTable<T, F, G>
    {
        type Value = V;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E>(self, text: &str) -> Result<V, E> {
            Ok((self.of_text)(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(self.of_table)
        }
    }
    deserializer.deserialize_any(TextOrTable { expected, of_text, of_table, table: PhantomData })
}
