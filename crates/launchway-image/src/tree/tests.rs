mod accounts;
mod run;

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::final_stage::Arguments;
use crate::layer_reader::{Bounds, LayerReader};
use crate::testing::final_stage;
use launchway_core::exit::Exit;
use launchway_core::interrupt::Interrupt;
use launchway_registry::oci::Settings;

/// Writes files into a folder; a name that ends with `/` is a folder.
fn fill(root: &Path, files: &[(&str, &str)]) {
    for (name, contents) in files {
        let path = root.join(name);
        if name.ends_with('/') {
            fs_err::create_dir_all(path).unwrap();
        } else {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, contents).unwrap();
        }
    }
}

fn read(root: &Path, stage: &str) -> Result<Tree> {
    let text =
        format!("FROM rust AS build\nFROM scratch\n{stage}\nCOPY --from=build /t/release/app /app/app\n");
    let stage = final_stage(&text, &Arguments::default(), &Settings::default())?;
    resolve(&BuildContext::of_folder(root)?, &stage, Files::default(), root)
}

fn listing(root: &Path, stage: &str) -> String {
    let mut text = String::new();
    let Tree { entries, programs, .. } = read(root, stage).unwrap();
    for (path, Entry { kind, owner, mode }) in
        entries.into_iter().filter(|(path, _)| !programs.contains_key(path))
    {
        let Owner { uid, gid } = owner;
        match kind {
            Kind::Directory => writeln!(text, "{mode:o} {uid}:{gid} {path}/").unwrap(),
            Kind::File(file) => {
                let file = file.strip_prefix(root).unwrap().display().to_string();
                writeln!(text, "{mode:o} {uid}:{gid} {path} = {file}").unwrap();
            }
            Kind::Link(link) => writeln!(text, "{mode:o} {uid}:{gid} {path} -> {link}").unwrap(),
            Kind::Text(_) => panic!("no command makes {path}"),
        }
    }
    text
}

fn refusal(root: &Path, stage: &str) -> String {
    let error = read(root, stage).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    error.to_string()
}

#[test]
fn a_folder_gives_its_contents() {
    let dir = tempfile::tempdir().unwrap();
    fill(
        dir.path(),
        &[
            ("rootfs/etc/passwd", "nonroot:x:65532:65533::/:\n"),
            ("rootfs/etc/group", "staff:x:50:\n"),
            ("rootfs/tmp/.keep", ""),
            ("rootfs/bin/run", ""),
        ],
    );
    symlink("../etc/passwd", dir.path().join("rootfs/bin/link")).unwrap();
    let program = std::fs::Permissions::from_mode(0o700);
    fs_err::set_permissions(dir.path().join("rootfs/bin/run"), program).unwrap();
    fs_err::set_permissions(dir.path().join("rootfs/etc/group"), std::fs::Permissions::from_mode(0o600))
        .unwrap();
    let stage = "COPY rootfs/ /\nWORKDIR /srv\nCOPY --chown=nonroot rootfs/etc/passwd made/for/\nCOPY --chown=nonroot:staff rootfs/etc/group group\nCOPY --chown=7 --chmod=1777 rootfs/tmp /srv/tmp";
    assert_eq!(
        listing(dir.path(), stage),
        "\
755 0:0 app/
755 0:0 bin/
777 0:0 bin/link -> ../etc/passwd
755 0:0 bin/run = rootfs/bin/run
755 0:0 etc/
644 0:0 etc/group = rootfs/etc/group
644 0:0 etc/passwd = rootfs/etc/passwd
755 0:0 srv/
644 65532:50 srv/group = rootfs/etc/group
755 65532:65533 srv/made/
755 65532:65533 srv/made/for/
644 65532:65533 srv/made/for/passwd = rootfs/etc/passwd
755 7:7 srv/tmp/
1777 7:7 srv/tmp/.keep = rootfs/tmp/.keep
755 0:0 tmp/
644 0:0 tmp/.keep = rootfs/tmp/.keep
"
    );
}

