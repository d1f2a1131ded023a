//! Admission control: a bounded number of requests in work, what is beyond it refused at once and retryably.
//!
//! A place for work is taken when the whole request is there, so that clients who send slowly hold no place that others
//! could use. Bodies under way have bounds of their own, together (memory) and per client address (fairness).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use zizon_base::problem::{Code, Problem};

use super::limit::Limit;
use super::{Guard, Permit, Verdict};
use crate::connections::client_of;
use crate::routes::{Place, Priority};
use crate::view::RequestView;

/// Bodies being read at a time: 4,096 of 64 KiB are 256 MiB at the worst.
const READING_MAX: usize = 4096;
/// Bodies being read at a time from one client address (IPv6: one /64).
const READING_PER_CLIENT_MAX: u32 = 512;

/// Lets as many requests in as are answered in good time ([`Limit`]), never more for a role than there are connections to it,
/// where they would only wait for one, and never more than `in_flight_max` together. The last eighth of those is kept for
/// orders, so that browsing does not crowd out buying; health is never refused, because a supervisor that cannot ask would
/// make overload worse by restarting.
#[derive(Debug)]
pub struct Admission {
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
    /// Orders and browsing wait for different roles: what one of them takes says nothing of the other.
    checkout: Arc<Limit>,
    browse: Arc<Limit>,
    reading: Arc<AtomicUsize>,
    reading_by_client: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Admission {
    /// An empty house, with so many connections to each role behind it.
    #[must_use]
    pub fn new(in_flight_max: usize, upstream_connections_max: usize) -> Self {
        let of_a_role = in_flight_max.min(upstream_connections_max);
        Self {
            in_flight: Arc::default(),
            in_flight_max,
            checkout: Arc::new(Limit::new(of_a_role)),
            browse: Arc::new(Limit::new(of_a_role)),
            reading: Arc::default(),
            reading_by_client: Arc::default(),
        }
    }

    /// The number in work, shared with metrics.
    #[must_use]
    pub fn in_flight(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.in_flight)
    }

    /// How many requests may be in work at this moment by kind, for metrics.
    pub fn in_flight_limits(&self) -> [(&'static str, impl Fn() -> usize + Send + Sync + use<>); 2] {
        [("checkout", &self.checkout), ("browse", &self.browse)].map(|(kind, limit)| {
            let limit = Arc::clone(limit);
            (kind, move || limit.bound())
        })
    }

    /// Places a request may count with among all, and the bound of its kind; none are needed for health.
    fn bounds(&self, request: &RequestView<'_>) -> Option<(usize, &Arc<Limit>)> {
        match Place::of_path(request.path).priority() {
            Priority::Health => None,
            Priority::Checkout => Some((self.in_flight_max, &self.checkout)),
            Priority::Browse => Some((self.in_flight_max - self.in_flight_max / 8, &self.browse)),
        }
    }

    fn read_body(&self, client: IpAddr) -> Verdict {
        let Some(permit) = Permit::take(&self.reading, READING_MAX) else { return overloaded() };
        let mut clients = self.reading_by_client.lock();
        let taken = clients.entry(client).or_default();
        if *taken >= READING_PER_CLIENT_MAX {
            return overloaded();
        }
        *taken += 1;
        let clients = Arc::clone(&self.reading_by_client);
        Verdict::Hold(permit.of_client(ClientPlace { clients, client }))
    }
}

impl Guard for Admission {
    fn name(&self) -> &'static str {
        "admission"
    }

    fn inspect(&self, request: &RequestView<'_>) -> Verdict {
        let Some((places, limit)) = self.bounds(request) else { return Verdict::Pass };
        if limit.is_reached() {
            limit.reached();
            return overloaded();
        }
        if self.in_flight.load(Ordering::Relaxed) >= places {
            return overloaded();
        }
        if request.body_len == Some(0) { Verdict::Pass } else { self.read_body(client_of(request.peer.ip())) }
    }

    fn inspect_body(&self, request: &RequestView<'_>, _body: &[u8]) -> Verdict {
        let Some((places, limit)) = self.bounds(request) else { return Verdict::Pass };
        let Some(permit) = Permit::take(&self.in_flight, places) else { return overloaded() };
        match limit.enter() {
            Some(in_work) => Verdict::Hold(permit.timed(in_work)),
            None => {
                limit.reached();
                overloaded()
            }
        }
    }
}

fn overloaded() -> Verdict {
    Verdict::Refuse(Problem::new(Code::Overloaded).retry_after(1))
}

/// One body being read from a client; counted back when it is dropped, and forgotten with its last one.
#[derive(Debug)]
pub struct ClientPlace {
    clients: Arc<Mutex<HashMap<IpAddr, u32>>>,
    client: IpAddr,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        if let Some(taken) = clients.get_mut(&self.client) {
            *taken -= 1;
            if *taken == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Protocol;

    fn order(peer: &str, body_len: Option<u64>) -> RequestView<'static> {
        let mut view = RequestView::of_head(&EMPTY_HEAD, b"", peer.parse().unwrap());
        view.method = "POST";
        view.path = "/api/v1/orders";
        view.protocol = Protocol::Http1;
        view.body_len = body_len;
        view
    }

    static EMPTY_HEAD: std::sync::LazyLock<crate::h1::Head> = std::sync::LazyLock::new(crate::h1::Head::default);

    #[test]
    fn bodies_that_trickle_in_hold_no_place_for_work() {
        let admission = Admission::new(8, 8);
        let slow: Vec<_> = (0..512).map(|_| admission.inspect(&order("192.0.2.1:1", Some(100)))).collect();
        assert!(slow.iter().all(|verdict| matches!(verdict, Verdict::Hold(_))));
        assert!(
            matches!(admission.inspect(&order("192.0.2.1:2", None)), Verdict::Refuse(_)),
            "one address has its bound"
        );
        let honest = order("198.51.100.7:1", Some(100));
        assert!(matches!(admission.inspect(&honest), Verdict::Hold(_)));
        assert!(matches!(admission.inspect_body(&honest, b""), Verdict::Hold(_)));
        drop(slow);
        assert!(matches!(admission.inspect(&order("192.0.2.1:3", Some(1))), Verdict::Hold(_)));
        assert!(admission.reading_by_client.lock().is_empty(), "nobody is remembered without a body under way");
    }

    #[test]
    fn work_is_bounded_and_refused_early() {
        let admission = Admission::new(8, 8);
        let request = order("192.0.2.1:1", Some(0));
        let held: Vec<_> = (0..8).map(|_| admission.inspect_body(&request, b"")).collect();
        assert!(held.iter().all(|verdict| matches!(verdict, Verdict::Hold(_))));
        assert!(matches!(admission.inspect_body(&request, b""), Verdict::Refuse(_)));
        assert!(matches!(admission.inspect(&order("192.0.2.1:1", Some(9))), Verdict::Refuse(_)));
    }
}
