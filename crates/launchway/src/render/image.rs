//! Image references, as far as telling whether two name the same repository takes.

use launchway_registry::ImageName;

/// The repository that a reference names, in full: host, path, no tag, no digest.
///
/// What cannot be read as a reference names nothing but itself.
pub(crate) fn repository(reference: &str) -> String {
    reference.parse::<ImageName>().map_or_else(|_| reference.to_owned(), |name| name.repository.to_string())
}

/// The reference of an image by its digest: the only kind that a registry cannot move.
pub(crate) fn pinned(reference: &str, digest: &str) -> String {
    format!("{}@{digest}", repository(reference))
}

/// Whether a reference is one of this repository and this digest.
pub(crate) fn is_pinned(reference: &str, image: &str, digest: &str) -> bool {
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
            ("launchway/app", "docker.io/launchway/app"),
            ("docker.io/launchway/app:latest", "docker.io/launchway/app"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/launchway/app", "docker.io/launchway/app"),
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
        let reference = pinned("launchway/app:latest", &ours);
        assert_eq!(reference, format!("docker.io/launchway/app@{ours}"));
        assert!(is_pinned(&reference, "docker.io/launchway/app", &ours));
        assert!(is_pinned(&format!("launchway/app:1@{ours}"), "docker.io/launchway/app", &ours));
        assert!(!is_pinned(&reference, "docker.io/launchway/app", &other));
        assert!(!is_pinned(&reference, "ghcr.io/launchway/app", &ours));
        assert!(!is_pinned("launchway/app:1", "launchway/app", &ours));
    }
}
