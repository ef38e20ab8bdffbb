//! A registry on loopback that implements the push and pull parts of OCI distribution 1.1.
//!
//! It is as strict as real registries: blobs belong to a repository, a manifest must find its blobs, and an upload
//! continues at the last `Location`. Tests and drills can inject a [`Fault`].

mod auth;
mod blobs;
mod fault;
mod manifests;
mod refusal;
mod scripted;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::http::header::HOST;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use self::auth::{Gate, Scope};
use self::refusal::Refusal;
use self::store::Store;
use crate::script::Script;
use crate::server::{Exchange, Fake, Incoming, Server, Shared};

pub use self::auth::Auth;
pub use self::fault::{Fault, ReferrersResponse, UploadLocation};
pub use self::scripted::Scripted;

/// A running registry; dropping it stops it.
pub struct FakeRegistry {
    server: Server,
    registry: Arc<Registry>,
}

impl FakeRegistry {
    /// Starts an empty registry that stores its blobs under `folder`.
    pub async fn start(folder: &Path, auth: Auth) -> anyhow::Result<Self> {
        Self::start_with(folder, auth, None).await
    }

    async fn start_with(folder: &Path, auth: Auth, script: Option<Arc<Script>>) -> anyhow::Result<Self> {
        let store = Store::new(folder)?;
        let make =
            |address| Registry { gate: Gate::new(auth, address), store, faults: Shared::new(Vec::new()) };
        let (server, registry) = Server::start_with(make, script).await?;
        Ok(Self { server, registry })
    }

    /// `127.0.0.1:<port>`, which is also the host in its references.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Every exchange so far.
    pub fn transcript(&self) -> Vec<Exchange> {
        self.server.transcript()
    }

    /// Queues a fault.
    pub fn fault(&self, rule: Fault) {
        self.registry.faults.change(|faults| faults.push(rule));
    }

    /// Stops listening: connections are refused from now on.
    pub fn close(&self) {
        self.server.close();
    }

    /// Stores an image as if somebody had pushed it: its blobs, and its manifest under these tags.
    pub fn keep(
        &self,
        repository: &str,
        blobs: &[&[u8]],
        manifest: &[u8],
        tags: &[&str],
    ) -> anyhow::Result<String> {
        self.registry.store.keep(repository, blobs, manifest, tags)
    }

    /// Deletes a manifest and the tags that point to it, as a clean-up does; `false` if it does not exist.
    pub fn forget(&self, repository: &str, digest: &str) -> bool {
        self.registry.store.repositories.change(|all| {
            let Some(repository) = all.get_mut(repository) else { return false };
            repository.tags.retain(|_, named| named != digest);
            repository.manifests.remove(digest).is_some()
        })
    }

    /// The digest that a tag or digest of a repository resolves to, without an HTTP request.
    pub fn digest_of(&self, repository: &str, reference: &str) -> Option<String> {
        self.registry.store.digest_of(repository, reference)
    }

    /// What is attached to a manifest, without an HTTP request: each artifact's type by its digest.
    pub fn attached_to(&self, repository: &str, digest: &str) -> BTreeMap<String, String> {
        manifests::attached(&self.registry.store, repository, digest)
    }
}

struct Registry {
    gate: Gate,
    store: Store,
    faults: Shared<Vec<Fault>>,
}

/// The endpoints of OCI distribution 1.1, §"Endpoints".
enum Route {
    Base,
    Manifest { name: String, reference: String },
    Blob { name: String, digest: String },
    Uploads { name: String },
    Upload { name: String, id: String },
    Tags { name: String },
    Referrers { name: String, digest: String },
}

impl Fake for Registry {
    async fn respond(&self, request: &mut Incoming) -> Response {
        if self.faults.read(|faults| faults.contains(&Fault::Page)) {
            return fault::page();
        }
        let mut response = self.dispatch(request).await.unwrap_or_else(Refusal::into_response);
        let version = HeaderValue::from_static("registry/2.0");
        response.headers_mut().insert("docker-distribution-api-version", version);
        response
    }
}

