use super::*;
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_image::Engine;
use launchway_image::base_image::BaseLayers;
use launchway_image::binary::Platform;
use launchway_image::layer::{Entry, Kind, Layer, Owner, Tar};
use launchway_image::layout::Parts;
use launchway_image::manifest::{image_config, image_manifest};
use launchway_registry::oci::Settings;

/// An image with one layer, of these files with these modes.
fn image(dir: &Path, name: &str, files: &[(&str, &str, u32)], user: &str, label: &str) -> Layout {
    let folder = dir.join(name);
    fs_err::create_dir_all(&folder).unwrap();
    let entries: Vec<(&str, Entry)> = files
        .iter()
        .map(|(path, contents, mode)| {
            let file = folder.join(path);
            fs_err::write(&file, contents).unwrap();
            (*path, Entry { kind: Kind::File(file), owner: Owner::default(), mode: *mode })
        })
        .collect();
    let tar = Tar::pack(String::new(), entries.iter().map(|(path, entry)| (*path, entry))).unwrap();
    let layers = [Layer::compress(&tar).unwrap()];
    let mut settings = Settings { user: user.to_owned(), ..Settings::default() };
    let config = image_config(&BaseLayers::default(), Platform::Amd64, &settings, "now", &layers).unwrap();
    settings.labels.insert(launchway_registry::oci::BASE_NAME.to_owned(), label.to_owned());
    let manifest = image_manifest(&BaseLayers::default(), &config, &layers, settings.labels.clone()).unwrap();
    let layers = layers.iter().map(|layer| layer.bytes.as_slice()).collect();
    Parts { engine: Engine::Builtin, platform: Platform::Amd64, manifest, config, layers }
        .write(None, &folder.join("image"), &["t".to_owned()])
        .unwrap();
    Layout::open(&folder.join("image")).unwrap()
}

#[test]
fn the_first_difference_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let first = [("a", "same", 0o644), ("b", "built in /home/me", 0o644)];
    let one = image(dir.path(), "one", &first, "1", "x");
    let difference = |name: &str, files: &[(&str, &str, u32)], user, label| {
        compare(&one, &image(dir.path(), name, files, user, label)).unwrap().unwrap_or_default()
    };
    assert_eq!(difference("same", &first, "1", "x"), "");
    assert_eq!(
        difference("contents", &[first[0], ("b", "built in /root", 0o644)], "1", "x"),
        "layer 1 of 1, `b` differs at byte 10: `built in /home/me`, then `built in /root`"
    );
    assert_eq!(
        difference("longer", &[first[0], ("b", "built in /home/me\n", 0o644)], "1", "x"),
        "layer 1 of 1, `b` differs at byte 17: `uilt in /home/me`, then `uilt in /home/me.`"
    );
    assert_eq!(
        difference("mode", &[("a", "same", 0o600), first[1]], "1", "x"),
        "layer 1 of 1, `a` has a different mode, owner or link"
    );
    assert_eq!(difference("path", &[first[1]], "1", "x"), "layer 1 of 1, `a`, then `b`");
    assert_eq!(difference("fewer", &[first[0]], "1", "x"), "layer 1 of 1 contains 2 entries, then 1");
    let user = difference("user", &first, "2", "x");
    assert!(user.starts_with("the configuration differs at byte "), "{user}");
    let label = difference("label", &first, "1", "y");
    assert!(label.starts_with("the manifest differs at byte "), "{label}");
}

#[test]
fn the_plan_names_two_homes_and_two_folders() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::of([("HOME", "/home/me")]));
    run(&ctx, true).unwrap();
    let reported = ctx.reporter.events();
    let [Event::Text { text }] = &reported[..] else { panic!("{reported:?}") };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert!(
        lines[0].starts_with("git -c core.hooksPath=/dev/null clone --quiet ") && lines[0].ends_with("/work"),
        "{text}"
    );
    // Both build the commit that was asked for, whatever is committed meanwhile.
    for line in [lines[1], lines[4]] {
        assert!(line.ends_with(&format!("/work checkout --quiet --detach {}", ctx.git.commit)), "{text}");
    }
    assert!(lines[2].contains("/home/.cargo RUSTUP_HOME=/home/me/.rustup PATH="), "{text}");
    for name in ["HOME=", "CARGO_HOME=", "PATH=", " TZ=", "LC_ALL=", "USER=", "umask "] {
        let value =
            |line: &str| line.split_once(name).unwrap().1.split_whitespace().next().unwrap().to_owned();
        assert_ne!(value(lines[2]), value(lines[5]), "{name}");
    }
    assert!(lines[2].ends_with(" docker-build --engine builtin"), "{text}");
    assert_ne!(lines[2], lines[5]);
    assert_eq!(lines[6], "compare the two images");
}

#[test]
fn a_build_that_fails_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::of([("HOME", "/home/me")]));
    let call = Call::new("sh").args(["-c", "echo why >&2; exit 4"]);
    let error = run_to_end(&ctx.runner(), &call, dir.path()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().ends_with("exited with 4:\nwhy"), "{error}");
}

#[test]
fn the_checkout_is_cloned_from_its_top_with_its_submodules() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| fs_err::canonicalize(dir.path()).unwrap().join(name);
    let [inner, outer, top] = ["inner", "outer", "top"].map(at);
    let add = |root: &Path, what: &Path, path: &str| {
        let add =
            ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", what.to_str().unwrap(), path];
        crate::testing::git(root, &add);
    };
    for root in [&inner, &outer, &top] {
        fs_err::create_dir(root).unwrap();
        crate::testing::git(root, &["init", "--quiet"]);
        fs_err::create_dir(root.join("web")).unwrap();
        fs_err::write(root.join("web/Cargo.toml"), "").unwrap();
        if *root == outer {
            add(root, &inner, "in");
        } else if *root == top {
            add(root, &outer, "web/out");
            let update = ["-c", "protocol.file.allow=always", "submodule", "update", "--init", "--recursive"];
            crate::testing::git(root, &update);
        }
        crate::testing::git(root, &["add", "--all"]);
        crate::testing::git(root, &["commit", "--quiet", "--message", "Begin"]);
    }
    let mut ctx = Context::for_test(&top.join("web"), Environment::default());
    ctx.git = git::Git::read(&ctx.root).unwrap();
    run(&ctx, true).unwrap();
    let reported = format!("{:?}", ctx.reporter.events());
    for path in ["", "/web/out", "/web/out/in"] {
        let from = format!("--no-checkout {}{path} ", top.display());
        assert_eq!(reported.matches(&from).count(), 2, "{path}: {reported}");
        assert_eq!(
            reported.matches(&format!("/work{path} checkout --quiet --detach ")).count(),
            2,
            "{path}: {reported}"
        );
    }
}
