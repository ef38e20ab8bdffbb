//! Finds the paths that a service responds to among the strings of its sources.

use super::code::Source;
use super::findings::Found;

/// Usual names of health checks, the likeliest first.
const HEALTH: [&str; 10] = [
    "healthz",
    "health",
    "health_check",
    "health-check",
    "healthcheck",
    "livez",
    "readyz",
    "live",
    "ping",
    "status",
];

/// Possible health check paths, the likeliest first.
///
/// A route below a prefix is listed with the prefix, if the sources mount a router there, and then without.
pub(super) fn health(sources: &[Source]) -> Vec<Found<String>> {
    let mut found: Vec<(usize, Found<String>)> = Vec::new();
    for (source, offset, path) in paths(sources) {
        let last = path.rsplit('/').next().unwrap_or_default();
        if let Some(rank) = HEALTH.iter().position(|name| *name == last) {
            // A path of one part is usually a route itself rather than a part of a longer one.
            let parts = path.matches('/').count();
            found.push((rank + 20 * parts, Found::new(path, source.place(offset))));
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    let mut paths: Vec<Found<String>> = Vec::new();
    for (_, path) in found {
        for prefix in prefixes(sources) {
            let with_prefix = format!("{}{}", prefix.value.trim_end_matches('/'), path.value);
            if !path.value.starts_with(&prefix.value) && prefix_fits(sources, &prefix, &path) {
                paths.push(Found::new(with_prefix, path.place.clone()));
            }
        }
        paths.push(path);
    }
    if let Some((source, offset, path)) = root(sources) {
        paths.push(Found::new(path, source.place(offset)));
    }
    let mut known = Vec::new();
    paths.retain(|path| {
        !known.contains(&path.value) && {
            known.push(path.value.clone());
            true
        }
    });
    paths
}

/// A path that may return `{"commit": …}`: it is called that, and the source beside it mentions a commit.
pub(super) fn version(sources: &[Source]) -> Option<Found<String>> {
    paths(sources).find_map(|(source, offset, path)| {
        let last = path.rsplit('/').next().unwrap_or_default();
        let speaks = source.code.contains("commit");
        (matches!(last, "version" | "info" | "build") && path.matches('/').count() == 1 && speaks)
            .then(|| Found::new(path, source.place(offset)))
    })
}

/// Strings that are paths without a parameter.
fn paths(sources: &[Source]) -> impl Iterator<Item = (&Source, usize, String)> {
    sources.iter().flat_map(|source| {
        source.strings.iter().filter_map(move |text| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
            let value = &text.value;
            let is_path =
                value.len() > 1 && value.len() < 60 && value.chars().all(is_part) && !value.starts_with("//");
            // Some frameworks write a path without its leading `/`.
            let is_constant = value.contains('/') && before(source, text.start).contains("PATH");
            let is_path = is_path && (value.starts_with('/') || is_constant);
            is_path.then(|| (source, text.start, format!("/{}", value.trim_start_matches('/'))))
        })
    })
}

/// The line before an offset.
fn before(source: &Source, offset: usize) -> &str {
    let text = source.code.get(..offset).unwrap_or_default();
    text.rsplit('\n').next().unwrap_or_default()
}

/// The handler of `/`.
fn root(sources: &[Source]) -> Option<(&Source, usize, String)> {
    const ROUTES: [&str; 6] = ["route(", "get(", "path(", "resource(", "nest_service(", "at("];
    sources.iter().find_map(|source| {
        let is_route = |offset: usize| {
            let line = before(source, offset).trim_end();
            ROUTES.iter().any(|route| line.ends_with(route))
        };
        let text = source.strings.iter().find(|text| text.value == "/" && is_route(text.start))?;
        Some((source, text.start, "/".to_owned()))
    })
}

/// The prefixes at which routers are mounted.
fn prefixes(sources: &[Source]) -> Vec<Found<String>> {
    let mut found = Vec::new();
    for source in sources {
        for call in [".nest(", "scope(", "mount("] {
            for offset in source.after(call) {
                let offset = offset + super::code::blanks(source.code.get(offset..).unwrap_or_default());
                let Some(text) = source.string_at(offset) else { continue };
                if text.value.len() > 1
                    && text.value.starts_with('/')
                    && !text.value.contains(['{', ':', '<'])
                {
                    found.push(Found::new(text.value.clone(), source.place(text.start)));
                }
            }
        }
    }
    found
}

/// Whether what is mounted at a prefix is probably related to a path: the path's last part is mentioned beside it.
fn prefix_fits(sources: &[Source], prefix: &Found<String>, path: &Found<String>) -> bool {
    let name = path.value.rsplit('/').next().unwrap_or_default();
    let name = HEALTH.iter().find(|known| name.contains(*known)).unwrap_or(&name);
    sources.iter().any(|source| {
        source.strings.iter().filter(|text| text.value == prefix.value).any(|text| {
            let beside = source.statement(text.end).to_ascii_lowercase();
            source.place(text.start) == prefix.place && beside.contains(&name.replace("healthz", "health"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let paths = health(&[Source::new("src/main.rs", text)]);
        paths.into_iter().map(|path| format!("{} {}", path.value, path.place)).collect()
    }

    #[test]
    fn the_likeliest_path_comes_first() {
        assert_eq!(
            found(
                "app.route(\"/\", get(index))\n.route(\"/health\", get(ok)).route(\"/api/healthz\", get(ok))"
            ),
            ["/health src/main.rs:2", "/api/healthz src/main.rs:2", "/ src/main.rs:1"]
        );
        assert_eq!(
            found("const HEALTH_CHECK_PATH: &str = \"__x__/health\";"),
            ["/__x__/health src/main.rs:1"]
        );
        assert_eq!(found("#[get(\"/\")]\nfn index() {}"), ["/ src/main.rs:1"]);
        assert!(found("let a = \"health\"; join(\"/\")").is_empty());
    }

    #[test]
    fn a_prefix_comes_before_what_is_put_below_it() {
        let text = "let app = Router::new().nest(\"/system\", health_router());\n #[get(\"/health\")]";
        assert_eq!(found(text), ["/system/health src/main.rs:2", "/health src/main.rs:2"]);
    }

    #[test]
    fn a_version_path_counts_where_a_commit_is_spoken_of() {
        let of = |text: &str| version(&[Source::new("a.rs", text)]).map(|found| found.value);
        assert_eq!(of("#[get(\"/version\")] fn v() { env!(\"CARGO_PKG_VERSION\") }"), None);
        assert_eq!(
            of(".route(\"/version\", get(v)); struct V { commit: String }"),
            Some("/version".to_owned())
        );
    }
}
