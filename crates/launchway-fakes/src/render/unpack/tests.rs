use ring::digest::digest;
use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;

enum Content {
    File(&'static str),
    Folder,
    Symlink(&'static str),
    Hardlink(&'static str),
    Device,
}
use Content::{Device, File as Plain, Folder, Hardlink, Symlink};

struct Rig {
    folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs_err::create_dir(folder.path().join("root")).unwrap();
        fs_err::write(folder.path().join("outside"), "untouched").unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn unpack(&self, entries: &[(&str, Content)]) -> Result<(), String> {
        let tar = archive(entries);
        let diff_id = format!("sha256:{}", hex(digest(&SHA256, &tar).as_ref()));
        let layer = self.folder.path().join("layer");
        fs_err::write(&layer, tar).unwrap();
        let result = unpack(&layer, false, &diff_id, &self.root(), &mut Rights::default())
            .map_err(|error| format!("{error:#}"));
        assert_eq!(fs_err::read_to_string(self.folder.path().join("outside")).unwrap(), "untouched");
        result
    }

    fn read(&self, path: &str) -> Option<String> {
        fs_err::read_to_string(self.root().join(path)).ok()
    }
}

fn archive(entries: &[(&str, Content)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = Header::new_gnu();
        // Not `set_path`, which refuses what a hostile archive would have.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o755);
        let (kind, link, data) = match content {
            Plain(data) => (EntryType::Regular, "", *data),
            Folder => (EntryType::Directory, "", ""),
            Symlink(link) => (EntryType::Symlink, *link, ""),
            Hardlink(link) => (EntryType::Link, *link, ""),
            Device => (EntryType::Char, "", ""),
        };
        header.set_entry_type(kind);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn files_folders_and_links_are_placed() {
    let rig = Rig::new();
    rig.unpack(&[
        ("./", Folder),
        ("a/", Folder),
        ("/a/file", Plain("one")),
        ("deep/er/file", Plain("two")),
        ("a/relative", Symlink("../deep/er/file")),
        ("a/absolute", Symlink("/a/file")),
        ("a/folder", Symlink("/deep/er")),
        ("a/same", Symlink(".")),
        ("hard", Hardlink("a/file")),
    ])
    .unwrap();
    assert_eq!(rig.read("a/relative").as_deref(), Some("two"));
    // An absolute link means the image's root, which without a `chroot` is a folder like any other.
    assert_eq!(rig.read("a/absolute").as_deref(), Some("one"));
    assert_eq!(rig.read("a/folder/file").as_deref(), Some("two"));
    assert_eq!(rig.read("hard").as_deref(), Some("one"));
}

#[test]
fn a_layer_hides_and_replaces_what_is_below() {
    let rig = Rig::new();
    rig.unpack(&[
        ("keep", Plain("1")),
        ("gone", Plain("1")),
        ("opaque/old", Plain("1")),
        ("link", Symlink("keep")),
    ])
    .unwrap();
    rig.unpack(&[
        (".wh.gone", Plain("")),
        // Its own are not hidden, wherever they stand.
        ("opaque/new", Plain("2")),
        ("opaque/.wh..wh..opq", Plain("")),
        ("link", Plain("3")),
    ])
    .unwrap();
    let found = ["keep", "gone", "opaque/old", "opaque/new", "link"].map(|path| rig.read(path));
    assert_eq!(found, [Some("1".to_owned()), None, None, Some("2".to_owned()), Some("3".to_owned())]);
}

#[test]
fn nothing_leaves_the_folder() {
    let hostile: [&[(&str, Content)]; 6] = [
        &[("../outside", Plain("x"))],
        &[("a/../../outside", Plain("x"))],
        &[("hard", Hardlink("../outside"))],
        &[(".wh...", Plain(""))],
        &[("file", Plain("")), ("file/below", Plain("x"))],
        &[("dangling", Symlink("nowhere")), ("dangling/below", Plain("x"))],
    ];
    for entries in hostile {
        let rig = Rig::new();
        let path = entries[0].0;
        assert!(rig.unpack(entries).is_err(), "{path}");
    }
}

#[test]
fn the_depth_of_a_link_is_that_of_its_real_place() {
    let rig = Rig::new();
    // By name the second link is three folders deep, in truth it is in the root.
    rig.unpack(&[("x", Symlink(".")), ("x/x/x/link", Symlink("/outside")), ("outside", Plain("inside"))])
        .unwrap();
    assert_eq!(rig.read("link").as_deref(), Some("inside"));
}

#[test]
fn a_layer_must_be_the_one_of_the_config() {
    let rig = Rig::new();
    let layer = rig.folder.path().join("layer");
    fs_err::write(&layer, archive(&[("a", Plain("1"))])).unwrap();
    let error =
        unpack(&layer, false, "sha256:00", &rig.root(), &mut Rights::default()).unwrap_err().to_string();
    assert!(error.contains("but the config says sha256:00"), "{error}");
    assert!(unpack(&layer, true, "sha256:00", &rig.root(), &mut Rights::default()).is_err());
}

#[test]
fn what_only_root_could_make_is_left_out() {
    let rig = Rig::new();
    rig.unpack(&[("null", Device), ("link", Symlink("../../outside")), ("outside", Plain("inside"))])
        .unwrap();
    assert!(rig.root().join("null").symlink_metadata().is_err());
    // Above the root is the root.
    assert_eq!(rig.read("link").as_deref(), Some("inside"));
}

#[test]
fn a_layer_has_bounds() {
    let rig = Rig::new();
    let refused = |tar: &[u8]| {
        let layer = rig.folder.path().join("layer");
        fs_err::write(&layer, tar).unwrap();
        format!("{:#}", unpack(&layer, false, "sha256:00", &rig.root(), &mut Rights::default()).unwrap_err())
    };
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let long = [header.as_bytes().as_slice(), &vec![b'a'; 2 << 20]].concat();
    assert_eq!(refused(&long), "a header in the layer is too long");
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, "a/".repeat(45_000), &b""[..]).unwrap();
    assert!(refused(&tar.into_inner().unwrap()).ends_with("the path is too deep"));
}
