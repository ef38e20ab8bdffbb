use super::*;
use crate::base_image::BaseLayers;
use crate::layer::Layer;
use crate::manifest::{image_config, image_manifest};
use launchway_registry::oci::Settings;

fn layer(text: &str) -> Layer {
    Layer { origin: text.to_owned(), diff_id: Digest::of(text.as_bytes()), bytes: text.as_bytes().to_vec() }
}

fn write(folder: &Path, layers: &[&str], tags: &[&str]) -> Descriptor {
    let layers: Vec<Layer> = layers.iter().copied().map(layer).collect();
    let settings =
        Settings { labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]), ..Settings::default() };
    let config =
        image_config(&BaseLayers::default(), Platform::Amd64, &settings, "2026-01-01T00:00:00Z", &layers)
            .unwrap();
    let parts = Parts {
        engine: crate::Engine::Docker,
        platform: Platform::Amd64,
        manifest: image_manifest(&BaseLayers::default(), &config, &layers, settings.labels.clone()).unwrap(),
        config,
        layers: layers.iter().map(|layer| layer.bytes.as_slice()).collect(),
    };
    parts.write(None, folder, &tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn blobs(folder: &Path) -> usize {
    fs_err::read_dir(folder.join("blobs/sha256")).unwrap().count()
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(dir.path(), &["one", "two"], &["c0ffee", "latest"]);
    let layout = Layout::open(dir.path()).unwrap();
    assert_eq!(layout.tags, ["c0ffee", "latest"]);
    assert_eq!(layout.engine, crate::Engine::Docker);
    assert_eq!(layout.manifest, manifest);
    assert_eq!(fs_err::read(layout.blob(&manifest.digest)).unwrap(), layout.manifest_bytes);
    assert_eq!(fs_err::read(layout.blob(&layout.layers[1].digest)).unwrap(), b"two");
    assert_eq!(layout.layers[0].media_type, launchway_registry::oci::LAYER);
    assert_eq!(layout.config.media_type, launchway_registry::oci::CONFIG);
    assert_eq!(layout.blobs().count(), 3);
    assert_eq!(layout.size(), 6 + layout.config.size + manifest.size);
    assert_eq!(fs_err::read_to_string(dir.path().join("oci-layout")).unwrap(), MARKER);
    insta::assert_snapshot!(fs_err::read_to_string(dir.path().join("index.json")).unwrap().replace(layout.manifest.digest.hex(), "<hex>"), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<hex>","size":551,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"c0ffee"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<hex>","size":551,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"latest"}}],"annotations":{"launchway.engine":"docker"}}"#);
    insta::assert_snapshot!(String::from_utf8_lossy(&layout.manifest_bytes), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e5cb9d1679aae0e1ccbf800c5c0187c651c942e46a63735467e1b4393970a1ea","size":408},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed","size":3},{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3","size":3}]}"#);
    insta::assert_snapshot!(fs_err::read_to_string(layout.blob(&layout.config.digest)).unwrap(), @r#"{"created":"2026-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed","sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"]},"history":[{"created":"2026-01-01T00:00:00Z","created_by":"one"},{"created":"2026-01-01T00:00:00Z","created_by":"two"}]}"#);
}

#[test]
fn old_blobs_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let old = write(dir.path(), &["one", "two"], &["old"]);
    fs_err::write(dir.path().join("blobs/sha256/left.part"), "x").unwrap();
    let new = write(dir.path(), &["one", "three"], &["new"]);
    assert_ne!(old, new);
    let layout = Layout::open(dir.path()).unwrap();
    assert_eq!((layout.tags, layout.manifest), (vec!["new".to_owned()], new));
    assert_eq!(blobs(dir.path()), 4);
}

#[test]
fn blobs_of_an_interrupted_build_leave_the_old_image() {
    let dir = tempfile::tempdir().unwrap();
    let old = write(dir.path(), &["one"], &["old"]);
    // All that a build does before its index: it adds blobs.
    fs_err::write(blob(dir.path(), &Digest::of(b"new")), "new").unwrap();
    assert_eq!(Layout::open(dir.path()).unwrap().manifest, old);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = || {
        let error = Layout::open(dir.path()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        let text = format!("{error:#}");
        assert!(text.contains("run `cargo xtask docker-build` first"), "{text}");
        text
    };
    assert!(error().contains(" contains no image: run "));
    let manifest = write(dir.path(), &["one"], &["tag"]);
    fs_err::write(blob(dir.path(), &Digest::of(b"one")), "One").unwrap();
    assert!(error().contains("has different contents: 3 bytes"));
    fs_err::write(blob(dir.path(), &Digest::of(b"one")), "one").unwrap();
    Layout::open(dir.path()).unwrap();
    fs_err::write(blob(dir.path(), &manifest.digest), "{}").unwrap();
    assert!(error().contains("the manifest does not match `index.json`"));
    fs_err::write(dir.path().join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    assert!(error().contains("does not name exactly one image"));
    let traversal =
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:../../x","size":1}]}"#;
    fs_err::write(dir.path().join("index.json"), traversal).unwrap();
    assert!(error().contains("is not a digest"));
}