#[test]
fn sources_and_targets_are_read_as_docker_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[("a/1.txt", ""), ("a/2.txt", ""), ("a/3.md", ""), ("b/1.txt", ""), ("b/sub/x", "")]);
    symlink("a", dir.path().join("to-a")).unwrap();
    for (stage, expected) in [
        ("COPY a/1.txt /x", "644 0:0 x = a/1.txt\n"),
        ("COPY /a/1.txt x", "644 0:0 x = a/1.txt\n"),
        ("COPY a/1.txt /", "644 0:0 1.txt = a/1.txt\n"),
        ("COPY a/1.txt .", "644 0:0 1.txt = a/1.txt\n"),
        ("COPY a/../a/./1.txt x", "644 0:0 x = a/1.txt\n"),
        ("COPY to-a/1.txt x", "644 0:0 x = a/1.txt\n"),
        (
            "COPY to-a /x",
            "755 0:0 x/\n644 0:0 x/1.txt = a/1.txt\n644 0:0 x/2.txt = a/2.txt\n644 0:0 x/3.md = a/3.md\n",
        ),
        (
            "COPY a/[12].txt a/*.md x/",
            "755 0:0 x/\n644 0:0 x/1.txt = a/1.txt\n644 0:0 x/2.txt = a/2.txt\n644 0:0 x/3.md = a/3.md\n",
        ),
        ("COPY */2.txt x", "644 0:0 x = a/2.txt\n"),
        ("COPY b x", "755 0:0 x/\n644 0:0 x/1.txt = b/1.txt\n755 0:0 x/sub/\n644 0:0 x/sub/x = b/sub/x\n"),
        ("WORKDIR /x\nCOPY a/1.txt /x", "755 0:0 x/\n644 0:0 x/1.txt = a/1.txt\n"),
        ("COPY a/1.txt x\nCOPY b/1.txt x", "644 0:0 x = b/1.txt\n"),
    ] {
        // The binary's folder is always there.
        assert_eq!(listing(dir.path(), stage).replace("755 0:0 app/\n", ""), expected, "{stage}");
    }
    // `COPY` of the binary to a folder that is there.
    let text =
        "FROM rust AS build\nFROM scratch\nWORKDIR /srv\nCOPY --from=build --chown=5:6 /t/release/app /srv\n";
    let tree = {
        let stage = final_stage(text, &Arguments::default(), &Settings::default()).unwrap();
        resolve(&BuildContext::of_folder(dir.path()).unwrap(), &stage, Files::default(), dir.path()).unwrap()
    };
    let program = &tree.entries["srv/app"];
    assert_eq!((tree.programs["srv/app"].as_str(), program.mode), ("app", 0o755));
    assert_eq!(program.owner, Owner { uid: 5, gid: 6 });
}

#[test]
fn what_is_ignored_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    fill(
        dir.path(),
        &[
            (".dockerignore", "# comment\n**/*.md\nsecret\nd/*\n!d/kept\n!x/y/z.md\n"),
            ("d/kept/file", ""),
            ("d/other/file", ""),
            ("x/readme.md", ""),
            ("x/y/z.md", ""),
            ("secret/key", ""),
        ],
    );
    assert_eq!(
        listing(dir.path(), "COPY . /"),
        "\
644 0:0 .dockerignore = .dockerignore
755 0:0 app/
755 0:0 d/
755 0:0 d/kept/
644 0:0 d/kept/file = d/kept/file
755 0:0 x/
755 0:0 x/y/
644 0:0 x/y/z.md = x/y/z.md
"
    );
    symlink("secret/key", dir.path().join("link")).unwrap();
    assert_eq!(
        refusal(dir.path(), "COPY link /x"),
        "Dockerfile:3: `COPY link /x`: `secret/key` is excluded from the context by `.dockerignore`"
    );
    assert_eq!(
        refusal(dir.path(), "COPY secret /x"),
        "Dockerfile:3: `COPY secret /x`: `secret` matches nothing in the context: the files that git tracks and `.dockerignore` does not exclude"
    );
    fs_err::write(dir.path().join(".dockerignore"), "!").unwrap();
    assert_eq!(refusal(dir.path(), "COPY x /"), ".dockerignore:1: `!` needs a pattern after it");
}

