//! What an image says of itself: its configuration and its manifest, as the OCI image specification 1.0 has them.
//!
//! Maps are ordered, so that the same image is the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::binary::Platform;
use super::digest::Digest;
use super::layer::Layer;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer that is not compressed.
pub(crate) const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The longest configuration that is read, in bytes. In memory it takes up to ninety times as much.
pub(crate) const LONGEST_CONFIG: u64 = 512 << 10;

/// The labels that link an image to the one it was built on (OCI image specification, "Pre-Defined Annotation Keys").
pub(crate) const BASE_NAME: &str = "org.opencontainers.image.base.name";
pub(crate) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

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

/// How the image starts: the part of the configuration that the recipe sets, or that comes from its base.
///
/// The keys are those of the OCI image configuration, section `config`, and Docker's `Healthcheck`. Docker writes `null`
/// for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) user: String,
    /// `8000/tcp`; written as a map to empty objects, as the specification has it.
    #[serde(
        skip_serializing_if = "BTreeSet::is_empty",
        serialize_with = "as_map",
        deserialize_with = "of_map"
    )]
    pub(crate) exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in the order of the recipe.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Healthcheck>,
    /// Of the base only: the recipe has none.
    #[serde(
        skip_serializing_if = "BTreeSet::is_empty",
        serialize_with = "as_map",
        deserialize_with = "of_map"
    )]
    pub(crate) volumes: BTreeSet<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(crate) stop_signal: String,
}

/// Docker's health check; durations are in nanoseconds, and 0 means Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Healthcheck {
    /// `["CMD", program, …]`, or `["NONE"]`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_period: u64,
    /// Of the base only: the classic builder does not know it.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) start_interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retries: u64,
}

/// What an image begins with: the layers of its base, the lowest first, and what the base says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) layers: Vec<Descriptor>,
    /// One for each layer.
    pub(crate) diff_ids: Vec<Digest>,
    /// Entries as the base has them; those that made a layer are as many as there are layers, or there are none.
    pub(crate) history: Vec<Value>,
    /// Which processors of the architecture, as in `v8`.
    pub(crate) variant: Option<String>,
}

impl Below {
    /// The configuration of an image with these layers above, as bytes; `created` is a time in RFC 3339.
    ///
    /// Each layer has its entry in the history, as the specification asks.
    pub(crate) fn image_config(
        &self,
        platform: Platform,
        settings: &Settings,
        created: &str,
        layers: &[Layer],
    ) -> serde_json::Result<Vec<u8>> {
        let own = layers.iter().map(|layer| json!({ "created": created, "created_by": layer.origin }));
        let below: Vec<Value> = if self.history.is_empty() {
            self.layers.iter().map(|_| json!({ "created_by": "the base image" })).collect()
        } else {
            self.history.clone()
        };
        serde_json::to_vec(&ImageConfig {
            created,
            architecture: platform.architecture(),
            variant: self.variant.as_deref(),
            os: "linux",
            config: settings,
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: self.diff_ids.iter().chain(layers.iter().map(|layer| &layer.diff_id)).collect(),
            },
            history: below.into_iter().chain(own).collect(),
        })
    }

    /// The manifest of the configuration and its layers, as bytes.
    ///
    /// What links the image to its base stands in the annotations too, where a registry and its clients can read it
    /// without the configuration. The other labels do not: each commit sends the manifest twice, once for each tag.
    pub(crate) fn manifest(
        &self,
        config: &[u8],
        layers: &[Layer],
        mut labels: BTreeMap<String, String>,
    ) -> serde_json::Result<Vec<u8>> {
        labels.retain(|label, _| [BASE_NAME, BASE_DIGEST].contains(&label.as_str()));
        serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Descriptor::of(CONFIG, config),
            layers: self.layers.iter().cloned().chain(layers.iter().map(Layer::descriptor)).collect(),
            annotations: labels,
        })
    }
}

/// The configuration of an image without a base.
#[cfg(test)]
pub(crate) fn image_config(
    platform: Platform,
    settings: &Settings,
    created: &str,
    layers: &[Layer],
) -> serde_json::Result<Vec<u8>> {
    Below::default().image_config(platform, settings, created, layers)
}

/// The manifest of an image without a base.
#[cfg(test)]
pub(crate) fn manifest(
    config: &[u8],
    layers: &[Layer],
    labels: BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    Below::default().manifest(config, layers, labels)
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    config: &'a Settings,
    rootfs: RootFs<'a>,
    history: Vec<Value>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'a str,
    diff_ids: Vec<&'a Digest>,
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

/// The keys of a map to whatever.
fn of_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

/// The default for `null`.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
