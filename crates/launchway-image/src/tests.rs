mod corpus;
mod mutations;

use std::path::Path;

use super::*;
use crate::testing::binaries;
use launchway_core::exit::Exit;

fn checked_by(root: &Path, engine: Engine) -> Result<()> {
    let context = BuildContext::of_folder(root).unwrap();
    check(&context, "Dockerfile", engine, &binaries(), Platform::Amd64)
}

#[test]
fn the_check_finds_what_an_engine_cannot_follow() {
    let dir = tempfile::tempdir().unwrap();
    let checked = || checked_by(dir.path(), Engine::Builtin);
    let error = |text: &str| {
        fs_err::write(dir.path().join("Dockerfile"), text).unwrap();
        let error = checked().unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        format!("{error:#}")
    };
    let binary = "COPY --from=build /x/release/app /app/app\n";
    let start = "\u{feff}FROM rust AS build\n";
    assert!(
        error(&format!("{start}FROM scratch\nRUN true\n{binary}"))
            .starts_with("Dockerfile:3: nothing can `RUN` in `scratch`")
    );
    assert!(
        error(&format!("{start}FROM scratch\nCOPY missing /\n{binary}"))
            .starts_with("Dockerfile:3: `COPY missing /`")
    );
    // What the builder does is its own affair, and Docker says itself what it cannot do.
    let earlier = format!("{start}RUN --mount=type=cache,target=/x <<EOF\ntrue\nEOF\nFROM scratch\n");
    fs_err::write(dir.path().join("Dockerfile"), format!("{earlier}{binary}")).unwrap();
    checked().unwrap();
    fs_err::write(dir.path().join("Dockerfile"), format!("{earlier}RUN make\nCOPY missing /\n")).unwrap();
    checked().unwrap_err();
    checked_by(dir.path(), Engine::Docker).unwrap();
    fs_err::write(dir.path().join("Dockerfile"), "services:\n").unwrap();
    let error = checked_by(dir.path(), Engine::Docker).unwrap_err().to_string();
    assert!(error.starts_with("Dockerfile:1: "), "{error}");
    fs_err::remove_file(dir.path().join("Dockerfile")).unwrap();
    assert!(format!("{:#}", checked().unwrap_err()).contains("`Dockerfile` is not tracked by git"));
}

#[test]
fn the_check_asks_no_registry_for_a_base() {
    let dir = tempfile::tempdir().unwrap();
    let checked = |stage: &str| {
        let text = format!(
            "FROM rust AS build\nFROM registry.invalid/base\n{stage}\nCOPY --from=build /x/release/app /app/app\n"
        );
        fs_err::write(dir.path().join("Dockerfile"), text).unwrap();
        checked_by(dir.path(), Engine::Builtin).map_err(|error| format!("{error:#}"))
    };
    // Whether there is such a folder, such an account and such a variable only the base knows.
    checked("COPY Dockerfile /etc\nCOPY --chown=nobody Dockerfile /etc/x").unwrap();
    checked("USER $APP_UID").unwrap();
    let error = checked("COPY missing /").unwrap_err();
    assert!(error.starts_with("Dockerfile:3: `COPY missing /`: `missing` matches nothing"), "{error}");
    checked("RUN mkdir /x && chown nobody /x").unwrap();
    let error = checked("RUN make").unwrap_err();
    assert!(error.starts_with("Dockerfile:3: `RUN make`: ") && error.contains("an earlier stage"), "{error}");
}
