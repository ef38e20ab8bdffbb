//! What there is to know of a service before it is adopted, each thing with the place that says so.

use std::fmt;

/// Where something was found: `src/main.rs:41`, `origin/HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: String,
    line: Option<usize>,
}

impl Place {
    pub(super) fn line(file: &str, line: usize) -> Self {
        Self { file: file.to_owned(), line: Some(line) }
    }

    pub(super) fn of(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A value and the place that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> Found<T> {
    pub(super) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// A variable that the service reads when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    /// Whether the service ends, or answers with errors, without it.
    pub(super) needed: bool,
}

impl Variable {
    /// Whether the name is that of something to keep secret.
    pub(super) fn is_secret(&self) -> bool {
        const WORDS: [&str; 9] =
            ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY", "DSN", "CREDENTIAL", "DATABASE_URL", "SALT"];
        WORDS.iter().any(|word| self.name.contains(word))
            || self.name.ends_with("_URI") && self.name.contains("DB")
    }
}

/// How the service learns the port that it listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// It reads `PORT`, which Render sets.
    Standard,
    /// A variable of another name, and its value with `$PORT` for the port.
    Variable { name: String, value: String },
    /// It listens on this one, whatever the environment says.
    Fixed(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("from `PORT`, which Render sets"),
            Self::Variable { name, value } => write!(f, "from `{name}`: Render needs `{name}={value}`"),
            Self::Fixed(port) => write!(f, "{port}, whatever `PORT` says"),
        }
    }
}

/// A C library in the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) krate: String,
    /// Whether a static program can hold it without anything from the machine.
    pub(super) bundled: bool,
    /// What that takes.
    pub(super) words: &'static str,
}

/// A path of the repository that a compose file puts into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Relative to the Cargo root.
    pub(super) source: String,
    pub(super) target: String,
    /// Whether it is a tracked file, and not a folder for what the service writes.
    pub(super) file: bool,
}

/// What the Rust sources say.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Paths that may answer a health check, the likeliest first.
    pub(super) health: Vec<Found<String>>,
    pub(super) version: Option<Found<String>>,
    pub(super) variables: Vec<Found<Variable>>,
    /// Beginnings of the names of variables that a configuration library reads.
    pub(super) prefixes: Vec<Found<String>>,
    /// An address in the sources that only this machine can reach.
    pub(super) loopback: Option<Found<String>>,
    /// A port that is written in the sources.
    pub(super) port: Option<Found<u16>>,
    /// What tests connect to.
    pub(super) services: Vec<Found<&'static str>>,
}

/// The package and the program that ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shipped {
    pub(super) package: String,
    pub(super) binary: String,
}
