use tar::EntryType;

use super::*;
use crate::layer_reader::Bounds;
use launchway_core::exit::Exit;
use launchway_core::interrupt::Interrupt;

/// Lays a layer over others.
fn add(files: &mut Files, layer: &[u8]) -> Result<Digest> {
    files.add(layer, &mut LayerReader::new(&Interrupt::default(), Bounds::IMAGE))
}

fn tar(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o1777);
        header.set_uid(3);
        header.set_gid(4);
        header.set_path(path).unwrap();
        let is_link = *kind == EntryType::Symlink;
        if is_link {
            header.set_link_name(text).unwrap();
        }
        let text = if is_link { "" } else { text };
        header.set_size(text.len() as u64);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Every path, sorted.
fn paths(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![(ROOT, String::new())];
    while let Some((folder, above)) = left.pop() {
        for ((_, name), place) in files.places.iter().filter(|((number, _), _)| *number == folder) {
            let path = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
            left.extend(place.node.number().map(|number| (number, path.clone())));
            found.push(path);
        }
    }
    assert_eq!(found.len(), files.places.len(), "nothing is left of a folder that has gone");
    let held = files.places.iter().map(|(key, place)| Files::size(key, &place.node)).sum::<usize>();
    assert_eq!(files.held, held);
    found.sort();
    found
}

#[test]
fn layers_hide_what_is_below_them() {
    use EntryType::{Directory, Regular, Symlink};

    let mut files = Files::default();
    let first = tar(&[
        ("./", Directory, ""),
        ("./etc/", Directory, ""),
        ("./etc/passwd", Regular, "me:x:7:9::/:\n"),
        ("bin", Symlink, "usr/bin"),
        ("usr/bin/", Directory, ""),
        ("usr/bin/tool", Regular, "x"),
        ("var/", Directory, ""),
        ("var/a", Regular, ""),
        ("var/b/c", Regular, ""),
    ]);
    assert_eq!(add(&mut files, &first).unwrap(), Digest::of(&first));
    assert_eq!(files.get("bin"), Some(&Node::Link("usr/bin".into())));
    assert_eq!(files.get("etc").unwrap().folder(), Some((Owner { uid: 3, gid: 4 }, 0o1777)));
    assert_eq!(files.accounts("etc/passwd"), Some("me:x:7:9::/:\n"));

    let second = tar(&[
        ("etc/.wh.passwd", Regular, ""),
        ("usr/bin", Regular, "a file now"),
        ("var/new", Regular, ""),
        ("var/.wh..wh..opq", Regular, ""),
    ]);
    // Compressed, and with what some tools leave behind the end.
    let mut padded = second.clone();
    padded.resize(second.len() + 10_240, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &padded).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(add(&mut files, &gzip).unwrap(), Digest::of(&padded));
    assert_eq!(paths(&files), ["bin", "etc", "usr", "usr/bin", "var", "var/new"]);
    assert_eq!((files.get("usr/bin"), files.accounts("etc/passwd")), (Some(&Node::File), None));
}

#[test]
fn folders_that_are_not_listed_are_there() {
    let mut files = Files::default();
    add(&mut files, &tar(&[("a/b/c", EntryType::Regular, "")])).unwrap();
    assert_eq!(paths(&files), ["a", "a/b", "a/b/c"]);
}

#[test]
fn what_is_no_layer_is_an_error() {
    let mut files = Files::default();
    add(&mut files, b"\x28\xb5\x2f\xfd and so on").unwrap_err();
    add(&mut files, b"\x1f\x8b and so on").unwrap_err();
    let interrupt = Interrupt::default();
    interrupt.set();
    let mut reader = LayerReader::new(&interrupt, Bounds::IMAGE);
    let error = files.add(&*tar(&[("a", EntryType::Regular, "")]), &mut reader).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
}

#[test]
fn an_opaque_folder_keeps_what_its_own_layer_has() {
    use EntryType::{Directory, Regular};

    let mut files = Files::default();
    add(&mut files, &tar(&[("a/b/old", Regular, ""), ("a/c/old", Regular, ""), ("d", Regular, "")])).unwrap();
    let upper = [
        ("a/b/", Directory, ""),
        ("a/b/new", Regular, ""),
        ("a/.wh..wh..opq", Regular, ""),
        (".wh.d", Regular, ""),
    ];
    add(&mut files, &tar(&upper)).unwrap();
    assert_eq!(paths(&files), ["a", "a/b", "a/b/new"]);
    // All that is below the root, and the notes of an old engine.
    add(
        &mut files,
        &tar(&[("e", Regular, ""), (".wh..wh..opq", Regular, ""), (".wh..wh.aufs", Regular, "")]),
    )
    .unwrap();
    assert_eq!(paths(&files), ["e"]);
}

#[test]
fn what_goes_to_a_link_goes_where_it_leads() {
    use EntryType::{Regular, Symlink};

    let mut files = Files::default();
    let lower = [
        ("usr/bin/x", Regular, ""),
        ("bin", Symlink, "/usr/bin"),
        ("up", Symlink, "../../usr/./bin"),
        ("loop", Symlink, "loop"),
        ("f", Regular, ""),
    ];
    add(&mut files, &tar(&lower)).unwrap();
    add(&mut files, &tar(&[("bin/y", Regular, ""), ("up/z", Regular, ""), ("bin/.wh.x", Regular, "")]))
        .unwrap();
    assert_eq!(paths(&files), ["bin", "f", "loop", "up", "usr", "usr/bin", "usr/bin/y", "usr/bin/z"]);
    let mut error = |path| format!("{:#}", add(&mut files, &tar(&[(path, Regular, "")])).unwrap_err());
    assert_eq!(error("loop/x"), "its entry `loop/x`: leads through too many links");
    assert_eq!(error("f/x"), "its entry `f/x`: has a part that is not a folder");
}
