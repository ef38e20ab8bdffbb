use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::base_image::files::Files;

mod memory;

/// A header, and its contents filled up to whole blocks.
fn entry(path: &[u8], kind: u8, link: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut bytes = header(path, kind, link, contents.len() as u64);
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn header(path: &[u8], kind: u8, link: &[u8], size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.as_old_mut().linkflag[0] = kind;
    header.set_mode(0o644);
    header.set_uid(7);
    header.set_gid(8);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Records of pax, each with its length.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut contents = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..9).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
        contents.extend(format!("{length} {key}=").as_bytes());
        contents.extend(*value);
        contents.push(b'\n');
    }
    entry(b"pax", b'x', b"", &contents)
}

fn file(path: &str) -> Vec<u8> {
    entry(path.as_bytes(), b'0', b"", b"x")
}

fn read(tar: &[u8]) -> Result<Vec<String>> {
    let interrupt = Interrupt::default();
    let mut found = Vec::new();
    LayerReader::new(&interrupt, Bounds::IMAGE).read(tar, |mut entry| {
        let mut text = String::new();
        entry.contents.read_to_string(&mut text)?;
        let kind = match &entry.kind {
            Kind::Symlink(target) | Kind::HardLink(target) => {
                format!("-> {}", String::from_utf8_lossy(target))
            }
            kind => format!("{kind:?}"),
        };
        found.push(format!("{} {kind} {}:{} {text}", entry.name(), entry.uid, entry.gid).trim().to_owned());
        Ok(())
    })?;
    Ok(found)
}

fn error(tar: &[u8]) -> String {
    format!("{:#}", read(tar).unwrap_err())
}

