//! What is known about a service before it is adopted, each finding with its location.

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

    /// Another line of the same file.
    pub(super) fn at(&self, line: usize) -> Self {
        Self { file: self.file.clone(), line: Some(line) }
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

/// A value and its location.
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
    /// Whether the service exits, or responds with errors, without it.
    pub(super) needed: bool,
    /// The value that a settings file has for another environment.
    pub(super) elsewhere: Option<String>,
}

impl Variable {
    /// Whether the name suggests a secret.
    pub(super) fn is_secret(&self) -> bool {
        const WORDS: [&str; 9] =
            ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY", "DSN", "CREDENTIAL", "DATABASE_URL", "SALT"];
        WORDS.iter().any(|word| self.name.contains(word))
            || self.name.ends_with("_URI") && self.name.contains("DB")
    }
}

/// How the service learns the port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// From `PORT`, which Render sets.
    Standard,
    /// From another variable; in its value, `$PORT` means the port.
    Variable { name: String, value: String },
    /// From arguments, which replace those of the image; in them, `$PORT` means the port.
    Arguments(Vec<String>),
    /// It always listens on this port.
    Fixed(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("from `PORT`, which Render sets"),
            Self::Variable { name, value } => write!(f, "from `{name}`: Render needs `{name}={value}`"),
            Self::Arguments(words) => write!(f, "from the arguments `{}`", words.join(" ")),
            Self::Fixed(port) => write!(f, "{port}, regardless of `PORT`"),
        }
    }
}

/// How a program gets a C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A static program can hold it without anything from the machine.
    Bundled,
    /// It comes from the machine, and may have a static form there.
    Machine,
    /// It has no static form.
    Dynamic,
}

/// A C library in the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) krate: String,
    pub(super) link: Link,
    /// What that requires.
    pub(super) words: &'static str,
}

/// A path of the repository that a compose file mounts into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Relative to the Cargo root.
    pub(super) source: String,
    pub(super) target: String,
    /// Whether it is a tracked file rather than a folder that the service writes to.
    pub(super) file: bool,
}

/// What the Rust sources reveal.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Possible health check paths, the likeliest first.
    pub(super) health: Vec<Found<String>>,
    pub(super) version: Option<Found<String>>,
    pub(super) variables: Vec<Found<Variable>>,
    /// Prefixes of the variables that a configuration library reads.
    pub(super) prefixes: Vec<Found<String>>,
    /// An address in the sources that only the same machine can reach.
    pub(super) loopback: Option<Found<String>>,
    /// A port that is hard-coded in the sources, or set in a settings file.
    pub(super) port: Option<Found<u16>>,
    /// The command-line option that sets the port, such as `--port`.
    pub(super) port_option: Option<Found<String>>,
    /// Where SIGTERM is handled, and by what.
    pub(super) termination: Option<Found<String>>,
    /// What the tests connect to.
    pub(super) services: Vec<Found<&'static str>>,
}

/// The package and the binary that ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shipped {
    pub(super) package: String,
    pub(super) binary: String,
}
