//! Pages on GitHub and in registries, derived from what reports name.

use crate::Image;

/// A commit's page, next to the run's page on GitHub. `None` for another CI server, and for a commit with changes on top.
#[must_use]
pub fn commit(run: Option<&str>, sha: &str) -> Option<String> {
    let (repository, _) = run?.split_once("/actions/runs/")?;
    (!sha.ends_with("-dirty")).then(|| format!("{repository}/commit/{sha}"))
}

/// An image's page in a registry that has pages.
#[must_use]
pub fn image(image: &Image, commit: Option<&str>) -> Option<String> {
    let (host, path) = image.repository.split_once('/')?;
    Some(match host {
        "docker.io" => {
            let page = match path.strip_prefix("library/") {
                Some(name) => format!("https://hub.docker.com/_/{name}/tags"),
                None => format!("https://hub.docker.com/r/{path}/tags"),
            };
            commit.map_or_else(|| page.clone(), |commit| format!("{page}?name={commit}"))
        }
        "quay.io" => format!("https://quay.io/repository/{path}/manifest/{}", image.digest),
        "ghcr.io" => format!("https://ghcr.io/{path}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_linked_where_the_run_is_on_github() {
        let run = Some("https://github.com/o/app/actions/runs/7");
        assert_eq!(commit(run, "abc").as_deref(), Some("https://github.com/o/app/commit/abc"));
        assert_eq!(commit(run, "abc-dirty"), None);
        assert_eq!(commit(Some("https://ci.example/runs/7"), "abc"), None);
        assert_eq!(commit(None, "abc"), None);
    }

    #[test]
    fn an_image_is_linked_where_its_registry_has_pages() {
        let link = |repository: &str, commit| {
            let repository = repository.to_owned();
            image(
                &Image { repository, digest: "sha256:0".to_owned(), bytes: 0, attestations: Vec::new() },
                commit,
            )
        };
        for (repository, page) in [
            ("docker.io/o/app", "https://hub.docker.com/r/o/app/tags?name=abc"),
            ("docker.io/library/app", "https://hub.docker.com/_/app/tags?name=abc"),
            ("quay.io/o/app", "https://quay.io/repository/o/app/manifest/sha256:0"),
            ("ghcr.io/o/app", "https://ghcr.io/o/app"),
        ] {
            assert_eq!(link(repository, Some("abc")).as_deref(), Some(page));
        }
        assert_eq!(link("docker.io/o/app", None).as_deref(), Some("https://hub.docker.com/r/o/app/tags"));
        assert_eq!(link("registry.example/app", None), None);
        assert_eq!(link("app", None), None);
    }
}
