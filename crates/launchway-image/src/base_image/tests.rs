use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::files::Node;
use super::*;
use crate::testing::{client, runner};
use launchway_core::http::NetworkPolicy;
use launchway_fakes::Reply;
use launchway_fakes::registry::Scripted;
use launchway_registry::oci::LAYER;

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What a registry responses by path, behind `/v2/acme/base/`.
type Responses = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A registry with `acme/base`, and a workspace.
struct Rig {
    responses: Responses,
    server: Scripted,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let responses = Responses::default();
        let kept = Arc::clone(&responses);
        let server = Scripted::new(move |request, _| {
            let path = request.target.strip_prefix("/v2/acme/base/")?;
            Some(kept.lock().unwrap().get(path).map_or(Reply::new(404), |bytes| {
                Reply::new(200)
                    .header("Docker-Content-Digest", Digest::of(bytes).to_string())
                    .body(bytes.clone())
            }))
        })
        .unwrap();
        Self { responses, server, dir: tempfile::tempdir().unwrap() }
    }

    fn set(&self, path: &str, bytes: &[u8]) {
        self.responses.lock().unwrap().insert(path.to_owned(), bytes.to_owned());
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.set(&format!("blobs/{digest}"), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn manifest(&self, manifest: &Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.set(&format!("manifests/{digest}"), &bytes);
        digest
    }

    /// An image with one layer, which holds `etc/motd`, under the tag `12`; `change` may spoil its configuration.
    fn image(&self, media_type: &str, change: impl Fn(&mut Value)) -> Digest {
        let (tar, layer) = layer();
        let mut config = json!({
            "architecture": "amd64", "os": "linux", "variant": "v1",
            "config": { "Env": ["A=1"], "Labels": null },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar)] },
            "history": [{ "created_by": "a layer" }, { "created_by": "ENV", "empty_layer": true }],
        });
        change(&mut config);
        let config =
            self.blob("application/vnd.docker.container.image.v1+json", config.to_string().as_bytes());
        let layers = json!([self.blob(media_type, &layer)]);
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.set("manifests/12", manifest.to_string().as_bytes());
        self.manifest(&manifest)
    }

    fn find(&self, reference: &str) -> Result<Found> {
        self.find_under(reference, NetworkPolicy::Anywhere, false)
    }

    fn find_under(&self, reference: &str, policy: NetworkPolicy, last_known: bool) -> Result<Found> {
        let image = format!("{}/acme/base{reference}", self.server.host());
        let from = BaseName { place: "Dockerfile:7".to_owned(), image: image.parse().unwrap() };
        let runner = runner(self.dir.path());
        find(
            &client(&runner, policy),
            &runner,
            self.dir.path().join("base"),
            &from,
            Platform::Amd64,
            last_known,
        )
    }

    fn requests(&self) -> Vec<String> {
        let words = |line: String| line.replace("/v2/acme/base/", "").replace("sha256:", "");
        self.server.lines().into_iter().map(words).map(|line| line.chars().take(24).collect()).collect()
    }
}

/// The tar of a layer, and the tar compressed.
fn layer() -> (Vec<u8>, Vec<u8>) {
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "etc/motd", &b"hello"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    (tar, gzip.finish().unwrap())
}

#[test]
fn an_image_of_docker_becomes_one_of_oci_without_a_change_of_its_layers() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    let found = rig.find(":12").unwrap();
    let (tar, layer) = layer();
    let base = &found.image;
    assert_eq!(base.layers.layers, [Descriptor::of(LAYER, &layer)]);
    assert_eq!(base.layers.diff_ids, [Digest::of(&tar)]);
    assert_eq!((base.layers.history.len(), base.layers.variant.as_deref()), (2, Some("v1")));
    assert_eq!((&base.digest, found.settings.env.as_slice()), (&digest, &["A=1".to_owned()][..]));
    assert_eq!(found.files.get("etc/motd"), Some(&Node::File));
    assert_eq!(fs_err::read(&base.files()[0].1).unwrap(), layer);
    let host = rig.server.host();
    assert_eq!(
        base.to_string(),
        format!(
            "{host}/acme/base@{digest}, which is {host}/acme/base:12 for linux/amd64: 1 layer, {}",
            size(layer.len() as u64)
        )
    );
    assert_eq!(base.labels()[0], (BASE_NAME, format!("{host}/acme/base:12")));
    assert_eq!(base.labels()[1], (BASE_DIGEST, digest.to_string()));
}

