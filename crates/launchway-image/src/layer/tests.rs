use std::fmt::Write as _;
use std::io::Read as _;

use super::*;

const FOLDER: Entry = Entry { kind: Kind::Directory, owner: Owner { uid: 0, gid: 0 }, mode: 0o755 };

fn file(path: &Path) -> Entry {
    Entry { kind: Kind::File(path.to_owned()), owner: Owner { uid: 7, gid: 9 }, mode: 0o644 }
}

/// The tar inside, an entry a line.
pub(crate) fn listing(layer: &[u8]) -> String {
    let mut text = String::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        let header = entry.header();
        assert_eq!(
            (header.mtime().unwrap(), header.username().unwrap(), header.groupname().unwrap()),
            (0, Some(""), Some(""))
        );
        writeln!(
            text,
            "{:o} {}:{} {} {}{}",
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.size().unwrap(),
            String::from_utf8_lossy(&entry.path_bytes()),
            entry
                .link_name_bytes()
                .map(|link| format!(" -> {}", String::from_utf8_lossy(&link)))
                .unwrap_or_default()
        )
        .unwrap();
    }
    text
}

#[test]
fn a_layer_holds_what_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs_err::write(&source, "hello").unwrap();
    let split = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    let long = "n".repeat(120);
    let link = Entry { kind: Kind::Link("../x".to_owned()), owner: Owner::default(), mode: 0o777 };
    let far = Entry { kind: Kind::Link("t".repeat(120)), ..link.clone() };
    let hello = file(&source);
    let layer = Layer::pack(
        "COPY".to_owned(),
        [
            ("d", &FOLDER),
            (&*split, &hello),
            ("etc/ä", &hello),
            ("far", &far),
            ("link", &link),
            (&*long, &hello),
        ],
    )
    .unwrap();
    let (split, long, far) = (split.as_str(), long.as_str(), "t".repeat(120));
    assert_eq!(
        listing(&layer.bytes),
        format!(
            "755 0:0 0 d/\n644 7:9 5 {split}\n644 7:9 5 etc/ä\n777 0:0 0 far -> {far}\n777 0:0 0 link -> ../x\n644 7:9 5 {long}\n"
        )
    );
    assert_eq!(layer.descriptor().size, layer.bytes.len() as u64);
}

#[test]
fn the_bytes_are_those_of_every_other_machine() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs_err::write(&source, "hello").unwrap();
    let layer = Layer::pack(String::new(), [("etc", &FOLDER), ("etc/hello", &file(&source))]).unwrap();
    // A change here makes every layer new: intended, or a release of a dependency that writes other bytes.
    insta::assert_snapshot!(layer.diff_id, @"sha256:02978a492a379dbf55e76fa3626538e8bf88a913e28a233c7287de41547302ad");
    insta::assert_snapshot!(layer.descriptor().digest, @"sha256:637e9a603e1d2670cd273d070b9c60b784762d27c1e05cb55d4bb44f322357b5");
}
