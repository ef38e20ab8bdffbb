//! The parts of Render's responses that a deploy reads.
//!
//! Deliberately tolerant: fields that the documentation calls required are null or absent on the wire, such as the
//! `commit` of a deploy whose service runs an image.

use std::fmt;

use serde::{Deserialize, Deserializer};

use launchway_core::secret::Secret;

/// A service: <https://api-docs.render.com/reference/retrieve-service>.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// `srv-…`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// Its name on the dashboard.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The workspace, `tea-…`, without which neither logs are read nor the image is set.
    #[serde(deserialize_with = "or_default")]
    pub owner_id: String,
    /// The service's page.
    #[serde(deserialize_with = "or_default")]
    pub dashboard_url: String,
    /// The credential with which Render pulls the image.
    pub registry_credential: Option<Credential>,
    /// `web_service`, `cron_job`, …
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// `suspended` or `not_suspended`.
    #[serde(deserialize_with = "or_default")]
    pub suspended: String,
    /// The image's reference; only an image-backed service has one.
    pub image_path: Option<String>,
    /// The type-specific part.
    #[serde(rename = "serviceDetails", deserialize_with = "or_default")]
    pub details: ServiceDetails,
}

/// A registry credential of the workspace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// `rgc-…`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
}

/// The part of a service that depends on its type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceDetails {
    /// `image` for a service that runs an image.
    #[serde(deserialize_with = "or_default")]
    pub runtime: String,
    /// Empty if Render only looks for an open port.
    #[serde(deserialize_with = "or_default")]
    pub health_check_path: String,
    /// Present if the service has one.
    pub maintenance_mode: Option<MaintenanceMode>,
    /// The service's own address, `https://….onrender.com`.
    pub url: Option<String>,
    /// Present if a disk is attached.
    pub disk: Option<serde::de::IgnoredAny>,
}

/// Whether visitors get a maintenance page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MaintenanceMode {
    /// Whether they get it now.
    #[serde(deserialize_with = "or_default")]
    pub enabled: bool,
}

/// An environment variable of the service. Render sends its value in the clear.
#[derive(Clone, Debug, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(deserialize_with = "secret")]
    pub value: Secret,
}

/// A deploy: <https://api-docs.render.com/reference/retrieve-deploy>.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deploy {
    /// `dep-…`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// Its status.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
    /// What requested it: `api`, `manual`, `rollback`, …
    pub trigger: Option<String>,
    /// The image that it runs.
    pub image: Option<DeployImage>,
    /// RFC 3339 in UTC.
    pub created_at: Option<String>,
}

impl Deploy {
    /// The digest that Render resolved the image to.
    pub fn sha(&self) -> Option<&str> {
        self.image.as_ref()?.sha.as_deref()
    }
}

/// The image of a deploy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeployImage {
    /// The requested reference.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The digest that it was resolved to.
    pub sha: Option<String>,
}

/// A deploy's status, in Render's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Status(String);

/// The meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not ended.
    UnderWay,
    /// A value that Render did not have when this was written. It counts as under way: our own timeout ends the wait.
    Unknown,
    /// It is live.
    Live,
    /// It was live, and a newer deploy replaced it.
    Deactivated,
    /// It did not go live.
    Failed,
    /// Cancelled by somebody, or by Render for a newer deploy.
    Canceled,
}

impl Status {
    /// The meaning of the status.
    pub fn phase(&self) -> Phase {
        match self.0.as_str() {
            ""
            | "created"
            | "queued"
            | "build_in_progress"
            | "pre_deploy_in_progress"
            | "update_in_progress" => Phase::UnderWay,
            "live" => Phase::Live,
            "deactivated" => Phase::Deactivated,
            "build_failed" | "pre_deploy_failed" | "update_failed" => Phase::Failed,
            "canceled" => Phase::Canceled,
            _ => Phase::Unknown,
        }
    }

    /// Whether it may change by itself.
    pub fn is_open(&self) -> bool {
        matches!(self.phase(), Phase::UnderWay | Phase::Unknown)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "created" } else { &self.0 })
    }
}

/// A field that may be null as well as absent.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    Ok(Secret::new(or_default::<D, String>(deserializer)?))
}
