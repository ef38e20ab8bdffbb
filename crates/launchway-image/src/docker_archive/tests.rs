use std::io::Cursor;

use flate2::{Compression, GzBuilder};

use super::*;
use crate::base_image::BaseLayers;
use crate::layout::Parts;
use crate::manifest::{image_config, image_manifest};
use launchway_registry::oci::Settings;

/// The layout of an image with these layers.
fn layout(folder: &Path, layers: &[Layer]) -> Layout {
    let settings =
        Settings { labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]), ..Settings::default() };
    let config =
        image_config(&BaseLayers::default(), Platform::Amd64, &settings, "2026-01-01T00:00:00Z", layers)
            .unwrap();
    let parts = Parts {
        engine: crate::Engine::Docker,
        platform: Platform::Amd64,
        manifest: image_manifest(&BaseLayers::default(), &config, layers, settings.labels).unwrap(),
        config,
        layers: layers.iter().map(|layer| layer.bytes.as_slice()).collect(),
    };
    parts.write(None, folder, &["c0ffee".to_owned(), "latest".to_owned()]).unwrap();
    Layout::open(folder).unwrap()
}

fn layer(text: &str) -> Layer {
    compress(
        Cursor::new(tar_of(&[("file", text.as_bytes())])),
        &mut LayerReader::new(&Interrupt::default(), Bounds::IMAGE),
    )
    .unwrap()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in files {
        tar.append(&header(name, EntryType::Regular, bytes.len() as u64).unwrap(), *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut archive = Archive::new(fs_err::File::open(path).unwrap());
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            entry.path().unwrap().display().to_string()
        })
        .collect()
}

#[test]
fn the_archive_is_a_layout_and_a_docker_archive_and_always_the_same() {
    let dir = tempfile::tempdir().unwrap();
    // Two layers may be one blob, which is written once.
    let layers = [layer("one"), layer("two"), layer("one")];
    let layout = layout(&dir.path().join("image"), &layers);
    let (one, two) = (dir.path().join("a/one.tar"), dir.path().join("two.tar"));
    write(&layout, "docker.io/a/b", &one).unwrap();
    write(&layout, "docker.io/a/b", &two).unwrap();
    assert_eq!(fs_err::read(&one).unwrap(), fs_err::read(&two).unwrap());
    let found = names(&one);
    assert!(found.is_sorted(), "{found:?}");
    assert_eq!(found.len(), 2 + 4 + 3, "{found:?}");

    let text = |name: &str| {
        String::from_utf8(Contents::of(&one).unwrap().json(name).unwrap())
            .unwrap()
            .replace(layout.manifest.digest.hex(), "<manifest>")
            .replace(layout.config.digest.hex(), "<config>")
            .replace(layout.layers[0].digest.hex(), "<one>")
            .replace(layout.layers[1].digest.hex(), "<two>")
    };
    insta::assert_snapshot!(text("oci-layout"), @r#"{"imageLayoutVersion":"1.0.0"}"#);
    insta::assert_snapshot!(text("manifest.json"), @r#"[{"Config":"blobs/sha256/<config>","RepoTags":["docker.io/a/b:c0ffee","docker.io/a/b:latest"],"Layers":["blobs/sha256/<one>","blobs/sha256/<two>","blobs/sha256/<one>"]}]"#);
    insta::assert_snapshot!(text("index.json"), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<manifest>","size":706,"annotations":{"io.containerd.image.name":"docker.io/a/b:c0ffee","org.opencontainers.image.ref.name":"c0ffee"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:<manifest>","size":706,"annotations":{"io.containerd.image.name":"docker.io/a/b:latest","org.opencontainers.image.ref.name":"latest"}}],"annotations":{"launchway.engine":"docker"}}"#);

    let image = read(&one, Platform::Amd64, &Interrupt::default()).unwrap();
    assert_eq!(Digest::of(&image.config), layout.config.digest);
    assert_eq!(image.layers, layers);
    assert_eq!(image.labels["a"], "b");
}

#[test]
fn an_archive_is_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(&dir.path().join("image"), &[layer("one")]);
    fs_err::remove_file(layout.blob(&layout.layers[0].digest)).unwrap();
    write(&layout, "a/b", &dir.path().join("out.tar")).unwrap_err();
    // A folder stands in the way.
    write(&layout, "a/b", &dir.path().join("image")).unwrap_err();
    let names: Vec<_> =
        fs_err::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["image"]);
}

/// An archive as an engine before 25 saves it: layers under names of its own, one of them a link to another.
fn saved(folder: &Path, change: impl FnOnce(&mut String, &mut Vec<u8>)) -> PathBuf {
    let mut tar = tar_of(&[("file", b"one")]);
    let diff_id = Digest::of(&tar);
    let mut config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":null}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    change(&mut config, &mut tar);
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let mut archive = Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        archive.append(&header(name, EntryType::Regular, bytes.len() as u64).unwrap(), bytes).unwrap();
    };
    add("a/layer.tar", &tar);
    add("c.json", config.as_bytes());
    add("manifest.json", manifest);
    let mut link = header("b/layer.tar", EntryType::Symlink, 0).unwrap();
    archive.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
    let path = folder.join("saved.tar");
    fs_err::write(&path, archive.into_inner().unwrap()).unwrap();
    path
}

#[test]
fn what_older_and_newer_engines_save_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let older = read(&saved(dir.path(), |_, _| {}), Platform::Amd64, &Interrupt::default()).unwrap();
    assert_eq!(older.layers, [layer("one"), layer("one")]);
    assert!(older.labels.is_empty());
    // Compressed with other settings than ours.
    let gzip = |_: &mut String, tar: &mut Vec<u8>| {
        let mut gzip = GzBuilder::new().mtime(1).write(Vec::new(), Compression::new(1));
        gzip.write_all(tar).unwrap();
        *tar = gzip.finish().unwrap();
    };
    let newer = read(&saved(dir.path(), gzip), Platform::Amd64, &Interrupt::default()).unwrap();
    assert_eq!(newer.layers, older.layers);
}

#[test]
fn what_is_no_image_for_us_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        |path: &Path| format!("{:#}", read(path, Platform::Amd64, &Interrupt::default()).unwrap_err());
    let changed = |change: fn(&mut String, &mut Vec<u8>)| error(&saved(dir.path(), change));
    let other = changed(|_, tar| *tar = tar_of(&[("file", b"two")]));
    assert!(
        other.contains("its layer `a/layer.tar` does not have the contents that its configuration states"),
        "{other}"
    );
    let other = changed(|config, _| *config = config.replace("amd64", "arm64"));
    assert!(other.contains("it is for linux/arm64, but `target`"), "{other}");
    let other = changed(|config, _| *config = config.replace(r#""diff_ids""#, r#""others""#));
    assert!(other.contains("it contains 2 layers, but its configuration names 0"), "{other}");
    let path = dir.path().join("x.tar");
    for (manifest, expected) in [
        ("[]", "it contains 0 images instead of one"),
        ("{}", "its `manifest.json` is not a docker-archive's"),
        (r#"[{"Config":"c.json","RepoTags":null,"Layers":[]}]"#, "it has no `c.json`"),
    ] {
        fs_err::write(&path, tar_of(&[("manifest.json", manifest.as_bytes())])).unwrap();
        assert!(error(&path).contains(expected), "{}", error(&path));
    }
}