#[test]
fn entries_are_what_engines_take_them_for() {
    let tar = [
        entry(b"./", b'5', b"", b""),
        entry(b"/a//b/./c", b'0', b"", b"1"),
        entry(b"old/", 0, b"", b""),
        entry(b"old-file", 0, b"", b"2"),
        entry(b"l", b'2', b"../x", b""),
        entry(b"h", b'1', b"/a/b/c", b""),
        entry(b"null", b'3', b"", b""),
        entry(b"disk", b'4', b"", b""),
        entry(b"pipe", b'6', b"", b""),
        entry(b"a/.wh.b", b'0', b"", b""),
        entry(b"a/.wh..wh..opq", b'0', b"", b""),
        entry(b".wh..wh..opq", b'0', b"", b""),
        entry(b".wh..wh.plnk", b'5', b"", b""),
        entry(b"twice", b'0', b"", b"1"),
        entry(b"twice", b'0', b"", b"2"),
    ];
    insta::assert_snapshot!(read(&tar.concat()).unwrap().join("\n"), @"
    Folder 7:8
    a/b/c File 7:8 1
    old Folder 7:8
    old-file File 7:8 2
    l -> ../x 7:8
    h -> a/b/c 7:8
    null Device 7:8
    disk Device 7:8
    pipe Device 7:8
    a/b Whiteout 7:8
    a Opaque 7:8
    Opaque 7:8
    twice File 7:8 1
    twice File 7:8 2
    ");
}

#[test]
fn long_names_come_before_their_entry() {
    let long = "n/".repeat(100) + "f";
    let with = |before: Vec<u8>| read(&[before, file("short"), file("next")].concat()).unwrap();
    let named = |name: &str| vec![format!("{name} File 7:8 x"), "next File 7:8 x".to_owned()];
    assert_eq!(with(pax(&[("path", long.as_bytes())])), named(&long));
    assert_eq!(with(entry(b"", b'L', b"", &[long.as_bytes(), b"\0"].concat())), named(&long));
    // The last one counts, an empty one is none, and any byte may be in a value.
    assert_eq!(with(pax(&[("path", b"one"), ("path", b"two")])), named("two"));
    assert_eq!(with(pax(&[("path", b"one"), ("path", b"")])), named("short"));
    assert_eq!(with(pax(&[("SCHILY.xattr.user.x", b"\n\n9 path=z\n"), ("path", b"one")])), named("one"));
    assert_eq!(with(pax(&[("path", b"a\nb")])), named("a\nb"));
    assert_eq!(with(pax(&[("uid", b"100000"), ("gid", b"1")]))[0], "short File 100000:1 x");
    // What is said of all entries is said by nobody.
    let mut global = pax(&[("path", b"one"), ("size", b"9")]);
    global[..512].copy_from_slice(&header(
        b"pax",
        b'g',
        b"",
        u64::try_from(b"12 path=one\n9 size=9\n".len()).unwrap() - 1,
    ));
    assert_eq!(with(global), named("short"));
}

#[test]
fn what_two_readers_would_read_differently_is_refused() {
    let one = |entry: Vec<u8>| error(&entry);
    let after = |before: Vec<u8>| error(&[before, file("f")].concat());
    for (error, expected) in [
        (one(file("../f")), "its entry `../f`: leaves the image"),
        (one(file("a/../f")), "its entry `a/../f`: leaves the image"),
        (one(entry(b"h", b'1', b"../f", b"")), "its entry `h`: is a link: leaves the image"),
        (one(entry(b"h", b'1', b"", b"")), "its entry `h`: is a link to nothing"),
        (one(entry(b"l", b'2', b"", b"")), "its entry `l`: is a link to nothing"),
        (one(entry(b"d", b'5', b"", b"x")), "its entry `d`: has contents but is not a file"),
        (one(entry(b".wh.", b'0', b"", b"")), "its entry `.wh.`: is a whiteout without a name"),
        (one(entry(b"a/.wh...", b'0', b"", b"")), "its entry `a/.wh...`: is a whiteout without a name"),
        (one(file("a/.wh.b")), "its entry `a/.wh.b`: has contents, but its name hides a file"),
        (one(entry(b"v", b'V', b"", b"")), "its entry `v`: has the type 'V', which a layer cannot contain"),
        (one(entry(b"s", b'S', b"", b"")), "its entry `s`: is a sparse file"),
        (after(pax(&[("GNU.sparse.major", b"1")])), "its entry `f`: is a sparse file"),
        (after(pax(&[("size", b"600")])), "its entry `f`: states two different sizes"),
        (after(pax(&[("size", b"-1")])), "a header in it is not valid"),
        (after(pax(&[("path", b"a\0b")])), "its entry `a\\0b`: has a NUL byte in its path"),
        (after(entry(b"", b'x', b"", b"99 path=f\n")), "a header in it is not valid"),
        (after(entry(b"", b'x', b"", b"0 \n")), "a header in it is not valid"),
        (after(entry(b"", b'x', b"", b"18446744073709551616 a=b\n")), "a header in it is not valid"),
        (after(entry(b"", b'x', b"", b"path=f\n")), "a header in it is not valid"),
    ] {
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn names_have_bounds() {
    let named = |path: &[u8]| [pax(&[("path", path)]), file("f")].concat();
    let deep = |folders: usize| "a/".repeat(folders - 1) + "f";
    read(&named(deep(128).as_bytes())).unwrap();
    let found = error(&named(deep(129).as_bytes()));
    assert_eq!(
        found,
        format!("its entry `{}…`: lies 129 folders deep, but the limit is 128", "a/".repeat(50))
    );
    read(&named(&[b'n'; 255])).unwrap();
    assert!(error(&named(&[b'n'; 256])).ends_with("has a name of 256 bytes, but the limit is 255"));
    assert!(error(&named(&[b'/'; 4096])).ends_with("has a path of 4096 bytes, but the limit is 4095"));
    let link = |target: &[u8]| [pax(&[("linkpath", target)]), entry(b"l", b'2', b"x", b"")].concat();
    read(&link(&[b'/'; 4095])).unwrap();
    assert!(error(&link(&[b'/'; 4096])).ends_with("is a link to an invalid path"));
}

/// One path of 45,000 folders takes 224 bytes as a layer travels.
#[test]
fn a_small_layer_is_no_large_one() {
    let path = "a/".repeat(45_000);
    let tar = [pax(&[("path", path.as_bytes())]), file("f")].concat();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < 1024, "{}", gzip.len());
    let mut files = Files::default();
    let interrupt = Interrupt::default();
    let error = files.add(&*gzip, &mut LayerReader::new(&interrupt, Bounds::IMAGE)).unwrap_err();
    assert!(format!("{error:#}").ends_with("has a path of 90000 bytes, but the limit is 4095"), "{error:#}");
}

#[test]
fn a_layer_that_ends_early_is_an_error() {
    let tar = [file("f"), vec![0; 1024]].concat();
    read(&tar).unwrap();
    for length in [1, 511, 513, 1023] {
        read(&tar[..length]).unwrap_err();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    read(&gzip[..gzip.len() - 1]).unwrap_err();
    read(&[&*gzip, b"behind"].concat()).unwrap_err();
    // Two members are one stream.
    assert_eq!(read(&[&*gzip, &*gzip].concat()).unwrap().len(), 1);
}
