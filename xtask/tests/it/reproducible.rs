//! `docker-build --verify-reproducible`: two builds of one commit, compared.

use crate::support::Fixture;

#[test]
fn the_same_commit_gives_the_same_image_until_its_build_looks_at_the_machine() {
    let fixture = Fixture::new();
    // So that the binary names the sources of the standard library.
    fixture.replace("Cargo.toml", "strip = \"symbols\"", "debug = true");
    fixture.commit();
    let verify = || fixture.run(&["docker-build", "--verify-reproducible"]);
    verify().exits(0).says(&["the image is reproducible: both builds are sha256:"]);
    // Only the clones were built.
    assert!(!fixture.exists("target/xtask/image"));

    fixture.write(
        "app/build.rs",
        "fn main() {\n    println!(\"cargo::rustc-env=HERE={}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());\n}\n",
    );
    fixture.replace("app/src/main.rs", "fn main() {", "fn main() {\n    println!(\"{}\", env!(\"HERE\"));");
    fixture.commit();
    verify().exits(1).says(&[
        "the image is not reproducible: layer 2 of 2, `app/app` differs at byte ",
        "/launchway-reproducible-",
    ]);
    fixture.is_left_alone();
}
