//! What a rehearsal proves: that the image which was built is the one that runs, and that its errors are reported.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::Stage;
use crate::attest;
use crate::canary;
use crate::context::Context;
use crate::executor::Results;
use crate::history;
use crate::steps::deploy::Deployment;
use crate::steps::push::Referrer;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http;
use launchway_core::secret::random_word;
use launchway_fakes::render::Traffic;
use launchway_image::layout::Layout;

/// One link of the chain: what was found and what it had to be.
struct Link {
    what: &'static str,
    found: String,
    wanted: String,
    place: String,
}

/// Follows the chain and prints it; a link that does not hold is an error with [`Exit::CheckFailed`].
pub(crate) fn prove(ctx: &Context, stage: &Stage, runtime: &Runtime, results: &Results) -> Result<()> {
    // What lies on the disk, and not what the step said of it.
    let image = Layout::open(&ctx.output().join("image"))?;
    let deployment = results.deployment.as_ref().context("nothing was deployed")?;
    let digest = image.manifest.digest.to_string();
    let reference = ctx.git.tag();
    let version = address(deployment, &ctx.config.deploy.version)?;
    let running = running(ctx, &version)?;
    let mut chain = vec![
        Link {
            what: "built",
            found: digest.clone(),
            wanted: digest.clone(),
            place: "target/xtask/image".to_owned(),
        },
        Link {
            what: "in the registry",
            found: stage.registry.digest_of(Stage::REPOSITORY, &reference).unwrap_or_default(),
            wanted: digest.clone(),
            place: format!("{}:{}", stage.repository, abbreviated(&reference)),
        },
    ];
    chain.extend(attached(stage, &digest, results));
    chain.extend([
        Link {
            what: "on Render",
            found: deployment.digest.clone(),
            wanted: digest,
            place: deployment.id.clone(),
        },
        Link {
            what: "running commit",
            found: running.commit.clone(),
            wanted: ctx.git.tag(),
            place: version.to_string(),
        },
    ]);
    chain.push(recorded(stage, &format!("{}@{}+{}", running.name, running.version, ctx.git.short())));
    chain.push(unnoticed(stage));
    if let Some(path) = &ctx.config.deploy.reports {
        chain.push(shown(ctx, &address(deployment, path)?)?);
    } else {
        ctx.reporter.skipped("report on the board", "`deploy.reports` is not configured, so none is sent");
    }
    match &ctx.config.deploy.canary {
        Some(path) => {
            chain.extend(raise_an_error(ctx, stage, runtime, &address(deployment, path)?, &running)?);
        }
        None => ctx
            .reporter
            .skipped("error at Sentry", "`deploy.canary` is not configured, so no error can be raised"),
    }
    tell(ctx, &chain)
}

/// The documents about the image, as the registry lists them; the push told of each that it was attached.
fn attached(stage: &Stage, digest: &str, results: &Results) -> Vec<Link> {
    let listed = stage.registry.attached_to(Stage::REPOSITORY, digest);
    let recorded = results.pushed.iter().flat_map(|pushed| &pushed.referrers);
    let link = |referrer: &Referrer| {
        let found = listed.iter().find(|(_, kind)| **kind == referrer.artifact_type);
        Link {
            what: match referrer.artifact_type.as_str() {
                attest::SBOM => "its SBOM",
                attest::PROVENANCE => "its provenance",
                _ => "attached",
            },
            found: found.map(|(digest, _)| digest.clone()).unwrap_or_default(),
            wanted: referrer.digest.to_string(),
            place: referrer.artifact_type.clone(),
        }
    };
    recorded.map(link).collect()
}

/// Whoever asked the app while the traffic was switched was answered.
fn unnoticed(stage: &Stage) -> Link {
    let Traffic { requests, lost } = stage.render.traffic();
    Link {
        what: "requests lost",
        found: lost.to_string(),
        wanted: "0".to_owned(),
        place: format!("of {requests} at the front"),
    }
}

/// What Sentry was told of the release and where it was deployed.
fn recorded(stage: &Stage, version: &str) -> Link {
    let release = stage.sentry.release(version).unwrap_or_default();
    Link {
        what: "Sentry release",
        found: release.environments.last().cloned().unwrap_or_default(),
        wanted: "production".to_owned(),
        place: version.to_owned(),
    }
}

