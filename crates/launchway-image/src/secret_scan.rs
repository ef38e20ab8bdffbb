//! The secret scan: searches every layer for what must never be pushed, before anything is uploaded.
//!
//! A registry keeps whatever it once received, and a layer still contains a file that a layer above removes. The scan
//! looks for the values of known secrets, for private keys, and for `.env` and `.git`. It does not guess what else may
//! be secret, and misses a value that is encoded or compressed.

use std::fmt;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use memchr::memmem::Finder;

use super::layer_reader::{Bounds, Kind, LayerReader};
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::Secret;

/// A blob of the image, as named in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Which layer, counted from 1 at the bottom.
    Layer(usize, PathBuf),
    /// The configuration, which contains the values of `ENV` and `LABEL`.
    Config(PathBuf),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(number, _) => write!(f, "layer {number}"),
            Self::Config(_) => f.write_str("the configuration"),
        }
    }
}

/// Searches all parts for keys, forbidden files and these named secrets. A finding is an error with [`Exit::Usage`]
/// that says where and what it is, never its value.
pub fn scan(parts: &[Part], secrets: &[(&str, Secret)], interrupt: &Interrupt) -> Result<()> {
    let scan = Scan::new(secrets, interrupt);
    let mut found = Vec::new();
    for part in parts {
        let places = scan
            .scan(part)
            .with_context(|| format!("cannot scan {part} of the image"))
            .or_exit(Exit::Usage)?;
        found.extend(places.into_iter().map(|place| format!("{part}, {place}")));
    }
    if found.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the image contains what must not be pushed: {}. Remove it from what the Dockerfile copies or sets (`.dockerignore` excludes files) and build again",
        found.join("; ")
    );
    Err(Failure::new(Exit::Usage, message).into())
}

/// What to search for.
struct Scan<'a> {
    secrets: Vec<(&'a str, &'a Secret)>,
    interrupt: &'a Interrupt,
}

impl<'a> Scan<'a> {
    /// A shorter value is an ordinary word.
    const SHORTEST: usize = 8;
    /// How much is read at once.
    const PIECE: usize = 64 << 10;
    /// How much is carried over to the next piece: at least a key's first line and what follows it.
    const KEPT: usize = 512;

    fn new(secrets: &'a [(&'a str, Secret)], interrupt: &'a Interrupt) -> Self {
        let secrets = secrets.iter().map(|(name, secret)| (*name, secret));
        let secrets = secrets.filter(|(_, secret)| secret.expose().len() >= Self::SHORTEST).collect();
        Self { secrets, interrupt }
    }

    fn scan(&self, part: &Part) -> Result<Vec<String>> {
        let path = match part {
            Part::Layer(_, path) => path,
            Part::Config(path) => {
                let found = self.search(fs_err::File::open(path)?)?;
                return Ok(found.into_iter().map(str::to_owned).collect());
            }
        };
        let mut places = Vec::new();
        LayerReader::new(self.interrupt, Bounds::IMAGE).read(fs_err::File::open(path)?, |entry| {
            if matches!(entry.kind, Kind::Whiteout | Kind::Opaque) {
                return Ok(());
            }
            let name = entry.name();
            let what = forbidden(Path::new(&name)).into_iter();
            let values = self.search(entry.contents)?.into_iter();
            places.extend(what.chain(values).map(|what| format!("`{name}`: {what}")));
            Ok(())
        })?;
        Ok(places)
    }

    /// Searches a file; reports each finding once.
    fn search(&self, mut file: impl Read) -> Result<Vec<&'a str>> {
        let longest = self.secrets.iter().map(|(_, secret)| secret.expose().len()).max().unwrap_or_default();
        let kept = longest.max(Self::KEPT);
        let finders: Vec<(&str, Finder<'_>)> =
            self.secrets.iter().map(|(name, secret)| (*name, Finder::new(secret.expose()))).collect();
        let keys = Finder::new(BEGIN);
        let mut window = Vec::with_capacity(kept + Self::PIECE);
        let mut found = Vec::new();
        let mut program = None;
        loop {
            self.interrupt.check()?;
            let read = file.by_ref().take(Self::PIECE as u64).read_to_end(&mut window)?;
            // A program that reads keys contains their first lines, and one that tests itself may contain a whole key.
            let program = *program.get_or_insert_with(|| window.starts_with(b"\x7fELF"));
            // The carried-over part is searched again: what starts in it may end in the new part.
            let values = finders.iter().filter(|(_, value)| value.find(&window).is_some());
            let is_key = |place| window.get(place..).is_some_and(is_key);
            let key = (!program && keys.find_iter(&window).any(is_key)).then_some(KEY);
            for what in values.map(|(name, _)| *name).chain(key) {
                if !found.contains(&what) {
                    found.push(what);
                }
            }
            if read == 0 {
                return Ok(found);
            }
            window.drain(..window.len().saturating_sub(kept));
        }
    }
}

const KEY: &str = "a private key";
/// The start of a PEM key.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Whether a PEM private key starts here (RFC 7468; also those of OpenSSH and PGP).
///
/// The first line alone is not a key: programs and manuals about keys contain it too. A key also has base64 after it,
/// immediately or after the few headers of an encrypted key, with line breaks or with the `
/// ` of a JSON string.
fn is_key(text: &[u8]) -> bool {
    /// A line of base64 has 64 characters; the shortest key, one of Ed25519, has 64 in all.
    const MATERIAL: usize = 40;
    let Some(rest) = text.strip_prefix(BEGIN) else { return false };
    let label = rest.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b' ').count().min(40);
    let (label, rest) = rest.split_at(label);
    let (true, Some(body)) =
        (label.windows(11).any(|word| word == b"PRIVATE KEY"), rest.strip_prefix(b"-----"))
    else {
        return false;
    };
    let body = body.get(..body.len().min(400)).unwrap_or_default();
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    body.split(|byte| !base64(byte)).any(|run| run.len() >= MATERIAL)
}

/// Why an image must not contain a path.
fn forbidden(path: &Path) -> Option<&'static str> {
    path.components().find_map(|component| match component {
        Component::Normal(name) if name == ".env" => Some("a file of environment variables"),
        Component::Normal(name) if name == ".git" => Some("a git repository"),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
