//! `RUN` on bases as Debian and Alpine make them.

use super::*;
use tar::EntryType::{Directory, Regular, Symlink};

pub(super) const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
pub(super) const GROUP: &str = "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n";

/// A base with these files besides its accounts; a link is written as `path -> target`.
pub(super) fn base(files: &[&str]) -> Files {
    let mut tar = tar::Builder::new(Vec::new());
    let accounts = [("etc/passwd", PASSWD), ("etc/group", GROUP)];
    let all = files.iter().map(|file| (*file, "")).chain(accounts);
    for (path, text) in all {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if path.ends_with('/') { 0o750 } else { 0o755 });
        header.set_size(text.len() as u64);
        if let Some((path, target)) = path.split_once(" -> ") {
            header.set_entry_type(Symlink);
            tar.append_link(&mut header, path, target).unwrap();
        } else {
            header.set_entry_type(if path.ends_with('/') { Directory } else { Regular });
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    }
    let mut files = Files::default();
    let interrupt = Interrupt::default();
    files.add(&*tar.into_inner().unwrap(), &mut LayerReader::new(&interrupt, Bounds::IMAGE)).unwrap();
    files
}

pub(super) fn debian() -> Files {
    base(&[
        "bin -> usr/bin",
        "usr/bin/dash",
        "usr/bin/sh -> dash",
        "usr/sbin/useradd",
        "usr/sbin/groupadd",
        "usr/sbin/adduser",
        "usr/sbin/addgroup -> adduser",
        "etc/debian_version",
        "var/lib/",
        "var/lib/cache/",
        "srv/",
        "srv/file",
        "srv/link -> file",
    ])
}

pub(super) fn alpine() -> Files {
    base(&[
        "bin/busybox",
        "home/",
        "bin/sh -> /bin/busybox",
        "usr/sbin/adduser -> /bin/busybox",
        "usr/sbin/addgroup -> /bin/busybox",
    ])
}

pub(super) fn run(base: Files, stage: &str) -> Result<Tree, String> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("FROM rust AS build\nFROM base\n{stage}\nCOPY --from=build /app /app/app\n");
    let text = if stage.contains("--from=build") {
        text.replace("\nCOPY --from=build /app /app/app\n", "\n")
    } else {
        text
    };
    let stage =
        final_stage(&text, &Arguments::default(), &Settings::default()).map_err(|error| error.to_string())?;
    resolve(&BuildContext::of_folder(dir.path()).unwrap(), &stage, base, dir.path())
        .map_err(|error| error.to_string())
}

/// What a stage adds to an account file.
pub(super) fn added(tree: &Tree, file: &str, before: &str) -> String {
    let Kind::Text(text) = &tree.entries[file].kind else { panic!("{file} is unchanged") };
    text.strip_prefix(before).unwrap_or(text).to_owned()
}

pub(super) fn modes(tree: &Tree) -> Vec<String> {
    let entries = tree
        .entries
        .iter()
        .filter(|(path, _)| !path.starts_with("etc") && !["app", "app/app"].contains(&path.as_str()));
    entries
        .map(|(path, entry)| format!("{path} {:o} {}:{}", entry.mode, entry.owner.uid, entry.owner.gid))
        .collect()
}

#[test]
fn accounts_are_made_as_debian_makes_them() {
    for (commands, passwd, group) in [
        ("useradd app", "app:x:1000:1000::/home/app:/bin/sh\n", "app:x:1000:\n"),
        ("useradd -r app", "app:x:999:999::/home/app:/bin/sh\n", "app:x:999:\n"),
        (
            "groupadd --gid 4000 web && useradd --uid 4001 --gid web -s /usr/sbin/nologin -d /srv app",
            "app:x:4001:4000::/srv:/usr/sbin/nologin\n",
            "web:x:4000:\n",
        ),
        (
            "groupadd -r app && useradd --no-log-init -r -g app app",
            "app:x:999:999::/home/app:/bin/sh\n",
            "app:x:999:\n",
        ),
        (
            "adduser --system --group --no-create-home --uid 1001 app",
            "app:x:1001:1001::/nonexistent:/usr/sbin/nologin\n",
            "app:x:1001:\n",
        ),
        ("adduser --system app", "app:x:100:65534::/nonexistent:/usr/sbin/nologin\n", ""),
        (
            "addgroup --system --gid 1001 web; adduser --system --uid 1001 --ingroup web app",
            "app:x:1001:1001::/nonexistent:/usr/sbin/nologin\n",
            "web:x:1001:\n",
        ),
    ] {
        let tree = run(debian(), &format!("RUN {commands}\nUSER app")).unwrap();
        assert_eq!(added(&tree, "etc/passwd", PASSWD), passwd, "{commands}");
        let expected = if group.is_empty() { None } else { Some(group.to_owned()) };
        let found = tree.entries.contains_key("etc/group").then(|| added(&tree, "etc/group", GROUP));
        assert_eq!(found, expected, "{commands}");
        let ids: Vec<u32> = passwd.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        assert_eq!(tree.user.owner, Owner { uid: ids[0], gid: ids[1] }, "{commands}");
    }
    // An ordinary user of Debian gets a home folder, and is one of the users.
    let tree = run(debian(), "RUN adduser --disabled-password --gecos '' app").unwrap();
    assert_eq!(modes(&tree), ["home 755 0:0", "home/app 700 1000:1000"]);
    assert!(added(&tree, "etc/group", "root:x:0:\n").starts_with("users:x:100:app\n"));
}

