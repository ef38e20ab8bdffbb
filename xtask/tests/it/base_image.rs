//! A base image that was put into a registry by hand: the final stage is followed on it, accounts and folders included.

use std::io::Read as _;

use serde_json::json;
use tar::EntryType::{Directory, Regular};

use crate::support::registry::{PASSWORD, Registry, USERNAME};
use crate::support::{Fixture, skipped};

/// What a Debian has of what the final stage needs; nothing of it is ever run.
fn debian() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("bin/", ""),
        ("bin/sh", ""),
        ("usr/sbin/useradd", ""),
        ("etc/debian_version", "12.0\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("etc/group", "root:x:0:\n"),
        ("srv/of-the-base", "kept\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if path.ends_with('/') { Directory } else { Regular });
        header.set_mode(0o755);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

const STAGE: &str = "\
RUN useradd --system app && \\
    mkdir /data && chown app /data
HEALTHCHECK CMD wget -q localhost
";

/// With the image's files alone, the program finds the base's file and may write into one folder only.
const START: &str = "fn main() {
    if std::path::Path::new(\"/srv/of-the-base\").exists() {
        std::fs::write(\"/data/mine\", \"\").expect(\"its own folder\");
        std::fs::write(\"/srv/not-mine\", \"\").expect_err(\"a folder of root\");
        eprintln!(\"alone with the base\");
    }";

#[test]
fn a_base_image_of_a_registry_is_followed() {
    const TEST: &str = "a_base_image_of_a_registry_is_followed";
    let Some(registry) = Registry::start(TEST) else { return };
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["PATH=/usr/bin:/bin", "OF_BASE=1"], "WorkingDir": "/srv" },
    });
    let base = registry.put_image("debian", &config, &debian());
    let fixture = Fixture::new();
    fixture.replace("Dockerfile", "FROM scratch\n", &format!("FROM {base}\n{STAGE}"));
    fixture.replace("Dockerfile", "USER 65532:65532", "USER app");
    fixture.replace("app/src/main.rs", "fn main() {", START);
    fixture.commit();
    let image = registry.image();
    let variables =
        [("PIPELINE_IMAGE", image.as_str()), ("DOCKERHUB_USERNAME", USERNAME), ("DOCKERHUB_TOKEN", PASSWORD)];
    let run = |arguments: &[&str]| fixture.xtask(arguments).envs(&variables).finish();
    run(&["docker-build", "--explain"])
        .exits(0)
        .says(&[&format!("begin with {base}, which is {base} for linux/amd64")]);
    let built = run(&["docker-build"]).exits(0);
    if built.err.contains("with the files and rights of this machine") {
        skipped(TEST, "no user namespaces");
    } else {
        let log = fixture.read("target/xtask/logs/docker-build.log");
        assert!(log.contains("alone with the base"), "{log}");
    }

    // What the image holds, above the base's own layer.
    let index = fixture.json("target/xtask/image/index.json");
    let blob = |digest: &serde_json::Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        fs_err::read(fixture.path(&format!("target/xtask/image/blobs/sha256/{hex}"))).unwrap()
    };
    let manifest: serde_json::Value =
        serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
    let config: serde_json::Value = serde_json::from_slice(&blob(&manifest["config"]["digest"])).unwrap();
    assert_eq!(config["config"]["Healthcheck"]["Test"], json!(["CMD-SHELL", "wget -q localhost"]));
    assert_eq!((&config["config"]["User"], &config["config"]["WorkingDir"]), (&json!("app"), &json!("/srv")));
    fs_err::write(fixture.path("layer.tar.gz"), blob(&manifest["layers"][1]["digest"])).unwrap();
    let tar = crate::support::program("gzip", &["-dk", "layer.tar.gz"], &fixture.root());
    assert_eq!(tar, "");
    let mut archive = tar::Archive::new(fs_err::File::open(fixture.path("layer.tar")).unwrap());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        let path = entry.path().unwrap().display().to_string();
        let uid = entry.header().uid().unwrap();
        entry.read_to_string(&mut text).unwrap();
        found.push((path, uid, text));
    }
    let of = |path: &str| found.iter().find(|(known, ..)| known == path).unwrap();
    assert_eq!(of("data/").1, 999);
    assert_eq!(of("etc/passwd").2, "root:x:0:0:root:/root:/bin/bash\napp:x:999:999::/home/app:/bin/sh\n");
    assert_eq!(of("etc/group").2, "root:x:0:\napp:x:999:\n");
}
