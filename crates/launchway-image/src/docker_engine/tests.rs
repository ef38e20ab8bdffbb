use super::*;
use crate::testing::runner;

fn build() -> Build {
    Build {
        context: "/src".into(),
        dockerfile: "web.Dockerfile".to_owned(),
        buildx: false,
        platform: Platform::Amd64,
        name: "docker.io/acme/app:c0ffee".to_owned(),
        arguments: Arguments::from([("COMMIT", "c0ffee".to_owned())]),
        labels: vec![("a".to_owned(), "b c".to_owned())],
        id: "/w/docker.iid".into(),
    }
}

#[test]
fn explain_shows_what_docker_gets() {
    insta::assert_snapshot!(build().to_string(), @"DOCKER_BUILDKIT=0 docker build --file /src/web.Dockerfile --platform linux/amd64 --iidfile /w/docker.iid --tag docker.io/acme/app:c0ffee --build-arg COMMIT=c0ffee --label 'a=b c' /src");
    insta::assert_snapshot!(Build { buildx: true, ..build() }.to_string(), @"docker buildx build --load --provenance=false --sbom=false --file /src/web.Dockerfile --platform linux/amd64 --iidfile /w/docker.iid --tag docker.io/acme/app:c0ffee --build-arg COMMIT=c0ffee --label 'a=b c' /src");
    let (id, archive) = (PathBuf::from("/w/docker.iid"), PathBuf::from("/w/docker.tar"));
    insta::assert_snapshot!(Save { id, archive: archive.clone() }.to_string(), @"docker save --output /w/docker.tar ID, with the ID from /w/docker.iid");
    insta::assert_snapshot!(Load { archive: archive.clone(), keep: true }.to_string(), @"docker load < /w/docker.tar");
    insta::assert_snapshot!(Load { archive, keep: false }.to_string(), @"docker load < /w/docker.tar, then remove that file");
}

#[test]
fn an_engine_that_does_not_respond_is_missing() {
    let nobody = |program: &str| {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("unix://{}/nobody.sock", dir.path().display());
        let docker = |args: &[&str]| Call::new(program).args(args.iter().copied()).env("DOCKER_HOST", &host);
        let error = check_with(dir.path(), &docker).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        (error.to_string(), host)
    };
    let (none, _) = nobody("no-such-docker");
    assert!(none.starts_with("the Docker command line cannot be run: install it. "), "{none}");
    assert!(none.contains("`--engine builtin` and `--output FILE` need no Docker"), "{none}");
    if Call::new("docker").arg("--version").read(Path::new("/")).is_err() {
        use std::io::Write as _;
        writeln!(
            std::io::stderr(),
            "SKIPPED: an_engine_that_does_not_respond_is_missing: no Docker command line"
        )
        .unwrap();
        return;
    }
    let (text, host) = nobody("docker");
    assert!(text.starts_with(&format!("no Docker engine responds at {host}: ")), "{text}");
}

#[test]
fn what_docker_refuses_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path());
    let (id, archive) = (dir.path().join("a/docker.iid"), dir.path().join("image.tar"));
    let error = Build { id: id.clone(), name: "NOT A NAME".to_owned(), ..build() }.run(&runner);
    error.unwrap_err();
    fs_err::write(&archive, "not an archive").unwrap();
    Load { archive: archive.clone(), keep: true }.run(&runner).unwrap_err();
    assert!(archive.exists());
    Load { archive: archive.clone(), keep: false }.run(&runner).unwrap_err();
    assert!(!archive.exists());
    for text in ["not a digest", Digest::of(b"nobody's image").as_str()] {
        fs_err::write(&id, text).unwrap();
        Save { id: id.clone(), archive: archive.clone() }.run(&runner).unwrap_err();
        assert!(!id.exists() && !archive.exists(), "{text}");
    }
}
