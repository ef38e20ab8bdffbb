//! The corpus: Dockerfiles good, odd and hostile in `tests/dockerfiles`, and in `outcomes.txt` what becomes of each.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::base_image::files::Files;
use crate::binary::{self, Platform};
use crate::build_context::BuildContext;
use crate::dockerfile::Dockerfile;
use crate::final_stage::Arguments;
use crate::layer::Entry;
use crate::testing::final_stage;
use crate::tree;
use launchway_core::exit::Exit;
use launchway_registry::oci::Settings;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles")
}

/// A context with something for every case, and beside it what no image may hold.
fn context(dir: &Path) -> PathBuf {
    let root = dir.join("context");
    for (path, text) in [
        ("context/rootfs/etc/passwd", "me:x:7:9::/:\n"),
        ("context/rootfs/etc/group", "us:x:9:\n"),
        ("context/motd", "hello\n"),
        ("context/.env", "secret\n"),
        ("context/.dockerignore", ".env\n"),
        ("context/links/file", ""),
        ("outside", "secret\n"),
        ("beyond/secret", "secret\n"),
    ] {
        fs_err::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs_err::write(dir.join(path), text).unwrap();
    }
    for (target, link) in [
        ("motd", "inside"),
        (".env", "to-env"),
        ("../outside", "out-file"),
        ("../beyond", "out-folder"),
        ("../../outside", "links/far"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    root
}

/// An ELF header for a machine, and one program header of a type.
fn elf(machine: u8, program_header: u8) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(120, 0);
    (bytes[18], bytes[32], bytes[54], bytes[56], bytes[64]) = (machine, 64, 56, 1, program_header);
    bytes
}

/// What cargo left: by the name of the case, a good program otherwise.
fn program(root: &Path, name: &str) -> PathBuf {
    let path = root.join("release-app");
    let bytes = match name {
        "binary-not-built" => return root.join("not-there"),
        "binary-dynamic" => elf(62, 3),
        "binary-for-arm64" => elf(183, 1),
        "binary-a-script" => b"#!/bin/sh\n".to_vec(),
        "binary-cut-short" => elf(62, 1)[..60].to_vec(),
        _ => elf(62, 1),
    };
    fs_err::write(&path, bytes).unwrap();
    path
}

/// What becomes of a case: the entries of its image, or why there is none.
fn outcome(root: &Path, name: &str) -> anyhow::Result<String> {
    fs_err::copy(folder().join(format!("{name}.dockerfile")), root.join("Dockerfile"))?;
    let context = BuildContext::of_folder(root)?;
    let file = Dockerfile::read(&context, "Dockerfile")?;
    let stage = final_stage(file.text(), &Arguments::default(), &Settings::default())?;
    // What is not asked for here: the base is as good as empty.
    let tree = tree::resolve(&context, &stage, Files::default(), root)?;
    binary::verify(&program(root, name), Platform::Amd64)?;
    let mut said = stage.base.map_or_else(String::new, |base| format!("from {}: ", base.image));
    for (path, entry) in &tree.entries {
        // Whatever is in the image is the context's.
        if tree.programs.contains_key(path) {
            continue;
        }
        if let crate::layer::Kind::File(file) = &entry.kind {
            assert!(fs_err::canonicalize(file)?.starts_with(root), "{name}: {}", file.display());
        }
        write!(said, "{path} ")?;
    }
    let programs = tree.programs.keys().map(|path| (path, &tree.entries[path]));
    let programs = programs
        .map(|(path, Entry { owner, mode, .. })| format!("{path} {mode:o} {}:{}", owner.uid, owner.gid));
    Ok(format!("{said}+ {}", programs.collect::<Vec<_>>().join(" ")))
}

#[test]
fn every_dockerfile_of_the_corpus_has_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs_err::canonicalize(context(dir.path())).unwrap();
    let mut names: Vec<String> = fs_err::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().into_string().unwrap().strip_suffix(".dockerfile")?.to_owned())
        })
        .collect();
    names.sort();
    assert!(names.len() >= 30);
    let mut outcomes = String::new();
    for name in names {
        let said = match outcome(&root, &name) {
            Ok(said) => format!("ok: {said}"),
            Err(error) => format!("exit {}: {error:#}", Exit::of(&error).code()),
        };
        let said = said.replace(&root.display().to_string(), "<context>").replace(['\n', '\r', '\0'], "?");
        let said: String = said.chars().take(400).collect();
        writeln!(outcomes, "{name}\n    {said}").unwrap();
    }
    let path = folder().join("outcomes.txt");
    let expected = fs_err::read_to_string(&path).unwrap_or_default();
    let changed = similar::TextDiff::from_lines(&expected, &outcomes).unified_diff().to_string();
    assert!(changed.is_empty(), "{} is not what happens:\n{changed}", path.display());
}
