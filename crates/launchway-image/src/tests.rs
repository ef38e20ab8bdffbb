mod corpus;
mod mutations;

use super::*;
use launchway_core::exit::Exit;

#[test]
fn the_check_finds_what_either_engine_cannot_follow() {
    let dir = tempfile::tempdir().unwrap();
    let checked = || check(&BuildContext::of_folder(dir.path()).unwrap(), "Dockerfile", "app");
    let error = |text: &str| {
        fs_err::write(dir.path().join("Dockerfile"), text).unwrap();
        let error = checked().unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        format!("{error:#}")
    };
    let binary = "COPY --from=build /x/release/app /app/app\n";
    let start = "\u{feff}FROM rust AS build\n";
    assert!(
        error(&format!("{start}RUN --mount=type=cache,target=/x true\nFROM scratch\n{binary}"))
            .starts_with("Dockerfile:2: `RUN --mount`")
    );
    assert!(
        error(&format!("{start}FROM scratch\nRUN true\n{binary}"))
            .starts_with("Dockerfile:3: the builtin engine does not support `RUN`")
    );
    assert!(
        error(&format!("{start}FROM scratch\nCOPY missing /\n{binary}"))
            .starts_with("Dockerfile:3: `COPY missing /`")
    );
    fs_err::write(dir.path().join("Dockerfile"), format!("{start}FROM scratch\n{binary}")).unwrap();
    checked().unwrap();
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
        check(&BuildContext::of_folder(dir.path()).unwrap(), "Dockerfile", "app")
            .map_err(|error| format!("{error:#}"))
    };
    // Whether there is such a folder, such an account and such a variable only the base knows.
    checked("COPY Dockerfile /etc\nCOPY --chown=nobody Dockerfile /etc/x").unwrap();
    checked("USER $APP_UID").unwrap();
    let error = checked("COPY missing /").unwrap_err();
    assert!(error.starts_with("Dockerfile:3: `COPY missing /`: `missing` matches nothing"), "{error}");
    assert!(
        checked("RUN true")
            .unwrap_err()
            .starts_with("Dockerfile:3: the builtin engine does not support `RUN`")
    );
}
