//! The running service's board: finds out which reports it has, and sends it the missing ones.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::{Reports, ended};
use crate::sign::signed;
use launchway_core::http::{Http, first_words, text};
use launchway_core::secret::{Redactor, Secret};
use launchway_registry::Session;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many reports are sent at once.
const AT_ONCE: usize = 4;
/// How many ids are requested at once.
const PAGE: usize = 1000;

/// Where the service accepts reports.
pub(super) struct Board<'a> {
    pub(super) at: Url,
    /// The variable that holds the key, and the key itself.
    pub(super) key: (&'a str, Secret),
}

/// Sends the board every report that it lacks, and returns their number.
///
/// A report that the board refuses is reported and left out. An error stops the rest; reports already sent stay sent.
/// Everything ends by `end`: a board that lost its disk is refilled over several runs, newest reports first.
pub(super) fn deliver(
    board: &Board<'_>,
    reports: &Reports,
    session: &Session,
    end: Instant,
) -> Result<usize> {
    let Session { http, reporter, interrupt, .. } = session;
    let known = known(http, &board.at, end)?;
    let mut missing = Vec::new();
    for (id, bytes) in reports.iter().filter(|(id, _)| !known.contains(*id)) {
        missing.push((ended(bytes), id.as_str(), bytes.as_slice()));
    }
    // The newest last, so that `pop` takes it first.
    missing.sort_unstable();
    let (total, sent) = (missing.len(), AtomicUsize::new(0));
    let queue = Mutex::new(missing);
    let work = || -> Result<()> {
        while let Some((_, id, bytes)) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            interrupt.check()?;
            if Instant::now() >= end {
                bail!("time ran out before all reports were sent; the next run sends the rest");
            }
            match send(http, board, id, bytes, end)? {
                None => {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Some(refusal) => reporter.skipped(&format!("report {id}"), refusal),
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(total)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("sending a report panicked")).flatten())
    })?;
    Ok(sent.into_inner())
}

/// The ids of the board's reports.
fn known(http: &Http, at: &Url, end: Instant) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Page {
        reports: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        sequence: u64,
        id: String,
    }
    /// No board has more: one that claims to would keep us paging for ever.
    const MOST: usize = 1_000_000;
    let mut known = BTreeSet::new();
    let mut after = 0;
    loop {
        let mut url = at.clone();
        url.query_pairs_mut()
            .append_pair("after", &after.to_string())
            .append_pair("limit", &PAGE.to_string());
        let response = http.request(Method::GET, &url)?.timeout(time_until(end)).send();
        let response = response.map_err(|error| http.transport_error(error)).context("it did not respond")?;
        let status = response.status();
        if status != StatusCode::OK {
            bail!("it responded {status} to a request for its reports");
        }
        let page: Page =
            serde_json::from_str(&text(response)?).context("its list of reports cannot be read")?;
        let last = page.reports.iter().map(|item| item.sequence).max();
        known.extend(page.reports.into_iter().map(|item| item.id));
        match last {
            Some(last) if last > after && known.len() < MOST => after = last,
            _ => return Ok(known),
        }
    }
}

/// Sends one report. `Some` is the board's refusal of this report; a refusal that concerns all reports is an error.
pub(super) fn send(
    http: &Http,
    Board { at, key: (name, key) }: &Board<'_>,
    id: &str,
    bytes: &[u8],
    end: Instant,
) -> Result<Option<String>> {
    let mut url = at.clone();
    url.path_segments_mut().map_err(|()| anyhow!("`{at}` cannot have a path"))?.push(id);
    let request = http.request(Method::PUT, &url)?.timeout(time_until(end));
    let request = request.header(CONTENT_TYPE, "application/json");
    let request =
        signed(request, key, "launchway/report/v1", id, SystemTime::now(), bytes)?.body(bytes.to_vec());
    let response =
        request.send().map_err(|error| http.transport_error(error)).context("it did not respond")?;
    match response.status() {
        StatusCode::OK | StatusCode::CREATED => Ok(None),
        StatusCode::UNAUTHORIZED => {
            bail!("it rejected the signature: its `{name}` differs from this run's, or its clock is off")
        }
        status
        @ (StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE) => {
            Ok(Some(format!(
                "the board responded {status}{}",
                first_words(response, &Redactor::new([key.clone()]))
            )))
        }
        status => bail!("it responded {status} to a report"),
    }
}

/// How long a request may take.
fn time_until(end: Instant) -> Duration {
    TIMEOUT.min(end.saturating_duration_since(Instant::now()))
}
