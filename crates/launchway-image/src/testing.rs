//! What several tests need.

use std::path::Path;

use launchway_core::events::{Reporter, Sink};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;

/// A runner whose reporter remembers every event.
pub(crate) fn runner(folder: &Path) -> Runner {
    Runner {
        folder: folder.to_owned(),
        reporter: Reporter::new(Sink::Memory(Vec::new())),
        interrupt: Interrupt::default(),
    }
}
