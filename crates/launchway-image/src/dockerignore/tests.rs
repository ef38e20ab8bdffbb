use super::*;

#[test]
fn patterns_match_as_docker_has_them() {
    for (pattern, path, expected) in [
        ("*.md", "README.md", true),
        ("*.md", "docs/README.md", false),
        ("**/*.md", "README.md", true),
        ("**/*.md", "a/b/README.md", true),
        ("a/**", "a/b/c", true),
        ("a/**", "a", false),
        ("a/**/z", "a/z", true),
        ("a/**/z", "a/b/c/z", true),
        ("a/**/z", "a/bz", false),
        ("**", "anything/at/all", true),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        (r"[\]-]x", "]x", false),
        (r"[\]]x", "]x", true),
        (r"\*", "*", true),
        (r"\*", "a", false),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "aXbYd", false),
        ("[", "[", false),
        ("", "", true),
    ] {
        assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
    }
}

#[test]
fn the_last_rule_decides() {
    let ignore = Ignore::parse(
        "\u{feff}# comment\n\n  target/  \n/.env\n*.log\n!keep.log\n ./docs/../tmp \n.\n!  docs/a.md\n**/secret\n #not-a-comment\n",
    )
    .unwrap();
    for (path, expected) in [
        ("target", true),
        ("target/debug/app", true),
        ("app/target", false),
        (".env", true),
        ("x.log", true),
        ("keep.log", false),
        ("tmp/x", true),
        ("a/b/secret", true),
        ("secret", true),
        ("secret/inside", true),
        ("#not-a-comment", true),
        ("# comment", false),
        ("app/src/main.rs", false),
    ] {
        assert_eq!(ignore.excludes(path), expected, "{path}");
    }
}

#[test]
fn only_folders_that_an_exception_reaches_are_searched() {
    let ignore = Ignore::parse("*\n!app/src\n!docs/*.md\n!**/x\n").unwrap();
    assert!(ignore.may_bring_back_below("anything"), "`**` reaches everywhere");
    let ignore = Ignore::parse("*\n!app/src\n!docs/*.md\n").unwrap();
    for (folder, expected) in
        [("app", true), ("app/src", true), ("app/other", false), ("docs", true), ("target", false)]
    {
        assert_eq!(ignore.may_bring_back_below(folder), expected, "{folder}");
    }
}

#[test]
fn a_bad_pattern_is_named_with_its_line() {
    for (text, expected) in [
        ("a\n!\n", ".dockerignore:2: `!` needs a pattern after it"),
        ("a[\n", ".dockerignore:1: `a[` is not a valid pattern"),
        ("[]\n", ".dockerignore:1: `[]` is not a valid pattern"),
        ("a\\\n", ".dockerignore:1: `a\\` is not a valid pattern"),
    ] {
        assert_eq!(Ignore::parse(text).unwrap_err().to_string(), expected);
    }
}
