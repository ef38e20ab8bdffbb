use super::super::github::tests::of;
use super::super::yaml;
use super::*;

const WORKFLOW: &str = "\
on: [push, pull_request]
env:
  CARGO_TERM_COLOR: always
  REGISTRY: ghcr.io
  PG_VERSION: 16
  APP_MODE: test
jobs:
  test:
    services:
      db:
        image: postgres:${{ env.PG_VERSION }}
        env:
          POSTGRES_USER: postgres
          POSTGRES_PASSWORD: password
        ports:
          - 5432:5432
        options: >-
          --health-cmd \"pg_isready -U postgres\" --health-interval 10s
          --health-timeout=5s --shm-size 1g
      redis:
        image: redis:7
        ports: [6379:6379/tcp]
    steps:
      - run: cargo install sqlx-cli
      - run: sqlx migrate run
      - run: cargo test --workspace
        env:
          DATABASE_URL: postgres://postgres:password@localhost:5432/app
          API_KEY: ${{ secrets.API_KEY }}
          RUSTFLAGS: -Dwarnings
";

fn setup(text: &str) -> TestSetup {
    TestSetup::of_workflows(&of(text), |name| name == "APP_MODE")
}

fn lines(setup: &TestSetup) -> [Vec<String>; 3] {
    let service = |found: &Found<(String, TestService)>| {
        let (name, TestService { image, environment, ports, health }) = &found.value;
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let environment: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "{} {name}: {image} {} {} {}",
            found.place,
            environment.join(" "),
            ports.join(" "),
            health.as_deref().unwrap_or("-")
        )
    };
    let pair =
        |found: &Found<(String, String)>| format!("{} {}={}", found.place, found.value.0, found.value.1);
    [
        setup.services.iter().map(service).collect(),
        setup.environment.iter().map(pair).collect(),
        setup.left.iter().map(|found| format!("{} {}", found.place, found.value)).collect(),
    ]
}

#[test]
fn a_limit_on_the_tests_at_once_is_taken_over() {
    let job = |test: &str| format!("on: push\njobs:\n  test:\n    steps:\n      - run: cargo build\n{test}");
    for (test, expected) in [
        ("      - run: cargo llvm-cov --lcov -- --test-threads 1\n", vec!["ci.yml:6 RUST_TEST_THREADS=1"]),
        ("      - run: cargo test -- --test-threads=2 --nocapture\n", vec!["ci.yml:6 RUST_TEST_THREADS=2"]),
        (
            "      - run: cargo test -- --test-threads=2\n        env:\n          RUST_TEST_THREADS: 3\n",
            vec!["ci.yml:8 RUST_TEST_THREADS=3"],
        ),
        ("      - run: cargo test -- --test-threads=$(nproc)\n", vec![]),
    ] {
        let [_, environment, _] = lines(&setup(&job(test)));
        assert_eq!(environment, expected, "{test}");
    }
}

#[test]
fn services_and_variables_of_the_tests_are_taken_over() {
    let [services, environment, left] = lines(&setup(WORKFLOW));
    assert_eq!(
        services,
        [
            "ci.yml:11 db: postgres:16 POSTGRES_PASSWORD=password POSTGRES_USER=postgres 5432:5432 pg_isready -U postgres",
            "ci.yml:21 redis: redis:7  6379:6379 -",
        ]
    );
    assert_eq!(
        environment,
        ["ci.yml:6 APP_MODE=test", "ci.yml:28 DATABASE_URL=postgres://postgres:password@localhost:5432/app",]
    );
    assert_eq!(
        left,
        [
            "ci.yml:11 the service db: the option `--shm-size 1g` is left out",
            "ci.yml:29 the variable API_KEY of the tests: only GitHub knows `${{ secrets.API_KEY }}`",
            "ci.yml:25 `sqlx migrate run` prepares the tests: let them do it, or run it by hand",
        ]
    );
}