#[test]
fn what_cannot_be_copied_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fill(
        dir.path(),
        &[
            ("context/a", ""),
            ("context/b", ""),
            ("context/d/app", ""),
            ("context/f/d", ""),
            ("context/etc/passwd", "odd:x\n"),
            ("outside", ""),
        ],
    );
    let root = dir.path().join("context");
    symlink("../outside", root.join("out")).unwrap();
    symlink("/usr", root.join("f/lib")).unwrap();
    symlink("gone", root.join("dangling")).unwrap();
    for (stage, expected) in [
        (
            "COPY missing /x",
            "3: `COPY missing /x`: `missing` matches nothing in the context: the files that git tracks and `.dockerignore` does not exclude",
        ),
        (
            "\nCOPY no* /x",
            "4: `COPY no* /x`: `no*` matches nothing in the context: the files that git tracks and `.dockerignore` does not exclude",
        ),
        ("COPY ../outside /x", "3: `COPY ../outside /x`: `../outside` leaves the context"),
        ("COPY d/../../outside /x", "3: `COPY d/../../outside /x`: `d/../../outside` leaves the context"),
        ("COPY out /x", "3: `COPY out /x`: `out` is a link that leaves the context"),
        ("COPY a[ /x", "3: `COPY a[ /x`: `a[` is not a valid pattern"),
        ("COPY a b /x", "3: `COPY a b /x`: it copies several files (2), so its target must end with `/`"),
        ("COPY a /x\nCOPY b /x/", "4: `COPY b /x/`: `/x` is not a folder"),
        ("COPY f /y\nCOPY a /y/lib/", "4: `COPY a /y/lib/`: `/y/lib` is not a folder"),
        ("COPY d /app", "4: another `COPY` puts something at `/app/app`, where the binary goes"),
        (
            "COPY --chown=me a /x",
            "3: `COPY --chown=me a /x`: `me` is not in `/etc/passwd` of the image at this point: use a number",
        ),
        (
            "COPY etc /etc\nCOPY --chown=me a /x",
            "4: `COPY --chown=me a /x`: `me` is not in `/etc/passwd` of the image at this point: use a number",
        ),
        (
            "COPY etc /etc\nCOPY --chown=odd a /x",
            "4: `COPY --chown=odd a /x`: the line of `odd` in `/etc/passwd` is not valid",
        ),
        (
            "COPY --chown=1:staff a /x",
            "3: `COPY --chown=1:staff a /x`: `staff` is not in `/etc/group` of the image at this point: use a number",
        ),
    ] {
        assert_eq!(refusal(&root, stage), format!("Dockerfile:{expected}"));
    }
    fill(&root, &[("g/d/x", "")]);
    assert_eq!(
        refusal(&root, "COPY f /\nCOPY g /"),
        "Dockerfile:4: `COPY g /`: `/d` would be both a folder and a file"
    );
    assert!(refusal(&root, "COPY dangling /x").ends_with("`dangling` is a link to nothing"));
}

