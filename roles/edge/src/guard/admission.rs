//! Admission control: a bounded number of requests in work, what is beyond it refused at once and retryably.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use zizon_base::problem::{Code, Problem};

use super::{Guard, Permit, Verdict};
use crate::routes::{Place, Priority};
use crate::view::RequestView;

/// Lets `in_flight_max` requests in. The last eighth is kept for orders, so that browsing does not crowd out buying;
/// health is never refused, because a supervisor that cannot ask would make overload worse by restarting.
#[derive(Debug)]
pub struct Admission {
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
}

impl Admission {
    /// An empty house.
    #[must_use]
    pub fn new(in_flight_max: usize) -> Self {
        Self { in_flight: Arc::default(), in_flight_max }
    }

    /// The number in work, shared with metrics.
    #[must_use]
    pub fn in_flight(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.in_flight)
    }
}

impl Guard for Admission {
    fn name(&self) -> &'static str {
        "admission"
    }

    fn inspect(&self, request: &RequestView<'_>) -> Verdict {
        let bound = match Place::of_path(request.path).priority() {
            Priority::Health => return Verdict::Pass,
            Priority::Checkout => self.in_flight_max,
            Priority::Browse => self.in_flight_max - self.in_flight_max / 8,
        };
        match Permit::take(&self.in_flight, bound) {
            Some(permit) => Verdict::Hold(permit),
            None => Verdict::Refuse(Problem::new(Code::Overloaded).retry_after(1)),
        }
    }
}
