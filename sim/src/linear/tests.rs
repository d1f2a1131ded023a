//! Histories that are known to be possible, and histories that are known not to be.

use zizon_table::{Cond, Item, Key, Op, Patch, Path};

use super::counter::{self, StockShard};
use super::order::{Call, Life, OrderKey};
use super::{End, Entry, Model, Verdict, check};

/// A register of numbers, as in the textbooks.
struct Register;

#[derive(Clone, Copy)]
enum Reg {
    Write(u8),
    Read(u8),
}

impl Model for Register {
    type State = u8;
    type Call = Reg;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, call: &Reg) -> Option<u8> {
        match *call {
            Reg::Write(value) => Some(value),
            Reg::Read(value) => (value == *state).then_some(value),
        }
    }
}

fn at<C>(begin: u64, end: u64, call: C) -> Entry<C> {
    Entry { call, begin, end: End::At(end) }
}

fn unknown<C>(begin: u64, before: u64, call: C) -> Entry<C> {
    Entry { call, begin, end: End::Unknown(before) }
}

fn verdict<M: Model>(model: &M, history: &[Entry<M::Call>]) -> Verdict {
    check(model, history, 10_000)
}

#[test]
fn reads_during_a_write_may_see_either_value_but_not_go_back() {
    let possible = [at(0, 10, Reg::Write(1)), at(1, 2, Reg::Read(0)), at(3, 4, Reg::Read(1)), at(5, 11, Reg::Read(1))];
    assert_eq!(verdict(&Register, &possible), Verdict::Linearizable);
    // Once somebody has seen the new value, nobody who asks later sees the old one.
    let back = [at(0, 10, Reg::Write(1)), at(1, 2, Reg::Read(1)), at(3, 4, Reg::Read(0))];
    assert_eq!(verdict(&Register, &back), Verdict::Impossible { explained: 2 });
}

#[test]
fn a_value_that_was_overwritten_is_not_read() {
    let stale = [at(0, 1, Reg::Write(1)), at(2, 3, Reg::Write(2)), at(4, 5, Reg::Read(1))];
    assert_eq!(verdict(&Register, &stale), Verdict::Impossible { explained: 2 });
}

#[test]
fn a_call_without_an_answer_may_take_effect_late_or_never_but_not_twice() {
    let late = [unknown(0, u64::MAX, Reg::Write(1)), at(1, 2, Reg::Read(0)), at(3, 4, Reg::Read(1))];
    assert_eq!(verdict(&Register, &late), Verdict::Linearizable);
    assert_eq!(verdict(&Register, &late[..2]), Verdict::Linearizable);
    let twice =
        [unknown(0, u64::MAX, Reg::Write(1)), at(1, 2, Reg::Read(1)), at(3, 4, Reg::Write(2)), at(5, 6, Reg::Read(1))];
    assert_eq!(verdict(&Register, &twice), Verdict::Impossible { explained: 2 });
}

#[test]
fn a_call_that_died_with_its_process_takes_no_effect_afterwards() {
    let history = |before| [unknown(0, before, Reg::Write(1)), at(3, 4, Reg::Read(0)), at(5, 6, Reg::Read(1))];
    assert_eq!(verdict(&Register, &history(u64::MAX)), Verdict::Linearizable);
    assert_eq!(verdict(&Register, &history(2)), Verdict::Impossible { explained: 1 });
}

#[test]
fn the_search_gives_up_at_its_bound() {
    let mut history: Vec<_> = (0..20).map(|n| at(n, 1_000 + n, Reg::Write(u8::try_from(n).unwrap_or(0)))).collect();
    history.push(at(2_000, 2_001, Reg::Read(99)));
    assert_eq!(check(&Register, &history, 500), Verdict::Undecided);
}

#[test]
fn a_key_stands_for_one_order_made_once() {
    let retried = [
        unknown(0, 5, Call::MaybePlaced(0)),
        at(6, 9, Call::Replayed(0)),
        at(7, 8, Call::Reused(1)),
        at(10, 11, Call::CalledOff),
        at(12, 13, Call::Stands(Life::Cancelled)),
    ];
    assert_eq!(verdict(&OrderKey, &retried), Verdict::Linearizable);
    let twice = [at(0, 3, Call::Created(0)), at(1, 4, Call::Created(0))];
    assert_eq!(verdict(&OrderKey, &twice), Verdict::Impossible { explained: 1 });
    let lost = [at(0, 1, Call::Created(0)), at(2, 3, Call::Missing)];
    assert_eq!(verdict(&OrderKey, &lost), Verdict::Impossible { explained: 1 });
    let refused = [at(0, 1, Call::Created(0)), at(2, 3, Call::Short)];
    assert_eq!(verdict(&OrderKey, &refused), Verdict::Impossible { explained: 1 });
}

#[test]
fn an_order_expires_or_is_called_off_but_not_both() {
    let expired = [
        at(0, 1, Call::Created(0)),
        unknown(0, u64::MAX, Call::MaybeExpired),
        at(2, 3, Call::TooLate),
        at(4, 5, Call::Stands(Life::Expired)),
    ];
    assert_eq!(verdict(&OrderKey, &expired), Verdict::Linearizable);
    let both = [
        at(0, 1, Call::Created(0)),
        unknown(0, 9, Call::MaybeExpired),
        at(2, 3, Call::CalledOff),
        at(4, 5, Call::TooLate),
    ];
    assert_eq!(verdict(&OrderKey, &both), Verdict::Impossible { explained: 2 });
}

fn key() -> Key {
    Key::new("S#A", "S")
}

fn take(units: i64) -> Op {
    let path = Path::attr("q");
    Op::Patch { key: key(), patches: vec![Patch::AddInt(path.clone(), -units)], cond: Cond::AttrGe(path, units) }
}

fn holds(units: i64) -> counter::State {
    counter::State(Some(Item::new(key()).with("q", units)))
}

fn stocked(units: i64) -> Entry<counter::Call> {
    let put = Op::Put { item: Item::new(key()).with("q", units), cond: Cond::NotExists };
    at(0, 1, counter::Call::Changed(put))
}

#[test]
fn a_counter_gives_each_unit_once() {
    use counter::Call::{Changed, Failed, Held, Read};
    let possible = [
        stocked(2),
        at(2, 9, Changed(take(1))),
        at(3, 8, Changed(take(1))),
        at(4, 10, Failed(take(1), holds(0))),
        at(5, 6, Read(holds(1))),
        at(4, 7, Held(take(2))),
    ];
    assert_eq!(verdict(&StockShard, &possible), Verdict::Linearizable);
    let oversold = [stocked(1), at(2, 5, Changed(take(1))), at(3, 4, Changed(take(1)))];
    assert_eq!(verdict(&StockShard, &oversold), Verdict::Impossible { explained: 2 });
    let refused = [stocked(1), at(2, 3, Failed(take(1), holds(0))), at(4, 5, Changed(take(1)))];
    assert_eq!(verdict(&StockShard, &refused), Verdict::Impossible { explained: 1 });
    let stale = [stocked(1), at(2, 3, Changed(take(1))), at(4, 5, Read(holds(1)))];
    assert_eq!(verdict(&StockShard, &stale), Verdict::Impossible { explained: 2 });
}
