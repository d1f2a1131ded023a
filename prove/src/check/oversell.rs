//! No unit is sold twice, and none is left while a buyer wants it.

use std::collections::HashSet;

use zizon_contracts::orders::StockView;

use super::{by_itself, equation, ordered, storage};
use crate::proof::{Check, FsckSeen, grouped};

/// The one reason for which a buyer may be refused.
pub const REFUSAL: (u16, &str) = (409, "insufficient-stock");

/// How one buyer's attempt ended, after as many retries as it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// 201, with this order.
    Sold {
        /// The order's id.
        order: String,
    },
    /// A final answer that is no order.
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
    },
    /// No final answer in time. Never counted as refused.
    Unanswered {
        /// What happened last.
        last: String,
    },
}

/// Everything seen of a sale.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Units there were.
    pub units: u64,
    /// Every buyer, each wanting one unit.
    pub endings: Vec<Ending>,
    /// Stock before and after; `None` from outside, where nobody may read it.
    pub stock: Option<(StockView, StockView)>,
    /// Readings of `available` while it was sold.
    pub readings: Vec<i64>,
    /// The platform's own check afterwards.
    pub fsck: Option<FsckSeen>,
    /// Orders stored before the sale.
    pub orders_before: u64,
    /// The role that was killed, where one was.
    pub kill: Option<Kill>,
    /// Roles that were started again meanwhile, by the supervisor's count.
    pub restarts: u64,
    /// Buyers who were refused at first although a unit was left, and got one when they asked again; `None` where that is part of the
    /// protocol: an attempt that is cut off holds its unit until it is found dead.
    pub refused_too_early: Option<u64>,
}

/// A role killed while buyers waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The role.
    pub role: String,
    /// The process that was killed; 0 when the kill found none.
    pub pid: u32,
    /// The process that took its place.
    pub successor: u32,
    /// Answers there were at that moment.
    pub answers_before: usize,
    /// Buyers without a final answer by then, to whom the kill made a difference: they lost a connection or were told to ask again.
    pub met: usize,
}

impl Seen {
    /// Buyers who got a unit.
    #[must_use]
    pub fn sold(&self) -> u64 {
        self.endings.iter().filter(|ending| matches!(ending, Ending::Sold { .. })).count() as u64
    }
}

/// What a sale shows.
#[must_use]
pub fn judge(seen: &Seen) -> Vec<Check> {
    let mut checks = vec![sold_exactly(seen), rest_refused(seen), all_answered(seen), orders_differ(seen)];
    if let Some((before, after)) = &seen.stock {
        checks.push(all_taken(seen, before, after));
        checks.push(equation(before, after));
        checks.push(never_negative(seen, after));
    }
    checks.extend(seen.kill.as_ref().map(killed));
    if let Some(fsck) = &seen.fsck {
        checks.push(storage("the platform's own check agrees (fsck --online)", fsck));
        checks.push(stored(seen, fsck));
        checks.push(by_itself(seen.kill.iter().count() as u64, seen.restarts));
    }
    checks.extend(seen.refused_too_early.map(refused_too_early));
    checks
}

fn killed(kill: &Kill) -> Check {
    let Kill { role, pid, successor, answers_before, met } = kill;
    let holds = *pid != 0 && *successor != 0 && pid != successor && *met > 0;
    let said = format!("after {answers_before} answers, {met} had to ask again; process {pid}, then {successor}");
    Check::new(format!("{role} died while buyers waited, and came back"), holds, said)
}

fn stored(seen: &Seen, fsck: &FsckSeen) -> Check {
    let stored = fsck.orders.map(|orders| i128::from(orders) - i128::from(seen.orders_before));
    let said =
        stored.map_or_else(|| "not counted".to_owned(), |stored| format!("{} more than before", grouped(stored)));
    Check::new("as many orders are stored as were sold", stored == Some(seen.sold().into()), said)
}

fn refused_too_early(buyers: u64) -> Check {
    let said = format!("{buyers} got a unit when they asked again");
    Check::new("nobody was refused while a unit was left", buyers == 0, said)
}

