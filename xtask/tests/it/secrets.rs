//! A secret of the environment reaches the service that it is for, and nothing else: no output, no file, no child.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::registry::{PASSWORD, Registry, USERNAME};
use crate::support::{Fixture, Ran, files, program};

/// Values that are found anywhere by their text.
const SECRETS: [(&str, &str); 4] = [
    ("DOCKERHUB_TOKEN", PASSWORD),
    ("RENDER_API_KEY", "rnd_key-of-the-api-4712"),
    ("CIPHER_KEY", "key-of-all-signing-4713-0123456789-0123456789-0123456789"),
    ("ERRORS_DSN", "https://0123456789abcdef0123456789abc4714@sentry.example.com/1"),
];

/// A test that prints what it was given, and fails, so that its output is shown.
const TELLS: &str = "\n#[test]\nfn tells() {\n    for (name, value) in std::env::vars() {\n        println!(\"GIVEN {name}={value}\");\n    }\n    panic!(\"told\");\n}\n";

/// Nothing that was printed or left holds a secret: as it is, or as a header holds it.
fn keeps_them(fixture: &Fixture, ran: &Ran) {
    let header = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    let forms = SECRETS.iter().map(|(_, value)| *value).chain([header.as_str()]);
    let text = ran.text();
    let left = files(&fixture.path("target"));
    assert!(left.len() > 5, "there is something to look at");
    for form in forms {
        assert!(!text.contains(form), "`{form}` in {text}");
        for (path, bytes) in &left {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "`{form}` in {}", path.display());
        }
    }
}

#[test]
fn a_test_of_the_app_is_not_given_them() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("a_test_of_the_app_is_not_given_them") {
        return;
    }
    fixture.append("app/src/lib.rs", TELLS);
    let ran = fixture.xtask(&["test-coverage"]).envs(&SECRETS).env("MINE", "4715").finish().exits(1);
    let log = fixture.read("target/xtask/logs/test-coverage.log");
    assert!(log.contains("GIVEN MINE=4715"), "{log}");
    for (name, _) in SECRETS {
        assert!(!log.contains(name), "{name} in {log}");
    }
    keeps_them(&fixture, &ran);
}

#[test]
fn a_push_shows_its_password_to_the_registry_alone() {
    let Some(registry) = Registry::start("a_push_shows_its_password_to_the_registry_alone") else { return };
    let fixture = Fixture::new();
    // In the file, as a developer has them: it lies in the folder that the image is made from.
    fixture.write(".env", &SECRETS.map(|(name, value)| format!("{name}={value}\n")).concat());
    fixture.replace("Dockerfile", "COPY motd /etc/motd", "COPY . /etc/everything/");
    let image = registry.image();
    let run = |step: &str, password: &str| {
        let run = fixture.xtask(&[step]).env("PIPELINE_IMAGE", &image).env("DOCKERHUB_USERNAME", USERNAME);
        run.env("DOCKERHUB_TOKEN", password).finish()
    };
    let built = run("docker-build", PASSWORD).exits(0);
    keeps_them(&fixture, &built);
    let pushed = run("push", PASSWORD).exits(0);
    keeps_them(&fixture, &pushed);
    // And the one that is wrong.
    let refused = run("push", "a-password-that-is-wrong").exits(4).says_nothing_of(&["a-password-that"]);
    keeps_them(&fixture, &refused);
    // Layers are compressed: what was packed is looked at unpacked.
    let unpacked = fixture.path("target/unpacked");
    fs_err::create_dir_all(&unpacked).unwrap();
    for (layer, bytes) in files(&fixture.path("target/xtask/image/blobs")) {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            program("tar", &["-xzf", layer.to_str().unwrap()], &unpacked);
        }
    }
    assert!(fixture.exists("target/unpacked/etc/everything/Cargo.toml"), "the layers were unpacked");
    keeps_them(&fixture, &pushed);
}
