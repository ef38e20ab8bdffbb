//! Accounts as the real tools make them: Debian 12's shadow 4.13 and adduser 3.134, and `BusyBox` 1.35 with Alpine's
//! options, run on bases with the accounts of [`super::run`].

use super::run::{GROUP, PASSWD, added, alpine, base, debian, modes, run};
use super::*;

/// What a command adds to `/etc/passwd` and `/etc/group`, with the members of `users`, or a part of its error.
type Made = Result<(&'static str, &'static str), &'static str>;

const OF_DEBIAN: &[(&str, Made)] = &[
    ("useradd app", Ok(("app:x:1000:1000::/home/app:/bin/sh\n", "app:x:1000:\n"))),
    ("useradd -r app", Ok(("app:x:999:999::/home/app:/bin/sh\n", "app:x:999:\n"))),
    (
        "useradd -u 1234 -U -d /data -s /bin/false app",
        Ok(("app:x:1234:1234::/data:/bin/false\n", "app:x:1234:\n")),
    ),
    ("useradd -u 1234 -N app", Ok(("app:x:1234:100::/home/app:/bin/sh\n", ""))),
    ("useradd -r -g users app", Ok(("app:x:999:100::/home/app:/bin/sh\n", ""))),
    ("useradd -g 100 -G nogroup app", Ok(("app:x:1000:100::/home/app:/bin/sh\n", "nogroup+app"))),
    ("useradd -G users,users app", Ok(("app:x:1000:1000::/home/app:/bin/sh\n", "users+app app:x:1000:\n"))),
    ("useradd -G app app", Err("`app` is not in `/etc/group`")),
    ("useradd -g none app", Err("`none` is not in `/etc/group`")),
    ("useradd -g 5555 app", Err("no group has the number 5555")),
    ("useradd -u 0 app", Err("the user number 0 is taken")),
    ("useradd root", Err("the user `root` exists already")),
    ("groupadd app && useradd app", Err("the group `app` exists already")),
    // A number that no group may have by itself.
    ("useradd -u 65532 app", Ok(("app:x:65532:1000::/home/app:/bin/sh\n", "app:x:1000:\n"))),
    ("useradd -r -u 65532 app", Ok(("app:x:65532:999::/home/app:/bin/sh\n", "app:x:999:\n"))),
    ("useradd -r -u 500 app", Ok(("app:x:500:500::/home/app:/bin/sh\n", "app:x:500:\n"))),
    ("useradd -u 100 app", Ok(("app:x:100:1000::/home/app:/bin/sh\n", "app:x:1000:\n"))),
    (
        "groupadd -g 1000 web && useradd app",
        Ok(("app:x:1000:1001::/home/app:/bin/sh\n", "web:x:1000:\napp:x:1001:\n")),
    ),
    (
        "useradd -r a && useradd -r b && groupadd -r c && useradd d",
        Ok((
            "a:x:999:999::/home/a:/bin/sh\nb:x:998:998::/home/b:/bin/sh\nd:x:1000:1000::/home/d:/bin/sh\n",
            "a:x:999:\nb:x:998:\nc:x:997:\nd:x:1000:\n",
        )),
    ),
    ("groupadd users", Err("the group `users` exists already")),
    ("groupadd -g 100 web", Err("the group number 100 is taken")),
    ("groupadd -f users", Ok(("", ""))),
    ("groupadd -f -g 100 web", Ok(("", "web:x:1000:\n"))),
    ("groupadd -g 65533 a && groupadd b", Ok(("", "a:x:65533:\nb:x:1000:\n"))),
    ("adduser --system app", Ok(("app:x:100:65534::/nonexistent:/usr/sbin/nologin\n", ""))),
    ("adduser -u 1001 --system app", Ok(("app:x:1001:65534::/nonexistent:/usr/sbin/nologin\n", ""))),
    (
        "adduser --system app && adduser --system app",
        Ok(("app:x:100:65534::/nonexistent:/usr/sbin/nologin\n", "")),
    ),
    ("adduser --system nobody", Err("the user `nobody` exists already")),
    (
        "adduser --system --group a && adduser --system --group b",
        Ok((
            "a:x:100:101::/nonexistent:/usr/sbin/nologin\nb:x:101:102::/nonexistent:/usr/sbin/nologin\n",
            "a:x:101:\nb:x:102:\n",
        )),
    ),
    (
        "adduser --system --group --uid 65532 app",
        Ok(("app:x:65532:65532::/nonexistent:/usr/sbin/nologin\n", "app:x:65532:\n")),
    ),
    ("adduser --system --group --uid 100 app", Err("the group number 100 is taken")),
    (
        "adduser --system --comment hello app",
        Ok(("app:x:100:65534:hello,,,:/nonexistent:/usr/sbin/nologin\n", "")),
    ),
    (
        "adduser --disabled-password app",
        Ok(("app:x:1000:1000:,,,:/home/app:/bin/bash\n", "users+app app:x:1000:\n")),
    ),
    (
        "adduser --disabled-password --gecos a,b app",
        Ok(("app:x:1000:1000:a,b,,:/home/app:/bin/bash\n", "users+app app:x:1000:\n")),
    ),
    (
        "adduser --disabled-login --gecos '' app",
        Ok(("app:x:1000:1000:,,,:/home/app:/usr/sbin/nologin\n", "users+app app:x:1000:\n")),
    ),
    (
        "addgroup web && adduser --disabled-password app",
        Ok(("app:x:1001:1001:,,,:/home/app:/bin/bash\n", "users+app web:x:1000:\napp:x:1001:\n")),
    ),
    ("addgroup --system web", Ok(("", "web:x:101:\n"))),
    ("addgroup --system users", Ok(("", ""))),
    ("addgroup web && addgroup --system web", Err("the group `web` exists already")),
    ("adduser _app --system", Ok(("_app:x:100:65534::/nonexistent:/usr/sbin/nologin\n", ""))),
    ("adduser app", Ok(("app:x:1000:1000:,,,:/home/app:/bin/bash\n", "users+app app:x:1000:\n"))),
    ("useradd app.web", Ok(("app.web:x:1000:1000::/home/app.web:/bin/sh\n", "app.web:x:1000:\n"))),
    (
        "adduser --system --ingroup 100 app",
        Err("the group of `adduser` has the number `100`: write its name"),
    ),
    ("adduser nobody users", Ok(("", "users+nobody"))),
    ("addgroup nobody users", Err("only BusyBox's `addgroup` adds a user: use `adduser nobody users`")),
    (
        "adduser -D app",
        Err("the base image has Debian's `adduser`, which lacks `-D`: use long options, as in `--system`"),
    ),
    ("adduser --empty-password app", Err("Debian's `adduser`, which lacks `--empty-password`")),
    ("adduser --system app.web", Err("Debian's `adduser` rejects the name `app.web`")),
    ("adduser _app", Err("Debian's `adduser` rejects the name `_app`")),
    ("addgroup aPP", Err("Debian's `addgroup` rejects the name `aPP`")),
];

