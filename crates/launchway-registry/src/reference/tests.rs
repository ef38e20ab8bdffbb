use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn names_are_read_as_docker_reads_them() {
    let pinned = format!("ghcr.io/o/app@{DIGEST}");
    let both = format!("ghcr.io/o/app:1@{DIGEST}");
    for (text, registry, name, reference, shown) in [
        ("docker.io/acme/app", "docker.io", "acme/app", None, "docker.io/acme/app"),
        ("acme/app", "docker.io", "acme/app", None, "docker.io/acme/app"),
        ("debian", "docker.io", "library/debian", None, "docker.io/library/debian"),
        ("docker.io/debian", "docker.io", "library/debian", None, "docker.io/library/debian"),
        ("index.docker.io/acme/app", "docker.io", "acme/app", None, "docker.io/acme/app"),
        ("registry-1.docker.io/acme/app", "docker.io", "acme/app", None, "docker.io/acme/app"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", None, "127.0.0.1:5000/a/b"),
        ("localhost:5000/x", "localhost:5000", "x", None, "localhost:5000/x"),
        ("localhost/x", "localhost", "x", None, "localhost/x"),
        ("[::1]:5000/x", "[::1]:5000", "x", None, "[::1]:5000/x"),
        ("GHCR.io/o/app", "ghcr.io", "o/app", None, "ghcr.io/o/app"),
        ("ghcr.io/o/app:tag", "ghcr.io", "o/app", Some("tag"), "ghcr.io/o/app:tag"),
        ("debian:12", "docker.io", "library/debian", Some("12"), "docker.io/library/debian:12"),
        ("h.io:443/a:b", "h.io:443", "a", Some("b"), "h.io:443/a:b"),
        (&pinned, "ghcr.io", "o/app", Some(DIGEST), &pinned),
        (&both, "ghcr.io", "o/app", Some(DIGEST), &pinned),
        ("h.io/a__b/c.d/e---f/0", "h.io", "a__b/c.d/e---f/0", None, "h.io/a__b/c.d/e---f/0"),
    ] {
        let image: ImageName = text.parse().unwrap();
        assert_eq!((image.repository.registry(), image.repository.name()), (registry, name), "of `{text}`");
        assert_eq!(image.reference.as_ref().map(Reference::as_str), reference, "of `{text}`");
        assert_eq!(image.to_string(), shown);
    }
}

#[test]
fn an_error_says_what_is_wrong() {
    let long = format!("h.io/{}", "a".repeat(255));
    let long_tag = format!("h.io/a:{}", "t".repeat(129));
    for (text, expected) in [
        ("", "needs a name"),
        ("docker.io/", "`` in `docker.io/` is not part of a repository's name"),
        ("/app", "`` in `/app`"),
        ("Acme/x", "`Acme` in `Acme/x` is not part"),
        ("acme/app_", "`app_` in"),
        ("acme/a___b", "`a___b` in"),
        ("acme/a._b", "`a._b` in"),
        ("acme//app", "`` in `acme//app`"),
        ("ftp://docker.io/acme/app", "is not a registry's `host`"),
        ("-a.io/x", "`-a.io` in `-a.io/x` is not a registry's"),
        ("a.io:99999/x", "`a.io:99999` in"),
        ("a.io:/x", "`a.io:` in"),
        ("[::zz]:1/x", "`[::zz]:1` in"),
        ("user@h.io/x", "`h.io/x` is not a digest"),
        ("h.io/x:", "`` is not a tag"),
        ("h.io/x:-a", "`-a` is not a tag"),
        ("h.io/x:a b", "`a b` is not a tag"),
        ("h.io/x@sha256:ABC", "`sha256:ABC` is not a digest"),
        (&long, "is longer than 255 bytes"),
        (&long_tag, "is not a tag: at most 128"),
    ] {
        let error = text.parse::<ImageName>().unwrap_err().to_string();
        assert!(error.contains(expected), "of `{text}`: {error}");
    }
}

#[test]
fn the_address_of_a_page_is_not_an_image() {
    for (text, meant) in [
        ("hub.docker.com/r/acme/app", "docker.io/acme/app"),
        ("https://hub.docker.com/r/acme/app/", "docker.io/acme/app"),
        ("hub.docker.com/_/debian", "docker.io/debian"),
        ("hub.docker.com/repository/docker/acme/app", "docker.io/acme/app"),
        ("github.com/acme/app", "ghcr.io/acme/app"),
        ("gitlab.com/acme/app", "registry.gitlab.com/acme/app"),
        ("quay.io/repository/acme/app", "quay.io/acme/app"),
        ("https://ghcr.io/acme/app", "ghcr.io/acme/app"),
        ("http://127.0.0.1:5000/acme/app", "127.0.0.1:5000/acme/app"),
    ] {
        let error = text.parse::<Repository>().unwrap_err().to_string();
        assert!(error.ends_with(&format!("not of an image: write `{meant}`")), "of `{text}`: {error}");
        meant.parse::<Repository>().unwrap();
    }
    "quay.io/acme/app".parse::<Repository>().unwrap();
}

#[test]
fn a_repository_has_no_tag() {
    let error = "acme/app:1".parse::<Repository>().unwrap_err().to_string();
    assert_eq!(error, "`acme/app:1` must name a repository only, without `1`");
}

#[test]
fn only_loopback_is_spoken_to_without_tls() {
    for (text, api, loopback) in [
        ("acme/app", "registry-1.docker.io", false),
        ("ghcr.io/acme/app", "ghcr.io", false),
        ("10.0.0.1:5000/app", "10.0.0.1:5000", false),
        ("127.0.0.1:5000/app", "127.0.0.1:5000", true),
        ("localhost/app", "localhost", true),
        ("[::1]:5000/app", "[::1]:5000", true),
        ("localhost.example.com/app", "localhost.example.com", false),
    ] {
        let repository: Repository = text.parse().unwrap();
        assert_eq!((repository.api_host(), repository.is_loopback()), (api, loopback), "of `{text}`");
    }
}

#[test]
fn digests_are_of_bytes_and_valid() {
    let digest = Digest::of(b"");
    assert_eq!(digest.to_string(), DIGEST);
    assert_eq!(digest.short(), "sha256:e3b0c44298fc…");
    assert_eq!(digest.hex(), &DIGEST[7..]);
    for bad in ["", "sha256:", &DIGEST[..70], &DIGEST.to_uppercase(), &DIGEST.replace("sha256", "sha512")] {
        bad.parse::<Digest>().unwrap_err();
    }
}

#[test]
fn they_are_strings_in_json() {
    let json = format!("[\"{DIGEST}\"]");
    let digests: Vec<Digest> = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&digests).unwrap(), json);
    let error = serde_json::from_str::<Repository>("\"A/b\"").unwrap_err().to_string();
    assert!(error.contains("`A` in `A/b`"), "{error}");
    assert_eq!(serde_json::to_string(&Tag::latest()).unwrap(), "\"latest\"");
}
