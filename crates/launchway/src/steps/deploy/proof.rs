//! The running app's own answers: who it is, and whether it stays well.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow};
use reqwest::blocking::Response;
use reqwest::header::{CACHE_CONTROL, CONNECTION};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use launchway_core::exit::{Exit, Failure};
use launchway_core::http;
use launchway_render::api::ApiError;
use launchway_render::model::{Deploy, Phase};

use super::remote::{Release, Remote};
use super::short;

/// How many answers in a row must name the commit: while traffic switches, both releases answer.
pub(super) const IN_A_ROW: u32 = 5;

/// The largest share of answers that may be 5xx during a bake. A single one is chance.
const MOST_ERRORS: f64 = 0.05;

/// The commit that the app answers now, asked once.
pub(super) fn glance(remote: &Remote<'_>, url: &Url) -> Option<String> {
    ask(remote, url).ok()
}

/// An error unless Render runs the release that was asked for.
pub(super) fn compare(deploy: &Deploy, release: &Release) -> Result<()> {
    let found = deploy.sha();
    if found.is_some_and(|sha| release.is(sha)) {
        return Ok(());
    }
    let message = format!(
        "Render runs {}, but {} was asked for",
        found.unwrap_or("an image whose digest it does not tell"),
        release.digest
    );
    Err(Failure::new(Exit::DeployFailed, message).into())
}

