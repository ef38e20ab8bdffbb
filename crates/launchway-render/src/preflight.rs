//! Finds out whether a service can be deployed to, before anything is changed.

use anyhow::Result;
use reqwest::Url;

use launchway_core::http::base_url;

use crate::image;
use crate::model::Service;

/// Everything that prevents a deploy of `image` to the service, each with a hint.
pub fn problems(service: &Service, image: &str) -> Vec<String> {
    let details = &service.details;
    let mut problems = Vec::new();
    if service.kind != "web_service" {
        problems.push(format!(
            "its type is `{}`, not `web_service`: set `RENDER_SERVICE_ID` to a web service",
            service.kind
        ));
    }
    if details.runtime != "image" {
        problems.push(format!(
            "its runtime is `{}`, not `image`: create it from an existing image",
            details.runtime
        ));
    } else if service.image_path.as_deref().map(image::repository) != Some(image::repository(image)) {
        // Render refuses another repository on a deploy; only the service's settings can change it.
        problems.push(format!(
            "it runs `{}`, but the pipeline ships `{}`: change the service's image in its settings",
            service.image_path.as_deref().map(image::repository).unwrap_or_default(),
            image::repository(image),
        ));
    }
    if service.suspended == "suspended" {
        problems.push("it is suspended: resume it in its settings".to_owned());
    }
    if details.maintenance_mode.as_ref().is_some_and(|mode| mode.enabled) {
        problems.push("it is in maintenance mode: turn it off in its settings".to_owned());
    }
    if details.health_check_path.is_empty() {
        problems.push(
            "it has no health check path, so Render would consider any open port healthy: set one in its settings"
                .to_owned(),
        );
    }
    if service.owner_id.is_empty() {
        problems.push(
            "Render does not name its workspace (`ownerId`), which its logs and its image need".to_owned(),
        );
    }
    if let Err(error) = address(service) {
        problems.push(error.to_string());
    }
    problems
}

/// Noteworthy facts that prevent nothing.
pub fn remarks(service: &Service, health: &str) -> Vec<String> {
    let details = &service.details;
    let mut remarks = Vec::new();
    if !details.health_check_path.is_empty() && details.health_check_path != health {
        remarks.push(format!(
            "the service's health check path is `{}`, but `deploy.health` is `{health}`",
            details.health_check_path
        ));
    }
    if details.disk.is_some() {
        remarks.push(
            "the service has a disk: Render stops the old instance before the new one starts".to_owned(),
        );
    }
    remarks
}

/// The service's address: `https`, or loopback in a rehearsal.
pub fn address(service: &Service) -> Result<Url> {
    base_url("serviceDetails.url", service.details.url.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
