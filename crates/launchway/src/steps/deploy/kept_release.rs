//! What this machine keeps of a release for a rollback: its digest, its commit, and its variables, encrypted.
//!
//! Render does not reveal the environment of an earlier deploy. The key is derived from `RENDER_API_KEY`: another
//! secret may be the very variable that changed, and the owner of the API key can read the variables anyway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use launchway_core::file::write_private;
use launchway_core::secret::{Secret, derived_key};
use launchway_report::Service;

use super::release::Release;

/// Why a release is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    /// It was deployed from here, and proved.
    Proved,
    /// It was live when a deploy from here started.
    Found,
    /// It was deployed from here and failed: a rollback never chooses it.
    Failed,
    /// A value written by a newer version.
    #[serde(other)]
    Unknown,
}

/// The stored form of a release.
#[derive(Clone, Debug)]
pub(super) struct KeptRelease {
    /// `dep-…`.
    pub(super) id: String,
    pub(super) origin: Origin,
    pub(super) release: Release,
    /// The managed variables by name; `None` means not set.
    pub(super) variables: BTreeMap<String, Option<Secret>>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    id: String,
    #[serde(rename = "standing")]
    origin: Origin,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// The service that ran it, by [`Service::key`]; absent in files of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// RFC 3339.
    time: String,
    /// Base64 of the nonce and the variables encrypted with AES-256-GCM.
    variables: String,
}

/// 2: what is encrypted is bound to the service as well, and padded.
const SCHEMA: u32 = 2;

/// Encrypted variables are padded to a multiple of this, in bytes: their length must say nothing about a value.
const BLOCK: usize = 1024;

/// What a kept release says of itself, whichever version wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Header {
    pub(super) id: String,
    /// RFC 3339, so that the later one is the greater one.
    pub(super) time: String,
    #[serde(default)]
    pub(super) service: Option<String>,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The releases that this machine keeps.
pub(super) struct KeptReleases {
    folder: PathBuf,
    /// `RENDER_API_KEY`.
    api_key: Secret,
    /// [`Service::key`] of `RENDER_SERVICE_ID`.
    service: String,
}

