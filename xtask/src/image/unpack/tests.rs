use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use flate2::{Compression, GzBuilder};
use tar::Header;

use super::*;

/// Path, kind, and contents or target.
type Entries<'a> = &'a [(&'a str, EntryType, &'a str)];

/// A layer with these entries as they are, good or not: the path goes straight into the header.
fn layer(entries: Entries<'_>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, contents) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        let mut data = contents.as_bytes();
        if *kind != EntryType::Regular {
            header.set_link_name_literal(contents).unwrap();
            data = b"";
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data).unwrap();
    }
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(1));
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}

const FOLDER: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;

#[test]
fn the_layers_lie_on_top_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let lower = layer(&[
        ("./", FOLDER, ""),
        ("a/", FOLDER, ""),
        ("a/f", FILE, "old"),
        ("l", LINK, "/a/f"),
        ("m", LINK, "a/../l"),
    ]);
    let upper = layer(&[("a/", FOLDER, ""), ("./a/f", FILE, "new"), ("l", LINK, "../../a/f")]);
    unpack(dir.path(), [&*lower, &*upper], Bounds::default()).unwrap();
    let file = dir.path().join("a/f");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    for path in ["/a/f", "a/f", "/l", "/m", "/../l", "/./m"] {
        assert_eq!(find(dir.path(), path).unwrap(), file, "{path}");
    }
}

#[test]
fn nothing_leaves_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let cases: [(Entries<'_>, &str); 10] = [
        (&[("../f", FILE, "x")], "cannot unpack `../f`: it leaves the image"),
        (&[("/f", FILE, "x")], "cannot unpack `/f`: it leaves the image"),
        (&[("a/../../f", FILE, "x")], "a part of its path is not a folder"),
        (&[("up", LINK, &target), ("up/f", FILE, "x")], "a part of its path is not a folder"),
        (&[("up", LINK, &target), ("up/", FOLDER, "")], "a layer below has a file there"),
        (&[("none/f", FILE, "x")], "a part of its path is not a folder"),
        (&[("a", FOLDER, ""), ("a", FILE, "x")], "a layer below has a folder there"),
        (&[("f", FILE, "x"), ("g", EntryType::Link, "f")], "neither a file nor a folder"),
        (&[("d", EntryType::Block, "")], "neither a file nor a folder"),
        (&[(".wh.f", FILE, "")], "hides a file of a layer below"),
    ];
    for (entries, expected) in cases {
        let dir = tempfile::tempdir_in(outside.path()).unwrap();
        let error = unpack(dir.path(), [&*layer(entries)], Bounds::default()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{entries:?}: {error}");
        assert!(!outside.path().join("f").exists(), "{entries:?}");
    }
}

#[test]
fn a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let far = outside.path().join("f");
    fs_err::write(&far, "mine").unwrap();
    let entries = layer(&[("f", LINK, far.to_str().unwrap()), ("f", FILE, "theirs")]);
    unpack(dir.path(), [&*entries], Bounds::default()).unwrap();
    assert_eq!(fs_err::read_to_string(far).unwrap(), "mine");
    assert_eq!(fs_err::read_to_string(dir.path().join("f")).unwrap(), "theirs");
}

#[test]
fn the_size_is_bounded() {
    let unpack = |layers: &[&[u8]], bytes, entries| {
        let dir = tempfile::tempdir().unwrap();
        unpack(dir.path(), layers.iter().copied(), Bounds { bytes, entries })
    };
    let one = layer(&[("a", FILE, "12345"), ("b", FILE, "12345")]);
    unpack(&[&one, &one], 20, 4).unwrap();
    let error = unpack(&[&one, &one], 19, 4).unwrap_err();
    assert_eq!(error.to_string(), "the image is larger than 19 bytes");
    unpack(&[&one, &one], 20, 3).unwrap_err();
    unpack(&[b"not gzip"], 20, 3).unwrap_err();
}

#[test]
fn a_path_is_followed_within_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let entries = layer(&[("loop", LINK, "loop"), ("out", LINK, "/etc/passwd"), ("up", LINK, "../../etc")]);
    unpack(dir.path(), [&*entries], Bounds::default()).unwrap();
    let error = |path| find(dir.path(), path).unwrap_err().to_string();
    assert_eq!(error("/loop"), "`/loop` leads through too many links");
    assert_eq!(error("/out"), "`/out` is not in the image");
    assert_eq!(error("/up/passwd"), "`/up/passwd` is not in the image");
}