const OF_BUSYBOX: &[(&str, Made)] = &[
    ("adduser -D app", Ok(("app:x:1000:1000:Linux User,,,:/home/app:/bin/bash\n", "app:x:1000:\n"))),
    ("adduser app -D", Ok(("app:x:1000:1000:Linux User,,,:/home/app:/bin/bash\n", "app:x:1000:\n"))),
    (
        "adduser --empty-password app",
        Ok(("app:x:1000:1000:Linux User,,,:/home/app:/bin/bash\n", "app:x:1000:\n")),
    ),
    (
        "adduser -D my.app",
        Ok(("my.app:x:1000:1000:Linux User,,,:/home/my.app:/bin/bash\n", "my.app:x:1000:\n")),
    ),
    ("adduser -D -g '' -u 1005 app", Ok(("app:x:1005:1005::/home/app:/bin/bash\n", "app:x:1005:\n"))),
    (
        "adduser -D -u 70000 app",
        Ok(("app:x:70000:70000:Linux User,,,:/home/app:/bin/bash\n", "app:x:70000:\n")),
    ),
    ("adduser -S app", Ok(("app:x:100:65534:Linux User,,,:/home/app:/bin/false\n", "nogroup+app"))),
    ("adduser -S -u 1500 app", Ok(("app:x:1500:65534:Linux User,,,:/home/app:/bin/false\n", "nogroup+app"))),
    ("adduser -D -G users app", Ok(("app:x:1000:100:Linux User,,,:/home/app:/bin/bash\n", "users+app"))),
    (
        "addgroup -S web && adduser -S -D -H -h /srv -s /sbin/nologin -G web app",
        Ok(("app:x:100:101:Linux User,,,:/srv:/sbin/nologin\n", "web:x:101:app\n")),
    ),
    (
        "addgroup -g 1000 web && adduser -D app",
        Ok(("app:x:1001:1001:Linux User,,,:/home/app:/bin/bash\n", "web:x:1000:\napp:x:1001:\n")),
    ),
    (
        "adduser --disabled-password --gecos '' --home /data --shell /bin/false --ingroup users --uid 1234 app",
        Ok(("app:x:1234:100::/data:/bin/false\n", "users+app")),
    ),
    ("addgroup nobody users", Ok(("", "users+nobody"))),
    ("addgroup -g 999 a && addgroup -S b", Ok(("", "a:x:999:\nb:x:101:\n"))),
    ("addgroup --system --gid 4000 web", Ok(("", "web:x:4000:\n"))),
    ("adduser app", Err("BusyBox's `adduser` asks for a password: add `-D`")),
    ("adduser -D -h / app", Err("BusyBox's `adduser` would take over `/`: add `-H`")),
    ("adduser -D -u 100 app", Err("the group number 100 is taken")),
    ("adduser -D -G none app", Err("`none` is not in `/etc/group`")),
    ("adduser -D -G 100 app", Err("the group of `adduser` has the number `100`: write its name")),
    ("addgroup -S users", Err("the group `users` exists already")),
    ("addgroup -g 100 web", Err("the group number 100 is taken")),
    ("addgroup app && adduser -D app", Err("the group `app` exists already")),
    (
        "adduser --system --group app",
        Err("the base image has BusyBox's `adduser`, which lacks `--group`: use its letters, as in `-S`"),
    ),
    ("adduser --gid 100 app", Err("BusyBox's `adduser`, which lacks `--gid`")),
    ("addgroup --quiet web", Err("BusyBox's `addgroup`, which lacks `--quiet`")),
    ("adduser -S --group app", Err("no `adduser` has both `-S` and `--group`")),
];