impl KeptReleases {
    /// The releases in the folder `deployments` of a folder.
    pub(super) fn new(parent: &Path, api_key: Secret, service: &str) -> Self {
        Self { folder: parent.join("deployments"), api_key, service: Service::key(service) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every file by its deploy, with what it says of itself.
    pub(super) fn files(&self) -> BTreeMap<String, (Header, Vec<u8>)> {
        let files = fs_err::read_dir(&self.folder).into_iter().flatten().flatten();
        let read = |path: PathBuf| {
            let bytes = fs_err::read(&path).ok()?;
            let header = Header::read(&bytes)?;
            (path.file_stem()?.to_str()? == header.id).then(|| (header.id.clone(), (header, bytes)))
        };
        files.filter_map(|file| read(file.path())).collect()
    }

    /// Adds the file of another machine. An id that cannot name a file is left out.
    pub(super) fn add(&self, id: &str, bytes: &[u8]) -> Result<()> {
        self.path(id).map_or(Ok(()), |path| write_private(&path, bytes))
    }

    /// Writes one, readable for its owner only. A release that was only found live does not overwrite a file: that may
    /// be proved, or written by a newer version.
    pub(super) fn keep(&self, found: &KeptRelease) -> Result<()> {
        let path = self.path(&found.id).context("the deploy's id cannot name a file")?;
        if found.origin == Origin::Found && path.exists() {
            return Ok(());
        }
        let kept = Kept {
            schema: SCHEMA,
            id: found.id.clone(),
            origin: found.origin,
            digest: found.release.digest.clone(),
            commit: found.release.commit.clone(),
            service: Some(self.service.clone()),
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            variables: self.sealed(found)?,
        };
        write_private(&path, &serde_json::to_vec_pretty(&kept)?)
    }

    /// Reads what was kept of a deploy: `None` if nothing was.
    pub(super) fn open(&self, id: &str) -> Result<Option<KeptRelease>> {
        ensure!(
            self.schema(id).is_none_or(|schema| schema <= SCHEMA),
            "the kept release of {id} was written by a newer Launchway: update to restore its variables"
        );
        let Some(kept) = self.read(id) else { return Ok(None) };
        ensure!(
            kept.service.as_ref().is_none_or(|service| *service == self.service),
            "the kept release of {id} is that of another service than `RENDER_SERVICE_ID`"
        );
        let opened = self.opened(&kept).with_context(|| {
            format!("the kept release of {id} cannot be read with this `RENDER_API_KEY`: it was encrypted with another one, or changed since")
        })?;
        let variables = opened.into_iter().map(|(name, value)| (name, value.map(Secret::new))).collect();
        let release = Release { digest: kept.digest, platform: None, commit: kept.commit };
        Ok(Some(KeptRelease { id: kept.id, origin: kept.origin, release, variables }))
    }

    /// The commit that was kept for a deploy.
    pub(super) fn commit(&self, id: &str) -> Option<String> {
        self.read(id)?.commit
    }

    /// Why a deploy was kept, if it was.
    pub(super) fn origin(&self, id: &str) -> Option<Origin> {
        Some(self.read(id)?.origin)
    }

    /// The ids of the kept deploys whose commit starts like this.
    pub(super) fn with_commit(&self, start: &str) -> Vec<String> {
        let Ok(files) = fs_err::read_dir(&self.folder) else { return Vec::new() };
        files
            .filter_map(|file| file.ok()?.path().file_stem()?.to_str().map(str::to_owned))
            .filter(|id| self.commit(id).is_some_and(|commit| commit.starts_with(start)))
            .collect()
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (id.starts_with("dep-") && id.bytes().all(plain)).then(|| self.folder.join(format!("{id}.json")))
    }

    /// The format version in which a deploy was kept.
    fn schema(&self, id: &str) -> Option<u32> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_slice(&fs_err::read(self.path(id)?).ok()?).ok()?;
        Some(schema)
    }

    fn read(&self, id: &str) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&fs_err::read(self.path(id)?).ok()?).ok()?;
        (kept.id == id).then_some(kept)
    }

    fn sealed(&self, found: &KeptRelease) -> Result<String> {
        let plain: BTreeMap<&str, Option<&str>> = found
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_ref().map(Secret::expose)))
            .collect();
        let mut bytes = serde_json::to_vec(&plain)?;
        // JSON may end in spaces.
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        let mut nonce = [0; aead::NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("the system provides no random numbers"))?;
        let about = about(&found.id, &found.release.digest, Some(&self.service));
        self.key()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut bytes)
            .map_err(|_| anyhow!("the variables cannot be encrypted"))?;
        Ok(BASE64_STANDARD.encode([nonce.as_slice(), &bytes].concat()))
    }

    fn opened(&self, kept: &Kept) -> Result<BTreeMap<String, Option<String>>> {
        let sealed = BASE64_STANDARD.decode(&kept.variables)?;
        let (nonce, sealed) = sealed.split_at_checked(aead::NONCE_LEN).context("it is too short")?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow!("it has no nonce"))?;
        let mut bytes = sealed.to_vec();
        let plain = self
            .key()?
            .open_in_place(
                nonce,
                Aad::from(about(&kept.id, &kept.digest, kept.service.as_deref())),
                &mut bytes,
            )
            .map_err(|_| anyhow!("it cannot be decrypted"))?;
        // serde's own message would quote a value.
        serde_json::from_slice(plain).map_err(|_| anyhow!("it holds no variables"))
    }

    fn key(&self) -> Result<LessSafeKey> {
        let key = derived_key(&self.api_key, "launchway/deployment/v1")?;
        let key =
            UnboundKey::new(&aead::AES_256_GCM, &key).map_err(|_| anyhow!("the key has the wrong length"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// Binds the variables to their release, so that they cannot be moved to another.
fn about(id: &str, digest: &str, service: Option<&str>) -> String {
    match service {
        Some(service) => format!("{id} {digest} {service}"),
        None => format!("{id} {digest}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn kept_in(folder: &Path, key: &str) -> KeptReleases {
        KeptReleases::new(folder, Secret::new(key), "srv-1")
    }

    fn snapshot(id: &str, origin: Origin) -> KeptRelease {
        let release =
            Release { digest: "sha256:aa".to_owned(), platform: None, commit: Some("c0ffee".to_owned()) };
        let variables =
            [("ALIAS".to_owned(), Some(Secret::new("value-of-hosts"))), ("GONE".to_owned(), None)];
        KeptRelease { id: id.to_owned(), origin, release, variables: variables.into() }
    }

    #[test]
    fn what_is_kept_is_read_back_and_hidden_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept_in(dir.path(), "the-key");
        kept.keep(&snapshot("dep-1", Origin::Proved)).unwrap();
        let path = dir.path().join("deployments/dep-1.json");
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(!text.contains("value-of") && !text.contains("ALIAS"), "{text}");
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = kept.open("dep-1").unwrap().unwrap();
        assert_eq!(found.variables["ALIAS"], Some(Secret::new("value-of-hosts")));
        assert_eq!(found.variables["GONE"], None);
        assert_eq!((found.release.digest.as_str(), found.origin), ("sha256:aa", Origin::Proved));
        assert_eq!(kept.with_commit("c0f"), ["dep-1"]);
        // Found live again, it stays proved.
        kept.keep(&snapshot("dep-1", Origin::Found)).unwrap();
        assert_eq!(kept.origin("dep-1"), Some(Origin::Proved));
        assert!(kept.open("dep-2").unwrap().is_none());
        assert!(kept.keep(&snapshot("../dep-1", Origin::Proved)).is_err());
    }

    #[test]
    fn what_a_newer_version_kept_is_read_or_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept_in(dir.path(), "the-key");
        kept.keep(&snapshot("dep-1", Origin::Proved)).unwrap();
        let path = dir.path().join("deployments/dep-1.json");
        let text = fs_err::read_to_string(&path).unwrap();
        let newer = text.replacen('{', r#"{"added": [1],"#, 1).replace("proved", "signed-off");
        fs_err::write(&path, &newer).unwrap();
        let found = kept.open("dep-1").unwrap().unwrap();
        assert_eq!((found.origin, found.variables["GONE"].as_ref()), (Origin::Unknown, None));
        for unreadable in [newer.replace("\"schema\": 2", "\"schema\": 3"), r#"{"schema": 3}"#.to_owned()] {
            fs_err::write(&path, &unreadable).unwrap();
            let error = kept.open("dep-1").unwrap_err();
            assert!(error.to_string().contains("written by a newer Launchway: update"), "{error}");
            kept.keep(&snapshot("dep-1", Origin::Found)).unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), unreadable);
        }
    }

    #[test]
    fn another_key_or_another_release_does_not_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept_in(dir.path(), "the-key");
        kept.keep(&snapshot("dep-1", Origin::Proved)).unwrap();
        let error = kept_in(dir.path(), "another").open("dep-1").unwrap_err();
        assert!(format!("{error:#}").contains("encrypted with another one"), "{error:#}");
        let path = dir.path().join("deployments/dep-1.json");
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, text.replace("sha256:aa", "sha256:ab")).unwrap();
        assert!(kept.open("dep-1").is_err());
    }
}
