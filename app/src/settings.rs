//! Settings: read from the environment once, judged as a whole.
//!
//! | variable | meaning |
//! |---|---|
//! | `SERVER_TYPE` | `TEST` or `PROD`; required |
//! | `HOSTS` | hosts that the server answers to ([`hosts`]); required in PROD |
//! | `SECRET_KEY` | key of all signing ([`secret_key`]); required in PROD |
//! | `SENTRY_DSN` | where errors are reported ([`dsn`]); nowhere by default |
//! | `PORT` | 0 to 65535, 8000 by default; with 0 the system chooses |
//! | `LISTEN` | IP address to listen on, `0.0.0.0` by default; tests listen on loopback |
//! | `DATABASE` | the file of the release board; in memory by default |
//! | `APP_COMMIT` | the commit that was built; set by the image, `unknown` by default |
//! | `APP_IMAGE_DIGEST` | `sha256:…` of the running image, where it is known |
//! | `RENDER_EXTERNAL_HOSTNAME` | set by Render, whose health check asks by that name; added to `HOSTS` |
//!
//! A variable that is set to nothing but spaces counts as not set.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use self::dsn::SentryDsn;
use self::hosts::{AllowedHosts, HostPattern};
use self::secret_key::SecretKey;

pub mod dsn;
pub mod hosts;
pub mod secret_key;

/// Where variables come from: the process environment, or a test's.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The settings of one process.
#[derive(Debug)]
pub struct Settings {
    /// Which rules hold.
    pub server_type: ServerType,
    /// Hosts that requests may name.
    pub hosts: AllowedHosts,
    /// Key of all signing.
    pub secret_key: SecretKey,
    /// Where errors are reported; nowhere when absent.
    pub sentry_dsn: Option<SentryDsn>,
    /// Address to listen on. Port 0 means one that the system chooses.
    pub listen: SocketAddr,
    /// The file of the release board; empty for one in memory.
    pub database: PathBuf,
    /// The commit that was built: 1 to 64 of `[A-Za-z0-9._-]`, `unknown` where nobody said.
    pub commit: String,
    /// Digest of the running image, `sha256:` and 64 hexadecimal digits.
    pub image_digest: Option<String>,
    /// What is allowed and still deserves a look; logged at the start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The value of [`Settings::commit`] where nobody said.
    pub const UNKNOWN_COMMIT: &str = "unknown";

    /// Reads all settings, and fails with everything that is wrong with them, not with the first thing.
    pub fn read(environment: &Environment) -> Result<Self, Problems> {
        let mut reader = Reader::new(environment);
        let server_type = reader.server_type();
        // Without a valid type, judge by the strict rules: they name everything that a PROD server would lack.
        let strict = server_type != Some(ServerType::Test);
        let hosts = reader.hosts(strict);
        let secret_key = reader.secret_key(strict);
        let sentry_dsn = reader.sentry_dsn(strict);
        let listen = reader.listen();
        let database = reader.trimmed("DATABASE").unwrap_or_default().into();
        let commit = reader.commit();
        let image_digest = reader.image_digest();
        let Reader { problems, warnings, .. } = reader;
        match (server_type, secret_key) {
            (Some(server_type), Some(secret_key)) if problems.is_empty() => Ok(Self {
                server_type,
                hosts,
                secret_key,
                sentry_dsn,
                listen,
                database,
                commit,
                image_digest,
                warnings,
            }),
            _ => Err(Problems(problems)),
        }
    }
}

/// The port alone, for whoever only wants to reach the server.
pub(crate) fn port(environment: &Environment) -> Result<u16, Problems> {
    let mut reader = Reader::new(environment);
    reader.port().ok_or(Problems(reader.problems))
}

/// Whether this is the real thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerType {
    /// A server for trying things out: forgiving defaults.
    Test,
    /// A server that the public reaches: nothing is made up.
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

