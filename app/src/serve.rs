//! `app serve`: one process from start to shutdown, with a bound on each part of the shutdown.

mod connections;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fmt, io};

use launchway_report::Report;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::{info, warn};

use self::connections::Connections;
pub(crate) use self::signals::Signals;
use self::signals::Termination;
use crate::board::store::Unavailable;
use crate::http::{Site, router};
use crate::identity::Identity;
use crate::settings::Settings;
use crate::telemetry;
use crate::telemetry::metrics::Metrics;

/// Serves until SIGTERM or SIGINT, with `reports` on the board from the start. Then open requests have `DRAIN` to finish
/// and Sentry has the bound of [`telemetry::sentry::Sentry::close`].
pub(crate) fn run(signals: &Signals, settings: &Settings, reports: Vec<Report>) -> Result<(), ServeError> {
    let identity = Identity::new(settings);
    let metrics = Arc::new(Metrics::default());
    telemetry::log::start();
    // Before the runtime: its threads inherit Sentry's hub when they start.
    let sentry = settings
        .sentry_dsn
        .as_ref()
        .map(|dsn| telemetry::sentry::start(dsn, &identity, Arc::clone(&metrics)));
    telemetry::panic::install();
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let runtime = Runtime::new().map_err(ServeError::Runtime)?;
    let outcome = runtime.block_on(async {
        let mut termination = signals.termination().map_err(ServeError::Runtime)?;
        let (board, name) = (settings.clone(), identity.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let site = Site::new(&board, name).with_metrics(metrics);
            site.board.fill(reports).map_err(ServeError::Board).map(|()| site)
        });
        tokio::select! {
            site = opened => serve(settings, Arc::new(site.map_err(io::Error::from).map_err(ServeError::Runtime)??), &mut termination).await,
            () = termination.received() => {
                info!("stopped before the board was open");
                Ok(())
            }
        }
    });
    // Ends what outlived the drain: connections, and a file that is still being opened.
    runtime.shutdown_background();
    if let Some(sentry) = sentry {
        sentry.close();
    }
    outcome
}

async fn serve(
    settings: &Settings,
    site: Arc<Site>,
    termination: &mut Termination,
) -> Result<(), ServeError> {
    let bind = |error| ServeError::Bind(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    info!("listening on http://{address}");

    let connections = Connections::new(router(Arc::clone(&site)));
    tokio::select! {
        never = connections.accept(&listener) => match never {},
        () = termination.received() => {}
    }
    site.shutting_down.store(true, Ordering::Relaxed);
    info!("shutting down");
    connections.close();
    tokio::select! {
        // New requests are served while old ones finish, so that `/readyz` can say that the server is shutting down.
        never = connections.accept(&listener) => match never {},
        () = connections.closed() => {}
        () = tokio::time::sleep(settings.drain) => {
            warn!("gave up on requests that did not finish in {} s", settings.drain.as_secs_f32());
        }
    }
    Ok(())
}

/// Why the server could not serve.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The system provides no threads or no signals.
    Runtime(io::Error),
    /// The address is unavailable.
    Bind(SocketAddr, io::Error),
    /// The board rejected its first reports.
    Board(Unavailable),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}; choose another with PORT and LISTEN")
            }
            Self::Board(unavailable) => unavailable.fmt(f),
        }
    }
}
