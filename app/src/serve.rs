//! `app serve`: one process from its start to its end, with a bound on each part of the end.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use report::Report;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::board::store::Unavailable;
use crate::http::{Site, router};
use crate::identity::Identity;
use crate::settings::Settings;
use crate::telemetry;

/// How long requests may take to finish once the process was told to end.
///
/// Hard: axum alone waits for ever for a client that sent half a request. With Sentry's bound after it, an end takes
/// at most nine seconds, of the thirty that Render and the ten that Docker give.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, with these reports on the board to begin with.
pub(crate) fn run(settings: &Settings, reports: Vec<Report>) -> Result<(), ServeError> {
    let identity = Identity::new(settings);
    telemetry::log::start();
    // Before the runtime: threads inherit Sentry's hub when they start.
    let sentry = settings.sentry_dsn.as_ref().map(|dsn| telemetry::sentry::start(dsn, &identity));
    telemetry::panic::install();
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let runtime = Runtime::new().map_err(ServeError::Runtime)?;
    let outcome = runtime.block_on(serve(settings, identity, reports));
    // Connections that outlived the drain end here.
    runtime.shutdown_background();
    if let Some(sentry) = sentry {
        sentry.close();
    }
    outcome
}

async fn serve(settings: &Settings, identity: Identity, reports: Vec<Report>) -> Result<(), ServeError> {
    let site = Site::new(settings, identity);
    site.board.fill(reports).map_err(ServeError::Board)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Runtime)?;
    let bind = |error| ServeError::Bind(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    info!("listening on http://{address}");

    let (begin_end, end_begun) = oneshot::channel();
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("told to end");
        // Nobody listens any more when the drain is over already.
        begin_end.send(()).ok();
    };
    let drained = async move {
        match end_begun.await {
            Ok(()) => tokio::time::sleep(DRAIN).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = axum::serve(listener, router(site)).with_graceful_shutdown(told_to_end) => {
            served.map_err(ServeError::Serve)
        }
        () = drained => {
            warn!("gave up on requests that did not finish in {} s", DRAIN.as_secs());
            Ok(())
        }
    }
}

/// Why the server could not serve.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The system gives no threads or no signals.
    Runtime(io::Error),
    /// The address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// The board does not take what it should begin with.
    Board(Unavailable),
    /// The listener broke.
    Serve(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}; choose another with PORT and LISTEN")
            }
            Self::Board(unavailable) => unavailable.fmt(f),
            Self::Serve(error) => write!(f, "stopped serving: {error}"),
        }
    }
}