/// Everything that is wrong with an environment; never empty.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings cannot be used:")?;
        for Problem { variable, wrong, way_out } in &self.0 {
            writeln!(f, "  {variable}: {wrong}; {way_out}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong. Neither part quotes a secret.
#[derive(Debug)]
struct Problem {
    variable: &'static str,
    wrong: String,
    way_out: String,
}

/// Reads one variable after the other and keeps what it finds wrong.
struct Reader<'a> {
    environment: &'a Environment<'a>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a Environment<'a>) -> Self {
        Self { environment, problems: Vec::new(), warnings: Vec::new() }
    }

    fn server_type(&mut self) -> Option<ServerType> {
        let way_out = "set it to TEST, or to PROD for a server that the public reaches";
        match self.trimmed("SERVER_TYPE").as_deref() {
            Some("TEST") => Some(ServerType::Test),
            Some("PROD") => Some(ServerType::Prod),
            Some(other) => self.problem("SERVER_TYPE", format!("`{}` is not a type", shown(other)), way_out),
            None => self.problem("SERVER_TYPE", "is not set", way_out),
        }
    }

    fn hosts(&mut self, strict: bool) -> AllowedHosts {
        let text = self.trimmed("HOSTS");
        let mut patterns = Vec::new();
        let entries =
            text.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for entry in entries {
            match entry.parse::<HostPattern>() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let wrong = format!("`{}` would never match: {error}", shown(entry));
                    self.problem::<()>("HOSTS", wrong, error.way_out());
                }
            }
        }
        let blamed = self.problems.iter().any(|problem| problem.variable == "HOSTS");
        if patterns.is_empty() && !blamed {
            if strict {
                let way_out = "list the hosts that the server answers to, separated by commas";
                self.problem::<()>("HOSTS", "names no host", way_out);
            } else {
                patterns = AllowedHosts::local_patterns();
            }
        }
        if strict && patterns.contains(&HostPattern::Any) {
            self.warnings.push("HOSTS contains `*`: the server answers to any host name".to_owned());
        }
        let render = "RENDER_EXTERNAL_HOSTNAME";
        if let Some(name) = self.trimmed(render) {
            if let Ok(pattern @ (HostPattern::Exact(_) | HostPattern::Ip(_))) = name.parse() {
                patterns.push(pattern);
            } else {
                let wrong = format!("`{}` is not a host", shown(&name));
                self.problem::<()>(render, wrong, "remove it: Render sets it by itself");
            }
        }
        AllowedHosts::new(patterns)
    }

    fn secret_key(&mut self, strict: bool) -> Option<SecretKey> {
        let way_out = "take 50 or more random characters, for example from `openssl rand -base64 48`";
        // Not trimmed: whoever signs uses the same bytes.
        let Some(text) = (self.environment)("SECRET_KEY").filter(|text| !text.trim().is_empty()) else {
            if strict {
                return self.problem("SECRET_KEY", "is not set", way_out);
            }
            self.warnings.push("SECRET_KEY is not set: made one up for this process".to_owned());
            return match SecretKey::random() {
                Ok(key) => Some(key),
                Err(_) => {
                    self.problem("SECRET_KEY", "is not set and the system gives no random bytes", way_out)
                }
            };
        };
        let key = SecretKey::new(text);
        for weakness in key.weaknesses() {
            if strict {
                self.problem::<()>("SECRET_KEY", weakness.to_string(), way_out);
            } else {
                self.warnings.push(format!("SECRET_KEY {weakness}: a PROD server would not start with it"));
            }
        }
        Some(key)
    }

    fn sentry_dsn(&mut self, strict: bool) -> Option<SentryDsn> {
        let Some(text) = self.trimmed("SENTRY_DSN") else {
            if strict {
                self.warnings
                    .push("SENTRY_DSN is not set: errors are logged and reported nowhere".to_owned());
            }
            return None;
        };
        let way_out = "copy it from the project's settings in Sentry, or remove it";
        match text.parse::<SentryDsn>() {
            Ok(dsn) => Some(dsn),
            Err(error) => self.problem("SENTRY_DSN", error.to_string(), way_out),
        }
    }

    fn listen(&mut self) -> SocketAddr {
        let address = self.trimmed("LISTEN").map_or(Some(Ipv4Addr::UNSPECIFIED.into()), |text| {
            let way_out = "use one such as 127.0.0.1, or remove it";
            let wrong = || format!("`{}` is not an IP address", shown(&text));
            text.parse().ok().or_else(|| self.problem("LISTEN", wrong(), way_out))
        });
        // What stands in for a bad value is never used: `read` fails.
        SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port().unwrap_or_default())
    }

    fn port(&mut self) -> Option<u16> {
        let Some(text) = self.trimmed("PORT") else { return Some(8000) };
        let wrong = || format!("`{}` is not a port", shown(&text));
        text.parse().ok().or_else(|| self.problem("PORT", wrong(), "use a number from 0 to 65535"))
    }

    fn commit(&mut self) -> String {
        let Some(commit) = self.trimmed("APP_COMMIT") else { return Settings::UNKNOWN_COMMIT.to_owned() };
        // It becomes part of the release's name in Sentry, which allows neither spaces nor slashes.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if commit.len() > 64 || !commit.bytes().all(fits) {
            let wrong = format!("`{}` is not a commit", shown(&commit));
            self.problem::<()>("APP_COMMIT", wrong, "use the full hash, or remove it");
        }
        commit
    }

    fn image_digest(&mut self) -> Option<String> {
        let digest = self.trimmed("APP_IMAGE_DIGEST")?;
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digest.strip_prefix("sha256:").is_some_and(is_hex) {
            return Some(digest);
        }
        let wrong = format!("`{}` is not a digest", shown(&digest));
        self.problem("APP_IMAGE_DIGEST", wrong, "use `sha256:` and 64 hexadecimal digits, or remove it")
    }

    /// The variable without spaces around it; `None` where nothing is left.
    fn trimmed(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Keeps a problem, and stands in for the value that there is none of.
    fn problem<T>(&mut self, variable: &'static str, wrong: impl Into<String>, way_out: &str) -> Option<T> {
        self.problems.push(Problem { variable, wrong: wrong.into(), way_out: way_out.to_owned() });
        None
    }
}

/// A value that is no secret, fit for one line of a terminal: escaped, and cut after 80 characters.
fn shown(value: &str) -> String {
    value.chars().take(80).flat_map(char::escape_debug).collect()
}
