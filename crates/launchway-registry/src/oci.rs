//! The documents of an image: manifest, configuration and descriptors, as in the OCI image specification 1.0.
//!
//! Maps are ordered, so that the same image has the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Digest;

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a compressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a layer that is not compressed.
pub const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The longest configuration that is read, in bytes. In memory it takes up to ninety times as much.
pub const LONGEST_CONFIG: u64 = 512 << 10;

/// The label with the name of the base image (OCI image specification, "Pre-Defined Annotation Keys").
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The label with the digest of the base image.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// A reference to a blob or a manifest (OCI content descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
}

impl Descriptor {
    /// Describes these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// A manifest: the configuration and the layers of one platform's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2, the only version that is in use.
    pub schema_version: u32,
    /// [`MANIFEST`], or Docker's older name for the same document.
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Labels that can be read without the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How a container of the image starts: the section `config` of an image configuration.
///
/// It includes Docker's `Healthcheck`. Docker writes `null` for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    /// `user`, `uid` or `user:group`; empty for root.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub user: String,
    /// `8000/tcp`; written as a map to empty objects, as the specification has it.
    #[serde(
        skip_serializing_if = "BTreeSet::is_empty",
        serialize_with = "as_map",
        deserialize_with = "of_map"
    )]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in the order in which they were set.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The arguments after the entry point, which `docker run` replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Docker's health check of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Folders that every container gets as volumes.
    #[serde(
        skip_serializing_if = "BTreeSet::is_empty",
        serialize_with = "as_map",
        deserialize_with = "of_map"
    )]
    pub volumes: BTreeSet<String>,
    /// The folder that the program starts in; empty for `/`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub working_dir: String,
    /// The labels of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the program; empty for `SIGTERM`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// Docker's health check; durations are in nanoseconds, and 0 means Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["CMD", program, …]`, or `["NONE"]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// How long a check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// The time in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// The time between two checks in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// How many failures in a row make a container unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// An image configuration to write.
#[derive(Clone, Debug, Serialize)]
pub struct ImageConfig<'a> {
    /// A time in RFC 3339.
    pub created: &'a str,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: &'a str,
    /// The variant of the architecture, such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<&'a str>,
    /// `linux`.
    pub os: &'a str,
    /// How a container starts.
    pub config: &'a Settings,
    /// The layers.
    pub rootfs: RootFs<'a>,
    /// An entry for each layer, and for each instruction that made none.
    pub history: Vec<Value>,
}

/// The layers of an image configuration.
#[derive(Clone, Debug, Serialize)]
pub struct RootFs<'a> {
    /// `layers`.
    pub r#type: &'a str,
    /// The digests of the layers before compression, the lowest first.
    pub diff_ids: Vec<&'a Digest>,
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

/// Deserialises the keys of a map.
fn of_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

/// Deserialises `null` as the default.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
