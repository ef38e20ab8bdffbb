//! Blobs: OCI distribution 1.1, §"Pulling blobs", §"Pushing blobs" and §"Mounting a blob from another repository".

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::refusal::{self, Refusal};
use super::store::{Store, Upload};
use crate::server::Incoming;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// GET or HEAD of a blob, streamed from disk.
pub(crate) async fn get(store: &Store, name: &str, digest: &str) -> Result<Response, Refusal> {
    let size = store.repositories.read(|all| all.get(name)?.blobs.get(digest).copied());
    let Some(size) = size else {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to the repository");
        return Err(refusal.about(json!({ "digest": digest })));
    };
    let file = tokio::fs::File::open(store.blob_path(digest)).await?;
    let headers = [
        (CONTENT_LENGTH, size.to_string()),
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DIGEST, digest.to_owned()),
    ];
    Ok((headers, Body::new(reqwest::Body::from(file))).into_response())
}

/// POST: mounts a blob, accepts a whole one with `?digest=`, or opens an upload session.
pub(crate) async fn start(
    store: &Store,
    name: &str,
    request: &mut Incoming,
    decline_mount: bool,
) -> Result<Response, Refusal> {
    if let (Some(digest), Some(source)) = (request.parameter("mount"), request.parameter("from")) {
        let digest = refusal::valid_digest(&digest)?;
        if !decline_mount && store.mount(&source, name, &digest) {
            return Ok(created(name, &digest));
        }
    }
    let id = store.begin(name).await?;
    if let Some(digest) = request.parameter("digest") {
        let digest = refusal::valid_digest(&digest)?;
        let upload = store.upload(name, &id).await?;
        upload.lock().await.append(request).await?;
        store.commit(&id, &upload, &digest).await?;
        return Ok(created(name, &digest));
    }
    Ok((StatusCode::ACCEPTED, session(name, &id, 0)).into_response())
}

/// GET of a session: returns how much has arrived.
pub(crate) async fn status(store: &Store, name: &str, id: &str) -> Result<Response, Refusal> {
    let size = store.upload(name, id).await?.lock().await.size;
    Ok((StatusCode::NO_CONTENT, session(name, id, size)).into_response())
}

/// PATCH: accepts one chunk, which must start where the last one ended.
pub(crate) async fn append(
    store: &Store,
    name: &str,
    id: &str,
    request: &mut Incoming,
) -> Result<Response, Refusal> {
    let upload = store.upload(name, id).await?;
    let mut upload = upload.lock().await;
    check_state(&upload, request)?;
    upload.append(request).await?;
    Ok((StatusCode::ACCEPTED, session(name, id, upload.size)).into_response())
}

/// PUT: accepts the last chunk, if any, and the digest of the whole.
pub(crate) async fn finish(
    store: &Store,
    name: &str,
    id: &str,
    request: &mut Incoming,
) -> Result<Response, Refusal> {
    let digest = request.parameter("digest").unwrap_or_default();
    let digest = refusal::valid_digest(&digest)?;
    let upload = store.upload(name, id).await?;
    {
        let mut upload = upload.lock().await;
        check_state(&upload, request)?;
        upload.append(request).await?;
    }
    store.commit(id, &upload, &digest).await?;
    Ok(created(name, &digest))
}

/// "The process MUST use the `Location` of the last response": rejects clients that build their own.
fn check_state(upload: &Upload, request: &Incoming) -> Result<(), Refusal> {
    if request.parameter("_state") != Some(upload.size.to_string()) {
        return Err(Refusal::bad("BLOB_UPLOAD_INVALID", "the upload's location is not the last one given"));
    }
    let start =
        request.header(&CONTENT_RANGE).and_then(|range| range.split_once('-')).map(|(start, _)| start);
    if start.is_some_and(|start| start != upload.size.to_string()) {
        let message = "the chunk does not continue the last one";
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message));
    }
    Ok(())
}

fn created(name: &str, digest: &str) -> Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    (StatusCode::CREATED, [(LOCATION, location), (CONTENT_DIGEST, digest.to_owned())]).into_response()
}

/// The location for the next request of an upload: relative, as in most registries, and with a query.
fn session(name: &str, id: &str, size: u64) -> [(HeaderName, String); 3] {
    [
        (LOCATION, format!("/v2/{name}/blobs/uploads/{id}?_state={size}")),
        (RANGE, format!("0-{}", size.saturating_sub(1))),
        (HeaderName::from_static("docker-upload-uuid"), id.to_owned()),
    ]
}
