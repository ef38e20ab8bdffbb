//! The two releases of every drill: the image that was built, and the same image with another commit.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use launchway_fakes::registry::FakeRegistry;
use launchway_image::layout::Layout;

/// The commit of the earlier release.
pub(super) const EARLIER: &str = "1111111111111111111111111111111111111111";

/// Both releases, in memory.
pub(super) struct Releases {
    /// The tag of the commit that was built.
    pub(super) tag: String,
    layers: Vec<Vec<u8>>,
    new: Image,
    earlier: Image,
}

struct Image {
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Releases {
    /// Reads the layout in a folder, whose image has this tag. The earlier release differs in the commit in its configuration, and so in its digest
    /// and in what the service reports.
    pub(super) fn read(folder: &Path, tag: String) -> Result<Self> {
        let layout = Layout::open(folder)?;
        let read = |digest| fs_err::read(layout.blob(digest));
        let layers = layout.layers.iter().map(|layer| read(&layer.digest)).collect::<Result<_, _>>()?;
        let new = Image { config: read(&layout.config.digest)?, manifest: layout.manifest_bytes.clone() };
        let text = String::from_utf8(new.config.clone()).context("the image's configuration is not text")?;
        ensure!(
            text.contains(&tag),
            "the image does not report its commit, which a drill needs to identify it"
        );
        let config = text.replace(&tag, EARLIER).into_bytes();
        let mut manifest: Value = serde_json::from_slice(&new.manifest)?;
        manifest["config"]["digest"] = json!(launchway_registry::Digest::of(&config).to_string());
        manifest["config"]["size"] = json!(config.len());
        let earlier = Image { config, manifest: serde_json::to_vec(&manifest)? };
        Ok(Self { tag, layers, new, earlier })
    }

    /// Whether the tree had uncommitted changes.
    pub(super) fn is_dirty(&self) -> bool {
        self.tag.ends_with("-dirty")
    }

    /// Stores the new release in a registry under these tags, and returns its digest.
    pub(super) fn keep_new(
        &self,
        registry: &FakeRegistry,
        repository: &str,
        tags: &[&str],
    ) -> Result<String> {
        self.keep(&self.new, registry, repository, tags)
    }

    /// Stores the earlier release.
    pub(super) fn keep_earlier(
        &self,
        registry: &FakeRegistry,
        repository: &str,
        tags: &[&str],
    ) -> Result<String> {
        let mut all = vec![EARLIER];
        all.extend(tags);
        self.keep(&self.earlier, registry, repository, &all)
    }

    /// The digest of the new release.
    pub(super) fn new_digest(&self) -> String {
        launchway_registry::Digest::of(&self.new.manifest).to_string()
    }

    fn keep(
        &self,
        image: &Image,
        registry: &FakeRegistry,
        repository: &str,
        tags: &[&str],
    ) -> Result<String> {
        let blobs: Vec<&[u8]> = self.layers.iter().chain([&image.config]).map(Vec::as_slice).collect();
        registry.keep(repository, &blobs, &image.manifest, tags)
    }
}
