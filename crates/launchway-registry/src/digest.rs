//! Digests: `sha256:` and 64 hex digits.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, bail};
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use launchway_core::encode::hex;
use launchway_core::short;

/// A validated digest: `sha256:` and 64 lower-case hex digits, so it is safe in a path or a URL.
///
/// Other algorithms are rejected: nothing that we read or write uses one (OCI image spec, descriptor, "Digests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::name(digest(&SHA256, bytes).as_ref())
    }

    /// The digest of a file's bytes, and their number. Reads the file in pieces.
    pub fn of_file(path: &Path) -> Result<(Self, u64)> {
        let mut file = fs_err::File::open(path)?;
        let mut context = Context::new(&SHA256);
        let mut piece = vec![0; 64 << 10];
        let mut size = 0;
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok((Self::finish(context), size));
            }
            context.update(piece.get(..read).unwrap_or_default());
            size += read as u64;
        }
    }

    /// The digest of what was hashed with SHA-256, piece by piece.
    pub fn finish(context: Context) -> Self {
        Self::name(context.finish().as_ref())
    }

    /// The full form: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or_default()
    }

    /// Enough digits to distinguish it from others.
    pub fn short(&self) -> String {
        short(&self.0)
    }

    fn name(hash: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(hash)))
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(Self(text.to_owned()))
            }
            _ => bail!("`{text}` is not a digest of the form `sha256:` and 64 hex digits"),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn bytes_and_files_have_the_same_digest() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 200_000];
        fs_err::write(dir.path().join("f"), &bytes).unwrap();
        assert_eq!(Digest::of_file(&dir.path().join("f")).unwrap(), (Digest::of(&bytes), 200_000));
    }

    #[test]
    fn only_a_sha256_in_lower_case_is_a_digest() {
        let digest: Digest = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(digest.hex().len(), 64);
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY}\""));
        let upper = EMPTY.to_uppercase();
        for bad in ["", "sha256:", "sha512:00", "sha256:../../etc/passwd", &upper, &EMPTY[..70]] {
            bad.parse::<Digest>().unwrap_err();
        }
    }
}
