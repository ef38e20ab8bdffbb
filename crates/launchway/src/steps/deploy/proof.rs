//! Checks what the running service itself reports: its commit, and whether it stays healthy.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use reqwest::blocking::Response;
use reqwest::header::{CACHE_CONTROL, CONNECTION};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use launchway_core::exit::{Exit, Failure};
use launchway_core::http::{Http, text};
use launchway_render::api::ApiError;
use launchway_render::model::{Deploy, Phase};

use super::release::Release;
use super::target::Target;
use launchway_core::short;

/// How many responses in a row must name the commit: while traffic switches, both releases respond.
pub(super) const IN_A_ROW: u32 = 5;

/// The largest share of 5xx responses during a bake. A single one is chance.
const MOST_ERRORS: f64 = 0.05;

/// The commit that the service reports now, in one request.
pub(super) fn glance(target: &Target<'_>, url: &Url) -> Option<String> {
    reported(&target.http, url).ok()
}

/// Fails unless Render runs the release that was requested.
pub(super) fn compare(deploy: &Deploy, release: &Release) -> Result<()> {
    let found = deploy.sha();
    if found.is_some_and(|sha| release.is(sha)) {
        return Ok(());
    }
    let message = format!(
        "Render runs {}, but {} was requested",
        found.unwrap_or("an image of unknown digest"),
        release.digest
    );
    Err(Failure::new(Exit::DeployFailed, message).into())
}

impl Target<'_> {
    /// Polls the service until it reports `commit` [`IN_A_ROW`] times in a row; without a `commit`, until it reports
    /// the same one that often.
    ///
    /// Traffic moves to the new instance shortly after Render calls the deploy live, so responses of the old one are
    /// waited out.
    ///
    /// A service without a version path proves only its health, which is reported.
    pub(super) fn prove(
        &self,
        deploy: &mut Deploy,
        health: &str,
        version: Option<&str>,
        commit: Option<&str>,
    ) -> Result<String> {
        let proved = if let Some(path) = version {
            let url = self.address(path)?;
            self.poll(&url, commit, || reported(&self.http, &url))
        } else {
            let url = self.address(health)?;
            let commit = commit.unwrap_or_default();
            self.poll(&url, Some(commit), || healthy(&self.http, &url).map(|()| commit.to_owned()))
        };
        if proved.is_err() {
            // Another commit may respond because somebody else's deploy has taken over.
            self.still_live(deploy)?;
        }
        let commit = proved?;
        match version {
            Some(path) => self.note(format!("{} reports commit {}", self.address(path)?, short(&commit))),
            None => self.reporter.skipped(
                "commit of the running app",
                "`deploy.version` is not configured: digest and health are the proof",
            ),
        }
        Ok(commit)
    }

    fn poll(&self, url: &Url, commit: Option<&str>, look: impl Fn() -> Result<String>) -> Result<String> {
        let end = Instant::now() + self.timings.settle;
        let wanted =
            commit.map_or_else(|| "one commit".to_owned(), |commit| format!("commit {}", short(commit)));
        let (mut last, mut row, mut before) = (String::new(), 0, None);
        loop {
            // Waiting does not unblock an address that the network policy blocks.
            self.http.check(url)?;
            let state = match look() {
                Ok(found) if commit.or(before.as_deref()).unwrap_or(&found) == found => {
                    row += 1;
                    if row == IN_A_ROW {
                        return Ok(found);
                    }
                    before = Some(found);
                    self.interrupt.sleep(self.timings.poll.min(Duration::from_millis(200)))?;
                    continue;
                }
                Ok(found) => {
                    let state = format!("commit {}", short(&found));
                    before = Some(found);
                    state
                }
                Err(error) => format!("{error:#}"),
            };
            row = 0;
            if state != last {
                self.note(format!("the service reports {state}: waiting for {wanted}"));
                last = state;
            }
            if Instant::now() >= end {
                let wait = humantime::format_duration(self.timings.settle);
                let message = format!("{url} still reports {last} after {wait}, not {wanted}");
                return Err(Failure::new(Exit::DeployFailed, message).into());
            }
            self.interrupt.sleep(self.timings.poll)?;
        }
    }

    /// Watches the release for a while after the proof: few responses may be errors, among those to us and among those
    /// that Render counts.
    pub(super) fn bake(
        &self,
        deploy: &mut Deploy,
        commit: &str,
        (health, version): (&str, Option<&str>),
        time: Duration,
    ) -> Result<()> {
        let begin = SystemTime::now();
        let end = Instant::now() + time;
        let health = self.address(health)?;
        let version = version.map(|path| self.address(path)).transpose()?;
        let (mut all, mut errors) = (0_u32, 0_u32);
        // At least this many, even on a machine that is too slow for the configured time.
        while Instant::now() < end || all < 2 * IN_A_ROW {
            self.reporter.progress(format!(
                "baking for {}: {errors} of {all} responses were errors",
                humantime::format_duration(time)
            ));
            all += 1 + u32::from(version.is_some());
            errors += u32::from(
                !get(&self.http, &health).is_ok_and(|response| !response.status().is_server_error()),
            );
            match version.as_ref().map(|version| (version, reported(&self.http, version))) {
                None => {}
                Some((_, Ok(found))) if found == commit => {}
                Some((version, Ok(found))) => {
                    self.still_live(deploy)?;
                    let message = format!(
                        "{version} now reports commit {} instead of {}",
                        short(&found),
                        short(commit)
                    );
                    return Err(Failure::new(Exit::DeployFailed, message).into());
                }
                Some((_, Err(_))) => errors += 1,
            }
            self.still_live(deploy)?;
            let left = end.saturating_duration_since(Instant::now());
            self.interrupt.sleep(self.timings.poll.min(left))?;
        }
        too_many("the service", f64::from(all), f64::from(errors))?;
        match self.api.responses(begin) {
            Ok((all, errors)) if all > 0.0 => too_many("by Render's count, the service", all, errors)?,
            Ok(_) => self.reporter.skipped("Render's count of responses", "it has counted none so far"),
            Err(ApiError::Stopped(error)) => return Err(error),
            Err(ApiError::Refused { status, .. }) => {
                self.reporter
                    .skipped("Render's count of responses", format!("Render does not provide it ({status})"));
            }
            Err(error) => {
                let why = anyhow::Error::from(error).to_string();
                self.reporter.skipped("Render's count of responses", why);
            }
        }
        self.note(format!(
            "baked for {}: {errors} of {all} responses were errors",
            humantime::format_duration(time)
        ));
        Ok(())
    }

    /// Fails with [`Exit::Superseded`] if somebody else's deploy has replaced ours.
    ///
    /// Without a response from Render, nothing is known and nothing is reported.
    fn still_live(&self, deploy: &mut Deploy) -> Result<()> {
        if let Ok(now) = self.api.deploy(&deploy.id)
            && now.status.phase() == Phase::Deactivated
        {
            deploy.status = now.status;
            self.ended(deploy)?;
        }
        Ok(())
    }
}

