//! Images as Render sees them: references, how they resolve, and the pull.
//!
//! Written against OCI distribution 1.1 without our own code: the client that pushes must not be checked by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use ring::digest::{Context, SHA256, digest};
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::rights::Rights;
use super::{PullCredential, unpack};
use crate::server::{hex, loopback_client};

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const MAX_DOCUMENT: usize = 4 << 20;

/// `<host>/<repository>[:<tag>][@<digest>]`, completed as Render does (docs, "Deploying an image").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    host: String,
    repository: String,
    /// The digest, if there is one, else the tag.
    version: String,
}

impl Reference {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        // A colon before the last slash belongs to a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let version = digest.or(tag).unwrap_or("latest");
        ensure!(!repository.is_empty() && !version.is_empty(), "not an image reference: {text}");
        Ok(Self { host: host.to_owned(), repository, version: version.to_owned() })
    }

    /// The digest, else the tag.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether they differ in tag or digest only.
    pub(crate) fn same_repository(&self, other: &Self) -> bool {
        self.host == other.host && self.repository == other.repository
    }
}

/// What a pull leaves on disk.
pub(crate) struct Unpacked {
    pub(crate) root: PathBuf,
    pub(crate) config: RunConfig,
    pub(crate) rights: Rights,
}

/// The part of an image's config that says how to run it (OCI image spec 1.1, "Image Configuration").
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) user: Option<String>,
}

#[derive(Deserialize)]
struct ImageConfig {
    architecture: String,
    os: String,
    #[serde(default)]
    config: RunConfig,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An image manifest or an index.
#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// A session with one repository.
pub(crate) struct Puller {
    client: Client,
    credential: Option<PullCredential>,
    reference: Reference,
    authorization: Option<String>,
}

impl Puller {
    /// Fails for anything but a loopback address: a rehearsal may contact nothing else.
    pub(crate) fn new(reference: Reference, credential: Option<PullCredential>) -> anyhow::Result<Self> {
        ensure!(is_loopback(&Url::parse(&format!("http://{}/", reference.host))?), "not a loopback registry");
        Ok(Self { client: loopback_client()?, credential, reference, authorization: None })
    }

    /// The digest of the `linux/amd64` manifest: for an index, Render reports the entry, not the index.
    pub(crate) async fn resolve(&mut self) -> anyhow::Result<String> {
        let version = self.reference.version.clone();
        let (digest, manifest) = self.manifest(&version).await?;
        if manifest.config.is_some() {
            return Ok(digest);
        }
        let amd64 = |platform: &Platform| platform.os == "linux" && platform.architecture == "amd64";
        let entry = manifest.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(amd64));
        Ok(entry.context("the index has no linux/amd64 manifest")?.digest.clone())
    }

    /// Downloads and unpacks the image with this manifest into `folder`.
    pub(crate) async fn pull(&mut self, sha: &str, folder: &Path) -> anyhow::Result<Unpacked> {
        let (_, manifest) = self.manifest(sha).await?;
        let config = manifest.config.context("the manifest has no config")?;
        let bytes = collect(self.get(&format!("blobs/{}", config.digest)).await?).await?;
        ensure!(digest_of(&bytes) == config.digest, "the config does not match its digest");
        let config: ImageConfig = serde_json::from_slice(&bytes).context("the config is not an image's")?;
        ensure!(
            config.os == "linux" && config.architecture == "amd64",
            "the platform is {}/{}, Render runs linux/amd64",
            config.os,
            config.architecture
        );
        ensure!(
            config.rootfs.diff_ids.len() == manifest.layers.len(),
            "layers and diff_ids differ in number"
        );
        let root = folder.join("rootfs");
        tokio::fs::create_dir_all(&root).await?;
        let mut rights = Rights::default();
        for (layer, diff_id) in manifest.layers.iter().zip(config.rootfs.diff_ids) {
            let file = folder.join("layer");
            self.download(layer, &file).await?;
            let gzip = match layer.media_type.as_str() {
                "application/vnd.oci.image.layer.v1.tar+gzip"
                | "application/vnd.docker.image.rootfs.diff.tar.gzip" => true,
                "application/vnd.oci.image.layer.v1.tar" => false,
                other => bail!("layers of type {other} are not supported"),
            };
            let root = root.clone();
            let unpacking =
                move || unpack::unpack(&file, gzip, &diff_id, &root, &mut rights).map(|()| rights);
            rights =
                tokio::task::spawn_blocking(unpacking).await.context("the unpacking was interrupted")??;
        }
        Ok(Unpacked { root, config: config.config, rights })
    }

    async fn manifest(&mut self, version: &str) -> anyhow::Result<(String, Manifest)> {
        let bytes = collect(self.get(&format!("manifests/{version}")).await?).await?;
        let digest = digest_of(&bytes);
        ensure!(!version.contains(':') || version == digest, "the manifest does not match its digest");
        Ok((digest, serde_json::from_slice(&bytes).context("not a manifest")?))
    }

    /// Streams a layer to disk, and trusts neither its size nor its content before they are verified.
    async fn download(&mut self, layer: &Descriptor, file: &Path) -> anyhow::Result<()> {
        let mut response = self.get(&format!("blobs/{}", layer.digest)).await?;
        let mut file = tokio::fs::File::create(file).await?;
        let (mut hash, mut size) = (Context::new(&SHA256), 0);
        while let Some(chunk) = response.chunk().await? {
            size += chunk.len() as u64;
            ensure!(size <= layer.size, "the layer is larger than its descriptor says");
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let actual = format!("sha256:{}", hex(hash.finish().as_ref()));
        ensure!(actual == layer.digest, "the layer does not match its digest");
        Ok(())
    }

    /// Sends the request, and repeats it once with the credentials that the challenge requires.
    async fn get(&mut self, what: &str) -> anyhow::Result<Response> {
        let url = format!("http://{}/v2/{}/{what}", self.reference.host, self.reference.repository);
        let mut response = self.ask(&url).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenge = response.headers().get(WWW_AUTHENTICATE).context("a 401 without a challenge")?;
            let challenge = challenge.to_str()?.to_owned();
            self.authorization = Some(self.authorize(&challenge).await?);
            response = self.ask(&url).await?;
        }
        ensure!(response.status().is_success(), "{what}: the registry answered {}", response.status());
        Ok(response)
    }

    async fn ask(&self, url: &str) -> anyhow::Result<Response> {
        let mut request = self.client.get(url).header(ACCEPT, ACCEPTED);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.send().await?)
    }

    async fn authorize(&self, challenge: &str) -> anyhow::Result<String> {
        let credential = self.credential.as_ref().context("the registry wants a credential")?;
        let basic =
            format!("Basic {}", STANDARD.encode(format!("{}:{}", credential.username, credential.password)));
        let (scheme, _) = challenge.split_once(' ').context("a challenge without parameters")?;
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(basic);
        }
        let realm = Url::parse(quoted(challenge, "realm").context("a challenge without a realm")?)?;
        ensure!(is_loopback(&realm), "the token endpoint is not on loopback");
        let query = ["service", "scope"].map(|name| (name, quoted(challenge, name).unwrap_or_default()));
        let request = self.client.get(realm).query(&query).header(AUTHORIZATION, basic);
        let response = request.send().await?.error_for_status().context("no token")?;
        let answer: Token = serde_json::from_slice(&collect(response).await?).context("not a token")?;
        Ok(format!("Bearer {}", answer.token))
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// A quoted parameter of a challenge; its value may contain commas.
fn quoted<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn collect(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        ensure!(bytes.len() <= MAX_DOCUMENT, "the document is too large");
    }
    Ok(bytes)
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}
