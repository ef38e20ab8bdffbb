//! The Dockerfile: its text, and errors that name one of its lines.

use anyhow::{Error, Result};

use crate::build_context::BuildContext;
use launchway_core::exit::{Exit, Failure};

/// A Dockerfile of the build context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    path: String,
    text: String,
}

impl Dockerfile {
    /// Reads the file at a path of the context.
    pub fn read(context: &BuildContext, path: &str) -> Result<Self> {
        Ok(Self::new(path, &context.needed(path)?))
    }

    /// A file with this path and this text.
    pub fn new(path: &str, text: &str) -> Self {
        // The parser's offsets do not count a byte order mark.
        Self { path: path.to_owned(), text: text.trim_start_matches('\u{feff}').to_owned() }
    }

    /// The path in the context.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn parse(&self) -> Result<parse_dockerfile::Dockerfile<'_>> {
        parse_dockerfile::parse(&self.text)
            .map_err(|error| self.error(error.line().max(1), format!("{error:#}")))
    }

    /// The line, from 1, of an offset in the text.
    pub(crate) fn line(&self, place: usize) -> usize {
        1 + self.text.bytes().take(place).filter(|byte| *byte == b'\n').count()
    }

    /// An error at a line.
    pub(crate) fn error(&self, line: usize, message: impl AsRef<str>) -> Error {
        at(&self.path, line, message)
    }
}

/// An error at a line of the file with this path.
pub(crate) fn at(path: &str, line: usize, message: impl AsRef<str>) -> Error {
    Failure::new(Exit::Usage, format!("{path}:{line}: {}", message.as_ref())).into()
}
