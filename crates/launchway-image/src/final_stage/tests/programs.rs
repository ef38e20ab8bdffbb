//! What a final stage takes of the builder, how it is started, and for which platform.

use super::*;

/// The binaries that a stage copies: `name -> target`, with a `/` behind a folder.
fn copied(builder: &str, copies: &str) -> Result<Vec<String>> {
    let text =
        format!("FROM rust AS build\nWORKDIR /src\n{builder}\nFROM debian:12\nWORKDIR /srv\n{copies}\n");
    let stage = final_stage(&text, &Arguments::default(), &Settings::default())?;
    let programs = stage.steps.into_iter().filter_map(|step| match step {
        Step::Program { name, copy } => {
            Some(format!("{name} -> {}{}", copy.target, if copy.into_folder { "/" } else { "" }))
        }
        _ => None,
    });
    Ok(programs.collect())
}

#[test]
fn several_binaries_are_copied() {
    let release = "/src/target/release";
    let one = format!("COPY --from=build {release}/app {release}/worker /usr/local/bin/");
    assert_eq!(copied("", &one).unwrap(), ["app -> usr/local/bin/", "worker -> usr/local/bin/"]);
    let two = format!("COPY --from=build {release}/worker /jobs\nCOPY --from=build {release}/app .");
    assert_eq!(copied("", &two).unwrap(), ["worker -> jobs", "app -> srv/"]);
    for (copies, expected) in [
        (
            format!("COPY --from=build {release}/app {release}/nobody /bin/"),
            "`/src/target/release/nobody` exists only in",
        ),
        (
            format!("COPY --from=build {release}/app {release}/worker /bin/x"),
            "so its target must end with `/`",
        ),
        (format!("{one}\nCOPY --from=build {release}/worker /x"), "line 6 already copies `worker`"),
        (format!("COPY --from=build {release}/worker /x"), "the final stage does not copy the binary"),
    ] {
        let error = copied("", &copies).unwrap_err().to_string();
        assert!(error.contains(expected), "{copies}: {error}");
    }
}

#[test]
fn a_folder_of_what_cargo_built_holds_the_binaries_of_the_package() {
    for (builder, source, expected) in [
        ("", "/src/target/release/", "srv/"),
        ("", "/src/target/release", "srv/"),
        ("", "target/x86_64-unknown-linux-musl/release/.", "srv/"),
        ("RUN cargo install --path . --root /out", "/out", "srv/bin/"),
        ("RUN cargo install --path . --root=/out/", "/out/bin/", "srv/"),
        ("RUN cargo build && \\\n  cp target/release/app /dist/", "/dist", "srv/"),
    ] {
        let found = copied(builder, &format!("COPY --from=build {source} /srv")).unwrap();
        assert_eq!(
            found,
            [format!("app -> {expected}"), format!("admin -> {expected}")],
            "{builder} {source}"
        );
    }
    for (builder, source) in [("", "/out"), ("RUN mkdir /dist", "/dist"), ("", "/"), ("", "/src")] {
        let error = copied(builder, &format!("COPY --from=build {source} /srv")).unwrap_err().to_string();
        assert!(error.contains("exists only in Docker"), "{source}: {error}");
    }
}

#[test]
fn a_command_in_shell_form_is_what_docker_makes_of_it() {
    let stage = read(&with(
        "CMD app --port $PORT \\\n  # a comment\n  --quiet\nHEALTHCHECK --retries=2 CMD curl -f localhost",
    ));
    assert_eq!(stage.settings.cmd.unwrap(), ["/bin/sh", "-c", "app --port $PORT   --quiet"]);
    assert_eq!(stage.settings.healthcheck.unwrap().test, ["CMD-SHELL", "curl -f localhost"]);
    let shells: Vec<(usize, &str)> =
        stage.shells.iter().map(|shell| (shell.line, shell.instruction)).collect();
    assert_eq!(shells, [(4, "CMD"), (7, "HEALTHCHECK CMD")]);
    assert_eq!((stage.shells[0].words(), stage.shells[1].words().unwrap().len()), (None, 3));
    // Only the last one counts.
    let stage = read(&with("CMD app\nCMD [\"app\"]\nENTRYPOINT exec app serve"));
    assert_eq!(stage.shells.len(), 1);
    assert_eq!(stage.shells[0].words().unwrap(), ["app", "serve"]);
}

#[test]
fn a_platform_may_be_the_targets() {
    let from = |platform: &str| {
        final_stage(
            &format!(
                "FROM rust AS build\nFROM --platform={platform} debian:12\nARG TARGETARCH\nENV A=$TARGETARCH\nCOPY --from=build /app /app\n"
            ),
            &Arguments::default(),
            &Settings::default(),
        )
    };
    for platform in
        ["linux/amd64", "amd64", "x86_64", "$TARGETPLATFORM", "${TARGETOS}/$TARGETARCH", "linux/amd64/v1"]
    {
        let env = from(platform).unwrap().settings.env;
        assert_eq!(env[1], "A=amd64", "{platform}");
    }
    if std::env::consts::ARCH == "x86_64" {
        from("$BUILDPLATFORM").unwrap();
    }
    for platform in ["linux/arm64", "windows/amd64", "$NONE"] {
        let error = from(platform).unwrap_err().to_string();
        assert!(error.contains("is not the platform of this image, linux/amd64"), "{platform}: {error}");
    }
}
