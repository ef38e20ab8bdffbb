//! Bounds on what clients may take.

use std::net::SocketAddr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::stream::WRITE_TIMEOUT;
use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const LARGE: usize = 64 << 20;

/// A server that answers at once at `/`, at `/slow` in two seconds, and at `/large` more than any buffer holds.
async fn start() -> (Arc<Connections>, SocketAddr) {
    start_with(1024).await
}

/// The same for fewer clients.
async fn start_with(most: usize) -> (Arc<Connections>, SocketAddr) {
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        "done"
    };
    let router = Router::new().route("/", get(async || "ok")).route("/slow", get(slow));
    let router = router.route("/large", get(async || vec![0_u8; LARGE]));
    let connections = Arc::new(Connections::at_most(most, router));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = Arc::clone(&connections);
    tokio::spawn(async move { accepting.accept(&listener).await });
    (connections, address)
}

/// Sends this much and reads until the server closes. Answers what came and when it closed.
async fn ask(address: SocketAddr, request: &[u8]) -> (String, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too: not everything that was sent was read.
    stream.read_to_end(&mut answer).await.ok();
    (String::from_utf8(answer).unwrap(), start.elapsed())
}

/// With a clock that runs ahead whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_arrive_is_given_up() {
    let (_connections, address) = start().await;
    for half in ["", "GET", "GET / HTTP/1.1\r\nHost: loc"] {
        let (answer, time) = ask(address, half.as_bytes()).await;
        assert_eq!((answer.as_str(), time.as_secs()), ("", 10), "{half:?}");
    }
    // Between two requests as well.
    let (answer, time) = ask(address, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    assert_eq!(time.as_secs(), 10);
}

#[tokio::test]
async fn a_head_has_a_size() {
    let (_connections, address) = start().await;
    let wide = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEAD_LIMIT));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(HEADERS + 1));
    for (request, status) in [(wide, 431), (many, 431), ("nonsense\r\n\r\n".to_owned(), 400)] {
        let (answer, _) = ask(address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
        // It has no security headers, and nothing that those could protect.
        assert!(answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer:?}");
        assert!(answer.contains("connection: close\r\n"), "{answer:?}");
    }
}

/// The clock runs ahead while nothing is sent. It must not while something is: the kernel takes real time to deliver.
#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let (connections, address) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let almost = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::time::pause();
        tokio::time::sleep(WRITE_TIMEOUT * 9 / 10).await;
        tokio::time::resume();
    };
    almost().await;
    assert_eq!(connections.end.receiver_count(), 1);
    // Who takes a part has as long again.
    stream.read_exact(&mut vec![0; LARGE / 4]).await.unwrap();
    almost().await;
    assert_eq!(connections.end.receiver_count(), 1);
    almost().await;
    assert_eq!(connections.end.receiver_count(), 0);
}

#[tokio::test]
async fn an_end_waits_for_answers_and_not_for_questions() {
    let (connections, address) = start().await;
    let slow = tokio::spawn(async move { ask(address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await });
    let half = tokio::spawn(async move { ask(address, b"GET / HTTP/1.1\r\nHos").await });
    let silent = tokio::spawn(async move { ask(address, b"").await });
    let idle = tokio::spawn(async move { ask(address, REQUEST).await });
    // All are connected, and the idle one has its answer.
    tokio::time::sleep(Duration::from_millis(100)).await;

    let told = Instant::now();
    connections.end();
    // New ones are still served while one is busy, for a single answer.
    let (answer, time) = ask(address, REQUEST).await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(time < Duration::from_millis(500), "{time:?}");
    connections.ended().await;
    let time = told.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&time), "{time:?}");

    let (answer, time) = slow.await.unwrap();
    assert!(answer.ends_with("done"), "{answer} {time:?}");
    for waiting in [half, silent, idle] {
        let (_, shorter) = waiting.await.unwrap();
        assert!(shorter + Duration::from_millis(200) < time, "{shorter:?} {time:?}");
    }
    // Nobody is left: that is an end at once.
    connections.ended().await;
}

#[test]
fn clients_that_go_away_are_no_fault() {
    assert!(is_of_the_client(&io::ErrorKind::ConnectionAborted.into()));
    assert!(!is_of_the_client(&io::Error::other("no more files")));
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_one_that_only_waits() {
    let (_connections, address) = start_with(3).await;
    let slow = tokio::spawn(async move {
        ask(address, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    // Each stays as long as it may: with nothing sent, half a head, half a body, an answer behind it.
    let half = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx";
    let kinds: [&[u8]; 4] = [b"", b"GET / HT", half, REQUEST];
    let idle: Vec<_> =
        (0..20).map(|n| tokio::spawn(async move { ask(address, kinds[n % 4]).await })).collect();
    for waiting in idle.into_iter().take(18) {
        waiting.await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    // The one that is worked for stayed.
    assert!(slow.await.unwrap().0.ends_with("done"));
}

#[tokio::test]
async fn who_sends_request_after_request_makes_room_as_well() {
    let (_connections, address) = start_with(2).await;
    let greedy: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn(async move {
                let (mut answers, mut requests) = TcpStream::connect(address).await.unwrap().into_split();
                let many = REQUEST.repeat(1000);
                tokio::spawn(async move { while requests.write_all(&many).await.is_ok() {} });
                tokio::io::copy(&mut answers, &mut tokio::io::sink()).await.ok();
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = ask(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (answer, _) = tokio::time::timeout(Duration::from_mins(1), asked).await.unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    drop(greedy);
}

#[test]
fn the_system_gives_as_many_files_as_it_may() {
    assert!(descriptors() > 0);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    assert_eq!(current, maximum);
}