#[test]
fn accounts_are_made_as_the_tools_of_the_base_make_them() {
    for (base, table) in [(debian as fn() -> Files, OF_DEBIAN), (alpine, OF_BUSYBOX)] {
        for (commands, expected) in table {
            let made = run(base(), &format!("RUN {commands}"));
            let (passwd, group) = match (&made, expected) {
                (Ok(_), Ok(expected)) => *expected,
                (Err(error), Err(expected)) if error.contains(expected) => continue,
                (made, _) => panic!("{commands}: {:?}", made.as_ref().map(|tree| &tree.accounts)),
            };
            let tree = made.unwrap();
            let of = |file, before| {
                if tree.entries.contains_key(file) { added(&tree, file, before) } else { String::new() }
            };
            assert_eq!(of("etc/passwd", PASSWD), passwd, "{commands}");
            // `users+app` is a new member.
            let (member, group) =
                group.split_once(' ').unwrap_or(if group.contains('+') { (group, "") } else { ("", group) });
            let before = match member.split_once('+') {
                Some((name, member)) => GROUP
                    .split_inclusive('\n')
                    .map(|line| {
                        if line.starts_with(name) {
                            line.replace(":\n", &format!(":{member}\n"))
                        } else {
                            line.to_owned()
                        }
                    })
                    .collect(),
                None => GROUP.to_owned(),
            };
            assert_eq!(of("etc/group", &before), group, "{commands}");
        }
    }
}

