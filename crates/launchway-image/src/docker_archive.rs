//! Images in one file: the formats of `docker load` and `docker save`.
//!
//! The written file is in two formats at once: an OCI image layout, and the `manifest.json` of the older
//! docker-archive, which points to the same blobs. Engines before 25 cannot load a layout alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use super::binary::Platform;
use super::layer::Layer;
use super::layer_reader::{Bounds, LayerReader, plain};
use super::layout::{self, Layout};
use launchway_core::file;
use launchway_core::interrupt::Interrupt;
use launchway_registry::Digest;

/// The largest configuration or `manifest.json` that is read.
const LONGEST_JSON: u64 = 8 << 20;

/// Writes the image of a layout to one file, completely or not at all; the same image gives the same bytes.
pub fn write(layout: &Layout, repository: &str, path: &Path) -> Result<()> {
    file::write_pieces(path, |file| pack(layout, repository, file))
}

/// Entries are sorted, and their times are 0.
fn pack(layout: &Layout, repository: &str, file: impl Write) -> Result<()> {
    let mut tar = Builder::new(file);
    for folder in ["blobs/", "blobs/sha256/"] {
        tar.append(&header(folder, EntryType::Directory, 0)?, std::io::empty())?;
    }
    // A set: two layers may be one blob.
    let blobs: BTreeSet<&Digest> =
        layout.blobs().chain([&layout.manifest]).map(|blob| &blob.digest).collect();
    for digest in blobs {
        let file = fs_err::File::open(layout.blob(digest))?;
        let size = file.metadata()?.len();
        tar.append(&header(&blob(digest), EntryType::Regular, size)?, file)?;
    }
    let names = layout.tags.iter().map(|tag| format!("{repository}:{tag}"));
    let manifest = vec![Saved {
        config: blob(&layout.config.digest),
        repo_tags: Some(names.collect()),
        layers: layout.layers.iter().map(|layer| blob(&layer.digest)).collect(),
    }];
    for (name, bytes) in [
        ("index.json", layout.index(repository)?),
        ("manifest.json", serde_json::to_vec(&manifest)?),
        ("oci-layout", layout::MARKER.into()),
    ] {
        tar.append(&header(name, EntryType::Regular, bytes.len() as u64)?, bytes.as_slice())?;
    }
    Ok(tar.finish()?)
}

fn header(path: &str, kind: EntryType, size: u64) -> Result<Header> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path)?;
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The entry of an image in `manifest.json`: paths in the archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image saved by an engine, with its layers compressed as ours are.
#[derive(Debug)]
pub struct Image {
    /// The engine's own bytes, so that their digest stays the engine's id of the image.
    pub config: Vec<u8>,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

/// The parts of an image's configuration that are read.
#[derive(Deserialize)]
struct Described {
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<Labels>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// Reads the one image of a docker-archive. Fails if a layer does not match the configuration.
///
/// Reads the archive in pieces: only the result, the compressed layers, is held in memory.
pub fn read(path: &Path, platform: Platform, interrupt: &Interrupt) -> Result<Image> {
    unpack(path, platform, interrupt)
        .with_context(|| format!("{} does not contain a usable image", path.display()))
}

fn unpack(path: &Path, platform: Platform, interrupt: &Interrupt) -> Result<Image> {
    let contents = Contents::of(path)?;
    let images: Vec<Saved> = serde_json::from_slice(&contents.json("manifest.json")?)
        .context("its `manifest.json` is not a docker-archive's")?;
    let [saved] = images.as_slice() else { bail!("it contains {} images instead of one", images.len()) };
    let bytes = contents.json(&saved.config)?;
    let config: Described =
        serde_json::from_slice(&bytes).context("its configuration is not an image configuration")?;
    let found = format!("{}/{}", config.os, config.architecture);
    if found != platform.to_string() {
        bail!("it is for {found}, but `target` in the pipeline's configuration is for {platform}");
    }
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != saved.layers.len() {
        bail!("it contains {} layers, but its configuration names {}", saved.layers.len(), diff_ids.len());
    }
    let mut reader = LayerReader::new(interrupt, Bounds::IMAGE);
    let mut layers = Vec::new();
    for (path, diff_id) in saved.layers.iter().zip(diff_ids) {
        let layer = contents
            .with(path, |tar| compress(tar, &mut reader))
            .with_context(|| format!("its layer `{path}`"))?;
        if layer.diff_id != diff_id {
            bail!(
                "its layer `{path}` does not have the contents that its configuration states: {}",
                layer.diff_id
            );
        }
        layers.push(layer);
    }
    let labels = config.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(Image { config: bytes, labels, layers })
}

/// Compresses a tar. A gzip-compressed one, as from an engine with containerd's store, is recompressed.
///
/// Reads it like a deploy will, so that what a deploy could not check is rejected here.
pub(super) fn compress(stream: impl Read, reader: &mut LayerReader<'_>) -> Result<Layer> {
    // The bytes do not depend on how the tar is split when it is read.
    let mut tee = Tee { tar: plain(stream)?, gzip: Layer::gzip() };
    let diff_id = reader.read(&mut tee, |_| Ok(()))?;
    Ok(Layer { origin: String::new(), diff_id, bytes: tee.gzip.finish()? })
}

/// Compresses what is read through it.
struct Tee<R, W> {
    tar: R,
    gzip: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.tar.read(buffer)?;
        self.gzip.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Where the files of an archive are.
struct Contents {
    path: PathBuf,
    /// Offset and size.
    files: BTreeMap<String, (u64, u64)>,
    /// The engine saves a repeated layer as a link to the first.
    links: BTreeMap<String, String>,
}

impl Contents {
    fn of(path: &Path) -> Result<Self> {
        let mut contents = Self { path: path.to_owned(), files: BTreeMap::new(), links: BTreeMap::new() };
        let mut archive = Archive::new(fs_err::File::open(path)?);
        // Raw: the engine writes no long names, and the crate would read headers of any length into memory.
        for entry in archive.entries_with_seek()?.raw(true) {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.header().entry_type() {
                EntryType::Regular => {
                    contents.files.insert(name, (entry.raw_file_position(), entry.size()));
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let above = name.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
                    let is_symlink = entry.header().entry_type() == EntryType::Symlink;
                    let target = if is_symlink { format!("{above}/{target}") } else { target };
                    contents.links.insert(name, super::dockerignore::clean(&target));
                }
                _ => {}
            }
        }
        Ok(contents)
    }

    /// Reads a file of the archive.
    fn with<T>(&self, name: &str, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let name = self.links.get(name).map_or(name, String::as_str);
        let (place, size) = *self.files.get(name).with_context(|| format!("it has no `{name}`"))?;
        let mut file = fs_err::File::open(&self.path)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(place))?;
        read(&mut file.take(size))
    }

    fn json(&self, name: &str) -> Result<Vec<u8>> {
        self.with(name, |file| {
            let mut bytes = Vec::new();
            file.take(LONGEST_JSON).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }
}

#[cfg(test)]
mod tests;
