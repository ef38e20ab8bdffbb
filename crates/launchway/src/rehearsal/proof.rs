//! The proof at the end of a rehearsal: the image that was built is the one that runs, and its errors reach Sentry.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::fakes::Fakes;
use crate::attestation;
use crate::context::Context;
use crate::executor::Results;
use crate::history::History;
use crate::steps::deploy::Deployment;
use crate::steps::push::Referrer;
use crate::test_error;
use crate::workspace;
use launchway_core::events::{Event, Link, Proof, Reporter};
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::{Http, text};
use launchway_core::secret::random_word;
use launchway_fakes::render::Traffic;
use launchway_image::layout::Layout;

/// Reads the chain. What the service does not offer is reported as not proved.
pub(super) fn links(ctx: &Context, fakes: &Fakes, runtime: &Runtime, results: &Results) -> Result<Vec<Link>> {
    // Read from disk, not taken from the step's result.
    let image = Layout::open(&ctx.output().join("image"))?;
    let deployment = results.deployment.as_ref().context("nothing was deployed")?;
    let digest = image.manifest.digest.to_string();
    let reference = ctx.git.tag();
    let mut chain = vec![
        Link {
            what: "built".to_owned(),
            found: digest.clone(),
            wanted: digest.clone(),
            place: "target/xtask/image".to_owned(),
        },
        Link {
            what: "in the registry".to_owned(),
            found: fakes.registry.digest_of(Fakes::REPOSITORY, &reference).unwrap_or_default(),
            wanted: digest.clone(),
            place: format!("{}:{}", fakes.repository, reference),
        },
    ];
    chain.extend(attached(fakes, &digest, results));
    chain.push(Link {
        what: "on Render".to_owned(),
        found: deployment.digest.clone(),
        wanted: digest,
        place: deployment.id.clone(),
    });
    let (config, http) = (&ctx.config.deploy, ctx.http()?);
    if let Some(path) = &config.version {
        let url = address(deployment, path)?;
        chain.push(Link {
            what: "running commit".to_owned(),
            found: running_commit(&http, &url)?,
            wanted: ctx.git.tag(),
            place: url.to_string(),
        });
    } else {
        ctx.reporter.skipped("running commit", "not proved, because `deploy.version` is not configured");
    }
    chain.push(lost(fakes));
    if let Some(signed) = &config.reports {
        let id = History::new(&ctx.kept(), &ctx.reporter).ids()?.into_iter().next();
        let id = id.unwrap_or_else(|| "kept here".to_owned());
        chain.push(shown(&http, &address(deployment, &signed.path)?, id)?);
    } else {
        ctx.reporter.skipped("report on the board", "not proved, because `deploy.reports` is not configured");
    }
    if config.sentry.is_none() {
        ctx.reporter.skipped("errors in Sentry", "not proved, because `deploy.sentry` is not configured");
        return Ok(chain);
    }
    let expected = Release {
        name: format!(
            "{}@{}+{}",
            ctx.config.package,
            workspace::version(&ctx.root, &ctx.config)?,
            ctx.git.short()
        ),
        environment: config.environment_name(|name| ctx.environment.get(name)).unwrap_or_default(),
    };
    chain.push(recorded(fakes, &expected));
    if let Some(signed) = &config.test_error {
        let (url, id) = (address(deployment, &signed.path)?, random_word()?);
        let key = ctx.config.secret(&ctx.environment, &signed.key)?;
        test_error::raise(&http, &url, &key, &id, SystemTime::now())?;
        chain.extend(arrived(fakes, runtime, &url, &id, &expected)?);
    } else {
        ctx.reporter.skipped("errors in Sentry", "not proved, because `deploy.test-error` is not configured");
    }
    Ok(chain)
}

/// The release that Sentry must know, and the environment it was deployed to.
struct Release {
    name: String,
    environment: String,
}

/// The attestations that the push attached, as listed by the registry.
fn attached(fakes: &Fakes, digest: &str, results: &Results) -> Vec<Link> {
    let listed = fakes.registry.attached_to(Fakes::REPOSITORY, digest);
    let recorded = results.pushed.iter().flat_map(|pushed| &pushed.referrers);
    let link = |referrer: &Referrer| {
        let found = listed.iter().find(|(_, kind)| **kind == referrer.artifact_type);
        Link {
            what: match referrer.artifact_type.as_str() {
                attestation::SBOM => "its SBOM".to_owned(),
                attestation::PROVENANCE => "its provenance".to_owned(),
                _ => "attached".to_owned(),
            },
            found: found.map(|(digest, _)| digest.clone()).unwrap_or_default(),
            wanted: referrer.digest.to_string(),
            place: referrer.artifact_type.clone(),
        }
    };
    recorded.map(link).collect()
}

