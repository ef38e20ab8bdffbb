//! The configuration and the manifest of an image that we make, as bytes.
//!
//! Maps are ordered, so that the same image is the same bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::binary::Platform;
use super::layer::Layer;
use launchway_registry::Digest;
use launchway_registry::oci::{
    BASE_DIGEST, BASE_NAME, CONFIG, Descriptor, ImageConfig, ImageManifest, MANIFEST, RootFs, Settings,
};

/// What an image begins with: the layers of its base, the lowest first, and what the base says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Below {
    /// The layers of the base, the lowest first.
    pub layers: Vec<Descriptor>,
    /// One for each layer.
    pub diff_ids: Vec<Digest>,
    /// Entries as the base has them; those that made a layer are as many as there are layers, or there are none.
    pub history: Vec<Value>,
    /// Which processors of the architecture, as in `v8`.
    pub variant: Option<String>,
}

impl Below {
    /// The configuration of an image with these layers above, as bytes; `created` is a time in RFC 3339.
    ///
    /// Each layer has its entry in the history, as the specification asks.
    pub fn image_config(
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
    pub fn manifest(
        &self,
        config: &[u8],
        layers: &[Layer],
        mut labels: BTreeMap<String, String>,
    ) -> serde_json::Result<Vec<u8>> {
        labels.retain(|label, _| [BASE_NAME, BASE_DIGEST].contains(&label.as_str()));
        serde_json::to_vec(&ImageManifest {
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
pub fn image_config(
    platform: Platform,
    settings: &Settings,
    created: &str,
    layers: &[Layer],
) -> serde_json::Result<Vec<u8>> {
    Below::default().image_config(platform, settings, created, layers)
}

/// The manifest of an image without a base.
#[cfg(test)]
pub fn manifest(
    config: &[u8],
    layers: &[Layer],
    labels: BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    Below::default().manifest(config, layers, labels)
}
