//! Orders whose time is over much later than that of any order made by this clock. Pure.

use std::collections::BTreeMap;

use zizon_base::ids::OrderId;

/// Most orders remembered: about a megabyte.
pub(super) const MAX_PARKED: usize = 16_384;

/// Orders the cursor has gone past although they are not due, by their place in the feed.
///
/// A feed is read in the order in which orders were made, which is the order in which they are due as long as the clock
/// goes forward. Orders made while it was far ahead break that: waiting for them would keep every later order's stock
/// until the day the clock had shown.
#[derive(Debug)]
pub(super) struct Parked {
    room: usize,
    orders: BTreeMap<(u64, OrderId), u64>,
    /// When the first of `orders` is due; at the end of time if there is none.
    soonest: u64,
    beyond: Option<Beyond>,
}

/// Orders for which there was no room. They are found again in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beyond {
    /// Where the first of them stands.
    from: u64,
    /// When the first of them is due.
    due: u64,
}

impl Parked {
    pub(super) const fn new(room: usize) -> Self {
        Self { room, orders: BTreeMap::new(), soonest: u64::MAX, beyond: None }
    }

    /// Takes an order aside. Without room only the place from which to read again, and when, is kept.
    pub(super) fn park(&mut self, seq: u64, id: OrderId, expires: u64) {
        if self.orders.len() < self.room || self.holds(seq, id) {
            self.orders.insert((seq, id), expires);
            self.soonest = self.soonest.min(expires);
            return;
        }
        let known = self.beyond.unwrap_or(Beyond { from: seq, due: expires });
        self.beyond = Some(Beyond { from: known.from.min(seq), due: known.due.min(expires) });
    }

    pub(super) fn holds(&self, seq: u64, id: OrderId) -> bool {
        self.orders.contains_key(&(seq, id))
    }

    /// Those that are due at `now`, at most `limit`; they stay until [`Parked::done`].
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<(u64, OrderId)> {
        if self.soonest > now {
            return Vec::new();
        }
        self.orders.iter().filter(|&(_, &expires)| expires <= now).map(|(&key, _)| key).take(limit).collect()
    }

    /// These need no more looking after.
    pub(super) fn done(&mut self, orders: &[(u64, OrderId)]) {
        for key in orders {
            self.orders.remove(key);
        }
        self.soonest = self.orders.values().copied().min().unwrap_or(u64::MAX);
    }

    /// The place from which the feed has to be read again, once one of those without room is due.
    pub(super) fn again(&mut self, now: u64) -> Option<u64> {
        self.beyond.take_if(|beyond| beyond.due <= now).map(|beyond| beyond.from)
    }

    /// The first place a reader that knows nothing of this would have to read again.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.orders.keys().next().map(|&(seq, _)| seq);
        first.into_iter().chain(self.beyond.map(|beyond| beyond.from)).min()
    }

    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(super) const fn overflows(&self) -> bool {
        self.beyond.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> OrderId {
        format!("ord_{n:042}").parse().unwrap()
    }

    #[test]
    fn what_is_due_is_told_until_it_is_done() {
        let mut parked = Parked::new(10);
        parked.park(3, id(3), 300);
        parked.park(5, id(5), 100);
        assert_eq!(parked.due(99, 10), []);
        assert_eq!(parked.due(100, 10), [(5, id(5))]);
        assert_eq!(parked.due(300, 10), [(3, id(3)), (5, id(5))]);
        assert_eq!(parked.due(300, 1), [(3, id(3))]);
        parked.done(&[(5, id(5))]);
        assert_eq!((parked.due(100, 10), parked.first()), (vec![], Some(3)));
        parked.done(&[(3, id(3))]);
        assert_eq!((parked.due(u64::MAX - 1, 10), parked.first(), parked.len()), (vec![], None, 0));
    }

    #[test]
    fn those_without_room_are_read_again_when_the_first_of_them_is_due() {
        let mut parked = Parked::new(1);
        parked.park(3, id(3), 900);
        parked.park(4, id(4), 500);
        parked.park(5, id(5), 400);
        parked.park(3, id(3), 900);
        assert_eq!((parked.len(), parked.first(), parked.again(399)), (1, Some(3), None));
        parked.done(&[(3, id(3))]);
        assert_eq!(parked.first(), Some(4));
        assert_eq!((parked.again(400), parked.again(400), parked.first()), (Some(4), None, None));
    }
}
