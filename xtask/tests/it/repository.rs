//! Files of this repository.

use std::path::Path;

use launchway_image::build_context::{BuildContext, Node};
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{Arguments, FinalStage};
use launchway_registry::oci::Settings;

#[test]
fn both_engines_follow_the_dockerfile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // What `COPY` needs is there; `target` would take long to list.
    let files = ["Dockerfile", "app/rootfs/etc/passwd"];
    let files = files.map(|path| (path.to_owned(), Node::File { is_program: false }));
    let context = BuildContext::new(root.to_owned(), files, move |path| Ok(fs_err::read(root.join(path))?));
    launchway_image::check(&context, "Dockerfile", "app").unwrap();
    let file = Dockerfile::read(&context, "Dockerfile").unwrap();
    let arguments = Arguments::from([("COMMIT", "c0ffee".to_owned())]);
    let stage = FinalStage::parse(&file, &arguments, "app", &Settings::default()).unwrap();
    assert_eq!(stage.settings.env[1..], ["APP_COMMIT=c0ffee"]);
    assert_eq!(stage.settings.labels["org.opencontainers.image.revision"], "c0ffee");
    assert_eq!(stage.settings.labels["org.opencontainers.image.version"], "unknown");
}