#[test]
fn home_folders_are_those_of_the_tools() {
    for (base, commands, expected) in [
        (debian as fn() -> Files, "useradd app", &[][..]),
        (debian, "useradd -m app", &["home 755 0:0", "home/app 755 1000:1000"]),
        (debian, "useradd -m -d /srv app", &[]),
        (debian, "adduser --system --home /data app", &["data 755 100:65534"]),
        (debian, "adduser --disabled-password app", &["home 755 0:0", "home/app 700 1000:1000"]),
        (alpine, "adduser -S app", &["home 750 0:0", "home/app 2755 100:65534"]),
        (alpine, "adduser -D -H app", &[]),
        (alpine, "adduser -D -h /a/b app", &[]),
        (alpine, "mkdir /data && adduser -D -h /data app", &["data 2755 1000:1000"]),
    ] {
        assert_eq!(modes(&run(base(), &format!("RUN {commands}")).unwrap()), expected, "{commands}");
    }
}

#[test]
fn special_bits_survive_what_they_survive() {
    for (base, commands, expected) in [
        (
            debian as fn() -> Files,
            "mkdir /data && chmod 2775 /data && chmod 755 /data",
            &["data 2755 0:0"][..],
        ),
        (debian, "mkdir /data && chmod 4755 /data && chown 5:5 /data", &["data 4755 5:5"]),
        (debian, "mkdir -p -m 2755 /data", &["data 2755 0:0"]),
        (debian, "mkdir /data && mkdir -p -m 700 /data", &["data 755 0:0"]),
        (debian, "mkdir -m 2755 /data && mkdir -m 755 /data/x", &["data 2755 0:0", "data/x 2755 0:0"]),
        (alpine, "mkdir -m 2755 /data && mkdir -m 755 /data/x", &["data 2755 0:0", "data/x 755 0:0"]),
        (alpine, "mkdir /data && chmod 6755 /data && chmod 755 /data", &["data 755 0:0"]),
        (
            debian,
            "mkdir /data && chown 0:50 /data && chmod 2755 /data && mkdir -p /data/x/y",
            &["data 2755 0:50", "data/x 2755 0:50", "data/x/y 2755 0:50"],
        ),
    ] {
        assert_eq!(modes(&run(base(), &format!("RUN {commands}")).unwrap()), expected, "{commands}");
    }
    let stage = "COPY --from=build --chmod=6755 /app /usr/bin/app\nRUN chown 9:9 /bin/app";
    let tree = run(debian(), stage).unwrap();
    assert_eq!(tree.entries["usr/bin/app"].mode, 0o755);
}

/// A base with one file for new home folders.
fn with_skeleton(mut base: Files, mode: u32) -> Files {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(5);
    tar.append_data(&mut header, "etc/skel/.profile", &b"text\n"[..]).unwrap();
    let interrupt = Interrupt::default();
    base.add(&*tar.into_inner().unwrap(), &mut LayerReader::new(&interrupt, Bounds::IMAGE)).unwrap();
    base
}

#[test]
fn a_new_home_has_the_files_of_the_base() {
    for (base, command, expected) in [
        (debian as fn() -> Files, "useradd -m app", Some(Owner { uid: 1000, gid: 1000 })),
        (debian, "adduser --disabled-password app", Some(Owner { uid: 1000, gid: 1000 })),
        (debian, "adduser --system --home /home/app app", None),
        (alpine, "adduser -S app", Some(Owner { uid: 100, gid: 65534 })),
    ] {
        let tree = run(with_skeleton(base(), 0o644), &format!("RUN {command}")).unwrap();
        let copied = tree.entries.get("home/app/.profile");
        let expected =
            expected.map(|owner| Entry { kind: Kind::Text("text\n".to_owned()), owner, mode: 0o644 });
        assert_eq!(copied, expected.as_ref(), "{command}");
    }
    let error = run(with_skeleton(debian(), 0o755), "RUN useradd -m app").unwrap_err();
    assert!(error.contains("`/etc/skel/.profile` of the base image"), "{error}");
}

#[test]
fn a_system_account_of_alpine_has_the_shell_of_its_patch() {
    let files = ["bin/busybox", "usr/sbin/adduser -> /bin/busybox", "etc/alpine-release"];
    let tree = run(base(&files), "RUN adduser -S -H app").unwrap();
    let expected = "app:x:100:65534:Linux User,,,:/home/app:/sbin/nologin\n";
    assert_eq!(added(&tree, "etc/passwd", PASSWD), expected);
}
