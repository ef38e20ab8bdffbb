//! Which release this process is, as `/version`, the board and Sentry show it.

use std::time::SystemTime;

use launchway_report::{Report, Service, Time};
use serde::Serialize;

use crate::settings::{ServerType, Settings};

/// Facts about the running process. Serialised, it is the body of `GET /version`.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// Name of the program.
    pub name: &'static str,
    /// Version of the package.
    pub version: &'static str,
    /// The commit that was built, or `unknown`. Read at startup rather than compiled in, so that the same source gives
    /// the same binary.
    pub commit: String,
    /// Digest of the running image, where it is known.
    pub image_digest: Option<String>,
    /// Which rules apply.
    pub server_type: ServerType,
    /// The platform's service, as reports name it; `None` off the platform.
    #[serde(skip)]
    pub service: Option<String>,
    /// When the process started: RFC 3339, UTC, in whole seconds.
    pub started_at: String,
    /// `started_at` as a time.
    #[serde(skip)]
    pub started: Time,
}

impl Identity {
    /// The identity of a process that starts now.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let now = SystemTime::now();
        Self {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: settings.commit.clone(),
            image_digest: settings.image_digest.clone(),
            server_type: settings.server_type,
            service: settings.service.as_deref().map(Service::key),
            started_at: humantime::format_rfc3339_seconds(now).to_string(),
            started: now.into(),
        }
    }

    /// Whether a report belongs to this service and environment. Early reports name neither and count as ours.
    #[must_use]
    pub fn owns(&self, report: &Report) -> bool {
        let here = match (&report.service, &self.service) {
            (Some(service), Some(own)) => service.key == *own,
            _ => true,
        };
        let same =
            |environment: &String| environment == self.environment() || environment == Report::NO_ENVIRONMENT;
        let ended = report.deployment.as_ref().map(|deployment| &deployment.environment);
        let started = report.under_way.as_ref().map(|under_way| &under_way.environment);
        here && ended.or(started).is_none_or(same)
    }

    /// The release's name in Sentry: `app@1.2.3+0123456789ab` (package, version, build), or `app@1.2.3` where the commit is
    /// unknown.
    #[must_use]
    pub fn release(&self) -> String {
        let Self { name, version, .. } = self;
        if self.commit == Settings::UNKNOWN_COMMIT {
            return format!("{name}@{version}");
        }
        let build = self.commit.get(..12).unwrap_or(&self.commit);
        format!("{name}@{version}+{build}")
    }

    /// The distribution's name in Sentry: the first 32 digits of the image's digest. Sentry allows 64 characters.
    #[must_use]
    pub fn dist(&self) -> Option<&str> {
        self.image_digest.as_deref()?.strip_prefix("sha256:")?.get(..32)
    }

    /// The environment's name in Sentry and in reports, as `environment-name` in the pipeline's configuration has it.
    #[must_use]
    pub fn environment(&self) -> &'static str {
        match self.server_type {
            ServerType::Test => "test",
            ServerType::Prod => "production",
        }
    }
}
