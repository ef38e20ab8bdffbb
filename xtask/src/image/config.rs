//! What an image says of itself: its configuration and its manifest, as the OCI image specification 1.0 has them.
//!
//! Maps are ordered, so that the same image is the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

use super::binary::Platform;
use super::digest::Digest;
use super::layer::Layer;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A blob: what it is, its name and its size in bytes (OCI content descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Descriptor {
    /// Describes these bytes.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// The manifest: the configuration and the layers of one platform's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// How the image starts: the part of the configuration that the recipe sets.
///
/// The keys are those of the OCI image configuration, section `config`, and Docker's `Healthcheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    /// `8000/tcp`; written as a map to empty objects, as the specification has it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "as_map")]
    pub(crate) exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in the order of the recipe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
}

/// Docker's health check; durations are in nanoseconds, and 0 means Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Healthcheck {
    /// `["CMD", program, …]`, or `["NONE"]`.
    pub(crate) test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_period: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retries: u64,
}

/// The configuration of an image with these layers, as bytes; `created` is a time in RFC 3339.
///
/// Each layer has its entry in the history, as the specification asks.
pub(crate) fn image_config(
    platform: Platform,
    settings: &Settings,
    created: &str,
    layers: &[Layer],
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&ImageConfig {
        created,
        architecture: platform.architecture(),
        os: "linux",
        config: settings,
        rootfs: RootFs { r#type: "layers", diff_ids: layers.iter().map(|layer| &layer.diff_id).collect() },
        history: layers.iter().map(|layer| History { created, created_by: &layer.origin }).collect(),
    })
}

/// The manifest of the configuration and its layers, as bytes.
///
/// The labels stand in the annotations too: some registries show the one, some the other.
pub(crate) fn manifest(
    config: &[u8],
    layers: &[Layer],
    labels: BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::of(CONFIG, config),
        layers: layers.iter().map(Layer::descriptor).collect(),
        annotations: labels,
    })
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: &'a Settings,
    rootfs: RootFs<'a>,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'a str,
    diff_ids: Vec<&'a Digest>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

fn as_map<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(set.iter().map(|key| (key, Empty {})))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
