//! The smoke run in `docker-build`: an image that does not start is not written.

use crate::support::{Fixture, skipped};

#[test]
fn an_image_that_does_not_start_is_not_written() {
    let fixture = Fixture::new();
    fixture
        .run(&["docker-build"])
        .exits(0)
        .says(&["warning: the service has no handler for SIGTERM", "smoke run: up in "]);
    let image = fixture.read("target/xtask/image/index.json");
    fixture.replace(
        "app/src/main.rs",
        "fn main() {",
        "fn main() {\n    eprintln!(\"no luck\");\n    std::process::exit(3);",
    );
    fixture.commit();
    let ran = fixture.run(&["docker-build"]).exits(1);
    ran.says(&["exited with 3 before it responded at /healthz", "no luck", "was not written"]);
    assert_eq!(fixture.read("target/xtask/image/index.json"), image);
    assert!(!fixture.exists("target/xtask/smoke"));
    fixture.is_left_alone();
    fixture.run(&["push"]).exits(3);
}

/// On the machine of a developer the folder may well be made; in the image it may not.
#[test]
fn a_folder_that_the_images_user_may_not_make_is_found() {
    const TEST: &str = "a_folder_that_the_images_user_may_not_make_is_found";
    let fixture = Fixture::new();
    let folder = fixture.path("target/xtask").display().to_string();
    let start =
        format!("fn main() {{\n    std::fs::create_dir_all(\"{folder}/state\").expect(\"no state\");");
    fixture.replace("app/src/main.rs", "fn main() {", &start);
    fixture.commit();
    let ran = fixture.run(&["docker-build"]);
    if ran.err.contains("with the files and rights of this machine") {
        return skipped(TEST, "no user namespaces");
    }
    ran.exits(1)
        .says(&["no state: Os { code: 13, kind: PermissionDenied", "before it responded at /healthz"]);
    assert!(!fixture.exists("target/xtask/state") && !fixture.exists("target/xtask/smoke"));
    // The folder is there, and the user's own.
    fs_err::create_dir_all(fixture.path("empty")).unwrap();
    fs_err::write(fixture.path("empty/.keep"), "").unwrap();
    fixture.replace("app/src/main.rs", &format!("{folder}/state"), "/state/files");
    fixture.replace("Dockerfile", "COPY motd", "COPY --chown=65532:65532 empty /state\nCOPY motd");
    fixture.commit();
    fixture.run(&["docker-build"]).exits(0).says(&["smoke run: up in "]);
}