impl Registry {
    async fn dispatch(&self, request: &mut Incoming) -> Result<Response, Refusal> {
        let segments = request.segments();
        let rest = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["token"] => return self.gate.token(request),
            ["login"] => return Ok(fault::page()),
            ["v2", rest @ ..] => Route::of(rest)?,
            _ => return Err(Refusal::not_found("no such page")),
        };
        let scopes = rest.scopes(request);
        let fault = self.fault_for(&rest, request);
        match fault {
            Some(Fault::Unauthorized) => return Err(self.gate.challenge(&scopes, "invalid_token")),
            Some(Fault::TokensExpire) => self.gate.expire_all(),
            Some(fault) => {
                if let Some(response) = fault.response().await {
                    return response;
                }
            }
            None => {}
        }
        self.gate.check(request, &scopes)?;
        let mut response = self.serve(rest, request, fault == Some(Fault::MountDeclined)).await?;
        if let Some(fault) = fault {
            let host = request.header(&HOST).unwrap_or_default();
            fault.change(&mut response, host);
        }
        Ok(response)
    }

    async fn serve(
        &self,
        route: Route,
        request: &mut Incoming,
        decline_mount: bool,
    ) -> Result<Response, Refusal> {
        let store = &self.store;
        match (request.method.as_str(), route) {
            ("GET" | "HEAD", Route::Base) => {
                Ok((StatusCode::OK, axum::Json(serde_json::json!({}))).into_response())
            }
            ("GET" | "HEAD", Route::Manifest { name, reference }) => {
                manifests::get(store, &name, &reference, request)
            }
            ("PUT", Route::Manifest { name, reference }) => {
                manifests::put(store, &name, &reference, request).await
            }
            ("GET", Route::Tags { name }) => manifests::tags(store, &name, request),
            ("GET", Route::Referrers { name, digest }) => {
                manifests::referrers(store, &name, &digest, request)
            }
            ("GET" | "HEAD", Route::Blob { name, digest }) => blobs::get(store, &name, &digest).await,
            ("POST", Route::Uploads { name }) => blobs::start(store, &name, request, decline_mount).await,
            ("GET", Route::Upload { name, id }) => blobs::status(store, &name, &id).await,
            ("PATCH", Route::Upload { name, id }) => blobs::append(store, &name, &id, request).await,
            ("PUT", Route::Upload { name, id }) => blobs::finish(store, &name, &id, request).await,
            _ => Err(Refusal::unsupported()),
        }
    }

    /// Takes the first queued fault that applies to this request.
    fn fault_for(&self, route: &Route, request: &Incoming) -> Option<Fault> {
        self.faults.change(|faults| {
            let position = faults.iter_mut().position(|fault| fault.fits(route, request))?;
            Some(if faults[position].lasts() { faults[position] } else { faults.remove(position) })
        })
    }
}

impl Route {
    /// Parses the path after `/v2/` from its end, because a repository's name may have any number of parts.
    fn of(segments: &[&str]) -> Result<Self, Refusal> {
        let named = |parts: &[&str]| refusal::valid_name(&parts.join("/"));
        Ok(match segments {
            [] | [""] => Self::Base,
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Self::Uploads { name: named(name)? }
            }
            [name @ .., "blobs", "uploads", id] => Self::Upload { name: named(name)?, id: (*id).to_owned() },
            [name @ .., "blobs", digest] => {
                Self::Blob { name: named(name)?, digest: refusal::valid_digest(digest)? }
            }
            [name @ .., "manifests", reference] => {
                Self::Manifest { name: named(name)?, reference: refusal::valid_reference(reference)? }
            }
            [name @ .., "tags", "list"] => Self::Tags { name: named(name)? },
            [name @ .., "referrers", digest] => {
                Self::Referrers { name: named(name)?, digest: refusal::valid_digest(digest)? }
            }
            _ => return Err(Refusal::not_found("no such page")),
        })
    }

    /// The access that a token must grant. A mount also needs pull access to its source, as in Docker's distribution.
    fn scopes(&self, request: &Incoming) -> Vec<Scope> {
        let name = match self {
            Self::Base => return Vec::new(),
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => name,
        };
        let reads =
            matches!(request.method, Method::GET | Method::HEAD) && !matches!(self, Self::Upload { .. });
        let mut scopes = vec![if reads { Scope::pull(name) } else { Scope::push(name) }];
        if let (Self::Uploads { .. }, Some(source)) = (self, request.parameter("from")) {
            scopes.push(Scope::pull(&source));
        }
        scopes
    }
}

#[cfg(test)]
mod tests;
