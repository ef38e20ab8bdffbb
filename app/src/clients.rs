//! Who is connected, and for whom the server waits.
//!
//! Either a connection is being worked for, or the server waits for its client: for a request, for the rest of a body,
//! for an answer to be taken. Only so many may be open; a new one takes the place of the one that has kept the server
//! waiting longest. Bytes of a body count against that wait, so that one who sends something stays longer than one who
//! only holds a connection. Where the server waits for nobody, because each has sent its next request before it got the
//! last answer, those with the most requests are to end after the answer that they are at.
//!
//! Addresses play no part. Behind a proxy all clients share a few, and what `X-Forwarded-For` says anybody can write:
//! a bound on each address would lock out the pipeline together with those that it is meant for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a client that sends a body is expected to manage, in bytes a second.
pub(crate) const RATE: usize = 16 * 1024;

/// How much of all connections makes room at a time: one in so many.
const SHARE: usize = 64;

/// All connections.
#[derive(Debug)]
pub(crate) struct Clients {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    clients: HashMap<u64, Arc<Client>>,
    next: u64,
}

impl Clients {
    /// For at most that many.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Lets one more in. `None` where there is no room, and nobody whom the server waits for.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.clients.len() >= self.most && !open.evict() {
            open.dismiss();
            return None;
        }
        let (key, client) = (open.next, Arc::new(Client::default()));
        open.next += 1;
        open.clients.insert(key, Arc::clone(&client));
        Some(Seat { key, client, clients: Arc::clone(self) })
    }

    /// Sends away those that have kept the server waiting longest. Answers whether there was one.
    pub(crate) fn evict(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).evict()
    }
}

impl Open {
    /// Several at once: looking for them takes longer than letting one in.
    fn evict(&mut self) -> bool {
        let waiting = self.clients.iter().filter_map(|(key, client)| Some((client.since()?, *key)));
        let mut waiting: Vec<_> = waiting.collect();
        let several = self.clients.len().div_ceil(SHARE).min(waiting.len());
        if several < waiting.len() {
            waiting.select_nth_unstable(several);
        }
        for (_, key) in &waiting[..several] {
            if let Some(client) = self.clients.remove(key) {
                client.leave.notify_one();
            }
        }
        several > 0
    }

    /// Tells those that had the most answers to end after the next one.
    fn dismiss(&self) {
        let requests = |client: &&Arc<Client>| client.requests.load(Ordering::Relaxed);
        let mut served: Vec<_> = self.clients.values().filter(|client| requests(client) > 1).collect();
        let several = self.clients.len().div_ceil(SHARE).min(served.len());
        if several < served.len() {
            served.select_nth_unstable_by_key(several, |client| Reverse(requests(client)));
        }
        for client in &served[..several] {
            // Once is enough.
            client.requests.store(0, Ordering::Relaxed);
            client.last.notify_one();
        }
    }
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    key: u64,
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
}

impl Seat {
    /// Returns when the client is to make room.
    pub(crate) async fn evicted(&self) {
        self.client.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.open.lock().unwrap_or_else(PoisonError::into_inner).clients.remove(&self.key);
    }
}

/// One connection, as far as others need to know of it.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Since when the server waits for it. `None` while it works for it, and while it has not looked yet at what a new
    /// one sent: in a rush, nobody would be served if the next ones took their places before.
    since: Mutex<Option<Instant>>,
    requests: AtomicU64,
    leave: Notify,
    last: Notify,
}

impl Client {
    /// The server waits for it from now on.
    pub(crate) fn wait(&self) {
        self.set(Some(Instant::now()));
    }

    /// The server works for it.
    pub(crate) fn work(&self) {
        self.set(None);
    }

    /// It sent another request.
    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when the answer that it is at is to be its last.
    pub(crate) async fn dismissed(&self) {
        self.last.notified().await;
    }

    /// It sent that much of what the server waits for. That buys no credit: who has just come never waits behind it.
    pub(crate) fn sent(&self, bytes: usize) {
        self.set(self.since().map(|since| (since + worth(bytes)).min(Instant::now())));
    }

    fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// How long that many bytes may take.
pub(crate) fn worth(bytes: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / u32::try_from(RATE).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_a_lot_at_once_does_not_outstay_who_has_just_come() {
        let clients = Clients::new(2);
        let [sender, newcomer] = [clients.enter().unwrap(), clients.enter().unwrap()];
        sender.client.wait();
        sender.client.sent(64 * RATE);
        newcomer.client.wait();
        assert!(clients.evict());
        let open = |seat: &Seat| clients.open.lock().unwrap().clients.contains_key(&seat.key);
        assert_eq!([open(&sender), open(&newcomer)], [false, true]);
    }

    #[test]
    fn room_is_made_by_who_kept_the_server_waiting_longest() {
        let clients = Clients::new(3);
        let seats: Vec<_> = (0..3).map(|_| clients.enter().unwrap()).collect();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        seats[0].client.work();
        seats[1].client.set(ago(3));
        seats[2].client.set(ago(4));
        // 64 kB are worth four seconds.
        seats[2].client.sent(4 * RATE);
        let open = |seat: &Seat| clients.open.lock().unwrap().clients.contains_key(&seat.key);
        let newest = clients.enter().unwrap();
        newest.client.work();
        assert_eq!(
            [open(&seats[0]), open(&seats[1]), open(&seats[2]), open(&newest)],
            [true, false, true, true]
        );
        assert!(clients.evict());
        assert!(!open(&seats[2]));
        // Those that are worked for stay, and then there is room for one and no more.
        let last = clients.enter().unwrap();
        last.client.work();
        assert!(clients.enter().is_none() && !clients.evict());
        drop(newest);
        assert!(clients.enter().is_some());
    }
}
