use super::*;

/// What is searched for is written with a `§` in it: this file is searched, too.
fn may(text: &str) -> bool {
    text_may(&text.replace('§', ""))
}

#[test]
fn what_may_hold_a_doctest_is_found() {
    for text in [
        "/// Adds.\n///\n/// ```\n/// assert!(true);\n/// ```\n",
        "//! ~~~rust\n",
        "    ///     let indented = 1;\n",
        "//!\tlet indented = 1;\n",
        "/** Adds. */\n",
        "    /*! A module. */\n",
        "#![do§c = include_str!(\"../README.md\")]\n",
        "#[do§c=\"```\"]\n",
        "#[cfg_attr(\n    feature = \"docs\",\n    do§c = \"text\"\n)]\n",
        "#[path = \"../other.rs\"]\n",
        "inc§lude!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n",
        "mod proto { tonic::inc§lude_proto!(\"greeter\"); }\n",
        "/// > ```\n",
    ] {
        assert!(may(text), "{text}");
    }
}

#[test]
fn other_text_is_none() {
    for text in [
        "/// Adds `a` and `b`:\n/// - one\n///   more\n",
        "#[doc(hidden)]\n#![doc(html_root_url = \"https://docs.rs\")]\n",
        "let doc = \"text\";\nlet mut doc = doc;\nif doc == other {}\n",
        "const PAGE: &str = include_str!(\"page.html\");\n",
        "let fence = \"```\";\n// ```\n",
        "use include::this;\n",
    ] {
        assert!(!may(text), "{text}");
    }
}

#[test]
fn only_what_belongs_to_a_library_is_searched() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    let package = "[package]\nname = \"a\"\nedition = \"2024\"\n";
    write("Cargo.toml", package);
    write("src/main.rs", "//! ```\nfn main() {}\n");
    let root = fs_err::canonicalize(dir.path()).unwrap();
    let runs = || call(&root, Path::new("/ci")).is_some();
    assert!(!runs(), "no library");
    write("src/lib.rs", "mod inner;\n");
    write("tests/it.rs", "//! ```\n");
    write("nested/Cargo.toml", package);
    write("nested/src/lib.rs", "//! ```\n");
    assert!(runs(), "the program's documentation may be the library's");
    write("src/main.rs", "fn main() {}\n");
    assert!(!runs(), "another target, another package");
    write("src/inner.rs", "/// ```\n/// ```\nfn documented() {}\n");
    assert_eq!(
        call(&root, Path::new("/ci")).unwrap().to_string(),
        "CARGO_TARGET_DIR=/ci RUSTC_WORKSPACE_WRAPPER=env cargo test --doc --no-fail-fast --locked --workspace"
    );
    write("Cargo.toml", &format!("{package}[lib]\ndoctest = false\n"));
    assert!(!runs(), "switched off");
    write("Cargo.toml", &format!("{package}[lib]\npath = \"../shared.rs\"\n"));
    assert!(runs(), "a file elsewhere");
    write("Cargo.toml", "[package");
    assert!(runs(), "a manifest that cannot be read");
}
