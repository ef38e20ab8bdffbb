//! What existing workflows and compose files give to the configuration.

use super::*;

const WORKFLOW: &str = "\
on: push
env:
  REGISTRY: ghcr.io
  IMAGE_NAME: ${{ github.repository }}
jobs:
  test:
    services:
      postgres:
        image: postgres:16
        env:
          POSTGRES_PASSWORD: \"secret\"
        ports: [\"5432:5432\"]
        options: --health-cmd pg_isready
    env:
      DATABASE_URL: postgres://postgres:secret@localhost:5432/web
    steps:
      - run: cargo machete
      - run: cargo sqlx prepare --check
      - run: cargo test
  image:
    steps:
      - uses: docker/metadata-action@v5
        with:
          images: ${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}
";

#[test]
fn what_a_workflow_says_is_configured() {
    let test = "fn main() {}\n#[cfg(test)]\nmod tests {\n  const URL: &str = \"postgres://\";\n  const CACHE: &str = \"redis://\";\n}\n";
    let dir = repository(&[
        (".github/workflows/ci.yml", WORKFLOW),
        (".github/workflows/odd.yml", "on: [push\n"),
        ("src/main.rs", test),
    ]);
    let mut baseline =
        Baseline { fmt: Some("1 file would be formatted today".to_owned()), ..Baseline::default() };
    let plan = Plan::new(&findings(&dir), Origin::Version("0.1.0"), &baseline).unwrap();
    let tables_with = tables(&plan).to_owned();
    assert!(tables_with.contains("image = \"ghcr.io/acme/web\"  # .github/workflows/ci.yml:24\n"), "{plan}");
    let (_, lint) = tables_with.split_once("\n\n[package.metadata.pipeline.lint]\n").unwrap();
    let (lint, _) = lint.split_once("\n[package.metadata.pipeline.deploy]").unwrap();
    insta::assert_snapshot!(lint, @r#"
    # Off until the reported problems are fixed.
    fmt = false  # 1 file would be formatted today
    checks = [
        { run = "cargo machete", tool = "cargo-machete@0.9.2" },  # .github/workflows/ci.yml:17
    ]

    [package.metadata.pipeline.test.environment]
    DATABASE_URL = "postgres://postgres:secret@localhost:5432/web"  # .github/workflows/ci.yml:15

    [package.metadata.pipeline.test.services.postgres]
    image = "postgres:16"  # .github/workflows/ci.yml:9
    environment = { POSTGRES_PASSWORD = "secret" }
    ports = ["5432:5432"]
    health = "pg_isready"
    "#);
    let report = report::text(&findings(&dir));
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["`cargo sqlx prepare --check`: it needs a database", ".github/workflows/odd.yml"] {
        assert!(report.contains(part), "{report}");
    }
    let left = report::left(&findings(&dir), &plan, &Threshold::ToMeasure);
    assert!(left.contains("The tests need Redis") && !left.contains("PostgreSQL"), "{left}");
    baseline.fmt = None;
    baseline.own = [("cargo machete".to_owned(), "exited with 1 today: unused: a".to_owned())].into();
    let plan = Plan::new(&findings(&dir), Origin::Version("0.1.0"), &baseline).unwrap();
    let off = "checks = [\n    # Off, it exited with 1 today: unused: a\n    # { run = \"cargo machete\"";
    assert!(tables(&plan).contains(off) && baseline.to_string().contains("`cargo machete` exited"), "{plan}");
    baseline.own.clear();
    let plan = Plan::new(&findings(&dir), Origin::Version("0.1.0"), &baseline).unwrap();
    assert!(tables(&plan).contains("pipeline.lint]\nchecks = [\n"), "{plan}");
}

#[test]
fn a_compose_file_starts_what_no_workflow_does() {
    let compose = "services:\n  db:\n    image: postgres:16\n    ports: [\"5432:5432\"]\n";
    let test = "fn main() {}\n#[cfg(test)]\nmod tests {\n  const URL: &str = \"postgres://\";\n}\n";
    let plan = plan(&repository(&[("compose.yaml", compose), ("src/main.rs", test)]));
    assert!(
        tables(&plan).contains("test.services.db]\nimage = \"postgres:16\"  # compose.yaml:3\n"),
        "{plan}"
    );
    let without = self::plan(&repository(&[("compose.yaml", compose)]));
    assert!(!tables(&without).contains("test.services"), "{without}");
}
