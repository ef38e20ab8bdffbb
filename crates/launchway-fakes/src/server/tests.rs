use super::*;

#[test]
fn a_path_is_split_before_it_is_decoded() {
    let request =
        Request::builder().uri("/v2/a%2Fb/blobs/sha256%3Aff%zz%4?x=1&x=a%20b").body(Body::empty()).unwrap();
    let request = Incoming::new(request);
    assert_eq!(request.segments(), ["v2", "a/b", "blobs", "sha256:ff%zz%4"]);
    assert_eq!(request.query(), [("x".to_owned(), "1".to_owned()), ("x".to_owned(), "a b".to_owned())]);
    assert_eq!(request.parameter("x").as_deref(), Some("1"));
    assert_eq!(request.parameter("y"), None);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let mut request = Incoming::new(Request::new(Body::from("12345")));
    assert_eq!(request.bytes(4).await, Err(BodyError::TooLarge));
    let mut request = Incoming::new(Request::new(Body::from("12345")));
    assert_eq!(request.bytes(5).await.unwrap(), b"12345");
    assert_eq!(request.received, 5);
}

#[tokio::test]
async fn a_change_wakes_those_that_wait_for_it() {
    let shared = Arc::new(Shared::new(0));
    let waiter = {
        let shared = Arc::clone(&shared);
        tokio::spawn(
            async move { shared.wait_for(Duration::from_secs(10), |n| (*n == 2).then_some("two")).await },
        )
    };
    shared.change(|n| *n = 1);
    shared.change(|n| *n = 2);
    assert_eq!(waiter.await.unwrap(), Some("two"));
    assert_eq!(shared.wait_for(Duration::ZERO, |n| (*n == 3).then_some(())).await, None);
}

struct Echo;

impl Fake for Echo {
    async fn respond(&self, _request: &mut Incoming) -> Response {
        Response::new(Body::from("here"))
    }
}

#[tokio::test]
async fn the_transcript_has_no_query_and_counts_unread_bodies() {
    let (server, _echo) = Server::start(|_| Echo).await.unwrap();
    let url = format!("http://{}/upload?token=hidden", server.address());
    let client = loopback_client().unwrap();
    client.put(url).body("seven b").send().await.unwrap();
    let exchange = Exchange { method: "PUT".into(), path: "/upload".into(), status: 200, request_bytes: 7 };
    assert_eq!(server.transcript(), [exchange]);
}

#[tokio::test]
async fn a_dropped_server_closes_its_port_and_its_connections() {
    let (server, _echo) = Server::start(|_| Echo).await.unwrap();
    let url = format!("http://{}/", server.address());
    let client = loopback_client().unwrap();
    client.get(&url).send().await.unwrap().bytes().await.unwrap();
    drop(server);
    // The closing races with the next request, so a first answer on the old connection is allowed.
    let refused = async { while client.get(&url).send().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
}
