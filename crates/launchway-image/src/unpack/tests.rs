use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use tar::{EntryType, Header};

use super::*;
use crate::layer::Owner;
use crate::layer_reader::Bounds;
use launchway_core::interrupt::Interrupt;

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
    tar.into_inner().unwrap()
}

/// Reads what no limit stops.
fn reader() -> LayerReader<'static> {
    LayerReader::new(Box::leak(Box::default()), Bounds::IMAGE)
}

const FOLDER: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

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
    unpack(dir.path(), [&*lower, &*upper], reader()).unwrap();
    let file = dir.path().join("a/f");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    for path in ["/a/f", "a/f", "/l", "/m", "/../l", "/./m"] {
        assert_eq!(find(dir.path(), path).unwrap(), file, "{path}");
    }
}

/// Every path below a folder, sorted.
fn paths(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(here) = left.pop() {
        for entry in fs_err::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(folder).unwrap().display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_upper_layer_hides_what_it_says() {
    let lower = layer(&[
        ("a/f", FILE, "1"),
        ("a/g/h", FILE, "2"),
        ("b/f", FILE, "3"),
        ("c", FILE, "4"),
        ("d/f", FILE, "5"),
    ]);
    let upper = layer(&[
        ("a/.wh.f", FILE, ""),
        ("a/.wh.none", FILE, ""),
        // Its own are not hidden, wherever they stand.
        ("b/new/f", FILE, "6"),
        ("b/.wh..wh..opq", FILE, ""),
        ("b/g", FILE, "7"),
        (".wh.c", FILE, ""),
        // A file for a folder, and the other way round.
        ("d", FILE, "8"),
        ("a/g/h", FOLDER, ""),
    ]);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), [&*lower, &*upper], reader()).unwrap();
    assert_eq!(paths(dir.path()), ["a", "a/g", "a/g/h", "b", "b/g", "b/new", "b/new/f", "d"]);
    assert_eq!(fs_err::read_to_string(dir.path().join("d")).unwrap(), "8");
    assert!(dir.path().join("a/g/h").is_dir());
}

#[test]
fn an_opaque_folder_hides_what_lies_deeper_below_it() {
    let lower = layer(&[("a/b/old", FILE, "1")]);
    let upper = layer(&[("a/b/", FOLDER, ""), ("a/b/new", FILE, "2"), ("a/.wh..wh..opq", FILE, "")]);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), [&*lower, &*upper], reader()).unwrap();
    assert_eq!(paths(dir.path()), ["a", "a/b", "a/b/new"]);
}

#[test]
fn links_stay_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let lower = layer(&[("usr/bin/x", FILE, "1"), ("bin", LINK, "/usr/bin")]);
    // As in images whose `/bin` is a link: what goes there goes where it leads.
    let upper = layer(&[("bin/y", FILE, "2"), ("bin/z", HARD, "usr/bin/x")]);
    unpack(dir.path(), [&*lower, &*upper], reader()).unwrap();
    let inode = |path: &str| fs_err::metadata(dir.path().join(path)).unwrap().ino();
    assert_eq!(fs_err::read_to_string(dir.path().join("usr/bin/y")).unwrap(), "2");
    assert_eq!(inode("usr/bin/z"), inode("usr/bin/x"));
}

#[test]
fn nothing_leaves_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    fs_err::write(outside.path().join("mine"), "mine").unwrap();
    let mine = format!("{target}/mine");
    let up = "../".repeat(20) + &mine;
    let cases: [(Entries<'_>, Option<&str>); 12] = [
        (&[("../f", FILE, "x")], Some("its entry `../f`: leaves the image")),
        (&[("a/../../f", FILE, "x")], Some("leaves the image")),
        (&[("a/.wh...", FILE, "")], Some("is a whiteout without a name")),
        (&[("f", HARD, "../mine")], Some("leaves the image")),
        (&[("f", HARD, &mine)], Some("is not in the image")),
        (&[("up", LINK, &target), ("f", HARD, "up/mine")], Some("is not in the image")),
        (&[("f", FILE, ""), ("f/g", FILE, "")], Some("has a part that is not a folder")),
        // These stay inside: the image's root is the folder.
        (&[("/f", FILE, "x")], None),
        (&[("d", EntryType::Block, ""), ("e", HARD, "d"), ("p", EntryType::Fifo, "")], None),
        (&[("up", LINK, &target), ("up/f", FILE, "x")], None),
        (&[("up", LINK, &target), ("up/.wh.mine", FILE, ""), ("up/.wh..wh..opq", FILE, "")], None),
        (&[("up", LINK, &up), ("up", FILE, "x")], None),
    ];
    for (entries, expected) in cases {
        let dir = tempfile::tempdir_in(outside.path()).unwrap();
        let unpacked = unpack(dir.path(), [&*layer(entries)], reader());
        match expected {
            Some(expected) => {
                let error = format!("{:#}", unpacked.unwrap_err());
                assert!(error.contains(expected), "{entries:?}: {error}");
            }
            None => unpacked.unwrap(),
        }
        assert!(!outside.path().join("f").exists(), "{entries:?}");
        assert_eq!(fs_err::read_to_string(outside.path().join("mine")).unwrap(), "mine", "{entries:?}");
    }
}

