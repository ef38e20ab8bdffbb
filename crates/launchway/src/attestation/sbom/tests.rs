use super::*;

/// The workspace of this crate, as if the crate were a service.
fn here() -> (&'static Path, Config) {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = Config::read(&crate_root.join("tests/fixture/Cargo.toml")).unwrap();
    env!("CARGO_PKG_NAME").clone_into(&mut config.package);
    (crate_root.ancestors().nth(2).unwrap(), config)
}

fn texts<'a>(values: &'a Value, key: &str) -> BTreeSet<&'a str> {
    values.as_array().unwrap().iter().map(|value| value[key].as_str().unwrap()).collect()
}

#[test]
fn it_lists_what_cargo_links() {
    let (root, config) = here();
    let bom: Value = serde_json::from_str(&document(root, &config).unwrap()).unwrap();
    let target = &config.target;
    let tree =
        call!("cargo tree --locked -p launchway -e normal,no-proc-macro --prefix none --target {target}");
    let tree = tree.read(root).unwrap();
    let linked: BTreeSet<String> = tree
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("launchway v"))
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let listed: BTreeSet<String> = bom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|crate_| {
            format!("{} v{}", crate_["name"].as_str().unwrap(), crate_["version"].as_str().unwrap())
        })
        .collect();
    assert_eq!(listed, linked);
    assert!(listed.len() > 50, "{}", listed.len());
    // Of the service only, of the tests only, and what runs while it is compiled.
    for absent in ["rusqlite", "insta", "tempfile", "serde_derive", "syn", "cc"] {
        assert!(!listed.iter().any(|name| name.starts_with(&format!("{absent} v"))), "{absent} is listed");
    }
    assert!(!bom.to_string().contains(root.to_str().unwrap()), "a path of this machine is in it");
}

#[test]
fn it_lists_the_crates_of_the_configured_features() {
    let (root, mut config) = here();
    let lists_fakes = |config: &Config| document(root, config).unwrap().contains("launchway-fakes");
    assert!(lists_fakes(&config));
    config.build.default_features = false;
    assert!(!lists_fakes(&config));
    config.build.features = vec!["rehearsal".to_owned()];
    assert!(lists_fakes(&config));
}

