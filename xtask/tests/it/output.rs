//! Output that cannot be written: a full disk, and a reader that goes before the end.

use std::fs::File;

use crate::support::Fixture;

/// A device that takes nothing: each write fails as on a full disk.
fn full() -> File {
    fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_file()
}

#[test]
fn output_that_is_cut_is_never_a_success() {
    let fixture = Fixture::new();
    for arguments in [
        &["--help"][..],
        &[],
        &["secrets", "generate"],
        &["sbom"],
        &["doctor", "--explain"],
        &["lint", "--explain"],
        &["history", "--format", "json"],
        &["rehearse", "--drill", "list"],
        // Nobody asks for its words, but they are all that it leaves.
        &["workflow"],
    ] {
        let ran = fixture.xtask(arguments).printing_to(full()).finish().exits(70);
        if arguments != ["--help"] {
            ran.says(&["error: some output could not be written: No space left on device"]);
        }
    }
}

#[test]
fn a_reader_that_has_gone_ends_a_command_without_a_word() {
    let fixture = Fixture::new();
    let closed = || std::io::pipe().unwrap().1;
    for arguments in [&["--help"][..], &["secrets", "generate"], &["sbom"], &["workflow", "--format", "json"]]
    {
        assert_eq!(fixture.xtask(arguments).printing_to(closed()).finish().exits(70).err, "");
    }
    // What a run tells by the way may be left unread: its work is done all the same.
    fs_err::remove_file(fixture.path(".github/workflows/main.yaml")).unwrap();
    assert_eq!(fixture.xtask(&["workflow"]).printing_to(closed()).finish().exits(0).err, "");
    assert!(fixture.exists(".github/workflows/main.yaml"));
}

#[test]
fn a_full_disk_is_an_internal_error_and_leaves_nothing_half_written() {
    let fixture = Fixture::new();
    fixture.run(&["docker-build"]).exits(0);
    let before = fixture.read("target/xtask/image/index.json");
    // As random as a key: a layer of it is no shorter.
    let noise: String =
        (0..100_000).map(|n: u32| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
    fixture.write("motd", &noise);
    fixture.commit();
    let ran = fixture.xtask(&["docker-build"]).with_short_files().finish().exits(70);
    ran.says(&["docker-build: ", "File too large"]);
    assert_eq!(fixture.read("target/xtask/image/index.json"), before);
    assert_eq!(fixture.outcomes(), [("docker-build".to_owned(), "failed".to_owned())]);
}