#[test]
fn a_service_that_cannot_be_taken_over_is_listed() {
    for (from, to, expected) in [
        ("${{ env.PG_VERSION }}", "${{ matrix.pg }}", "the service db: only GitHub knows `${{ matrix.pg }}`"),
        (
            "POSTGRES_PASSWORD: password",
            "POSTGRES_PASSWORD: ${{ secrets.P }}",
            "the service db: only GitHub knows `${{ secrets.P }}`",
        ),
        ("- 5432:5432", "- 5432", "the service db: its port 5432 has no fixed port of the machine"),
        (
            "- 5432:5432",
            "- 5432:5432/udp",
            "the service db: its port `5432:5432/udp` is not of the form `5432:5432`",
        ),
        (
            "[6379:6379/tcp]",
            "[5432:6379]",
            "uses port 5432 of this machine, which another service already uses",
        ),
        (
            "    steps:",
            "    container: rust:1\n    steps:",
            "its job runs in a container, where tests reach it by its name",
        ),
        (
            "pg_isready -U postgres",
            "pg_isready -U $POSTGRES_USER",
            "the health check `pg_isready -U $POSTGRES_USER` is left out, and an open port is enough",
        ),
        (
            "image: redis:7",
            "image: redis:7\n        volumes: [a:/b]",
            "the service redis: `volumes` is left out",
        ),
        ("      redis:\n", "      9redis:\n", "but a name may contain only letters"),
    ] {
        let text = WORKFLOW.replace(from, to);
        assert_ne!(text, WORKFLOW, "{from}");
        let [services, _, left] = lines(&setup(&text));
        assert!(left.iter().any(|line| line.contains(expected)), "{to}: {left:?}");
        assert_eq!(
            services.len(),
            if left.iter().any(|line| line.contains("left out") && line.contains(expected)) {
                2
            } else {
                services.len().min(1)
            },
            "{to}"
        );
    }
}

#[test]
fn kept_queries_of_sqlx_are_used_to_compile() {
    let kept = "crates/db/.sqlx/query-1.json".to_owned();
    let mut setup = setup(WORKFLOW);
    setup.compile_offline(None);
    assert_eq!(setup.environment.len(), 2);
    setup.compile_offline(Some(&kept));
    setup.compile_offline(Some(&kept));
    assert_eq!(lines(&setup)[1][2..], ["crates/db/.sqlx/ SQLX_OFFLINE=true"]);
    let mut without = TestSetup::default();
    without.compile_offline(Some(&kept));
    assert!(without.environment.is_empty());
}

#[test]
fn only_the_jobs_that_test_a_change_are_read() {
    for (from, to) in [("[push, pull_request]", "workflow_dispatch"), ("cargo test", "cargo build")] {
        let text = WORKFLOW.replace(from, to);
        assert_eq!(lines(&setup(&text)), [const { Vec::<String>::new() }; 3], "{to}");
    }
}

const COMPOSE: &str = "\
services:
  web:
    build: .
    ports: [\"8000:8000\"]
  database:
    image: postgres:${PG:-15}-alpine
    restart: always
    command: -c fsync=off
    environment:
      - POSTGRES_USER=${USER:-app}
      - POSTGRES_PASSWORD=password
    ports:
      - \"127.0.0.1:5433:5432\"
    volumes:
      - data:/var/lib/postgresql/data
      - ./init.sql:/docker-entrypoint-initdb.d/init.sql
    healthcheck:
      test: [\"CMD-SHELL\", \"pg_isready -U app\"]
  metrics:
    image: prometheuscommunity/postgres-exporter
    ports: [\"9187:9187\"]
volumes:
  data:
";

#[test]
fn what_tests_need_is_found_in_a_compose_file() {
    let of = |text: &str, kinds: &[&str]| {
        let mut setup = TestSetup::default();
        setup.add_compose("compose.yaml", &yaml::parse(text).unwrap(), kinds);
        lines(&setup)
    };
    let [services, _, left] = of(COMPOSE, &["PostgreSQL", "Redis"]);
    assert_eq!(
        services,
        [
            "compose.yaml:6 database: postgres:15-alpine POSTGRES_PASSWORD=password POSTGRES_USER=app 5433:5432 pg_isready -U app"
        ]
    );
    assert_eq!(
        left,
        [
            "compose.yaml:6 the service database: `command` is left out",
            "compose.yaml:6 the service database: the mount `./init.sql:/docker-entrypoint-initdb.d/init.sql` is left out",
        ]
    );
    assert_eq!(of(COMPOSE, &["Redis"]), [const { Vec::<String>::new() }; 3]);
    for (from, to, expected) in [
        ("POSTGRES_PASSWORD=password", "POSTGRES_PASSWORD=${SECRET}", "`${SECRET}` needs a variable"),
        ("POSTGRES_PASSWORD=password", "POSTGRES_PASSWORD", "`POSTGRES_PASSWORD` comes from the environment"),
        ("    restart: always", "    env_file: .env", "it has `env_file`"),
        ("      - \"127.0.0.1:5433:5432\"", "      - target: 5432", "its ports are in the long form"),
    ] {
        let [services, _, left] = of(&COMPOSE.replace(from, to), &["PostgreSQL"]);
        assert_eq!(
            (services, left),
            (Vec::new(), vec![format!("compose.yaml:6 the service database: {expected}")]),
            "{to}"
        );
    }
}