/// A base with the links that distributions have.
fn debian() -> Files {
    use tar::EntryType::{Directory, Regular, Symlink};

    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, mode, text) in [
        ("bin", Symlink, 0o777, "usr/bin"),
        ("etc", Directory, 0o755, ""),
        ("etc/motd", Regular, 0o644, ""),
        ("etc/passwd", Regular, 0o644, "me:x:7:9::/:\n"),
        ("home", Directory, 0o755, ""),
        ("home/me", Directory, 0o700, ""),
        ("loop", Symlink, 0o777, "loop"),
        ("run", Directory, 0o755, ""),
        ("tmp", Directory, 0o1777, ""),
        ("usr", Directory, 0o755, ""),
        ("usr/bin", Directory, 0o755, ""),
        ("usr/bin/tool", Regular, 0o755, ""),
        ("var", Directory, 0o755, ""),
        ("var/run", Symlink, 0o777, "/run"),
        ("var/up", Symlink, 0o777, "../../etc"),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        let (uid, gid) = if path == "home/me" { (7, 9) } else { (0, 0) };
        header.set_uid(uid);
        header.set_gid(gid);
        if kind == Symlink {
            header.set_size(0);
            tar.append_link(&mut header, path, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    }
    let mut files = Files::default();
    let interrupt = Interrupt::default();
    files.add(&*tar.into_inner().unwrap(), &mut LayerReader::new(&interrupt, Bounds::IMAGE)).unwrap();
    files
}

/// What an image on that base adds, or why there is none.
fn added(root: &Path, stage: &str, binary: &str) -> Result<String, String> {
    let text =
        format!("FROM rust AS build\nFROM debian\n{stage}\nCOPY --from=build /t/release/app {binary}\n");
    let stage = final_stage(&text, &Arguments::default(), &Settings::default()).unwrap();
    let tree = resolve(&BuildContext::of_folder(root).unwrap(), &stage, debian(), root)
        .map_err(|error| error.to_string())?;
    let files = tree.entries.iter().filter(|(path, _)| !tree.programs.contains_key(*path));
    let entries = files.map(|(path, Entry { kind, owner, mode })| {
        let end = if *kind == Kind::Directory { "/" } else { "" };
        format!("{path}{end} {mode:o} {}:{}", owner.uid, owner.gid)
    });
    Ok(entries.chain(tree.programs.keys().cloned()).collect::<Vec<_>>().join(", "))
}

#[test]
fn what_a_base_has_stays_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[("a", ""), ("root/bin/x", ""), ("root/tmp/y", ""), ("root/home/me/z", "")]);
    for (stage, binary, expected) in [
        // Into a folder of the base, with or without a `/`, and through its links.
        ("", "/usr/bin", "usr/ 755 0:0, usr/bin/ 755 0:0, usr/bin/app"),
        ("", "/bin/", "usr/ 755 0:0, usr/bin/ 755 0:0, usr/bin/app"),
        ("", "/bin/tool", "usr/ 755 0:0, usr/bin/ 755 0:0, usr/bin/tool"),
        ("COPY a /var/run/", "/app", "run/ 755 0:0, run/a 644 0:0, app"),
        ("COPY a /var/up", "/app", "etc/ 755 0:0, etc/a 644 0:0, app"),
        ("COPY a /tmp/a", "/app", "tmp/ 1777 0:0, tmp/a 644 0:0, app"),
        ("COPY a /etc/motd", "/app", "etc/ 755 0:0, etc/motd 644 0:0, app"),
        ("WORKDIR /home/me", "app", "home/ 755 0:0, home/me/ 700 7:9, home/me/app"),
        (
            "COPY root /",
            "/app",
            "home/ 755 0:0, home/me/ 700 7:9, home/me/z 644 0:0, tmp/ 1777 0:0, tmp/y 644 0:0, usr/ 755 0:0, \
             usr/bin/ 755 0:0, usr/bin/x 644 0:0, app",
        ),
        // Names that the base knows; what is stated wins over the base.
        (
            "COPY --chown=me root/home /home",
            "/app",
            "home/ 755 0:0, home/me/ 700 7:9, home/me/z 644 7:9, app",
        ),
        ("COPY --chown=5 root/tmp /new", "/app", "new/ 755 5:5, new/y 644 5:5, app"),
    ] {
        assert_eq!(added(dir.path(), stage, binary).as_deref(), Ok(expected), "{stage} {binary}");
    }
    for (stage, binary, expected) in [
        ("COPY a /etc/motd/", "/app", "is not a folder in the base image"),
        ("COPY a /loop/", "/app", "leads through too many links of the base image"),
        ("COPY --chown=nobody a /", "/app", "`nobody` is not in `/etc/passwd`"),
        ("COPY root/tmp /etc/motd", "/app", "is not a folder in the base image"),
    ] {
        let refused = added(dir.path(), stage, binary);
        assert!(refused.as_ref().is_err_and(|error| error.contains(expected)), "{stage}: {refused:?}");
    }
}

#[test]
fn no_file_becomes_a_whiteout() {
    let dir = tempfile::tempdir().unwrap();
    fill(
        dir.path(),
        &[("f", ""), ("d/.wh.f", ""), ("e/.wh.g/h", ""), (".wh..wh..opq", ""), ("k/a.wh.b", "")],
    );
    for stage in [
        "COPY d /x",
        "COPY d/.wh.f /x/",
        "COPY e /x",
        "COPY .wh..wh..opq /",
        "COPY f /.wh.f",
        "WORKDIR /.wh.d",
    ] {
        let error = refusal(dir.path(), stage);
        assert!(error.starts_with("Dockerfile:3: ") && error.contains(": rename `.wh."), "{stage}: {error}");
    }
    assert_eq!(
        refusal(dir.path(), "COPY d /x"),
        "Dockerfile:3: `COPY d /x`: `/x/.wh.f` would hide a file, as does every name in a layer that starts with `.wh.`: rename `.wh.f`, or exclude it with `.dockerignore`"
    );
    let error = added(dir.path(), "", "/.wh.app").unwrap_err();
    assert!(error.contains("rename `.wh.app`"), "{error}");
    // Under another name it is a file as any other.
    read(dir.path(), "COPY d/.wh.f /x/f").unwrap();
    read(dir.path(), "COPY k /k").unwrap();
}