#[test]
fn a_tag_names_what_it_named_last_where_no_registry_may_be_contacted() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    let nowhere = || NetworkPolicy::Only(Vec::new());
    let error = rig.find_under(":12", nowhere(), true).unwrap_err().to_string();
    assert!(error.contains("`cargo xtask doctor` downloads it"), "{error}");
    rig.find(":12").unwrap();
    assert_eq!(rig.find_under(":12", nowhere(), true).unwrap().image.digest, digest);
    rig.find_under(":12", nowhere(), false).unwrap_err();
}

#[test]
fn what_was_read_once_is_not_read_again() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    let first = rig.find(":12").unwrap();
    let lines = rig.requests();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0] == "HEAD manifests/12" && lines[1].starts_with("GET manifests/"), "{lines:?}");
    assert!(lines[2..].iter().all(|line| line.starts_with("GET blobs/")), "{lines:?}");
    assert_eq!(rig.find(":12").unwrap().files, first.files);
    assert_eq!(rig.requests()[4..], ["HEAD manifests/12"], "only what the tag means now");
    // By digest nobody is asked.
    rig.find(&format!("@{digest}")).unwrap();
    assert_eq!(rig.requests().len(), 5);
    // What was damaged is read again.
    fs_err::write(&first.image.files()[0].1, "x").unwrap();
    rig.find(&format!("@{digest}")).unwrap();
    assert_eq!(rig.requests().len(), 6);
    assert!(rig.requests()[5].starts_with("GET blobs/"), "{:?}", rig.requests());
}

#[test]
fn a_layer_is_checked_where_its_configuration_is_known_already() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    rig.find(&format!("@{digest}")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&rig.responses.lock().unwrap()["manifests/12"]).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, &[0; 1024]).unwrap();
    manifest["layers"] = json!([rig.blob(GZIP, &gzip.finish().unwrap())]);
    let other = rig.manifest(&manifest);
    let error = rig.find(&format!("@{other}")).unwrap_err();
    assert!(format!("{error:#}").contains("unpacks to sha256:"), "{error:#}");
}

#[test]
fn a_configuration_has_a_bound() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |config| config["comment"] = "x".repeat(512 << 10).into());
    let error = format!("{:#}", rig.find(&format!("@{digest}")).unwrap_err());
    assert!(error.contains("but the limit is 524.3 kB"), "{error}");
    // Nested deeper than a stack is.
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let config = format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{}},"history":{deep}}}"#);
    let config = rig.blob("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let digest = rig.manifest(&json!({ "config": config, "layers": [] }));
    let error = format!("{:#}", rig.find(&format!("@{digest}")).unwrap_err());
    assert!(
        error.contains("its configuration is not an image configuration: recursion limit exceeded"),
        "{error}"
    );
}

