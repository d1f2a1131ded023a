//! Requests whose outcome nobody knows, kept so that they can be asked again.

use parking_lot::Mutex;

/// Bodies kept at most; the others are counted. Each takes some 300 bytes of memory.
const BODIES_MAX: usize = 200_000;

/// Orders that were sent and neither acknowledged nor refused. The same body asks for the same order: an answer to it settles what
/// became of the first request.
#[derive(Debug, Default)]
pub struct Unsettled(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    bodies: Vec<Box<[u8]>>,
    left_out: u64,
}

impl Unsettled {
    pub(crate) fn keep(&self, body: &[u8]) {
        let mut kept = self.0.lock();
        if kept.bodies.len() < BODIES_MAX {
            kept.bodies.push(body.into());
        } else {
            kept.left_out += 1;
        }
    }

    /// Takes the bodies, and how many there were besides.
    #[must_use]
    pub fn take(&self) -> (Vec<Box<[u8]>>, u64) {
        let kept = std::mem::take(&mut *self.0.lock());
        (kept.bodies, kept.left_out)
    }
}

/// Whether an answer leaves open what became of the order.
pub(crate) const fn is_open(status: u16) -> bool {
    match status {
        201 => false,
        408 => true,
        status => status < 400 || status >= 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_order_and_a_refusal_settle_a_request() {
        for (status, open) in
            [(201, false), (409, false), (422, false), (429, false), (408, true), (503, true), (200, true)]
        {
            assert_eq!(is_open(status), open, "{status}");
        }
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let unsettled = Unsettled::default();
        (0..BODIES_MAX + 3).for_each(|_| unsettled.keep(b"{}"));
        let (bodies, left_out) = unsettled.take();
        assert_eq!((bodies.len(), left_out), (BODIES_MAX, 3));
        assert_eq!(unsettled.take(), (Vec::new(), 0));
    }
}
