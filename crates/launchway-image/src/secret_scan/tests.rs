use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use launchway_core::size;

const SECRET: &str = "s3cret-value-of-the-app";

/// Sixty-four characters, as a line of a key has.
const MATERIAL: &str = "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgAbCdEfGhIjKlMnOpQrSt";

struct Rig {
    dir: TempDir,
    secrets: Vec<(&'static str, Secret)>,
    interrupt: Interrupt,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The token is too short to be searched for.
        let secrets = [("KEY", SECRET), ("TOKEN", "word")].map(|(name, value)| (name, Secret::new(value)));
        Self { dir, secrets: secrets.into(), interrupt: Interrupt::default() }
    }

    fn check(&self, parts: &[Part]) -> Result<()> {
        scan(parts, &self.secrets, &self.interrupt)
    }

    fn layer(&self, number: usize, files: &[(&str, &[u8])], compressed: bool) -> Part {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, contents) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, *contents).unwrap();
        }
        let mut bytes = tar.into_inner().unwrap();
        if compressed {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&bytes).unwrap();
            bytes = gzip.finish().unwrap();
        }
        let path = self.dir.path().join(format!("layer{number}"));
        fs_err::write(&path, bytes).unwrap();
        Part::Layer(number, path)
    }

    /// What is found in one file of one layer.
    fn finds(&self, contents: &[u8]) -> Option<String> {
        let part = self.layer(1, &[("etc/file", contents)], true);
        let error = self.check(&[part]).err()?;
        assert_eq!(Exit::of(&error), Exit::Usage);
        let said = format!("{error:#}");
        assert!(!said.contains(SECRET) && !said.contains(MATERIAL), "{said}");
        Some(said.split(['`', '.']).nth(2).unwrap().trim_start_matches(": ").to_owned())
    }
}

#[test]
fn a_clean_image_passes() {
    let rig = Rig::new();
    let files: [(&str, &[u8]); 4] = [
        ("app/app", b"\x7fELF..."),
        ("etc/passwd", b"root:x:0:0:somebody:/:word\n"),
        ("etc/env", b"PATH=/"),
        ("srv/.environment/a.git/.gitignore", b""),
    ];
    let (first, second) = (rig.layer(1, &files, true), rig.layer(2, &[], false));
    rig.check(&[first, second]).unwrap();
    rig.check(&[]).unwrap();
}

#[test]
fn all_that_is_found_is_named_with_its_layer_and_path() {
    let rig = Rig::new();
    let first = rig.layer(1, &[("srv/.env", b"A=1"), ("srv/.git/HEAD", b"ref: x")], true);
    let twice = format!("{SECRET} {SECRET}");
    let second = rig.layer(2, &[("app/app", twice.as_bytes()), ("ok", b"")], false);
    let config = rig.dir.path().join("config");
    fs_err::write(&config, format!("{{\"config\":{{\"Env\":[\"KEY={SECRET}\"]}}}}")).unwrap();
    let error = rig.check(&[first, second, Part::Config(config)]).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert_eq!(
        error.to_string(),
        "the image contains what must not be pushed: layer 1, `srv/.env`: a file of environment variables; layer 1, `srv/.git/HEAD`: a \
         git repository; layer 2, `app/app`: KEY; the configuration, KEY. Remove it from what the Dockerfile copies or sets (`.dockerignore` excludes files) and build again"
    );
}

#[test]
fn a_value_is_found_across_the_borders_of_what_is_read_at_once() {
    let rig = Rig::new();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{MATERIAL}\n");
    for (text, what) in [(SECRET, "KEY"), (key.as_str(), KEY)] {
        for before in
            [0, Scan::PIECE - text.len(), Scan::PIECE - text.len() / 2, Scan::PIECE - 1, 3 * Scan::PIECE - 5]
        {
            let mut contents = vec![b'-'; before];
            contents.extend_from_slice(text.as_bytes());
            assert_eq!(rig.finds(&contents).as_deref(), Some(what), "after {}", size(before as u64));
            // What begins and does not end is not there.
            contents.truncate(before + text.len() / 2);
            assert_eq!(rig.finds(&contents), None);
        }
    }
}

#[test]
fn a_key_is_its_material_and_not_its_first_line() {
    let rig = Rig::new();
    let is = |text: &str| rig.finds(text.as_bytes()).as_deref() == Some(KEY);
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        assert!(is(&format!("a: b\n-----BEGIN {label}-----\r\n{MATERIAL}\r\n")), "{label}");
    }
    // With the headers of an encrypted one, and in JSON.
    assert!(is(&format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0011223344556677\n\n{MATERIAL}\n"
    )));
    assert!(is(&format!(r#"{{"private_key":"-----BEGIN PRIVATE KEY-----\n{MATERIAL}\n"}}"#)));
    // A manual, a parser, what everybody may see, and a program that has a key for its tests.
    assert!(!is("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"));
    assert!(!is("-----BEGIN PRIVATE KEY-----\0-----BEGIN RSA PRIVATE KEY-----\0invalid header"));
    assert!(!is(&format!("-----BEGIN CERTIFICATE-----\n{MATERIAL}\n")));
    assert!(!is(&format!("-----BEGIN PUBLIC KEY-----\n{MATERIAL}\n")));
    assert!(!is(&format!("-----BEGIN PRIVATE KEY\n{MATERIAL}\n")));
    assert!(!is(&format!("\x7fELF-----BEGIN PRIVATE KEY-----\n{MATERIAL}\n")));
    // But the pipeline's own secrets are looked for in programs too.
    assert_eq!(rig.finds(format!("\x7fELF{SECRET}").as_bytes()).as_deref(), Some("KEY"));
}

#[test]
fn a_layer_that_cannot_be_read_is_not_pushed() {
    let rig = Rig::new();
    let path = rig.dir.path().join("layer");
    // The magic number of zstd.
    fs_err::write(&path, [&[0x28, 0xb5, 0x2f, 0xfd], [7; 1000].as_slice()].concat()).unwrap();
    let error = rig.check(&[Part::Layer(3, path)]).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(error.to_string().starts_with("cannot scan layer 3 of the image"), "{error:#}");
}

#[test]
fn an_interrupt_ends_the_search() {
    let rig = Rig::new();
    let layer = rig.layer(1, &[("a", b"a")], true);
    rig.interrupt.set();
    assert_eq!(Exit::of(&rig.check(&[layer]).unwrap_err()), Exit::Interrupted);
}
