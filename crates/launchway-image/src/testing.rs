//! Shared by several tests.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::binary::Platform;
use crate::dockerfile::Dockerfile;
use crate::final_stage::{Arguments, Binaries, FinalStage, Inputs};
use launchway_core::events::{Reporter, Sink};
use launchway_core::http::{Http, NetworkPolicy};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use launchway_registry::oci::Settings;
use launchway_registry::{Access, Client, Logins, Session};

/// A runner whose reporter records every event.
pub(crate) fn runner(folder: &Path) -> Runner {
    Runner {
        folder: folder.to_owned(),
        reporter: Reporter::new(Sink::Memory(Vec::new())),
        interrupt: Interrupt::default(),
    }
}

/// A client without a login that does not wait between tries.
pub(crate) fn client(runner: &Runner, network: NetworkPolicy) -> Client {
    let session = Session {
        http: Http::new(network).unwrap(),
        reporter: runner.reporter.clone(),
        interrupt: runner.interrupt.clone(),
        logins: Logins::default(),
    };
    Client::new(session, Access::Pull).with_backoff(Duration::from_millis(1))
}

/// The binaries of a workspace: `app` ships, `admin` is of its package, `worker` of another.
pub(crate) fn binaries() -> Binaries {
    let name = |name: &str| vec![name.to_owned()];
    Binaries { shipped: "app".to_owned(), beside: name("admin"), others: name("worker") }
}

/// A final stage for linux/amd64, with these build arguments and what its base sets.
pub(crate) fn final_stage(text: &str, arguments: &Arguments, base: &Settings) -> Result<FinalStage> {
    let inputs = Inputs { arguments, binaries: &binaries(), platform: Platform::Amd64 };
    FinalStage::parse(&Dockerfile::new("Dockerfile", text), inputs, base)
}
