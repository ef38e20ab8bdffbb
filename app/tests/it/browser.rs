//! The pages in Chromium: three widths, both colour schemes, boards of all sizes.
//!
//! Screenshots are left in the test's temporary folder.

mod chromium;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use app::board::demo::live;
use app::http::router;
use launchway_report::Time;
use serde_json::{Value, json};

use self::chromium::Chromium;
use crate::board::{demo, site_since, starts};
use crate::support::COMMIT;

const AUDIT: &str = include_str!("browser/audit.js");
const LINKS: &str = "[...document.querySelectorAll('[href]')].map((element) => element.href)";
/// Where the overview ends. A browser's own bars leave about 600 of 720 pixels.
const OVERVIEW: &str = "document.querySelector('.overview').getBoundingClientRect().bottom";
const FIGURES: &str = "[...document.querySelectorAll('data')].map((element) => Number(element.value))";

/// Sites that pages link to.
const OTHERS: [&str; 2] =
    ["https://github.com/launchway/app/", "https://hub.docker.com/r/launchway/app/tags"];

/// The page of the release that the last of these reports made live.
fn release_path(reports: &[launchway_report::Report]) -> String {
    format!("/releases/{}", &live(reports).unwrap().digest[7..])
}

/// Serves a board with a sample year of that many runs, for the lifetime of the runtime.
async fn serve(name: &str, count: u32) -> SocketAddr {
    let mut reports = demo(count);
    if name == "several" {
        let first = reports.iter_mut().find_map(|report| report.deployment.as_mut()).unwrap();
        "staging".clone_into(&mut first.environment);
    }
    let reported = live(&reports).and_then(|release| release.commit.clone());
    let commit =
        reported.filter(|_| !["drift", "progress"].contains(&name)).unwrap_or_else(|| COMMIT.to_owned());
    let now: Time = SystemTime::now().into();
    let until = match name {
        "deploying" => Some(now.after(Duration::from_secs(2400))),
        "overdue" => Some(starts::ago(60)),
        _ => None,
    };
    let start = until.map(|until| starts::start(&reports, starts::ago(1800), until));
    reports.extend(start);
    // Without a digest, so that the release is known by its commit alone.
    let started = if name == "drift" { Time::EARLIEST } else { SystemTime::now().into() };
    let site = site_since(&commit, started);
    site.board.fill(reports).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router(site)).await });
    address
}

#[test]
fn every_page_works_in_a_browser() {
    let Some(mut chromium) = Chromium::start() else {
        writeln!(
            std::io::stderr(),
            "SKIPPED: every_page_works_in_a_browser: there is no `/usr/bin/chromium`; install Debian's `chromium`"
        )
        .unwrap();
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("board");
    fs_err::create_dir_all(&pictures).unwrap();
    for (name, count) in [
        ("empty", 0),
        ("one", 1),
        ("drift", 100),
        ("progress", 100),
        ("deploying", 100),
        ("overdue", 100),
        ("several", 100),
        ("year", 1000),
    ] {
        let server = runtime.block_on(serve(name, count));
        let mut pages = vec![(name.to_owned(), "/".to_owned())];
        if name == "year" {
            pages.push(("run".to_owned(), "/runs/demo-01000".to_owned()));
            pages.push(("runs".to_owned(), "/runs?page=2".to_owned()));
            pages.push(("release".to_owned(), release_path(&demo(count))));
            pages.push(("missing".to_owned(), "/nowhere".to_owned()));
        }
        let mut links = BTreeSet::new();
        for (page, path) in &pages {
            for (width, scheme) in
                [390, 768, 1280].into_iter().flat_map(|width| [(width, "light"), (width, "dark")])
            {
                let place = format!("{page}-{width}-{scheme}");
                let file = pictures.join(format!("{place}.png"));
                chromium.look(width, scheme);
                chromium.open(&format!("http://{server}{path}"));
                assert_eq!(chromium.evaluate(AUDIT), json!([]), "{place}");
                fs_err::write(file, chromium.picture(width)).unwrap();
                // On a small laptop, of 1280 by 720 pixels, the overview needs no scrolling.
                if path == "/" && width == 1280 {
                    let bottom = chromium.evaluate(OVERVIEW).as_f64().unwrap();
                    assert!(bottom < 600.0, "{place}: {bottom}");
                }
                if path == "/" {
                    let board = get(server, "/api/board.json");
                    let board: Value = serde_json::from_str(&board.1).unwrap();
                    let names = [
                        "deployments_per_week",
                        "lead_time_seconds",
                        "change_failure_percent",
                        "recovery_seconds",
                    ];
                    let figures = names.map(|name| board["figures"][name]["value"].clone());
                    let figures: Vec<_> = figures.into_iter().filter_map(|figure| figure.as_f64()).collect();
                    let shown: Vec<f64> = serde_json::from_value(chromium.evaluate(FIGURES)).unwrap();
                    assert_eq!(shown, figures, "{place}");
                }
            }
            let found: Vec<String> = serde_json::from_value(chromium.evaluate(LINKS)).unwrap();
            links.extend(found);
        }
        let ours = format!("http://{server}");
        for link in links {
            // Links to other sites are not followed.
            match link.strip_prefix(&ours) {
                Some(path) => assert_eq!(get(server, path).0, 200, "{link}"),
                None => assert!(OTHERS.iter().any(|other| link.starts_with(other)), "{link}"),
            }
        }
        // Chromium logs a line for each missing page.
        let missing = usize::from(name == "year") * 6;
        let (messages, external) = chromium.noticed(&ours);
        assert_eq!(
            messages.iter().filter(|line| line.contains("404 (Not Found)")).count(),
            missing,
            "{messages:?}"
        );
        assert_eq!((messages.len(), external), (missing, Vec::new()), "{messages:?}");
        for image in ["/badge/live.svg", "/badge/coverage.svg", "/feed.atom"] {
            chromium.open(&format!("http://{server}{image}"));
            assert_eq!(
                chromium.evaluate("document.querySelector('parsererror')?.textContent ?? ''"),
                json!(""),
                "{image}"
            );
        }
        chromium.noticed(&ours);
    }
}

/// Status and body.
fn get(server: SocketAddr, path: &str) -> (u16, String) {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