#[test]
fn a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let far = outside.path().join("f");
    fs_err::write(&far, "mine").unwrap();
    let entries = layer(&[("f", LINK, far.to_str().unwrap()), ("f", FILE, "theirs")]);
    unpack(dir.path(), [&*entries], reader()).unwrap();
    assert_eq!(fs_err::read_to_string(far).unwrap(), "mine");
    assert_eq!(fs_err::read_to_string(dir.path().join("f")).unwrap(), "theirs");
}

#[test]
fn the_size_is_bounded() {
    let unpack = |layers: &[&[u8]], bytes, entries| {
        let dir = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        unpack(dir.path(), layers.iter().copied(), LayerReader::new(&interrupt, Bounds { bytes, entries }))
    };
    let one = layer(&[("a", FILE, "12345"), ("b", FILE, "12345")]);
    let bytes = 2 * one.len() as u64;
    unpack(&[&one, &one], bytes, 4).unwrap();
    let error = unpack(&[&one, &one], bytes - 1, 4).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("the image is larger than {} bytes", bytes - 1));
    let error = unpack(&[&one, &one], bytes, 3).unwrap_err();
    assert_eq!(format!("{error:#}"), "the image has more than 3 entries");
    unpack(&[&[b'x'; 512]], bytes, 3).unwrap_err();
}

#[test]
fn a_name_need_not_be_utf_8() {
    let mut tar = layer(&[("a", FILE, "1"), ("b", LINK, "x")]);
    let set = |tar: &mut Vec<u8>, start: usize, place: usize| {
        tar[start + place] = 0xff;
        let mut header = Header::from_byte_slice(&tar[start..start + 512]).clone();
        header.set_cksum();
        tar[start..start + 512].copy_from_slice(header.as_bytes());
    };
    // The name of the first, the target of the second.
    set(&mut tar, 0, 0);
    set(&mut tar, 1024, 157);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), [&*tar], reader()).unwrap();
    assert_eq!(fs_err::read(dir.path().join(OsStr::from_bytes(b"\xff"))).unwrap(), b"1");
    assert_eq!(find(dir.path(), "b").unwrap(), dir.path().join(OsStr::from_bytes(b"\xff")));
}

#[test]
fn a_path_is_followed_within_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let entries = layer(&[("loop", LINK, "loop"), ("out", LINK, "/etc/passwd"), ("up", LINK, "../../etc")]);
    unpack(dir.path(), [&*entries], reader()).unwrap();
    let error = |path| find(dir.path(), path).unwrap_err().to_string();
    assert_eq!(error("/loop"), "`/loop` leads through too many links");
    assert_eq!(error("/out"), "`/out` is not in the image");
    assert_eq!(error("/up/passwd"), "`/up/passwd` is not in the image");
}

#[test]
fn a_user_may_do_what_the_image_lets_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut tar = tar::Builder::new(Vec::new());
    for (path, uid, gid, mode) in [
        ("srv/", 0, 0, 0o755),
        ("srv/mine", 7, 0, 0o640),
        ("srv/ours", 0, 9, 0o664),
        ("srv/shared", 0, 11, 0o664),
        ("srv/theirs", 0, 0, 0o600),
        ("tmp/", 0, 0, 0o1777),
        ("made/by/engine", 0, 0, 0o755),
    ] {
        let mut header = tar::Header::new_gnu();
        let kind = if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, path, &b""[..]).unwrap();
    }
    // Another name of a file has the same rights.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_mode(0);
    header.set_size(0);
    tar.append_link(&mut header, "srv/again", "srv/mine").unwrap();
    let tar = tar.into_inner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = Unpacked::new(&dir.path().join("root")).unwrap();
    let interrupt = Interrupt::default();
    let reader = LayerReader::new(&interrupt, Bounds::IMAGE);
    let user = User { owner: Owner { uid: 7, gid: 9 }, groups: vec![11], home: String::new() };
    unpack_for(root.path(), [&*tar], reader, |_| Ok(user), |_| Ok(())).unwrap();
    let mode = |path: &str| {
        format!("{:o}", root.path().join(path).metadata().unwrap().permissions().mode() >> 6 & 0o7)
    };
    let found =
        ["", "srv", "srv/mine", "srv/again", "srv/ours", "srv/shared", "srv/theirs", "tmp", "made/by"]
            .map(mode);
    assert_eq!(found, ["5", "5", "6", "6", "6", "6", "0", "7", "5"]);
    drop(root);
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
}
