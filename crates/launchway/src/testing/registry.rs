//! Scripted registries, and contexts whose image is on one.

use std::path::Path;

use crate::context::Context;
use launchway_core::environment::Environment;
use launchway_fakes::registry::Scripted;
use launchway_fakes::{Reply, Request};
use launchway_registry::{Digest, Repository};

/// A registry in which this rule responds first.
pub(crate) fn scripted(rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Scripted {
    Scripted::new(rule).unwrap()
}

/// A registry without a login and without a referrers API.
pub(crate) fn plain() -> Scripted {
    Scripted::plain().unwrap()
}

/// `acme/app` on that registry.
pub(crate) fn repository(server: &Scripted) -> Repository {
    server.repository().parse().unwrap()
}

/// The digest that a tag of `acme/app` points to.
pub(crate) fn tagged(server: &Scripted, tag: &str) -> Option<Digest> {
    server.tag(tag).map(|digest| digest.parse().unwrap())
}

/// A context whose image is `acme/app` on that registry, with more variables.
pub(crate) fn context_on(server: &Scripted, root: &Path, variables: &[(&str, &str)]) -> Context {
    let image = server.repository();
    // Not the developer's own Docker configuration.
    let none = [("PIPELINE_IMAGE", image.as_str()), ("DOCKER_CONFIG", "/nonexistent")];
    let environment = Environment::of(none).with(Environment::of(variables.iter().copied()));
    Context::for_test(root, environment)
}
