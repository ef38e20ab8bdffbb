//! The smoke run in `docker-build`: an image that does not start is not written.

use crate::support::Fixture;

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
    ran.says(&["ended with exit status: 3 before it responded at /healthz", "no luck", "was not written"]);
    assert_eq!(fixture.read("target/xtask/image/index.json"), image);
    assert!(!fixture.exists("target/xtask/smoke"));
    fixture.is_left_alone();
    fixture.run(&["push"]).exits(3);
}
