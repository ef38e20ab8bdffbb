//! The image and the push beside what other tools need for the same.
//!
//! Taken on two cores that were busy with other work, once: a push of the service has 3.24 MB on the wire where skopeo has
//! 3.16 MB, and 2.9 kB where it is already there (skopeo 4.1 kB); it takes 5 times as long as `skopeo copy`, repeated 13
//! times, and looks for secrets and attaches documents in that time. A push of a layer of 1 GiB has 19 MiB of memory at
//! most. The image is 3.1 MB for a stripped program of 6.8 MB.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Run, add_a_line, cargo_free, compare, json, release_build};

/// The built-in engine after a change of one line beside a `docker build` that only copies the same binary.
pub(crate) fn docker(clone: &Path, folder: &Path) {
    let context = folder.join("context");
    fs_err::create_dir_all(&context).expect("the folder is ours");
    let recipe = "FROM scratch\nCOPY app /app/app\nENTRYPOINT [\"/app/app\"]\n";
    fs_err::write(context.join("Dockerfile"), recipe).expect("the folder is ours");
    cargo_free("cargo").line("build --package xtask --locked").in_folder(clone).ok();
    for round in 1..=3 {
        add_a_line(clone);
        release_build(clone).ok();
        let cargo = release_build(clone).timed().0;
        let ours = xtask(clone, "docker-build").timed().0.saturating_sub(cargo);
        fs_err::copy(binary(clone), context.join("app")).expect("it was built");
        let build = cargo_free("docker").args(["build", "--quiet", "--tag", "launchway-bench", "."]);
        let theirs = build.env("DOCKER_BUILDKIT", Path::new("0")).in_folder(&context).timed().0;
        compare(
            &format!("docker-build beyond cargo, change {round}"),
            ours,
            "docker build of a COPY",
            theirs,
        );
        // Each round: the next one's would leave it without a name.
        cargo_free("docker").args(["image", "rm", "--force", "launchway-bench"]).ok();
    }
    let (image, program) = (json(clone, "run.json"), size(&binary(clone)));
    println!("image {} bytes, its program {program} bytes stripped", image["image"]["bytes"]);
}

/// A push beside skopeo's copy of the same layout to the same registry, both through an address that counts.
pub(crate) fn registry(clone: &Path, folder: &Path) {
    cargo_free("cargo").line("build --package xtask --locked").in_folder(clone).ok();
    let registry = Registry::start(&folder.join("registry"));
    let (address, bytes) = counted(&registry.host);
    let layout = format!("oci:{}:latest", clone.join("target/xtask/image").display());
    // `latest` is what skopeo asks the layout for, and a dirty tree has none.
    cargo_free("git").args(["checkout", "--quiet", "."]).in_folder(clone).ok();
    xtask(clone, "docker-build").ok();
    for state in ["first", "again"] {
        let counted = |run: Run| {
            let before = bytes.load(Ordering::Relaxed);
            let time = run.timed().0;
            (time, bytes.load(Ordering::Relaxed) - before)
        };
        let ours = counted(push(clone, &format!("{address}/ours/app")));
        let to = format!("docker://{address}/theirs/app:latest");
        let copy = ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", &layout, &to];
        let theirs = counted(cargo_free("skopeo").args(copy));
        compare(&format!("push, {state}"), ours.0, "skopeo copy", theirs.0);
        println!("push, {state}: {} bytes on the wire, both ways; skopeo copy {}", ours.1, theirs.1);
    }
}

/// The most memory that a push of a layer of 1 GiB has.
pub(crate) fn memory(clone: &Path, folder: &Path) {
    cargo_free("cargo").line("build --package xtask --locked").in_folder(clone).ok();
    cargo_free("git").args(["checkout", "--quiet", "."]).in_folder(clone).ok();
    let registry = Registry::start(&folder.join("registry-of-large"));
    large_layout(clone);
    let image = format!("{}/large/app", registry.host);
    let mut run = push(clone, &image).command;
    run.current_dir(clone).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = run.spawn().expect("the pipeline can be started");
    let mut highest = 0;
    let status = loop {
        // The kernel keeps the highest; the last look before the end has it.
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
        highest = highest.max(kib.unwrap_or(0_u64));
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "the push of the large image ended with {status}");
    println!(
        "push of a layer of 1 GiB: {} MiB at most, {:.1} s",
        highest / 1024,
        start.elapsed().as_secs_f64()
    );
    fs_err::remove_dir_all(clone.join("target/xtask/image")).expect("it is ours");
}

