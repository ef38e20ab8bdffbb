//! Settings: read from the environment once and validated as a whole.
//!
//! | variable | meaning |
//! |---|---|
//! | `SERVER_TYPE` | `TEST` or `PROD`; required |
//! | `HOSTS` | hosts that requests may name ([`hosts`]); required in PROD |
//! | `SECRET_KEY` | key of all signing ([`secret_key`]); required in PROD |
//! | `SECRET_KEY_FALLBACKS` | earlier keys, separated by commas; their signatures are still accepted |
//! | `SENTRY_DSN` | where to report errors ([`dsn`]); nowhere by default |
//! | `PORT` | 0 to 65535, 8000 by default; 0 lets the system choose |
//! | `LISTEN` | IP address to listen on, `0.0.0.0` by default |
//! | `DATABASE` | file of the release board; in memory by default, since the image has no writable folder |
//! | `DRAIN` | how long open requests may take to finish at shutdown: `1s` to `300s`, `20s` by default |
//! | `APP_COMMIT` | the commit that was built; set in the image, `unknown` by default |
//! | `APP_IMAGE_DIGEST` | `sha256:…` of the running image, if known |
//! | `RENDER_EXTERNAL_HOSTNAME` | set by Render, whose health check uses that name; added to `HOSTS` |
//! | `RENDER_SERVICE_ID` | set by Render; limits the board to the reports of this service |
//!
//! A variable that holds only spaces counts as unset.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use self::dsn::SentryDsn;
use self::hosts::AllowedHosts;
pub use self::lookalike::lookalikes;
pub use self::problem::{Problem, Problems};
use self::reader::Reader;
use self::secret_key::SecretKey;

pub mod dsn;
pub mod hosts;
mod lookalike;
pub(crate) mod problem;
mod reader;
pub mod secret_key;

/// Where variables come from: the process environment, or a test's.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which rules apply.
    pub server_type: ServerType,
    /// Hosts that requests may name.
    pub hosts: AllowedHosts,
    /// Key of all signing.
    pub secret_key: SecretKey,
    /// Earlier keys: they verify signatures and sign nothing.
    pub secret_key_fallbacks: Vec<SecretKey>,
    /// Where to report errors; nowhere when absent.
    pub sentry_dsn: Option<SentryDsn>,
    /// Address to listen on. With port 0 the system chooses one.
    pub listen: SocketAddr,
    /// File of the release board; in memory when empty.
    pub database: PathBuf,
    /// How long open requests may take to finish at shutdown.
    pub drain: Duration,
    /// The commit that was built: 1 to 64 of `[A-Za-z0-9._-]`, `unknown` when unset.
    pub commit: String,
    /// Digest of the running image, `sha256:` and 64 hexadecimal digits.
    pub image_digest: Option<String>,
    /// The id that the platform gave this service.
    pub service: Option<String>,
    /// What is allowed but questionable; logged at startup.
    pub warnings: Vec<Problem>,
}

impl Settings {
    /// The value of [`Settings::commit`] when `APP_COMMIT` is unset.
    pub const UNKNOWN_COMMIT: &str = "unknown";

    /// Reads all settings and fails with everything that is wrong with them.
    pub fn read(environment: &Environment) -> Result<Self, Problems> {
        Self::read_as(environment, None)
    }

    /// Reads all settings by the rules of a PROD server, whatever `SERVER_TYPE` says.
    pub(crate) fn read_strictly(environment: &Environment) -> Result<Self, Problems> {
        Self::read_as(environment, Some(ServerType::Prod))
    }

    fn read_as(environment: &Environment, rules: Option<ServerType>) -> Result<Self, Problems> {
        let mut reader = Reader::new(environment);
        let server_type = reader.server_type();
        // Without a valid type the strict rules apply: they name everything that a PROD server would lack.
        let strict = rules.or(server_type) != Some(ServerType::Test);
        let hosts = reader.hosts(strict);
        let secret_key = reader.secret_key(strict);
        let secret_key_fallbacks = reader.fallbacks(strict);
        let sentry_dsn = reader.sentry_dsn(strict);
        let listen = reader.listen();
        let database = reader.database(strict);
        let drain = reader.drain();
        let commit = reader.commit(strict);
        let image_digest = reader.image_digest();
        let service = reader.trimmed("RENDER_SERVICE_ID");
        let Reader { problems, warnings, .. } = reader;
        match (server_type, secret_key) {
            (Some(server_type), Some(secret_key)) if problems.is_empty() => Ok(Self {
                server_type,
                hosts,
                secret_key,
                secret_key_fallbacks,
                sentry_dsn,
                listen,
                database,
                drain,
                commit,
                image_digest,
                service,
                warnings,
            }),
            _ => Err(Problems { problems, warnings }),
        }
    }
}

/// Reads the port alone, for the health check.
pub(crate) fn port(environment: &Environment) -> Result<u16, Problems> {
    let mut reader = Reader::new(environment);
    match reader.port() {
        Some(port) => Ok(port),
        None => Err(Problems { problems: reader.problems, warnings: reader.warnings }),
    }
}

/// Which rules a server follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerType {
    /// A server for development and staging, with forgiving defaults.
    Test,
    /// A public server: every required setting must be given.
    Prod,
}

impl fmt::Display for ServerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "TEST",
            Self::Prod => "PROD",
        })
    }
}