#[test]
fn an_index_is_followed_to_the_platform() {
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    let listed = |os: &str, architecture: &str, digest: &Digest| json!({ "digest": digest, "platform": { "os": os, "architecture": architecture } });
    let other = Digest::of(b"other");
    let index = |manifests: Value| {
        rig.manifest(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
    };
    // An attestation is listed for a platform that is none.
    let good = index(json!([
        listed("unknown", "unknown", &other),
        listed("windows", "amd64", &other),
        listed("linux", "arm64", &other),
        listed("linux", "amd64", &digest),
        { "digest": other },
    ]));
    assert_eq!(rig.find(&format!("@{good}")).unwrap().image.digest, digest);
    let bad = index(json!([listed("linux", "arm64", &other), listed("windows", "amd64", &other)]));
    let error = rig.find(&format!("@{bad}")).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    let error = format!("{error:#}");
    assert!(
        error.contains("it exists only for linux/arm64, windows/amd64, but the image is for linux/amd64"),
        "{error}"
    );
    let nested = index(json!([listed("linux", "amd64", &good)]));
    assert!(rig.find(&format!("@{nested}")).unwrap_err().to_string().contains("lists an index"));
}

#[test]
fn what_cannot_be_built_on_is_refused() {
    /// What is done to a configuration.
    type Change = fn(&mut Value);
    for (media_type, change, expected) in [
        (
            GZIP,
            (|config| config["architecture"] = "arm64".into()) as Change,
            "it is for linux/arm64, but the image is for linux/amd64: choose another base",
        ),
        (GZIP, |config| config["config"]["OnBuild"] = json!(["RUN x"]), "`--engine docker`"),
        (GZIP, |config| config["rootfs"]["diff_ids"] = json!([]), "has 1 layers, its configuration 0"),
        (GZIP, |config| config["rootfs"]["diff_ids"] = json!([Digest::of(b"x")]), "unpacks to sha256:"),
        (GZIP, |config| config["rootfs"] = json!(3), "its configuration is not an image configuration"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", |_| {}, "compressed with zstd"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", |_| {}, "does not support"),
    ] {
        let rig = Rig::new();
        let digest = rig.image(media_type, change);
        let error = rig.find(&format!("@{digest}")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    // A history that does not fit is left out.
    let rig = Rig::new();
    let digest = rig.image(GZIP, |config| config["history"] = json!([]));
    assert!(rig.find(&format!("@{digest}")).unwrap().image.layers.history.is_empty());
}

#[test]
fn a_registry_is_not_believed() {
    let (_, layer) = layer();
    let place = format!("blobs/{}", Digest::of(&layer));
    let mut longer = layer.clone();
    longer.push(0);
    let mut other = layer.clone();
    other[20] ^= 1;
    for (blob, expected) in [
        (Some(longer), "is longer than the "),
        (Some(other), "sent sha256:"),
        (Some(layer[1..].to_vec()), "bytes; tried 5 times"),
        (None, "but does not have it"),
    ] {
        let rig = Rig::new();
        let digest = rig.image(GZIP, |_| {});
        match blob {
            Some(blob) => rig.set(&place, &blob),
            None => drop(rig.responses.lock().unwrap().remove(&place)),
        }
        let error = rig.find(&format!("@{digest}")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry, "{error:#}");
        assert!(format!("{error:#}").contains(expected), "{error:#}");
        // Nothing half is left, so that the next try is a whole one.
        rig.set(&place, &layer);
        rig.find(&format!("@{digest}")).unwrap();
    }
    let rig = Rig::new();
    let digest = rig.image(GZIP, |_| {});
    rig.set(&format!("manifests/{digest}"), b"{}");
    let error = format!("{:#}", rig.find(&format!("@{digest}")).unwrap_err());
    assert!(error.contains(&format!("instead of {digest}")), "{error}");
}

#[test]
fn a_base_that_cannot_be_had_names_its_line() {
    let rig = Rig::new();
    let host = rig.server.host();
    let runner = runner(rig.dir.path());
    let find = |image: &str, network: NetworkPolicy| {
        let name = BaseName { place: "Dockerfile:7".to_owned(), image: image.parse().unwrap() };
        let error = find(
            &client(&runner, network),
            &runner,
            rig.dir.path().join("base"),
            &name,
            Platform::Amd64,
            false,
        )
        .unwrap_err();
        (Exit::of(&error), format!("{error:#}"))
    };
    let (exit, error) = find(&format!("{host}/acme/base:no"), NetworkPolicy::Anywhere);
    assert_eq!(exit, Exit::Usage);
    assert_eq!(
        error,
        format!("Dockerfile:7: the base image `{host}/acme/base:no`: `{host}/acme/base` has no `no`")
    );
    // A rehearsal contacts no registry but its own.
    let (exit, error) = find("debian:12", NetworkPolicy::Only(Vec::new()));
    assert_eq!(exit, Exit::Usage);
    assert!(
        error.starts_with("Dockerfile:7: the base image `docker.io/library/debian:12`: a rehearsal "),
        "{error}"
    );
    assert!(error.contains("Planning needs the base image: `cargo xtask doctor` downloads it"), "{error}");
    // A run that is to end does not wait.
    runner.interrupt.set();
    assert_eq!(find(&format!("{host}/acme/base:no"), NetworkPolicy::Anywhere).0, Exit::Interrupted);

    let Rig { server, dir, responses } = Rig::new();
    let gone = Rig { server: Scripted::plain().unwrap(), dir, responses };
    let host = server.host();
    drop(server);
    let runner = crate::testing::runner(gone.dir.path());
    let name =
        BaseName { place: "Dockerfile:7".to_owned(), image: format!("{host}/acme/base").parse().unwrap() };
    let error = super::find(
        &client(&runner, NetworkPolicy::Anywhere),
        &runner,
        gone.dir.path().join("base"),
        &name,
        Platform::Amd64,
        false,
    )
    .unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(
        error.contains("no response from ") && error.contains("Planning needs the base image"),
        "{error}"
    );
}
