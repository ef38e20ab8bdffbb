//! The configuration and the manifest of an image that we build, as bytes.
//!
//! Maps are ordered, so that the same image has the same bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base_image::BaseLayers;
use crate::binary::Platform;
use crate::layer::Layer;
use launchway_registry::oci::{
    BASE_DIGEST, BASE_NAME, CONFIG, Descriptor, ImageConfig, ImageManifest, MANIFEST, RootFs, Settings,
};

/// The configuration of an image with these layers on top of its base's; `created` is a time in RFC 3339.
///
/// Each layer has its entry in the history, as the specification requires.
pub fn image_config(
    base: &BaseLayers,
    platform: Platform,
    settings: &Settings,
    created: &str,
    layers: &[Layer],
) -> serde_json::Result<Vec<u8>> {
    let own = layers.iter().map(|layer| json!({ "created": created, "created_by": layer.origin }));
    let inherited: Vec<Value> = if base.history.is_empty() {
        base.layers.iter().map(|_| json!({ "created_by": "the base image" })).collect()
    } else {
        base.history.clone()
    };
    serde_json::to_vec(&ImageConfig {
        created,
        architecture: platform.architecture(),
        variant: base.variant.as_deref(),
        os: "linux",
        config: settings,
        rootfs: RootFs {
            r#type: "layers",
            diff_ids: base.diff_ids.iter().chain(layers.iter().map(|layer| &layer.diff_id)).collect(),
        },
        history: inherited.into_iter().chain(own).collect(),
    })
}

/// The manifest of a configuration and its layers.
///
/// The labels that link the image to its base are annotations too, so that registries and clients can read them without
/// the configuration. The other labels are not: each commit uploads the manifest twice, once per tag.
pub fn image_manifest(
    base: &BaseLayers,
    config: &[u8],
    layers: &[Layer],
    mut labels: BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    labels.retain(|label, _| [BASE_NAME, BASE_DIGEST].contains(&label.as_str()));
    serde_json::to_vec(&ImageManifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::of(CONFIG, config),
        layers: base.layers.iter().cloned().chain(layers.iter().map(Layer::descriptor)).collect(),
        annotations: labels,
    })
}
