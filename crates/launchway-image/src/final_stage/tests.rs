mod programs;

use super::*;
use crate::testing::{binaries, final_stage};
use launchway_core::exit::Exit;

/// A Dockerfile with this final stage, which begins in line 3 and copies the binary in its last line.
fn with(stage: &str) -> String {
    format!(
        "ARG TAG=1\nFROM rust:$TAG AS build\nFROM scratch\n{stage}\nCOPY --from=build /t/release/app /app/app\n"
    )
}

fn dockerfile(text: &str) -> Dockerfile {
    Dockerfile::new("Dockerfile", text)
}

fn read(text: &str) -> FinalStage {
    let arguments = Arguments::from([("COMMIT", "c0ffee".to_owned()), ("VERSION", "1.2.3".to_owned())]);
    final_stage(text, &arguments, &Settings::default()).unwrap()
}

fn refusal(text: &str) -> String {
    let error = final_stage(text, &Arguments::default(), &Settings::default()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    error.to_string()
}

/// Where the binary that ships goes.
fn binary(stage: &FinalStage) -> &CopyStep {
    let found = stage.steps.iter().find_map(|step| match step {
        Step::Program { name, copy } if name == "app" => Some(copy),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn a_whole_final_stage_is_followed() {
    let stage = read(
        r#"# syntax=docker/dockerfile:1
ARG BASE=scratch
ARG RUST_IMAGE=rust
FROM ${RUST_IMAGE} AS Build
RUN cargo build
FROM $BASE AS final
ARG COMMIT=unknown
ARG BASE OTHER=o VERSION
ENV A=1 B="two words" \
    # a comment inside
    C=$A-$COMMIT
ENV A=2 D=$A OLD ${NONE:-none}
ENV LEGACY the rest of $B
LABEL "a label"=$VERSION org.x="${OTHER:+it}'s"
WORKDIR /srv
WORKDIR sub/../app
COPY --chown=65532:65532 --chmod=0640 conf/*.toml data \
     ./conf/
COPY ["with space.txt", "/etc/with space"]
COPY --from=build --chown=1 /w/target/x/release/app .
EXPOSE 8000 53/UDP
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1m30s --timeout=3s --start-period=500ms --retries=2 CMD ["/app", "healthcheck"]
ENTRYPOINT ["/app"]
CMD ["serve", "$A"]
"#
        .replace(" OLD ", " OLD=")
        .as_str(),
    );
    assert_eq!(
        stage.steps[..4],
        [
            Step::Folder { line: 15, path: "srv".to_owned() },
            Step::Folder { line: 16, path: "srv/app".to_owned() },
            Step::Copy(CopyStep {
                line: 17,
                text: "COPY --chown=65532:65532 --chmod=0640 conf/*.toml data ./conf/".to_owned(),
                sources: vec!["conf/*.toml".to_owned(), "data".to_owned()],
                target: "srv/app/conf".to_owned(),
                into_folder: true,
                owner: Some("65532:65532".to_owned()),
                mode: Some(0o640),
            }),
            Step::Copy(CopyStep {
                line: 19,
                text: r#"COPY ["with space.txt", "/etc/with space"]"#.to_owned(),
                sources: vec!["with space.txt".to_owned()],
                target: "etc/with space".to_owned(),
                ..CopyStep::default()
            }),
        ]
    );
    let binary = binary(&stage);
    assert_eq!((binary.line, binary.target.as_str(), binary.into_folder), (20, "srv/app", true));
    let settings = stage.settings;
    assert_eq!(settings.env[0], format!("PATH={DEFAULT_PATH}"));
    assert_eq!(
        settings.env[1..],
        ["A=2", "B=two words", "C=-c0ffee", "D=1", "OLD=none", "LEGACY=the rest of two words"]
    );
    assert_eq!(
        serde_json::to_value(&settings).unwrap(),
        serde_json::json!({
            "User": "65532:65532",
            "ExposedPorts": {"53/udp": {}, "8000/tcp": {}},
            "Env": settings.env,
            "Entrypoint": ["/app"],
            "Cmd": ["serve", "$A"],
            "Healthcheck": {
                "Test": ["CMD", "/app", "healthcheck"],
                "Interval": 90_000_000_000_u64,
                "Timeout": 3_000_000_000_u64,
                "StartPeriod": 500_000_000,
                "Retries": 2
            },
            "WorkingDir": "/srv/app",
            "Labels": {"a label": "1.2.3", "org.x": "it's"},
            "StopSignal": "SIGTERM"
        })
    );
}

/// A base as registries have them.
fn base() -> Settings {
    serde_json::from_value(serde_json::json!({
        "User": "nobody", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/base/bin", "A=base", "KEPT=1"],
        "Entrypoint": ["/base"], "Cmd": ["base"], "WorkingDir": "/srv", "Labels": {"a": "base", "b": "base"},
        "Volumes": {"/data": {}}, "StopSignal": "SIGQUIT", "OnBuild": null,
        "Healthcheck": {"Test": ["CMD", "/base"], "StartInterval": 7},
    }))
    .unwrap()
}

#[test]
fn a_final_stage_adds_to_what_its_base_sets() {
    let read = |stage: &str| {
        let text = with(stage).replace("FROM scratch", "FROM debian:12");
        final_stage(&text, &Arguments::from([("VERSION", "1".to_owned())]), &base()).unwrap()
    };
    let stage = read("");
    assert_eq!(stage.settings, base());
    let name = stage.base.unwrap();
    assert_eq!(
        (name.place.as_str(), name.image.to_string().as_str()),
        ("Dockerfile:3", "docker.io/library/debian:12")
    );

    let stage = read(
        "ARG A=mine\nENV PATH=/own:$PATH B=$A A=own\nLABEL a=own\nWORKDIR sub\nCOPY x y\nEXPOSE 81\nENTRYPOINT [\"/own\"]",
    );
    let settings = stage.settings;
    assert_eq!(settings.env, ["PATH=/own:/base/bin", "A=own", "KEPT=1", "B=base"]);
    assert_eq!(settings.labels.into_values().collect::<Vec<_>>(), ["own", "base"]);
    assert_eq!(settings.working_dir, "/srv/sub");
    assert_eq!(settings.exposed_ports.len(), 2);
    // An `ENTRYPOINT` takes the base's `CMD` away, and not the stage's own.
    assert_eq!((settings.entrypoint.unwrap(), settings.cmd), (vec!["/own".to_owned()], None));
    assert_eq!((settings.user.as_str(), settings.stop_signal.as_str()), ("nobody", "SIGQUIT"));
    let Step::Copy(copy) = &stage.steps[1] else { panic!("{:?}", stage.steps) };
    assert_eq!(copy.target, "srv/sub/y");
    for stage in ["CMD [\"x\"]\nENTRYPOINT [\"/own\"]", "ENTRYPOINT [\"/own\"]\nCMD [\"x\"]"] {
        assert_eq!(read(stage).settings.cmd.unwrap(), ["x"], "{stage}");
    }
    assert_eq!(read("CMD [\"x\"]").settings.entrypoint.unwrap(), ["/base"]);
    // Docker writes `null` for what is empty.
    let empty =
        r#"{"Env":null,"Cmd":null,"Labels":null,"ExposedPorts":null,"Volumes":null,"User":"","Shell":null}"#;
    assert_eq!(serde_json::from_str::<Settings>(empty).unwrap(), Settings::default());
}

#[test]
fn without_the_base_its_variables_decide_nothing() {
    let of = |text: &str| FinalStage::parse_blind(&dockerfile(text), &binaries(), Platform::Amd64);
    let blind = |stage: &str| of(&with(stage).replace("FROM scratch", "FROM debian:12"));
    assert!(blind("EXPOSE 80").unwrap().is_some());
    assert!(blind("USER $APP_UID\nCOPY a b").unwrap().is_none());
    assert!(blind("ENV A=$B").unwrap().is_none());
    blind("RUN make").unwrap_err();
    // Nothing can set it in `scratch`.
    of(&with("USER $APP_UID")).unwrap_err();
    assert!(of(&with("ENV A=$B")).unwrap().is_some());
}

#[test]
fn odd_but_good_final_stages() {
    // A stage by its number, and the escape character of Windows.
    let stage = read(
        "# escape=`\nFROM rust\nFROM scratch\nENV A=C:\\x `\n  B=`$A\nCOPY --from=0 /release/app /app\n",
    );
    assert_eq!(stage.settings.env[1..], ["A=C:\\x", "B=$A"]);
    assert_eq!((binary(&stage).target.as_str(), binary(&stage).into_folder), ("app", false));
    // A global argument is empty in the stage that does not declare it, and `ENV` wins over `ARG`.
    let stage = read(&with("ENV A=[$TAG] COMMIT=mine\nARG TAG\nARG COMMIT=x\nENV B=$TAG C=$COMMIT"));
    assert_eq!(stage.settings.env[1..], ["A=[]", "COMMIT=mine", "B=1", "C=mine"]);
    // Docker gives every stage a `PATH`, to replace or to extend.
    let stage = read(&with("ENV PATH=/srv:$PATH"));
    assert_eq!(stage.settings.env, [format!("PATH=/srv:{DEFAULT_PATH}")]);
    let stage = read(&with("WORKDIR /srv\nVOLUME [\"/data\"]\nVOLUME cache /logs"));
    assert_eq!(stage.settings.volumes.into_iter().collect::<Vec<_>>(), ["/data", "/logs", "/srv/cache"]);
    let none = read(&with("HEALTHCHECK NONE\nCMD []")).settings;
    assert_eq!((none.healthcheck.unwrap().test, none.cmd), (vec!["NONE".to_owned()], Some(vec![])));
    assert_eq!(read(&with("copy a b\r\nWorkdir $NONE/x\r")).steps.len(), 3);
    assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), "{}");
}

#[test]
fn the_binary_is_known_by_its_name_wherever_the_builder_leaves_it() {
    for source in ["/usr/local/cargo/bin/app", "/build-out/app", "app"] {
        let stage =
            read(&format!("FROM rust AS build\nFROM scratch\nCOPY --from=build {source} /usr/bin/service\n"));
        assert_eq!(binary(&stage).target, "usr/bin/service", "{source}");
    }
}

#[test]
fn everything_that_cannot_be_followed_is_refused_at_once() {
    let text = "FROM rust AS build\nFROM debian\nRUN a && \\\n  mkdir /x && \\\n  b | c\nCOPY --from=build /etc/ssl /etc/ssl\nRUN d\n";
    let refusal = refusal(text);
    let (reasons, alternative) = refusal.rsplit_once('\n').unwrap();
    let lines: Vec<String> = reasons.lines().map(|line| line[..20].to_owned()).collect();
    let starts = ["3: `RUN a", "5: `RUN b", "6: `/etc/", "7: `RUN d"];
    assert_eq!(lines, starts.map(|start| format!("Dockerfile:{start}")));
    // Once, not at the end of each.
    assert_eq!(alternative, "or build with `--engine docker`");
    assert!(!reasons.contains("--engine docker"), "{reasons}");
    let error = final_stage(text, &Arguments::default(), &Settings::default()).unwrap_err();
    assert_eq!(super::reasons(&error), reasons.lines().collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_line() {
    let docker = ", or build with `--engine docker`";
    for (stage, expected) in [
        ("RUN --mount=type=cache,target=/x true", format!("4: `RUN --mount` is not supported by the builtin engine{docker}")),
        ("RUN mkdir", format!("4: nothing can `RUN` in `scratch`, which is empty: do it in an earlier stage{docker}")),
        ("\nADD a b", format!("5: `ADD` unpacks and downloads, which the builtin engine does not support: use `COPY`{docker}")),
        ("ONBUILD RUN true", format!("4: an OCI image cannot have `ONBUILD`: remove it{docker}")),
        ("VOLUME $NONE", "4: `VOLUME $NONE` expands to nothing".to_owned()),
        (r#"SHELL ["sh", "-c"]"#, format!("4: the builtin engine knows no shell but `/bin/sh`: remove `SHELL`{docker}")),
        ("MAINTAINER me", format!("4: `MAINTAINER` is deprecated: use `LABEL org.opencontainers.image.authors=…`{docker}")),
        ("COPY <<EOF /x\ntext\nEOF", format!("4: the builtin engine does not support here-documents: copy a file{docker}")),
        ("COPY --link a b", format!("4: `COPY --link` is not supported by the builtin engine{docker}")),
        ("COPY --chown= a b", format!("4: `--chown` needs a value{docker}")),
        ("COPY --chmod=u+x a b", format!("4: `--chmod=u+x` is not an octal mode such as `0755`{docker}")),
        ("COPY --from=nginx /etc/nginx /etc", format!("4: `nginx` is not an earlier stage, and the builtin engine does not copy from other images{docker}")),
        ("COPY --from=1 /t/release/app /app", format!("4: `1` is not an earlier stage, and the builtin engine does not copy from other images{docker}")),
        ("COPY --from=build /etc/ssl /etc/ssl", format!("4: `/etc/ssl` exists only in Docker: the builtin engine copies only binaries from an earlier stage, such as `…/app`{docker}")),
        ("COPY --from=build /t/release/app /a", format!("5: line 4 already copies the binary{docker}")),
        ("COPY a", "4: COPY instruction requires at least two arguments".to_owned()),
        ("CMD ['serve']", "4: `CMD` looks like a list but is not valid JSON: it needs double quotes around each word, commas between them and a `]` at the end, as in `[\"program\", \"argument\"]`".to_owned()),
        ("HEALTHCHECK --interval=soon CMD [\"x\"]", format!("4: `soon` is not a duration such as `30s`{docker}")),
        ("HEALTHCHECK --retries=-1 CMD [\"x\"]", format!("4: `--retries=-1` is not a number{docker}")),
        ("HEALTHCHECK --start-interval=1s CMD [\"x\"]", format!("4: `HEALTHCHECK --start-interval` is not supported by the builtin engine{docker}")),
        ("HEALTHCHECK --retries=1 NONE", format!("4: `HEALTHCHECK NONE` takes no options{docker}")),
        ("EXPOSE 8000-8010", format!("4: `8000-8010` is not a single port such as `8000` or `8000/udp`{docker}")),
        ("EXPOSE $PORT", format!("4: `` is not a single port such as `8000` or `8000/udp`{docker}")),
        ("USER $NOBODY", "4: `USER $NOBODY` expands to nothing".to_owned()),
        ("STOPSIGNAL please stop", format!("4: `please stop` is not a signal such as `SIGTERM`{docker}")),
        ("ENV A='x", "4: `'x` has an unclosed `'`".to_owned()),
        ("ENV A=1 B", "4: `B` is not of the form `NAME=value`".to_owned()),
        ("LABEL alone", "4: `alone` is not of the form `NAME=value`".to_owned()),
        ("ARG A=${B", "4: `${B` has an unclosed `${`".to_owned()),
        ("WORKDIR ${A?x}", "4: `${A?x}` uses `A` with an operator other than `:-` and `:+`".to_owned()),
        ("NONSENSE x", "4: unknown instruction 'NONSENSE'".to_owned()),
    ] {
        assert_eq!(refusal(&with(stage)), format!("Dockerfile:{expected}"));
    }
}

#[test]
fn a_file_without_a_final_stage_is_refused() {
    let docker = ", or build with `--engine docker`";
    for (text, expected) in [
        ("", "1: expected at least one FROM instruction".to_owned()),
        ("RUN x", "1: expected FROM".to_owned()),
        ("FROM a AS x\nFROM b AS x\n", "2: duplicate stage name 'x'".to_owned()),
        (
            "FROM scratch\n",
            "1: the final stage does not copy the binary: it needs a `COPY --from=<stage> …/release/app <path>`".to_owned(),
        ),
        (
            "FROM rust AS Build\nFROM build\n",
            format!("2: the final stage builds on the stage `build`, which only Docker supports{docker}"),
        ),
        (
            "ARG BASE=Debian\nFROM ${BASE}:12\n",
            "2: the base image: `Debian` in `Debian` is not part of a repository's name: lower-case letters and digits, separated by `.`, `_`, `__` or `-`".to_owned(),
        ),
        (
            "FROM --platform=linux/arm64 scratch\n",
            format!("1: `--platform=linux/arm64` is not the platform of this image, linux/amd64: `target` in the configuration sets it{docker}"),
        ),
    ] {
        assert_eq!(refusal(text), format!("Dockerfile:{expected}"));
    }
}

#[test]
fn the_classic_builder_must_be_able_to_follow_every_stage() {
    for (text, expected) in [
        ("FROM a\nRUN --mount=type=cache,target=/x true", "2: `RUN --mount`"),
        ("FROM a\nCOPY --chown=1 \\\n --link a b", "3: `COPY --link`"),
        ("FROM a\nCOPY --chmod=755 a b", "2: `COPY --chmod`"),
        ("FROM a\nADD --checksum=sha256:0 a b", "2: `ADD --checksum`"),
        ("FROM a\nHEALTHCHECK --start-interval=1s CMD x", "2: `HEALTHCHECK --start-interval`"),
        ("FROM a\nONBUILD RUN --network=none true", "2: `RUN --network`"),
        ("FROM a\nRUN <<EOF\ntrue\nEOF", "2: a here-document"),
        ("FROM a\n\nCOPY <<EOF /x\ntrue\nEOF", "3: a here-document"),
        ("FROM a\nADD <<EOF /x\ntrue\nEOF", "2: a here-document"),
    ] {
        assert_eq!(
            classic_builder::check(&dockerfile(text)).unwrap_err().to_string(),
            format!("Dockerfile:{expected} needs BuildKit: install buildx")
        );
    }
    classic_builder::check(&dockerfile("FROM --platform=linux/amd64 a\nADD --chown=1 a b\nCOPY --from=x --chown=1 a b\nHEALTHCHECK --timeout=1s --retries=3 NONE")).unwrap();
}
