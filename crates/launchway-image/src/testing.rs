//! What several tests need.

use std::path::Path;
use std::time::Duration;

use launchway_core::events::{Reporter, Sink};
use launchway_core::http::{Http, NetworkPolicy};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use launchway_registry::{Access, Client, Logins, Session};

/// A runner whose reporter remembers every event.
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