fn too_many(who: &str, all: f64, errors: f64) -> Result<()> {
    if errors >= 2.0 && errors / all > MOST_ERRORS {
        let share = errors / all * 100.0;
        let message = format!(
            "{who} responded to {errors:.0} of {all:.0} requests with an error: {share:.0} %, but at most {:.0} % are allowed",
            MOST_ERRORS * 100.0
        );
        return Err(Failure::new(Exit::DeployFailed, message).into());
    }
    Ok(())
}

/// The commit in the response of the version path.
pub(super) fn reported(http: &Http, url: &Url) -> Result<String> {
    #[derive(Deserialize)]
    struct Version {
        commit: String,
    }
    let response = get(http, url)?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(anyhow!("{status}"));
    }
    let version: Version = serde_json::from_str(&text(response)?)
        .map_err(|_| anyhow!("something that is not `{{\"commit\": \"…\"}}`"))?;
    // The value is printed and stored.
    Ok(version.commit.chars().filter(|c| !c.is_control()).take(64).collect())
}

/// Succeeds if the health path responds with 2xx.
pub(super) fn healthy(http: &Http, url: &Url) -> Result<()> {
    let status = get(http, url)?.status();
    if status.is_success() { Ok(()) } else { Err(anyhow!("{status}")) }
}

/// Each request has a connection of its own: one that stays open would reach the same instance every time.
fn get(http: &Http, url: &Url) -> Result<Response> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    http.request(Method::GET, url)?
        .header(CACHE_CONTROL, "no-cache")
        .header(CONNECTION, "close")
        .timeout(TIMEOUT)
        .send()
        .map_err(|error| anyhow!("nothing ({})", http.transport_error(error)))
}
