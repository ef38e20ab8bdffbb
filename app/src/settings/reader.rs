//! Reads the variables, one after the other, and keeps what it finds wrong with each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::dsn::SentryDsn;
use super::hosts::{AllowedHosts, HostPattern};
use super::problem::{Problem, id, shown};
use super::secret_key::SecretKey;
use super::{Environment, ServerType, Settings};

/// How to come by a key.
const NEW_KEY: &str = "take 50 or more random characters, for example from `cargo xtask secrets generate`";
/// How long requests may take to finish once the process was told to end, where nobody said.
const DRAIN: Duration = Duration::from_secs(20);

/// Reads one variable after the other and keeps what it finds wrong.
pub(super) struct Reader<'a> {
    environment: &'a Environment<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a Environment<'a>) -> Self {
        Self { environment, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn server_type(&mut self) -> Option<ServerType> {
        let way_out = "set it to TEST, or to PROD for a server that the public reaches";
        match self.trimmed("SERVER_TYPE").as_deref() {
            Some("TEST") => Some(ServerType::Test),
            Some("PROD") => Some(ServerType::Prod),
            Some(other) => {
                let wrong = format!("`{}` is not a type", shown(other));
                self.problem(id::SERVER_TYPE, "SERVER_TYPE", wrong, way_out)
            }
            None => self.problem(id::SERVER_TYPE, "SERVER_TYPE", "is not set", way_out),
        }
    }

    pub(super) fn hosts(&mut self, strict: bool) -> AllowedHosts {
        let text = self.trimmed("HOSTS");
        let mut patterns = Vec::new();
        let entries =
            text.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for entry in entries {
            match entry.parse::<HostPattern>() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let wrong = format!("`{}` would never match: {error}", shown(entry));
                    self.problem::<()>(id::HOSTS, "HOSTS", wrong, error.way_out());
                }
            }
        }
        let blamed = self.problems.iter().any(|problem| problem.variable == "HOSTS");
        if patterns.is_empty() && !blamed {
            if strict {
                let way_out = "list the hosts that the server answers to, separated by commas";
                self.problem::<()>(id::HOSTS, "HOSTS", "names no host", way_out);
            } else {
                patterns = AllowedHosts::local_patterns();
            }
        }
        if strict && patterns.contains(&HostPattern::Any) {
            let way_out = "list the hosts that it should answer to";
            self.warning(
                id::ANY_HOST,
                "HOSTS",
                "contains `*`, so the server answers to any host name",
                way_out,
            );
        }
        let render = "RENDER_EXTERNAL_HOSTNAME";
        if let Some(name) = self.trimmed(render) {
            if let Ok(pattern @ (HostPattern::Exact(_) | HostPattern::Ip(_))) = name.parse() {
                patterns.push(pattern);
            } else {
                let wrong = format!("`{}` is not a host", shown(&name));
                self.problem::<()>(id::RENDER_HOST, render, wrong, "remove it: Render sets it by itself");
            }
        }
        AllowedHosts::new(patterns)
    }

    pub(super) fn secret_key(&mut self, strict: bool) -> Option<SecretKey> {
        let (id, name) = (id::SECRET_KEY, "SECRET_KEY");
        // Not trimmed: whoever signs uses the same bytes.
        let Some(text) = (self.environment)(name).filter(|text| !text.trim().is_empty()) else {
            if strict {
                return self.problem(id, name, "is not set", NEW_KEY);
            }
            let made_up = "is not set, so one was made up for this process";
            self.warning(id, name, made_up, "set it, and signatures outlive a restart");
            return match SecretKey::random() {
                Ok(key) => Some(key),
                Err(_) => self.problem(id, name, "is not set and the system gives no random bytes", NEW_KEY),
            };
        };
        let key = SecretKey::new(text);
        self.judge(id, name, "", &key, strict);
        if !key.fits_fallbacks() {
            let wrong = "has a comma in it or spaces around it, so `SECRET_KEY_FALLBACKS` cannot hold it once it is changed";
            self.warning(
                id,
                name,
                wrong,
                "prefer a key without, for example from `cargo xtask secrets generate`",
            );
        }
        Some(key)
    }

    /// Keys that were in use before, for verifying only. What stands between two commas is a key, spaces included.
    pub(super) fn fallbacks(&mut self, strict: bool) -> Vec<SecretKey> {
        let (id, name) = (id::FALLBACKS, "SECRET_KEY_FALLBACKS");
        let text = self.trimmed(name).unwrap_or_default();
        let mut keys = Vec::new();
        for (place, entry) in text.split(',').filter(|entry| !entry.trim().is_empty()).enumerate() {
            if entry.trim() != entry {
                let wrong = format!("has spaces around key {}", place + 1);
                self.problem::<()>(id, name, wrong, "separate the keys by commas alone");
            }
            let key = SecretKey::new(entry.to_owned());
            self.judge(id, name, &format!("has a key {} that ", place + 1), &key, strict);
            keys.push(key);
        }
        keys
    }

    fn judge(&mut self, id: &'static str, name: &'static str, which: &str, key: &SecretKey, strict: bool) {
        for weakness in key.weaknesses() {
            let wrong = format!("{which}{weakness}");
            if strict {
                self.problem::<()>(id, name, wrong, NEW_KEY);
            } else {
                self.warning(id, name, wrong, "a PROD server would not start with it");
            }
        }
    }

    pub(super) fn sentry_dsn(&mut self, strict: bool) -> Option<SentryDsn> {
        let Some(text) = self.trimmed("SENTRY_DSN") else {
            if strict {
                let wrong = "is not set, so errors are logged and reported nowhere";
                self.warning(
                    id::SENTRY_DSN,
                    "SENTRY_DSN",
                    wrong,
                    "copy it from the project's settings in Sentry",
                );
            }
            return None;
        };
        let way_out = "copy it from the project's settings in Sentry, or remove it";
        match text.parse::<SentryDsn>() {
            Ok(dsn) => Some(dsn),
            Err(error) => self.problem(id::SENTRY_DSN, "SENTRY_DSN", error.to_string(), way_out),
        }
    }

    pub(super) fn listen(&mut self) -> SocketAddr {
        let address = self.trimmed("LISTEN").map_or(Some(Ipv4Addr::UNSPECIFIED.into()), |text| {
            let way_out = "use one such as 127.0.0.1, or remove it";
            let wrong = || format!("`{}` is not an IP address", shown(&text));
            text.parse().ok().or_else(|| self.problem(id::ADDRESS, "LISTEN", wrong(), way_out))
        });
        // What stands in for a bad value is never used: `read` fails.
        SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port().unwrap_or_default())
    }

    pub(super) fn port(&mut self) -> Option<u16> {
        let Some(text) = self.trimmed("PORT") else { return Some(8000) };
        let wrong = || format!("`{}` is not a port", shown(&text));
        text.parse()
            .ok()
            .or_else(|| self.problem(id::ADDRESS, "PORT", wrong(), "use a number from 0 to 65535"))
    }

    /// Where the board is kept. Nothing is looked at here: `app check` may run on another machine.
    pub(super) fn database(&mut self, strict: bool) -> PathBuf {
        let (id, name) = (id::DATABASE, "DATABASE");
        let text = self.trimmed(name).unwrap_or_default();
        if text.contains("://") {
            // Not quoted: such an address has a password in it.
            let wrong = "is an address, and the board is kept in a file";
            self.problem::<()>(id, name, wrong, "write its path, such as `/var/data/board.sqlite`");
            return PathBuf::new();
        }
        let path = PathBuf::from(text);
        if strict && path.as_os_str().is_empty() {
            let wrong = "is not set, so the board is kept in memory and empty after each start";
            self.warning(id, name, wrong, "set it to a file on a disk that stays");
        } else if strict && path.starts_with("/tmp") {
            let wrong = "is in `/tmp`, so the board is empty after each deploy";
            self.warning(id, name, wrong, "set it to a file on a disk that stays");
        } else if strict && path.is_relative() {
            let wrong = "is not absolute, so the file's place depends on the folder of the start";
            self.warning(id, name, wrong, "write the whole path, such as `/var/data/board.sqlite`");
        }
        path
    }

    pub(super) fn drain(&mut self) -> Duration {
        let Some(text) = self.trimmed("DRAIN") else { return DRAIN };
        let drain = humantime::parse_duration(&text).ok();
        let drain = drain.filter(|drain| (Duration::from_secs(1)..=Duration::from_mins(5)).contains(drain));
        let wrong = || format!("`{}` is not a time from 1 to 300 s", shown(&text));
        // What stands in for a bad value is never used: `read` fails.
        drain
            .or_else(|| self.problem(id::DRAIN, "DRAIN", wrong(), "write it as `20s`, or remove it"))
            .unwrap_or(DRAIN)
    }

    pub(super) fn commit(&mut self, strict: bool) -> String {
        let Some(commit) = self.trimmed("APP_COMMIT") else {
            if strict {
                let wrong = "is not set, so nobody can tell which commit runs";
                self.warning(id::RELEASE, "APP_COMMIT", wrong, "build the image with the commit in it");
            }
            return Settings::UNKNOWN_COMMIT.to_owned();
        };
        // It becomes part of the release's name in Sentry, which allows neither spaces nor slashes.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if commit.len() > 64 || !commit.bytes().all(fits) {
            let wrong = format!("`{}` is not a commit", shown(&commit));
            self.problem::<()>(id::RELEASE, "APP_COMMIT", wrong, "use the full hash, or remove it");
        }
        commit
    }

    pub(super) fn image_digest(&mut self) -> Option<String> {
        let digest = self.trimmed("APP_IMAGE_DIGEST")?;
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digest.strip_prefix("sha256:").is_some_and(is_hex) {
            return Some(digest);
        }
        let wrong = format!("`{}` is not a digest", shown(&digest));
        self.problem(
            id::RELEASE,
            "APP_IMAGE_DIGEST",
            wrong,
            "use `sha256:` and 64 hexadecimal digits, or remove it",
        )
    }

    /// The variable without spaces around it; `None` where nothing is left.
    pub(super) fn trimmed(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Keeps a problem, and stands in for the value that there is none of.
    fn problem<T>(
        &mut self,
        id: &'static str,
        variable: &str,
        wrong: impl Into<String>,
        way_out: &str,
    ) -> Option<T> {
        let (variable, way_out) = (variable.to_owned(), way_out.to_owned());
        self.problems.push(Problem { id, variable, wrong: wrong.into(), way_out });
        None
    }

    fn warning(&mut self, id: &'static str, variable: &str, wrong: impl Into<String>, way_out: &str) {
        let (variable, way_out) = (variable.to_owned(), way_out.to_owned());
        self.warnings.push(Problem { id, variable, wrong: wrong.into(), way_out });
    }
}