fn sold_exactly(seen: &Seen) -> Check {
    let sold = seen.sold();
    let expected = seen.units.min(seen.endings.len() as u64);
    Check::new(format!("exactly {expected} buyers get a unit"), sold == expected, format!("{sold} x 201"))
}

fn rest_refused(seen: &Seen) -> Check {
    let (mut refused, mut otherwise, mut first) = (0_u64, 0_u64, None);
    for ending in &seen.endings {
        let Ending::Refused { status, code } = ending else { continue };
        if (*status, code.as_str()) == REFUSAL {
            refused += 1;
        } else {
            otherwise += 1;
            first = first.or_else(|| Some(format!("{status} {code}")));
        }
    }
    let expected = (seen.endings.len() as u64).saturating_sub(seen.units);
    let mut said = format!("{refused} x {} {}", REFUSAL.0, REFUSAL.1);
    if let Some(first) = first {
        said.push_str(&format!(", {otherwise} x something else ({first})"));
    }
    Check::new(
        format!("the other {expected} are refused for want of stock"),
        refused == expected && otherwise == 0,
        said,
    )
}

fn all_answered(seen: &Seen) -> Check {
    let open: Vec<&String> = seen
        .endings
        .iter()
        .filter_map(|ending| match ending {
            Ending::Unanswered { last } => Some(last),
            _ => None,
        })
        .collect();
    let said = open.first().map_or_else(
        || format!("{} answers", seen.endings.len()),
        |last| format!("{} without an answer, last: {last}", open.len()),
    );
    Check::new("every buyer has a final answer", open.is_empty(), said)
}

fn orders_differ(seen: &Seen) -> Check {
    let orders: Vec<&str> = seen
        .endings
        .iter()
        .filter_map(|ending| match ending {
            Ending::Sold { order } => Some(order.as_str()),
            _ => None,
        })
        .collect();
    let different: HashSet<&str> = orders.iter().copied().collect();
    let said = format!("{} orders, {} different", orders.len(), different.len());
    Check::new("no order belongs to two buyers", different.len() == orders.len(), said)
}

fn all_taken(seen: &Seen, before: &StockView, after: &StockView) -> Check {
    let units = i128::from(seen.units);
    let sold = i128::from(seen.sold());
    let (taken, left) = (ordered(before, after), i128::from(after.available));
    let holds = i128::from(before.available) == units && taken == sold && taken + left == units;
    let said = format!("{} set, {taken} taken by {sold} orders, {left} left", before.available);
    Check::new("units ordered and units left are the units there were", holds, said)
}