/// The requests to the service that got no response during the switch.
fn lost(fakes: &Fakes) -> Link {
    let Traffic { requests, lost } = fakes.render.traffic();
    Link {
        what: "requests lost".to_owned(),
        found: lost.to_string(),
        wanted: "0".to_owned(),
        place: format!("of {requests} at the front"),
    }
}

/// The release in Sentry, with the environment it was deployed to.
fn recorded(fakes: &Fakes, expected: &Release) -> Link {
    let release = fakes.sentry.release(&expected.name).unwrap_or_default();
    Link {
        what: "Sentry release".to_owned(),
        found: release.environments.last().cloned().unwrap_or_default(),
        wanted: expected.environment.clone(),
        place: expected.name.clone(),
    }
}

/// The report of this run, by its id, on the board of the deployed service.
fn shown(http: &Http, url: &Url, id: String) -> Result<Link> {
    #[derive(Deserialize)]
    struct List {
        reports: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        id: String,
    }
    let response = http.request(Method::GET, url)?.send()?;
    let list: List = serde_json::from_str(&text(response)?)
        .with_context(|| format!("{url} does not respond with a list of reports"))?;
    let found = list.reports.into_iter().find(|item| item.id == id).map(|item| item.id);
    Ok(Link {
        what: "on the board".to_owned(),
        found: found.unwrap_or_default(),
        wanted: id,
        place: url.to_string(),
    })
}

/// Waits until the test error that was raised in the running service reaches the fake Sentry.
fn arrived(fakes: &Fakes, runtime: &Runtime, url: &Url, id: &str, expected: &Release) -> Result<[Link; 2]> {
    let fits = |event: &launchway_fakes::sentry::Event| {
        event.message.as_ref().is_some_and(|message| message.contains(id))
    };
    let event = runtime.block_on(fakes.sentry.wait_for(fits, Duration::from_secs(10)));
    let event = event.ok_or_else(|| {
        Failure::new(
            Exit::CheckFailed,
            format!("the test error that was raised at {url} did not reach Sentry within 10 s"),
        )
    })?;
    let place = format!("event {}", event.id);
    Ok([
        Link {
            what: "error's release".to_owned(),
            found: event.release.unwrap_or_default(),
            wanted: expected.name.clone(),
            place: place.clone(),
        },
        Link {
            what: "its environment".to_owned(),
            found: event.environment.unwrap_or_default(),
            wanted: expected.environment.clone(),
            place,
        },
    ])
}

/// Shows the chain. A broken link is an error with [`Exit::CheckFailed`].
pub(super) fn show(reporter: &Reporter, proof: &Proof) -> Result<()> {
    let broken: Vec<String> = proof
        .broken()
        .map(|Link { what, found, wanted, place }| format!("{what} is `{found}`, not `{wanted}` ({place})"))
        .collect();
    reporter.emit(Event::Proof(proof.clone()));
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::CheckFailed, format!("the chain is broken: {}", broken.join("; "))).into())
}

/// The commit that the running service reports.
fn running_commit(http: &Http, url: &Url) -> Result<String> {
    #[derive(Deserialize)]
    struct Version {
        commit: String,
    }
    let response = http.request(Method::GET, url)?.send()?;
    let version: Version = serde_json::from_str(&text(response)?)
        .with_context(|| format!("{url} does not respond with a version"))?;
    Ok(version.commit)
}

fn address(deployment: &Deployment, path: &str) -> Result<Url> {
    Ok(Url::parse(&deployment.url)?.join(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_core::events::Sink;

    fn link(found: &str, wanted: &str) -> Link {
        Link {
            what: "running commit".to_owned(),
            found: found.to_owned(),
            wanted: wanted.to_owned(),
            place: "here".to_owned(),
        }
    }

    #[test]
    fn one_link_that_does_not_hold_breaks_the_chain() {
        let reporter = Reporter::new(Sink::Memory(Vec::new()));
        show(&reporter, &Proof { links: vec![link("a", "a"), link("b", "b")] }).unwrap();
        let error = show(&reporter, &Proof { links: vec![link("a", "a"), link("b", "c")] }).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed);
        assert_eq!(error.to_string(), "the chain is broken: running commit is `b`, not `c` (here)");
    }
}
