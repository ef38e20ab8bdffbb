//! Manifests, tags and referrers: OCI distribution 1.1, §"Pushing manifests", §"Listing tags", §"Listing referrers".

use std::collections::BTreeMap;

use axum::Json;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LINK, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::{self, Refusal};
use super::store::{Manifest, Repository, Store, digest_of_bytes};
use crate::server::Incoming;

/// The size that registries should accept at least (§"Pushing manifests"); many accept no more.
const MAX_MANIFEST: usize = 4 << 20;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The fields that the registry reads in an image manifest or an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parsed {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    annotations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
}

/// GET or HEAD of a manifest by tag or digest.
pub(crate) fn get(
    store: &Store,
    name: &str,
    reference: &str,
    request: &Incoming,
) -> Result<Response, Refusal> {
    let found = store.repositories.read(|all| {
        let repository = all.get(name)?;
        let digest = repository.resolve(reference)?;
        Some((digest.to_owned(), repository.manifests.get(digest)?.clone()))
    });
    let unknown = |message| Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message);
    let (digest, manifest) = found
        .ok_or_else(|| unknown("manifest unknown").about(json!({ "name": name, "reference": reference })))?;
    if !accepts(request, &manifest.media_type) {
        return Err(unknown("the manifest's type is not among those that the request accepts"));
    }
    Ok(([(CONTENT_TYPE, manifest.media_type), (CONTENT_DIGEST, digest)], manifest.bytes).into_response())
}

/// PUT of a manifest under a tag or its own digest.
pub(crate) async fn put(
    store: &Store,
    name: &str,
    reference: &str,
    request: &mut Incoming,
) -> Result<Response, Refusal> {
    let bytes = request.bytes(MAX_MANIFEST).await?;
    let invalid = |message: String| Refusal::bad("MANIFEST_INVALID", message);
    let parsed: Parsed = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    let media_type = request.header(&CONTENT_TYPE).unwrap_or_default().to_owned();
    if media_type.is_empty() || parsed.media_type.as_ref().is_some_and(|declared| *declared != media_type) {
        return Err(invalid("the manifest's mediaType is not the request's Content-Type".to_owned()));
    }
    let digest = digest_of_bytes(&bytes);
    if reference.contains(':') && reference != digest {
        return Err(Refusal::bad("DIGEST_INVALID", "the manifest does not match its digest"));
    }
    store.repositories.change(|all| {
        check_parts(all.get(name).unwrap_or(&Repository::default()), &parsed)?;
        let repository = all.entry(name.to_owned()).or_default();
        repository.manifests.insert(digest.clone(), Manifest { media_type, bytes });
        if reference != digest {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        Ok::<_, Refusal>(())
    })?;
    let location = format!("/v2/{name}/manifests/{reference}");
    let mut response =
        (StatusCode::CREATED, [(LOCATION, location), (CONTENT_DIGEST, digest)]).into_response();
    // Tells the client that the referrers API will list this manifest.
    if let Some(subject) = parsed.subject
        && let Ok(value) = HeaderValue::try_from(subject.digest)
    {
        response.headers_mut().insert("oci-subject", value);
    }
    Ok(response)
}

/// `{"name","tags"}` in lexical order; with `n`, one page after `last`.
pub(crate) fn tags(store: &Store, name: &str, request: &Incoming) -> Result<Response, Refusal> {
    let tags: Option<Vec<String>> =
        store.repositories.read(|all| Some(all.get(name)?.tags.keys().cloned().collect()));
    let unknown =
        || Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry");
    let mut tags = tags.ok_or_else(unknown)?;
    if let Some(last) = request.parameter("last") {
        tags.retain(|tag| *tag > last);
    }
    let limit = request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let more = tags.len() > limit;
    tags.truncate(limit);
    let link = tags
        .last()
        .filter(|_| more)
        .map(|last| format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""));
    let mut response = Json(json!({ "name": name, "tags": tags })).into_response();
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// An index of the manifests whose subject is `digest`; empty, not 404, if there are none.
pub(crate) fn referrers(
    store: &Store,
    name: &str,
    digest: &str,
    request: &Incoming,
) -> Result<Response, Refusal> {
    let filter = request.parameter("artifactType");
    let digest = refusal::valid_digest(digest)?;
    let manifests: Vec<Value> = store.repositories.read(|all| {
        let manifests = all.get(name).into_iter().flat_map(|repository| &repository.manifests);
        manifests.filter_map(|(own, manifest)| referrer(own, manifest, &digest)).collect()
    });
    let wanted = |referrer: &Value| filter.as_ref().is_none_or(|filter| referrer["artifactType"] == **filter);
    let manifests: Vec<Value> = manifests.into_iter().filter(wanted).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response = ([(CONTENT_TYPE, INDEX)], index.to_string()).into_response();
    if filter.is_some() {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// The types of the artifacts whose subject is `digest`, by the artifacts' digests.
pub(crate) fn attached(store: &Store, name: &str, digest: &str) -> BTreeMap<String, String> {
    store.repositories.read(|all| {
        let manifests = all.get(name).into_iter().flat_map(|repository| &repository.manifests);
        let kind = |(own, manifest): (&String, &Manifest)| {
            let listed = referrer(own, manifest, digest)?;
            Some((own.clone(), listed["artifactType"].as_str()?.to_owned()))
        };
        manifests.filter_map(kind).collect()
    })
}

/// The blobs and manifests that a manifest lists must be in the repository, but its subject need not be.
fn check_parts(repository: &Repository, parsed: &Parsed) -> Result<(), Refusal> {
    let blobs = parsed.config.iter().chain(&parsed.layers);
    let missing_blob = blobs.filter(|part| !repository.blobs.contains_key(&part.digest));
    let missing_manifest =
        parsed.manifests.iter().filter(|part| !repository.manifests.contains_key(&part.digest));
    match missing_blob.chain(missing_manifest).next() {
        None => Ok(()),
        Some(part) => {
            let refusal = Refusal::bad("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            Err(refusal.about(json!({ "digest": part.digest })))
        }
    }
}

/// The entry of a manifest in a list of referrers. Without an artifactType of its own, it has its config's media type.
fn referrer(digest: &str, manifest: &Manifest, subject: &str) -> Option<Value> {
    let parsed: Parsed = serde_json::from_slice(&manifest.bytes).ok()?;
    if parsed.subject?.digest != subject {
        return None;
    }
    let artifact_type = parsed.artifact_type.or(parsed.config.map(|config| config.media_type));
    Some(json!({
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": manifest.bytes.len(),
        "artifactType": artifact_type,
        "annotations": parsed.annotations,
    }))
}

/// Docker's distribution hides a manifest from clients that do not accept its type; clients without an `Accept` header
/// are old.
fn accepts(request: &Incoming, media_type: &str) -> bool {
    let listed: Vec<&str> =
        request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let types = listed.iter().flat_map(|value| value.split(',')).filter_map(|item| item.split(';').next());
    listed.is_empty() || types.map(str::trim).any(|accepted| accepted == media_type || accepted == "*/*")
}