impl Remote<'_> {
    /// Asks the app until it answers `commit`, or without one until it answers the same, [`IN_A_ROW`] times in a row.
    ///
    /// Traffic moves to the new instance a little after Render calls the deploy live, so an older answer is waited out.
    pub(super) fn prove(&self, deploy: &mut Deploy, commit: Option<&str>) -> Result<String> {
        let deploy_config = &self.ctx.config.deploy;
        let proved = if let Some(path) = &deploy_config.version {
            let url = self.address(path)?;
            self.ask_until(&url, commit, || ask(self, &url))
        } else {
            let url = self.address(&deploy_config.health)?;
            let commit = commit.unwrap_or_default();
            self.ask_until(&url, Some(commit), || healthy(self, &url).map(|()| commit.to_owned()))
        };
        if proved.is_err() {
            // Somebody else's commit may answer because somebody else's deploy has taken over.
            self.still_live(deploy)?;
        }
        let answer = proved?;
        match &deploy_config.version {
            Some(path) => self.note(format!("{} answers commit {}", self.address(path)?, short(&answer))),
            None => self.ctx.reporter.skipped(
                "commit of the running app",
                "`deploy.version` is not configured: digest and health are the proof",
            ),
        }
        Ok(answer)
    }

    fn ask_until(&self, url: &Url, commit: Option<&str>, ask: impl Fn() -> Result<String>) -> Result<String> {
        let end = Instant::now() + self.pace.patience;
        let wanted =
            commit.map_or_else(|| "one commit".to_owned(), |commit| format!("commit {}", short(commit)));
        let (mut last, mut row, mut before) = (String::new(), 0, None);
        loop {
            // Out of reach is out of reach: no time changes that.
            self.app.check(url)?;
            let told = match ask() {
                Ok(found) if commit.or(before.as_deref()).unwrap_or(&found) == found => {
                    row += 1;
                    if row == IN_A_ROW {
                        return Ok(found);
                    }
                    before = Some(found);
                    self.ctx.interrupt.sleep(self.pace.poll.min(Duration::from_millis(200)))?;
                    continue;
                }
                Ok(found) => {
                    let told = format!("commit {}", short(&found));
                    before = Some(found);
                    told
                }
                Err(error) => format!("{error:#}"),
            };
            row = 0;
            if told != last {
                self.note(format!("the app answers {told}: waiting for {wanted}"));
                last = told;
            }
            if Instant::now() >= end {
                let patience = humantime::format_duration(self.pace.patience);
                let message = format!("{url} still answers {last} after {patience}, not {wanted}");
                return Err(Failure::new(Exit::DeployFailed, message).into());
            }
            self.ctx.interrupt.sleep(self.pace.poll)?;
        }
    }

    /// Stays for a while after the proof: few answers may be errors, of those to us and of those that Render counts.
    pub(super) fn bake(
        &self,
        deploy: &mut Deploy,
        commit: &str,
        (health, version): (&str, Option<&str>),
        time: Duration,
    ) -> Result<()> {
        let time = time.min(self.pace.bake);
        let begin = SystemTime::now();
        let end = Instant::now() + time;
        let health = self.address(health)?;
        let version = version.map(|path| self.address(path)).transpose()?;
        let (mut asked, mut errors) = (0_u32, 0_u32);
        // Also on a machine that is too slow for the time that was set.
        while Instant::now() < end || asked < 2 * IN_A_ROW {
            self.ctx.reporter.progress(format!(
                "baking for {}: {errors} of {asked} answers were errors",
                humantime::format_duration(time)
            ));
            asked += 1 + u32::from(version.is_some());
            errors += u32::from(!get(self, &health).is_ok_and(|answer| !answer.status().is_server_error()));
            match version.as_ref().map(|version| (version, ask(self, version))) {
                None => {}
                Some((_, Ok(found))) if found == commit => {}
                Some((version, Ok(found))) => {
                    self.still_live(deploy)?;
                    let message = format!(
                        "{version} answers commit {} all of a sudden, not {}",
                        short(&found),
                        short(commit)
                    );
                    return Err(Failure::new(Exit::DeployFailed, message).into());
                }
                Some((_, Err(_))) => errors += 1,
            }
            self.still_live(deploy)?;
            let left = end.saturating_duration_since(Instant::now());
            self.ctx.interrupt.sleep(self.pace.poll.min(left))?;
        }
        too_many("the app", f64::from(asked), f64::from(errors))?;
        match self.api.responses(begin) {
            Ok((all, errors)) if all > 0.0 => too_many("Render counts that the app", all, errors)?,
            Ok(_) => self.ctx.reporter.skipped("Render's count of answers", "it has counted none yet"),
            Err(ApiError::Stopped(error)) => return Err(error),
            Err(ApiError::Refused { status, .. }) => {
                self.ctx
                    .reporter
                    .skipped("Render's count of answers", format!("Render does not tell it ({status})"));
            }
            Err(error) => {
                let why = anyhow::Error::from(error).to_string();
                self.ctx.reporter.skipped("Render's count of answers", why);
            }
        }
        self.note(format!(
            "baked for {}: {errors} of {asked} answers were errors",
            humantime::format_duration(time)
        ));
        Ok(())
    }

    /// An error with [`Exit::Superseded`] when somebody else's deploy has taken the place of ours.
    ///
    /// Where Render does not answer, nothing is known and nothing is said.
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
            "{who} answered {errors:.0} of {all:.0} requests with an error, {share:.0} % and not {:.0} % at most",
            MOST_ERRORS * 100.0
        );
        return Err(Failure::new(Exit::DeployFailed, message).into());
    }
    Ok(())
}

fn ask(remote: &Remote<'_>, url: &Url) -> Result<String> {
    #[derive(Deserialize)]
    struct Version {
        commit: String,
    }
    let response = get(remote, url)?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(anyhow!("{status}"));
    }
    let version: Version = serde_json::from_str(&http::text(response)?)
        .map_err(|_| anyhow!("something that is not `{{\"commit\": \"…\"}}`"))?;
    // It is shown, and kept.
    Ok(version.commit.chars().filter(|c| !c.is_control()).take(64).collect())
}

fn healthy(remote: &Remote<'_>, url: &Url) -> Result<()> {
    let status = get(remote, url)?.status();
    if status.is_success() { Ok(()) } else { Err(anyhow!("{status}")) }
}

/// A connection of its own for each request: one that stays open would ask the same instance every time.
fn get(remote: &Remote<'_>, url: &Url) -> Result<Response> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    remote
        .app
        .request(Method::GET, url)?
        .header(CACHE_CONTROL, "no-cache")
        .header(CONNECTION, "close")
        .timeout(TIMEOUT)
        .send()
        .map_err(|error| anyhow!("nothing ({:#})", anyhow!(error.without_url())))
}
