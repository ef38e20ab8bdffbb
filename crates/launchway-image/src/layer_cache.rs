//! Compressed layers of earlier builds, kept by content: compressing is what the builtin engine spends its time on.
//!
//! An entry is found by the digest of its tar, so what it holds can only be that tar compressed. It says the digest of
//! its bytes in its first line: a damaged entry is not used, but rewritten.

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
    /// What compresses, so that an entry of another compressor is never found.
    program: String,
}

impl LayerCache {
    /// How many layers are kept: those of the last four builds with two layers each.
    const KEPT: usize = 8;

    /// The cache in this folder, which need not be there.
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
        // Without its entry the next build is slower, and no worse: a full disk shows where something must be written.
        drop(write_whole(&path, &entry));
        Ok(layer)
    }

    /// Removes all but the layers that were used last.
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

    /// Where a layer is.
    fn path(&self, diff_id: &Digest) -> PathBuf {
        let key = format!("{} {} {diff_id}", self.program, Layer::COMPRESSION);
        self.folder.join(Digest::of(key.as_bytes()).hex())
    }
}

/// This program: its file and our version.
///
/// Another version of the compressor may write other bytes for the same tar, and which version that is, the lock file
/// of the workspace that uses this crate decides. That file cannot be embedded from here, but compiling another
/// version makes another executable. Its size and time distinguish it, and cost less than reading it.
fn program() -> String {
    let file = || {
        let path = std::env::current_exe().ok()?;
        let metadata = path.metadata().ok()?;
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Some(format!("{} {} {seconds}.{nanoseconds}", path.display(), metadata.len()))
    };
    format!("{} {}", env!("CARGO_PKG_VERSION"), file().unwrap_or_default())
}

/// The bytes of an entry that is whole, which counts as used from now on.
fn read(path: &Path, diff_id: &Digest) -> Option<Vec<u8>> {
    let mut entry = fs_err::read(path).ok()?;
    let end = entry.iter().position(|byte| *byte == b'\n')? + 1;
    let bytes = entry.split_off(end);
    if entry != first_line(diff_id, &bytes).as_bytes() {
        return None;
    }
    // Only its age suffers where this fails.
    drop(fs_err::File::open(path).map(|file| file.into_file().set_modified(SystemTime::now())));
    Some(bytes)
}

/// What an entry says of itself: the tar that it was made of, and the bytes that follow.
fn first_line(diff_id: &Digest, bytes: &[u8]) -> String {
    format!("{diff_id} {}\n", Digest::of(bytes))
}

#[cfg(test)]
mod tests;
