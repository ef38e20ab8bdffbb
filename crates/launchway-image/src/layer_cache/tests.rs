use std::time::Duration;

use super::super::layer::{Entry, Kind, Owner};
use super::*;

/// A cache in a folder, and the layer of one file with these contents.
fn pack(folder: &Path, contents: &str) -> Layer {
    let file = folder.join("file");
    fs_err::write(&file, contents).unwrap();
    let entry = Entry { kind: Kind::File(file), owner: Owner::default(), mode: 0o644 };
    let tar = Tar::pack("COPY".to_owned(), [("file", &entry)]).unwrap();
    LayerCache::new(folder.join("layers")).compress(&tar).unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs_err::read_dir(folder.join("layers")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_second_build_takes_the_first_ones_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let first = pack(dir.path(), "hello");
    let file = entries(dir.path()).remove(0);
    // Bytes that no compressor would give, told truly: whoever returns them has read them here.
    let other = format!("{}other", first_line(&first.diff_id, b"other"));
    fs_err::write(&file, other).unwrap();
    let second = pack(dir.path(), "hello");
    assert_eq!((second.bytes.as_slice(), &second.diff_id), (b"other".as_slice(), &first.diff_id));
    assert_ne!(pack(dir.path(), "changed").diff_id, first.diff_id);
    assert_eq!(entries(dir.path()).len(), 2);
}

#[test]
fn the_cache_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let cached = [pack(dir.path(), "hello"), pack(dir.path(), "hello")];
    let entry = Entry { kind: Kind::File(dir.path().join("file")), owner: Owner::default(), mode: 0o644 };
    let plain = Layer::pack("COPY".to_owned(), [("file", &entry)]).unwrap();
    assert_eq!(cached, [plain.clone(), plain]);
}

#[test]
fn a_damaged_entry_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = pack(dir.path(), "hello");
    let file = entries(dir.path()).remove(0);
    let good = fs_err::read(&file).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let other_tar = first_line(&Digest::of(b"other"), &whole.bytes).into_bytes();
    for bad in [b"".to_vec(), b"no line".to_vec(), good[..good.len() - 1].to_vec(), flipped, other_tar] {
        fs_err::write(&file, bad).unwrap();
        assert_eq!(pack(dir.path(), "hello"), whole);
        assert_eq!(fs_err::read(&file).unwrap(), good);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("layers"), "a file stands in the way").unwrap();
    assert_eq!(pack(dir.path(), "hello"), pack(dir.path(), "hello"));
    LayerCache::new(dir.path().join("layers")).tidy();
}

#[test]
fn what_was_not_used_for_long_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = pack(dir.path(), "first");
    for number in 0..LayerCache::KEPT {
        pack(dir.path(), &number.to_string());
    }
    // All of them are old, the first is the oldest, until it is used again.
    let cache = LayerCache::new(dir.path().join("layers"));
    let age = |path: &Path, hours| {
        let file = fs_err::File::open(path).unwrap().into_file();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600) * hours).unwrap();
    };
    for path in entries(dir.path()) {
        age(&path, 1);
    }
    age(&cache.path(&first.diff_id), 2);
    pack(dir.path(), "first");
    cache.tidy();
    assert_eq!(entries(dir.path()).len(), LayerCache::KEPT);
    assert!(cache.path(&first.diff_id).exists());
    age(&cache.path(&first.diff_id), 2);
    pack(dir.path(), "one more");
    cache.tidy();
    assert!(!cache.path(&first.diff_id).exists());
}