fn never_negative(seen: &Seen, after: &StockView) -> Check {
    let lowest = seen.readings.iter().copied().chain([after.available]).min().unwrap_or(after.available);
    // Nothing that was not looked at is claimed.
    let (claim, said) = match seen.readings.len() {
        0 => ("stock is not below zero afterwards", format!("{lowest}; not read while it was sold")),
        times => ("stock is never below zero", format!("lowest of {times} readings while it was sold: {lowest}")),
    };
    Check::new(claim, lowest >= 0, said)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::Verdict;

    type Break = fn(&mut Seen);

    fn view(available: i64, held: i64) -> StockView {
        StockView { sku: "P".into(), on_hand: available + held, available, held, sold: 0, shards: 1 }
    }

    fn refused() -> Ending {
        Ending::Refused { status: 409, code: "insufficient-stock".into() }
    }

    fn good(buyers: u64, units: u64) -> Seen {
        let sold = units.min(buyers);
        let mut endings: Vec<Ending> = (0..sold).map(|n| Ending::Sold { order: format!("ord_{n}") }).collect();
        endings.extend((sold..buyers).map(|_| refused()));
        let (units_left, sold) = (i64::try_from(units - sold).unwrap(), i64::try_from(sold).unwrap());
        Seen {
            units,
            endings,
            stock: Some((view(units_left + sold, 7), view(units_left, 7 + sold))),
            readings: vec![5, 0],
            fsck: Some(FsckSeen { ok: true, said: String::new(), orders: Some(7 + u64::try_from(sold).unwrap()) }),
            orders_before: 7,
            kill: Some(Kill { role: "orders".into(), pid: 10, successor: 11, answers_before: 1, met: 3 }),
            restarts: 1,
            refused_too_early: Some(0),
        }
    }

    fn verdict(seen: &Seen) -> Verdict {
        Verdict::of(&judge(seen))
    }

    proptest! {
        #[test]
        fn a_right_sale_is_proven_and_any_one_ending_changed_refutes_it(buyers in 2_u64..60, units in 1_u64..60, at in 0_usize..60, how in 0..4) {
            let seen = good(buyers, units);
            prop_assert_eq!(verdict(&seen), Verdict::Proven);
            let mut broken = seen;
            let at = at % broken.endings.len();
            let sold = matches!(broken.endings[at], Ending::Sold { .. });
            broken.endings[at] = match how {
                0 if sold => refused(),
                0 => Ending::Sold { order: "one too many".into() },
                1 => Ending::Unanswered { last: "closed".into() },
                2 => Ending::Refused { status: 422, code: "unknown-product".into() },
                // The stock says otherwise, whatever the buyers were told.
                _ => {
                    if let Some((_, after)) = &mut broken.stock {
                        after.held += 1;
                    }
                    broken.endings[at].clone()
                }
            };
            prop_assert_eq!(verdict(&broken), Verdict::Refuted);
        }
    }

    #[test]
    fn two_buyers_with_one_order_refute() {
        let mut seen = good(4, 2);
        seen.endings[1] = seen.endings[0].clone();
        assert_eq!(verdict(&seen), Verdict::Refuted);
    }

    #[test]
    fn a_reading_below_zero_refutes_even_if_it_did_not_last() {
        let mut seen = good(4, 2);
        seen.readings.push(-1);
        assert_eq!(verdict(&seen), Verdict::Refuted);
    }

    #[test]
    fn an_equation_off_by_one_refutes() {
        for change in [-1, 1] {
            let mut seen = good(4, 2);
            if let Some((_, after)) = &mut seen.stock {
                after.on_hand += change;
            }
            assert_eq!(verdict(&seen), Verdict::Refuted);
        }
    }

    #[test]
    fn a_failed_fsck_refutes() {
        let mut seen = good(4, 2);
        seen.fsck = Some(FsckSeen { ok: false, said: "an index entry differs".into(), orders: Some(9) });
        assert_eq!(verdict(&seen), Verdict::Refuted);
    }

    #[test]
    fn a_kill_that_met_nobody_and_each_other_defect_refutes() {
        assert_eq!(verdict(&good(4, 2)), Verdict::Proven);
        let defects: [(&str, Break); 7] = [
            ("a kill that met nobody", |seen| seen.kill.as_mut().unwrap().met = 0),
            ("a kill that found no process", |seen| seen.kill.as_mut().unwrap().pid = 0),
            ("a role that was not killed", |seen| seen.kill.as_mut().unwrap().successor = 10),
            ("a role that ended by itself", |seen| seen.restarts = 2),
            ("an order more than was sold", |seen| seen.fsck.as_mut().unwrap().orders = Some(10)),
            ("orders that were not counted", |seen| seen.fsck.as_mut().unwrap().orders = None),
            ("a buyer refused while a unit was left", |seen| seen.refused_too_early = Some(1)),
        ];
        for (name, break_it) in defects {
            let mut seen = good(4, 2);
            break_it(&mut seen);
            assert_eq!(verdict(&seen), Verdict::Refuted, "{name}");
        }
    }

    #[test]
    fn without_a_reading_meanwhile_nothing_is_claimed_of_it() {
        let mut seen = good(4, 2);
        seen.readings.clear();
        assert!(judge(&seen).iter().all(|check| !check.claim.contains("never below zero")));
        assert_eq!(verdict(&seen), Verdict::Proven);
    }
}
