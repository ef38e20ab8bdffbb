//! Base images: what a final stage `FROM <image>` begins with.

pub mod files;

use launchway_registry::Digest;
use launchway_registry::oci::Descriptor;
use serde_json::Value;

/// The layers of a base image, and what its configuration says of them.
///
/// The default is what `FROM scratch` begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseLayers {
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// One for each layer.
    pub diff_ids: Vec<Digest>,
    /// Entries as the base has them; those that made a layer are as many as there are layers, or there are none.
    pub history: Vec<Value>,
    /// Which processors of the architecture, as in `v8`.
    pub variant: Option<String>,
}
