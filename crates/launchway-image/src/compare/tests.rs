use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::*;
use crate::base_image::BaseLayers;
use crate::binary::Platform;
use crate::docker_archive;
use crate::layer::Layer;
use crate::layer_reader::{Bounds, LayerReader};
use crate::layout::Parts;
use crate::manifest::{image_config, image_manifest};
use launchway_registry::oci::Settings;

/// What a layer holds: path, kind, mode, and contents or a link's target.
type Files<'a> = &'a [(&'a str, EntryType, u32, &'a str)];

const FILE: EntryType = EntryType::Regular;

fn layer(files: Files<'_>) -> Layer {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, mode, text) in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_size(0);
            tar.append_link(&mut header, path, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    }
    let interrupt = Interrupt::default();
    let mut reader = LayerReader::new(&interrupt, Bounds::IMAGE);
    docker_archive::compress(tar.into_inner().unwrap().as_slice(), &mut reader).unwrap()
}

/// An image whose configuration is ours, or what `config` makes of it.
fn image(folder: &Path, layers: &[Files<'_>], config: impl FnOnce(&mut Value)) -> Layout {
    let layers: Vec<Layer> = layers.iter().copied().map(layer).collect();
    let settings = Settings {
        env: vec!["A=1".to_owned(), "PATH=/bin".to_owned()],
        labels: BTreeMap::from([("name".to_owned(), "x".to_owned())]),
        user: "1:1".to_owned(),
        ..Settings::default()
    };
    let bytes =
        image_config(&BaseLayers::default(), Platform::Amd64, &settings, "2026-01-01T00:00:00Z", &layers)
            .unwrap();
    let mut value = serde_json::from_slice(&bytes).unwrap();
    config(&mut value);
    let bytes = serde_json::to_vec(&value).unwrap();
    let parts = Parts {
        engine: crate::Engine::Docker,
        platform: Platform::Amd64,
        manifest: image_manifest(&BaseLayers::default(), &bytes, &layers, BTreeMap::new()).unwrap(),
        config: bytes,
        layers: layers.iter().map(|layer| layer.bytes.as_slice()).collect(),
    };
    parts.write(None, folder, &["c0ffee".to_owned()]).unwrap();
    Layout::open(folder).unwrap()
}

/// The places where two images differ, with an `!` before those without a reason.
fn places(differences: &[Difference]) -> Vec<String> {
    let mark = |difference: &Difference| if difference.reason.is_none() { "!" } else { "" };
    differences.iter().map(|difference| format!("{}{}", mark(difference), difference.place)).collect()
}

#[test]
fn what_docker_only_writes_out_is_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let files: Files<'_> = &[("etc/", EntryType::Directory, 0o755, ""), ("etc/a", FILE, 0o644, "a")];
    let ours = image(&dir.path().join("a"), &[files], |_| {});
    // Another order, other layers, and every field that Docker fills.
    let theirs = image(&dir.path().join("b"), &[&files[..1], &files[1..]], |config| {
        config["config"]["Env"] = serde_json::json!(["PATH=/bin", "A=1"]);
        for (key, value) in [
            ("Volumes", Value::Null),
            ("Tty", Value::Bool(false)),
            ("Hostname", Value::from("")),
            ("OnBuild", serde_json::json!([])),
            ("X", serde_json::json!({})),
        ] {
            config["config"][key] = value;
        }
        config["container_config"] = serde_json::json!({"Hostname": "0123"});
    });
    assert_eq!(differences(&Interrupt::default(), &ours, &theirs, "app").unwrap(), []);
}

#[test]
fn every_setting_and_every_file_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let ours = image(
        &dir.path().join("a"),
        &[&[
            ("app", FILE, 0o755, "mine"),
            ("gone", FILE, 0o644, ""),
            ("link", EntryType::Symlink, 0o777, "one"),
            ("mode", FILE, 0o644, "same"),
            ("same", FILE, 0o644, "same"),
            ("text", FILE, 0o644, "one"),
        ]],
        |_| {},
    );
    let theirs = image(
        &dir.path().join("b"),
        &[&[
            ("app", FILE, 0o755, "theirs"),
            ("link", EntryType::Symlink, 0o777, "two"),
            ("mode", FILE, 0o600, "same"),
            ("more", EntryType::Link, 0o644, "same"),
            ("same", FILE, 0o644, "same"),
            ("text", FILE, 0o644, "two"),
        ]],
        |config| {
            config["created"] = Value::from("2027-01-01T00:00:00Z");
            config["config"]["Image"] = Value::from("sha256:1");
            config["config"]["User"] = Value::from("2:2");
            config["config"]["Env"] = serde_json::json!(["PATH=/bin"]);
            config["config"]["Labels"] = serde_json::json!({"name": "y"});
        },
    );
    let found = differences(&Interrupt::default(), &ours, &theirs, "app").unwrap();
    let expected = [
        "config Image",
        "!config User",
        "created",
        "!label name",
        "!variable A",
        "/app",
        "!/gone",
        "!/link",
        "!/mode",
        "!/more",
        "!/text",
    ];
    assert_eq!(places(&found), expected);
    // The binary may have other bytes, but nothing else.
    assert_eq!(places(&differences(&Interrupt::default(), &ours, &theirs, "").unwrap())[5], "!/app");

    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
config Image: - (builtin), "sha256:1" (docker): the classic builder records the previous step here
config User: "1:1" (builtin), "2:2" (docker): not expected
created: "2026-01-01T00:00:00Z" (builtin), "2027-01-01T00:00:00Z" (docker): Docker uses the build time, the builtin engine the commit time
label name: "x" (builtin), "y" (docker): not expected
variable A: 1 (builtin), - (docker): not expected
/app: 4 bytes, sha256:3fd30542fe3f… (builtin), 6 bytes, sha256:4c55a8552a2c… (docker): compiled twice, with different linkers and C libraries
/gone: file 0644 0:0 (builtin), - (docker): not expected
/link: link to one 0777 0:0 (builtin), link to two 0777 0:0 (docker): not expected
/mode: file 0644 0:0 (builtin), file 0600 0:0 (docker): not expected
/more: - (builtin), hard link to same 0644 0:0 (docker): not expected
/text: 3 bytes, sha256:7692c3ad3540… (builtin), 3 bytes, sha256:3fc4ccfe7458… (docker): not expected
"#);
}

#[test]
fn an_upper_layer_removes_and_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let lower: Files<'_> = &[
        ("a/b/", EntryType::Directory, 0o755, ""),
        ("a/b/c", FILE, 0o644, "c"),
        ("a/bc", FILE, 0o644, "old"),
        ("d/", EntryType::Directory, 0o755, ""),
        ("d/e", FILE, 0o644, "e"),
        ("f", FILE, 0o644, "f"),
    ];
    let upper: Files<'_> = &[
        ("./", EntryType::Directory, 0o755, ""),
        ("a/.wh.b", FILE, 0o644, ""),
        ("a/bc", FILE, 0o755, "new"),
        ("d/.wh..wh..opq", FILE, 0o644, ""),
        (".wh.f", FILE, 0o644, ""),
    ];
    let files = files(&Interrupt::default(), &image(dir.path(), &[lower, upper], |_| {})).unwrap();
    let found: Vec<String> = files.iter().map(|(path, file)| format!("{path}: {file}")).collect();
    assert_eq!(found, ["a/bc: file 0755 0:0", "d: folder 0755 0:0"]);
}
