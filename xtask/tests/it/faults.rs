//! What the machine does to a run: a full disk, and an end that nothing can prepare for.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::gate::{Gate, Hold};
use crate::support::registry::{PASSWORD, Registry, USERNAME};
use crate::support::{Fixture, files, skipped, try_program};

/// A file system of its own in a folder, taken away when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Of this size in bytes; an error says why it cannot be.
    fn new(folder: &Path, size: u32) -> Result<Self, String> {
        fs_err::create_dir_all(folder).unwrap();
        let options = format!("size={size}");
        try_program("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", folder.to_str().unwrap()], folder)?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(try_program("umount", &[self.0.to_str().unwrap()], Path::new("/")));
    }
}

#[test]
fn a_full_disk_leaves_the_image_that_was_there() {
    let fixture = Fixture::new();
    let folder = fixture.path("target/xtask/image");
    let _disk = match Mounted::new(&folder, 8 << 20) {
        Ok(disk) => disk,
        Err(why) => return skipped("a_full_disk_leaves_the_image_that_was_there", &why),
    };
    fixture.run(&["docker-build"]).exits(0);
    let before = files(&folder);
    // The rest of the disk, but for what the smallest blobs and the index take.
    let fill = folder.join("fill");
    let mut size = 8 << 20;
    while fs_err::write(&fill, vec![1; size]).is_err() {
        size -= 4096;
    }
    fs_err::write(&fill, vec![1; size - (64 << 10)]).unwrap();
    fixture.append("motd", "Another line.\n");
    fixture.commit();
    let ran = fixture.run(&["docker-build"]).exits(70);
    ran.says(&["No space left on device", "the image in target/xtask/image was not replaced", ".part`"]);
    fs_err::remove_file(&fill).unwrap();
    let after = files(&folder);
    assert!(before.iter().all(|file| after.contains(file)), "the image that was there changed");
    // Whole blobs of the new one may be there, and nothing else.
    let part = after.iter().find(|(path, _)| path.extension().is_some_and(|extension| extension == "part"));
    assert!(part.is_none(), "{:?}", part.map(|(path, _)| path));
    // With space again the same command does it.
    fixture.run(&["docker-build"]).exits(0);
    let index =
        |files: &[(PathBuf, Vec<u8>)]| files.iter().find(|file| file.0.ends_with("index.json")).cloned();
    assert_ne!(index(&files(&folder)), index(&before));
}

#[test]
fn a_push_that_is_killed_is_finished_by_the_next_one() {
    let Some(registry) = Registry::start("a_push_that_is_killed_is_finished_by_the_next_one") else { return };
    let gate = Gate::to(registry.host());
    let fixture = Fixture::new();
    let image = format!("{}/acme/app", gate.host);
    let variables =
        [("PIPELINE_IMAGE", image.as_str()), ("DOCKERHUB_USERNAME", USERNAME), ("DOCKERHUB_TOKEN", PASSWORD)];
    let run = |step: &str| fixture.xtask(&[step]).envs(&variables);
    let build = || {
        run("docker-build").finish().exits(0);
        fixture.record()["image"]["digest"].as_str().unwrap().to_owned()
    };
    let mut old = build();
    run("push").finish().exits(0);
    let cases = [
        (Hold::Request("POST /v2/acme/app/blobs/uploads/"), false, false),
        (Hold::Request("PUT /v2/acme/app/blobs/uploads/"), false, false),
        (Hold::Answer("PUT /v2/acme/app/blobs/uploads/"), false, false),
        (Hold::Request("PUT /v2/acme/app/manifests/"), false, false),
        (Hold::Request("PUT /v2/acme/app/manifests/latest"), true, false),
        (Hold::Answer("PUT /v2/acme/app/manifests/latest"), true, true),
    ];
    for (number, (hold, tagged, moved)) in cases.into_iter().enumerate() {
        fixture.append("motd", &format!("Line {number}.\n"));
        fixture.commit();
        let new = build();
        assert_ne!(new, old);
        gate.set(hold);
        let mut push = run("push").start();
        push.wait_while(|| !gate.holds());
        push.kill();
        fixture.is_left_alone();
        gate.set(Hold::Nothing);
        let digest = |tag: &str| registry.digest(tag);
        assert_eq!(digest(&fixture.head()), tagged.then(|| new.clone()), "{hold:?}");
        assert_eq!(digest("latest").as_ref(), Some(if moved { &new } else { &old }), "{hold:?}");

        run("push").finish().exits(0);
        assert_eq!((digest(&fixture.head()).as_ref(), digest("latest").as_ref()), (Some(&new), Some(&new)));
        assert_eq!(fixture.json("target/xtask/push.json")["latest"], json!(true));
        old = new;
    }
}
