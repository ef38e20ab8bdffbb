//! The running app's own answer.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use reqwest::header::CACHE_CONTROL;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::http::{self, Http};

/// Asks `url` until it answers `commit`, for at most `patience`.
///
/// Traffic moves to the new instance a little after Render calls the deploy live, so an older answer is waited out.
pub(super) fn ask_until(
    ctx: &Context,
    http: &Http,
    url: &Url,
    poll: Duration,
    patience: Duration,
) -> Result<String> {
    let end = Instant::now() + patience;
    let mut last = String::new();
    loop {
        // Out of reach is out of reach: no time changes that.
        http.check(url)?;
        let answer = ask(http, url);
        let told = match answer {
            Ok(commit) if commit == ctx.git.tag() => return Ok(commit),
            Ok(commit) => format!("commit {}", commit.chars().take(40).collect::<String>()),
            Err(error) => format!("{error:#}"),
        };
        if told != last {
            ctx.reporter.note(format!("the app answers {told}: waiting for {}", ctx.git.short()));
            last = told;
        }
        if Instant::now() >= end {
            return Err(Failure::new(
                Exit::DeployFailed,
                format!(
                    "{url} still answers {last} after {}, not commit {}",
                    humantime::format_duration(patience),
                    ctx.git.short()
                ),
            )
            .into());
        }
        ctx.interrupt.sleep(poll)?;
    }
}

fn ask(http: &Http, url: &Url) -> Result<String> {
    #[derive(Deserialize)]
    struct Version {
        commit: String,
    }
    const TIMEOUT: Duration = Duration::from_secs(10);
    let response = http
        .request(Method::GET, url)?
        .header(CACHE_CONTROL, "no-cache")
        .timeout(TIMEOUT)
        .send()
        .map_err(|error| anyhow!("nothing ({:#})", anyhow!(error.without_url())))?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(anyhow!("{status}"));
    }
    let version: Version = serde_json::from_str(&http::text(response)?)
        .map_err(|_| anyhow!("something that is not `{{\"commit\": \"…\"}}`"))?;
    Ok(version.commit)
}