#[test]
fn accounts_are_made_as_busybox_makes_them() {
    let tree = run(
        alpine(),
        "RUN addgroup -S web && adduser -S -D -H -h /srv -s /sbin/nologin -G web app\nUSER app",
    )
    .unwrap();
    assert_eq!(added(&tree, "etc/passwd", PASSWD), "app:x:100:101:Linux User,,,:/srv:/sbin/nologin\n");
    assert_eq!(added(&tree, "etc/group", GROUP), "web:x:101:app\n");
    assert_eq!(tree.user.owner, Owner { uid: 100, gid: 101 });
    let tree = run(alpine(), "RUN adduser -D -u 1005 app").unwrap();
    assert_eq!(added(&tree, "etc/passwd", PASSWD), "app:x:1005:1005:Linux User,,,:/home/app:/bin/bash\n");
    assert_eq!(modes(&tree), ["home 750 0:0", "home/app 2755 1005:1005"]);
    let tree = run(alpine(), "RUN adduser -D a && addgroup b && adduser a b").unwrap();
    assert_eq!(added(&tree, "etc/group", GROUP), "a:x:1000:\nb:x:1001:a\n");
    let error = run(alpine(), "RUN useradd app").unwrap_err();
    assert_eq!(error, "Dockerfile:3: `RUN`: the base image has no `useradd`: it has `adduser`");
}

#[test]
fn folders_owners_and_modes_are_made() {
    for (commands, expected) in [
        ("mkdir /data", vec!["data 755 0:0"]),
        ("mkdir -p -m 0700 /data/db logs", vec!["data 755 0:0", "data/db 700 0:0", "logs 700 0:0"]),
        (
            "mkdir -p /data/db && chown -R 5:6 /data && chmod g+w /data/db",
            vec!["data 755 5:6", "data/db 775 5:6"],
        ),
        ("chown nobody: /var/lib", vec!["var 755 0:0", "var/lib 750 65534:65534"]),
        ("chown -R 7 /var/lib", vec!["var 755 0:0", "var/lib 750 7:0", "var/lib/cache 750 7:0"]),
        ("set -eux; mkdir -p /var/lib && true", vec![]),
        ("[\"mkdir\", \"/with space\"]", vec!["with space 755 0:0"]),
        ("<<EOF\nmkdir /a\nchmod 1777 /a\nEOF", vec!["a 1777 0:0"]),
    ] {
        assert_eq!(modes(&run(debian(), &format!("RUN {commands}")).unwrap()), expected, "{commands}");
    }
    // In the order of the stage, and the binary like any other file.
    let tree = run(
        debian(),
        "ARG U=9\nCOPY --from=build /app /usr/bin/app\nRUN chown $U:$U /bin/app && chmod 0500 /bin/app",
    )
    .unwrap();
    let program = &tree.entries["usr/bin/app"];
    assert_eq!((program.owner, program.mode), (Owner { uid: 9, gid: 9 }, 0o500));
    // What a user makes is the user's.
    let tree =
        run(debian(), "RUN chmod 777 /var/lib\nUSER nobody\nRUN mkdir /var/lib/x && chmod 700 /var/lib/x")
            .unwrap();
    assert_eq!(modes(&tree)[2], "var/lib/x 700 65534:65534");
}

#[test]
fn what_docker_could_not_do_is_an_error() {
    for (stage, expected) in [
        ("RUN mkdir /srv", "3: `RUN`: `/srv` is there already: use `mkdir -p`"),
        ("RUN mkdir /a/b", "3: `RUN`: `/a`, the parent of `/a/b`, does not exist: use `mkdir -p`"),
        ("RUN mkdir -p /srv/file/x", "3: `RUN`: `/srv/file` is not a folder"),
        ("RUN true \\\n && chown app /srv", "4: `RUN`: `app` is not in `/etc/passwd` of the image"),
        ("RUN chmod +x /none", "3: `RUN`: `/none` does not exist"),
        ("RUN chmod -R 755 /srv", "3: `RUN`: `/srv/file` is a file of the base image"),
        ("RUN useradd nobody", "3: `RUN`: the user `nobody` exists already"),
        ("RUN useradd -u 65534 app", "3: `RUN`: the user number 65534 is taken"),
        ("RUN groupadd users", "3: `RUN`: the group `users` exists already"),
        ("USER nobody\nRUN mkdir /data", "4: `RUN`: `/` belongs to another user: make `/data` before `USER`"),
        ("USER nobody\nRUN chown 1 /srv", "4: `RUN`: only root may `chown`, and it runs as `nobody`"),
        ("USER app", "3: `USER`: `app` is not in `/etc/passwd`"),
        (
            "RUN useradd --badname x y",
            "3: `RUN useradd --badname x y`: the builtin engine does not follow `useradd --badname`",
        ),
        ("RUN useradd -c a:b x", "3: `RUN useradd -c a:b x`: `useradd --comment` has `a:b`"),
    ] {
        let error = run(debian(), stage).unwrap_err();
        assert!(error.starts_with(&format!("Dockerfile:{expected}")), "{stage}: {error}");
    }
}

#[test]
fn a_command_in_shell_form_needs_a_shell() {
    run(debian(), "CMD app --quiet").unwrap();
    run(alpine(), "HEALTHCHECK CMD wget localhost\nCMD [\"app\"]").unwrap();
    let error = run(base(&[]), "CMD app --quiet").unwrap_err();
    assert_eq!(
        error,
        "Dockerfile:3: `CMD` in shell form needs `/bin/sh`, which the image does not have: write it as `[\"app\", \"--quiet\"]`"
    );
    let error = run(base(&[]), "ENTRYPOINT app $PORT").unwrap_err();
    assert!(error.ends_with("write it as `[\"program\", \"argument\"]`"), "{error}");
}
