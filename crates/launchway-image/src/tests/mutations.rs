//! Inputs at random, from a fixed seed: whatever comes from outside is read or refused, and ends nothing else.

use std::path::Path;

use crate::base_image::files::Files;
use crate::binary::Platform;
use crate::docker_archive;
use crate::dockerfile::Dockerfile;
use crate::dockerignore::{Ignore, matches};
use crate::final_stage::{Arguments, BaseName, FinalStage, Inputs, classic_builder};
use crate::layer_reader::{Bounds, LayerReader};
use crate::testing::binaries;
use crate::unpack::unpack;
use launchway_core::interrupt::Interrupt;
use launchway_registry::oci::Settings;

/// Numbers that look random (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    /// Some bytes of an input are others, missing, doubled or moved.
    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let (place, length) = (self.below(bytes.len()), self.below(40));
            let end = bytes.len().min(place + length);
            match self.below(5) {
                0 => bytes.truncate(place),
                1 => drop(bytes.drain(place..end)),
                2 => {
                    let piece = bytes[place..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ if bytes.is_empty() => {}
                3 => bytes[place] = u8::try_from(self.below(256)).unwrap(),
                _ => bytes[place] = b" \0/.*[]{}\"'\\$\n=0179"[self.below(19)],
            }
        }
        bytes
    }
}

/// A layer with an entry of each kind.
fn layer() -> Vec<u8> {
    use tar::EntryType::{Char, Directory, Link, Regular, Symlink};

    let mut tar = tar::Builder::new(Vec::new());
    let long = "a/".repeat(60) + "f";
    for (path, kind, text) in [
        ("a/", Directory, ""),
        ("a/f", Regular, "text"),
        ("a/l", Symlink, "../b"),
        ("a/h", Link, "a/f"),
        ("a/l/deep", Regular, ""),
        ("a/.wh.f", Regular, ""),
        ("a/.wh..wh..opq", Regular, ""),
        ("null", Char, ""),
        (&long, Regular, "far"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(if matches!(kind, Symlink | Link) { 0 } else { text.len() as u64 });
        if matches!(kind, Symlink | Link) {
            tar.append_link(&mut header, path, text).unwrap();
        } else {
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    }
    tar.append_pax_extensions([("path", &b"p"[..]), ("uid", b"7")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    tar.append(&header, &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

/// Makes headers valid again, as far as their sums go: else no change would be read.
fn sum(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

#[test]
fn layers_at_random_stay_in_their_folder() {
    let (mut random, valid, interrupt) = (Random(0x5eed), layer(), Interrupt::default());
    let outside = tempfile::tempdir().unwrap();
    let mut read = 0;
    for _ in 0..200 {
        let mut tar = random.change(&valid);
        sum(&mut tar);
        let bounds = Bounds { bytes: 1 << 20, entries: 100 };
        let found = Files::default().add(&*tar, &mut LayerReader::new(&interrupt, bounds));
        let folder = outside.path().join("root");
        fs_err::create_dir(&folder).unwrap();
        let unpacked = unpack(&folder, [&*tar], LayerReader::new(&interrupt, bounds));
        read += usize::from(found.is_ok());
        // What is taken as a base can be unpacked, but for a hard link to a file that is not there.
        if let (Ok(_), Err(error)) = (found, unpacked) {
            let error = format!("{error:#}");
            assert!(
                error.contains("not a file in the image") || error.contains("is not in the image"),
                "{error}"
            );
        }
        fs_err::remove_dir_all(folder).unwrap();
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar).unwrap();
        let gzip = random.change(&gzip.finish().unwrap());
        drop(Files::default().add(&*gzip, &mut LayerReader::new(&interrupt, bounds)));
    }
    assert!((10..190).contains(&read), "{read} of 200 can be read");
}

#[test]
fn archives_at_random_are_read_or_refused() {
    let (mut random, dir) = (Random(0xa5c1), tempfile::tempdir().unwrap());
    let tar = layer();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"a":"b"}}}},"rootfs":{{"diff_ids":["{}"]}}}}"#,
        launchway_registry::Digest::of(&tar)
    );
    let mut archive = tar::Builder::new(Vec::new());
    let manifest = r#"[{"Config":"c","RepoTags":null,"Layers":["l"]}]"#;
    for (name, bytes) in
        [("l", tar.as_slice()), ("c", config.as_bytes()), ("manifest.json", manifest.as_bytes())]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let path = dir.path().join("saved.tar");
    let mut read = 0;
    for _ in 0..200 {
        let mut changed = random.change(&archive);
        sum(&mut changed);
        fs_err::write(&path, changed).unwrap();
        read += usize::from(docker_archive::read(&path, Platform::Amd64, &Interrupt::default()).is_ok());
    }
    assert!((1..200).contains(&read), "{read} of 200 can be read");
}

#[test]
fn dockerfiles_at_random_are_followed_or_refused() {
    let mut random = Random(0xd0c4);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles");
    let files = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<Vec<u8>> =
        files.filter(|path| path.is_file()).map(|path| fs_err::read(path).unwrap()).collect();
    texts.sort();
    for _ in 0..10 {
        for text in &texts {
            let text = String::from_utf8_lossy(&random.change(text)).into_owned();
            let file = Dockerfile::new("Dockerfile", &text);
            drop(classic_builder::check(&file));
            let inputs =
                Inputs { arguments: &Arguments::default(), binaries: &binaries(), platform: Platform::Amd64 };
            drop(BaseName::find(&file, inputs));
            drop(FinalStage::parse(&file, inputs, &Settings::default()));
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.excludes("a/b/c.d");
                ignore.may_bring_back_below("a/b");
            }
        }
    }
}

/// A pattern takes no longer than it and the path are long together.
#[test]
fn no_pattern_takes_for_ever() {
    let path = "a".repeat(200);
    assert!(!matches(&("*a".repeat(30) + "b"), &path));
    assert!(!matches(&("**/".repeat(30) + "b"), &"a/".repeat(100)));
    assert!(matches(&("*a".repeat(30) + "*"), &path));
}