/// The pipeline's own program, without cargo in front of it.
fn xtask(clone: &Path, step: &str) -> Run {
    let program = clone.join("target/debug/xtask");
    cargo_free(program.to_str().expect("a path in the temporary folder")).args([step]).in_folder(clone)
}

fn push(clone: &Path, image: &str) -> Run {
    let run = xtask(clone, "push").env("PIPELINE_IMAGE", Path::new(image));
    // The registry asks for neither.
    run.env("DOCKERHUB_USERNAME", Path::new("bench")).env("DOCKERHUB_TOKEN", Path::new("bench"))
}

fn binary(clone: &Path) -> std::path::PathBuf {
    clone.join("target/image/x86_64-unknown-linux-gnu/release/app")
}

fn size(path: &Path) -> u64 {
    fs_err::metadata(path).expect("it was written").len()
}

/// Writes an image with one layer that does not get smaller by compression, as `docker-build` would leave it.
fn large_layout(clone: &Path) {
    let image = clone.join("target/xtask/image");
    drop(fs_err::remove_dir_all(&image));
    let blobs = image.join("blobs/sha256");
    fs_err::create_dir_all(&blobs).expect("the folder is ours");
    let script = "head -c 1073741824 /dev/urandom > large && tar -c large | gzip -1 > layer && rm large";
    cargo_free("sh").args(["-c", script]).in_folder(&blobs).ok();
    let layer = name_by_digest(&blobs, "layer");
    let descriptor = |media: &str, digest: &str| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{media}"),
            "digest": format!("sha256:{digest}"),
            "size": size(&blobs.join(digest)),
        })
    };
    let put = |value: &Value| {
        fs_err::write(blobs.join("json"), value.to_string()).expect("the folder is ours");
        name_by_digest(&blobs, "json")
    };
    let layer_id = format!("sha256:{layer}");
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer_id]}});
    let config = descriptor("config.v1+json", &put(&config));
    let manifest = put(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [descriptor("layer.v1.tar+gzip", &layer)],
    }));
    let head = cargo_free("git").args(["rev-parse", "HEAD"]).in_folder(clone).output().stdout;
    let mut entry = descriptor("manifest.v1+json", &manifest);
    let tag = String::from_utf8_lossy(&head).trim().to_owned();
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    for (name, value) in [("index.json", index), ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }))] {
        fs_err::write(image.join(name), value.to_string()).expect("the folder is ours");
    }
}

/// Gives a file the name that its contents have, and returns that.
fn name_by_digest(folder: &Path, name: &str) -> String {
    let output = cargo_free("sha256sum").args([name]).in_folder(folder).output().stdout;
    let hex = String::from_utf8_lossy(&output).split(' ').next().unwrap_or_default().to_owned();
    fs_err::rename(folder.join(name), folder.join(&hex)).expect("it was written");
    hex
}

/// Debian's `docker-registry` on loopback, which lets everybody in; ended when this is dropped.
struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    #[expect(clippy::disallowed_methods, reason = "a server that runs while the measurement does")]
    fn start(folder: &Path) -> Self {
        fs_err::create_dir_all(folder).expect("the folder is ours");
        // The port is free again when the listener is dropped, at the end of this line.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = free.expect("loopback has a free port").to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}/blobs}}}}\nhttp: {{addr: '{host}'}}\n",
            folder.display()
        );
        fs_err::write(folder.join("config.yaml"), config).expect("the folder is ours");
        let mut command = Command::new("docker-registry");
        command
            .args(["serve", "config.yaml"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let registry = Self { child: command.spawn().expect("docker-registry is installed"), host };
        while TcpStream::connect(&registry.host).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address that leads to a server, and the number of bytes that went over it, both ways.
fn counted(server: &str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (server, bytes) = (server.to_owned(), Arc::new(AtomicU64::new(0)));
    let shared = Arc::clone(&bytes);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).expect("the registry runs");
            let pair = |stream: &TcpStream| stream.try_clone().expect("a handle more");
            for (from, to) in [(pair(&client), pair(&server)), (server, client)] {
                let bytes = Arc::clone(&shared);
                std::thread::spawn(move || relay(from, to, &bytes));
            }
        }
    });
    (address, bytes)
}

fn relay(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(piece.get(..read).unwrap_or_default()).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
