//! Caches compressed layers by content, because compression is the slowest part of the builtin engine.
//!
//! An entry is found by the digest of its tar, so it can only contain that tar, compressed. Its first line has the
//! digest of its bytes: a damaged entry is not used, but rewritten.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;

use super::layer::{Layer, Tar};
use launchway_core::file::write_whole;
use launchway_registry::Digest;

/// The folder of the compressed layers.
#[derive(Debug)]
pub struct LayerCache {
    folder: PathBuf,
    /// The compressor, so that entries of another one are never found.
    program: String,
}

impl LayerCache {
    /// How many layers are kept: those of the last four builds with two layers each.
    const KEPT: usize = 8;

    /// The cache in this folder, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, program: program() }
    }

    /// Compresses a tar unless an earlier build did.
    pub fn compress(&self, tar: &Tar) -> Result<Layer> {
        let path = self.path(&tar.diff_id);
        if let Some(bytes) = read(&path, &tar.diff_id) {
            return Ok(Layer { origin: tar.origin.clone(), diff_id: tar.diff_id.clone(), bytes });
        }
        let layer = Layer::compress(tar)?;
        let entry = [first_line(&layer.diff_id, &layer.bytes).as_bytes(), &layer.bytes].concat();
        // Without its entry, the next build is only slower; a full disk shows elsewhere.
        drop(write_whole(&path, &entry));
        Ok(layer)
    }

    /// Removes all but the most recently used layers.
    pub fn tidy(&self) {
        let Ok(entries) = fs_err::read_dir(&self.folder) else { return };
        let mut entries: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        entries.sort_by(|one, two| two.cmp(one));
        for (_, path) in entries.into_iter().skip(Self::KEPT) {
            // Another run may have been faster.
            drop(fs_err::remove_file(path));
        }
    }

    /// The path of a layer.
    fn path(&self, diff_id: &Digest) -> PathBuf {
        let key = format!("{} {} {diff_id}", self.program, Layer::COMPRESSION);
        self.folder.join(Digest::of(key.as_bytes()).hex())
    }
}

/// Identifies this program: its file and our version.
///
/// Another version of the compressor may produce other bytes for the same tar. The lock file of the workspace that uses
/// this crate determines that version, and cannot be embedded here; but another version results in another executable.
/// Its size and time identify it, and cost less than reading it.
fn program() -> String {
    let file = || {
        let path = std::env::current_exe().ok()?;
        let metadata = path.metadata().ok()?;
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Some(format!("{} {} {seconds}.{nanoseconds}", path.display(), metadata.len()))
    };
    format!("{} {}", env!("CARGO_PKG_VERSION"), file().unwrap_or_default())
}

/// The bytes of an intact entry, which counts as used from now on.
fn read(path: &Path, diff_id: &Digest) -> Option<Vec<u8>> {
    let mut entry = fs_err::read(path).ok()?;
    let end = entry.iter().position(|byte| *byte == b'\n')? + 1;
    let bytes = entry.split_off(end);
    if entry != first_line(diff_id, &bytes).as_bytes() {
        return None;
    }
    // If this fails, only the entry's age is wrong.
    drop(fs_err::File::open(path).map(|file| file.into_file().set_modified(SystemTime::now())));
    Some(bytes)
}

/// An entry's first line: the digests of the tar and of the bytes that follow.
fn first_line(diff_id: &Digest, bytes: &[u8]) -> String {
    format!("{diff_id} {}\n", Digest::of(bytes))
}

#[cfg(test)]
mod tests;
