//! The engines, which turn a final stage into an image.

use serde::{Deserialize, Serialize};

/// An engine, which turns a final stage into an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Our own: no daemon, byte-for-byte reproducible.
    #[default]
    Builtin,
    /// `docker build` of the same Dockerfile.
    Docker,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Builtin, Self::Docker];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Docker => "docker",
        }
    }
}