/// The report of this run, on the board of the app that it deployed.
fn shown(ctx: &Context, url: &Url) -> Result<Link> {
    #[derive(Deserialize)]
    struct List {
        reports: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        id: String,
    }
    let answer = ctx.http()?.request(Method::GET, url)?.send()?;
    let list: List = serde_json::from_str(&http::text(answer)?)
        .with_context(|| format!("{url} does not answer with a list of reports"))?;
    let id = history::ids(ctx)?.into_iter().next().unwrap_or_else(|| "kept here".to_owned());
    let found = list.reports.into_iter().find(|item| item.id == id).map(|item| item.id);
    Ok(Link { what: "on the board", found: found.unwrap_or_default(), wanted: id, place: url.to_string() })
}

/// Raises an error in the running app and waits until it has arrived at the stand-in.
fn raise_an_error(
    ctx: &Context,
    stage: &Stage,
    runtime: &Runtime,
    url: &Url,
    running: &Running,
) -> Result<[Link; 2]> {
    let id = random_word()?;
    let key = ctx.required("SECRET_KEY")?;
    canary::raise(&ctx.http()?, url, &key, &id, SystemTime::now())?;
    let fits = |event: &launchway_fakes::sentry::Event| {
        event.message.as_ref().is_some_and(|message| message.contains(&id))
    };
    let event = runtime.block_on(stage.sentry.wait_for(fits, Duration::from_secs(10)));
    let event = event.ok_or_else(|| {
        Failure::new(
            Exit::CheckFailed,
            format!("the error that was raised at {url} did not arrive at Sentry within 10 s"),
        )
    })?;
    let place = format!("event {}", event.id);
    Ok([
        Link {
            what: "error's release",
            found: event.release.unwrap_or_default(),
            wanted: format!("{}@{}+{}", running.name, running.version, ctx.git.short()),
            place: place.clone(),
        },
        Link {
            what: "and environment",
            found: event.environment.unwrap_or_default(),
            wanted: "production".to_owned(),
            place,
        },
    ])
}

fn tell(ctx: &Context, chain: &[Link]) -> Result<()> {
    let mut broken = Vec::new();
    let mut text = String::from("\nproof\n");
    for Link { what, found, wanted, place } in chain {
        // Writing to a string cannot fail.
        writeln!(text, "  {what:<16} {:<36} {place}", abbreviated(found)).ok();
        if found != wanted {
            broken.push(format!("{what} is `{found}` and not `{wanted}` ({place})"));
        }
    }
    if !broken.is_empty() {
        return Err(Failure::new(
            Exit::CheckFailed,
            format!("the chain does not hold: {}", broken.join("; ")),
        )
        .into());
    }
    text.push_str("The image that was built is the one that runs.");
    ctx.reporter.text(text);
    Ok(())
}

/// What the app answers at its version path.
#[derive(Deserialize)]
struct Running {
    commit: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

fn running(ctx: &Context, url: &Url) -> Result<Running> {
    let answer = ctx.http()?.request(Method::GET, url)?.send()?;
    serde_json::from_str(&http::text(answer)?)
        .with_context(|| format!("{url} does not answer with a version"))
}

fn address(deployment: &Deployment, path: &str) -> Result<Url> {
    Ok(Url::parse(&deployment.url)?.join(path)?)
}

/// Long hexadecimal numbers as people compare them.
fn abbreviated(text: &str) -> String {
    match text.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 => format!("sha256:{}…", &hex[..16]),
        _ if text.len() >= 40
            && text.is_char_boundary(12)
            && text[..12].chars().all(|c| c.is_ascii_hexdigit()) =>
        {
            let suffix = if text.ends_with("-dirty") { "-dirty" } else { "" };
            format!("{}…{suffix}", &text[..12])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn link(found: &str, wanted: &str) -> Link {
        Link {
            what: "running commit",
            found: found.to_owned(),
            wanted: wanted.to_owned(),
            place: "here".to_owned(),
        }
    }

    #[test]
    fn one_link_that_does_not_hold_breaks_the_chain() {
        let ctx = Context::for_test(Path::new("/w"), launchway_core::environment::Environment::default());
        tell(&ctx, &[link("a", "a"), link("b", "b")]).unwrap();
        let error = tell(&ctx, &[link("a", "a"), link("b", "c")]).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed);
        assert_eq!(error.to_string(), "the chain does not hold: running commit is `b` and not `c` (here)");
    }

    #[test]
    fn numbers_are_abbreviated() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(abbreviated(&digest), "sha256:abababababababab…");
        assert_eq!(abbreviated(&"0".repeat(40)), "000000000000…");
        assert_eq!(abbreviated(&format!("{}-dirty", "0".repeat(40))), "000000000000…-dirty");
        assert_eq!(abbreviated("app@0.1.0+abc"), "app@0.1.0+abc");
    }
}