#[test]
fn it_keeps_the_rules_of_the_schema() {
    let (root, config) = here();
    let text = document(root, &config).unwrap();
    assert_eq!(text, document(root, &config).unwrap(), "the same bytes each time");
    let bom: Value = serde_json::from_str(&text).unwrap();
    // <https://cyclonedx.org/docs/1.5/json/>: the required keys, and no others than it knows.
    assert_eq!(
        (&bom["bomFormat"], &bom["specVersion"], &bom["version"]),
        (&json!("CycloneDX"), &json!("1.5"), &json!(1))
    );
    let known = ["$schema", "bomFormat", "specVersion", "version", "metadata", "components", "dependencies"];
    assert!(bom.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())));
    let app = &bom["metadata"]["component"];
    assert_eq!(
        (&app["type"], &app["name"], &app["version"]),
        (&json!("application"), &json!("launchway"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(app.get("purl").is_none(), "a name on crates.io may be somebody else's");
    let components = bom["components"].as_array().unwrap();
    // What is of the workspace itself has no address and no hash in a registry.
    let (own, foreign): (Vec<_>, Vec<_>) = components.iter().partition(|one| one.get("purl").is_none());
    assert!(own.iter().all(|one| one["name"].as_str().unwrap().starts_with("launchway-")), "{own:?}");
    assert_eq!(own.len(), 6);
    for component in foreign {
        assert_eq!(component["type"], "library");
        let purl = format!("pkg:cargo/{}@", component["name"].as_str().unwrap());
        assert!(component["purl"].as_str().unwrap().starts_with(&purl), "{component}");
        let [hash] = component["hashes"].as_array().unwrap().as_slice() else { panic!("{component}") };
        assert_eq!(hash["alg"], "SHA-256");
        let content = hash["content"].as_str().unwrap();
        assert!(content.len() == 64 && content.bytes().all(|byte| byte.is_ascii_hexdigit()), "{component}");
        // `licenses` holds either one expression or any number of licences, never both.
        let [license] = component["licenses"].as_array().unwrap().as_slice() else { panic!("{component}") };
        let expression = license["expression"].as_str().unwrap();
        assert!(!expression.is_empty() && !expression.contains('/'), "{component}");
    }
    let mut references = texts(&bom["components"], "bom-ref");
    assert_eq!(references.len(), components.len(), "`bom-ref` is unique");
    assert!(references.insert(app["bom-ref"].as_str().unwrap()));
    assert_eq!(texts(&bom["dependencies"], "ref"), references, "every component says what it needs");
    for dependency in bom["dependencies"].as_array().unwrap() {
        for needed in dependency["dependsOn"].as_array().unwrap() {
            assert!(references.contains(needed.as_str().unwrap()), "{needed} is not in the document");
        }
    }
}

#[test]
fn a_package_of_another_place_is_named_with_it() {
    let sum = "ab".repeat(32);
    let lock = Lock::parse(&format!(
        "version = 4\n\
         [[package]]\nname = 'app'\nversion = '1.0.0'\n\
         [[package]]\nname = 'old'\nversion = '1.0.0+a'\nsource = '{CRATES_IO}'\nchecksum = '{sum}'\n\
         [[package]]\nname = 'old'\nversion = '1.0.0+a'\nsource = 'git+https://example.com/old#abc'\n\
         [[package]]\nname = 'own'\nversion = '2.0.0'\nsource = 'sparse+https://example.com/index/'\n"
    ))
    .unwrap();
    let graph = Graph::parse(
        "0app v1.0.0 (/w/app)|\n1old v1.0.0+a|MIT/Apache-2.0\n1old v1.0.0+a (https://example.com/old#abc)|MIT\n\
         2own v2.0.0 (registry `own`)|MIT\n1own v2.0.0 (registry `own`)|MIT (*)\n",
        "app",
    )
    .unwrap();
    let bom = bom(&graph, &lock, "t").unwrap();
    let git = "pkg:cargo/old@1.0.0%2Ba?vcs_url=git%2Bhttps%3A%2F%2Fexample.com%2Fold%23abc";
    let own = "pkg:cargo/own@2.0.0?repository_url=sparse%2Bhttps%3A%2F%2Fexample.com%2Findex%2F";
    assert_eq!(texts(&bom["components"], "purl"), BTreeSet::from(["pkg:cargo/old@1.0.0%2Ba", git, own]));
    assert_eq!(bom["components"][0]["licenses"], json!([{ "expression": "MIT OR Apache-2.0" }]));
    assert_eq!(bom["components"][0]["hashes"][0]["content"], sum);
    assert!(bom["metadata"]["component"].get("licenses").is_none());
    let needs = |of: &str| {
        let mut all = bom["dependencies"].as_array().unwrap().iter();
        all.find(|dependency| dependency["ref"] == of).unwrap()["dependsOn"].clone()
    };
    assert_eq!(needs("app@1.0.0"), json!(["pkg:cargo/old@1.0.0%2Ba", git, own]));
    assert_eq!((needs(git), needs(own)), (json!([own]), json!([])));
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = format!("{:#}", Graph::parse("app v1.0.0|MIT", "app").unwrap_err());
    assert!(error.contains("`app v1.0.0|MIT`, which is not a package"), "{error}");
    let graph = Graph::parse("0app v1.0.0 (/w/app)|MIT", "app").unwrap();
    let error = bom(&graph, &Lock { package: Vec::new() }, "t").unwrap_err();
    assert!(error.to_string().contains("does not list `app v1.0.0 (/w/app)`"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let (_, mut config) = here();
    "app".clone_into(&mut config.package);
    let error = document(dir.path(), &config).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(format!("{error:#}").contains("cannot list the crates that are linked into `app`"), "{error:#}");
}

#[test]
fn a_program_of_another_package_is_a_part_of_the_image() {
    let text = "0admin v1.0.0 (/w/admin)|MIT\n1b v1.0.0|MIT\n\n0app v1.0.0 (/w/app)|MIT\n1a v1.0.0|MIT\n";
    let graph = Graph::parse(text, "app").unwrap();
    assert_eq!(graph.root, "app v1.0.0 (/w/app)");
    let needs: Vec<&String> = graph.packages[&graph.root].needs.iter().collect();
    assert_eq!(needs, ["a v1.0.0", "admin v1.0.0 (/w/admin)"]);
}
