//! What Render answers, as far as the pipeline reads it.
//!
//! Tolerant on purpose: fields that the documentation calls required are null or absent on the wire, such as the `commit`
//! of a deploy whose service runs an image.

use std::fmt;

use serde::{Deserialize, Deserializer};

use launchway_core::secret::Secret;

/// A service: <https://api-docs.render.com/reference/retrieve-service>.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Service {
    #[serde(deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    /// The workspace, `tea-…`, without which neither logs are read nor the image is set.
    #[serde(deserialize_with = "or_default")]
    pub(crate) owner_id: String,
    /// The service's page.
    #[serde(deserialize_with = "or_default")]
    pub(crate) dashboard_url: String,
    /// With what Render pulls the image.
    pub(crate) registry_credential: Option<Credential>,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    /// `suspended` or `not_suspended`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) suspended: String,
    /// The image's reference; only an image-backed service has one.
    pub(crate) image_path: Option<String>,
    #[serde(rename = "serviceDetails", deserialize_with = "or_default")]
    pub(crate) details: ServiceDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    /// `rgc-…`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) id: String,
}

/// The part of a service that depends on its type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceDetails {
    #[serde(deserialize_with = "or_default")]
    pub(crate) runtime: String,
    /// Empty where Render only looks for an open port.
    #[serde(deserialize_with = "or_default")]
    pub(crate) health_check_path: String,
    pub(crate) maintenance_mode: Option<MaintenanceMode>,
    /// The service's own address, `https://….onrender.com`.
    pub(crate) url: Option<String>,
    pub(crate) disk: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MaintenanceMode {
    #[serde(deserialize_with = "or_default")]
    pub(crate) enabled: bool,
}

/// An environment variable of the service. Render answers with the value in the clear.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EnvVar {
    pub(crate) key: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) value: Secret,
}

/// A deploy: <https://api-docs.render.com/reference/retrieve-deploy>.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deploy {
    #[serde(deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) status: Status,
    /// What asked for it: `api`, `manual`, `rollback`, …
    pub(crate) trigger: Option<String>,
    pub(crate) image: Option<DeployImage>,
    /// RFC 3339 in UTC.
    pub(crate) created_at: Option<String>,
}

impl Deploy {
    /// The digest that Render resolved the image to.
    pub(crate) fn sha(&self) -> Option<&str> {
        self.image.as_ref()?.sha.as_deref()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeployImage {
    /// What was asked for.
    #[serde(rename = "ref")]
    pub(crate) reference: Option<String>,
    /// What it was resolved to.
    pub(crate) sha: Option<String>,
}

/// A deploy's status, in Render's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Status(String);

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not yet at an end.
    UnderWay,
    /// A word that Render did not have when this was written. Taken as under way: our own deadline ends the wait.
    Unknown,
    Live,
    /// It was live and a newer deploy took its place.
    Deactivated,
    Failed,
    /// By somebody, or by Render for a newer deploy.
    Canceled,
}

impl Status {
    pub(crate) fn phase(&self) -> Phase {
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
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase(), Phase::UnderWay | Phase::Unknown)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "created" } else { &self.0 })
    }
}

/// A field that may be null as well as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    Ok(Secret::new(or_default::<D, String>(deserializer)?))
}
