//! Reads each variable and collects its problems.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::dsn::SentryDsn;
use super::hosts::{AllowedHosts, HostPattern};
use super::problem::{Problem, id, shown};
use super::secret_key::SecretKey;
use super::{Environment, ServerType, Settings};

/// How to get a key.
const NEW_KEY: &str = "use 50 or more random characters, for example from `cargo xtask secrets generate`";
/// The default of `DRAIN`.
const DRAIN: Duration = Duration::from_secs(20);

/// Collects problems while variables are read.
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
        let hint = "set it to TEST, or to PROD for a public server";
        match self.trimmed("SERVER_TYPE").as_deref() {
            Some("TEST") => Some(ServerType::Test),
            Some("PROD") => Some(ServerType::Prod),
            Some(other) => {
                let wrong = format!("`{}` is not a server type", shown(other));
                self.problem(id::SERVER_TYPE, "SERVER_TYPE", wrong, hint)
            }
            None => self.problem(id::SERVER_TYPE, "SERVER_TYPE", "is not set", hint),
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
                    self.problem::<()>(id::HOSTS, "HOSTS", wrong, error.hint());
                }
            }
        }
        let blamed = self.problems.iter().any(|problem| problem.variable == "HOSTS");
        if patterns.is_empty() && !blamed {
            if strict {
                let hint = "list the hosts that requests may name, separated by commas";
                self.problem::<()>(id::HOSTS, "HOSTS", "lists no hosts", hint);
            } else {
                patterns = AllowedHosts::local_patterns();
            }
        }
        if strict && patterns.contains(&HostPattern::Any) {
            let hint = "list the hosts that requests may name";
            self.warning(id::ANY_HOST, "HOSTS", "contains `*`, so the server accepts any host name", hint);
        }
        let render = "RENDER_EXTERNAL_HOSTNAME";
        if let Some(name) = self.trimmed(render) {
            if let Ok(pattern @ (HostPattern::Exact(_) | HostPattern::Ip(_))) = name.parse() {
                patterns.push(pattern);
            } else {
                let wrong = format!("`{}` is not a host", shown(&name));
                self.problem::<()>(id::RENDER_HOST, render, wrong, "remove it: Render sets it");
            }
        }
        AllowedHosts::new(patterns)
    }

    pub(super) fn secret_key(&mut self, strict: bool) -> Option<SecretKey> {
        let (id, name) = (id::SECRET_KEY, "SECRET_KEY");
        // Not trimmed: the signer uses the same bytes.
        let Some(text) = (self.environment)(name).filter(|text| !text.trim().is_empty()) else {
            if strict {
                return self.problem(id, name, "is not set", NEW_KEY);
            }
            let generated = "is not set, so a key was generated for this process";
            self.warning(id, name, generated, "set it to keep signatures valid across restarts");
            return match SecretKey::random() {
                Ok(key) => Some(key),
                Err(_) => {
                    self.problem(id, name, "is not set and the system provides no random bytes", NEW_KEY)
                }
            };
        };
        let key = SecretKey::new(text);
        self.check_key(id, name, "", &key, strict);
        if !key.fits_fallbacks() {
            let wrong =
                "contains a comma or has spaces around it, so it cannot move to `SECRET_KEY_FALLBACKS` later";
            self.warning(
                id,
                name,
                wrong,
                "use a key without them, for example from `cargo xtask secrets generate`",
            );
        }
        Some(key)
    }

    /// Earlier keys, for verifying only. Spaces between two commas are part of the key.
    pub(super) fn fallbacks(&mut self, strict: bool) -> Vec<SecretKey> {
        let (id, name) = (id::FALLBACKS, "SECRET_KEY_FALLBACKS");
        let text = self.trimmed(name).unwrap_or_default();
        let mut keys = Vec::new();
        for (place, entry) in text.split(',').filter(|entry| !entry.trim().is_empty()).enumerate() {
            if entry.trim() != entry {
                let wrong = format!("has spaces around key {}", place + 1);
                self.problem::<()>(id, name, wrong, "separate the keys with commas alone");
            }
            let key = SecretKey::new(entry.to_owned());
            self.check_key(id, name, &format!("has a key {} that ", place + 1), &key, strict);
            keys.push(key);
        }
        keys
    }

    fn check_key(
        &mut self,
        id: &'static str,
        name: &'static str,
        which: &str,
        key: &SecretKey,
        strict: bool,
    ) {
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
                let wrong = "is not set, so errors are logged but not reported";
                self.warning(
                    id::SENTRY_DSN,
                    "SENTRY_DSN",
                    wrong,
                    "copy it from the project's settings in Sentry",
                );
            }
            return None;
        };
        let hint = "copy it from the project's settings in Sentry, or remove it";
        match text.parse::<SentryDsn>() {
            Ok(dsn) => Some(dsn),
            Err(error) => self.problem(id::SENTRY_DSN, "SENTRY_DSN", error.to_string(), hint),
        }
    }

    pub(super) fn listen(&mut self) -> SocketAddr {
        let address = self.trimmed("LISTEN").map_or(Some(Ipv4Addr::UNSPECIFIED.into()), |text| {
            let hint = "use an address such as 127.0.0.1, or remove it";
            let wrong = || format!("`{}` is not an IP address", shown(&text));
            text.parse().ok().or_else(|| self.problem(id::ADDRESS, "LISTEN", wrong(), hint))
        });
        // The fallbacks are never used: `read` fails.
        SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port().unwrap_or_default())
    }

    pub(super) fn port(&mut self) -> Option<u16> {
        let Some(text) = self.trimmed("PORT") else { return Some(8000) };
        let wrong = || format!("`{}` is not a port", shown(&text));
        text.parse()
            .ok()
            .or_else(|| self.problem(id::ADDRESS, "PORT", wrong(), "use a number from 0 to 65535"))
    }

    /// Does not look at the file system: `app check` may run on another machine.
    pub(super) fn database(&mut self, strict: bool) -> PathBuf {
        let (id, name) = (id::DATABASE, "DATABASE");
        let text = self.trimmed(name).unwrap_or_default();
        if text.contains("://") {
            // Not quoted: such a URL contains a password.
            let wrong = "is a URL, but the board is kept in a file";
            self.problem::<()>(id, name, wrong, "use a path such as `/var/data/board.sqlite`");
            return PathBuf::new();
        }
        let path = PathBuf::from(text);
        if strict && path.as_os_str().is_empty() {
            let wrong = "is not set, so the board lives in memory and is lost at each restart";
            self.warning(id, name, wrong, "set it to a file on a persistent disk");
        } else if strict && path.starts_with("/tmp") {
            let wrong = "is in `/tmp`, so the board is lost at each deploy";
            self.warning(id, name, wrong, "set it to a file on a persistent disk");
        } else if strict && path.is_relative() {
            let wrong = "is relative, so the file's place depends on the working directory";
            self.warning(id, name, wrong, "use an absolute path such as `/var/data/board.sqlite`");
        }
        path
    }

    pub(super) fn drain(&mut self) -> Duration {
        let Some(text) = self.trimmed("DRAIN") else { return DRAIN };
        let drain = humantime::parse_duration(&text).ok();
        let drain = drain.filter(|drain| (Duration::from_secs(1)..=Duration::from_secs(300)).contains(drain));
        let wrong = || format!("`{}` is not a duration from 1 to 300 s", shown(&text));
        // The fallback is never used: `read` fails.
        drain
            .or_else(|| self.problem(id::DRAIN, "DRAIN", wrong(), "write it as `20s`, or remove it"))
            .unwrap_or(DRAIN)
    }

    pub(super) fn commit(&mut self, strict: bool) -> String {
        let Some(commit) = self.trimmed("APP_COMMIT") else {
            if strict {
                let wrong = "is not set, so the running commit is unknown";
                self.warning(id::RELEASE, "APP_COMMIT", wrong, "build the image with its commit");
            }
            return Settings::UNKNOWN_COMMIT.to_owned();
        };
        // Part of the release's name in Sentry, which allows neither spaces nor slashes.
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

    /// Records a problem. Returns `None` in place of the value.
    fn problem<T>(
        &mut self,
        id: &'static str,
        variable: &str,
        wrong: impl Into<String>,
        hint: &str,
    ) -> Option<T> {
        let (variable, hint) = (variable.to_owned(), hint.to_owned());
        self.problems.push(Problem { id, variable, wrong: wrong.into(), hint });
        None
    }

    fn warning(&mut self, id: &'static str, variable: &str, wrong: impl Into<String>, hint: &str) {
        let (variable, hint) = (variable.to_owned(), hint.to_owned());
        self.warnings.push(Problem { id, variable, wrong: wrong.into(), hint });
    }
}
