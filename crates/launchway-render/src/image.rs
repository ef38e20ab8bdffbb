//! Image references: just enough to compare them.

/// The repository in a reference, in full: host and path, without tag and digest.
///
/// Docker's short forms are completed: `nginx` is `docker.io/library/nginx`.
pub fn repository(reference: &str) -> String {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    // A colon before the last slash belongs to the port.
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (first.to_ascii_lowercase(), path),
        _ => ("docker.io".to_owned(), name),
    };
    match host.as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" if path.contains('/') => {
            format!("docker.io/{path}")
        }
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => format!("docker.io/library/{path}"),
        _ => format!("{host}/{path}"),
    }
}

/// An image by its digest: the only kind of reference that a registry cannot move.
pub fn pinned(reference: &str, digest: &str) -> String {
    format!("{}@{digest}", repository(reference))
}

/// Whether a reference is one of this repository and this digest.
pub fn is_pinned(reference: &str, image: &str, digest: &str) -> bool {
    repository(reference) == repository(image)
        && reference.split_once('@').is_some_and(|(_, found)| found == digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_repository_in_full() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (reference, expected) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("acme/app", "docker.io/acme/app"),
            ("docker.io/acme/app:latest", "docker.io/acme/app"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/acme/app", "docker.io/acme/app"),
            ("ghcr.io/o/app", "ghcr.io/o/app"),
            ("GHCR.io/o/app:1", "ghcr.io/o/app"),
            ("localhost/app", "localhost/app"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
            ("127.0.0.1:5000/o/app:1", "127.0.0.1:5000/o/app"),
        ] {
            assert_eq!(repository(reference), expected);
            assert_eq!(repository(&format!("{reference}@{digest}")), expected);
        }
    }

    #[test]
    fn a_pinned_reference_is_known_again() {
        let (ours, other) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let reference = pinned("acme/app:latest", &ours);
        assert_eq!(reference, format!("docker.io/acme/app@{ours}"));
        assert!(is_pinned(&reference, "docker.io/acme/app", &ours));
        assert!(is_pinned(&format!("acme/app:1@{ours}"), "docker.io/acme/app", &ours));
        assert!(!is_pinned(&reference, "docker.io/acme/app", &other));
        assert!(!is_pinned(&reference, "ghcr.io/acme/app", &ours));
        assert!(!is_pinned("acme/app:1", "acme/app", &ours));
    }
}
